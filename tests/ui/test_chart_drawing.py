"""Charts are drawn from buckets: spikes stay, gaps show, bounds are round, and nothing dances."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidestep_tui.protocol.series import FANOUT, Series
from sidestep_tui.ui.widgets import axis, braille, plot

NAN, INF = math.nan, math.inf


class Points:
    """A plain list of points that answers like a metric series."""

    def __init__(self, ys: Sequence[float], first: int = 1) -> None:
        self._points = [(first + i, y) for i, y in enumerate(ys)]

    def window(self, x0: float, x1: float, buckets: int) -> list[braille.Bucket | None]:
        out: list[braille.Bucket | None] = [None] * buckets
        for x, y in self._points:
            if x0 <= x < x1:
                index = min(int((x - x0) / (x1 - x0) * buckets + 1e-9), buckets - 1)
                old = out[index]
                out[index] = (y, y, y) if old is None else (min(old[0], y), max(old[1], y), y)
        return out


def _text(rows: Sequence[Sequence[tuple[str, str]]]) -> list[str]:
    return ["".join(text for text, _ in row) for row in rows]


def _figure(ys: Sequence[float], **options: object) -> plot.Figure:
    return plot.Figure(raw=Points(ys), first=1, last=len(ys), **options)  # type: ignore[arg-type]


def test_a_rising_line_climbs_from_the_bottom_left_to_the_top_right() -> None:
    canvas = braille.Canvas(4, 2)
    canvas.trace([(v, v, v) for v in range(8)], braille.Scale(0, 7))
    rows = _text(braille.compose(None, canvas))
    assert rows == ["  ⡠⠊", "⡠⠊  "]


def test_blank_cells_are_spaces() -> None:
    canvas = braille.Canvas(6, 3)
    canvas.trace([(0.0, 0.0, 0.0)] * 12, braille.Scale(0, 1))
    rows = _text(braille.compose(None, canvas))
    assert rows[0] == " " * 6
    assert "⠀" not in "".join(rows)


def test_a_spike_inside_a_bucket_is_not_averaged_away() -> None:
    canvas = braille.Canvas(2, 4)
    canvas.trace([(0.1, 0.1, 0.1), (0.1, 9.0, 0.1), (0.1, 0.1, 0.1)], braille.Scale(0, 9))
    assert _text(braille.compose(None, canvas))[0].strip()


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_values_that_are_not_finite_leave_a_gap(bad: float) -> None:
    canvas = braille.Canvas(5, 1)
    one, gap = (0.5, 0.5, 0.5), (bad, bad, bad)
    canvas.trace([one, one, gap, gap, gap, gap, gap, gap, one, one], braille.Scale(0, 1))
    assert _text(braille.compose(None, canvas))[0][1:4] == "   "


def test_unmeasured_buckets_are_bridged() -> None:
    canvas = braille.Canvas(5, 1)
    one = (0.5, 0.5, 0.5)
    canvas.trace([one, *[None] * 8, one], braille.Scale(0, 1))
    assert " " not in _text(braille.compose(None, canvas))[0]


def test_a_row_without_line_keeps_one_style() -> None:
    cloud, line = braille.Canvas(20, 4), braille.Canvas(20, 4)
    cloud.trace([(0.9, 1.0, 1.0) if i % 7 else None for i in range(40)], braille.Scale(0, 1), connect=False)
    line.trace([(0.1, 0.1, 0.1)] * 40, braille.Scale(0, 1))
    rows = braille.compose(cloud, line)
    assert [len(row) for row in rows] == [1, 1, 1, 1]
    assert rows[0][0][1] == "cloud"
    assert rows[3][0][1] == "line"


def test_ascii_mode_is_ascii() -> None:
    drawing = plot.draw(_figure([1.0, 3.0, 2.0] * 30, ascii_only=True, marks=[("checkpoint", 9)], cursor=9), 60, 10)
    assert "".join(_text(drawing.rows)).isascii()
    assert braille.spark([1, 2, NAN], ascii_only=True).isascii()
    assert braille.bar(0.5, 10, ascii_only=True) == ("#####", ".....")


@pytest.mark.parametrize(
    "values",
    [
        [],
        [NAN],
        [INF, -INF],
        [0.0],
        [5.0],
        [-1.0, 1.0],
        [1e308, -1e308],
        [1e-320],
        [1e-12, 1e12],
        [0.1, NAN, 0.2],
        [-3, -1],
    ],
)
@pytest.mark.parametrize("log", [False, True])
def test_every_axis_is_usable(values: list[float], log: bool) -> None:
    scale = braille.scale_for(values, log=log)
    assert scale.low < scale.high
    assert scale.ticks(5) == sorted(scale.ticks(5))
    assert len(scale.ticks(5)) <= 5
    for value in values:
        share = scale.fraction(value)
        assert share is None or 0 <= share <= 1


def test_bounds_are_round_and_hold_still_when_a_value_inside_arrives() -> None:
    scale = braille.scale_for([0.113, 0.887])
    assert (scale.low, scale.high) == pytest.approx((0.1, 0.9))
    assert braille.scale_for([0.113, 0.5, 0.887]) == scale


def test_log_scale_gives_equal_ratios_equal_room() -> None:
    scale = braille.scale_for([0.01, 1.0], log=True)
    ratios = [scale.fraction(v) for v in (0.01, 0.1, 1.0)]
    assert ratios == pytest.approx([0.0, 0.5, 1.0])
    assert scale.fraction(0.0) is None
    assert scale.fraction(-1.0) is None


def test_a_new_point_changes_few_rows_of_a_growing_chart() -> None:
    ys = [0.5 + 0.3 * math.sin(i / 9) for i in range(400)]
    before = plot.draw(_figure(ys[:380]), 100, 20).rows
    after = plot.draw(_figure(ys[:381]), 100, 20).rows
    assert sum(a != b for a, b in zip(before, after, strict=True)) <= 3


def test_the_axis_of_a_growing_run_always_holds_the_last_step() -> None:
    for last in [*range(1, 2000, 7), 99_999, 100_000, 1_000_000]:
        shown = plot.axis_for(1, last, 60, growing=True)
        assert shown.column(1) == 0 or shown.start <= 1
        assert shown.column(last) is not None
        assert last < 130 or shown.column(last) >= 20  # type: ignore[operator]


def test_a_finished_run_fills_its_axis() -> None:
    shown = plot.axis_for(1, 777, 60, growing=False)
    assert shown.column(1) == 0
    assert shown.column(777) == 59


@pytest.mark.parametrize(
    ("window", "expected"),
    [("all", (1, 4213)), ("last 1k", (3250, 4249)), ("last epoch", (3713, 4212)), ("since resume", (4000, 4213))],
)
def test_windows_choose_their_steps_and_slide_in_eighths(window: axis.Window, expected: tuple[int, int]) -> None:
    start, end = axis.bounds(window, 1, 4213, steps_per_epoch=500, resumed_at=4000, growing=True)
    if window == "last epoch":
        assert start <= 4213 <= end
        assert end - start == 499
    else:
        assert (start, end) == expected


def test_sliding_windows_hold_still_for_an_eighth_of_their_length() -> None:
    seen = {
        axis.bounds("last 1k", 1, last, steps_per_epoch=None, resumed_at=None, growing=True)
        for last in range(4000, 4250)
    }
    assert len(seen) <= 3


def test_markers_stand_under_their_steps() -> None:
    figure = _figure([1.0] * 100, growing=False, marks=[("checkpoint", 50), ("best", 100), ("resume", 1)])
    row = _text(plot.draw(figure, 110, 10).rows)[-2]
    curve = row[plot.LABEL_WIDTH + 2 :]
    assert curve[0] == "↻"
    assert curve[-1] == "★"
    assert curve.count("◆") == 1


def test_the_cursor_is_a_rule_through_its_column() -> None:
    drawing = plot.draw(_figure([1.0] * 100, growing=False, cursor=50), 110, 10)
    column = drawing.axis.column(50)
    assert column is not None
    assert sum(style == "cursor" for row in drawing.rows for _, style in row) == 8


def test_rows_are_exactly_as_wide_as_asked() -> None:
    for width, height in [(40, 8), (77, 12), (118, 20), (200, 40)]:
        for ys in ([], [1.0], [0.1, NAN, INF] * 50, [1e9, 1e-9] * 500):
            rows = _text(plot.draw(_figure(ys or [NAN], smooth=Points(ys or [NAN])), width, height).rows)
            assert len(rows) == height
            assert all(len(row) == width for row in rows[:-1])
            assert len(rows[-1]) <= width


def test_an_empty_chart_says_what_it_waits_for() -> None:
    figure = plot.Figure(raw=Points([]), first=0, last=0, empty="no steps yet")
    assert any("no steps yet" in row for row in _text(plot.draw(figure, 60, 9).rows))


def test_spark_ignores_what_is_not_finite() -> None:
    assert braille.spark([1.0, NAN, None, INF, 3.0]) == "▁   █"
    assert braille.spark([]) == ""
    assert len(braille.spark([2.0, 2.0])) == 2


def test_bars_have_constant_width_and_survive_nonsense() -> None:
    assert {len("".join(braille.bar(f, 12))) for f in (-1, 0, 0.01, 0.5, 0.99, 1, 7, NAN, INF)} == {12}
    assert braille.bar(0.5, 4) == ("━━", "──")
    assert braille.bar(0.4, 4) == ("━╸", "──")


@pytest.mark.parametrize("ascii_only", [False, True])
def test_single_measurements_lie_on_the_curve_at_their_height_and_widen_the_axis(ascii_only: bool) -> None:
    glyph = plot.POINTS[ascii_only]
    plain = plot.draw(_figure([1.0] * 40, ascii_only=ascii_only), 60, 12)
    figure = _figure([1.0] * 40, ascii_only=ascii_only, points=[(1, 3.0), (40, 2.0), (99, 2.5), (20, NAN)])
    drawn = plot.draw(figure, 60, 12)
    rows = _text(drawn.rows)
    high, low = (next(y for y, row in enumerate(rows) if row.rstrip().rfind(glyph) == x) for x in _columns(rows, glyph))
    assert high < low
    assert sum(row.count(glyph) for row in rows[:-2]) == 2
    assert [len(row) for row in rows[:-1]] == [len(row) for row in _text(plain.rows)[:-1]]


def _columns(rows: Sequence[str], glyph: str) -> list[int]:
    return sorted(row.index(glyph) for row in rows[:-2] if glyph in row)


def _series(ys: Sequence[float]) -> Series:
    series = Series()
    series.extend(range(1, len(ys) + 1), list(ys))
    return series


values = st.one_of(st.floats(0.1, 2.0), st.floats(), st.sampled_from([NAN, INF, -INF, 0.0, 1e308, -1e308, 5e-324]))


@settings(deadline=None, max_examples=150)
@given(
    st.lists(values, max_size=80),
    st.integers(18, 300),
    st.integers(1, 40),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_whatever_is_measured_can_be_drawn(
    ys: list[float], width: int, height: int, log: bool, clip: bool, growing: bool, ascii_only: bool
) -> None:
    """NaN, infinities, one point, all equal, huge and tiny values, no point at all."""
    series = _series(ys)
    figure = plot.Figure(
        raw=plot.RawCurve(series),
        smooth=plot.SmoothCurve(series, 0.9) if ys else None,
        traces=[plot.Trace(plot.RawCurve(series), "accent", sign="A")],
        first=1,
        last=len(ys) or 1,
        log=log,
        clip=clip,
        growing=growing,
        gaps=plot.RawCurve(series).gaps,
        marks=[("checkpoint", 3), ("best", 1), ("pause", 900)],
        points=list(series),
        notes=[(1, "encoding 3 s"), (900, "x")],
        cursor=2,
        ascii_only=ascii_only,
        empty="nothing",
    )
    drawing = plot.draw(figure, width, height)
    rows = _text(drawing.rows)
    assert len(rows) == height
    assert all(len(row) == width for row in rows[: height - 2 if height > 2 else height])
    assert all(len(row) <= width for row in rows)
    if ascii_only:
        assert "".join(rows).isascii()


def test_an_outlier_is_left_out_and_said_so() -> None:
    ys = [0.5 + 0.1 * math.sin(n / 3) for n in range(200)]
    ys[120] = 40.0
    whole = plot.draw(_figure(ys, growing=False), 110, 14)
    fitted = plot.draw(_figure(ys, growing=False, clip=True), 110, 14)
    assert whole.clipped is None
    assert fitted.clipped == pytest.approx((0.4, 40.0), rel=0.01)
    column = fitted.axis.column(121)
    assert column is not None
    assert _text(fitted.rows)[0][plot.LABEL_WIDTH + 2 + column] == plot.CLIPPED[0][0]
    assert "▲" not in "".join(_text(whole.rows))


def test_what_is_no_outlier_and_what_was_measured_once_is_never_left_out() -> None:
    falling = [4 * math.exp(-n / 60) + 0.5 for n in range(400)]
    assert plot.draw(_figure(falling, clip=True), 110, 14).clipped is None
    noisy = [0.5 + 0.1 * math.sin(n) for n in range(400)]
    drawing = plot.draw(_figure(noisy, clip=True, points=[(200, 9.0)]), 110, 14)
    assert drawing.clipped is None
    assert plot.POINTS[0] in "".join(_text(drawing.rows))


@pytest.mark.parametrize("ascii_only", [False, True])
def test_curves_of_one_chart_are_told_apart_without_colour(ascii_only: bool) -> None:
    traces = [
        plot.Trace(plot.RawCurve(_series([level] * 90)), f"curve-{n}", sign=sign)
        for n, (level, sign) in enumerate([(1.0, "A"), (2.0, "B"), (3.0, "C")])
    ]
    figure = plot.Figure(traces=traces, first=1, last=90, growing=False, ascii_only=ascii_only)
    drawing = plot.draw(figure, 110, 14)
    rows = _text(drawing.rows)
    heights = [next(y for y, row in enumerate(rows) if sign in row) for sign in "ABC"]
    assert heights == sorted(heights, reverse=True)
    assert len(set(heights)) == 3
    styles = {style for row in drawing.rows[:-2] for words, style in row if set(words) & set("ABC")}
    assert styles == {"curve-0", "curve-1", "curve-2"}
    if ascii_only:
        assert "A" * 90 in rows[heights[0]]


def test_steps_without_a_number_are_marked_below() -> None:
    ys = [1.0] * 100
    ys[49] = NAN
    series = _series(ys)
    figure = plot.Figure(
        raw=plot.RawCurve(series), first=1, last=100, growing=False, gaps=plot.RawCurve(series).gaps,
        marks=[("checkpoint", 50), ("checkpoint", 80)],
    )  # fmt: skip
    row = _text(plot.draw(figure, 110, 10).rows)[-2]
    assert (row.count("×"), row.count("◆")) == (1, 1)


def test_notes_stand_only_where_the_curve_is_not() -> None:
    low = plot.draw(_figure([1.0, 2.0] + [1.0] * 98, growing=False, notes=[(40, "encoding 3 m")]), 110, 10)
    assert "encoding 3 m" in _text(low.rows)[0]
    high = plot.draw(_figure([1.0] + [2.0] * 99, growing=False, notes=[(40, "encoding 3 m")]), 110, 10)
    assert "encoding" not in "".join(_text(high.rows))


def test_a_curve_over_minutes_is_the_one_over_steps_where_steps_are_alike() -> None:
    sums, series = Series(), _series([math.sin(n / 9) for n in range(200)])
    sums.extend(range(1, 201), [60.0 * n for n in range(1, 201)])
    minutes = axis.Ruler("minutes", sums)
    by_step = plot.RawCurve(series).window(1, 201, 40)
    by_minute = plot.RawCurve(series, minutes).window(1, 201, 40)
    assert list(by_minute) == list(by_step)
    assert plot.SmoothCurve(series, 0.9, minutes).window(1, 201, 40) == plot.SmoothCurve(series, 0.9).window(1, 201, 40)


def test_a_paint_looks_at_columns_not_at_points() -> None:
    counts = []
    for points in (20_000, 200_000):
        series = _series([0.5 + n % 97 / 100 for n in range(points)])
        curves = plot.RawCurve(series), plot.SmoothCurve(series, 0.98)
        plot.draw(plot.Figure(raw=curves[0], smooth=curves[1], first=1, last=points), 126, 18)
        first = series.touched
        plot.draw(plot.Figure(raw=curves[0], smooth=curves[1], first=1, last=points), 126, 18)
        assert series.touched - first <= first / 100
        counts.append(first)
    assert counts[1] <= 2 * counts[0]
    assert counts[1] <= 232 * 2 * FANOUT * math.ceil(math.log(200_000, FANOUT))
