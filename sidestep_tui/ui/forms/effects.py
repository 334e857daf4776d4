"""What a change of one setting would cost in memory, weights, time and disk, against what is set now. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sidestep_tui.core import text
from sidestep_tui.schema.fields import FieldSpec
from sidestep_tui.schema.pace import about
from sidestep_tui.schema.values import format_value
from sidestep_tui.ui.forms.cells import shown_text
from sidestep_tui.ui.forms.numbers import bumped
from sidestep_tui.ui.forms.session import FormSession
from sidestep_tui.ui.theme import Glyphs

_NOTICEABLE_BYTES = 0.05 * 1024**3
_NOTICEABLE_SHARE = 0.02
"""Of weights, time and disk: less than that is no reason to choose."""


def effect(session: FormSession, spec: FieldSpec, glyphs: Glyphs) -> str:
    """`64 → 128: +0.4 GiB, +44 M weights, +12 min`: what the next value would cost; empty where it costs nothing."""
    if not set(spec.meta.costs) & {"memory", "parameters", "time", "disk"} or session.draft.error(spec.path):
        return ""
    value = session.draft.value(spec.path)
    if session.inert(spec.path):
        return ""
    for other, label in _others(spec, value):
        if found := ", ".join(_differences(session, spec, other)):
            return f"{label} {glyphs.arrow} {shown_text(spec, format_value(spec, other))}: {found}"
    return ""


def _others(spec: FieldSpec, value: Any) -> Iterator[tuple[Any, str]]:
    """The values that a key press would bring: one step more, the other position of a switch, the next choice."""
    now = shown_text(spec, format_value(spec, value))
    if spec.kind in ("int", "float"):
        for direction in (1, -1):
            other = bumped(spec, value, direction)
            if other != value:
                yield other, now
    elif spec.kind == "bool":
        yield not value, now
    elif spec.kind == "choice":
        place = spec.choices.index(value)
        for step in (1, -1):
            yield spec.choices[(place + step) % len(spec.choices)], now


def _differences(session: FormSession, spec: FieldSpec, other: Any) -> Iterator[str]:
    here, there = session.settings, session.with_values({spec.path: other})
    before, after = session.cost(here), session.cost(there)
    room = after.estimate.total - before.estimate.total
    if abs(room) >= _NOTICEABLE_BYTES:
        yield f"{_sign(room)}{text.gibibytes(abs(room))}"
    if _is_notable(before.parameters, after.parameters):
        more = after.parameters - before.parameters
        yield f"{_sign(more)}{text.count(abs(more))} weights"
    if "time" in spec.meta.costs or "parameters" in spec.meta.costs:
        yield from _time(session.pace(here).total_seconds, session.pace(there).total_seconds)
    if "disk" in spec.meta.costs:
        now, then = session.disk(here), session.disk(there)
        if _is_notable(now, then):
            yield f"{_sign(then - now)}{text.file_size(abs(then - now))} on disk"


def _time(before: float | None, after: float | None) -> Iterator[str]:
    if before is not None and after is not None and _is_notable(before, after) and abs(after - before) >= 60:
        yield f"{_sign(after - before)}{about(abs(after - before)).removeprefix('about ')}"


def _is_notable(before: float, after: float) -> bool:
    return abs(after - before) > _NOTICEABLE_SHARE * max(before, after)


def _sign(number: float) -> str:
    return "+" if number >= 0 else "-"
