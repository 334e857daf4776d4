"""Waveforms with cut marks as text: pure functions from the outline of a song and its slices to rows of spans.

Where slices overlap, the outline is `accent`; what no slice holds is `faint`; a cut is a rule from top to bottom. The
brackets below say the same without colour: slices alternate between two rows, so that what two share stands in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sidestep_tui.ui.widgets.braille import Bucket, Canvas, Scale, Span, glyph

_QUIETEST = 0.02
# Share of the cells that may be rules.
_DENSE = 0.2
_RULER_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 3600, 7200)


@dataclass(frozen=True, slots=True)
class Piece:
    """A slice in seconds from the start of its song."""

    start: float
    end: float
    is_tail: bool = False


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a song that is shown, and on how many cells."""

    first: float
    last: float
    width: int

    def column(self, seconds: float) -> int:
        """The cell of a moment; it may lie outside."""
        return int((seconds - self.first) / max(self.last - self.first, 1e-9) * self.width)


def outline(
    low: Sequence[float],
    high: Sequence[float],
    seconds: float,
    pieces: Sequence[Piece] | None,
    window: Window,
    height: int,
    *,
    ascii_only: bool = False,
) -> list[list[Span]]:
    """The waveform of `height` rows, with its cuts (None: not known); `low` and `high` span all `seconds`.

    It is scaled to its loudest sample: what counts here is where sound and silence are.
    """
    canvas = Canvas(window.width, height)
    loudest = max(max(high, default=0.0), -min(low, default=0.0), _QUIETEST)
    buckets = [_bucket(low, high, seconds, window, half) for half in range(window.width * 2)]
    canvas.trace(buckets, Scale(-loudest, loudest), connect=False)
    styles = _styles(pieces, window)
    rule = "#" if ascii_only else "│"
    dense = styles.count("cursor") > window.width * _DENSE
    rows: list[list[Span]] = []
    for y, cells in enumerate(canvas.rows):
        spans: list[Span] = []
        for x, mask in enumerate(cells):
            style = styles[x]
            # Where cuts are many, their rules would hide the outline: then they only tick its first row.
            ruled = style == "cursor" and (not dense or y == 0)
            style = "line" if style == "cursor" and not ruled else style
            sign = rule if ruled else glyph(mask, ascii_only=ascii_only)
            if spans and spans[-1][1] == style:
                spans[-1] = (spans[-1][0] + sign, style)
            else:
                spans.append((sign, style))
        rows.append(spans)
    return rows


def _bucket(low: Sequence[float], high: Sequence[float], seconds: float, window: Window, half: int) -> Bucket | None:
    """What lies in half a cell; None beyond the song."""
    columns = len(low)
    if not columns or seconds <= 0:
        return None
    step = (window.last - window.first) / (window.width * 2)
    begin = int((window.first + half * step) / seconds * columns)
    end = max(int((window.first + (half + 1) * step) / seconds * columns), begin + 1)
    if begin >= columns:
        return None
    lowest, highest = min(low[begin:end]), max(high[begin:end])
    return lowest, highest, highest


def _styles(pieces: Sequence[Piece] | None, window: Window) -> list[str]:
    """How each cell of the outline looks."""
    width = window.width
    if pieces is None:
        return ["line"] * width
    held = [0] * width
    for piece in pieces:
        for x in range(max(window.column(piece.start), 0), min(max(window.column(piece.end), 0), width)):
            held[x] += 1
    styles = ["faint" if not times else "line" if times <= 1 else "accent" for times in held]
    for piece in pieces:
        if piece.start > 0 and 0 <= (x := window.column(piece.start)) < width:
            styles[x] = "cursor"
    return styles


def brackets(
    pieces: Sequence[Piece] | None, seconds: float, window: Window, *, ascii_only: bool = False
) -> list[list[Span]]:
    """Two rows in which every slice is a bracket with its number, and what is left over is named."""
    rows = [[" "] * window.width for _ in range(2)]
    if pieces is None:
        return [[], []]
    for number, piece in enumerate(pieces, 1):
        label = f"{number} tail" if piece.is_tail else str(number)
        _bracket(rows[(number - 1) % 2], window, piece.start, piece.end, label, ascii_only=ascii_only)
    end = max((piece.end for piece in pieces), default=0.0)
    if seconds - end > 0.05:
        words = f"{seconds - end:.1f} s left over"
        _write(rows[len(pieces) % 2], window, end, seconds, words, "." if ascii_only else "·")
    return [[("".join(cells).rstrip(), "muted")] for cells in rows]


def _bracket(cells: list[str], window: Window, start: float, end: float, label: str, *, ascii_only: bool) -> None:
    left, line, right = ("[", "-", "]") if ascii_only else ("├", "─", "┤")
    _write(cells, window, start, end, label, line)
    first, last = window.column(start), max(window.column(end) - 1, window.column(start))
    if 0 <= last < window.width:
        cells[last] = right
    if 0 <= first < window.width:
        cells[first] = left


def _write(cells: list[str], window: Window, start: float, end: float, label: str, filler: str) -> None:
    """Fill the cells of a stretch, with its label near the beginning of what is visible if there is room."""
    first, last = max(window.column(start), 0), min(max(window.column(end), window.column(start) + 1), window.width)
    for x in range(first, last):
        cells[x] = filler
    if last - first >= len(label) + 2:
        cells[first + 1 : first + 1 + len(label)] = label


def ruler(window: Window) -> list[Span]:
    """Round moments under the outline, as many as have room."""
    span = max(window.last - window.first, 1e-9)
    step = next((step for step in _RULER_STEPS if step / span * window.width >= 10), _RULER_STEPS[-1])
    cells = [" "] * window.width
    moment = -(-window.first // step) * step
    while moment < window.last:
        label = clock(moment, tenths=step < 1)
        x = window.column(moment)
        if x + len(label) <= window.width:
            cells[x : x + len(label)] = label
        moment += step
    return [("".join(cells).rstrip(), "muted")]


def clock(seconds: float, *, tenths: bool = False) -> str:
    """`72.5` → `1:12`, or `1:12.5`."""
    whole = round(seconds * 10) if tenths else round(seconds) * 10
    minutes, rest = divmod(whole, 600)
    return f"{minutes}:{rest // 10:02d}" + (f".{rest % 10}" if tenths else "")
