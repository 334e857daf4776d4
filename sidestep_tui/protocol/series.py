"""A metric over the steps of a run, with a min/max pyramid that makes any window cheap to draw.

Pure Python and no numpy: the viewer must start in milliseconds. Appending costs an array append; the pyramid
grows by whole blocks when a window is asked for, so that its cost is proportional to what was added.
"""

from __future__ import annotations

import itertools
import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import lt

FANOUT = 32
"""Points (or blocks) under one block of the level above."""

_MARK = 1024
_BULK = 16_384
_KEPT_WINDOWS = 8

Bucket = tuple[float, float, float]
"""Smallest and largest finite value, and the last value as it is; all NaN where no value is finite."""


def _bounds(values: Sequence[float]) -> tuple[float, float]:
    """Smallest and largest finite value; NaN for both if there is none."""
    total = sum(values)
    if total - total != 0.0:  # NaN or an infinity in it (or a sum beyond floats): look at each.
        finite = [value for value in values if math.isfinite(value)]
        if not finite:
            return math.nan, math.nan
        return min(finite), max(finite)
    return min(values), max(values)


def is_rising(xs: Sequence[float]) -> bool:
    """Whether each x lies beyond the one before."""
    return all(map(lt, xs, islice(xs, 1, None)))


def _merge(lows: Sequence[float], highs: Sequence[float]) -> tuple[float, float]:
    return _bounds(lows)[0], _bounds(highs)[1]


class _Level:
    """Minima and maxima of whole blocks of the level below."""

    __slots__ = ("highs", "lows")

    def __init__(self) -> None:
        self.lows = array("d")
        self.highs = array("d")

    def add(self, lows: array[float], highs: array[float] | None) -> None:
        """Add whole blocks of the level below; of the points themselves there is only one value each."""
        total = sum(lows) + (sum(highs) if highs else 0.0)
        if total - total == 0.0:  # All are finite: a column for each place in a block, and the rest is C.
            above = lows if highs is None else highs
            self.lows.extend(array("d", map(min, *(lows[place::FANOUT] for place in range(FANOUT)))))
            self.highs.extend(array("d", map(max, *(above[place::FANOUT] for place in range(FANOUT)))))
            return
        for start in range(0, len(lows), FANOUT):
            part = slice(start, start + FANOUT)
            low, high = _bounds(lows[part]) if highs is None else _merge(lows[part], highs[part])
            self.lows.append(low)
            self.highs.append(high)

    def truncate(self, blocks: int) -> None:
        del self.lows[blocks:]
        del self.highs[blocks:]


class _Smooth:
    """A running average: what has been handed out, the raw average, and the weight still missing from it."""

    __slots__ = ("average", "marks", "values", "weight")

    def __init__(self) -> None:
        self.values = array("d")
        self.average = 0.0
        self.weight = 1.0
        self.marks: list[tuple[float, float]] = []
        """Average and weight after every `_MARK` values, so that going back costs at most so many."""

    def truncate(self, n: int) -> None:
        """Go back to the last mark that covers at most `n` values."""
        if n >= len(self.values):
            return
        del self.marks[n // _MARK :]
        del self.values[len(self.marks) * _MARK :]
        self.average, self.weight = self.marks[-1] if self.marks else (0.0, 1.0)


@dataclass(slots=True)
class _Drawn:
    """The buckets of a window that was asked for, and how many of them can no longer change."""

    buckets: list[Bucket | None]
    final: int = 0
    start: int = 0
    """The first point that is not in a final bucket."""


class Series:
    """Points (x, y) with strictly rising x.

    A point at or before the last x supersedes what is there from that x on: a curve never forks.
    """

    __slots__ = ("_drawn", "_levels", "_smoothed", "gaps", "name", "touched", "xs", "ys")

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.xs = array("d")
        self.ys = array("d")
        self.gaps = array("d")
        """Where the value is not finite."""
        self.touched = 0
        """How many points and blocks windows have looked at: what a paint costs."""
        self._levels: list[_Level] = []
        self._smoothed: dict[float, _Smooth] = {}
        self._drawn: dict[tuple[float, float, int], _Drawn] = {}

    def __len__(self) -> int:
        return len(self.xs)

    def __iter__(self) -> Iterator[tuple[float, float]]:
        return iter(zip(self.xs, self.ys, strict=True))

    @property
    def last(self) -> float | None:
        """The newest value, NaN included; None if there is no point."""
        return self.ys[-1] if self.ys else None

    @property
    def last_x(self) -> float | None:
        """Where the newest point lies."""
        return self.xs[-1] if self.xs else None

    @property
    def first_x(self) -> float | None:
        """Where the oldest point lies."""
        return self.xs[0] if self.xs else None

    def append(self, x: float, y: float) -> None:
        """Add one point."""
        if self.xs and x <= self.xs[-1]:
            self._truncate(bisect_left(self.xs, x))
        self.xs.append(x)
        self.ys.append(y)
        if y - y != 0.0:
            self.gaps.append(x)

    def extend(self, xs: Sequence[float], ys: Sequence[float], *, rising: bool | None = None) -> None:
        """Add many points at once; much faster than one by one when x rises (pass `rising` if you know)."""
        if len(xs) != len(ys):
            raise ValueError("as many x as y")
        if not xs:
            return
        if rising is None:
            rising = is_rising(xs)
        if not rising:
            for x, y in zip(xs, ys, strict=True):
                self.append(x, y)
            return
        self._truncate(bisect_left(self.xs, xs[0]))
        xs = xs if isinstance(xs, array) and xs.typecode == "d" else array("d", xs)
        ys = ys if isinstance(ys, array) and ys.typecode == "d" else array("d", ys)
        self.xs.extend(xs)
        self.ys.extend(ys)
        total = sum(ys)
        if total - total != 0.0:
            self.gaps.extend(x for x, y in zip(xs, ys, strict=True) if y - y != 0.0)

    def prepare(self) -> None:
        """Build the pyramid while a long history is read, not in one stall when it is drawn first."""
        if len(self.ys) - FANOUT * (len(self._levels[0].lows) if self._levels else 0) >= _BULK:
            self._grow()

    def truncate_after(self, x: float) -> None:
        """Drop the points beyond `x`: a resumed run went back to it."""
        self._truncate(bisect_right(self.xs, x))

    def clear(self) -> None:
        """Drop every point."""
        self._truncate(0)

    def _truncate(self, n: int) -> None:
        if n >= len(self.xs):
            return
        del self.gaps[bisect_left(self.gaps, self.xs[n]) :]
        del self.xs[n:]
        del self.ys[n:]
        blocks = n
        for level in self._levels:
            blocks //= FANOUT
            level.truncate(blocks)
        for smooth in self._smoothed.values():
            smooth.truncate(n)
        self._drawn.clear()

    def _grow(self) -> None:
        """Bring the pyramid up to date with the points."""
        below_lows: array[float] = self.ys
        below_highs: array[float] = self.ys
        depth = 0
        while len(below_lows) >= FANOUT:
            if depth == len(self._levels):
                self._levels.append(_Level())
            level = self._levels[depth]
            done, blocks = len(level.lows), len(below_lows) // FANOUT
            if done < blocks:
                part = slice(done * FANOUT, blocks * FANOUT)
                level.add(below_lows[part], below_highs[part] if depth else None)
            below_lows, below_highs = level.lows, level.highs
            depth += 1

    def _extremes(self, start: int, stop: int) -> tuple[float, float]:
        """Smallest and largest finite value among the points [start, stop), through the pyramid."""
        lows: list[float] = []
        highs: list[float] = []
        below_lows: array[float] = self.ys
        below_highs: array[float] = self.ys
        for level in self._levels:
            first, end = -(-start // FANOUT), min(stop // FANOUT, len(level.lows))
            if first >= end:
                break
            for part in (slice(start, first * FANOUT), slice(end * FANOUT, stop)):
                lows.extend(below_lows[part])
                highs.extend(below_highs[part])
            start, stop = first, end
            below_lows, below_highs = level.lows, level.highs
        lows.extend(below_lows[start:stop])
        highs.extend(below_highs[start:stop])
        self.touched += len(lows)
        return _merge(lows, highs)

    def bounds(self, x0: float | None = None, x1: float | None = None) -> tuple[float, float] | None:
        """Smallest and largest finite y with x0 <= x <= x1; None if no value there is finite."""
        start = 0 if x0 is None else bisect_left(self.xs, x0)
        stop = len(self.xs) if x1 is None else bisect_right(self.xs, x1)
        if start >= stop:
            return None
        self._grow()
        low, high = self._extremes(start, stop)
        return None if math.isnan(low) else (low, high)

    def window(self, x0: float, x1: float, buckets: int) -> list[Bucket | None]:
        """The points with x0 <= x <= x1 in `buckets` equal parts of that span.

        A bucket without points is None. One with points is (min, max, last): min and max over the finite
        values, NaN if there are none; last as it is. The right edge x1 belongs to the last bucket.
        Asked for again, a window looks only at the buckets that new points can have changed.
        """
        if buckets < 1:
            raise ValueError("at least one bucket")
        if x1 < x0:
            raise ValueError("x0 must not lie beyond x1")
        self._grow()
        if len(self._drawn) >= _KEPT_WINDOWS and (x0, x1, buckets) not in self._drawn:
            self._drawn.clear()
        drawn = self._drawn.setdefault((x0, x1, buckets), _Drawn([None] * buckets, 0, bisect_left(self.xs, x0)))
        width, start = (x1 - x0) / buckets, drawn.start
        for bucket in range(drawn.final, buckets):
            edge = x0 + width * (bucket + 1)
            stop = bisect_right(self.xs, x1) if bucket == buckets - 1 else bisect_left(self.xs, edge, start)
            if stop > start:
                drawn.buckets[bucket] = (*self._extremes(start, stop), self.ys[stop - 1])
            if stop < len(self.xs):  # A point beyond it: nothing can come into this bucket any more.
                drawn.final, drawn.start = bucket + 1, stop
            start = max(stop, start)
        return list(drawn.buckets)

    def places(self, edges: Sequence[float]) -> list[int]:
        """How many points lie before each of the rising `edges`."""
        out: list[int] = []
        place = 0
        for edge in edges:
            place = bisect_left(self.xs, edge, place)
            out.append(place)
        return out

    def between(self, edges: Sequence[float]) -> list[Bucket | None]:
        """The points between neighbouring `edges`, which rise; each bucket holds its left edge."""
        self._grow()
        stops = self.places(edges)
        return [
            (*self._extremes(start, stop), self.ys[stop - 1]) if stop > start else None
            for start, stop in itertools.pairwise(stops)
        ]

    def smoothed(self, alpha: float) -> array[float]:
        """Exponential moving average of y, one value a point, corrected for its start.

        `alpha` in (0, 1] is the weight of the newest value. A value that is not finite leaves the average
        where it was. Kept up to date incrementally: a second call costs only what was added.
        """
        if not 0.0 < alpha <= 1.0:
            raise ValueError("alpha lies in (0, 1]")
        smooth = self._smoothed.setdefault(alpha, _Smooth())
        keep = 1.0 - alpha
        average, weight, values = smooth.average, smooth.weight, smooth.values
        while len(values) < len(self.ys):
            start = len(values)
            for value in self.ys[start : start - start % _MARK + _MARK]:
                if value - value == 0.0:  # Finite; a third of the time of math.isfinite.
                    average = keep * average + alpha * value
                    weight *= keep
                values.append(average / (1.0 - weight) if weight < 1.0 else math.nan)
            if len(values) % _MARK == 0:
                smooth.marks.append((average, weight))
        smooth.average, smooth.weight = average, weight
        return values
