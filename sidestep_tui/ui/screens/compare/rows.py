"""Runs side by side as rows: results, values at the cursor, and what was set differently. Pure."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from rich.cells import cell_len, set_cell_size

from sidestep_tui.core import text
from sidestep_tui.launch.comparison import Difference, Result, Side
from sidestep_tui.protocol.heldout import HeldOut
from sidestep_tui.protocol.liveness import Liveness
from sidestep_tui.protocol.series import Series
from sidestep_tui.ui.screens.runs.columns import DASH, measure
from sidestep_tui.ui.widgets import plot
from sidestep_tui.ui.widgets.axis import Across, Ruler
from sidestep_tui.ui.widgets.rows import Row, Span, fit, row
from sidestep_tui.ui.widgets.status import condition

LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"
STYLES: Final = ("line", "warn", "good", "accent", "bad", "strong")
HELD_OUT: Final = "held_out"
METRICS: Final = (
    ("loss", "training loss"),
    (HELD_OUT, "loss on held-out songs"),
    ("lr", "learning rate"),
    ("grad_norm", "gradient norm"),
    ("samples_per_s", "samples per second"),
)
SMOOTHED: Final = frozenset({"loss", "grad_norm", "samples_per_s"})
_LABEL: Final = 20


def style_of(place: int) -> str:
    """The colour of a run; its letter tells it apart where colours repeat or are not seen."""
    return STYLES[place % len(STYLES)]


@dataclass(frozen=True, slots=True)
class Line:
    """One run's curve."""

    letter: str
    style: str
    series: Series
    ruler: Ruler

    def at(self, x: float, keep: float | None, reach: float = 0.0) -> float | None:
        """The value that the curve has reached at `x`; None before its first point, and beyond its last by `reach`."""
        if not self.series.xs or x < self.ruler.at(self.series.xs[0]):
            return None
        last = self.ruler.at(self.series.xs[-1])
        if x - reach > last:
            return None
        step = min(x, last) if self.ruler.across == "step" else self.ruler.step_at(min(x, last))
        values = self.series.ys if keep is None else self.series.smoothed(1 - keep)
        place = bisect_right(self.series.xs, step) - 1
        return values[place] if place >= 0 else None


def lines_of(sides: Sequence[Side], metric: str, across: Across) -> list[Line]:
    """The curves of one metric; only runs that have it, and know what the axis counts."""
    lines = []
    for place, side in enumerate(sides):
        series = _held_out(side) if metric == HELD_OUT else side.state.series[metric]
        ruler = Ruler.of(side.state.series, across)
        if len(series) and ruler.is_known:
            lines.append(Line(LETTERS[place], style_of(place), series, ruler))
    return lines


def _held_out(side: Side) -> Series:
    found = HeldOut.of(side.state.evals)
    series = Series(HELD_OUT)
    for step, loss in found.points if found else ():
        series.append(step, loss)
    return series


def metrics_of(sides: Sequence[Side]) -> list[tuple[str, str]]:
    """The metrics that at least two of the runs have, names and titles; the loss in any case."""
    known = [pair for pair in METRICS if len(lines_of(sides, pair[0], "step")) > 1]
    return known or [METRICS[0]]


@dataclass(frozen=True, slots=True)
class View:
    """How the curves are looked at."""

    metric: str = "loss"
    across: Across = "step"
    keep: float | None = 0.98
    log: bool = False
    cursor: float | None = None
    reach: float = 0.0
    """How much of the axis lies in the cursor's column, up to the cursor."""


def figure(sides: Sequence[Side], view: View, *, ascii_only: bool) -> plot.Figure:
    """All curves in one chart, each with its letter."""
    lines = lines_of(sides, view.metric, view.across)
    keep = view.keep if view.metric in SMOOTHED else None
    traces = []
    for line in lines:
        curve: plot.Curve = (
            plot.RawCurve(line.series, line.ruler) if keep is None else plot.SmoothCurve(line.series, keep, line.ruler)
        )
        traces.append(plot.Trace(curve, line.style, bold=keep is not None, sign=line.letter))
    return plot.Figure(
        first=min((line.ruler.at(line.series.xs[0]) for line in lines), default=0.0),
        last=max((line.ruler.at(line.series.xs[-1]) for line in lines), default=1.0),
        traces=traces,
        log=view.log,
        growing=False,
        across=view.across,
        cursor=view.cursor,
        ascii_only=ascii_only,
        empty="none of these runs has measured it",
    )


# Results

_COLUMNS: Final[tuple[tuple[str, int, Callable[[Result], str]], ...]] = (
    ("step", 15, lambda r: f"{text.thousands(r.step)}/{text.thousands(r.total_steps)}" if r.total_steps else DASH),
    ("loss", 8, lambda r: measure(r.loss)),
    ("best", 8, lambda r: measure(r.best)),
    ("of", 9, lambda r: ("held-out" if r.best_by == "held_out" else "training") if r.best is not None else ""),
    ("held-out", 9, lambda r: measure(r.held_out)),
    ("took", 10, lambda r: text.duration(r.seconds) if r.seconds is not None else DASH),
    ("s/step", 8, lambda r: f"{r.seconds_per_step:.3g}" if r.seconds_per_step is not None else DASH),
    ("adapter", 10, lambda r: text.file_size(r.adapter_bytes) if r.adapter_bytes is not None else DASH),
    ("parameters", 11, lambda r: text.count(r.parameters) if r.parameters is not None else DASH),
)
_TELLING: Final = ("loss", "best", "took", "s/step", "adapter", "step", "held-out", "of", "parameters")


def result_rows(sides: Sequence[Side], width: int, *, ascii_only: bool) -> list[Row]:
    """A title and one row a run: letter, name, status, and the numbers that there is room for."""
    name = min(max((cell_len(side.name) for side in sides), default=8), 24 if width < 100 else 40)
    left = width - name - 4 - 16
    taken = set()
    for key in _TELLING:
        cells = next(size for title, size, _ in _COLUMNS if title == key)
        if cells > left:
            break
        taken.add(key)
        left -= cells
    shown = [column for column in _COLUMNS if column[0] in taken]
    titles = "".join(title.rjust(size) for title, size, _ in shown)
    rows = [fit(row((f"   {'run'.ljust(name)}  {'':<15}{titles}", "muted")), width)]
    for place, side in enumerate(sides):
        state = condition(side.result.status, Liveness.DIED if side.result.status == "died" else None)
        spans: list[Span] = [
            (f" {LETTERS[place]} ", style_of(place)),
            (_cut(side.name, name), "strong"),
            (f"  {state.label(ascii_only=ascii_only):<15}", state.style),
            ("".join(tell(side.result).rjust(size) for _, size, tell in shown), ""),
        ]
        rows.append(fit(row(*spans), width))
    return rows


def cursor_row(sides: Sequence[Side], view: View, width: int) -> Row:
    """The exact values of all runs at the cursor."""
    if view.cursor is None:
        return fit(row((" h and l move a cursor over the curves", "muted")), width)
    keep = view.keep if view.metric in SMOOTHED else None
    by_letter = {
        line.letter: line.at(view.cursor, keep, view.reach) for line in lines_of(sides, view.metric, view.across)
    }
    spans: list[Span] = [(f" {place_of(view)}", "strong")]
    for place in range(len(sides)):
        value = by_letter.get(LETTERS[place])
        shown = DASH if value is None else text.number(value, 6) if math.isfinite(value) else text.number(value)
        spans += [(f"   {LETTERS[place]} ", style_of(place)), (shown, "")]
    return fit(row(*spans), width)


def place_of(view: View) -> str:
    """Where the cursor stands, in what the axis counts."""
    x = view.cursor or 0.0
    if view.across == "minutes":
        return text.duration(x * 60)
    return f"{'step' if view.across == 'step' else 'sample'} {text.thousands(math.floor(x))}"


# Settings


def difference_rows(found: Sequence[Difference], sides: Sequence[Side], same: int, width: int) -> list[Row]:
    """The settings that differ, a column for each run, under their letters."""
    problems = [
        row((f" {LETTERS[place]} ", style_of(place)), (side.problem, "warn"))
        for place, side in enumerate(sides)
        if side.problem
    ]
    if not found:
        words = " Every setting is the same." if same else " Their settings are not known."
        return [*problems, row((words, "muted"))]
    column = max((width - _LABEL - 2) // max(len(sides), 1), 8)
    head: list[Span] = [(f" {'settings that differ':<{_LABEL}} ", "muted")]
    for place in range(len(sides)):
        head.append((LETTERS[place].ljust(column), style_of(place)))
    rows = [fit(tuple(head), width)]
    for item in found:
        spans: list[Span] = [(f" {_cut(item.label, _LABEL)} ", "muted")]
        for told in item.texts:
            cell = DASH if told is None else told or "none"
            spans.append((_cut_left(cell, column - 1) + " ", "muted" if told is None else ""))
        rows.append(fit(row(*spans), width))
    rows.append(row((f" {text.plural(same, 'setting')} {'is' if same == 1 else 'are'} the same", "muted")))
    return [*problems, *rows]


def _cut(words: str, width: int) -> str:
    spare = width - cell_len(words)
    return words + " " * spare if spare >= 0 else set_cell_size(words, width - 1) + "…"


def _cut_left(words: str, width: int) -> str:
    """Of paths the end tells most; other words are cut at their end."""
    if cell_len(words) <= width or not words.startswith(("/", "~")):
        return _cut(words, width)
    return "…" + words[-(width - 1) :]
