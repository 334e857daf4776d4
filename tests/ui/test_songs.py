"""The songs screen at work: filter, marks, bulk edits, undo, writing, leaving, and what comes back."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, OptionList, TextArea

from sidestep_tui.core.errors import DataError
from sidestep_tui.dataset.editing.edit_plan import FieldChange
from sidestep_tui.dataset.manifest import Manifest
from sidestep_tui.schema.draft import Draft
from sidestep_tui.ui.base import Dialog
from sidestep_tui.ui.dialogs.confirm import Choose, Confirm, Tell
from sidestep_tui.ui.dialogs.long_text import AskLongText
from sidestep_tui.ui.dialogs.one_of import OneOf
from sidestep_tui.ui.dialogs.paper import Paper
from sidestep_tui.ui.dialogs.song_words import AskReplace, AskTag
from sidestep_tui.ui.dialogs.text import AskText
from sidestep_tui.ui.screens.songs import kept as songs_kept
from sidestep_tui.ui.screens.songs import screen as songs_module
from sidestep_tui.ui.screens.songs.screen import SongsScreen
from sidestep_tui.ui.screens.wizard.screen import WizardScreen
from sidestep_tui.ui.songs_place import SongsPlace
from sidestep_tui.ui.widgets.rows import Rows
from tests.ui.conftest import make_app, settle
from tests.ui.songs_making import app_at, make_manifest, make_song, songs_app, songs_screen, write_folder
from tests.ui.watching import until

SIZE = (120, 40)
SMALL = (80, 24)


@pytest.fixture
def thirteen(tmp_path: Path) -> Manifest:
    return make_manifest(tmp_path, 13)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three real songs with JSON sidecars."""
    facts = {"caption": "slow piano", "bpm": 90, "lyrics": "[Verse]\nla la"}
    return write_folder(tmp_path / "ember", {"a": facts, "b": {"caption": "fast drums"}, "c": {}})


async def ready(pilot: Pilot[Any]) -> SongsScreen:
    screen = songs_screen(pilot.app)
    await until(pilot, lambda: screen.session is not None and not screen.busy, "the songs")
    await pilot.pause()
    return screen


async def dialog(pilot: Pilot[Any], kind: type[Any]) -> Any:
    await until(pilot, lambda: isinstance(pilot.app.screen, kind), kind.__name__)
    await pilot.pause()
    return pilot.app.screen


async def closed(pilot: Pilot[Any]) -> None:
    await until(pilot, lambda: not isinstance(pilot.app.screen, Dialog), "the dialog's end")
    await pilot.pause()


def table(screen: SongsScreen) -> str:
    return screen.query_one("#songs", Rows).plain


def heading(screen: SongsScreen) -> str:
    return screen.query_one("#heading", Rows).plain


def value(screen: SongsScreen, name: str, field: str) -> str:
    assert screen.session is not None
    return screen.session.value(name, field)


# Looking


async def test_the_table_shows_the_songs_and_what_is_missing(thirteen: Manifest, monkeypatch: Any) -> None:
    async with songs_app(thirteen, monkeypatch).run_test(size=SMALL) as pilot:
        screen = await ready(pilot)
        assert "13 songs" in heading(screen)
        assert "5 without caption" in heading(screen)
        assert "song_0000" in table(screen)
        assert "– file name" in table(screen)
        assert "w lists them" in heading(screen)
        assert "song_0000" in screen.query_one("#detail", Rows).plain


async def test_only_visible_rows_are_made_for_2000_songs(tmp_path: Path, monkeypatch: Any) -> None:
    made = []
    paint = songs_module.song_row

    def counted(*given: Any, **more: Any) -> Any:
        made.append(given)
        return paint(*given, **more)

    monkeypatch.setattr(songs_module, "song_row", counted)
    async with songs_app(make_manifest(tmp_path, 2000), monkeypatch).run_test(size=SMALL) as pilot:
        screen = await ready(pilot)
        height = screen.query_one("#songs").size.height
        assert height < 24
        await pilot.press("slash")
        made.clear()
        paints = 0
        for key in "piano":
            await pilot.press(key)
            paints += 1
        await pilot.pause()
        assert len(made) <= height * (paints + 2)
        assert "of 2000" in heading(screen)
        made.clear()
        await pilot.press("enter", "G")
        await pilot.pause()
        assert len(made) <= height * 4
        assert screen.listing.current is screen.listing.shown[-1]


async def test_moving_paints_two_rows_of_the_table(tmp_path: Path, monkeypatch: Any) -> None:
    async with songs_app(make_manifest(tmp_path, 2000), monkeypatch).run_test(size=SMALL) as pilot:
        screen = await ready(pilot)
        rows = screen.query_one("#songs", Rows)
        before = rows.repainted_rows
        await pilot.press("j")
        await pilot.pause()
        assert rows.repainted_rows - before == 2


async def test_a_folder_that_cannot_be_used_says_why_and_can_be_tried_again(
    thirteen: Manifest, monkeypatch: Any
) -> None:
    app = songs_app(thirteen, monkeypatch)
    found = [DataError("No songs in /songs.", "It holds no audio files.", "Put your songs there.")]

    def scan(*_: Any) -> Manifest:
        if found:
            raise found.pop()
        return thirteen

    monkeypatch.setattr("sidestep_tui.dataset.apart.scan_apart", scan)
    async with app.run_test(size=SMALL) as pilot:
        screen = songs_screen(app)
        await until(pilot, lambda: screen.problem is not None, "the refusal")
        await pilot.pause()
        for words in ("No songs in /songs.", "It holds no audio files.", "Put your songs there."):
            assert words in table(screen)
        await pilot.press("e", "x", "W", "space", "m", "r")
        await ready(pilot)
        assert "song_0000" in table(screen)


async def test_what_was_left_out_is_listed(thirteen: Manifest, monkeypatch: Any) -> None:
    async with songs_app(thirteen, monkeypatch).run_test(size=SMALL) as pilot:
        await ready(pilot)
        await pilot.press("w")
        page = await dialog(pilot, Paper)
        assert "broken.flac is empty (0 bytes)." in page.plain


# Filter, sort, marks


async def test_the_filter_narrows_as_one_types_and_escape_widens(thirteen: Manifest, monkeypatch: Any) -> None:
    async with songs_app(thirteen, monkeypatch).run_test(size=SMALL) as pilot:
        screen = await ready(pilot)
        await pilot.press("slash", *"missing:bpm")
        await pilot.pause()
        assert [song.name for song in screen.listing.shown] == ["song_0000", "song_0005", "song_0010"]
        await pilot.press("enter", "escape")
        await pilot.pause()
        assert len(screen.listing.shown) == 13
        await pilot.press("slash", *"bpm:fast")
        await pilot.pause()
        assert "wants a number" in heading(screen)
        assert len(screen.listing.shown) == 13


async def test_sorting_goes_through_the_columns_and_both_ways(thirteen: Manifest, monkeypatch: Any) -> None:
    async with songs_app(thirteen, monkeypatch).run_test(size=SMALL) as pilot:
        screen = await ready(pilot)
        await pilot.press("s", "greater_than_sign")
        await pilot.pause()
        assert screen.listing.sort == "length"
        assert "length▾" in heading(screen)
        assert table(screen).splitlines()[-1].count("song_0012") or screen.listing.shown[0].name == "song_0012"
        await pilot.press("less_than_sign")
        assert screen.listing.shown[0].name == "song_0000"


async def test_an_edit_applies_to_all_marked_songs_and_to_no_other(thirteen: Manifest, monkeypatch: Any) -> None:
    async with songs_app(thirteen, monkeypatch).run_test(size=SMALL) as pilot:
        screen = await ready(pilot)
        await pilot.press("space", "space", "j", "v", "b")
        await dialog(pilot, AskText)
        await pilot.press(*"128", "enter")
        await closed(pilot)
        assert [value(screen, f"song_000{n}", "bpm") for n in range(5)] == ["128", "128", "128", "128", "94"]
        assert "4 edits" in heading(screen)
        assert screen.listing.facts(screen.listing.songs[0]).edited == {"bpm"}
        await pilot.press("escape")
        assert not screen.listing.marks


async def test_different_values_stay_when_the_answer_is_empty(thirteen: Manifest, monkeypatch: Any) -> None:
    async with songs_app(thirteen, monkeypatch).run_test(size=SMALL) as pilot:
        screen = await ready(pilot)
        await pilot.press("a", "b")
        asked = await dialog(pilot, AskText)
        assert asked.query_one(Input).value == ""
        await pilot.press("enter")
        await closed(pilot)
        assert not screen.changes
        await pilot.press("b")
        await dialog(pilot, AskText)
        await pilot.press("minus", "enter")
        await closed(pilot)
        assert {value(screen, song.name, "bpm") for song in thirteen.songs} == {""}


# Edits


async def test_a_wrong_value_is_refused_where_it_is_typed(thirteen: Manifest, monkeypatch: Any) -> None:
    async with songs_app(thirteen, monkeypatch).run_test(size=SMALL) as pilot:
        screen = await ready(pilot)
        await pilot.press("b")
        await dialog(pilot, AskText)
        await pilot.press(*"fast", "enter")
        assert isinstance(pilot.app.screen, AskText)
        await pilot.press("escape")
        await closed(pilot)
        assert not screen.changes


async def test_a_caption_is_typed_with_room_and_enter_keeps_it(thirteen: Manifest, monkeypatch: Any) -> None:
    async with songs_app(thirteen, monkeypatch).run_test(size=SMALL) as pilot:
        screen = await ready(pilot)
        await pilot.press("j", "c")
        asked = await dialog(pilot, AskLongText)
        assert asked.query_one(TextArea).text == "slow piano, brushed drums, rain"
        await pilot.press(*", calm", "enter")
        await closed(pilot)
        assert value(screen, "song_0001", "caption") == "slow piano, brushed drums, rain, calm"


async def test_lyrics_take_line_breaks_and_are_not_lost_to_one_escape(thirteen: Manifest, monkeypatch: Any) -> None:
    async with songs_app(thirteen, monkeypatch).run_test(size=SMALL) as pilot:
        screen = await ready(pilot)
        await pilot.press("j", "l")
        await dialog(pilot, AskLongText)
        await pilot.press("enter", "m", "escape")
        assert isinstance(pilot.app.screen, AskLongText)
        await pilot.press("ctrl+s")
        await closed(pilot)
        assert value(screen, "song_0001", "lyrics") == "[Verse]\nline 1\nand another\nm"
        await pilot.press("l")
        await dialog(pilot, AskLongText)
        await pilot.press(*"zzz", "escape", "escape")
        await closed(pilot)
        assert "zzz" not in value(screen, "song_0001", "lyrics")


async def test_key_and_language_are_chosen_from_a_list_or_typed(thirteen: Manifest, monkeypatch: Any) -> None:
    async with songs_app(thirteen, monkeypatch).run_test(size=SMALL) as pilot:
        screen = await ready(pilot)
        await pilot.press("j", "n")
        await dialog(pilot, OneOf)
        await pilot.press(*"ebm", "enter")
        await closed(pilot)
        assert value(screen, "song_0001", "keyscale") == "Eb minor"
        await pilot.press("e")
        await dialog(pilot, OneOf)
        await pilot.press(*"lang", "enter")
        await until(pilot, lambda: "language of" in getattr(pilot.app.screen, "TITLE_TEXT", ""), "the languages")
        await pilot.press(*"germ", "enter")
        await closed(pilot)
        assert value(screen, "song_0001", "language") == "de"


async def test_the_list_of_fields_shows_what_they_hold(thirteen: Manifest, monkeypatch: Any) -> None:
    async with songs_app(thirteen, monkeypatch).run_test(size=SMALL) as pilot:
        await ready(pilot)
        await pilot.press("a", "enter")
        asked = await dialog(pilot, OneOf)
        listing = asked.query_one(OptionList)
        lines = [str(listing.get_option_at_index(at).prompt) for at in range(listing.option_count)]
        assert any("BPM" in line and "different values" in line for line in lines)
        assert any("tag" in line and "–" in line for line in lines)


async def test_a_tag_goes_into_all_captions_once(thirteen: Manifest, monkeypatch: Any) -> None:
    async with songs_app(thirteen, monkeypatch).run_test(size=SMALL) as pilot:
        screen = await ready(pilot)
        await pilot.press("a", "t")
        await dialog(pilot, AskTag)
        await pilot.press(*"zx", "down", "enter")
        await closed(pilot)
        assert value(screen, "song_0001", "caption") == "slow piano, brushed drums, rain, zx"
        edits = len(screen.changes)
        await pilot.press("t")
        await dialog(pilot, AskTag)
        await pilot.press(*"zx", "down", "enter")
        await closed(pilot)
        assert len(screen.changes) == edits


async def test_find_and_replace_counts_before_and_changes_only_shown_songs(
    thirteen: Manifest, monkeypatch: Any
) -> None:
    async with songs_app(thirteen, monkeypatch).run_test(size=SMALL) as pilot:
        screen = await ready(pilot)
        await pilot.press("slash", *"0001", "enter", "f")
        asked = await dialog(pilot, AskReplace)
        await pilot.press(*"drums")
        await pilot.pause()
        line = str(asked.query_one(OptionList).get_option_at_index(0).prompt)
        assert "in 1 song" in line
        await pilot.press("enter", *"pan", "enter")
        await closed(pilot)
        assert value(screen, "song_0001", "caption") == "slow piano, brushed pan, rain"
        assert value(screen, "song_0004", "caption") == "slow piano, brushed drums, rain"


async def test_instrumental_and_reviewed_are_switched_with_one_key(thirteen: Manifest, monkeypatch: Any) -> None:
    async with songs_app(thirteen, monkeypatch).run_test(size=SMALL) as pilot:
        screen = await ready(pilot)
        await pilot.press("j", "i")
        await pilot.pause()
        assert value(screen, "song_0001", "instrumental") == "yes"
        await pilot.press("x")
        await pilot.pause()
        assert screen.session is not None
        assert screen.session.is_reviewed("song_0001")
        current = screen.listing.current
        assert current is not None
        assert current.name == "song_0002", "reviewing goes on to the next song"
        await pilot.press("k", "x")
        await pilot.pause()
        assert not screen.session.is_reviewed("song_0001")


async def test_undo_and_redo_take_steps_and_say_which(thirteen: Manifest, monkeypatch: Any) -> None:
    async with songs_app(thirteen, monkeypatch).run_test(size=SMALL) as pilot:
        screen = await ready(pilot)
        await pilot.press("a", "i", "u")
        await settle(pilot)
        assert not screen.changes
        assert "undone" in heading(screen)
        await pilot.press("ctrl+r")
        await settle(pilot)
        assert screen.changes
        await pilot.press("ctrl+y")
        await settle(pilot)
        assert not screen.changes
        await pilot.press("u")
        await settle(pilot)
        assert "nothing to take back" in heading(screen)


# Measured


async def test_heard_values_stand_beside_and_enter_only_by_a_yes(thirteen: Manifest, monkeypatch: Any) -> None:
    def sure(name: str) -> float:
        return 0.3 if name == "song_0007" else 0.8

    def call(task: str, given: dict[str, Any], report: Any = None, **_: Any) -> Any:
        assert task == "measure"
        songs = [song["name"] for song in given["manifest"]["songs"]]
        report("listening", len(songs), len(songs))
        return [
            {"name": name, "bpm": 123, "bpm_confidence": 0.9, "key": "A minor", "key_confidence": sure(name)}
            for name in songs
        ]

    async with songs_app(thirteen, monkeypatch).run_test(size=SIZE) as pilot:
        screen = await ready(pilot)
        monkeypatch.setattr("sidestep_tui.dataset.apart.call", call)
        await pilot.press("a", "equals_sign")
        await until(pilot, lambda: len(screen.listing.measured) == 13 and not screen.busy, "the measurements")
        await pilot.pause()
        assert not screen.changes
        assert "heard" in heading(screen)
        assert "123 BPM, 90% sure" in screen.query_one("#detail", Rows).plain
        await pilot.press("plus")
        await dialog(pilot, Choose)
        await pilot.press("enter")
        await closed(pilot)
        assert not screen.changes, "the answer that has the focus changes nothing"
        await pilot.press("plus")
        await dialog(pilot, Choose)
        await pilot.press("m")
        await closed(pilot)
        assert value(screen, "song_0000", "bpm") == "123"
        assert value(screen, "song_0001", "bpm") == "91", "only what is missing"
        assert value(screen, "song_0003", "keyscale") == "A minor"
        assert value(screen, "song_0007", "keyscale") == "", "only what is fairly sure"


async def test_listening_can_be_stopped_and_says_nothing_afterwards(thirteen: Manifest, monkeypatch: Any) -> None:
    asked = threading.Event()

    def call(task: str, given: dict[str, Any], report: Any, **_: Any) -> Any:
        asked.set()
        while True:  # until the screen takes its question back, which makes the report raise
            report("songs", 1, 13)

    async with songs_app(thirteen, monkeypatch).run_test(size=SMALL) as pilot:
        screen = await ready(pilot)
        monkeypatch.setattr("sidestep_tui.dataset.apart.call", call)
        await pilot.press("a", "equals_sign")
        await until(pilot, asked.is_set, "the child")
        await pilot.press("escape", "escape")
        await settle(pilot)
        assert not screen.busy
        assert not screen.listing.measured


# What the model reads


async def test_what_the_model_reads_is_shown_without_a_checkpoint(thirteen: Manifest, monkeypatch: Any) -> None:
    async with songs_app(thirteen, monkeypatch, tag="zx").run_test(size=SMALL) as pilot:
        await ready(pilot)
        await pilot.press("j", "m")
        page = await dialog(pilot, Paper)
        assert "zx, slow piano, brushed drums, rain" in page.plain
        assert "- bpm: 91" in page.plain
        assert "1,525 latent frames" in page.plain
        assert "choose a checkpoint to count tokens" in page.plain
        await pilot.press("right_square_bracket")
        await pilot.pause()
        assert "industrial techno" in page.plain
        assert "song_0002" in page.query_one(".dialog").border_title


async def test_tokens_are_counted_by_a_child_and_cuts_are_named(
    thirteen: Manifest, monkeypatch: Any, tmp_path: Path
) -> None:
    async with songs_app(thirteen, monkeypatch, model=tmp_path / "model").run_test(size=SMALL) as pilot:
        await ready(pilot)

        def call(task: str, given: dict[str, Any], *_: Any, **__: Any) -> Any:
            assert task == "read"
            from dataclasses import asdict

            from sidestep_tui.dataset import reading

            found, settings = Manifest.from_dict(given["manifest"]), reading.ReadingSettings(**given["settings"])
            (plain,) = reading.read(found, settings, None, given["names"])
            counted = {"prompt_tokens": 201, "lyrics_tokens": 44, "caption_cut": 12, "lyrics_tokens_cut": 0}
            return [{**asdict(plain), **counted, "prompt_tokens_cut": 0}]

        monkeypatch.setattr("sidestep_tui.dataset.apart.call", call)
        monkeypatch.setattr("sidestep_tui.launch.models.tokenizer_dir", lambda *_: tmp_path)
        await pilot.press("j", "m")
        page = await dialog(pilot, Paper)
        await until(pilot, lambda: "201 of 256 tokens" in page.plain, "the counts")
        assert "44 of 2,048 tokens" in page.plain
        assert "last 12 characters of the caption are not read" in page.plain


async def test_what_is_read_follows_the_shares_of_genre_and_of_held_out_songs(tmp_path: Path, monkeypatch: Any) -> None:
    songs = tuple(make_song(tmp_path, number, genre="dub techno") for number in range(4))
    found = Manifest(tmp_path, songs)
    async with songs_app(found, monkeypatch, genre_ratio=50, validation=50).run_test(size=SMALL) as pilot:
        await ready(pilot)
        await pilot.press("m")
        page = await dialog(pilot, Paper)
        seen = [page.plain]
        for _ in songs[1:]:
            await pilot.press("right_square_bracket")
            await pilot.pause()
            seen.append(page.plain)
        assert sum("described by its genre" in text for text in seen) == 2
        assert sum("never trained on" in text for text in seen) == 2


# Writing


async def test_writing_shows_the_files_first_and_keeps_backups(folder: Path) -> None:
    async with app_at(SongsPlace(folder)).run_test(size=SMALL) as pilot:
        screen = await ready(pilot)
        before = (folder / "a.json").read_text()
        await pilot.press("a", "b")
        await dialog(pilot, AskText)
        await pilot.press(*"128", "enter")
        await closed(pilot)
        assert (folder / "a.json").read_text() == before, "nothing is written before W"
        await pilot.press("W")
        page = await dialog(pilot, Paper)
        assert "a.json" in page.plain
        assert "128" in page.plain
        await pilot.press("escape")
        await closed(pilot)
        assert (folder / "a.json").read_text() == before
        await pilot.press("W")
        await dialog(pilot, Paper)
        await pilot.press("enter")
        await until(pilot, lambda: not screen.changes and not screen.busy, "the save")
        assert json.loads((folder / "a.json").read_text())["bpm"] == 128
        assert any(before == path.read_text() for path in folder.iterdir() if path.name.startswith("a.json."))
        assert "wrote 3 files" in heading(screen)


async def test_taking_a_save_back_asks_because_it_writes(folder: Path) -> None:
    async with app_at(SongsPlace(folder)).run_test(size=SMALL) as pilot:
        screen = await ready(pilot)
        before = (folder / "a.json").read_text()
        await pilot.press("b")
        await dialog(pilot, AskText)
        await pilot.press(*["backspace"] * 3, *"128", "enter")
        await closed(pilot)
        await pilot.press("W")
        await dialog(pilot, Paper)
        await pilot.press("enter")
        await until(pilot, lambda: not screen.changes and not screen.busy, "the save")
        await settle(pilot)
        written = (folder / "a.json").read_text()
        assert written != before
        await pilot.press("u")
        await dialog(pilot, Confirm)
        await pilot.press("enter")
        await closed(pilot)
        assert (folder / "a.json").read_text() == written, "the answer that has the focus changes nothing"
        await pilot.press("u")
        await dialog(pilot, Confirm)
        await pilot.press("y")
        await until(pilot, lambda: (folder / "a.json").read_text() == before, "the former words")
        await until(pilot, lambda: bool(screen.changes), "the edit, pending again")


async def test_a_save_that_fails_leaves_the_edits(folder: Path, monkeypatch: Any) -> None:
    async with app_at(SongsPlace(folder)).run_test(size=SMALL) as pilot:
        screen = await ready(pilot)
        await pilot.press("i")

        def refuse() -> None:
            raise DataError("The disk is full.")

        assert screen.session is not None
        edits = len(screen.changes)
        assert edits
        monkeypatch.setattr(type(screen.session), "save", lambda _: refuse())
        await pilot.press("W")
        await dialog(pilot, Paper)
        await pilot.press("enter")
        told = await dialog(pilot, Tell)
        assert told._title == "The disk is full."
        await pilot.press("enter")
        assert len(screen.changes) == edits


# Leaving and coming back


async def test_leaving_with_edits_asks_and_stays_by_default(thirteen: Manifest, monkeypatch: Any) -> None:
    app = songs_app(thirteen, monkeypatch)
    async with app.run_test(size=SMALL) as pilot:
        screen = await ready(pilot)
        await pilot.press("i", "q")
        await dialog(pilot, Choose)
        await pilot.press("enter")
        await closed(pilot)
        assert screen.changes
        assert app.screen is screen
        await pilot.press("ctrl+q")
        await dialog(pilot, Choose)
        await pilot.press("escape")
        await closed(pilot)
        assert app.screen is screen
        await pilot.press("q")
        await dialog(pilot, Choose)
        await pilot.press("D")
        await until(pilot, lambda: not app.is_running or app.return_code is not None, "the end")
    assert app.return_code == 0


async def test_leaving_without_edits_does_not_ask(thirteen: Manifest, monkeypatch: Any) -> None:
    app = songs_app(thirteen, monkeypatch)
    async with app.run_test(size=SMALL) as pilot:
        await ready(pilot)
        await pilot.press("q")
        await until(pilot, lambda: app.return_code is not None, "the end")
    assert app.return_code == 0


async def test_looking_again_keeps_the_edits(folder: Path) -> None:
    async with app_at(SongsPlace(folder)).run_test(size=SMALL) as pilot:
        screen = await ready(pilot)
        await pilot.press("i", "x")
        await pilot.pause()
        before = {(item.song, item.field, item.after) for item in screen.changes}
        assert before
        session = screen.session
        (folder / "b.json").write_text('{"caption": "very fast drums"}', encoding="utf-8")
        await pilot.press("r")
        await until(pilot, lambda: screen.session is not session and not screen.busy, "another look")
        assert {(item.song, item.field, item.after) for item in screen.changes} == before
        assert value(screen, "b", "caption") == "very fast drums"


async def test_edits_of_songs_that_are_gone_are_named(thirteen: Manifest, monkeypatch: Any) -> None:
    async with songs_app(thirteen, monkeypatch).run_test(size=SMALL) as pilot:
        screen = await ready(pilot)
        await pilot.press("G", "i")
        await pilot.pause()
        assert screen.changes
        fewer = make_manifest(thirteen.root, 3)
        monkeypatch.setattr("sidestep_tui.dataset.apart.scan_apart", lambda *_: fewer)
        await pilot.press("r")
        told = await dialog(pilot, Tell)
        assert "song_0012" in told._message


async def test_every_key_is_in_the_palette(thirteen: Manifest, monkeypatch: Any) -> None:
    from sidestep_tui.ui.palette import ActionsProvider
    from sidestep_tui.ui.screens.songs.keys import KEYS

    async with songs_app(thirteen, monkeypatch).run_test(size=SMALL) as pilot:
        screen = await ready(pilot)
        await pilot.press("i")
        await pilot.pause()
        titles = [entry.title for entry in ActionsProvider(screen).entries()]
        for binding in KEYS:
            assert any(title.startswith(binding.description) for title in titles), binding.description


# Doors


async def test_the_wizard_opens_the_songs_of_its_draft_and_looks_again_afterwards(
    ready_draft: Callable[..., Draft], places: Path
) -> None:
    ready_draft(step="data", field="data.tag", data__tag="zx_ember")
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await settle(pilot)
        wizard = app.screen
        assert isinstance(wizard, WizardScreen)
        await pilot.press("down", "enter")
        await until(pilot, lambda: app.current_mode == "songs", "the songs")
        screen = await ready(pilot)
        assert screen.place.tag == "zx_ember"
        assert screen.place.model is not None
        assert len(screen.listing.songs) == 12
        (places / "songs" / "song_02.json").write_text('{"caption": "new words"}', encoding="utf-8")
        await pilot.press("i", "f3")
        await until(pilot, lambda: app.screen is wizard, "the wizard")
        await pilot.press("f10")
        await until(pilot, lambda: app.screen is screen, "the songs, with their edits")
        assert screen.changes
        await pilot.press("u", "q")
        await until(pilot, lambda: app.screen is wizard, "the wizard")
        await settle(pilot)
        assert wizard.session.manifest is not None
        assert wizard.session.manifest.song("song_02").caption == "new words"


async def test_enter_passes_the_door_to_the_songs_on_the_way_to_the_next_step(
    ready_draft: Callable[..., Draft],
) -> None:
    ready_draft(step="data", field="data.tag")
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await settle(pilot)
        await pilot.press("enter")
        await settle(pilot)
        wizard = app.screen
        assert isinstance(wizard, WizardScreen)
        assert wizard.pages.current == "adapter"


async def test_doctor_and_slicer_ask_about_pending_edits_and_the_folder_is_read_again_after_them(
    folder: Path,
) -> None:
    async with app_at(SongsPlace(folder)).run_test(size=SMALL) as pilot:
        screen = await ready(pilot)
        await pilot.press("i", "d")
        await dialog(pilot, Choose)
        await pilot.press("enter")
        await closed(pilot)
        assert pilot.app.screen is screen
        await pilot.press("u")
        await settle(pilot)
        for key, name in (("d", "DoctorScreen"), ("z", "SlicerScreen")):
            session = screen.session
            await pilot.press(key)
            await until(pilot, lambda name=name: type(pilot.app.screen).__name__ == name, name)  # type: ignore[misc]
            await pilot.press("q")
            await until(pilot, lambda: pilot.app.screen is screen, "the songs")
            await until(
                pilot,
                lambda session=session: screen.session is not session and not screen.busy,  # type: ignore[misc]
                "another look",
            )


async def test_new_slices_can_be_looked_at_at_once(folder: Path, tmp_path: Path) -> None:
    slices = write_folder(tmp_path / "slices", {"a_001": {}, "a_002": {}})
    async with app_at(SongsPlace(folder)).run_test(size=SMALL) as pilot:
        screen = await ready(pilot)
        await pilot.press("z")
        await until(pilot, lambda: type(pilot.app.screen).__name__ == "SlicerScreen", "the slicer")
        pilot.app.screen.dismiss(slices)
        await until(pilot, lambda: isinstance(pilot.app.screen, SongsScreen) and pilot.app.screen is not screen, "them")
        assert (await ready(pilot)).place.root == slices


async def test_the_role_of_name_txt_is_flipped_for_the_folder(folder: Path) -> None:
    (folder / "c.txt").write_text("dark techno, hypnotic", encoding="utf-8")
    async with app_at(SongsPlace(folder)).run_test(size=SMALL) as pilot:
        screen = await ready(pilot)
        assert value(screen, "c", "caption") == "dark techno, hypnotic"
        await pilot.press("ctrl+t", "ctrl+t")
        await until(pilot, lambda: screen.place.txt_role == "lyrics" and not screen.busy, "the other role")
        await settle(pilot)
        assert value(screen, "c", "lyrics") == "dark techno, hypnotic"
        assert json.loads((folder / "sidestep-dataset.json").read_text())["txt_role"] == "lyrics"


# What outlives the app


async def test_edits_that_were_not_written_are_there_the_next_time(folder: Path) -> None:
    async with app_at(SongsPlace(folder)).run_test(size=SMALL) as pilot:
        screen = await ready(pilot)
        await pilot.press("b")
        await dialog(pilot, AskText)
        await pilot.press(*["backspace"] * 3, *"71", "enter")
        await closed(pilot)
        pilot.app.exit(return_code=129)  # as after a hangup
    async with app_at(SongsPlace(folder)).run_test(size=SMALL) as pilot:
        screen = await ready(pilot)
        assert value(screen, "a", "bpm") == "71"
        assert "1 edit of the last time" in heading(screen)
        await pilot.press("q")
        await dialog(pilot, Choose)
        await pilot.press("D")
        await until(pilot, lambda: pilot.app.return_code == 0, "the end")
    async with app_at(SongsPlace(folder)).run_test(size=SMALL) as pilot:
        screen = await ready(pilot)
        assert not screen.changes
        assert json.loads((folder / "a.json").read_text())["bpm"] == 90


def test_damaged_notes_of_edits_are_none(tmp_path: Path) -> None:
    songs_kept.keep(tmp_path, [FieldChange("a", "bpm", "90", "91")])
    (note,) = (tmp_path / "state").rglob("songs/*.json")
    assert songs_kept.kept(tmp_path) == [FieldChange("a", "bpm", "90", "91")]
    for text in ("", "[]", '{"root": 1}', '{"root": "/other", "changes": []}', '{"changes": [{"song": 3}]}'):
        note.write_text(text)
        assert songs_kept.kept(tmp_path) == []
    songs_kept.keep(tmp_path, [])
    assert not note.exists()


async def test_nothing_else_begins_while_files_are_written(thirteen: Manifest, monkeypatch: Any) -> None:
    async with songs_app(thirteen, monkeypatch).run_test(size=SMALL) as pilot:
        screen = await ready(pilot)
        await pilot.press("i")
        screen.writing = True
        await pilot.press("u", "i", "q", "W", "c")
        await settle(pilot)
        assert pilot.app.screen is screen
        assert len(screen.changes) == 2
        screen.writing = False
        await pilot.press("u")
        await settle(pilot)
        assert not screen.changes


async def test_names_that_look_like_markup_are_shown_as_they_are(tmp_path: Path, monkeypatch: Any) -> None:
    name = "a [/b] [red]song [@click=app.quit]x[/]"
    odd = Manifest(tmp_path, (make_song(tmp_path, 1, name=name, caption="[/oops] [b]loud"),))
    async with songs_app(odd, monkeypatch).run_test(size=SMALL) as pilot:
        screen = await ready(pilot)
        assert "a [/b]" in screen.query_one("#detail", Rows).plain
        for key in "ebcntfm":
            await pilot.press(key)
            asked = await dialog(pilot, Dialog)
            title = asked.query_one(".dialog")._border_title
            assert key == "f" or name in title.plain
            await pilot.press("escape")
            await closed(pilot)


async def test_the_first_frame_of_the_wizard_does_not_wait_for_the_key_to_the_songs(
    machine: object, monkeypatch: Any
) -> None:
    made: list[bool] = []
    begin = WizardScreen._begin

    async def noted(screen: WizardScreen) -> None:
        made.append(screen._session is not None)
        await begin(screen)

    monkeypatch.setattr(WizardScreen, "_begin", noted)
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await settle(pilot)
        assert made == [False]
