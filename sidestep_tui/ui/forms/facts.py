"""What the help pane says about a field: trade-off, bounds, default, and what it costs now. Pure but for folders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from textual.content import Content

from sidestep_tui.core import paths
from sidestep_tui.schema.fields import FieldSpec
from sidestep_tui.ui.forms.cells import fix_key
from sidestep_tui.ui.forms.complete import complete_path
from sidestep_tui.ui.forms.effects import effect
from sidestep_tui.ui.forms.session import FormSession
from sidestep_tui.ui.theme import Glyphs


@dataclass(frozen=True, slots=True)
class FieldFacts:
    """The parts of the help pane. `note` is what is wrong, or why the setting has no effect, with its style."""

    help: str
    note: tuple[str, str]
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
    cost = effect(session, spec, glyphs)
    facts = Content.assemble((cost, "$accent"), "   " if cost and words else "", (words, "$muted"))
    extra = _remedy(session, spec)
    return FieldFacts(spec.help, _note(session, spec, glyphs), extra or _candidates(session, spec), facts)


def _note(session: FormSession, spec: FieldSpec, glyphs: Glyphs) -> tuple[str, str]:
    if why := session.inert(spec.path):
        return f"{glyphs.dash} No effect now: {why}.", "$muted"
    advice = session.advice_on(spec.path)
    if advice is None:
        return "", ""
    mark = {"error": glyphs.bad, "warning": glyphs.warn, "advice": glyphs.todo}[advice.severity]
    return f"{mark} {advice.sentence}", {"error": "$error", "warning": "$warning", "advice": "$accent"}[advice.severity]


def _remedy(session: FormSession, spec: FieldSpec) -> Content | None:
    """The key that follows the advice, and what it does."""
    advice = session.advice_on(spec.path)
    if advice is None or not advice.fix:
        return None
    return Content.assemble((f"{fix_key(spec)}  ", "$primary"), advice.fix_label)


def _candidates(session: FormSession, spec: FieldSpec) -> Content:
    """The folders that a half-typed path could become."""
    typed = session.draft.text(spec.path)
    if offer := "" if typed else session.offers.get(spec.path, ""):
        return Content.assemble(("enter  ", "$primary"), ("takes ", "$muted"), paths.shorten(Path(offer)))
    if spec.kind != "path" or not typed:
        return Content("")
    found = complete_path(typed, takes_zips=spec.path == "data.path").candidates
    if not found or (len(found) == 1 and typed.rstrip("/").endswith(found[0].rstrip("/"))):
        return Content("")
    return Content.assemble(("tab  ", "$primary"), ("  ".join(found[:12]), "$muted"))
