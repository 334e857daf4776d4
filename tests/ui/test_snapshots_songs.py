"""Pictures of the songs screen and its dialogs, with one song, a few and very many."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from sidestep_tui.core.errors import DataError
from sidestep_tui.dataset.manifest import Manifest
from tests.ui.songs_making import heard, make_manifest, make_song, songs_app, songs_screen, write_folder
from tests.ui.watching import until

SnapCompare = Callable[..., bool]
SIZES = [pytest.param((80, 24), id="80x24"), pytest.param((120, 40), id="120x40")]
ROOT = Path("/music/ember")


def after(*keys: str, then: Callable[[Any], object] | None = None) -> Callable[[Pilot[Any]], Awaitable[None]]:
    """Wait for the songs, press keys one after the other, do something with the screen, settle."""

    async def steps(pilot: Pilot[Any]) -> None:
        screen = songs_screen(pilot.app)
        await until(pilot, lambda: (screen.session or screen.problem) is not None and not screen.busy, "the songs")
        await pilot.pause()
        for key in keys:
            await pilot.press(key)
            await pilot.pause()
        if then is not None:
            then(screen)
        await pilot.pause()
        # A field that is about to show its cursor, or a page that is about to be measured.
        await pilot.pause()

    return steps


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", [1, 13, 2000])
def test_songs(snap_compare: SnapCompare, monkeypatch: Any, count: int, size: tuple[int, int]) -> None:
    app = songs_app(make_manifest(ROOT, count), monkeypatch)
    assert snap_compare(app, terminal_size=size, run_before=after("j"))


@pytest.mark.parametrize("size", SIZES)
def test_marks_edits_reviews_and_what_was_heard(
    snap_compare: SnapCompare, monkeypatch: Any, size: tuple[int, int]
) -> None:
    def hear(screen: Any) -> None:
        screen.listing.measured["song_0001"] = heard(91, 0.94, "C major", 0.81)
        screen.listing.measured["song_0002"] = heard(184, 0.71, "A major", 0.31)
        screen.listing.measured["song_0003"] = heard(93, 0.41, "G minor", 0.77)
        screen.words_changed()

    app = songs_app(make_manifest(ROOT, 13), monkeypatch)
    keys = ("j", "i", "x", "space", "j", "space", "k")
    assert snap_compare(app, terminal_size=size, run_before=after(*keys, then=hear))


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param(("slash", *"missing:bpm"), id="filter"),
        pytest.param(("slash", *"nothing like it"), id="nothing-found"),
        pytest.param(("a", "e"), id="fields"),
        pytest.param(("j", "c"), id="caption"),
        pytest.param(("j", "l", "enter", "x", "escape"), id="lyrics"),
        pytest.param(("j", "n", "e"), id="key"),
        pytest.param(("b", *"fast"), id="bpm"),
        pytest.param(("a", "t", *"zx_ember"), id="tag"),
        pytest.param(("a", "f", *"drums"), id="replace"),
        pytest.param(("j", "m"), id="reads"),
        pytest.param(("w",), id="warnings"),
        pytest.param(("i", "q"), id="leaving"),
        pytest.param(("question_mark",), id="help"),
    ],
)
def test_dialog(snap_compare: SnapCompare, monkeypatch: Any, keys: tuple[str, ...]) -> None:
    app = songs_app(make_manifest(ROOT, 13), monkeypatch)
    assert snap_compare(app, terminal_size=(80, 24), run_before=after(*keys))


@pytest.mark.parametrize("size", SIZES)
def test_what_would_be_written(snap_compare: SnapCompare, monkeypatch: Any, size: tuple[int, int]) -> None:
    said = {"a": {"caption": "slow piano", "bpm": 90}, "b": {"caption": "drums"}, "c": {}}
    folder = write_folder(Path("ember").absolute(), said)
    bare = {"lyrics": "", "language": "unknown", "keyscale": "", "instrumental": False, "bpm": None}
    songs = tuple(
        make_song(
            folder,
            1,
            **{**bare, "name": name, "audio": folder / f"{name}.wav", **facts},
            origins=dict.fromkeys(facts, f"{name}.json") or {"caption": "file name"},
        )
        for name, facts in said.items()
    )
    app = songs_app(Manifest(folder, songs), monkeypatch)

    async def steps(pilot: Pilot[Any]) -> None:
        await after("a", "b", *"128", "enter")(pilot)
        await pilot.press("W")
        await settle_files(pilot)

    assert snap_compare(app, terminal_size=size, run_before=steps)


async def settle_files(pilot: Pilot[Any]) -> None:
    """Until the plan is there."""
    from sidestep_tui.ui.dialogs.paper import Paper

    await until(pilot, lambda: isinstance(pilot.app.screen, Paper), "the plan")
    await pilot.pause()
    await pilot.pause()


def test_a_folder_that_cannot_be_used(snap_compare: SnapCompare, monkeypatch: Any) -> None:
    app = songs_app(make_manifest(ROOT, 0), monkeypatch)

    def refuse(*_: Any) -> None:
        raise DataError("No songs in /music/ember.", "It holds no audio files.", "Put your songs there.")

    monkeypatch.setattr("sidestep_tui.dataset.apart.scan_apart", refuse)
    assert snap_compare(app, terminal_size=(80, 24), run_before=after())


def test_ascii(snap_compare: SnapCompare, monkeypatch: Any) -> None:
    app = songs_app(make_manifest(ROOT, 13), monkeypatch, ascii_only=True)
    assert snap_compare(app, terminal_size=(80, 24), run_before=after("j", "i", "space"))
