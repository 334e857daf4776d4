"""The list of presets as rows. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sidestep_tui.ui.screens.presets.effect import Cost, Verdict
from sidestep_tui.ui.screens.presets.listing import Heading, Item, Line
from sidestep_tui.ui.theme import Glyphs
from sidestep_tui.ui.widgets.rows import Row, fit, row, spread, width_of

VERDICT_STYLES: Final[Mapping[Verdict, str]] = {"fits": "good", "tight": "warn", "over": "bad", "unknown": "muted"}
"""How each verdict is painted."""

_NAME = 22
_KIND = 14


def list_rows(
    lines: list[Line],
    current: Item | None,
    marks: Mapping[str, str],
    costs: Mapping[str, Cost],
    width: int,
    glyphs: Glyphs,
) -> list[Row]:
    """The lines of the list; `marks` are signs before some, by key."""
    return [
        heading_row(line, width)
        if isinstance(line, Heading)
        else item_row(line, marks.get(line.key, ""), costs.get(line.key), width, glyphs, selected=line is current)
        for line in lines
    ]


def heading_row(heading: Heading, width: int) -> Row:
    """The name of a group."""
    note = f"  {heading.note}" if heading.note else ""
    return fit(row((f" {heading.group}{note}", "muted")), width)


def item_row(item: Item, mark: str, cost: Cost | None, width: int, glyphs: Glyphs, *, selected: bool) -> Row:
    """One preset: its mark, its name, its adapter, its memory and whether it fits."""
    pointer = glyphs.focus if selected else " "
    is_marked, mark = bool(mark), glyphs.bad if item.problem else mark or " "
    right = row(*_right(item, cost, glyphs))
    left = row(f"{pointer}{mark} ", (item.name, "bad" if item.problem else "strong" if is_marked else ""))
    if item.preset is not None and width >= _NAME + _KIND + 10:
        left = (*fit(left, _NAME + 3), (" " * max(0, _NAME + 4 - width_of(left)), ""), (item.kind, "muted"))
    line = spread(left, right, width)
    if not selected:
        return line
    text = "".join(part for part, _ in line)
    return ((text + " " * (width - width_of(line)), "selected"),)


def _right(item: Item, cost: Cost | None, glyphs: Glyphs) -> list[tuple[str, str]]:
    if item.problem is not None:
        return [("cannot be used ", "bad")]
    if cost is None:
        return []
    words = f"{cost.memory / 1024**3:.1f} "
    if cost.verdict == "unknown":
        return [(words + "GiB ", "muted")]
    return [(words, "muted"), (f"{verdict_glyph(cost, glyphs)} ", VERDICT_STYLES[cost.verdict])]


def verdict_glyph(cost: Cost, glyphs: Glyphs) -> str:
    """The sign for whether it fits; empty while no device is known."""
    return {"fits": glyphs.ok, "tight": glyphs.warn, "over": glyphs.bad}.get(cost.verdict, "")
