"""Looking closely at a run: zoom, pan, other axes, outliers, marks, and a cursor that reads everything."""

from __future__ import annotations

from collections.abc import Callable

from sidestep_tui.engine.fake_history import FakeRun
from sidestep_tui.protocol.state import RunState
from sidestep_tui.ui.widgets.chart import ChartPanel
from tests.ui.watching import app_on, make_run, settled

__all__ = ["make_run"]


async def test_keys_zoom_pan_and_lead_out_again(make_run: Callable[..., FakeRun]) -> None:
    run = make_run("finished", steps=800)
    async with app_on(run.path).run_test(size=(120, 40)) as pilot:
        chart = (await settled(pilot)).query_one(ChartPanel)

        def shown() -> tuple[int, int]:
            assert chart.drawing is not None
            return round(chart.drawing.axis.start), round(chart.drawing.axis.end)

        assert shown() == (1, 801)
        await pilot.press("greater_than_sign", "greater_than_sign")
        assert shown()[0] >= 600 and "zoomed" in str(chart.border_title)
        await pilot.press("comma")
        assert shown()[1] < 800
        await pilot.press("h", "greater_than_sign")
        assert chart.cursor is not None and shown()[0] <= chart.cursor <= shown()[1]
        await pilot.press("full_stop", "full_stop", "less_than_sign")
        assert "zoomed" in str(chart.border_title)
        await pilot.press("escape")
        assert chart.cursor is None and chart.part is not None
        await pilot.press("escape")
        assert shown() == (1, 801) and "all" in str(chart.border_title)
        await pilot.press("greater_than_sign", "w")
        assert "last 1k" in str(chart.border_title)


async def test_the_cursor_reads_all_curves_at_a_mark(make_run: Callable[..., FakeRun]) -> None:
    run = make_run("resumed", steps=400, steps_per_epoch=20, held_out=1)
    async with app_on(run.path).run_test(size=(200, 40)) as pilot:
        screen = await settled(pilot)
        chart = screen.query_one(ChartPanel)
        await pilot.press("m")
        reading = str(chart.border_subtitle)
        state = screen.state
        loss = state.series["loss"]
        index = list(loss.xs).index(100)
        assert f"step 100 · loss {loss.ys[index]:.6g} · ema {loss.smoothed(0.02)[index]:.6g}" in reading
        assert "checkpoint" in reading and "epoch 5" in reading
        held = next(event["loss"] for event in state.evals if event["step"] == 100)
        assert f"held out {held:.4g}" in reading
        for name in ("lr", "grad"):
            assert f" · {name} " in f"{reading}{chart.border_title}"
        await pilot.press("m")
        assert "resume" in str(chart.border_subtitle)
        await pilot.press("home")
        first = int(str(chart.border_subtitle).split()[1])
        assert chart.drawing is not None and chart.drawing.axis.column(first) == chart.drawing.measured.index(True)
        await pilot.press("end")
        assert f"step {int(loss.xs[-1])} " in str(chart.border_subtitle)


async def test_the_axis_counts_steps_samples_or_minutes_on_every_page(make_run: Callable[..., FakeRun]) -> None:
    run = make_run("finished", steps=300, step_seconds=2.0, held_out=1)
    async with app_on(run.path).run_test(size=(120, 40)) as pilot:
        chart = (await settled(pilot)).query_one(ChartPanel)
        axes = []
        for _ in range(4):
            axes.append(chart.plain.splitlines()[-1].split("  ")[-1].strip())
            await pilot.press("x")
        assert axes[0] == axes[3] == axes[1] == "300"
        assert axes[2] == "10 m"
        titles = []
        for _ in range(7):
            assert "by samples" in str(chart.border_title)
            assert len(chart.plain.splitlines()) == chart.size.height
            titles.append(str(chart.border_title).split(" · ")[0])
            await pilot.press("h", "right_square_bracket")
            assert "NaN" not in str(chart.border_subtitle)
        assert "memory in GiB" in titles and "loss by noise level" in titles and len(set(titles)) == 7


async def test_another_axis_shows_the_same_part(make_run: Callable[..., FakeRun]) -> None:
    async with app_on(make_run("finished", steps=800).path).run_test(size=(120, 40)) as pilot:
        chart = (await settled(pilot)).query_one(ChartPanel)
        await pilot.press("greater_than_sign", "comma", "h", "h")
        read = str(chart.border_subtitle).split(" · ")[0]
        part = chart.part
        await pilot.press("x")
        assert str(chart.border_subtitle).split(" · ")[0] == read
        assert "zoomed" in str(chart.border_title) and "by samples" in str(chart.border_title)
        await pilot.press("x", "x")
        assert str(chart.border_subtitle).split(" · ")[0] == read
        assert part is not None and chart.part is not None
        assert abs(chart.part.length - part.length) <= 3


async def test_a_journal_that_is_being_read_fills_the_axis_of_the_summary(make_run: Callable[..., FakeRun]) -> None:
    run = make_run("finished", steps=800)
    async with app_on(run.path).run_test(size=(120, 40)) as pilot:
        screen = await settled(pilot)
        chart, whole = screen.query_one(ChartPanel), screen.state
        chart.show(RunState(), live=False, until=800)
        assert "reading the journal…" in chart.plain
        half = RunState.from_events(run.events[: len(run.events) // 2])
        chart.show(half, live=False, until=800)
        drawing = chart.drawing
        assert drawing is not None and "reading the journal" in str(chart.border_title)
        assert drawing.axis.column(800) is not None
        assert 0.4 < sum(drawing.measured) / len(drawing.measured) < 0.6
        chart.show(whole, live=False)
        assert chart.drawing is not None and all(chart.drawing.measured)
        assert "reading" not in str(chart.border_title)


async def test_outliers_are_left_out_until_they_are_asked_for(make_run: Callable[..., FakeRun]) -> None:
    run = make_run("finished", steps=300)
    async with app_on(run.path).run_test(size=(120, 40)) as pilot:
        screen = await settled(pilot)
        chart = screen.query_one(ChartPanel)
        assert "clipped" not in str(chart.border_title)
        loss = screen.state.series["loss"]
        loss.append(301, 70.0)
        loss.append(302, 0.6)
        chart.repaint()
        assert "clipped" in str(chart.border_title) and "70" in str(chart.border_title)
        await pilot.press("b")
        assert "clipped" not in str(chart.border_title)
        assert chart.drawing is not None and chart.drawing.clipped is None
