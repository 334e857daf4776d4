"""Songs, time, alerts and toasts on the dashboard: by key, in the log, and out of the way again."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from textual.widgets import Input

from sidestep_tui.engine.fake_history import FakeRun, history
from sidestep_tui.protocol.alerts import AlertBook
from sidestep_tui.protocol.journal import Journal
from sidestep_tui.protocol.liveness import Liveness
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.protocol.state import RunState
from sidestep_tui.ui.dialogs.confirm import Tell
from sidestep_tui.ui.screens.dashboard.info import RunInfo, summary_rows
from sidestep_tui.ui.screens.dashboard.screen import DashboardScreen
from sidestep_tui.ui.screens.dashboard.title import has_title
from sidestep_tui.ui.screens.songs.screen import SongsScreen
from sidestep_tui.ui.widgets.alerts import alert_rows
from sidestep_tui.ui.widgets.log import LogPanel
from sidestep_tui.ui.widgets.rows import Rows, width_of
from sidestep_tui.ui.widgets.songs import SongsPanel, header_row, song_row
from tests.ui.places import write_songs
from tests.ui.watching import NOW, SIZE, Watch, app_on, facts_of, make_run, orders, settled, until, utc

__all__ = ["make_run", "utc"]
pytestmark = pytest.mark.usefixtures("utc")
SMALL = (80, 24)


def alerts_of(screen: DashboardScreen) -> str:
    return screen.query_one("#alerts", Rows).plain


def log_of(screen: DashboardScreen) -> str:
    return screen.query_one(LogPanel).plain


def warned(run: FakeRun, code: str, msg: str) -> None:
    journal = Journal(run.run_dir, "a1b2c3d4", lambda: NOW)
    journal.append("warning", code=code, msg=msg, hint="Do this.")
    journal.close()


async def test_the_songs_are_a_page_with_the_worst_first(make_run: Callable[..., FakeRun]) -> None:
    async with app_on(make_run("live").path).run_test(size=SMALL) as pilot:
        screen = await settled(pilot)
        songs = screen.query_one(SongsPanel)
        assert not songs.region.width
        await pilot.press("6")
        await pilot.pause()
        assert songs.region.width == 80
        assert songs.rows[1][0][1] == "selected"
        assert "song_08" in songs.plain.splitlines()[1]
        assert "wrong caption or lyrics" in songs.plain
        await pilot.press("j")
        assert songs.selected is not None and songs.selected.name != "song_08"
        await pilot.press("slash", *"caption", "enter")
        assert [song.name for song in songs.found] == ["song_08"]
        assert "/caption · 1 of 8" in str(songs.border_title)
        assert not isinstance(screen.focused, Input)
        await pilot.press("escape")
        assert len(songs.found) == 8
        await pilot.press("escape")
        await pilot.pause()
        assert not songs.region.width


async def test_the_time_is_a_page(make_run: Callable[..., FakeRun]) -> None:
    async with app_on(make_run("live", data_share=0.31).path).run_test(size=SMALL) as pilot:
        screen = await settled(pilot)
        await pilot.press("7")
        await until(pilot, lambda: "waits for data" in screen.query_one("#time", Rows).plain, "the verdict")
        await pilot.press("z")
        await pilot.pause()
        assert screen.query_one("#loss").region.width == 80


async def test_songs_and_time_stand_beside_the_rest_where_there_is_room(make_run: Callable[..., FakeRun]) -> None:
    async with app_on(make_run("live", gpus=2).path).run_test(size=(180, 50)) as pilot:
        screen = await settled(pilot)
        for name in ("loss", "machine", "schedule", "checkpoints", "songs", "time", "log"):
            assert screen.query_one(f"#{name}").region.height > 3, name


async def test_an_alert_stays_until_it_is_cleared_and_is_in_the_log(make_run: Callable[..., FakeRun]) -> None:
    run = make_run("live", gpu_gib=23.0, disk_gib=1.2)
    async with app_on(run.path).run_test(size=SMALL) as pilot:
        screen = await settled(pilot)
        assert "▲ 1 of 2  " in alerts_of(screen)
        for words in ("The memory of GPU 0 is 96 % full.", "room for 3 checkpoints"):
            assert sum(words in line.text for line in screen.log_lines()[0]) == 1
        await pilot.press("d")
        assert "1 of 2" not in alerts_of(screen)
        await pilot.press("d")
        await pilot.pause()
        assert alerts_of(screen) == ""
        assert not screen.query_one("#alerts").display
        warned(run, "overfitting", "Songs are learnt by heart.")
        await until(pilot, lambda: "learnt by heart. Do this." in alerts_of(screen), "the warning")
        assert sum("learnt by heart" in line.text for line in screen.log_lines()[0]) == 1


async def test_there_is_nothing_to_clear_while_nothing_stands(make_run: Callable[..., FakeRun]) -> None:
    async with app_on(make_run("live").path).run_test(size=SMALL) as pilot:
        screen = await settled(pilot)
        assert screen.check_action("clear_alert", ()) is False
        assert not screen.query_one("#alerts").display


async def test_a_finished_run_shows_no_alerts(make_run: Callable[..., FakeRun]) -> None:
    async with app_on(make_run("finished", gpu_gib=23.0).path).run_test(size=SMALL) as pilot:
        screen = await settled(pilot)
        assert alerts_of(screen) == ""


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_alerts_take_at_most_two_rows(width: int, ascii_only: bool) -> None:
    book = AlertBook()
    state = RunState.from_events(history(400, scenario="live", gpu_gib=23.0, disk_gib=0.3, gpu_heat=86))
    book.look(state, Liveness.STALE, 90.0)
    while book.first is not None:
        rows = alert_rows(book, width, ascii_only=ascii_only)
        assert 1 <= len(rows) <= 2
        assert all(width_of(cells) <= width for cells in rows)
        assert not ascii_only or "".join(part for cells in rows for part, _ in cells).replace("°", "").isascii()
        book.seen()
    assert alert_rows(book, width) == []


async def test_whatever_a_toast_says_is_in_the_log(make_run: Callable[..., FakeRun]) -> None:
    async with app_on(make_run("live").path).run_test(size=SIZE) as pilot:
        screen = await settled(pilot)
        screen.notify("Half a sentence.")
        pilot.app.notify("The disk is full.", title="Draft", severity="error")
        screen.repaint_now()
        assert "Half a sentence." in log_of(screen)
        assert "error  Draft: The disk is full." in log_of(screen)


async def test_the_end_of_a_run_behind_another_place_is_told_by_a_toast_that_the_log_keeps(
    make_run: Callable[..., FakeRun],
) -> None:
    run, watch = make_run("live"), Watch()
    app = app_on(run.path, watch=watch)
    async with app.run_test(size=SIZE) as pilot:
        screen = await settled(pilot)
        await pilot.press("q")
        await until(pilot, lambda: pilot.app.current_mode == "runs", "the list of runs")
        journal = Journal(run.run_dir, "a1b2c3d4", lambda: NOW)
        journal.append("session_ended", reason="out_of_memory", code=5, step=248)
        journal.close()
        await until(pilot, lambda: bool(app.toasts), "the toast")
        assert "drums_v3: out of memory" in app.toasts[-1].words
        assert watch.rings == 1
        await pilot.press("f4")
        await until(pilot, lambda: "f4 shows it" in log_of(screen), "the line in the log")


async def test_a_silent_engine_that_dies_rings_in_ascii_too(make_run: Callable[..., FakeRun]) -> None:
    run, watch = make_run("live"), Watch()
    async with app_on(run.path, watch=watch).run_test(size=SIZE) as pilot:
        screen = await settled(pilot)
        screen.facts = replace(screen.facts, ascii_only=True)
        screen.liveness = Liveness.STALE
        screen._announce(screen.view())
        assert screen._announced.title.startswith("silent")
        run.release()
        watch.now += 2
        await until(pilot, lambda: watch.rings == 1, "the bell")


def test_terminals_without_a_title_get_none() -> None:
    assert [has_title(term) for term in ("xterm-256color", "tmux-256color", "screen", "linux", "vt100")] == [
        True, True, True, False, False
    ]  # fmt: skip


async def test_an_order_that_is_given_twice_is_sent_once(make_run: Callable[..., FakeRun]) -> None:
    run = make_run("live")
    async with app_on(run.path).run_test(size=SIZE) as pilot:
        screen = await settled(pilot)
        await pilot.press("c")
        await until(pilot, lambda: bool(orders(run)), "the order")
        await pilot.press("c", "c")
        assert "checkpoint requested already" in facts_of(screen)
        await pilot.press("P")
        await until(pilot, lambda: len(orders(run)) == 2, "another order")
        assert [order["name"] for order in orders(run)] == ["checkpoint", "pause"]
        journal = Journal(run.run_dir, "a1b2c3d4", lambda: NOW)
        first, second = orders(run)
        for state in ("received", "done"):
            journal.append("command", id=first["id"], name="checkpoint", state=state, by="me")
        await until(pilot, lambda: "checkpoint saved" in facts_of(screen), "the confirmation")
        journal.append("command", id=second["id"], name="pause", state="received", by="me")
        await until(pilot, lambda: "pausing after this step" in facts_of(screen), "the acknowledgement")
        journal.close()
        await pilot.press("c")
        await until(pilot, lambda: len(orders(run)) == 3, "a new order")


async def test_orders_are_forgotten_when_the_engine_dies(make_run: Callable[..., FakeRun]) -> None:
    run, watch = make_run("live"), Watch()
    async with app_on(run.path, watch=watch).run_test(size=SIZE) as pilot:
        screen = await settled(pilot)
        await pilot.press("c")
        await until(pilot, lambda: bool(screen._orders), "the order")
        run.release()
        watch.now += 2
        await until(pilot, lambda: "checkpoint was not taken: the engine is gone" in facts_of(screen), "the notice")


@pytest.mark.parametrize("width", [30, 46, 58, 78, 158])
def test_the_table_of_songs_keeps_its_columns(width: int) -> None:
    state = RunState.from_events(history(400, scenario="live", held_out=2))
    songs = state.songs.table()
    songs.append(replace(songs[0], name="a name that is far longer than the column for names " * 4, count=12345))
    rows = [song_row(song, width, selected=False, ascii_only=False) for song in songs[:-1]]
    assert len({width_of(cells) for cells in [header_row(width), *rows]}) == 1
    assert width_of(header_row(width)) <= width
    plain = "".join(part for song in songs for part, _ in song_row(song, width, selected=True, ascii_only=True))
    assert plain.isascii()


async def test_the_information_page_tells_what_a_run_is_made_of_and_copies_its_path(
    make_run: Callable[..., FakeRun],
) -> None:
    run = make_run("live", held_out=2)
    told = run.run_dir.run_toml.read_text()
    told = told.replace("[versions]", '[versions]\ntorch = "2.11.0"')
    told = told.replace("[fingerprints]", '[fingerprints]\nmodel = "5340d5bb46d4ac927092b8f3308b"')
    run.run_dir.run_toml.write_text(told)
    folder = run.run_dir.checkpoint_path(900)
    folder.mkdir()
    header = json.dumps(
        {
            f"base_model.model.layers.{layer}.self_attn.q_proj.lora_{side}.weight": {
                "dtype": "F32", "shape": shape, "data_offsets": [0, 0]
            }
            for layer in range(2)
            for side, shape in (("A", [4, 64]), ("B", [32, 4]))
        }
    ).encode()  # fmt: skip
    (folder / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    async with app_on(run.path).run_test(size=(120, 60)) as pilot:
        await settled(pilot)
        await pilot.press("i")
        await until(pilot, lambda: isinstance(pilot.app.screen, RunInfo), "the page")
        page = pilot.app.screen.query_one(Rows)
        await until(pilot, lambda: "torch" in page.plain, "the rows")
        for words in ("~/runs/drums_v3", "recommended", "5340d5bb46d4ac92\n", "2 songs", "768 in 4 tensors", "2.11.0"):
            assert words in page.plain + "\n"
        await pilot.press("G")
        assert "output" in page.plain
        await pilot.press("y")
        assert pilot.app.clipboard == str(run.path.resolve())
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, DashboardScreen)


def test_a_run_without_any_files_is_told_as_far_as_it_is_known(tmp_path: Path) -> None:
    assert summary_rows({}, RunState(), RunDir(tmp_path))
    odd = {"run": 3, "versions": [1], "model": {"path": ""}, "fingerprints": "x"}
    assert summary_rows(odd, RunState(), RunDir(tmp_path))


async def test_a_song_opens_with_its_words(make_run: Callable[..., FakeRun], tmp_path: Path) -> None:
    run = make_run("live")
    async with app_on(run.path).run_test(size=SMALL) as pilot:
        screen = await settled(pilot)
        assert screen.check_action("open_song", ()) is False
        await pilot.press("6", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, Tell), "why not")
        await pilot.press("enter")
        write_songs(tmp_path / "songs")
        told = run.run_dir.run_toml.read_text()
        run.run_dir.run_toml.write_text(told.replace('[data]\npath = ""', f'[data]\npath = "{tmp_path / "songs"}"'))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, SongsScreen), "the editor")
        editor = pilot.app.screen
        assert isinstance(editor, SongsScreen)
        await until(pilot, lambda: editor.session is not None, "the songs")
        assert editor.listing.current is not None
        assert editor.listing.current.name == "song_08"
        await pilot.press("q")
        await until(pilot, lambda: pilot.app.screen is screen, "the dashboard")
