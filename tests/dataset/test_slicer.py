"""Where songs are cut: exact lengths, cuts within their windows, no gaps, tails."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sidestep_tui.core.errors import UsageError
from sidestep_tui.dataset.cutting import slicer
from sidestep_tui.dataset.cutting.slicer import Cut, Cutting, Grid, Plan


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    """Grids as `slicer.grid` may return them, in small numbers so that corners are met."""
    length = draw(st.integers(8, 400))
    hop = draw(st.integers(4, length))
    window = draw(st.integers(0, (hop - 4) // 2))
    exact = draw(st.one_of(st.just(float(hop)), st.floats(2 * window + 4, hop))) if hop > 2 * window + 4 else hop
    return Grid(length, exact, window, draw(st.integers(0, length)), draw(st.booleans()))


def plan_at(frames: int, cuts: Grid, choose: float) -> tuple[Plan, dict[int, tuple[int, int, int]]]:
    """A plan whose cuts all lie at the same fraction of what was allowed; and what was asked for each index."""
    asked: dict[int, tuple[int, int, int]] = {}

    def find(index: int, first: int, last: int) -> Cut:
        assert first <= last
        sample = first + round(choose * (last - first))
        asked[index] = (first, last, sample)
        return Cut(sample, 0.0, True)

    return slicer.plan(frames, cuts, find), asked


@settings(deadline=None)
@given(grids(), st.integers(1, 5000), st.floats(0, 1))
def test_every_slice_is_exact_and_every_start_within_its_window(cuts: Grid, frames: int, choose: float) -> None:
    plan, asked = plan_at(frames, cuts, choose)
    if frames < cuts.length:
        assert [piece.length for piece in plan.slices] == ([frames] if cuts.keep_tail else [])
        return
    assert all(piece.length == cuts.length for piece in plan.slices)
    assert plan.slices[0].start == 0
    for index, piece in enumerate(plan.slices):
        assert 0 <= piece.start and piece.end <= frames
        if index and not piece.is_tail:
            assert abs(piece.start - cuts.nominal(index)) <= cuts.window
            assert piece.start == asked[index][2]
            assert piece.moved == piece.start - cuts.nominal(index)


@settings(deadline=None)
@given(grids(), st.integers(1, 5000), st.floats(0, 1))
@example(Grid(length=21, hop=21, window=2, min_tail=0, keep_tail=False), 83, 0.0)
def test_starts_rise_and_slices_leave_no_gap(cuts: Grid, frames: int, choose: float) -> None:
    plan, _ = plan_at(frames, cuts, choose)
    for before, after in zip(plan.slices, plan.slices[1:], strict=False):
        assert before.start < after.start <= before.end
    covered = plan.slices[-1].end if plan.slices else 0
    assert covered + plan.left_over == frames


@settings(deadline=None)
@given(grids(), st.integers(1, 5000))
def test_slices_are_counted_as_they_are_planned(cuts: Grid, frames: int) -> None:
    def find(index: int, first: int, last: int) -> Cut:
        # Where nominal, but never quite at the end of the song.
        return Cut(max(min(cuts.nominal(index), frames - cuts.length - 1), first), 0.0, True)

    assert slicer.count(frames, cuts) == len(slicer.plan(frames, cuts, find).slices)


@settings(deadline=None)
@given(grids(), st.integers(1, 5000), st.floats(0, 1))
def test_a_tail_is_kept_when_it_is_long_enough_or_wanted(cuts: Grid, frames: int, choose: float) -> None:
    plan, _ = plan_at(frames, cuts, choose)
    if cuts.keep_tail:
        assert plan.left_over == 0
    elif frames >= cuts.length:
        whole = [piece for piece in plan.slices if not piece.is_tail]
        tail = frames - cuts.nominal(len(whole))
        assert tail < cuts.length
        assert (plan.left_over == 0) == (tail >= cuts.min_tail or whole[-1].end == frames)
    for piece in plan.slices:
        assert not piece.is_tail or piece.end == frames


@settings(deadline=None)
@given(
    st.integers(1, 3),
    st.integers(0, 2**32),
    st.sampled_from(["noise", "rare", "positive", "silence"]),
    st.integers(0, 40),
    st.integers(0, 40),
    st.integers(0, 40),
)
def test_the_cut_is_the_quietest_common_crossing_or_the_quietest_sample(
    channels: int, seed: int, kind: str, first: int, width: int, nominal: int
) -> None:
    random = np.random.default_rng(seed)
    wave = random.uniform(-1, 1, (first + width + 42, channels))
    if kind == "rare":
        wave = np.abs(wave) * np.where(np.arange(len(wave)) < 40, 1, -1)[:, None]
    elif kind == "positive":
        wave = np.abs(wave) + 0.01
    elif kind == "silence":
        wave[:] = 0
    offset = 1000
    low, high, wish = offset + 1 + first, offset + 1 + first + width, offset + nominal
    cut = slicer.quietest_crossing(wave, offset, low, high, wish)

    def crosses(at: int, channel: int) -> bool:
        here = wave[at - offset, channel]
        beside = (wave[at - offset - 1, channel], wave[at - offset + 1, channel])
        return bool(here == 0 or any(here * other < 0 for other in beside))

    common = [at for at in range(low, high + 1) if all(crosses(at, channel) for channel in range(channels))]
    allowed = common or list(range(low, high + 1))
    loudest = {at: float(np.abs(wave[at - offset]).max()) for at in allowed}
    assert cut.sample in loudest
    assert cut.level == min(loudest.values())
    nearest = min(abs(at - wish) for at in allowed if loudest[at] == cut.level)
    assert abs(cut.sample - wish) == nearest
    assert cut.crosses == bool(common)
    assert not (cut.crosses and kind == "positive")


def test_the_defaults_are_thirty_seconds_every_twenty_nine() -> None:
    cuts = slicer.grid(Cutting(), 44100)
    assert (cuts.length, cuts.hop, cuts.window) == (30 * 44100, 29 * 44100, 2205)


@settings(deadline=None)
@given(
    st.floats(30, 300), st.sampled_from(["", "2", "3", "4", "6"]), st.floats(15, 60), st.sampled_from([44100, 48000])
)
def test_on_a_bar_grid_every_nominal_start_is_a_bar(bpm: float, beats: str, seconds: float, rate: int) -> None:
    bar = slicer.bar_seconds(bpm, beats)
    cuts = slicer.grid(Cutting(seconds=seconds), rate, bar)
    assert cuts.hop <= cuts.length - rate
    assert cuts.hop > cuts.length - rate - bar * rate - 2
    for index in (1, 2, 50):
        bars = cuts.nominal(index) / (bar * rate)
        # Within a sample: starts are rounded to samples one by one, never added up.
        assert abs(bars - round(bars)) * bar * rate <= 1.0 + index * 1e-6


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"overlap": 15.1}, "cannot share"),
        ({"seconds": 0.0}, "cannot be made"),
        ({"seconds": 601.0}, "cannot be made"),
        ({"seconds": math.nan}, "no length of time"),
        ({"window_ms": math.inf}, "no length of time"),
        ({"seconds": 0.2, "overlap": 0.1}, "too wide"),
        ({"min_tail": -1.0}, "no length of time"),
    ],
)
def test_numbers_that_contradict_each_other_are_refused(change: dict[str, float], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        slicer.grid(replace(Cutting(), **change), 48000)


def test_a_bar_longer_than_the_hop_is_refused() -> None:
    with pytest.raises(UsageError, match="No whole bar fits"):
        slicer.grid(Cutting(seconds=5), 48000, slicer.bar_seconds(30, "6"))
