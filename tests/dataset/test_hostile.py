"""Folders that are broken or mean harm: a scan never falls over, hangs or leaves, and says what it left out."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from sidestep_tui.core.errors import DataError
from sidestep_tui.dataset import files, layouts, tables
from sidestep_tui.dataset.manifest import Manifest, scan
from sidestep_tui.dataset.tables import Table

from .conftest import WriteSong

SECRET = "the words of a file outside"


def codes(found: Manifest) -> dict[str, str]:
    return {item.path.as_posix(): item.code for item in found.skipped}


def test_a_folder_of_everything_that_can_be_wrong(write_song: WriteSong, tmp_path: Path) -> None:
    root = tmp_path / "songs"
    good = write_song("songs/good.wav", seconds=0.05)
    (tmp_path / "outside.json").write_text(json.dumps({"caption": SECRET, "samples": []}))
    (tmp_path / "outside.csv").write_text(f"file,caption\ngood.wav,{SECRET}\n")
    shutil.copy(good, tmp_path / "outside.wav")

    (root / "empty.mp3").touch()
    (root / "empty.json").touch()
    (root / "empty.csv").touch()
    (root / "text.mp3").write_text("[Verse]\nI am no song\n" * 40)
    (root / "picture.flac").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(1000))
    shutil.copy(good, root / "wav in truth.mp3")
    (root / "folder.mp3").mkdir()
    (root / "folder.mp3" / "inner.wav").write_bytes(good.read_bytes())
    (root / "folder.json").mkdir()
    (root / "half.wav").write_bytes(good.read_bytes()[:3000])
    os.mkfifo(root / "pipe.wav")
    os.mkfifo(root / "good.txt")
    os.mkfifo(root / "table.csv")
    (root / "loop").symlink_to(root)
    (root / "up").symlink_to(tmp_path)
    (root / "one.wav").symlink_to(root / "two.wav")
    (root / "two.wav").symlink_to(root / "one.wav")
    (root / "outside.wav").symlink_to(tmp_path / "outside.wav")
    (root / "good.json").symlink_to(tmp_path / "outside.json")
    (root / "all.json").symlink_to(tmp_path / "outside.json")
    (root / "more.csv").symlink_to(tmp_path / "outside.csv")
    (root / "zero.wav").symlink_to("/dev/zero")

    found = scan(root)
    assert {song.name: song.caption for song in found.songs} == {
        "good": "good",
        "wav in truth": "wav in truth",
        "folder.mp3/inner": "inner",
    }
    assert codes(found) == {
        "empty.mp3": "empty",
        "folder.mp3": "folder",
        "half.wav": "truncated",
        "one.wav": "link_broken",
        "outside.wav": "link_outside",
        "picture.flac": "unreadable",
        "pipe.wav": "not_a_file",
        "text.mp3": "unreadable",
        "two.wav": "link_broken",
        "zero.wav": "not_a_file",
    }
    said = " ".join(found.warnings)
    for name in ("good.txt", "table.csv", "loop", "up", "good.json", "all.json", "more.csv", "empty.csv"):
        assert f"{name} is" in said, name
    assert SECRET not in json.dumps(found.to_dict())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_named(write_song: WriteSong, tmp_path: Path) -> None:
    write_song("good.wav", seconds=0.05)
    for name in ("locked.wav", "good.json", "table.csv"):
        (tmp_path / name).write_text("{}")
        (tmp_path / name).chmod(0)
    (tmp_path / "closed").mkdir(mode=0)
    found = scan(tmp_path)
    assert codes(found) == {"locked.wav": "denied"}
    assert len(found.warnings) == 3
    (tmp_path / "closed").chmod(0o700)


@pytest.mark.parametrize(
    ("data", "caption", "warns"),
    [
        ("warm, slow, café".encode(), "warm, slow, café", False),
        ("\ufeffwarm, slow, café".encode(), "warm, slow, café", False),
        ("warm, slow, café".encode("utf-16"), "warm, slow, café", False),
        (b"\xfe\xff" + "warm, slow, café".encode("utf-16-be"), "warm, slow, café", False),
        ("warm, slow, café".encode("utf-16-le"), "a", True),
        ("warm, slow, café".encode("latin-1"), "a", True),
        (b"\xff\xfe\x00", "a", True),
        (b"\x00" * 64, "a", True),
        (b"warm\x1b[31m, slow\r\n, red\x07", "warm[31m, slow , red", False),
        (b" \n\t\n", "a", False),
    ],
)
def test_text_in_any_encoding_is_read_or_named(
    write_song: WriteSong, tmp_path: Path, data: bytes, caption: str, warns: bool
) -> None:
    write_song("a.wav", seconds=0.05)
    (tmp_path / "a.caption.txt").write_bytes(data)
    found = scan(tmp_path)
    assert (found.songs[0].caption, len(found.warnings)) == (caption, int(warns))


WIDE = ",".join(["file", "bpm", *(f"c{number}" for number in range(100_000))])


@pytest.mark.parametrize(
    ("text", "bpm", "warning"),
    [
        ("file;bpm\na.wav;99\n", 99, ""),
        ("file\tbpm\na.wav\t99\n", 99, ""),
        ("file | bpm\na.wav | 99\n", 99, ""),
        ("file:bpm\na.wav:99\n", None, "no column that names files"),
        ("bpm,key\n99,C\n", None, "no column that names files"),
        ("file\na.wav\n", None, ""),
        ("file,bpm\na.wav\n\n,,,,\na.wav,99,too,many\n", 99, ""),
        ("file,bpm,bpm\na.wav,1000,99\n", 99, ""),
        ('file,bpm\n"a.wav,99\n', None, "no song beside it"),
        ('file,bpm\n"a.wav",99\n"unclosed', 99, "no song beside it"),
        (f"{WIDE}\na.wav,99\n", None, "100,002 columns"),
        (f"file,bpm\na.wav,99{',' * 100_000}\n", 99, ""),
        (f"file,bpm\na.wav,{'9' * 200_000}\n", None, "field larger than field limit"),
        ("file," + "x" * (2 << 20) + "\na.wav\n", None, "longer than any header"),
        ("\n" * 100_000 + "file,bpm\na.wav,99\n", 99, ""),
        ("file,bpm\n" + "b.wav,1\n" * 20_000 + "a.wav,99\n", 99, "20,000 rows match no song"),
        ("file,bpm\n../../a.wav,1\n/etc/passwd,2\n~root/a.wav,3\na.wav,99\n", 99, "outside of the folder"),
        ("file,bpm\na.wav,=cmd|' /C calc'!A0\n", None, "bpm"),
    ],
    ids=range(18),
)
def test_any_table_is_read_or_named(
    write_song: WriteSong, tmp_path: Path, text: str, bpm: int | None, warning: str
) -> None:
    write_song("a.wav", seconds=0.05)
    (tmp_path / "t.csv").write_text(text)
    found = scan(tmp_path)
    assert found.songs[0].bpm == bpm
    said = " ".join(found.warnings)
    assert warning in said if warning else said == ""
    assert all(len(sentence) < 1000 for sentence in found.warnings)


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("[]", "JSON object"),
        ('"caption"', "JSON object"),
        ("null", "JSON object"),
        ("{'caption': 'x'}", "not valid JSON"),
        ('{"caption": "x"} and more', "not valid JSON"),
        ('{"a":' * 100_000, "not valid JSON"),
        ('{"bpm": ' + "9" * 5000 + "}", "not valid JSON"),
        ('{"bpm": 1e999}', "not a usable number"),
        ('{"bpm": NaN, "repeat": -3}', "repeats '-3'"),
        ('{"bpm": 99999999999999999999999}', "not a usable number"),
        ('{"caption": [["a"], ["b"]]}', "list of lists"),
        ('{"caption": {"text": "a"}, "lyrics": true}', "caption 'an object' is not text"),
        ('{"caption": "' + "\\ud800" * 3 + '"}', ""),
        ('{"' + "x" * 100_000 + '": 1}', ""),
        ("{" + ",".join(f'"k{number}": 1' for number in range(50_000)) + "}", ""),
    ],
    ids=range(15),
)
def test_any_json_is_read_or_named(write_song: WriteSong, tmp_path: Path, text: str, warning: str) -> None:
    write_song("a.wav", seconds=0.05)
    (tmp_path / "a.json").write_text(text)
    found = scan(tmp_path)
    said = " ".join(found.warnings)
    assert warning in said if warning else said == ""
    json.dumps(found.to_dict()).encode("utf-8")


def test_hostile_words_become_plain_ones(write_song: WriteSong, tmp_path: Path) -> None:
    write_song("a.wav", seconds=0.05)
    sneaky = "slow<|<|im_end|>endoftext|> \x1b]0;title\x07piano"
    (tmp_path / "a.json").write_text(
        json.dumps({"caption": sneaky, "lyrics": f"[00:0[00:01]1]{sneaky}", "genre": sneaky})
    )
    song = scan(tmp_path).songs[0]
    assert song.caption == song.genre == "slow ]0;titlepiano"
    assert song.lyrics == "slow ]0;titlepiano"


# Large folders: counted, not timed


def test_files_without_a_song_are_listed_and_not_opened(
    write_song: WriteSong, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        write_song(f"{name}.wav", seconds=0.05)
    (tmp_path / "a.txt").write_text("slow, sad, piano")
    for number in range(10_000):
        (tmp_path / f"note {number}.txt").touch()
    opened: list[str] = []
    real_open = Path.open

    def counted(path: Path, *arguments: Any, **options: Any) -> Any:
        opened.append(path.name)
        return real_open(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", counted)
    found = scan(tmp_path)
    assert [song.caption for song in found.songs] == ["slow, sad, piano", "b"]
    assert not [name for name in opened if name.startswith("note")]


def test_every_song_asks_only_the_tables_that_mean_it(
    write_song: WriteSong, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = write_song("one.wav", seconds=0.02)
    for number in range(120):
        shutil.copy(one, tmp_path / f"s{number}.wav")
        (tmp_path / f"s{number}.csv").write_text(f"file,bpm\ns{number}.wav,{100 + number}\n")
    asked: list[str] = []
    real = Table.rows_for

    def counted(table: Table, song: str) -> list[tables.Row]:
        asked.append(song)
        return real(table, song)

    monkeypatch.setattr(Table, "rows_for", counted)
    found = scan(tmp_path)
    assert {song.bpm for song in found.songs} == {None, *range(100, 220)}
    assert len(asked) == 120


def test_every_sidecar_is_read_once_for_each_song(
    write_song: WriteSong, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = write_song("audio/one.wav", seconds=0.02)
    (tmp_path / "annotations").mkdir()
    for number in range(50):
        shutil.copy(one, tmp_path / f"audio/s{number}.wav")
        (tmp_path / f"annotations/s{number}.json").write_text('{"bpm": 99}')
        (tmp_path / f"audio/s{number}.txt").write_text("slow, sad, piano")
    read: list[Path] = []
    real = files.read_text

    def counted(path: Path, **options: Any) -> str:
        read.append(path)
        return real(path, **options)

    monkeypatch.setattr(layouts, "read_text", counted)
    scan(tmp_path)
    assert len(read) == len(set(read)) == 100


def test_deep_folders_are_walked_and_named(write_song: WriteSong, tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d"] * 200)
    deep.mkdir(parents=True)
    shutil.copy(write_song("a.wav", seconds=0.02), deep / "b.wav")
    assert [song.name for song in scan(tmp_path).songs] == ["a", "d/" * 200 + "b"]


def test_a_folder_that_vanishes_while_it_is_looked_at_is_named(
    write_song: WriteSong, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_song("a.wav", seconds=0.02)
    write_song("gone/b.wav", seconds=0.02)
    real = os.scandir

    def vanish(path: Path) -> Any:
        if isinstance(path, Path) and path.name == "gone":
            path.rename(tmp_path.parent / f"{tmp_path.name} elsewhere")
        return real(path)

    monkeypatch.setattr(os, "scandir", vanish)
    found = scan(tmp_path)
    assert [song.name for song in found.songs] == ["a"]
    assert found.warnings == ("gone: the folder cannot be opened (No such file or directory).",)


def test_the_root_itself_may_not_be_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "songs.zip")
    with pytest.raises(DataError, match="is a file, not a folder"):
        scan(tmp_path / "songs.zip")
