"""Steps become columns: what they add up to follows a resume, and gauges between them do not break them up."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidestep_tui.engine.fake_history import history
from sidestep_tui.protocol import columns
from sidestep_tui.protocol.events import Event
from sidestep_tui.protocol.series import Series
from sidestep_tui.protocol.state import SERIES, RunState


def step(n: int, **fields: Any) -> Event:
    known = {"t": 1000.0 + n, "epoch": (n - 1) // 10 + 1, "loss": 0.5, "lr": 1e-4, "grad_norm": 0.1}
    return {"type": "step", "step": n, "samples_per_s": 8.0, "seconds": 0.5, **known, **fields}


def fresh() -> dict[str, Series]:
    return {name: Series(name) for name in SERIES}


def points(series: Series) -> list[tuple[float, float]]:
    return list(series)


def test_time_and_samples_add_up() -> None:
    series = fresh()
    columns.extend(series, [step(n) for n in range(1, 4)])
    columns.extend(series, [step(4, seconds=2.0, samples_per_s=1.0)])
    assert points(series["elapsed"]) == [(1, 0.5), (2, 1.0), (3, 1.5), (4, 3.5)]
    assert points(series["samples"]) == [(1, 4), (2, 8), (3, 12), (4, 14)]
    assert series["t"].last == 1004.0


def test_what_is_superseded_does_not_count_twice() -> None:
    series = fresh()
    columns.extend(series, [step(n) for n in range(1, 40)])
    columns.extend(series, [step(n, seconds=1.0) for n in range(21, 25)])
    assert series["elapsed"].last == 20 * 0.5 + 4
    assert points(series["epoch"]) == [(1, 1), (11, 2), (21, 3)]
    assert series["loss"].last_x == 24


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0, "x", None])
def test_a_step_without_a_sensible_duration_adds_none(bad: object) -> None:
    series = fresh()
    columns.extend(series, [step(1), step(2, seconds=bad), step(3)])
    assert list(series["elapsed"].ys) == [0.5, 0.5, 1.0]
    assert list(series["samples"].ys) == [4.0, 4.0, 8.0]
    assert len(series["loss"]) == 3


def test_gauges_between_steps_become_the_memory_at_their_step() -> None:
    gauge = {"type": "gpu", "gpus": [{"mem_used": 2**30}, {"mem_used": 3 * 2**30}, {"mem_used": "?"}]}
    alone = {"type": "gpu", "gpus": [], "rss": 2**29}
    assert columns.memory_points([gauge, step(7), alone, step(8), {"type": "gpu"}], 6) == ([6, 7], [3.0, 0.5])


def test_stretches_hold_every_event_once_and_in_order() -> None:
    events = history(300, scenario="resumed")
    cut = list(columns.stretches(events))
    assert [event for stretch in cut for event in stretch] == events
    flows = [stretch for stretch in cut if stretch[0]["type"] in ("step", "gpu")]
    assert max(len(flow) for flow in flows) > 30


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 400), max_size=6), st.sampled_from(["resumed", "diverged", "finished"]))
def test_however_a_journal_is_cut_the_curves_are_the_same(cuts: list[int], scenario: str) -> None:
    events = history(200, scenario=scenario, held_out=1)
    whole, parts = RunState.from_events(events), RunState()
    edges = [0, *sorted(min(cut, len(events)) for cut in cuts), len(events)]
    for start, stop in itertools.pairwise(edges):
        parts.apply_all(events[start:stop])
    for name in SERIES:
        assert list(map(repr, parts.series[name])) == list(map(repr, whole.series[name])), name
        xs = whole.series[name].xs
        assert all(left < right for left, right in itertools.pairwise(xs)), name
    assert (parts.step, parts.last_t, parts.gpus) == (whole.step, whole.last_t, whole.gpus)
