"""The horizontal axis: steps, samples or minutes, zoomed and moved, and what stands below it."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidestep_tui.protocol import columns
from sidestep_tui.protocol.series import Series
from sidestep_tui.protocol.state import SERIES
from sidestep_tui.ui.widgets import axis
from sidestep_tui.ui.widgets.axis import Part, Ruler

seconds = st.lists(st.sampled_from([0.0, 0.25, 0.5, 3.0, math.nan]), min_size=1, max_size=60)


def run_of(durations: list[float]) -> dict[str, Series]:
    series = {name: Series(name) for name in SERIES}
    columns.extend(
        series,
        [
            {"step": n, "t": 0.0, "epoch": 1, "loss": 1.0, "lr": 1.0, "grad_norm": 1.0, "seconds": took,
             "samples_per_s": 4 / took if took else 0.0}
            for n, took in enumerate(durations, 1)
        ],
    )  # fmt: skip
    return series


@given(seconds)
def test_a_step_lies_where_its_time_has_come(durations: list[float]) -> None:
    series = run_of(durations)
    ruler = Ruler.of(series, "minutes")
    spent = [0.0, *itertools.accumulate(0.0 if math.isnan(took) else took for took in durations)]
    for step in range(len(durations) + 1):
        x = ruler.at(step)
        assert x == pytest.approx(spent[step] / 60)
        assert ruler.step_at(x) <= max(step, 1)
    assert ruler.step_at(spent[-1] / 60 + 1) == math.inf
    edges = ruler.edges(0.0, spent[-1] / 60 + 0.1, 7)
    assert edges == sorted(edges)


def test_samples_are_counted_and_an_old_journal_does_not_tell_them() -> None:
    series = run_of([0.5, 0.25, 3.0])
    assert [Ruler.of(series, "samples").at(step) for step in (0, 1, 2, 3, 9)] == [0, 4, 8, 12, 12]
    assert Ruler.of(series, "samples").is_known
    assert not Ruler.of(run_of([0.0]), "samples").is_known
    assert Ruler.of(run_of([0.0]), "step").is_known


@given(st.floats(0, 1e6), st.floats(1e-3, 1e6), st.integers(1, 200), st.booleans())
def test_an_axis_of_minutes_holds_both_its_ends(first: float, span: float, width: int, growing: bool) -> None:
    shown = axis.axis_for(first, first + span, width, growing=growing, whole=False)
    assert shown.column(first) == 0 or shown.start <= first
    assert shown.column(first + span) is not None
    assert shown.end - shown.start <= span * 3


@pytest.mark.parametrize("anchor", [1.0, 250.0, 700.0, 1000.0])
def test_zooming_in_and_out_holds_what_the_cursor_reads(anchor: float) -> None:
    part = None
    for _ in range(4):
        part = axis.zoomed(part, 0.5, 1, 1000, anchor=anchor, least=8)
        assert part is not None
        start, end = part.span(1, 1000, growing=False)
        assert 1 <= start <= anchor <= end <= 1000
    assert part is not None and part.length == pytest.approx(999 / 16)
    for _ in range(4):
        part = axis.zoomed(part, 2, 1, 1000, anchor=anchor, least=8)
    assert part is None


def test_a_zoom_without_cursor_follows_the_newest_step() -> None:
    part = axis.zoomed(None, 0.5, 0, 1000, anchor=None, least=8)
    assert part == Part(500, None)
    assert part.span(0, 2000, growing=False) == (1500, 2000)
    start, end = part.span(0, 2000, growing=True)
    assert start <= 1999 and end > 2000 and end - start == 500
    seen = {part.span(0, last, growing=True) for last in range(2000, 2062)}
    assert len(seen) == 1


def test_a_zoom_has_an_end() -> None:
    part = None
    for _ in range(40):
        part = axis.zoomed(part, 0.5, 0, 1000, anchor=None, least=8)
    assert part is not None and part.length == 8


@given(st.lists(st.sampled_from([-0.25, 0.25]), max_size=30))
def test_panning_stays_within_the_run(moves: list[float]) -> None:
    part = Part(100, None)
    for move in moves:
        part = axis.panned(part, move, 0, 1000)
        start, end = part.span(0, 1000, growing=False)
        assert 0 <= start < end <= 1000
    for _ in range(60):
        part = axis.panned(part, 0.25, 0, 1000)
    assert part.end is None


def test_an_axis_of_minutes_has_round_times_that_do_not_touch() -> None:
    for minutes in (0.4, 3, 47, 200, 1440, 20_000):
        for width in (40, 100, 280):
            line = axis.row(axis.axis_for(0, minutes, width, growing=False, whole=False), 10, "minutes")
            labels = [label for label in line.split("  ") if label.strip()]
            assert len(labels) >= 2, (minutes, width, line)
            assert len(line) <= width + 10
    assert [axis.clock(s) for s in (5, 60, 90, 3600, 5400, 86_400, 90_000)] == [
        "5 s", "1 m", "1 m 30", "1 h", "1 h 30", "1 d", "25 h"
    ]  # fmt: skip
