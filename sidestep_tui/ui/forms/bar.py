"""The memory estimate as a bar of parts, readable without colour. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from sidestep_tui.core.text import gibibytes
from sidestep_tui.ui.theme import Glyphs

_COLOURS = ("$primary", "$accent", "$secondary", "$warning", "$muted")


def memory_bar(parts: Sequence[tuple[str, int]], room: int, width: int, glyphs: Glyphs) -> Content:
    """`parts` drawn to scale in `width` cells that stand for `room` bytes, or for the parts where they are more."""
    total = sum(size for _, size in parts)
    scale = max(room, total, 1)
    cells: list[tuple[str, str]] = []
    used, done = 0, 0
    for index, (_, size) in enumerate(parts):
        done += size
        end = round(width * done / scale)
        cells.append((_shade(index, glyphs) * (end - used), _COLOURS[index % len(_COLOURS)]))
        used = end
    cells.append((glyphs.empty * (width - used), "$faint"))
    return Content.assemble(*cells)


def legend(parts: Sequence[tuple[str, int]], glyphs: Glyphs) -> list[Content]:
    """One entry per part: its shade, name and size."""
    return [
        Content.assemble((_shade(index, glyphs) * 2, _COLOURS[index % len(_COLOURS)]), f" {name} {gibibytes(size)}")
        for index, (name, size) in enumerate(parts)
    ]


def _shade(index: int, glyphs: Glyphs) -> str:
    return glyphs.shades[index % len(glyphs.shades)]
