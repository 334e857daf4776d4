"""What the product notes about a folder: review marks and the role of name.txt."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sidestep_tui.core.errors import DataError
from sidestep_tui.dataset.editing import own_file
from sidestep_tui.dataset.editing.edits import EditSession
from sidestep_tui.dataset.manifest import Song, scan

from .conftest import WriteSong

NAME = "sidestep-dataset.json"


def test_a_noted_role_decides_where_the_setting_does_not(tmp_path: Path, write_song: WriteSong) -> None:
    write_song("a.wav")
    (tmp_path / "a.txt").write_text("slow, sad, piano")
    assert scan(tmp_path).txt_role == "caption"
    assert own_file.save_role(tmp_path, "lyrics") == ""
    noted = scan(tmp_path)
    assert (noted.txt_role, noted.song("a").lyrics) == ("lyrics", "slow, sad, piano")
    assert scan(tmp_path, txt_role="caption").song("a").caption == "slow, sad, piano"
    own_file.save_role(tmp_path, None)
    assert scan(tmp_path).txt_role == "caption"


def test_unknown_keys_are_kept(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text('{"later": {"x": [1]}, "reviewed": {"gone": "abc", "odd": 3}, "txt_role": "poem"}')
    assert own_file.read(tmp_path).txt_role is None
    own_file.save_role(tmp_path, "caption")
    assert json.loads((tmp_path / NAME).read_text()) == {
        "later": {"x": [1]},
        "reviewed": {"gone": "abc", "odd": 3},
        "txt_role": "caption",
    }
    assert own_file.read(tmp_path).reviewed == {"gone": "abc"}


@pytest.mark.parametrize("damage", ["", "{", "[1]", '{"reviewed": [1]}', "\x00", "[" * 100_000])
def test_a_damaged_file_is_said_and_set_aside(tmp_path: Path, write_song: WriteSong, damage: str) -> None:
    write_song("a.wav")
    (tmp_path / NAME).write_text(damage)
    found = scan(tmp_path)
    assert [warning for warning in found.warnings if NAME in warning]
    session = EditSession(found)
    session.review(["a"], reviewed=True)
    report = session.save()
    assert report.problems == () and any(NAME in note for note in report.notes)
    assert EditSession(scan(tmp_path)).is_reviewed("a")
    assert damage == "" or (tmp_path / f"{NAME}.bak").read_text() == damage
    session.undo()
    assert (tmp_path / NAME).read_text() == damage


def test_it_describes_no_song(tmp_path: Path, write_song: WriteSong) -> None:
    write_song("sidestep-dataset.wav")
    (tmp_path / NAME).write_text('{"caption": "not words", "samples": [{"filename": "sidestep-dataset.wav"}]}')
    assert scan(tmp_path).song("sidestep-dataset").origins["caption"] == "file name"


def test_a_link_out_of_the_folder_is_neither_read_nor_written(tmp_path: Path, write_song: WriteSong) -> None:
    write_song("songs/a.wav")
    outside = tmp_path / "outside.json"
    outside.write_text('{"txt_role": "lyrics"}')
    root = tmp_path / "songs"
    (root / NAME).symlink_to(outside)
    assert own_file.read(root).txt_role is None
    session = EditSession(scan(root))
    session.review(["a"], reviewed=True)
    assert session.save().problems
    with pytest.raises(DataError, match="could not be noted"):
        own_file.save_role(root, "caption")
    assert outside.read_text() == '{"txt_role": "lyrics"}'


def test_a_write_protected_file_is_left_and_said(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("{}")
    (tmp_path / NAME).chmod(0o444)
    with pytest.raises(DataError) as caught:
        own_file.save_role(tmp_path, "caption")
    assert "write-protected" in caught.value.message
    assert (tmp_path / NAME).read_text() == "{}"


def test_marks_of_other_sessions_are_kept(tmp_path: Path, write_song: WriteSong) -> None:
    write_song("a.wav")
    write_song("b.wav")
    mine, yours = EditSession(scan(tmp_path)), EditSession(scan(tmp_path))
    mine.review(["a"], reviewed=True)
    yours.review(["b"], reviewed=True)
    mine.save()
    assert yours.save().problems == ()
    last = EditSession(scan(tmp_path))
    assert last.is_reviewed("a") and last.is_reviewed("b")
    assert list(tmp_path.glob("*.bak*")) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("caption", "x"),
        ("lyrics", "x"),
        ("language", "en"),
        ("bpm", 99),
        ("keyscale", "E minor"),
        ("timesignature", "3"),
        ("genre", "x"),
        ("tag", "x"),
        ("instrumental", True),
    ],
)
def test_every_word_counts_for_the_digest(field: str, value: object) -> None:
    song = Song("a", Path("a.wav"))
    assert own_file.digest(replace(song, **{field: value})) != own_file.digest(song)  # type: ignore[arg-type]


def test_what_is_not_words_does_not_count() -> None:
    song = Song("a", Path("a.wav"))
    assert own_file.digest(replace(song, repeats=3, duration=9.0, origins={"bpm": "a.json"})) == own_file.digest(song)
