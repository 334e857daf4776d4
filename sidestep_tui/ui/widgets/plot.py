"""From curves to the rows of a chart: axes, lines, marks, notes, cursor. Pure; any number of curves.

A figure is a stack of traces over one horizontal axis. Where several lines lie in one figure they carry letters, so
that they can be told apart without colour; in ASCII the letters are the line.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sidestep_tui.protocol.series import Series
from sidestep_tui.ui.widgets import axis as axes
from sidestep_tui.ui.widgets import braille
from sidestep_tui.ui.widgets.axis import STEPS, Across, Ruler
from sidestep_tui.ui.widgets.axis import Axis as Axis
from sidestep_tui.ui.widgets.axis import axis_for as axis_for
from sidestep_tui.ui.widgets.rows import Row

LABEL_WIDTH = 8
"""Cells of the vertical axis' numbers; fixed, so that the curve never moves sideways."""

MARKS = {"best": "★", "resume": "↻", "gap": "×", "checkpoint": "◆", "pause": "‖"}
"""Signs below the curve, the most telling first: of two in one column, the first one shows. A gap is a step
whose value is not a number."""
ASCII_MARKS = {"best": "*", "resume": "r", "gap": "x", "checkpoint": "c", "pause": "p"}
POINTS = ("○", "o")
"""The glyph of a single measurement, and the one for ASCII."""
CLIPPED = (("▲", "▼"), ("^", "v"))
"""What stands where a curve leaves the picture, above and below; in both glyph sets."""

_SIGN_EVERY = 24
_POINT_EVERY = 3
_NOTE_SHIFT = 8
"""How far a note may stand to the right of its place, where the curve is in its way."""
_LEAST_TO_CLIP = 20
_USUAL = 0.97


class Curve(Protocol):
    """What a chart asks of a metric series."""

    def window(self, x0: float, x1: float, buckets: int) -> Sequence[braille.Bucket | None]:
        """The points of `[x0, x1)` in equal buckets."""
        ...


class RawCurve:
    """The points of a series as buckets of `[x0, x1)`."""

    def __init__(self, series: Series, ruler: Ruler = STEPS) -> None:
        self._series = series
        self._ruler = ruler

    def window(self, x0: float, x1: float, buckets: int) -> Sequence[braille.Bucket | None]:
        """The points before `x1`, which belongs to the next window."""
        if self._ruler.across != "step":
            return self._series.between(self._ruler.edges(x0, x1, buckets))
        return self._series.window(x0, max(math.nextafter(x1, -math.inf), x0), buckets)

    def gaps(self, x0: float, x1: float, buckets: int) -> list[bool]:
        """Whether a value that is not finite lies in each bucket."""
        gaps = self._series.gaps
        places = [bisect_left(gaps, edge) for edge in self._ruler.edges(x0, x1, buckets)] if gaps else []
        return [before < after for before, after in itertools.pairwise(places)]


class SmoothCurve:
    """The moving average of a series, one value a bucket: where the average stood at the bucket's last point."""

    def __init__(self, series: Series, keep: float, ruler: Ruler = STEPS) -> None:
        self._series = series
        self._smooth = series.smoothed(1 - keep)
        self._ruler = ruler

    def window(self, x0: float, x1: float, buckets: int) -> list[braille.Bucket | None]:
        """The average over `[x0, x1)`; a gap wherever the series itself is not finite."""
        stops = self._series.places(self._ruler.edges(x0, x1, buckets))
        ys, smooth = self._series.ys, self._smooth
        out: list[braille.Bucket | None] = []
        start = stops[0]
        for stop in stops[1:]:
            if stop == start:
                out.append(None)
                continue
            value = smooth[stop - 1] if math.isfinite(ys[stop - 1]) else math.nan
            out.append((value, value, value))
            start = stop
        return out


@dataclass(frozen=True, slots=True)
class Trace:
    """One curve of a figure and how it is drawn."""

    curve: Curve
    style: str = "line"
    connect: bool = True
    bold: bool = False
    sign: str = ""
    """A letter that stands on the line here and there, or all along it in ASCII."""
    ascii_sign: str = ""
    """What the line is made of in ASCII, where it has no letter."""
    scaled: bool = False
    """Whether the vertical axis is made for it; for all of them where it is for none."""


@dataclass(frozen=True, slots=True)
class Figure:
    """All that one chart shows. `raw` and `smooth` are the usual two; `traces` lie over them, the first on top."""

    first: float
    last: float
    raw: Curve | None = None
    smooth: Curve | None = None
    traces: Sequence[Trace] = ()
    log: bool = False
    clip: bool = False
    """Whether the vertical axis leaves out what lies far beyond all the rest; it says where it did."""
    growing: bool = True
    across: Across = "step"
    marks: Sequence[tuple[str, float]] = ()
    gaps: Callable[[float, float, int], Sequence[bool]] | None = None
    """Tells for equal parts of the axis where values are not finite."""
    points: Sequence[tuple[float, float]] = ()
    """Single measurements over the curves, as x and value."""
    notes: Sequence[tuple[float, str]] = ()
    """Words over the curves, each from its x on, where there is room."""
    cursor: float | None = None
    ascii_only: bool = False
    empty: str = ""

    def stack(self) -> list[Trace]:
        """Everything that is drawn, the topmost first."""
        layers = list(self.traces)
        if self.smooth is not None:
            layers.append(Trace(self.smooth, "line", bold=True, ascii_sign="="))
        if self.raw is not None:
            alone = self.smooth is None
            layers.append(Trace(self.raw, "line" if alone else "cloud", connect=alone, scaled=True))
        return layers


@dataclass(frozen=True, slots=True)
class Drawing:
    """The finished rows, and what a cursor needs to move over them."""

    rows: list[Row]
    axis: Axis
    measured: tuple[bool, ...]
    """For each cell column, whether a point lies in it."""
    clipped: tuple[float, float] | None = None
    """The smallest and the largest value, where they do not fit on the vertical axis."""


_Buckets = Sequence[braille.Bucket | None]
_Stickers = dict[tuple[int, int], tuple[str, str]]
"""Row and column of single cells that are laid over the curves: their glyphs and styles."""


def draw(figure: Figure, width: int, height: int) -> Drawing:
    """Draw a chart of `width` × `height` cells; the last two rows are marks and the numbers of the axis."""
    columns = max(width - LABEL_WIDTH - 2, 1)
    plot_height = height - 2 if height >= 3 else max(height, 1)
    axis = axis_for(figure.first, figure.last, columns, growing=figure.growing, whole=figure.across == "step")
    stack = figure.stack()
    drawn = [trace.curve.window(axis.start, axis.end, columns * 2) for trace in stack]
    measured = tuple(any(b[2 * i] is not None or b[2 * i + 1] is not None for b in drawn) for i in range(columns))
    points = [(column, y) for x, y in figure.points if (column := axis.column(x)) is not None and math.isfinite(y)]
    spanning = [b for trace, b in zip(stack, drawn, strict=True) if trace.scaled] or drawn
    low, high, lowest, highest = _limits(spanning, [y for _, y in points], log=figure.log, clip=figure.clip)
    scale = braille.scale_for((low, high), log=figure.log)
    cursor = axis.column(figure.cursor) if figure.cursor is not None else None
    spans = _curves(figure, stack, drawn, scale, columns, plot_height, cursor)
    stickers = _signs(stack, drawn, scale, plot_height, ascii_only=figure.ascii_only)
    for column, y in _spaced(points):
        if column != cursor:
            stickers[_cell(scale, y, plot_height), column] = (POINTS[figure.ascii_only], "accent")
    is_clipped = lowest < scale.low or highest > scale.high
    if is_clipped:
        stickers |= _arrows(spanning, scale, columns, plot_height, ascii_only=figure.ascii_only)
    _write_notes(stickers, figure.notes, spans, axis)
    labels = _labels(scale, plot_height) if any(measured) else {}
    rows: list[Row] = []
    for y, line in enumerate(spans):
        label = labels.get(y, "")
        rule = ("|" if figure.ascii_only else "┤") if label else ("|" if figure.ascii_only else "│")
        cells = _with_stickers(line, {x: sticker for (at, x), sticker in stickers.items() if at == y})
        rows.append(((f"{label:>{LABEL_WIDTH}} {rule}", "muted"), *cells))
    if not any(measured) and figure.empty:
        rows[plot_height // 2] = (*rows[plot_height // 2][:1], (figure.empty.center(columns)[:columns], "muted"))
    if height >= 3:
        rows.append(_mark_row(figure, axis))
        rows.append(((axes.row(axis, LABEL_WIDTH + 2, figure.across), "muted"),) if any(measured) else ())
    return Drawing(rows[:height], axis, measured, (lowest, highest) if is_clipped else None)


def _limits(
    drawn: Sequence[_Buckets], points: Sequence[float], *, log: bool, clip: bool
) -> tuple[float, float, float, float]:
    """What the vertical axis must hold, and the smallest and largest value there is; NaN where there is none.

    Clipped, a few columns that lie further out than the others are wide are left out; single measurements never are.
    """
    lows = sorted(b[0] for buckets in drawn for b in buckets if b and b[0] - b[0] == 0 and (b[0] > 0 or not log))
    highs = sorted(b[1] for buckets in drawn for b in buckets if b and b[1] - b[1] == 0 and (b[1] > 0 or not log))
    known = [y for y in points if y > 0 or not log]
    if not lows or not highs:
        return min(known, default=math.nan), max(known, default=math.nan), math.inf, -math.inf
    lowest, highest = lows[0], highs[-1]
    low, high = lowest, highest
    if clip and len(highs) >= _LEAST_TO_CLIP:
        place = math.log if log else float
        back = _exp if log else float
        usual_low = place(lows[math.ceil((1 - _USUAL) * (len(lows) - 1))])
        usual_high = place(highs[math.floor(_USUAL * (len(highs) - 1))])
        room = usual_high - usual_low
        if room > 0 and place(highest) > usual_high + room:
            high = back(usual_high + 0.1 * room)
        if room > 0 and place(lowest) < usual_low - room:
            low = back(usual_low - 0.1 * room)
    return min([low, *known]), max([high, *known]), min([lowest, *known]), max([highest, *known])


def _exp(value: float) -> float:
    """The inverse of a logarithm that came from a float."""
    return math.exp(min(value, 709.0))


def _curves(
    figure: Figure,
    stack: Sequence[Trace],
    drawn: Sequence[_Buckets],
    scale: braille.Scale,
    columns: int,
    height: int,
    cursor: int | None,
) -> list[list[braille.Span]]:
    layers: list[tuple[braille.Canvas, str]] = []
    for trace, buckets in zip(stack, drawn, strict=True):
        canvas = braille.Canvas(columns, height)
        canvas.trace(buckets, scale, connect=trace.connect, bold=trace.bold)
        layers.append((canvas, trace.style))
    signs = [trace.sign or trace.ascii_sign for trace in stack] if figure.ascii_only else ()
    return braille.lay(layers, cursor=cursor, ascii_only=figure.ascii_only, signs=signs)


def _cell(scale: braille.Scale, y: float, height: int) -> int:
    """The row of a value, from the top."""
    share = scale.fraction(y)
    return height - 1 if share is None else min(max(height - 1 - math.floor(share * height), 0), height - 1)


def _signs(
    stack: Sequence[Trace], drawn: Sequence[_Buckets], scale: braille.Scale, height: int, *, ascii_only: bool
) -> _Stickers:
    """Letters on the lines, at other columns for each of them, and one where each line ends."""
    stickers: _Stickers = {}
    signed = [(trace, buckets) for trace, buckets in zip(stack, drawn, strict=True) if trace.sign]
    for place, (trace, buckets) in enumerate(signed):
        there = {n // 2: b[2] for n, b in enumerate(buckets) if b is not None and scale.fraction(b[2]) is not None}
        if not there or ascii_only:
            continue
        offset = _SIGN_EVERY // 2 + place * _SIGN_EVERY // len(signed)
        known = sorted(there)
        wanted = (known[bisect_left(known, column)] for column in range(offset, known[-1] - 4, _SIGN_EVERY))
        for column in (*wanted, known[-1]):
            stickers[_cell(scale, there[column], height), column] = (trace.sign, trace.style)
    return stickers


def _spaced(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """The points that have room, from the newest back: a row of signs would hide the line."""
    kept: list[tuple[int, float]] = []
    for column, y in reversed(points):
        if not kept or column <= kept[-1][0] - _POINT_EVERY:
            kept.append((column, y))
    return kept


def _arrows(
    drawn: Sequence[_Buckets], scale: braille.Scale, columns: int, height: int, *, ascii_only: bool
) -> _Stickers:
    """Where curves leave the picture."""
    above, below = CLIPPED[ascii_only]
    stickers: _Stickers = {}
    for buckets in drawn:
        for n, bucket in enumerate(buckets[: columns * 2]):
            if bucket is not None and bucket[1] > scale.high:
                stickers[0, n // 2] = (above, "warn")
            if bucket is not None and bucket[0] < scale.low and (bucket[0] > 0 or not scale.log):
                stickers[height - 1, n // 2] = (below, "warn")
    return stickers


def _write_notes(
    stickers: _Stickers, notes: Sequence[tuple[float, str]], spans: Sequence[list[braille.Span]], axis: Axis
) -> None:
    """Words in the top row, as far as it is blank there."""
    if not notes or not spans:
        return
    top = "".join(words for words, _ in spans[0])
    blank = [letter == " " and (0, at) not in stickers for at, letter in enumerate(top)]
    for x, words in notes:
        column = axis.column(x)
        if column is None:
            continue
        for at in range(column, min(column + _NOTE_SHIFT, axis.columns - len(words) + 1)):
            if all(blank[max(at - 1, 0) : at + len(words) + 1]):
                stickers |= {(0, at + n): (letter, "muted") for n, letter in enumerate(words)}
                blank[at : at + len(words)] = [False] * len(words)
                break


def _with_stickers(spans: list[braille.Span], stickers: Mapping[int, tuple[str, str]]) -> list[braille.Span]:
    """A row with some of its cells replaced."""
    if not stickers:
        return [span for span in spans if span[0]]
    out: list[braille.Span] = []

    def add(words: str, style: str) -> None:
        if words and out and out[-1][1] == style:
            out[-1] = (out[-1][0] + words, style)
        elif words:
            out.append((words, style))

    start = 0
    for words, style in spans:
        done = 0
        for column in sorted(x for x in stickers if start <= x < start + len(words)):
            add(words[done : column - start], style)
            add(*stickers[column])
            done = column - start + 1
        add(words[done:], style)
        start += len(words)
    return out


def _labels(scale: braille.Scale, height: int) -> dict[int, str]:
    """Numbers beside the rows where round values lie."""
    labels: dict[int, str] = {}
    for tick in scale.ticks(max(height // 3, 3)):
        share = scale.fraction(tick)
        if share is not None:
            labels[min(height - 1 - math.floor(share * height), height - 1) if share < 1 else 0] = axis_number(tick)
    return labels


def axis_number(value: float) -> str:
    """A number that fits beside the axis."""
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e5:
        return f"{value:.6g}"[:LABEL_WIDTH]
    shown = f"{value:.3g}".replace("e-0", "e-").replace("e+0", "e+")
    return shown if len(shown) <= LABEL_WIDTH else f"{value:.0e}"


def _mark_row(figure: Figure, axis: Axis) -> Row:
    """Checkpoints, the best step, resumes, pauses and gaps below the curve, on the corner of the axes."""
    glyphs = ASCII_MARKS if figure.ascii_only else MARKS
    floor, corner = ("-", "+") if figure.ascii_only else ("─", "└")
    order = {kind: place for place, kind in enumerate(MARKS)}
    lost = figure.gaps(axis.start, axis.end, axis.columns) if figure.gaps else ()
    there = {column: "gap" for column, is_lost in enumerate(lost) if is_lost}
    for kind, x in figure.marks:
        column = axis.column(x)
        if column is not None and order[kind] < order.get(there.get(column, ""), len(order)):
            there[column] = kind
    line: list[braille.Span] = [(" " * (LABEL_WIDTH + 1) + corner + floor * axis.columns, "muted")]
    shift = LABEL_WIDTH + 2
    return tuple(
        _with_stickers(
            line,
            {shift + x: (glyphs[kind], "bad" if kind == "gap" else "accent") for x, kind in there.items()},
        )
    )
