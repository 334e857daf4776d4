"""The list of runs as rows of aligned columns. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size

from sidestep_tui.ui.screens.runs.columns import Order, Shown, layout
from sidestep_tui.ui.screens.runs.entries import Entry
from sidestep_tui.ui.widgets.rows import Row, Span, fit, row, width_of

MARK = "*"


def title_row(width: int, order: Order, *, ascii_only: bool = False) -> Row:
    """The names of the columns; the one that is sorted by says which way."""
    arrow = ("v" if order.falling else "^") if ascii_only else ("▾" if order.falling else "▴")
    cells = []
    for shown in layout(width):
        column = shown.column
        title = f"{column.title}{arrow}" if column.name == order.by else column.title
        cells.append(title.rjust(shown.width) if column.number else title.ljust(shown.width))
    return fit(row(("  " + " ".join(cells), "muted")), width)


def entry_row(
    entry: Entry, columns: Sequence[Shown], width: int, now: float, *, selected: bool, marked: bool, ascii_only: bool
) -> Row:
    """One run or draft; the selected one fills the width with its background."""
    quiet = "muted" if entry.run is None else ""
    spans: list[Span] = [(f"{MARK if marked else ' '} ", "accent")]
    for shown in columns:
        words, style = shown.column.cell(entry, now), quiet
        if shown.column.name == "state":
            words, style = entry.condition.label(ascii_only=ascii_only), entry.condition.style
        elif shown.column.name == "name" and entry.run is not None:
            style = "strong"
        elif shown.column.name == "folder":
            words, style = _cut_left(words, shown.width), "muted"
        spans.append((_placed(words, shown) + " ", style))
    cells = fit(row(*spans), width)
    if not selected:
        return cells
    return (*((part, "selected") for part, _ in cells), (" " * (width - width_of(cells)), "selected"))


def _placed(words: str, shown: Shown) -> str:
    """The words in exactly the column's width."""
    spare = shown.width - cell_len(words)
    if spare < 0:
        return set_cell_size(words, shown.width - 1) + "…"
    return " " * spare + words if shown.column.number else words + " " * spare


def _cut_left(words: str, width: int) -> str:
    return words if len(words) <= width else "…" + words[-(width - 1) :]


def empty_rows(searched: bool) -> list[Row]:
    """What to do when there is nothing to list."""
    if searched:
        return [row(""), row(("  Nothing matches the filter. ", ""), ("esc", "accent"), " clears it.")]
    return [
        row(""),
        row(("  No runs yet.", "strong")),
        row(""),
        row(("  n ", "accent"), "  make a new run: model, songs, adapter, review, start"),
        row(("  o ", "accent"), "  open a run, or list the runs of a folder"),
        row(""),
        row(("  To see the whole path at work first, leave with ", "muted"), ("q", "accent"), (" and try", "muted")),
        row(("      sidestep-tui demo", "")),
        row(("  It makes a tiny model and songs, and trains in minutes.", "muted")),
    ]
