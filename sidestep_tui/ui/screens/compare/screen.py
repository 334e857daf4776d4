"""Runs side by side: their curves in one chart, what came of them, and the settings that differ."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message

from sidestep_tui.core import env, text
from sidestep_tui.launch import comparison
from sidestep_tui.launch.comparison import Difference, Side
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.ui.base import SidestepScreen
from sidestep_tui.ui.screens.compare import rows as painted
from sidestep_tui.ui.screens.compare.rows import View
from sidestep_tui.ui.widgets import plot
from sidestep_tui.ui.widgets.axis import ACROSS
from sidestep_tui.ui.widgets.keybar import KeyBar
from sidestep_tui.ui.widgets.rows import Row, Rows, row, spread

if TYPE_CHECKING:
    from sidestep_tui.ui.app import SidestepApp

REFRESH_SECONDS = 5.0
"""How often runs that are alive are read again."""
_PATIENCE = 20
"""How many times as long as a reading took is waited for the next one."""
_KEEPS: tuple[float | None, ...] = (0.98, None, 0.9)
_PER_STEP = {"step": "by step", "samples": "by samples", "minutes": "by minutes"}


def _key(keys: str, action: str, label: str, name: str, tooltip: str, *, shown: str = "", bar: bool = False) -> Binding:
    return Binding(keys, action, label, id=f"compare.{name}", key_display=shown or None, show=bar, tooltip=tooltip)


class SidesRead(Message):
    """The journals and settings of all runs have been read."""

    def __init__(self, sides: Sequence[Side], seconds: float) -> None:
        super().__init__()
        self.sides = list(sides)
        self.seconds = seconds


class CompareScreen(SidestepScreen):
    """Two runs or more."""

    CSS_PATH = "../../styles/compare.tcss"
    HELP = """
    # Compare

    Each run has a letter, which stands on its curve. `x` counts steps,
    samples or minutes of training below the chart, `[` and `]` show
    other metrics, `s` smooths, `v` is logarithmic. `h` and `l` move a
    cursor; the line below the chart tells the exact values of all runs
    there. Below that: what was set differently, and nothing else.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        _key("x", "across", "Axis", "across", "Steps, samples or minutes of training", bar=True),
        _key("s", "smooth", "Smoothing", "smooth", "Moving average 0.98, off, 0.9", bar=True),
        _key("right_square_bracket", "metric(1)", "Metric", "metric.next", "The next metric", shown="]", bar=True),
        _key("left_square_bracket", "metric(-1)", "Metric", "metric.previous", "The metric before", shown="["),
        _key("v", "log_scale", "Log scale", "log_scale", "Linear or logarithmic", bar=True),
        _key("h,left", "cursor(-1)", "Cursor", "cursor.left", "Exact values, towards the start", bar=True),
        _key("l,right", "cursor(1)", "Cursor right", "cursor.right", "Exact values, towards the end"),
        _key("H,shift+left", "cursor(-10)", "Far left", "cursor.far_left", "Ten columns towards the start"),
        _key("L,shift+right", "cursor(10)", "Far right", "cursor.far_right", "Ten columns towards the end"),
        _key("home", "cursor(-9999)", "Cursor to start", "cursor.first", "Read the first values"),
        _key("end", "cursor(9999)", "Cursor to end", "cursor.last", "Read the last values"),
        _key("j,down", "scroll(1)", "Down", "down", "Further settings"),
        _key("k,up", "scroll(-1)", "Up", "up", "Settings before"),
        _key("ctrl+d,pagedown", "scroll(10)", "Page down", "page.down", "Ten settings down"),
        _key("ctrl+u,pageup", "scroll(-10)", "Page up", "page.up", "Ten settings up"),
        _key("g", "scroll(-9999)", "First", "first", "The first setting"),
        _key("G", "scroll(9999)", "Last", "last", "The last setting"),
        _key("r", "look", "Refresh", "refresh", "Read the runs again"),
        _key("q,escape", "leave", "Back", "leave", "Drop the cursor, or go back to the runs", shown="q", bar=True),
    ]

    app: SidestepApp

    def __init__(
        self,
        runs: Sequence[Path],
        *,
        clock: Callable[[], float] = time.time,
        facts: env.TerminalFacts | None = None,
    ) -> None:
        super().__init__()
        self.runs = list(runs)[: len(painted.LETTERS)]
        self.facts = facts or env.terminal_facts()
        self.sides: list[Side] = []
        self.differences: list[Difference] = []
        self.same = 0
        self.view_of_curves = View()
        self._clock = clock
        self._top = 0
        self._ticks = 0
        self._read_seconds = 0.0
        self._drawing: plot.Drawing | None = None
        self._last = 0.0

    def compose(self) -> ComposeResult:
        yield Rows(id="heading")
        yield Rows(id="curves")
        yield Rows(id="at-cursor")
        settings = Rows(id="settings")
        settings.can_focus = True
        yield settings
        yield KeyBar()

    def on_mount(self) -> None:
        self.query_one("#settings").focus()
        self.repaint()
        self.look()
        self.set_interval(REFRESH_SECONDS, self._look_at_living)

    def _look_at_living(self) -> None:
        """Follow runs that are alive, unless reading them takes so long that it would never end."""
        if self.is_current and any(side.is_alive for side in self.sides):
            self._ticks += 1
            if self._ticks * REFRESH_SECONDS >= _PATIENCE * self._read_seconds:
                self._ticks = 0
                self.look()

    def action_look(self) -> None:
        """Read the runs again, those that are over too."""
        self.sides = []
        self.look()

    @work(thread=True, exclusive=True, exit_on_error=False, group="read")
    def look(self) -> None:
        """Read journals and settings on a thread: a day's history takes a second."""
        began = time.monotonic()
        known = {side.path: side for side in self.sides if not side.is_alive}
        sides = [known.get(path) or comparison.read(RunDir(path), now=self._clock()) for path in self.runs]
        self.post_message(SidesRead(sides, time.monotonic() - began))

    def on_sides_read(self, message: SidesRead) -> None:
        """Show them."""
        self.sides, self._read_seconds = message.sides, message.seconds
        self.differences = comparison.differences(self.sides)
        self.same = comparison.same_count(self.sides)
        self.repaint()

    def on_resize(self) -> None:
        """Fill the window."""
        self.repaint()

    # Paint

    def repaint(self) -> None:
        """Hand over all rows; only those that differ are painted."""
        width, view = self.size.width, self.view_of_curves
        results = painted.result_rows(self.sides, width, ascii_only=self.facts.ascii_only) if self.sides else []
        settings = painted.difference_rows(self.differences, self.sides, self.same, width) if self.sides else []
        head, chart, below = self._heights(len(settings))
        for name, height in (("#heading", head), ("#curves", chart), ("#settings", below)):
            self.query_one(name).styles.height = height
        self.query_one("#heading", Rows).put([self._title(width), *results])
        if not self.sides:
            return
        shown = painted.figure(self.sides, view, ascii_only=self.facts.ascii_only)
        self._drawing, self._last = plot.draw(shown, width, chart), shown.last
        self.query_one("#curves", Rows).put(self._drawing.rows)
        self.query_one("#at-cursor", Rows).put([painted.cursor_row(self.sides, view, width)])
        self._paint_settings(settings, below)

    def _heights(self, settings: int) -> tuple[int, int, int]:
        """Rows of the results, the chart and the settings: these get what they need, up to two fifths of the rest."""
        head = 2 + len(self.runs)
        left = max(self.size.height - head - 2, 4)
        below = max(1, min(settings, left * 2 // 5))
        return head, left - below, below

    def _title(self, width: int) -> Row:
        view = self.view_of_curves
        titles = dict(painted.METRICS)
        smoothing = f"average {view.keep}" if view.keep is not None and view.metric in painted.SMOOTHED else "raw"
        scale = " · log" if view.log else ""
        words = f"{titles[view.metric]} {_PER_STEP[view.across]} · {smoothing}{scale} " if self.sides else "reading… "
        left = row((" sidestep", "strong"), (f"  compare {text.plural(len(self.runs), 'run')}", "muted"))
        return spread(left, row((words, "muted")), width)

    def _paint_settings(self, lines: list[Row], height: int) -> None:
        self._top = max(0, min(self._top, len(lines) - height))
        visible = lines[self._top : self._top + height]
        if self._top and visible:
            visible[0] = lines[0]  # the letters of the columns stay
        self.query_one("#settings", Rows).put(visible)

    # Keys

    def _look_at(self, view: View) -> None:
        self.view_of_curves = view
        self.repaint()

    def action_across(self) -> None:
        """Count something else below the chart."""
        view = self.view_of_curves
        across = ACROSS[(ACROSS.index(view.across) + 1) % len(ACROSS)]
        self._look_at(replace(view, across=across, cursor=None))

    def action_smooth(self) -> None:
        """Strong, none, light."""
        view = self.view_of_curves
        self._look_at(replace(view, keep=_KEEPS[(_KEEPS.index(view.keep) + 1) % len(_KEEPS)]))

    def action_metric(self, direction: int) -> None:
        """Show another metric that at least two of the runs have."""
        names = [name for name, _ in painted.metrics_of(self.sides)]
        view = self.view_of_curves
        place = names.index(view.metric) if view.metric in names else 0
        self._look_at(replace(view, metric=names[(place + direction) % len(names)]))

    def action_log_scale(self) -> None:
        """Linear or logarithmic."""
        self._look_at(replace(self.view_of_curves, log=not self.view_of_curves.log))

    def action_cursor(self, columns: int) -> None:
        """Move the cursor; the first press puts it at the end."""
        if self._drawing is None or not any(self._drawing.measured):
            return
        axis, view = self._drawing.axis, self.view_of_curves
        measured = [column for column, has in enumerate(self._drawing.measured) if has]
        at = axis.column(view.cursor) if view.cursor is not None else None
        wanted = measured[-1] if at is None else at + columns
        ahead = [column for column in measured if (column >= wanted if columns > 0 else column <= wanted)]
        column = (ahead[0] if columns > 0 else ahead[-1]) if ahead else measured[-1 if columns > 0 else 0]
        reach = axis.width * 2
        x = min(axis.start + reach * (column + 1) - 1e-6 * reach, self._last)
        self._look_at(replace(view, cursor=x, reach=reach))

    def action_scroll(self, lines: int) -> None:
        """Show further settings."""
        self._top = max(0, self._top + lines)
        self.repaint()

    def action_leave(self) -> None:
        """Drop the cursor; without one go back to the runs."""
        if self.view_of_curves.cursor is not None:
            self._look_at(replace(self.view_of_curves, cursor=None))
            return
        self.dismiss()
