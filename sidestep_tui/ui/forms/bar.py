"""The memory estimate as a bar of parts, readable without colour. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from sidestep_tui.ui.theme import Glyphs

_COLOURS = ("$primary", "$accent", "$secondary", "$warning", "$muted")
_NAMES = {"overhead": "reserve"}
OTHERS = "$error"


def memory_bar(parts: Sequence[tuple[str, int]], room: int, width: int, glyphs: Glyphs, *, others: int = 0) -> Content:
    """`parts` drawn to scale in `width` cells that stand for `room` bytes, or for the parts where they are more.

    What `others` hold of the room stands at its end; where both meet there is not enough.
    """
    total = sum(size for _, size in parts)
    scale = max(room, total + others, 1)
    cells: list[tuple[str, str]] = []
    used, done = 0, 0
    for index, (_, size) in enumerate(parts):
        done += size
        end = round(width * done / scale)
        cells.append((_shade(index, glyphs) * (end - used), _COLOURS[index % len(_COLOURS)]))
        used = end
    taken = min(width - used, max(round(width * others / scale), 1 if others else 0))
    cells.append((glyphs.empty * (width - used - taken), "$faint"))
    cells.append((glyphs.rule * taken, OTHERS))
    return Content.assemble(*cells)


def legend(
    parts: Sequence[tuple[str, int]], glyphs: Glyphs, *, others: int | None = None, free: int = 0
) -> list[Content]:
    """One entry per part: its shade, name and size in GiB; then what others hold of a device, and what stays free."""
    shown = [
        (_shade(index, glyphs), _COLOURS[index % len(_COLOURS)], _NAMES.get(name, name), size)
        for index, (name, size) in enumerate(parts)
    ]
    if others is not None:
        shown += [(glyphs.rule, OTHERS, "others", others), (glyphs.empty, "$faint", "free", max(0, free))]
    return [
        Content.assemble((sign * 2, colour), f" {name} ", (f"{size / 1024**3:.1f}", "bold"))
        for sign, colour, name, size in shown
    ]


def flowing(entries: Sequence[Content], width: int, gap: str = "  ") -> list[Content]:
    """Entries beside each other, as many on a line as there is room for."""
    lines: list[Content] = []
    for entry in entries:
        if lines and lines[-1].cell_length + len(gap) + entry.cell_length <= width:
            lines[-1] = Content.assemble(lines[-1], gap, entry)
        else:
            lines.append(entry)
    return lines


def _shade(index: int, glyphs: Glyphs) -> str:
    return glyphs.shades[index % len(glyphs.shades)]
