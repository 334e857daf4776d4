"""The chart of the dashboard: a metric over the steps, raw and smoothed, with a cursor that reads exact values."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from textual import events

from sidestep_tui.core import text
from sidestep_tui.protocol.heldout import HeldOut
from sidestep_tui.protocol.series import Series
from sidestep_tui.protocol.state import RunState
from sidestep_tui.ui.widgets import braille, plot
from sidestep_tui.ui.widgets.rows import Rows


@dataclass(frozen=True, slots=True)
class Metric:
    """One thing the chart can show."""

    key: str
    title: str
    smooth: bool = True
    held_out: bool = False
    """Whether held-out songs are measured in the same terms, so that both fit one chart."""


METRICS = (
    Metric("loss", "loss", held_out=True),
    Metric("epoch_loss", "epoch loss", smooth=False, held_out=True),
    Metric("lr", "learning rate", smooth=False),
    Metric("grad_norm", "gradient norm"),
    Metric("samples_per_s", "samples per second"),
)
SMOOTHINGS: tuple[float | None, ...] = (0.98, None, 0.9)


class SmoothCurve:
    """The moving average of a series, one value a bucket: where the average stood at the bucket's last point."""

    def __init__(self, series: Series, keep: float) -> None:
        self._xs = series.xs
        self._ys = series.ys
        self._smooth: array[float] = series.smoothed(1 - keep)

    def window(self, x0: float, x1: float, buckets: int) -> list[braille.Bucket | None]:
        """The average over `[x0, x1)`; a gap wherever the series itself is not finite."""
        out: list[braille.Bucket | None] = []
        start = bisect_left(self._xs, x0)
        width = (x1 - x0) / buckets
        for bucket in range(buckets):
            stop = bisect_left(self._xs, x0 + width * (bucket + 1), start)
            if stop == start:
                out.append(None)
                continue
            value = self._smooth[stop - 1] if math.isfinite(self._ys[stop - 1]) else math.nan
            out.append((value, value, value))
            start = stop
        return out


class RawCurve:
    """The points of a series as buckets of `[x0, x1)`."""

    def __init__(self, series: Series) -> None:
        self._series = series

    def window(self, x0: float, x1: float, buckets: int) -> Sequence[braille.Bucket | None]:
        """The points before `x1`, which belongs to the next window."""
        return self._series.window(x0, max(math.nextafter(x1, -math.inf), x0), buckets)


class ChartPanel(Rows, can_focus=True):
    """One metric of a run. Remembers how the user looks at it; the run itself is handed in for every paint."""

    def __init__(self, *, ascii_only: bool = False, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.metric_index = 0
        self.window_name: plot.Window = "all"
        self.smoothing: float | None = SMOOTHINGS[0]
        self.log_scale = False
        self.cursor: float | None = None
        self.ascii_only = ascii_only
        self._state: RunState | None = None
        self._live = False
        self._drawing: plot.Drawing | None = None

    @property
    def metric(self) -> Metric:
        """What is shown."""
        return METRICS[self.metric_index]

    def next_metric(self, direction: int) -> None:
        """Show another metric."""
        self.metric_index = (self.metric_index + direction) % len(METRICS)
        self.repaint()

    def next_window(self) -> None:
        """All steps, the last thousand, the last epoch, or since the resume."""
        self.window_name = plot.WINDOWS[(plot.WINDOWS.index(self.window_name) + 1) % len(plot.WINDOWS)]
        self.repaint()

    def next_smoothing(self) -> None:
        """Strong, none, light."""
        self.smoothing = SMOOTHINGS[(SMOOTHINGS.index(self.smoothing) + 1) % len(SMOOTHINGS)]
        self.repaint()

    def toggle_log_scale(self) -> None:
        """Linear or logarithmic values."""
        self.log_scale = not self.log_scale
        self.repaint()

    def move_cursor(self, direction: int) -> None:
        """Move the cursor to the next measured column; the first move shows it at the newest point."""
        drawing, state = self._drawing, self._state
        if drawing is None or state is None or not any(drawing.measured):
            return
        axis, columns = drawing.axis, [i for i, there in enumerate(drawing.measured) if there]
        now = axis.column(self.cursor) if self.cursor is not None else None
        if now is None:
            target = columns[-1] if direction < 0 else columns[0]
        elif direction < 0:
            target = max((i for i in columns if i < now), default=columns[0])
        else:
            target = min((i for i in columns if i > now), default=columns[-1])
        self.cursor = self._point_in(axis, target)
        self.repaint()

    def _point_in(self, axis: plot.Axis, column: int) -> float:
        """The last measured step in a column."""
        start = axis.start + column * axis.width * 2
        xs = self._series.xs
        stop = bisect_left(xs, start + axis.width * 2 - axis.width * 1e-6)
        return xs[stop - 1] if stop and xs[stop - 1] >= start - 1e-9 else start

    def hide_cursor(self) -> bool:
        """Remove the cursor; says whether there was one."""
        had = self.cursor is not None
        self.cursor = None
        self.repaint()
        return had

    def show(self, state: RunState, *, live: bool) -> None:
        """Paint the run as it is now."""
        self._state = state
        self._live = live
        self.repaint()

    @property
    def _series(self) -> Series:
        return self._state.series[self.metric.key] if self._state else Series()

    def repaint(self) -> None:
        """Draw again and hand over the rows that differ."""
        state, size = self._state, self.size
        if state is None or size.width < plot.LABEL_WIDTH + 8 or size.height < 3:
            return
        series = self._series
        first, last = series.first_x, series.last_x
        held = HeldOut.of(state.evals) if self.metric.held_out else None
        if held is not None and first is not None:
            first = min(first, held.points[0][0])
        start, end = plot.bounds(
            self.window_name,
            first if first is not None else 0,
            last if last is not None else 0,
            steps_per_epoch=state.steps_per_epoch,
            resumed_at=state.resumed_from,
            growing=self._live,
        )
        smooth = SmoothCurve(series, self.smoothing) if self.smoothing and self.metric.smooth and len(series) else None
        figure = plot.Figure(
            raw=RawCurve(series),
            first=start,
            last=end,
            smooth=smooth,
            log=self.log_scale,
            growing=self._live,
            marks=[(mark.kind, mark.step) for mark in state.marks],
            points=held.points if held is not None else (),
            cursor=self.cursor,
            ascii_only=self.ascii_only,
            empty="no steps yet" if self.metric.key != "epoch_loss" else "no epoch is done yet",
        )
        self._drawing = plot.draw(figure, size.width, size.height)
        self.put(self._drawing.rows)
        self._label(series, held)

    def _label(self, series: Series, held: HeldOut | None) -> None:
        """Say in the border what is shown, and what the cursor reads."""
        parts = [self.metric.title, self.window_name]
        if self.metric.smooth:
            parts.append(f"ema {self.smoothing}" if self.smoothing else "raw")
        if self.log_scale:
            parts.append("log")
        title = " · ".join(parts)
        if self.border_title != title:
            self.border_title = title
        reading = self._reading(series)
        if not reading and held is not None:
            reading = f"{plot.POINTS[self.ascii_only]} held out {held.sentence}"
        if self.border_subtitle != reading:
            self.border_subtitle = reading

    def _reading(self, series: Series) -> str:
        if self.cursor is None or not len(series):
            return ""
        index = max(min(bisect_left(series.xs, self.cursor), len(series) - 1), 0)
        reading = (
            f"step {text.thousands(int(series.xs[index]))} · {self.metric.title} {text.number(series.ys[index], 6)}"
        )
        if self.smoothing and self.metric.smooth:
            reading += f" · ema {text.number(series.smoothed(1 - self.smoothing)[index], 6)}"
        return reading

    def on_resize(self, event: events.Resize) -> None:
        """Draw for the new size."""
        self.repaint()
