"""Charts are drawn from buckets: spikes stay, gaps show, bounds are round, and nothing dances."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

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
