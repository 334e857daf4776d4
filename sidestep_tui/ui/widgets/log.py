"""The log of a run: the newest lines, a filter, and scrolling back, painted in rows."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events

from sidestep_tui.protocol.facts import LogLine
from sidestep_tui.ui.widgets.panels import log_row, matching
from sidestep_tui.ui.widgets.rows import Row, Rows


class LogPanel(Rows, can_focus=True):
    """At most the thousand lines that the run state keeps; scrolling up releases the tail."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.filter = ""
        self.follow = True
        self._lines: Sequence[LogLine] = ()
        self._tail: Sequence[Row] = ()
        self._top = 0
        self._picked: int | None = None
        self._seen: tuple[int, int] = (-1, -1)

    def show(self, lines: Sequence[LogLine], count: int, *, tail: Sequence[Row] = ()) -> None:
        """Show `lines`, of which there ever were `count`; `tail` rows follow the newest line."""
        if (count, len(tail)) == self._seen:
            return
        self._seen = (count, len(tail))
        self._lines, self._tail = list(lines), tail
        self.repaint()

    def set_filter(self, wanted: str) -> None:
        """Show only lines that hold `wanted`; an empty one shows all."""
        self.filter = wanted.strip()
        self._picked = None
        self.follow = True
        self.repaint()

    def scroll_lines(self, lines: int) -> None:
        """Scroll by lines; reaching the end follows again."""
        most = self._most_top()
        top = most if self.follow else self._top
        self._top = min(max(top + lines, 0), most)
        self.follow = self._top >= most
        self.repaint()

    def toggle_follow(self) -> None:
        """Hold the picture, or go back to the newest line."""
        self._top = self._most_top()
        self.follow = not self.follow
        self.repaint()

    def pick(self, direction: int) -> None:
        """Select the next (1) or previous (-1) line that matches the filter and bring it into view."""
        shown = self._all_rows()
        if not shown:
            return
        start = len(shown) if direction < 0 else -1
        self._picked = min(max((start if self._picked is None else self._picked) + direction, 0), len(shown) - 1)
        height = max(self.size.height, 1)
        top = self._most_top() if self.follow else self._top
        if not top <= self._picked < top + height:
            self._top = min(max(self._picked - height // 2, 0), self._most_top())
            self.follow = False
        self.repaint()

    def _all_rows(self) -> list[Row]:
        rows = [log_row(line) for line in matching(self._lines, self.filter)]
        return rows if self.filter else [*rows, *self._tail]

    def _most_top(self) -> int:
        return max(len(self._all_rows()) - self.size.height, 0)

    def repaint(self) -> None:
        """Hand over the visible rows."""
        height = self.size.height
        if height < 1:
            return
        rows = self._all_rows()
        most = max(len(rows) - height, 0)
        self._top = most if self.follow else min(self._top, most)
        shown = rows[self._top : self._top + height]
        if self._picked is not None and 0 <= self._picked - self._top < len(shown):
            at = self._picked - self._top
            shown[at] = tuple((text, "selected") for text, _ in shown[at])
        if not rows and self.filter:
            shown = [((f"no line holds “{self.filter}”", "muted"),)]
        self.put(shown)
        title = "log"
        if self.filter:
            title += f" · /{self.filter} · {len(rows)} of {len(self._lines)}"
        if not self.follow:
            title += " · held, f follows"
        if self.border_title != title:
            self.border_title = title

    def on_resize(self, event: events.Resize) -> None:
        """Show as many lines as fit."""
        self.repaint()
