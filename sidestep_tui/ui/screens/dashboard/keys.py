"""The keys that change how a run is looked at: panels, zoom, the chart, the log, the rate. All of them are safe."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import Input

from sidestep_tui.protocol.state import RunState
from sidestep_tui.ui.governor import Governor
from sidestep_tui.ui.screens.dashboard.commands import RunCommands
from sidestep_tui.ui.widgets.chart import ChartPanel
from sidestep_tui.ui.widgets.log import LogPanel
from sidestep_tui.ui.widgets.rows import Rows

PANELS = ("loss", "schedule", "machine", "checkpoints", "log")
"""What the digits 1 to 5 go to."""

_SIDE = ("schedule", "machine", "checkpoints")


class ViewKeys(RunCommands):
    """The half of the dashboard that only looks."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "freeze", "Freeze", id="view.freeze", tooltip="Hold the picture; data keeps flowing"),
        Binding("1", "panel('loss')", "Loss", id="view.panel.1", show=False, tooltip="Go to the loss chart"),
        Binding(
            "2",
            "panel('schedule')",
            "Schedule",
            id="view.panel.2",
            show=False,
            tooltip="Go to learning rate, gradient norm and throughput",
        ),
        Binding(
            "3", "panel('machine')", "Machine", id="view.panel.3", show=False, tooltip="Go to GPUs, CPU and memory"
        ),
        Binding(
            "4",
            "panel('checkpoints')",
            "Checkpoints",
            id="view.panel.4",
            show=False,
            tooltip="Go to checkpoints and adapters",
        ),
        Binding("5", "panel('log')", "Log", id="view.panel.5", show=False, tooltip="Go to the log"),
        Binding("z", "zoom", "Zoom", id="view.zoom", show=False, tooltip="One panel over the whole screen"),
        Binding(
            "left_square_bracket",
            "metric(-1)",
            "Previous metric",
            id="view.metric.previous",
            show=False,
            tooltip="The chart's previous metric",
        ),
        Binding(
            "right_square_bracket",
            "metric(1)",
            "Next metric",
            id="view.metric",
            show=False,
            tooltip="The chart's next metric",
        ),
        Binding(
            "w", "window", "Window", id="view.window", show=False, tooltip="All, last 1k, last epoch, since resume"
        ),
        Binding("s", "smooth", "Smoothing", id="view.smooth", show=False, tooltip="Moving average 0.98, off, 0.9"),
        Binding("v", "log_scale", "Log scale", id="view.log_scale", show=False, tooltip="Linear or logarithmic"),
        Binding(
            "x",
            "x_axis",
            "Horizontal axis",
            id="view.axis",
            show=False,
            tooltip="Chart over steps, samples, or minutes of training",
        ),
        Binding(
            "b",
            "outliers",
            "Outliers",
            id="view.outliers",
            show=False,
            tooltip="Leave values far beyond all the rest out of the chart, or show them",
        ),
        Binding(
            "greater_than_sign",
            "zoom_chart(1)",
            "Zoom in",
            id="view.zoom.in",
            show=False,
            tooltip="Half as much of the axis, around the cursor",
        ),
        Binding(
            "less_than_sign",
            "zoom_chart(-1)",
            "Zoom out",
            id="view.zoom.out",
            show=False,
            tooltip="Twice as much of the axis",
        ),
        Binding("comma", "pan(-1)", "Pan left", id="view.pan.left", show=False, tooltip="Earlier part of a zoom"),
        Binding("full_stop", "pan(1)", "Pan right", id="view.pan.right", show=False, tooltip="Later part of a zoom"),
        Binding(
            "m",
            "next_mark",
            "Next mark",
            id="view.mark",
            show=False,
            tooltip="Cursor to the next checkpoint, best step, resume or pause",
        ),
        Binding(
            "home",
            "cursor_end(-1)",
            "Cursor to start",
            id="view.move.first",
            show=False,
            tooltip="Read the first value",
        ),
        Binding(
            "end", "cursor_end(1)", "Cursor to end", id="view.move.last", show=False, tooltip="Read the last value"
        ),
        Binding(
            "h,left",
            "cursor(-1)",
            "Cursor left",
            id="view.move.left",
            show=False,
            tooltip="Read the chart's exact values, leftwards",
        ),
        Binding(
            "l,right",
            "cursor(1)",
            "Cursor right",
            id="view.move.right",
            show=False,
            tooltip="Read the chart's exact values, rightwards",
        ),
        Binding(
            "j,down", "scroll_panel(1)", "Scroll down", id="view.move.down", show=False, tooltip="Towards newer lines"
        ),
        Binding("k,up", "scroll_panel(-1)", "Scroll up", id="view.move.up", show=False, tooltip="Towards older lines"),
        Binding(
            "ctrl+d,pagedown",
            "scroll_panel(10)",
            "Page down",
            id="view.page.down",
            show=False,
            tooltip="Ten lines down",
        ),
        Binding("g", "scroll_panel(-1000000)", "To the top", id="view.page.top", show=False, tooltip="The oldest line"),
        Binding("G", "scroll_panel(1000000)", "To the end", id="view.page.end", show=False, tooltip="The newest line"),
        Binding("ctrl+u,pageup", "scroll_panel(-10)", "Page up", id="view.page.up", show=False, tooltip="Ten lines up"),
        Binding(
            "plus,equals_sign",
            "rate(1)",
            "Paint more often",
            id="view.rate.up",
            show=False,
            tooltip="Up to four pictures a second",
        ),
        Binding(
            "minus",
            "rate(-1)",
            "Paint less often",
            id="view.rate.down",
            show=False,
            tooltip="Down to one picture in four seconds",
        ),
        Binding(
            "f",
            "follow",
            "Follow the log",
            id="log.follow",
            show=False,
            tooltip="Hold the log, or follow its newest line",
        ),
        Binding(
            "slash",
            "filter",
            "Filter the log",
            id="log.filter",
            show=False,
            tooltip="Show only log lines that hold some words",
        ),
        Binding("n", "match(1)", "Next match", id="log.next", show=False, tooltip="The next line of the filtered log"),
        Binding(
            "N",
            "match(-1)",
            "Previous match",
            id="log.previous",
            show=False,
            tooltip="The previous line of the filtered log",
        ),
        Binding(
            "escape",
            "back",
            "One level out",
            id="view.back",
            show=False,
            tooltip="Filter, cursor, zoom of the chart, of the panel",
        ),
        Binding("q", "leave", "Leave", id="view.leave", tooltip="Back to the runs; training continues"),
    ]

    def __init__(self, run_path: Path, *, readonly: bool, clock: Callable[[], float], governor: Governor) -> None:
        super().__init__(run_path, readonly=readonly, clock=clock)
        self.governor: Governor = governor
        self.checkpoint_offset = 0
        """How far the list of checkpoints is scrolled."""

    @property
    def shown(self) -> RunState:
        """The state that is painted; the dashboard says."""
        raise NotImplementedError

    def action_freeze(self) -> None:
        """Hold the picture, or let it go on."""
        self.governor.freeze(frozen=not self.governor.frozen)
        self.repaint_now()

    def action_panel(self, name: str) -> None:
        """Go to a panel; one that has no room is zoomed."""
        panel = self.query_one(f"#{name}")
        if self.has_class("-zoom") or not self._has_room(panel):
            self._zoom(panel)
        panel.focus()

    @staticmethod
    def _has_room(panel: Widget) -> bool:
        return all(node.display for node in panel.ancestors_with_self if isinstance(node, Widget))

    def action_zoom(self) -> None:
        """One panel over the whole screen, and back."""
        if self.has_class("-zoom"):
            self._unzoom()
            return
        self._zoom(self.focused if self.focused and self.focused.id in PANELS else self.query_one("#loss"))

    def _zoom(self, panel: Widget) -> None:
        for other in self.query(".panel"):
            other.set_class(other is panel, "-zoomed")
        self.set_class(panel.id in _SIDE, "-zoom-side")
        self.set_class(panel.id == "log", "-zoom-log")
        self.add_class("-zoom")
        self.call_after_refresh(self.repaint_now)

    def _unzoom(self) -> None:
        self.remove_class("-zoom", "-zoom-side", "-zoom-log")
        for panel in self.query(".panel"):
            panel.remove_class("-zoomed")
        if self.focused is None or not self._has_room(self.focused):
            self.query_one("#loss").focus()
        self.call_after_refresh(self.repaint_now)

    def action_back(self) -> None:
        """One level out: the filter, the cursor, the chart's zoom, the panel's."""
        if self.has_class("-filtering"):
            self._close_filter(keep=False)
        elif self.query_one(ChartPanel).hide_cursor() or self.query_one(ChartPanel).show_all():
            return
        elif self.has_class("-zoom"):
            self._unzoom()
        elif self.query_one(LogPanel).filter:
            self.query_one(LogPanel).set_filter("")

    def action_metric(self, direction: int) -> None:
        """Show another metric."""
        self.query_one(ChartPanel).next_metric(direction)

    def action_window(self) -> None:
        """Show other steps."""
        self.query_one(ChartPanel).next_window()

    def action_smooth(self) -> None:
        """Change the smoothing."""
        self.query_one(ChartPanel).next_smoothing()

    def action_log_scale(self) -> None:
        """Linear or logarithmic."""
        self.query_one(ChartPanel).toggle_log_scale()

    def action_x_axis(self) -> None:
        """Count something else below the chart."""
        self.query_one(ChartPanel).next_axis()

    def action_outliers(self) -> None:
        """Leave outliers out, or show them."""
        self.query_one(ChartPanel).toggle_clip()

    def action_zoom_chart(self, direction: int) -> None:
        """Zoom into the chart, or out."""
        self.query_one(ChartPanel).zoom(direction)

    def action_pan(self, direction: int) -> None:
        """Move the part of the chart that is zoomed into."""
        self.query_one(ChartPanel).pan(direction)

    def action_next_mark(self) -> None:
        """Read the chart at what happened next."""
        self.query_one(ChartPanel).next_mark()

    def action_cursor_end(self, direction: int) -> None:
        """Read the chart at its beginning or end."""
        self.query_one(ChartPanel).cursor_to_end(direction)

    def action_cursor(self, direction: int) -> None:
        """Move the chart's cursor."""
        self.query_one(ChartPanel).move_cursor(direction)

    def action_scroll_panel(self, lines: int) -> None:
        """Scroll the checkpoints if they have the focus, else the log."""
        panel = self.query_one("#checkpoints", Rows)
        if self.focused is not panel:
            self.query_one(LogPanel).scroll_lines(lines)
            return
        entries = len(self.shown.checkpoints) + len(self.shown.adapters)
        most = max(entries - max(panel.size.height, 1), 0)
        self.checkpoint_offset = min(max(self.checkpoint_offset + lines, 0), most)
        self.repaint_now()

    def action_rate(self, direction: int) -> None:
        """Paint more or less often."""
        _ = self.governor.faster() if direction > 0 else self.governor.slower()
        self.repaint_now()

    def action_follow(self) -> None:
        """Follow the newest log line, or hold."""
        self.query_one(LogPanel).toggle_follow()

    def action_filter(self) -> None:
        """Type what log lines must hold."""
        self.add_class("-filtering")
        field = self.query_one("#log-filter", Input)
        field.value = self.query_one(LogPanel).filter
        field.focus()

    @on(Input.Changed, "#log-filter")
    def _filter_typed(self, event: Input.Changed) -> None:
        if self.has_class("-filtering"):
            self.query_one(LogPanel).set_filter(event.value)

    @on(Input.Submitted, "#log-filter")
    def _filter_chosen(self) -> None:
        self._close_filter(keep=True)

    def _close_filter(self, *, keep: bool) -> None:
        self.remove_class("-filtering")
        if not keep:
            self.query_one(LogPanel).set_filter("")
        log = self.query_one(LogPanel)
        (log if self._has_room(log) else self.query_one("#loss")).focus()

    def action_match(self, direction: int) -> None:
        """Next or previous line that matches the filter."""
        self.query_one(LogPanel).pick(direction)

    def action_leave(self) -> None:
        """Back to the runs; the training goes on."""
        self.leave()
