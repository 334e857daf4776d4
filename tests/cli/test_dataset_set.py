"""`dataset set`: choosing songs, previewing, writing, and what scripts read of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Outcome

Cli = Callable[..., Outcome]


def scanned(run_cli: Cli, songs: Path) -> dict[str, dict[str, object]]:
    return {song["name"]: song for song in run_cli("dataset", "scan", songs, "--json").json["songs"]}


def test_fields_are_set_in_the_sidecars(run_cli: Cli, songs: Path) -> None:
    outcome = run_cli("dataset", "set", songs, "drums", "bpm=120", "keyscale=e minor", "caption=rock = loud")
    assert outcome.code == 0, outcome.err
    assert "Wrote drums.caption.txt (was kept as drums.caption.txt.bak)." in outcome.err
    drums, waves = scanned(run_cli, songs).values()
    assert (drums["bpm"], drums["keyscale"], drums["caption"]) == (120, "E minor", "rock = loud")
    assert waves["bpm"] is None
    assert run_cli("dataset", "set", songs, "drums", "bpm=").code == 0
    assert scanned(run_cli, songs)["drums"]["bpm"] is None


def test_a_dry_run_shows_each_line_and_writes_nothing(run_cli: Cli, songs: Path) -> None:
    before = {path: path.read_bytes() for path in songs.iterdir()}
    outcome = run_cli("dataset", "set", songs, "--all", "--tag", "zyx", "bpm=99", "--reviewed", "--dry-run")
    assert outcome.code == 0
    for line in ("-drums, a test", "+zyx, drums, a test", "drums.json (new)", '+  "bpm": 99'):
        assert line in outcome.out
    assert "would be written" in outcome.err
    assert {path: path.read_bytes() for path in songs.iterdir()} == before


def test_tests_narrow_the_songs(run_cli: Cli, songs: Path) -> None:
    run_cli("dataset", "set", songs, "drums", "bpm=120", "--reviewed")
    assert run_cli("dataset", "set", songs, "--where", "missing:bpm", "bpm=99", "--json").json["songs"] == ["waves"]
    assert run_cli("dataset", "set", songs, "--where", "name:D*", "genre=x", "--json").json["songs"] == ["drums"]
    assert scanned(run_cli, songs)["drums"]["bpm"] == 120
    # Setting the genre of drums has voided its review.
    found = run_cli("dataset", "set", songs, "--where", "reviewed:no", "--reviewed", "--json").json
    assert found["songs"] == ["drums", "waves"]
    again = run_cli("dataset", "set", songs, "--where", "reviewed:no", "--reviewed")
    assert again.code == 0 and "No song passes" in again.err and "Nothing to change" in again.err


def test_json_tells_of_files_backups_and_changes(run_cli: Cli, songs: Path) -> None:
    found = run_cli("dataset", "set", songs, "drums", "caption=rock", "bpm=99", "--json").json
    assert found["changes"] == [
        {"song": "drums", "field": "caption", "before": "drums, a test", "after": "rock"},
        {"song": "drums", "field": "bpm", "before": "", "after": "99"},
    ]
    assert [(item["path"], item["new"], item["written"], item["backup"]) for item in found["files"]] == [
        ("drums.caption.txt", False, True, "drums.caption.txt.bak"),
        ("drums.json", True, True, None),
    ]
    assert found["problems"] == [] and found["dry_run"] is False


def test_what_cannot_be_saved_is_named_and_fails(run_cli: Cli, songs: Path) -> None:
    (songs / "drums.caption.txt").chmod(0o444)
    outcome = run_cli("dataset", "set", songs, "--all", "caption=rock")
    assert outcome.code == 4
    assert "Not saved: drums.caption.txt is write-protected." in outcome.err
    assert (songs / "waves.caption.txt").read_text() == "rock"
    assert (songs / "drums.caption.txt").read_text() == "drums, a test"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["bpm=99"], 2, "No songs are chosen"),
        (["--all"], 2, "nothing to set"),
        (["--all", "bpm=999"], 4, "30 to 300"),
        (["--all", "bmp=99"], 4, "bpm"),
        (["drum", "bpm=99"], 4, "drums"),
        (["--where", "colour:red", "bpm=99"], 2, "missing:FIELD"),
        (["--where", "missing:bmp", "bpm=99"], 4, "bpm"),
    ],
)
def test_mistakes_change_nothing(run_cli: Cli, songs: Path, arguments: list[str], code: int, said: str) -> None:
    before = {path: path.read_bytes() for path in songs.iterdir()}
    outcome = run_cli("dataset", "set", songs, *arguments)
    assert outcome.code == code and said in outcome.err
    assert {path: path.read_bytes() for path in songs.iterdir()} == before


def test_words_of_songs_do_not_steer_the_terminal(run_cli: Cli, songs: Path) -> None:
    (songs / "drums.caption.txt").write_bytes(b"a \x1b[2J bell\x07")
    outcome = run_cli("dataset", "set", songs, "drums", "caption=rock", "--dry-run")
    assert "\x1b" not in outcome.out and "\x07" not in outcome.out
