"""How long the chart of a run takes to paint: 10 thousand, 100 thousand and a million points on 116 x 16 cells.

Run it by hand: `python tests/benchmarks/bench_chart.py`. The budget is five milliseconds for a million points. The
first paint builds the pyramid and the moving average; every later one looks at the columns and what was added.
"""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable

from sidestep_tui.protocol.series import Series
from sidestep_tui.ui.widgets import plot

COLUMNS, ROWS = 116, 16
REPEATS = 15


def series_of(points: int) -> Series:
    """A falling, noisy loss."""
    noise = random.Random(7)
    series = Series("loss")
    series.extend(
        range(1, points + 1), [0.6 + math.exp(-5 * n / points) + 0.1 * noise.gauss(0, 1) for n in range(points)]
    )
    return series


def paint(series: Series, points: int, *, offset: int = 0) -> None:
    """One whole chart: raw points, moving average, axes."""
    figure = plot.Figure(
        raw=plot.RawCurve(series),
        first=1 + offset,
        last=points,
        smooth=plot.SmoothCurve(series, 0.98),
        growing=False,
    )
    plot.draw(figure, COLUMNS + plot.LABEL_WIDTH + 2, ROWS + 2)


def milliseconds(work: Callable[[int], None]) -> float:
    """The median of several calls, each with its own number."""
    times = []
    for number in range(REPEATS):
        start = time.perf_counter()
        work(number)
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def main() -> None:
    """Print paint times, and how they grow with the points."""
    paints = {}
    for points in (10_000, 100_000, 1_000_000):
        series = series_of(points)
        start = time.perf_counter()
        paint(series, points)
        first = (time.perf_counter() - start) * 1e3

        def grow(number: int, series: Series = series, points: int = points) -> None:
            series.append(points + number + 1.0, 0.5)
            paint(series, points)

        def elsewhere(number: int, series: Series = series, points: int = points) -> None:
            paint(series, points, offset=number + 1)

        next_one, window = milliseconds(grow), milliseconds(elsewhere)
        paints[points] = window
        print(f"{points:>9,} points: first {first:6.1f} ms, next {next_one:4.1f} ms, another window {window:4.1f} ms")
    print(f"a million against ten thousand: {paints[1_000_000] / paints[10_000]:.1f} times")


if __name__ == "__main__":
    main()
