"""The line that always says what the settings cost: memory, weights that learn, time, disk. Pure."""

from __future__ import annotations

from textual.content import Content

from sidestep_tui.core import text
from sidestep_tui.schema.fit_ladder import HEADROOM
from sidestep_tui.ui.forms.session import FormSession
from sidestep_tui.ui.theme import Glyphs

_ROOMY = 100
"""Columns from which on every number has its word."""
_TIGHT = 76


def cost_line(session: FormSession, glyphs: Glyphs, width: int = _ROOMY) -> Content:
    """Memory first, then as much as a window of `width` columns leaves room for; always at the same place."""
    cost, pace = session.cost(), session.pace()
    parts = [_memory(session, cost.estimate.total, glyphs)]
    if width >= _TIGHT:
        trainable = " trainable" if width >= _ROOMY else ""
        parts.append(Content.styled(f"{text.count(cost.parameters)}{trainable}", "$muted"))
    if pace.short:
        parts.append(Content.styled(pace.short, "$muted"))
    if width >= _ROOMY and session.manifest is not None:
        parts.append(Content.styled(f"{text.file_size(session.disk())} on disk", "$muted"))
    return Content.styled(f" {glyphs.separator} ", "$muted").join(parts)


def _memory(session: FormSession, needed: int, glyphs: Glyphs) -> Content:
    device = session.device
    if device is None:
        return Content.styled(text.gibibytes(needed), "$muted")
    style, mark = verdict_style(needed, device.free, device.total, glyphs)
    room = f"{needed / 1024**3:.1f} of {device.total / 1024**3:.1f} GiB {mark}"
    as_on = f"as on {device.name}: " if session.stand_in is not None else ""
    return Content.assemble((as_on, "$accent"), (room, style))


def verdict_style(needed: int, free: int, total: int, glyphs: Glyphs) -> tuple[str, str]:
    """Colour and mark of a need beside the room there is: some must be left for what no estimate sees."""
    if needed <= HEADROOM * free:
        return "$success", glyphs.ok
    return ("$warning" if needed <= total else "$error"), glyphs.warn if needed <= total else glyphs.bad
