"""The dashboard shows every kind of run, paints what changed, and steers through the inbox."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from textual.widgets import Input

from sidestep_tui.core import env
from sidestep_tui.core.errors import RunError
from sidestep_tui.engine.fake_history import SCENARIOS, FakeRun
from sidestep_tui.protocol.journal import Journal
from sidestep_tui.protocol.liveness import Liveness
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.protocol.state import RunState
from sidestep_tui.ui.dialogs.confirm import Confirm, Tell
from sidestep_tui.ui.dialogs.typed import TypeWord
from sidestep_tui.ui.feed import Batch
from sidestep_tui.ui.screens.dashboard.commands import Order
from sidestep_tui.ui.screens.dashboard.info import RunInfo
from sidestep_tui.ui.screens.dashboard.screen import DashboardScreen
from sidestep_tui.ui.widgets.chart import ChartPanel
from sidestep_tui.ui.widgets.log import LogPanel
from sidestep_tui.ui.widgets.rows import Rows
from tests.ui.watching import (
    NOW,
    SIZE,
    Watch,
    app_on,
    facts_of,
    make_run,
    orders,
    settled,
    until,
    utc,
)

__all__ = ["make_run", "utc"]
pytestmark = pytest.mark.usefixtures("utc")

WORDS = {
    "starting": "○ starting",
    "encoding": "● encoding",
    "live": "● training",
    "paused": "‖ paused",
    "stopping": "● stopping",
    "resumed": "● training",
    "finished": "✓ finished",
    "stopped": "■ stopped",
    "crashed": "✕ died",
    "diverged": "✕ diverged",
    "failed": "✕ failed",
    "out_of_memory": "✕ out of memory",
}


@pytest.mark.parametrize(
    ("scenario", "size"), [*((scenario, (80, 24)) for scenario in SCENARIOS), ("live", (120, 40)), ("live", (200, 50))]
)
async def test_every_kind_of_run_displays(
    make_run: Callable[..., FakeRun], scenario: str, size: tuple[int, int]
) -> None:
    run = make_run(scenario)
    async with app_on(run.path).run_test(size=size) as pilot:
        screen = await settled(pilot)
        assert WORDS[scenario] in facts_of(screen)
        assert all(len(line) <= size[0] for line in facts_of(screen).splitlines())


async def test_a_window_below_the_minimum_says_so(make_run: Callable[..., FakeRun]) -> None:
    async with app_on(make_run("live").path).run_test(size=(50, 12)) as pilot:
        screen = await settled(pilot)
        assert screen.query_one("TooSmall").display
        assert not screen.query_one("#facts").display


async def test_a_loss_that_is_not_a_number_is_shown_as_such(make_run: Callable[..., FakeRun]) -> None:
    run = make_run("live", nan_at=100)
    async with app_on(run.path).run_test(size=SIZE) as pilot:
        screen = await settled(pilot)
        assert "NaN" in facts_of(screen)
        chart = screen.query_one(ChartPanel)
        for key in ("s", "s", "v", "w", "right_square_bracket", "h", "l"):
            await pilot.press(key)
        assert len(chart.rows) > 10


async def test_numbers_are_those_of_the_journal(make_run: Callable[..., FakeRun]) -> None:
    run = make_run("live", steps=400)
    state = RunState.from_events(run.events)
    async with app_on(run.path).run_test(size=SIZE) as pilot:
        screen = await settled(pilot)
        shown = facts_of(screen)
        assert f"{state.step}/400" in shown
        assert f"{state.series['loss'].last:.4f}" in shown
        assert f"{state.best.loss:.4f} @ {state.best.step}" in shown  # type: ignore[union-attr]
        assert f"epoch {state.epoch:>2}/10" in shown


async def test_new_events_arrive_and_only_their_rows_are_painted(make_run: Callable[..., FakeRun]) -> None:
    run = make_run("live", steps=400)
    async with app_on(run.path).run_test(size=SIZE) as pilot:
        screen = await settled(pilot)
        checkpoints = screen.query_one("#checkpoints", Rows)
        before = checkpoints.repainted_rows
        chart = screen.query_one(ChartPanel)
        chart_rows = chart.repainted_rows
        journal = Journal(run.run_dir, "a1b2c3d4", lambda: NOW)
        step = screen.state.step + 1
        journal.append("step", step=step, epoch=7, loss=0.75, lr=1e-5, grad_norm=0.2, samples_per_s=2.0, seconds=0.4)
        journal.close()
        await until(pilot, lambda: screen.state.step == step and not screen.governor.dirty, "the new step")
        assert "0.7500" in facts_of(screen)
        assert checkpoints.repainted_rows == before
        assert 0 < chart.repainted_rows - chart_rows < len(chart.rows) / 2


async def test_nothing_is_painted_while_nothing_happens(make_run: Callable[..., FakeRun]) -> None:
    async with app_on(make_run("live").path).run_test(size=SIZE) as pilot:
        screen = await settled(pilot)
        paints = screen.paints
        for _ in range(3):
            screen.take(screen.feed.drain())
            await pilot.pause()
        rows = [panel.repainted_rows for panel in screen.query(Rows)]
        screen.governor.changed(urgent=True)
        screen.paint_when_due()
        assert screen.paints > paints
        assert [panel.repainted_rows for panel in screen.query(Rows)] == rows


async def test_freezing_holds_the_picture_while_data_flows(make_run: Callable[..., FakeRun]) -> None:
    run = make_run("live")
    async with app_on(run.path).run_test(size=SIZE) as pilot:
        screen = await settled(pilot)
        await pilot.press("space")
        assert "frozen" in facts_of(screen)
        paints, log_rows = screen.paints, screen.query_one(LogPanel).rows
        journal = Journal(run.run_dir, "a1b2c3d4", lambda: NOW)
        journal.append("log", level="info", msg="while frozen")
        journal.close()
        await until(pilot, lambda: any("while frozen" in line.text for line in screen.state.log), "the event")
        assert (screen.paints, screen.query_one(LogPanel).rows) == (paints, log_rows)
        await pilot.press("space")
        assert "while frozen" in screen.query_one(LogPanel).plain


async def test_the_engines_summary_is_painted_until_the_journal_is_read(make_run: Callable[..., FakeRun]) -> None:
    run = make_run("live", steps=400)
    async with app_on(run.path).run_test(size=SIZE) as pilot:
        await settled(pilot)
        fresh = DashboardScreen(run.path, clock=lambda: NOW)
        picture = RunState()
        picture.step, picture.total_steps, picture.status = 123, 400, "running"
        fresh.take(Batch(picture=picture, liveness=Liveness.RUNNING))
        assert fresh.shown.step == 123
        fresh.take(Batch(events=run.events, caught_up=True))
        assert fresh.shown.step == RunState.from_events(run.events).step


async def test_a_journal_that_was_replaced_starts_over(make_run: Callable[..., FakeRun]) -> None:
    run = make_run("live")
    async with app_on(run.path).run_test(size=SIZE) as pilot:
        screen = await settled(pilot)
        screen.take(Batch(events=run.events[:1], restarted=True, caught_up=True))
        assert screen.state.step == 0
        assert len(screen.state.series["loss"]) == 0


# Steering


async def test_a_checkpoint_is_ordered_and_its_acknowledgement_shown(make_run: Callable[..., FakeRun]) -> None:
    run = make_run("live")
    async with app_on(run.path).run_test(size=SIZE) as pilot:
        screen = await settled(pilot)
        await pilot.press("c")
        await until(pilot, lambda: bool(orders(run)), "the order")
        assert "checkpoint requested…" in facts_of(screen)
        order = orders(run)[0]
        assert order["name"] == "checkpoint"
        journal = Journal(run.run_dir, "a1b2c3d4", lambda: NOW)
        journal.append("command", id=order["id"], name="checkpoint", state="received", by=order["by"])
        await until(pilot, lambda: "checkpoint after this step" in facts_of(screen), "the acknowledgement")
        journal.append("command", id=order["id"], name="checkpoint", state="done", by=order["by"])
        await until(pilot, lambda: "checkpoint saved" in facts_of(screen), "the confirmation")
        journal.close()


@pytest.mark.parametrize(("scenario", "name"), [("live", "pause"), ("paused", "resume")])
async def test_pause_is_a_toggle(make_run: Callable[..., FakeRun], scenario: str, name: str) -> None:
    run = make_run(scenario)
    async with app_on(run.path).run_test(size=SIZE) as pilot:
        await settled(pilot)
        await pilot.press("P")
        await until(pilot, lambda: bool(orders(run)), "the order")
        assert [order["name"] for order in orders(run)] == [name]


async def test_stopping_asks_and_the_harmless_answer_has_the_focus(make_run: Callable[..., FakeRun]) -> None:
    run = make_run("live")
    async with app_on(run.path).run_test(size=SIZE) as pilot:
        await settled(pilot)
        await pilot.press("X")
        await until(pilot, lambda: isinstance(pilot.app.screen, Confirm), "the question")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, DashboardScreen), "the dashboard")
        assert orders(run) == []
        await pilot.press("X")
        await until(pilot, lambda: isinstance(pilot.app.screen, Confirm), "the question")
        await pilot.press("y")
        await until(pilot, lambda: bool(orders(run)), "the order")
        assert [order["name"] for order in orders(run)] == ["stop"]


async def test_aborting_asks_for_the_word(make_run: Callable[..., FakeRun]) -> None:
    run = make_run("live")
    async with app_on(run.path).run_test(size=SIZE) as pilot:
        await settled(pilot)
        await pilot.press("ctrl+x")
        await until(pilot, lambda: isinstance(pilot.app.screen, TypeWord), "the question")
        await pilot.press("y", "enter")
        assert isinstance(pilot.app.screen, TypeWord)
        assert orders(run) == []
        await pilot.press("backspace", *"abort", "enter")
        await until(pilot, lambda: bool(orders(run)), "the order")
        assert [order["name"] for order in orders(run)] == ["abort"]


async def test_read_only_viewers_cannot_change_the_run(make_run: Callable[..., FakeRun]) -> None:
    run = make_run("live")
    async with app_on(run.path, readonly=True).run_test(size=SIZE) as pilot:
        screen = await settled(pilot)
        for key in ("c", "P", "X", "R", "ctrl+x"):
            await pilot.press(key)
        await pilot.pause()
        assert pilot.app.screen is screen
        assert orders(run) == []
        shown = {binding.binding.action for binding in screen.active_bindings.values()}
        assert not shown & {"checkpoint", "pause", "stop", "abort", "resume_run"}
        assert "read-only" in facts_of(screen)


async def test_an_order_that_cannot_be_sent_is_explained(
    make_run: Callable[..., FakeRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("sidestep_tui.ui.screens.dashboard.commands.inbox.send", refuse)
    async with app_on(make_run("live").path).run_test(size=SIZE) as pilot:
        await settled(pilot)
        await pilot.press("c")
        await until(pilot, lambda: isinstance(pilot.app.screen, Tell), "the explanation")


@pytest.mark.parametrize(
    ("liveness", "words"),
    [
        (Liveness.RUNNING, "the engine is busy (heartbeat 3 s ago)"),
        (Liveness.STALE, "no heartbeat for 3 s"),
        (Liveness.DIED, "the engine is gone"),
    ],
)
async def test_silence_after_an_order_is_explained(
    make_run: Callable[..., FakeRun], liveness: Liveness, words: str
) -> None:
    async with app_on(make_run("live").path).run_test(size=SIZE) as pilot:
        screen = await settled(pilot)
        order = Order("never-taken", "stop", NOW)
        screen._orders[order.id] = order
        screen.liveness, screen.heartbeat = liveness, NOW - 3
        screen.explain_silence(order)
        assert words in facts_of(screen)


# Ends


async def test_a_dead_engine_is_explained_and_can_be_resumed(
    make_run: Callable[..., FakeRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run("crashed", steps=400)
    run.run_dir.log.write_text("loading\nMemoryError: cannot allocate\n")
    resumed: list[RunDir] = []
    monkeypatch.setattr("sidestep_tui.launch.start.resume", resumed.append)
    async with app_on(run.path).run_test(size=SIZE) as pilot:
        screen = await settled(pilot)
        told = screen.query_one("#verdict", Rows).plain
        assert "ran out of main memory" in told
        assert "resume from step 200" in told
        assert "MemoryError: cannot allocate" in screen.query_one(LogPanel).plain
        await pilot.press("R")
        await until(pilot, lambda: bool(resumed), "the resume")
        assert resumed == [RunDir(run.path)]


async def test_a_resume_that_fails_is_explained(
    make_run: Callable[..., FakeRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(run_dir: RunDir) -> None:
        raise RunError("The model is gone.", "There is no folder /models.", "Put it back.")

    monkeypatch.setattr("sidestep_tui.launch.start.resume", refuse)
    async with app_on(make_run("failed").path).run_test(size=SIZE) as pilot:
        screen = await settled(pilot)
        await pilot.press("R")
        await until(pilot, lambda: isinstance(pilot.app.screen, Tell), "the explanation")
        assert screen.check_action("resume_run", ()) is True


async def test_an_engine_that_dies_while_watched_is_noticed_with_a_bell(make_run: Callable[..., FakeRun]) -> None:
    run = make_run("live")
    watch = Watch()
    async with app_on(run.path, watch=watch).run_test(size=SIZE) as pilot:
        screen = await settled(pilot)
        assert watch.rings == 0
        run.release()
        watch.now += 2
        await until(pilot, lambda: "✕ died" in facts_of(screen), "the death")
        await until(pilot, lambda: watch.rings == 1, "the bell")
        assert screen.query_one("#verdict", Rows).display


async def test_looking_at_an_old_run_rings_no_bell(make_run: Callable[..., FakeRun]) -> None:
    watch = Watch()
    async with app_on(make_run("finished").path, watch=watch).run_test(size=SIZE) as pilot:
        await settled(pilot)
        assert watch.rings == 0


async def test_a_finished_run_says_where_the_adapter_is(make_run: Callable[..., FakeRun]) -> None:
    run = make_run("finished")
    async with app_on(run.path).run_test(size=SIZE) as pilot:
        screen = await settled(pilot)
        assert "~/runs/drums_v3/adapter  final, best" in facts_of(screen)
        assert not screen.query_one("#verdict").display
        assert screen.check_action("stop", ()) is False


# Looking around


async def test_the_cursor_reads_exact_values(make_run: Callable[..., FakeRun]) -> None:
    run = make_run("live", steps=100)
    async with app_on(run.path).run_test(size=SIZE) as pilot:
        screen = await settled(pilot)
        await pilot.press("h")
        chart = screen.query_one(ChartPanel)
        loss = screen.state.series["loss"]
        assert f"step {int(loss.last_x or 0)} · loss {loss.last:.6g}" in str(chart.border_subtitle)
        await pilot.press("h")
        index = list(loss.xs).index(chart.cursor)
        assert f"step {int(loss.xs[index])} · loss {loss.ys[index]:.6g}" in str(chart.border_subtitle)
        assert chart.cursor < loss.xs[-1]  # type: ignore[operator]
        await pilot.press("escape")
        assert chart.border_subtitle == ""


async def test_chart_keys_change_metric_window_smoothing_and_scale(make_run: Callable[..., FakeRun]) -> None:
    async with app_on(make_run("resumed").path).run_test(size=SIZE) as pilot:
        screen = await settled(pilot)
        chart = screen.query_one(ChartPanel)
        titles = [str(chart.border_title)]
        for key in ("w", "w", "w", "s", "v", "right_square_bracket", "right_square_bracket", "left_square_bracket"):
            await pilot.press(key)
            titles.append(str(chart.border_title))
        assert titles == [
            "loss · all · ema 0.98",
            "loss · last 1k · ema 0.98",
            "loss · last epoch · ema 0.98",
            "loss · since resume · ema 0.98",
            "loss · since resume · raw",
            "loss · since resume · raw · log",
            "epoch loss · since resume · log",
            "loss by noise level · since resume · log",
            "epoch loss · since resume · log",
        ]


async def test_a_panel_without_room_is_zoomed_by_its_digit(make_run: Callable[..., FakeRun]) -> None:
    async with app_on(make_run("live").path).run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        machine = screen.query_one("#machine", Rows)
        assert not machine.region.width
        await pilot.press("3")
        await pilot.pause()
        assert machine.region.width == 80
        assert screen.focused is machine
        assert not screen.query_one("#loss").display
        await pilot.press("z")
        await pilot.pause()
        assert screen.query_one("#loss").region.width == 80
        assert screen.focused is screen.query_one("#loss")


async def test_zoom_gives_the_focused_panel_the_whole_screen(make_run: Callable[..., FakeRun]) -> None:
    async with app_on(make_run("live").path).run_test(size=SIZE) as pilot:
        screen = await settled(pilot)
        await pilot.press("5", "z")
        await pilot.pause()
        log = screen.query_one(LogPanel)
        assert log.region.height > 30
        assert len(log.rows) == min(log.size.height, len(screen.state.log))
        await pilot.press("escape")
        await pilot.pause()
        assert log.region.height < 15


async def test_the_log_filters_scrolls_and_follows(make_run: Callable[..., FakeRun]) -> None:
    async with app_on(make_run("finished", steps=2000).path).run_test(size=SIZE) as pilot:
        screen = await settled(pilot)
        log = screen.query_one(LogPanel)
        newest = log.plain
        await pilot.press("k", "k")
        assert "held" in str(log.border_title)
        assert log.plain != newest
        await pilot.press("f")
        assert log.plain == newest
        await pilot.press("slash", *"of training so far", "enter")
        assert log.plain.count("Best loss of training so far") == len(log.rows)
        assert not isinstance(screen.focused, Input)
        await pilot.press("N")
        assert any(style == "selected" for row in log.rows for _, style in row)
        await pilot.press("escape", "escape")
        assert log.plain == newest


async def test_rates_and_settings_and_path(make_run: Callable[..., FakeRun]) -> None:
    run = make_run("live")
    async with app_on(run.path).run_test(size=SIZE) as pilot:
        screen = await settled(pilot)
        await pilot.press("plus")
        assert "4 Hz" in facts_of(screen)
        await pilot.press("minus", "minus")
        assert "1 Hz" in facts_of(screen)
        await pilot.press("y")
        assert pilot.app.clipboard == str(run.path.resolve())
        await pilot.press("i")
        await until(pilot, lambda: isinstance(pilot.app.screen, RunInfo), "the settings")
        await until(pilot, lambda: "recommended" in pilot.app.screen.query_one(Rows).plain, "the rows")


async def test_leaving_goes_back_to_the_runs_and_the_engine_keeps_its_lock(make_run: Callable[..., FakeRun]) -> None:
    run = make_run("live")
    async with app_on(run.path).run_test(size=SIZE) as pilot:
        await settled(pilot)
        await pilot.press("q")
        await until(pilot, lambda: pilot.app.current_mode == "runs", "the list of runs")
        assert orders(run) == []
    assert run.lock is not None


async def test_a_hidden_dashboard_does_not_paint_and_catches_up_on_return(make_run: Callable[..., FakeRun]) -> None:
    run = make_run("live")
    async with app_on(run.path).run_test(size=SIZE) as pilot:
        screen = await settled(pilot)
        await pilot.press("f2")
        await until(pilot, lambda: pilot.app.current_mode == "runs", "the list of runs")
        paints = screen.paints
        journal = Journal(run.run_dir, "a1b2c3d4", lambda: NOW)
        journal.append("log", level="info", msg="behind the curtain")
        journal.close()
        await until(pilot, lambda: any("curtain" in line.text for line in screen.state.log), "the event")
        assert screen.paints == paints
        await pilot.press("f4")
        await until(pilot, lambda: "curtain" in screen.query_one(LogPanel).plain, "the picture")


async def test_ascii_terminals_get_ascii(make_run: Callable[..., FakeRun]) -> None:
    facts = env.terminal_facts({"TERM": "xterm", "LANG": "C"}, stdin_is_tty=True, stderr_is_tty=True, size=SIZE)
    async with app_on(make_run("live").path, facts=facts).run_test(size=SIZE) as pilot:
        screen = await settled(pilot)
        assert "".join(panel.plain for panel in screen.query(Rows)).replace("°", "").isascii()


async def test_a_window_without_focus_is_painted_rarely(make_run: Callable[..., FakeRun]) -> None:
    async with app_on(make_run("live").path).run_test(size=SIZE) as pilot:
        screen = await settled(pilot)
        pilot.app.app_focus = False
        await pilot.pause()
        assert screen.governor.interval == 2.0
        pilot.app.app_focus = True
        await pilot.pause()
        assert screen.governor.interval == 0.5


async def test_a_death_behind_another_screen_still_rings(make_run: Callable[..., FakeRun]) -> None:
    run = make_run("live")
    watch = Watch()
    async with app_on(run.path, watch=watch).run_test(size=SIZE) as pilot:
        await settled(pilot)
        await pilot.press("q")
        await until(pilot, lambda: pilot.app.current_mode == "runs", "the list of runs")
        run.release()
        watch.now += 2
        await until(pilot, lambda: watch.rings == 1, "the bell")
