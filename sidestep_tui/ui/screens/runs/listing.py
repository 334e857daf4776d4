"""What the list of runs shows: the lines, the filter, the order, the marks and the bar. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sidestep_tui.ui.screens.runs.columns import BY_NAME, Order, arrange, next_order
from sidestep_tui.ui.screens.runs.entries import Entry
from sidestep_tui.ui.screens.runs.query import Query, parse


class Listing:
    """The lines in order; filtered and sorted once for all the reads between two changes."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.query = Query()
        self.order = Order()
        self.marks: list[str] = []
        """Keys of the marked runs, in the order in which they were marked."""
        self.current_key = ""
        self.top = 0
        self._at = 0
        self._shown: list[Entry] | None = None
        self._now = 0.0

    def take(self, entries: Sequence[Entry], now: float) -> None:
        """Show these lines; marks and bar stay where their runs still are."""
        self.entries = list(entries)
        keys = {entry.key for entry in entries}
        self.marks = [key for key in self.marks if key in keys]
        self._now, self._shown = now, None

    def measured(self, sizes: Mapping[Path, int]) -> None:
        """Take in sizes on disk that have been measured since."""
        self.entries = [
            replace(entry, row=replace(entry.row, size=sizes[entry.row.path]))
            if entry.row is not None and entry.row.path in sizes
            else entry
            for entry in self.entries
        ]
        self._shown = None

    @property
    def shown(self) -> list[Entry]:
        """The lines that match the filter, in order."""
        if self._shown is None:
            found = [entry for entry in self.entries if self.query.matches(entry, self._now)]
            self._shown = arrange(found, self.order)
        return self._shown

    @property
    def index(self) -> int:
        """Where the bar stands: on its line, or where that was before it went."""
        shown = self.shown
        found = next((at for at, entry in enumerate(shown) if entry.key == self.current_key), None)
        self._at = max(0, min(self._at, len(shown) - 1)) if found is None else found
        return self._at

    @property
    def current(self) -> Entry | None:
        """The line under the bar."""
        return self.shown[self.index] if self.shown else None

    def move(self, by: int) -> None:
        """Move the bar, as far as there are lines."""
        shown = self.shown
        if shown:
            self.current_key = shown[max(0, min(self.index + by, len(shown) - 1))].key

    def window(self, height: int) -> list[Entry]:
        """The lines that are visible, the bar's among them."""
        shown, at = self.shown, self.index
        self.top = min(max(self.top, at - height + 1, 0), at, max(len(shown) - height, 0))
        return shown[self.top : self.top + height]

    def filter(self, typed: str) -> None:
        """Show what matches."""
        if typed.strip() != self.query.typed:
            self.query, self._shown = parse(typed), None

    def next_order(self) -> None:
        """Sort by the next column."""
        self.order, self._shown = next_order(self.order), None

    def turn(self, *, falling: bool) -> None:
        """The smallest or the largest first; by when runs began where no column was chosen."""
        by = self.order.by if self.order.by in BY_NAME else "started"
        self.order, self._shown = Order(by, falling), None

    def toggle_mark(self) -> None:
        """Mark the run under the bar, or not any more."""
        entry = self.current
        if entry is None or entry.kind != "run":
            return
        if entry.key in self.marks:
            self.marks.remove(entry.key)
        else:
            self.marks.append(entry.key)

    @property
    def marked(self) -> list[Entry]:
        """The marked runs in the order in which they were marked, shown or not."""
        by_key = {entry.key: entry for entry in self.entries}
        return [by_key[key] for key in self.marks]
