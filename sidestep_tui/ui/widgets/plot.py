"""From metric series to the rows of a chart: axis, curve, markers, cursor. Pure.

The horizontal axis of a live run grows in steps of a ladder and its buckets stay aligned, so that a new point
changes one column and not the whole picture: that is what keeps an update cheap on a slow link.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from sidestep_tui.core import text
from sidestep_tui.ui.widgets import braille
from sidestep_tui.ui.widgets.rows import Row

Window = Literal["all", "last 1k", "last epoch", "since resume"]
WINDOWS: tuple[Window, ...] = ("all", "last 1k", "last epoch", "since resume")

LABEL_WIDTH = 8
"""Cells of the vertical axis' numbers; fixed, so that the curve never moves sideways."""

_STRETCH = (10, 8, 5, 4, 3, 2, 1)
_WIDTHS = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
_SNAP = 8

MARKS = {"checkpoint": "◆", "best": "★", "resume": "↻", "pause": "‖"}
ASCII_MARKS = {"checkpoint": "c", "best": "*", "resume": "r", "pause": "p"}
POINTS = ("○", "o")
"""The glyph of a single measurement, and the one for ASCII."""
_PRIORITY = ("best", "resume", "checkpoint", "pause")


class Curve(Protocol):
    """What a chart asks of a metric series."""

    def window(self, x0: float, x1: float, buckets: int) -> Sequence[braille.Bucket | None]:
        """The points of `[x0, x1)` in equal buckets."""
        ...


@dataclass(frozen=True, slots=True)
class Axis:
    """The horizontal axis: where it starts and how many steps one sub-column holds."""

    start: float
    width: float
    columns: int

    @property
    def end(self) -> float:
        """The first step that is no longer shown."""
        return self.start + self.width * self.columns * 2

    def column(self, x: float) -> int | None:
        """The cell that shows step `x`."""
        column = math.floor((x - self.start) / (self.width * 2) + 1e-9)
        return column if 0 <= column < self.columns else None


def axis_for(first: float, last: float, columns: int, *, growing: bool) -> Axis:
    """An axis that shows `first` to `last`.

    A growing axis leaves room on the right and is aligned to its own bucket width; a finished one fills its width.
    """
    buckets = max(columns * 2, 1)
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
class Figure:
    """All that one chart shows."""

    raw: Curve
    first: float
    last: float
    smooth: Curve | None = None
    log: bool = False
    growing: bool = True
    marks: Sequence[tuple[str, float]] = field(default_factory=tuple)
    points: Sequence[tuple[float, float]] = ()
    """Single measurements over the curve, as step and value."""
    cursor: float | None = None
    ascii_only: bool = False
    empty: str = ""


@dataclass(frozen=True, slots=True)
class Drawing:
    """The finished rows, and what a cursor needs to move over them."""

    rows: list[Row]
    axis: Axis
    measured: tuple[bool, ...]
    """For each cell column, whether a point lies in it."""


def draw(figure: Figure, width: int, height: int) -> Drawing:
    """Draw a chart of `width` × `height` cells; the last two rows are markers and step numbers."""
    columns = max(width - LABEL_WIDTH - 2, 1)
    plot_height = max(height - 2, 1)
    axis = axis_for(figure.first, figure.last, columns, growing=figure.growing)
    raw = figure.raw.window(axis.start, axis.end, columns * 2)
    smooth = figure.smooth.window(axis.start, axis.end, columns * 2) if figure.smooth else None
    measured = tuple(raw[2 * i] is not None or raw[2 * i + 1] is not None for i in range(columns))
    shown = [(column, y) for x, y in figure.points if (column := axis.column(x)) is not None and math.isfinite(y)]
    values = itertools.chain((v for bucket in raw if bucket for v in bucket[:2]), (y for _, y in shown))
    scale = braille.scale_for(values, log=figure.log)
    cursor = axis.column(figure.cursor) if figure.cursor is not None else None
    spans = _curve(raw, smooth, scale, columns, plot_height, cursor=cursor, ascii_only=figure.ascii_only)
    for column, y in shown:
        if column != cursor and (share := scale.fraction(y)) is not None:
            cell = min(max(plot_height - 1 - math.floor(share * plot_height), 0), plot_height - 1)
            spans[cell] = _with_point(spans[cell], column, POINTS[figure.ascii_only])
    labels = _labels(scale, plot_height) if any(measured) else {}
    rows: list[Row] = []
    for y, line in enumerate(spans):
        label = labels.get(y, "")
        rule = ("|" if figure.ascii_only else "┤") if label else ("|" if figure.ascii_only else "│")
        rows.append(((f"{label:>{LABEL_WIDTH}} {rule}", "muted"), *line))
    if not any(measured) and figure.empty:
        rows[plot_height // 2] = (*rows[plot_height // 2][:1], (figure.empty.center(columns), "muted"))
    if height >= 3:
        rows.append(_marker_row(figure, axis))
        rows.append(_step_row(axis) if any(measured) else ())
    return Drawing(rows[:height], axis, measured)


def _curve(
    raw: Sequence[braille.Bucket | None],
    smooth: Sequence[braille.Bucket | None] | None,
    scale: braille.Scale,
    columns: int,
    height: int,
    *,
    cursor: int | None,
    ascii_only: bool,
) -> list[list[braille.Span]]:
    cloud = braille.Canvas(columns, height)
    cloud.trace(raw, scale, connect=smooth is None)
    if smooth is None:
        return braille.compose(None, cloud, cursor=cursor, ascii_only=ascii_only)
    line = braille.Canvas(columns, height)
    line.trace(smooth, scale, bold=True)
    return braille.compose(cloud, line, cursor=cursor, ascii_only=ascii_only)


def _with_point(spans: list[braille.Span], column: int, glyph: str) -> list[braille.Span]:
    """A row with one cell replaced."""
    out: list[braille.Span] = []
    for words, style in spans:
        if 0 <= column < len(words):
            out += [(words[:column], style), (glyph, "accent"), (words[column + 1 :], style)]
        else:
            out.append((words, style))
        column -= len(words)
    return [span for span in out if span[0]]


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
        return f"{value:.6g}"
    return f"{value:.3g}".replace("e-0", "e-").replace("e+0", "e+")


def _marker_row(figure: Figure, axis: Axis) -> Row:
    """Checkpoints, the best step and resumes below the curve, on the corner of the axes."""
    glyphs = ASCII_MARKS if figure.ascii_only else MARKS
    floor, corner = ("-", "+") if figure.ascii_only else ("─", "└")
    cells = [floor] * axis.columns
    marked: set[int] = set()
    for kind in reversed(_PRIORITY):
        for mark, x in figure.marks:
            column = axis.column(x) if mark == kind else None
            if column is not None:
                cells[column] = glyphs[kind]
                marked.add(column)
    spans: list[braille.Span] = []
    rest = " " * (LABEL_WIDTH + 1) + corner
    for column, cell in enumerate(cells):
        if column in marked:
            spans += [(rest, "muted"), (cell, "accent")]
            rest = ""
        else:
            rest += cell
    return tuple(span for span in (*spans, (rest, "muted")) if span[0])


def _step_row(axis: Axis) -> Row:
    """Round step numbers at their columns."""
    labels = [" "] * (axis.columns + LABEL_WIDTH + 2)
    scale = braille.Scale(math.ceil(axis.start), max(math.ceil(axis.end) - 1, math.ceil(axis.start) + 1))
    free = 0
    for tick in scale.ticks(max(axis.columns // 12, 2)):
        column = axis.column(tick)
        label = text.thousands(round(tick))
        if column is None or tick != round(tick):
            continue
        at = min(column + LABEL_WIDTH + 2 - len(label) // 2, len(labels) - len(label))
        if at >= free:
            labels[at : at + len(label)] = label
            free = at + len(label) + 2
    return (("".join(labels).rstrip(), "muted"),)
