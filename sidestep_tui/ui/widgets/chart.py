"""The chart of the dashboard: one metric of a run with all that befell it, and a cursor that reads exact values."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from sidestep_tui.core import text
from sidestep_tui.protocol.columns import BAND, MEMORY
from sidestep_tui.protocol.facts import Mark
from sidestep_tui.protocol.heldout import HeldOut
from sidestep_tui.protocol.series import Series
from sidestep_tui.protocol.state import RunState
from sidestep_tui.ui.widgets import axis as axes
from sidestep_tui.ui.widgets import plot
from sidestep_tui.ui.widgets.axis import Ruler
from sidestep_tui.ui.widgets.panels import clock
from sidestep_tui.ui.widgets.viewport import Viewport, letter, style


@dataclass(frozen=True, slots=True)
class Metric:
    """One thing the chart can show."""

    key: str
    title: str
    smooth: bool = True
    held_out: bool = False
    """Whether held-out songs are measured in the same terms, so that both fit one chart."""
    empty: str = "no steps yet"


METRICS = (
    Metric("loss", "loss", held_out=True),
    Metric("epoch_loss", "epoch loss", smooth=False, held_out=True, empty="no epoch is done yet"),
    Metric(BAND, "loss by noise level", smooth=False, empty="no epoch has told its noise levels yet"),
    Metric("lr", "learning rate", smooth=False),
    Metric("grad_norm", "gradient norm"),
    Metric("samples_per_s", "samples per second"),
    Metric(MEMORY, "memory in GiB", smooth=False, empty="no gauge was read yet"),
)
"""The pages of the chart. The one by noise level holds a line for each of them."""

SMOOTHINGS: tuple[float | None, ...] = (0.98, None, 0.9)

_SEPARATOR = " · "
_READING = "reading the journal…"
_ASCII = str.maketrans({"·": "|", "…": "...", "–": "-"})
_ALONGSIDE = (("loss", "loss"), ("lr", "lr"), ("grad_norm", "grad"), ("samples_per_s", "samples/s"))
"""What the cursor reads beside the metric that is shown."""
_WAITING = {"saving": "saving…", "exporting": "exporting…", "validating": "measuring…", "verifying": "verifying…"}


class ChartPanel(Viewport):
    """One metric of a run. Remembers how the user looks at it; the run itself is handed in for every paint."""

    def __init__(self, *, ascii_only: bool = False, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(ascii_only=ascii_only, id=id, classes=classes)
        self.metric_index = 0
        self.window_name: axes.Window = "all"
        self.smoothing: float | None = SMOOTHINGS[0]
        self._state: RunState | None = None
        self._live = False
        self._until: int | None = None

    @property
    def metric(self) -> Metric:
        """What is shown."""
        return METRICS[self.metric_index]

    def next_metric(self, direction: int) -> None:
        """Show another metric."""
        self.metric_index = (self.metric_index + direction) % len(METRICS)
        self.repaint()

    def next_window(self) -> None:
        """All steps, the last thousand, the last epoch, or since the resume; leaves the zoom."""
        self.window_name = axes.WINDOWS[(axes.WINDOWS.index(self.window_name) + 1) % len(axes.WINDOWS)]
        self.part = None
        self.repaint()

    def next_smoothing(self) -> None:
        """Strong, none, light."""
        self.smoothing = SMOOTHINGS[(SMOOTHINGS.index(self.smoothing) + 1) % len(SMOOTHINGS)]
        self.repaint()

    def next_mark(self) -> None:
        """Put the cursor on the next checkpoint, best step, resume or pause in view; after the last on the first."""
        state, drawing = self._state, self.drawing
        if state is None or drawing is None:
            return
        ruler = self._ruler(state)
        places = sorted({x for mark in state.marks if drawing.axis.column(x := ruler.at(mark.step)) is not None})
        if places:
            later = [x for x in places if self.cursor is not None and x > self.cursor]
            self.cursor = later[0] if later else places[0]
            self.repaint()

    def show(self, state: RunState, *, live: bool, until: int | None = None) -> None:
        """Paint the run as it is now, or what has been read of its steps, which go on `until`."""
        self._state = state
        self._live = live
        self._until = until
        self.repaint()

    # What there is

    def _ruler(self, state: RunState) -> Ruler:
        ruler = Ruler.of(state.series, self.across)
        return ruler if ruler.is_known else axes.STEPS

    @property
    def _keys(self) -> list[str]:
        """The series of the page: one, but for the noise levels."""
        if self._state is None or self.metric.key != BAND:
            return [self.metric.key]
        return sorted(name for name in self._state.series if name.startswith(BAND))

    @property
    def _series(self) -> Series:
        """The series whose points the cursor stands on."""
        keys = self._keys
        return self._state.series[keys[0]] if self._state and keys else Series()

    def known_axes(self) -> tuple[axes.Across, ...]:
        """What the run tells."""
        if self._state is None:
            return ("step",)
        return tuple(across for across in axes.ACROSS if Ruler.of(self._state.series, across).is_known)

    def next_axis(self) -> None:
        """Steps, samples, or minutes; what is zoomed into and where the cursor stands stays the same."""
        state, part, cursor = self._state, self.part, self.cursor
        if state is None:
            return
        before = self._ruler(state)
        span = part.span(*self.reach(), growing=False) if part else (0.0, 0.0)
        edges = [before.step_at(x) for x in (*span, cursor or 0.0)]
        super().next_axis()
        after, last = self._ruler(state), self.reach()[1]
        start, end, place = (after.at(step) if math.isfinite(step) else last for step in edges)
        if part is not None and end > start:
            self.part = axes.Part(end - start, None if part.end is None else end)
        self.cursor = place if cursor is not None else None
        self.repaint()

    def reach(self) -> tuple[float, float]:
        """From the first measurement to the newest step."""
        if self._state is None:
            return 0.0, 0.0
        first, last = self._steps(self._state)
        ruler = self._ruler(self._state)
        return ruler.at(first), ruler.at(last)

    def _steps(self, state: RunState) -> tuple[float, float]:
        series = self._series
        first, last = series.first_x, series.last_x
        held = HeldOut.of(state.evals) if self.metric.held_out else None
        if held is not None and first is not None:
            first = min(first, held.points[0][0])
        return first or 0.0, max(last or 0.0, self._until or 0.0)

    def snap(self, start: float, end: float) -> float:
        """The last measured step in the column."""
        if self._state is None:
            return start
        ruler, xs = self._ruler(self._state), self._series.xs
        place = bisect_left(xs, ruler.step_at(end - (end - start) * 1e-6))
        found = ruler.at(xs[place - 1]) if place else start
        return found if found >= start - (end - start) * 1e-6 else start

    # Painting

    def repaint(self) -> None:
        """Draw again and hand over the rows that differ."""
        state = self._state
        if state is None or not self.has_room:
            return
        held = HeldOut.of(state.evals) if self.metric.held_out else None
        self.drawing = plot.draw(self._figure(state, held), self.size.width, self.size.height)
        self.put(self.drawing.rows)
        self._label(state, held)

    def _span(self, state: RunState, ruler: Ruler) -> tuple[float, float]:
        """The part of the axis that is shown."""
        first, last = self._steps(state)
        if self.part is not None:
            return self.part.span(ruler.at(first), ruler.at(last), growing=self._live)
        start, end = axes.bounds(
            self.window_name,
            first,
            last,
            steps_per_epoch=state.steps_per_epoch,
            resumed_at=state.resumed_from,
            growing=self._live,
        )
        # A window of steps that slides ahead ends where the newest step lies.
        return ruler.at(start), ruler.at(end)

    def _figure(self, state: RunState, held: HeldOut | None) -> plot.Figure:
        ruler, series = self._ruler(state), self._series
        start, end = self._span(state, ruler)
        smoothed = self.smoothing if self.metric.smooth and len(series) else None
        points = [(ruler.at(step), loss) for step, loss in held.points] if held is not None else []
        bands = self.metric.key == BAND
        empty = _READING if self._until else self.metric.empty
        notes = self._notes(state, ruler)
        return plot.Figure(
            first=start,
            last=end,
            raw=None if bands else plot.RawCurve(series, ruler),
            smooth=plot.SmoothCurve(series, smoothed, ruler) if smoothed else None,
            traces=self._traces(state, held, ruler),
            log=self.log_scale,
            clip=self.clip,
            growing=self._live and (self.part is None or self.part.end is None),
            across=ruler.across,
            marks=[(mark.kind, ruler.at(mark.step)) for mark in state.marks],
            gaps=plot.RawCurve(series, ruler).gaps,
            points=points,
            notes=[(x, words.translate(_ASCII)) for x, words in notes] if self.ascii_only else notes,
            cursor=self.cursor,
            ascii_only=self.ascii_only,
            empty=empty.translate(_ASCII) if self.ascii_only else empty,
        )

    def _traces(self, state: RunState, held: HeldOut | None, ruler: Ruler) -> list[plot.Trace]:
        if self.metric.key == BAND:
            return [
                plot.Trace(plot.RawCurve(state.series[key], ruler), style(place), sign=letter(place))
                for place, key in enumerate(self._keys)
            ]
        if held is None or len(held.points) < 2:
            return []
        line = Series()
        line.extend([step for step, _ in held.points], [loss for _, loss in held.points], rising=True)
        return [plot.Trace(plot.RawCurve(line, ruler), "accent", ascii_sign="-")]

    def _notes(self, state: RunState, ruler: Ruler) -> list[tuple[float, str]]:
        """How long the run prepared itself before it trained on, and what it does now if that is not training."""
        notes = [
            (ruler.at(stage.step), f"{stage.name} {text.duration(stage.seconds)}")
            for stage in state.stages.all
            if stage.seconds >= 1
        ]
        waiting = _WAITING.get(state.phase.name)
        if waiting and self._live:
            notes.append((ruler.at(state.step), waiting))
        return notes

    def _label(self, state: RunState, held: HeldOut | None) -> None:
        """Say in the border what is shown, and what the cursor reads: below, and the rest of it above."""
        room = self.size.width - 4
        reading = self._reading(state, held)
        said, rest = _as_many_as_fit(reading, room)
        titles, _ = _as_many_as_fit([*self._title_parts(), *rest], room)
        title, words = _SEPARATOR.join(titles), _SEPARATOR.join(said)
        if not reading and self.metric.key == BAND:
            words = "  ".join(self._band_values(None))
        elif not reading and held is not None:
            words = f"{plot.POINTS[self.ascii_only]} held out {held.sentence}"
        if self.ascii_only:
            title, words = title.translate(_ASCII), words.translate(_ASCII)
        if self.border_title != title:
            self.border_title = title
        if self.border_subtitle != words:
            self.border_subtitle = words

    def _title_parts(self) -> list[str]:
        parts = [self.metric.title, self.window_name if self.part is None else "zoomed"]
        if self.metric.smooth:
            parts.append(f"ema {self.smoothing}" if self.smoothing else "raw")
        if self._until:
            parts.append("reading the journal")
        if self.across != "step":
            parts.append(f"by {self.across}")
        if self.log_scale:
            parts.append("log")
        if self.drawing is not None and self.drawing.clipped is not None:
            low, high = self.drawing.clipped
            parts.append(f"clipped, {text.number(low, 3)} to {text.number(high, 3)}")
        return parts

    # Reading

    def _reading(self, state: RunState, held: HeldOut | None) -> list[str]:
        """Everything that is known at the cursor, the most telling first."""
        series = self._series
        if self.cursor is None or not len(series):
            return []
        ruler = self._ruler(state)
        index = max(min(bisect_left(series.xs, ruler.step_at(self.cursor)), len(series) - 1), 0)
        step = series.xs[index]
        parts = [f"step {text.thousands(int(step))}"]
        if self.metric.key == BAND:
            parts += self._band_values(step)
        else:
            parts.append(f"{self.metric.title} {text.number(series.ys[index], 6)}")
        if self.smoothing and self.metric.smooth:
            parts.append(f"ema {text.number(series.smoothed(1 - self.smoothing)[index], 6)}")
        parts += _marks_at(state.marks, step, series.xs[index - 1] if index else -math.inf)
        if held is not None:
            before = [loss for at, loss in held.points if at <= step]
            parts += [f"held out {text.number(before[-1])}"] if before else []
        epoch, elapsed, when = (_at(state.series[name], step) for name in ("epoch", "elapsed", "t"))
        parts += [f"epoch {int(epoch)}"] if epoch is not None else []
        parts += [text.duration(elapsed)] if elapsed else []
        for name, label in _ALONGSIDE:
            value = _at(state.series[name], step)
            parts += [f"{label} {text.number(value)}"] if value is not None and name != self.metric.key else []
        parts += [clock(when)] if when is not None else []
        return parts

    def _band_values(self, step: float | None) -> list[str]:
        """Letter, upper end and loss of each noise level; the newest without a step."""
        assert self._state is not None
        values: list[str] = []
        for place, key in enumerate(self._keys):
            series = self._state.series[key]
            value = series.last if step is None else _at(series, step)
            end = key.removeprefix(BAND).rpartition("-")[2]
            shown = text.number(value, 3) if value is not None else "–"
            values.append(f"{letter(place)} to {end.rstrip('0').rstrip('.') if '.' in end else end} {shown}")
        return values


def _at(series: Series, step: float) -> float | None:
    """The value at a step, or the newest one before it."""
    place = bisect_right(series.xs, step) - 1
    return series.ys[place] if place >= 0 else None


def _marks_at(marks: Sequence[Mark], step: float, before: float) -> list[str]:
    """What happened after the point before and up to a step."""
    return list(dict.fromkeys(mark.kind for mark in marks if before < mark.step <= step))


def _as_many_as_fit(parts: Sequence[str], width: int) -> tuple[list[str], list[str]]:
    """The parts that have room when they are joined, at least one, and the rest."""
    count = len(parts)
    while count > 1 and len(_SEPARATOR.join(parts[:count])) > width:
        count -= 1
    return list(parts[:count]), list(parts[count:])
