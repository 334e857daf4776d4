from __future__ import annotations

import itertools
import math
import random
from bisect import bisect_right

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidestep_tui.protocol.series import FANOUT, Series

ys = st.one_of(st.floats(-1e6, 1e6), st.sampled_from([math.nan, math.inf, -math.inf]))
points = st.lists(st.tuples(st.integers(0, 400), ys), max_size=300)


def extremes(values: list[float]) -> tuple[float, float]:
    finite = [value for value in values if math.isfinite(value)]
    return (min(finite), max(finite)) if finite else (math.nan, math.nan)


def brute_window(kept: list[tuple[float, float]], x0: float, x1: float, buckets: int) -> list[object]:
    """What a window must be, from its definition, one point at a time."""
    width = (x1 - x0) / buckets
    edges = [x0 + width * (bucket + 1) for bucket in range(buckets - 1)]
    groups: list[list[float]] = [[] for _ in range(buckets)]
    for x, y in kept:
        if x0 <= x <= x1:
            groups[bisect_right(edges, x)].append(y)
    return [(*extremes(group), group[-1]) if group else None for group in groups]


def comparable(bucket: object) -> object:
    return tuple("nan" if math.isnan(v) else v for v in bucket) if isinstance(bucket, tuple) else bucket


def supersede(sequence: list[tuple[int, float]]) -> list[tuple[float, float]]:
    kept: list[tuple[float, float]] = []
    for x, y in sequence:
        while kept and kept[-1][0] >= x:
            kept.pop()
        kept.append((float(x), y))
    return kept


@settings(deadline=None)
@given(points, st.integers(-10, 400), st.integers(0, 420), st.integers(1, 40), st.data())
def test_a_window_is_what_a_look_at_every_point_finds(
    sequence: list[tuple[int, float]], x0: int, span: int, buckets: int, data: st.DataObject
) -> None:
    series = Series()
    probes = data.draw(st.sets(st.integers(0, 300), max_size=3))
    for index, (x, y) in enumerate(sequence):
        series.append(x, y)
        if index in probes:
            series.window(0, 400, 7)  # a window in between builds part of the pyramid
    expected = brute_window(supersede(sequence), x0, x0 + span, buckets)
    found = series.window(x0, x0 + span, buckets)
    assert list(map(comparable, found)) == list(map(comparable, expected))


@given(points, st.integers(-1, 401))
def test_truncating_leaves_what_lies_up_to_there(sequence: list[tuple[int, float]], x: int) -> None:
    series = Series()
    for point in sequence:
        series.append(*point)
    series.window(0, 400, 50)
    series.truncate_after(x)
    kept = [point for point in supersede(sequence) if point[0] <= x]
    assert list(series.xs) == [point[0] for point in kept]
    series.append(500, 3.0)
    expected = brute_window([*kept, (500.0, 3.0)], 0, 500, 9)
    assert list(map(comparable, series.window(0, 500, 9))) == list(map(comparable, expected))


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.integers(1, 1500), st.floats(0.0, 1.0)), min_size=1, max_size=5),
    st.integers(0, 2**32),
    st.integers(1, 60),
)
def test_a_deep_pyramid_stays_right_through_resumes(legs: list[tuple[int, float]], seed: int, buckets: int) -> None:
    """Thousands of points, several levels, going back again and again."""
    noise = random.Random(seed)
    series = Series()
    kept: list[tuple[float, float]] = []
    for length, back in legs:
        cut = int(len(kept) * back)
        kept = kept[:cut]
        series.truncate_after(cut - 1)
        leg = [(float(cut + n), math.nan if noise.random() < 0.01 else noise.gauss(0, 1)) for n in range(length)]
        kept += leg
        series.extend([x for x, _ in leg], [y for _, y in leg])
        end = len(kept) - 1
        x0 = noise.randint(0, end)
        for window in ((0, end), (x0, noise.randint(x0, end))):
            found = series.window(*window, buckets)
            assert list(map(comparable, found)) == list(map(comparable, brute_window(kept, *window, buckets)))


@given(st.lists(points, max_size=5))
def test_extending_equals_appending(batches: list[list[tuple[int, float]]]) -> None:
    one, other = Series(), Series()
    for batch in batches:
        one.extend([x for x, _ in batch], [y for _, y in batch])
        for x, y in batch:
            other.append(x, y)
    assert list(one.xs) == list(other.xs)
    assert list(map(repr, one.ys)) == list(map(repr, other.ys))


@given(points)
def test_x_always_rises(sequence: list[tuple[int, float]]) -> None:
    series = Series()
    series.extend([x for x, _ in sequence], [y for _, y in sequence])
    assert all(left < right for left, right in zip(series.xs, series.xs[1:], strict=False))


def test_nothing_finite_is_a_bucket_of_nan() -> None:
    series = Series()
    series.append(1, math.nan)
    series.append(2, math.inf)
    low, high, last = series.window(0, 4, 1)[0] or (0.0, 0.0, 0.0)
    assert math.isnan(low) and math.isnan(high) and last == math.inf


def test_infinity_does_not_stretch_the_bounds() -> None:
    series = Series()
    series.extend(range(100), [math.inf if x == 50 else float(x) for x in range(100)])
    assert series.bounds() == (0.0, 99.0)
    assert series.bounds(50, 50) is None
    assert series.bounds(200, 300) is None
    assert series.bounds(10, 20) == (10.0, 20.0)


def test_a_sum_beyond_floats_still_has_bounds() -> None:
    series = Series()
    series.extend([1, 2, 3], [1.7e308, 1.7e308, 1.0])
    assert series.bounds() == (1.0, 1.7e308)


def test_the_newest_value_may_be_nan() -> None:
    series = Series("loss")
    assert series.last is None and series.last_x is None and series.first_x is None
    series.append(1, 0.5)
    series.append(2, math.nan)
    assert series.last is not None and math.isnan(series.last)
    assert (series.first_x, series.last_x, len(series), next(iter(series))) == (1.0, 2.0, 2, (1.0, 0.5))


@pytest.mark.parametrize(("x0", "x1", "buckets"), [(0, 1, 0), (2, 1, 3)])
def test_an_impossible_window_is_refused(x0: float, x1: float, buckets: int) -> None:
    with pytest.raises(ValueError):
        Series().window(x0, x1, buckets)


def test_a_window_of_one_x_has_its_point_in_the_last_bucket() -> None:
    series = Series()
    series.append(5, 1.0)
    assert series.window(5, 5, 3) == [None, None, (1.0, 1.0, 1.0)]


@given(st.lists(ys, max_size=60), st.floats(0.01, 1.0), st.data())
def test_smoothing_is_the_weighted_mean_of_the_finite_values_so_far(
    values: list[float], alpha: float, data: st.DataObject
) -> None:
    series = Series()
    for index, value in enumerate(values):
        series.append(index, value)
        if data.draw(st.booleans()):
            series.smoothed(alpha)
    smooth = series.smoothed(alpha)
    assert len(smooth) == len(values)
    for index in range(len(values)):
        finite = [value for value in values[: index + 1] if math.isfinite(value)]
        if not finite:
            assert math.isnan(smooth[index])
            continue
        weights = [(1 - alpha) ** age for age in range(len(finite))][::-1]
        expected = math.fsum(w * v for w, v in zip(weights, finite, strict=True)) / math.fsum(weights)
        assert smooth[index] == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_smoothing_forgets_what_was_superseded() -> None:
    series, straight = Series(), Series()
    series.extend(range(10), [float(x) for x in range(10)])
    series.smoothed(0.3)
    series.append(5, 100.0)
    straight.extend(range(6), [0.0, 1.0, 2.0, 3.0, 4.0, 100.0])
    assert list(series.smoothed(0.3)) == list(straight.smoothed(0.3))


def test_a_second_window_reads_a_sliver_of_the_points() -> None:
    """The pyramid's point: cost follows the buckets, not the points."""
    series = Series()
    n = 200_000
    series.extend(range(n), [float(x % 977) for x in range(n)])
    series.window(0, n, 100)
    touched = 0
    original = series.ys

    class Counting:
        def __len__(self) -> int:
            return len(original)

        def __getitem__(self, key: int | slice) -> object:
            nonlocal touched
            found = original[key]
            touched += len(found) if isinstance(key, slice) else 1  # type: ignore[arg-type]
            return found

    series.ys = Counting()  # type: ignore[assignment]
    series.window(0, n, 100)
    assert touched < n // 40


def test_a_window_of_a_million_points_looks_at_few_of_them() -> None:
    """Columns times the levels of the pyramid, and for a window seen before only what was added."""
    series, points, buckets = Series(), 1_000_000, 232
    series.extend(range(points), [float(n % 997) for n in range(points)])
    series.window(0, points, buckets)
    most = buckets * 2 * FANOUT * math.ceil(math.log(points, FANOUT))
    assert 0 < series.touched < most
    for _ in range(3):
        series.append(len(series), 5000.0)
        series.window(0, points + 10, buckets)
        before = series.touched
        series.append(len(series), 5000.0)
        assert series.window(0, points + 10, buckets)[-1] is not None
        assert series.touched - before <= most / buckets


@given(points, st.integers(0, 400), st.sampled_from([0.02, 0.5]))
@settings(deadline=None)
def test_an_average_goes_back_with_its_series(sequence: list[tuple[int, float]], x: int, alpha: float) -> None:
    long = [(n - 3000, float(n % 7)) for n in range(3000)] + sequence
    series, fresh = Series(), Series()
    for point in long:
        series.append(*point)
    series.smoothed(alpha)
    series.truncate_after(x)
    series.append(500, 3.0)
    fresh.extend(series.xs, series.ys)
    assert list(map(repr, series.smoothed(alpha))) == list(map(repr, fresh.smoothed(alpha)))


@given(points, st.lists(st.integers(-10, 420), min_size=2, max_size=30))
def test_buckets_between_any_edges_are_what_lies_there(sequence: list[tuple[int, float]], cuts: list[int]) -> None:
    series = Series()
    for point in sequence:
        series.append(*point)
    edges = sorted(cuts)
    expected = []
    for left, right in itertools.pairwise(edges):
        group = [y for x, y in supersede(sequence) if left <= x < right]
        expected.append((*extremes(group), group[-1]) if group else None)
    assert list(map(comparable, series.between(edges))) == list(map(comparable, expected))
