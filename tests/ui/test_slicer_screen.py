"""The slicer's screen: settings, the song in view, slicing, stopping, going on, and leaving."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import soundfile
from textual.pilot import Pilot
from textual.widgets import Input

from sidestep_tui.core.errors import DataError
from sidestep_tui.dataset import apart
from sidestep_tui.ui.dialogs.confirm import Choose, Confirm, Tell
from sidestep_tui.ui.screens.slicer import jobs as slicer_jobs
from sidestep_tui.ui.screens.slicer.form import FIELDS, Form
from sidestep_tui.ui.screens.slicer.screen import SlicerScreen
from sidestep_tui.ui.widgets.waveform import Waveform
from tests.ui.conftest import settle
from tests.ui.slicing import RATE, album, call_here, planned, ready, slicer_app, words
from tests.ui.watching import until

__all__ = ["album"]
SIZE = (80, 24)


async def press(pilot: Pilot[Any], *keys: str) -> None:
    await pilot.press(*keys)
    await pilot.pause()


async def in_front(pilot: Pilot[Any], kind: type) -> None:
    await until(pilot, lambda: isinstance(pilot.app.screen, kind), kind.__name__)
    await pilot.pause()


def slices_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.wav")) if folder.is_dir() else []


def go_to(name: str) -> list[str]:
    """The keys to a setting from the first."""
    return ["down"] * [item.name for item in FIELDS].index(name)  # type: ignore[arg-type]


# What is shown


async def test_the_song_in_view_is_told_with_its_cuts(album: Path) -> None:
    async with slicer_app(album).run_test(size=SIZE) as pilot:
        screen = await ready(pilot)
        assert "3 songs, 2 m 00 s" in words(screen, "heading")
        assert "aurora  1 of 3  1 m 10 s · 4,000 Hz · stereo · 120 BPM" in words(screen, "song")
        assert "3 slices of 120,000 samples · nothing left over · the last is a tail" in words(screen, "numbers")
        assert "wav 16 bit at 4,000 Hz · sample for sample" in words(screen, "numbers")
        assert "5 slices of 2 songs, 1 too short" in words(screen, "meaning")
        shown = words(screen, "wave")
        assert "├1──" in shown and "├3 tail──" in shown
        assert shown.splitlines()[0].count("│") == 2


async def test_n_and_shift_n_go_from_song_to_song(album: Path) -> None:
    async with slicer_app(album).run_test(size=SIZE) as pilot:
        screen = await ready(pilot)
        await press(pilot, "n", "n", "n")
        await planned(pilot, screen)
        assert "dust  3 of 3" in words(screen, "song")
        assert "too short for 120,000 samples · 5.0 s left over" in words(screen, "numbers")
        assert "5.0 s left over" in words(screen, "wave")
        await press(pilot, "N")
        await planned(pilot, screen)
        assert "bright  2 of 3" in words(screen, "song")


async def test_cuts_follow_what_is_typed(album: Path) -> None:
    async with slicer_app(album).run_test(size=SIZE) as pilot:
        screen = await ready(pilot)
        await press(pilot, "1", "5", "enter")
        await planned(pilot, screen)
        assert screen.form.wish.cutting.seconds == 15
        assert "5 slices of 60,000 samples" in words(screen, "numbers")
        await press(pilot, "right", "plus", "minus")
        assert screen.form.wish.cutting.seconds == 16


async def test_a_number_out_of_bounds_is_refused_while_it_is_typed_and_then_forgotten(album: Path) -> None:
    async with slicer_app(album).run_test(size=SIZE) as pilot:
        screen = await ready(pilot)
        await press(pilot, "9", "0", "0")
        assert "✕ Type a number from 1 to 600 s." in words(screen, "meaning")
        await press(pilot, "down")
        assert screen.form.wish.cutting.seconds == 30
        await press(pilot, "up", "4", "5", "escape")
        assert screen.form.wish.cutting.seconds == 30
        assert isinstance(pilot.app.screen, SlicerScreen)


async def test_numbers_that_contradict_each_other_say_so_and_cannot_start(album: Path) -> None:
    async with slicer_app(album).run_test(size=SIZE) as pilot:
        screen = await ready(pilot)
        await press(pilot, "down", "2", "0", "enter")
        meaning = " ".join(words(screen, "meaning").split())
        assert "Slices of 30 s cannot share 20 s." in meaning
        assert "--" not in meaning
        await press(pilot, "S")
        await in_front(pilot, Tell)


async def test_choices_go_round_and_change_the_plan(album: Path) -> None:
    async with slicer_app(album).run_test(size=SIZE) as pilot:
        screen = await ready(pilot)
        await press(pilot, *go_to("bars"), "right")
        await planned(pilot, screen)
        assert "hop 14 bars of 2.00 s" in words(screen, "numbers")
        await press(pilot, "left", "down", "right")
        await planned(pilot, screen)
        assert not screen.form.wish.bars and screen.form.wish.cutting.tail == "keep"
        await press(pilot, *["down"] * 3, "right")
        await planned(pilot, screen)
        assert "wav 16 bit at 44,100 Hz · resampled" in words(screen, "numbers")


async def test_zoom_and_scroll_look_closer_without_reading_again(album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with slicer_app(album).run_test(size=SIZE) as pilot:
        screen = await ready(pilot)
        wave = screen.query_one("#wave", Waveform)
        monkeypatch.setattr(apart, "call", lambda *_, **__: pytest.fail("asked again"))
        await press(pilot, "z", "z")
        assert "zoom 16" in words(screen, "song")
        await press(pilot, "l", "h")
        assert screen.plan is not None and screen.plan.plan is not None
        cut = screen.plan.plan["slices"][1]["start"]
        assert (wave.window.first + wave.window.last) / 2 == pytest.approx(cut)
        line = words(screen, "wave").splitlines()[0]
        assert line.index("│") == 40
        await press(pilot, "z")
        assert (wave.zoom, wave.first) == (1, 0.0)


async def test_a_broken_song_is_named_and_the_others_can_be_seen(album: Path) -> None:
    async with slicer_app(album, song="dust").run_test(size=SIZE) as pilot:
        screen = await ready(pilot)
        assert "dust  3 of 3" in words(screen, "song")
        (album / "bright.wav").write_bytes(b"nonsense")
        await press(pilot, "N")
        await until(pilot, lambda: "bright" in screen.outlines, "the answer")
        await settle(pilot)
        assert "bright.wav" in words(screen, "wave") and "✕" in words(screen, "wave")
        await press(pilot, "N")
        await planned(pilot, screen)
        assert "aurora  1 of 3" in words(screen, "song")
        assert "├1──" in words(screen, "wave")


async def test_a_folder_without_songs_says_so(home: Path, album: Path) -> None:
    (home / "empty").mkdir()
    async with slicer_app(home / "empty").run_test(size=SIZE) as pilot:
        screen = await ready(pilot)
        await settle(pilot)
        assert "No songs in" in words(screen, "wave")
        await press(pilot, "S", "n", "z", "l", "right", "j")
        assert pilot.app.screen is screen


async def test_plain_terminals_get_plain_signs(album: Path) -> None:
    async with slicer_app(album, ascii_only=True).run_test(size=SIZE) as pilot:
        screen = await ready(pilot)
        for part in ("settings", "wave", "meaning", "numbers", "song"):
            assert words(screen, part).isascii(), part


# Slicing


async def test_slicing_asks_then_writes_and_gives_the_folder(home: Path, album: Path) -> None:
    app = slicer_app(album)
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        await press(pilot, "S")
        await in_front(pilot, Confirm)
        assert slices_in(home / "songs_slices") == []
        await press(pilot, "y")
        await in_front(pilot, Choose)
        made = slices_in(home / "songs_slices")
        assert made == [f"aurora_00{number}.wav" for number in (1, 2, 3)] + ["bright_001.wav", "bright_002.wav"]
        assert all(soundfile.info(home / "songs_slices" / name).frames == 30 * RATE for name in made)
        await press(pilot, "o")
        await until(pilot, lambda: bool(app.answered), "the answer")
        assert app.answered == [home / "songs_slices"]


async def test_no_is_no_and_q_goes_back(home: Path, album: Path) -> None:
    app = slicer_app(album)
    async with app.run_test(size=SIZE) as pilot:
        screen = await ready(pilot)
        await press(pilot, "S")
        await in_front(pilot, Confirm)
        await press(pilot, "enter")
        await settle(pilot)
        assert pilot.app.screen is screen
        assert not (home / "songs_slices").exists()
        await press(pilot, "q")
        await until(pilot, lambda: bool(app.answered), "the answer")
        assert app.answered == [None]


async def test_escape_stops_finished_slices_stay_and_slicing_goes_on(
    home: Path, album: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with slicer_app(album).run_test(size=SIZE) as pilot:
        screen = await ready(pilot)

        def stopping(task: str, parameters: dict[str, Any], report: Any = None, **options: Any) -> Any:
            def heard(doing: str, done: int, total: int) -> None:
                report(doing, done, total)
                if doing == "slices" and slices_in(home / "songs_slices"):
                    pilot.app.call_from_thread(screen.action_leave)

            return call_here(task, parameters, heard if task == "slice" else report)

        monkeypatch.setattr(apart, "call", stopping)
        await press(pilot, "S")
        await in_front(pilot, Confirm)
        await press(pilot, "y")
        await until(pilot, lambda: "Stopped" in words(screen, "heading"), "the stop")
        there = slices_in(home / "songs_slices")
        assert 0 < len(there) < 5
        assert f"{len(there)} of 5 slices are there" in words(screen, "heading")
        monkeypatch.setattr(apart, "call", call_here)
        await press(pilot, "S")
        await in_front(pilot, Confirm)
        await press(pilot, "y")
        await until(pilot, lambda: isinstance(pilot.app.screen, Confirm), "the offer")
        await press(pilot, "y")
        await in_front(pilot, Choose)
        assert len(slices_in(home / "songs_slices")) == 5


async def test_nothing_is_overwritten(home: Path, album: Path) -> None:
    (home / "songs_slices").mkdir()
    mine = home / "songs_slices" / "aurora_002.wav"
    mine.write_bytes(b"mine")
    async with slicer_app(album).run_test(size=SIZE) as pilot:
        screen = await ready(pilot)
        await press(pilot, "S")
        await in_front(pilot, Confirm)
        await press(pilot, "y")
        await in_front(pilot, Tell)
        assert not screen.is_slicing
        assert mine.read_bytes() == b"mine"
        assert slices_in(home / "songs_slices") == ["aurora_002.wav"]


async def test_while_slicing_settings_stand_still_and_a_second_start_is_none(
    album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slicer_jobs.tempfile, "gettempdir", lambda: str(tmp_path))
    async with slicer_app(album).run_test(size=SIZE) as pilot:
        screen = await ready(pilot)
        monkeypatch.setattr(screen, "_slice", lambda *_, **__: None)
        await press(pilot, "S")
        await in_front(pilot, Confirm)
        await press(pilot, "y")
        await until(pilot, lambda: screen.is_slicing, "the slicing")
        await press(pilot, "5", "right", "S", "o")
        assert screen.form.wish.cutting.seconds == 30
        assert pilot.app.screen is screen
        assert "esc stops" in words(screen, "meaning")
        await press(pilot, "q")
        assert pilot.app.screen is screen
        assert "Stopping" in words(screen, "meaning")


async def test_failures_are_told_and_the_screen_goes_on(album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failures: list[Exception] = [DataError("The disk went away.", "", "Put it back."), ZeroDivisionError("a mistake")]

    def failing(task: str, *arguments: Any, **options: Any) -> Any:
        if task == "slice":
            raise failures.pop(0)
        return call_here(task, *arguments, **options)

    async with slicer_app(album).run_test(size=SIZE) as pilot:
        screen = await ready(pilot)
        monkeypatch.setattr(apart, "call", failing)
        await press(pilot, "S")
        await in_front(pilot, Confirm)
        await press(pilot, "y")
        await in_front(pilot, Tell)
        await press(pilot, "escape", "S")
        assert not screen.is_slicing
        await in_front(pilot, Confirm)
        await press(pilot, "y")
        await until(pilot, lambda: any("a mistake" in note.message for note in pilot.app._notifications), "the words")
        assert not screen.is_slicing
        assert "5 slices of 2 songs" in words(screen, "meaning")
        assert "120,000 samples" in words(screen, "numbers")


async def test_the_folder_is_typed_and_checked(home: Path, album: Path) -> None:
    async with slicer_app(album).run_test(size=SIZE) as pilot:
        screen = await ready(pilot)
        await press(pilot, "o")
        field = pilot.app.screen.query_one(Input)
        field.value = "songs/inside"
        await press(pilot, "enter")
        assert pilot.app.screen is not screen
        field.value = "elsewhere"
        await press(pilot, "enter")
        await settle(pilot)
        assert screen.form.folder == home / "elsewhere"
        assert "~/here/elsewhere" in words(screen, "settings")


async def test_small_windows_keep_the_row_in_focus_and_the_cuts(album: Path) -> None:
    async with slicer_app(album).run_test(size=(60, 18)) as pilot:
        screen = await ready(pilot)
        await press(pilot, "G")
        assert "▸ Folder" in words(screen, "settings")
        assert "├1─" in words(screen, "wave")


# The form


def test_steps_stay_within_bounds_and_on_the_grid() -> None:
    form = Form(Path("songs"), Path("out"))
    for _ in range(60):
        form.change(-1)
    assert form.values["seconds"] == 1
    form.move(1)
    form.type("0,3")
    assert form.values["overlap"] == 0.3
    form.change(1)
    assert form.values["overlap"] == 0.5
    assert not form.problem


def test_every_field_has_help_that_ends_and_fits() -> None:
    for item in FIELDS:
        assert item.help.endswith("."), item.name
        assert len(item.help) <= 130, item.name
        assert not item.is_number or item.unit
