"""The horizontal axis of a chart: steps, samples or minutes, which part of them, and round numbers below. Pure.

The axis of a live run grows in steps of a ladder and its buckets stay aligned, so that a new point changes one
column and not the whole picture: that is what keeps an update cheap on a slow link.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sidestep_tui.core import text
from sidestep_tui.protocol.series import Series
from sidestep_tui.ui.widgets import braille

Window = Literal["all", "last 1k", "last epoch", "since resume"]
WINDOWS: tuple[Window, ...] = ("all", "last 1k", "last epoch", "since resume")

Across = Literal["step", "samples", "minutes"]
"""What the horizontal axis counts; minutes and samples are those of the training itself."""

ACROSS: tuple[Across, ...] = ("step", "samples", "minutes")

_STRETCH = (10, 8, 5, 4, 3, 2, 1)
_WIDTHS = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
_SNAP = 8
_TIMES = (1 / 60, 1 / 30, 1 / 12, 1 / 6, 0.25, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440)
_SERIES: dict[Across, tuple[str, float]] = {"samples": ("samples", 1.0), "minutes": ("elapsed", 1 / 60)}


class Ruler:
    """From steps to what the axis counts, and back."""

    def __init__(self, across: Across = "step", sums: Series | None = None) -> None:
        self.across = across
        self._sums = sums if across != "step" else None
        self._scale = _SERIES[across][1] if across != "step" else 1.0

    @classmethod
    def of(cls, series: Mapping[str, Series], across: Across) -> Ruler:
        """The ruler of a run, from its series of sums."""
        return cls(across, series[_SERIES[across][0]] if across != "step" else None)

    @property
    def is_known(self) -> bool:
        """Whether the run tells what the axis counts."""
        return self._sums is None or bool(self._sums.last and self._sums.last > 0)

    @property
    def whole(self) -> bool:
        """Whether only whole numbers lie on the axis, one of them a step."""
        return self._sums is None

    def at(self, step: float) -> float:
        """Where a step lies; beyond the last one it stays there."""
        if self._sums is None:
            return step
        index = bisect_right(self._sums.xs, step) - 1
        return self._sums.ys[index] * self._scale if index >= 0 else 0.0

    def step_at(self, x: float) -> float:
        """The first step that lies at `x` or beyond; infinite where there is none."""
        if self._sums is None:
            return x
        index = bisect_left(self._sums.ys, x / self._scale)
        return self._sums.xs[index] if index < len(self._sums) else math.inf

    def edges(self, x0: float, x1: float, buckets: int) -> list[float]:
        """The steps at which equal parts of `[x0, x1)` begin, and where the last one ends."""
        width = (x1 - x0) / buckets
        return [self.step_at(x0 + width * bucket) for bucket in range(buckets + 1)]


STEPS = Ruler()


@dataclass(frozen=True, slots=True)
class Axis:
    """The horizontal axis: where it starts and how much one sub-column holds."""

    start: float
    width: float
    columns: int

    @property
    def end(self) -> float:
        """The first value that is no longer shown."""
        return self.start + self.width * self.columns * 2

    def column(self, x: float) -> int | None:
        """The cell that shows `x`."""
        column = math.floor((x - self.start) / (self.width * 2) + 1e-9)
        return column if 0 <= column < self.columns else None


def axis_for(first: float, last: float, columns: int, *, growing: bool, whole: bool = True) -> Axis:
    """An axis that shows `first` to `last`.

    A growing axis leaves room on the right and is aligned to its own bucket width; a finished one fills its width.
    On a `whole` axis every step has a width of its own, and buckets hold whole steps.
    """
    buckets = max(columns * 2, 1)
    if not whole:
        return _axis_of_amounts(first, last, columns, buckets, growing=growing)
    span = max(last - first + 1, 1)
    if not growing:
        return Axis(first, span / buckets, columns)
    if span <= buckets:
        stretch = next(k for k in _STRETCH if span * k <= buckets)
        return Axis(first, 1 / stretch, columns)
    raw = (span + 1) / buckets
    power = 10.0 ** math.floor(math.log10(raw))
    for factor in (*_WIDTHS, 20.0):
        width = _whole(factor * power)
        start = math.floor(first / width) * width
        if start + width * buckets > last:
            break
    return Axis(start, width, columns)


def _axis_of_amounts(first: float, last: float, columns: int, buckets: int, *, growing: bool) -> Axis:
    span = max(last - first, 1e-9)
    if not growing:
        return Axis(first, span * (1 + 1e-6) / buckets, columns)
    power = 10.0 ** math.floor(math.log10(span / buckets))
    for factor in (*_WIDTHS, 20.0):
        width = factor * power
        start = math.floor(first / width) * width
        if start + width * buckets > last:
            break
    return Axis(start, width, columns)


def _whole(width: float) -> float:
    """Bucket widths of two and more steps hold whole steps, or neighbouring buckets would differ by one."""
    return float(round(width)) if width >= 2 else 1.5 if width > 1 else 1.0


def bounds(
    window: Window, first: float, last: float, *, steps_per_epoch: int | None, resumed_at: float | None, growing: bool
) -> tuple[float, float]:
    """The steps a window shows. Sliding windows move in eighths of their length, not with every step."""
    if window == "since resume" and resumed_at is not None:
        return max(first, resumed_at), max(last, resumed_at)
    length = {"last 1k": 1000, "last epoch": steps_per_epoch or 0}.get(window, 0)
    if length <= 0 or last - first < length:
        return first, last
    if not growing:
        return last - length + 1, last
    snap = max(length // _SNAP, 1)
    end = math.ceil((last + 1) / snap) * snap
    return max(end - length, first), float(end - 1)


@dataclass(frozen=True, slots=True)
class Part:
    """What is zoomed into: so much of the axis, up to `end`, or up to the newest point where that is None."""

    length: float
    end: float | None = None

    def span(self, first: float, last: float, *, growing: bool) -> tuple[float, float]:
        """The part in terms of the axis; following a live run it slides in eighths of its length."""
        if self.end is not None:
            return self.end - self.length, self.end
        if not growing:
            return last - self.length, last
        snap = self.length / _SNAP
        end = (math.floor(last / snap) + 1) * snap
        return max(end - self.length, first), end


def zoomed(
    part: Part | None, factor: float, first: float, last: float, *, anchor: float | None, least: float
) -> Part | None:
    """A part `factor` times as long around `anchor` (the newest point where that is None); None for the whole."""
    start, end = part.span(first, last, growing=False) if part else (first, last)
    length = max((end - start) * factor, least)
    if length >= last - first:
        return None
    if anchor is None:
        return Part(length, part.end if part else None)
    share = min(max((anchor - start) / max(end - start, 1e-12), 0.0), 1.0)
    new_end = anchor + length * (1 - share)
    return Part(length, None if new_end >= last else max(new_end, first + length))


def panned(part: Part, shift: float, first: float, last: float) -> Part:
    """A part moved by so many of its lengths; at the end it follows the newest point again."""
    end = (last if part.end is None else part.end) + shift * part.length
    return Part(part.length, None if end >= last else max(end, first + part.length))


def row(axis: Axis, left: int, across: Across = "step") -> str:
    """Round numbers at their columns, `left` cells in."""
    labels = [" "] * (axis.columns + left)
    free = 0
    for tick in _ticks(axis, across):
        column = axis.column(tick)
        if column is None:
            continue
        label = _label(tick, across)
        at = min(max(column + left - len(label) // 2, 0), len(labels) - len(label))
        if at >= free:
            labels[at : at + len(label)] = label
            free = at + len(label) + 2
    return "".join(labels).rstrip()


def _ticks(axis: Axis, across: Across) -> Sequence[float]:
    most = max(axis.columns // 12, 2)
    if across == "minutes":
        span = axis.end - axis.start
        step = next((step for step in _TIMES if span / step <= most), 1440.0 * math.ceil(span / 1440 / most))
        first = math.ceil(axis.start / step)
        return [n * step for n in range(first, math.floor(axis.end / step) + 1)]
    low = math.ceil(axis.start)
    scale = braille.Scale(low, max(math.ceil(axis.end) - 1, low + 1))
    return [tick for tick in scale.ticks(most) if tick == round(tick)]


def _label(value: float, across: Across) -> str:
    if across != "minutes":
        return text.thousands(round(value)) if value < 1e7 else text.count(value)
    return clock(value * 60)


def clock(seconds: float) -> str:
    """A length of training for an axis: `30 s`, `5 m`, `1 h 30`, `2 d`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} m" if whole % 60 == 0 else f"{whole // 60} m {whole % 60:02d}"
    if whole % 86400 == 0:
        return f"{whole // 86400} d"
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours} h {minutes:02d}" if minutes else f"{hours} h"
