"""The line that stays until somebody has read it: what is the matter, and what to do. Pure."""

from __future__ import annotations

import textwrap

from sidestep_tui.protocol.alerts import AlertBook
from sidestep_tui.ui.widgets.rows import Row, row, spread

_CLEARS = "d clears "
_MOST_ROWS = 2


def alert_rows(book: AlertBook, width: int, *, ascii_only: bool = False) -> list[Row]:
    """The first of what stands, in one or two rows; nothing where nothing stands."""
    first = book.first
    if first is None or width < 20:
        return []
    sign = "!" if ascii_only else "▲"
    count = f"{sign} 1 of {len(book.standing)}  " if len(book.standing) > 1 else f"{sign} "
    lines = textwrap.wrap(first.sentence, max(width - len(count) - len(_CLEARS) - 3, 10))
    if len(lines) > _MOST_ROWS:
        lines = [*lines[: _MOST_ROWS - 1], lines[_MOST_ROWS - 1] + ("..." if ascii_only else "…")]
    told = spread(row((f" {count}", first.level), (lines[0], first.level)), row((_CLEARS, "muted")), width)
    return [told, *(row((" " * (len(count) + 1) + line, first.level)) for line in lines[1:])]
