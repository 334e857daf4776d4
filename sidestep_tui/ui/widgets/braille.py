"""Line charts as text: pure functions from min/max buckets to rows of Braille (or ASCII).

One cell holds 2 × 4 dots. Values that are not finite leave a gap and never raise: a diverging loss is data.
Cells without a dot are spaces, because a space is one byte on the wire and a blank Braille cell is three.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
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

    def placer(self, most: int) -> Callable[[float], int]:
        """A function from a value to its dot among 0 (the top) to `most`, clipped; -1 where it cannot be drawn."""
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        span, logarithmic = high - low, self.log

        def place(value: float) -> int:
            if value - value != 0.0 or (logarithmic and value <= 0):
                return -1
            share = ((math.log(value) if logarithmic else value) - low) / span
            return 0 if share >= 1 else most if share <= 0 else most - round(share * most)

        return place

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
        # Each sub-column is one number whose bits are its dots, from the top: a run of dots is two shifts.
        columns = [0] * (self.width * 2)
        before = -1
        level = 0
        for column, bucket in enumerate(self._dots(buckets[: self.width * 2], scale)):
            if bucket is None:
                continue
            high, low, last = bucket
            if high < 0 or low < 0:
                before = -1
                continue
            if connect and before >= 0:
                _join(columns, before, level, column, min(max(level, high), low))
            columns[column] |= (2 << low) - (1 << high)
            before, level = (column, last) if last >= 0 else (-1, 0)
        if bold:
            full = (1 << self.height * 4) - 1
            columns = [dots | dots << 1 & full for dots in columns]
        self._put(columns)

    def _dots(self, buckets: Sequence[Bucket | None], scale: Scale) -> list[tuple[int, int, int] | None]:
        """The dot rows of each bucket's highest, lowest and last value, from the top; -1 for what has no place."""
        most = self.height * 4 - 1
        place = scale.placer(most)
        out: list[tuple[int, int, int] | None] = []
        for bucket in buckets:
            if bucket is None:
                out.append(None)
                continue
            low, high, last = bucket
            below = place(low)
            above = below if high == low else place(high)
            out.append((above, below, below if last == low else above if last == high else place(last)))
        return out

    def _put(self, columns: Sequence[int]) -> None:
        """Add sub-columns of dots to the cells."""
        lefts, rights = columns[::2], columns[1::2]
        for y, cells in enumerate(self.rows):
            shift = y * 4
            for x, (left, right) in enumerate(zip(lefts, rights, strict=True)):
                if dots := left >> shift & 15 | (right >> shift & 15) << 4:
                    cells[x] |= _CELLS[dots]


def _join(columns: list[int], x0: int, y0: int, x1: int, y1: int) -> None:
    """A straight line of dots between two sub-columns; both ends included."""
    if x1 - x0 > 1:
        length = max(x1 - x0, abs(y1 - y0))
        for step in range(length + 1):
            columns[x0 + round((x1 - x0) * step / length)] |= 1 << y0 + round((y1 - y0) * step / length)
        return
    if y1 > y0:
        half = y0 + (y1 - y0) // 2
        columns[x0] |= (2 << half) - (1 << y0)
        columns[x1] |= (2 << y1) - (2 << half)
    elif y1 < y0:
        half = y0 - (y0 - y1) // 2
        columns[x0] |= (2 << y0) - (1 << half)
        columns[x1] |= (1 << half) - (1 << y1)
    else:
        columns[x0] |= 1 << y0
        columns[x1] |= 1 << y0


Span = tuple[str, str]
"""Text and the name of its style."""


def glyph(mask: int, *, ascii_only: bool = False) -> str:
    """The character for one cell of dots."""
    return (_ASCII_GLYPHS if ascii_only else _GLYPHS)[mask]


def _ascii_glyph(mask: int) -> str:
    upper, lower = mask & _UPPER_HALF, mask & ~_UPPER_HALF & 0xFF
    if upper and lower:
        return "|" if mask.bit_count() >= 4 else ":"
    return "'" if upper else "." if lower else " "


_CELLS = [sum(dot for bit, dot in enumerate((*_DOTS[0], *_DOTS[1])) if dots >> bit & 1) for dots in range(256)]
_GLYPHS = " " + "".join(chr(_BLANK | mask) for mask in range(1, 256))
_ASCII_GLYPHS = "".join(_ascii_glyph(mask) for mask in range(256))


def compose(
    cloud: Canvas | None, line: Canvas | None, *, cursor: int | None = None, ascii_only: bool = False
) -> list[list[Span]]:
    """Lay a line over a cloud and give each row as spans styled `cloud`, `line` or `cursor`.

    Where the line passes, the cloud is left out, so that the line stays readable; runs of blanks never change style.
    """
    layers = [(canvas, style) for canvas, style in ((line, "line"), (cloud, "cloud")) if canvas is not None]
    return lay(layers, cursor=cursor, ascii_only=ascii_only)


def lay(
    layers: Sequence[tuple[Canvas, str]],
    *,
    cursor: int | None = None,
    ascii_only: bool = False,
    signs: Sequence[str] = (),
) -> list[list[Span]]:
    """Lay canvases of one size over each other, the first on top, each in its style, and give rows of spans.

    A cell shows the topmost canvas that has a dot there; runs of blanks never change style. With `signs`, one a
    layer, cells show the sign of their layer instead of its dots.
    """
    if not layers:
        return []
    table = _ASCII_GLYPHS if ascii_only else _GLYPHS
    rule = "|" if ascii_only else "│"
    styles = [style for _, style in layers]
    rows: list[list[Span]] = []
    for stack in zip(*(canvas.rows for canvas, _ in layers), strict=True):
        cells, owners = _topmost(stack)
        text = cells.decode("latin-1").translate(table)
        if signs:
            text = "".join(signs[owner] or old if old != " " else old for owner, old in zip(owners, text, strict=True))
        if cursor is not None and 0 <= cursor < len(cells):
            text = text[:cursor] + (text[cursor] if cells[cursor] else rule) + text[cursor + 1 :]
        rows.append(_spans(text, cells, owners, styles, cursor))
    return rows


def _topmost(stack: Sequence[bytearray]) -> tuple[bytes, bytes]:
    """What each cell of one row shows, and which layer it is from."""
    used = [index for index, row in enumerate(stack) if any(row)]
    if len(used) < 2:
        index = used[0] if used else len(stack) - 1
        return bytes(stack[index]), bytes([index]) * len(stack[index])
    cells, owners = bytearray(stack[used[-1]]), bytearray([used[-1]]) * len(stack[0])
    for index in reversed(used[:-1]):
        for x, dots in enumerate(stack[index]):
            if dots:
                cells[x], owners[x] = dots, index
    return bytes(cells), bytes(owners)


def _spans(text: str, cells: bytes, owners: bytes, styles: Sequence[str], cursor: int | None) -> list[Span]:
    """Cut a row where its style changes; blanks keep the style before them."""
    spans: list[Span] = []
    begin, now = 0, -1
    for x, owner in enumerate(owners):
        wanted = len(styles) if x == cursor else owner if cells[x] else len(styles) - 1
        if wanted == now or (now >= 0 and x != cursor and not cells[x] and now != len(styles)):
            continue
        if x:
            spans.append((text[begin:x], "cursor" if now == len(styles) else styles[now]))
        begin, now = x, wanted
    if text:
        spans.append((text[begin:], "cursor" if now == len(styles) else styles[now]))
    return spans or [("", "")]


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
