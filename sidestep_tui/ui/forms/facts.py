"""What the help pane says about a field: trade-off, bounds, default, and what it costs now. Pure but for folders."""

from __future__ import annotations

from dataclasses import dataclass

from textual.content import Content

from sidestep_tui.core import text
from sidestep_tui.schema.fields import FieldSpec
from sidestep_tui.schema.values import format_value
from sidestep_tui.ui.forms.complete import complete_path
from sidestep_tui.ui.forms.session import FormSession, bumped
from sidestep_tui.ui.theme import Glyphs

_NOTICEABLE = 0.05 * 1024**3


@dataclass(frozen=True, slots=True)
class FieldFacts:
    """The parts of the help pane."""

    help: str
    error: str
    extra: Content
    facts: Content


def field_facts(session: FormSession, spec: FieldSpec, glyphs: Glyphs) -> FieldFacts:
    """Everything about one setting as it stands."""
    parts = []
    if spec.bounds:
        parts.append(f"{spec.bounds}{' ' + spec.meta.unit if spec.meta.unit else ''}")
    if spec.kind in ("text", "path") and spec.default:
        parts.append(f"default {spec.default}")
    if spec.meta.zero_means:
        parts.append(f"0 = {spec.meta.zero_means}")
    words = f" {glyphs.separator} ".join(parts)
    effect = _effect(session, spec, glyphs)
    facts = Content.assemble((effect, "$accent"), "   " if effect and words else "", (words, "$muted"))
    return FieldFacts(spec.help, session.draft.error(spec.path), _candidates(session, spec), facts)


def cost_line(session: FormSession, glyphs: Glyphs) -> Content:
    """Memory and trainable weights, always at the same place."""
    cost = session.cost()
    device = session.device
    total = cost.estimate.total
    style = "$muted"
    mark = ""
    if device is not None:
        style = "$success" if total <= device.free else ("$warning" if total <= device.total else "$error")
        mark = f" {glyphs.ok}" if total <= device.free else f" {glyphs.warn}"
    room = f" of {device.total / 1024**3:.1f}" if device is not None else ""
    return Content.assemble(
        (f"{total / 1024**3:.1f}{room} GiB{mark}", style),
        (f" {glyphs.separator} {text.count(cost.parameters)} trainable", "$muted"),
    )


def _effect(session: FormSession, spec: FieldSpec, glyphs: Glyphs) -> str:
    """What the setting costs against its default, or what one step more would cost."""
    if not {"memory", "parameters"} & set(spec.meta.costs) or session.draft.error(spec.path):
        return ""
    value = session.draft.value(spec.path)
    here = session.cost().estimate.total
    if value != spec.default:
        delta = here - session.cost_with({spec.path: spec.default}).estimate.total
        return f"{_signed(delta)} against the default" if abs(delta) >= _NOTICEABLE else ""
    if spec.kind in ("int", "float"):
        more = bumped(spec, value, 1)
        delta = session.cost_with({spec.path: more}).estimate.total - here
        if more != value and abs(delta) >= _NOTICEABLE:
            return f"{format_value(spec, more)} {glyphs.arrow} {_signed(delta)}"
    if spec.kind == "bool":
        delta = session.cost_with({spec.path: not value}).estimate.total - here
        if abs(delta) >= _NOTICEABLE:
            return f"{'off' if value else 'on'} {glyphs.arrow} {_signed(delta)}"
    return ""


def _signed(n_bytes: float) -> str:
    return f"{'+' if n_bytes >= 0 else '-'}{text.gibibytes(abs(n_bytes))}"


def _candidates(session: FormSession, spec: FieldSpec) -> Content:
    """The folders that a half-typed path could become."""
    typed = session.draft.text(spec.path)
    if spec.kind != "path" or not typed:
        return Content("")
    found = complete_path(typed, takes_zips=spec.path == "data.path").candidates
    if not found or (len(found) == 1 and typed.rstrip("/").endswith(found[0].rstrip("/"))):
        return Content("")
    return Content.assemble(("tab  ", "$primary"), ("  ".join(found[:12]), "$muted"))
