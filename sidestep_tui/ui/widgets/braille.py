"""Line charts as text: pure functions from min/max buckets to rows of Braille (or ASCII).

One cell holds 2 × 4 dots. Values that are not finite leave a gap and never raise: a diverging loss is data.
Cells without a dot are spaces, because a space is one byte on the wire and a blank Braille cell is three.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Bucket = tuple[float, float, float]
"""Smallest, largest and last value of the points that fall into one sub-column."""

_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
_BLANK = 0x2800
_UPPER_HALF = 0x01 | 0x02 | 0x08 | 0x10
_BLOCKS = " ▁▂▃▄▅▆▇█"
_ASCII_BLOCKS = " ..::==##"
_LARGEST = 1e150
_SMALLEST = 1e-150
_LADDER = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)


@dataclass(frozen=True, slots=True)
class Scale:
    """A vertical axis: its bounds and whether distances are ratios."""

    low: float
    high: float
    log: bool = False

    def fraction(self, value: float) -> float | None:
        """Where `value` lies between the bounds (0 at the bottom, 1 at the top); None where it cannot be drawn."""
        if not math.isfinite(value) or (self.log and value <= 0):
            return None
        if self.log:
            share = (math.log(value) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        else:
            share = (value - self.low) / (self.high - self.low)
        return min(max(share, 0.0), 1.0)

    def ticks(self, most: int) -> list[float]:
        """At most `most` round values within the bounds, from the bottom up."""
        if most < 1:
            return []
        marks = _log_ticks(self.low, self.high) if self.log else _linear_ticks(self.low, self.high, most)
        if len(marks) < 2 <= most:
            marks = [self.low, self.high]
        if len(marks) > most:
            stride = -(-len(marks) // most)
            marks = marks[::stride]
        return marks


def scale_for(values: Iterable[float], *, log: bool = False) -> Scale:
    """The calmest axis that holds every drawable value: its bounds are round, so that they rarely move."""
    drawable = (value for value in values if math.isfinite(value) and (value > 0 or not log))
    finite = [min(max(value, _SMALLEST if log else -_LARGEST), _LARGEST) for value in drawable]
    if not finite:
        return Scale(0.1, 1.0, log=True) if log else Scale(0.0, 1.0)
    low, high = min(finite), max(finite)
    if log:
        return _log_scale(low, high)
    if low == high:
        half = abs(low) * 0.5 or 0.5
        low, high = low - half, high + half
    step = _nice_step((high - low) / 8)
    bottom, top = math.floor(low / step) * step, math.ceil(high / step) * step
    if not (math.isfinite(bottom) and math.isfinite(top) and bottom < top):
        return Scale(low, math.nextafter(high, math.inf))
    return Scale(bottom, top)


def _log_scale(low: float, high: float) -> Scale:
    bottom, top = _ladder_below(low), _ladder_above(high)
    if bottom >= top:
        bottom, top = low / 2, high * 2
    return Scale(bottom, top, log=True)


def _nice_step(raw: float) -> float:
    """The smallest 1, 2, 2.5 or 5 times a power of ten that is at least `raw`."""
    if not raw > _SMALLEST:
        return _SMALLEST
    power = 10.0 ** math.floor(math.log10(raw))
    for factor in (1.0, 2.0, 2.5, 5.0):
        if factor * power >= raw * (1 - 1e-9):
            return factor * power
    return 10.0 * power


def _linear_ticks(low: float, high: float, most: int) -> list[float]:
    step = _nice_step((high - low) / max(most - 1, 1))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [index * step for index in range(int(first), int(last) + 1)] if last - first < 100 else [low, high]


def _log_ticks(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    factors = (1.0,) if last - first > 3 else (1.0, 2.0, 5.0) if last - first > 1 else (1.0, 2.0, 3.0, 5.0, 7.0)
    marks = [factor * 10.0**power for power in range(first, last + 1) for factor in factors]
    return [mark for mark in marks if low * (1 - 1e-9) <= mark <= high * (1 + 1e-9)]


def _ladder_below(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    return max((step * power for step in _LADDER if step * power <= value * (1 + 1e-9)), default=power)


def _ladder_above(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    return min((step * power for step in (*_LADDER, 10.0) if step * power >= value * (1 - 1e-9)), default=10.0 * power)


class Canvas:
    """A grid of Braille cells that lines and clouds are drawn into."""

    def __init__(self, width: int, height: int) -> None:
        self.width = max(width, 0)
        self.height = max(height, 0)
        self.rows = [bytearray(self.width) for _ in range(self.height)]

    def trace(
        self, buckets: Sequence[Bucket | None], scale: Scale, *, connect: bool = True, bold: bool = False
    ) -> None:
        """Draw one bucket per sub-column.

        Args:
            buckets: None where nothing was measured (a line is drawn across it); a bucket that holds a value
                that is not finite interrupts the line.
            scale: the vertical axis.
            connect: join neighbouring buckets; without it only the measured values are marked.
            bold: draw the line two dots high.
        """
        previous: tuple[int, int] | None = None
        for column, bucket in enumerate(buckets[: self.width * 2]):
            if bucket is None:
                continue
            low, high, last = (self._dot(value, scale) for value in bucket)
            if low is None or high is None:
                previous = None
                continue
            if connect and previous is not None:
                self._line(previous[0], previous[1], column, min(max(previous[1], high), low))
            for y in range(high, low + 1):
                self._set(column, y)
            previous = None if last is None else (column, last)
        if bold:
            self._embolden()

    def _embolden(self) -> None:
        """Repeat every dot in the row below it."""
        for y in range(self.height - 1, -1, -1):
            above = self.rows[y - 1] if y else bytearray(self.width)
            for x, mask in enumerate(self.rows[y]):
                lowest = (above[x] >> 6 & 1) | (above[x] >> 7 & 1) << 3
                shifted = (mask & 0x1B) << 1 | (mask & 0x04) << 4 | (mask & 0x20) << 2
                self.rows[y][x] = mask | shifted | lowest

    def _dot(self, value: float, scale: Scale) -> int | None:
        """The dot row of a value, counted from the top; clipped into the canvas."""
        fraction = scale.fraction(value)
        if fraction is None:
            return None
        most = self.height * 4 - 1
        return min(max(most - round(fraction * most), 0), most)

    def _set(self, x: int, y: int) -> None:
        self.rows[y >> 2][x >> 1] |= _DOTS[x & 1][y & 3]

    def _line(self, x0: int, y0: int, x1: int, y1: int) -> None:
        """A straight line of dots; both ends included."""
        length = max(x1 - x0, abs(y1 - y0))
        if length == 0:
            self._set(x0, y0)
            return
        for step in range(length + 1):
            self._set(x0 + round((x1 - x0) * step / length), y0 + round((y1 - y0) * step / length))


Span = tuple[str, str]
"""Text and the name of its style."""


def glyph(mask: int, *, ascii_only: bool = False) -> str:
    """The character for one cell of dots."""
    if not mask:
        return " "
    if not ascii_only:
        return chr(_BLANK | mask)
    upper, lower = mask & _UPPER_HALF, mask & ~_UPPER_HALF & 0xFF
    if upper and lower:
        return "|" if mask.bit_count() >= 4 else ":"
    return "'" if upper else "."


def compose(
    cloud: Canvas | None, line: Canvas | None, *, cursor: int | None = None, ascii_only: bool = False
) -> list[list[Span]]:
    """Lay a line over a cloud and give each row as spans styled `cloud`, `line` or `cursor`.

    Where the line passes, the cloud is left out, so that the line stays readable; runs of blanks never change style.
    """
    top = line or cloud
    if top is None:
        return []
    rows: list[list[Span]] = []
    rule = "|" if ascii_only else "│"
    for y in range(top.height):
        spans: list[Span] = []
        text, style = "", ""
        for x in range(top.width):
            mask = line.rows[y][x] if line else 0
            wanted = "line"
            if not mask and cloud:
                mask, wanted = cloud.rows[y][x], "cloud"
            character = glyph(mask, ascii_only=ascii_only)
            if x == cursor:
                wanted = "cursor"
                character = rule if not mask else character
            elif not mask and style != "cursor":
                wanted = style or wanted
            if wanted != style and text:
                spans.append((text, style))
                text = ""
            style = wanted
            text += character
        spans.append((text, style))
        rows.append(spans)
    return rows


def spark(values: Sequence[float | None], *, ascii_only: bool = False) -> str:
    """One row of blocks, scaled to its own range; unknown and not finite values are blank."""
    finite = [value for value in values if value is not None and math.isfinite(value)]
    if not finite:
        return " " * len(values)
    low, high = min(finite), max(finite)
    blocks = _ASCII_BLOCKS if ascii_only else _BLOCKS
    text = []
    for value in values:
        if value is None or not math.isfinite(value):
            text.append(" ")
        elif high == low:
            text.append(blocks[4])
        else:
            text.append(blocks[1 + round((value - low) / (high - low) * 7)])
    return "".join(text)


def bar(fraction: float, width: int, *, ascii_only: bool = False) -> tuple[str, str]:
    """A thin horizontal bar in halves of a cell: its full and its empty part, which together are `width` cells."""
    share = min(max(fraction, 0.0), 1.0) if math.isfinite(fraction) else 0.0
    if ascii_only:
        full = round(share * width)
        return "#" * full, "." * (width - full)
    full, half = divmod(round(share * width * 2), 2)
    done = "━" * full + "╸" * half
    return done, "─" * (width - len(done))
