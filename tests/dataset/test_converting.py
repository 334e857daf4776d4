"""Writing a folder's words in another layout: scanning the result gives the same songs."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sidestep_tui.core.errors import DataError, DiskFullError
from sidestep_tui.dataset import converting, dataset_json
from sidestep_tui.dataset.converting import LAYOUTS, Layout, convert
from sidestep_tui.dataset.manifest import Manifest, scan

from .conftest import WriteSong

FIELDS = (
    "caption",
    "lyrics",
    "language",
    "bpm",
    "keyscale",
    "timesignature",
    "genre",
    "instrumental",
    "tag",
    "repeats",
    "source",
)
WORDS = st.text(st.characters() | st.sampled_from("[]<>|:\"',;\n\r \t#_-"), max_size=60)
RAW = st.fixed_dictionaries(
    {},
    optional={
        "caption": WORDS,
        "lyrics": WORDS | st.sampled_from(["[Instrumental]", "[Intro]\n\n[Drop]", "lyrics: la\nbpm: 3", "<BPM>\nla"]),
        "language": st.sampled_from(["en", "ja", "unknown"]),
        "bpm": st.integers(30, 300),
        "keyscale": st.sampled_from(["E minor", "F# major", "Bb"]),
        "timesignature": st.sampled_from(["2", "3/4", "4", 6]),
        "genre": WORDS,
        "is_instrumental": st.booleans(),
        "custom_tag": WORDS,
        "repeat": st.integers(1, 9),
        "source": WORDS,
        "source_start": st.integers(0, 9),
    },
)


def words(found: Manifest) -> dict[str, dict[str, Any]]:
    return {song.name: {name: getattr(song, name) for name in FIELDS} for song in found.songs}


@pytest.fixture(scope="module")
def quick_disk() -> Iterator[None]:
    """Hundreds of folders are published here; whether they would survive a power cut is not the question."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.mark.usefixtures("quick_disk")
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=RAW, second=RAW)
@example(first={"source": "long song", "source_start": 0}, second={"is_instrumental": False, "lyrics": "[Drop]"})
def test_no_layout_loses_or_invents_a_word(
    write_song: WriteSong, tmp_path: Path, first: dict[str, Any], second: dict[str, Any]
) -> None:
    root = tmp_path / "songs"
    for name, raw in (("a.wav", first), ("sub/ü b.wav", second)):
        if not (root / name).exists():
            write_song(f"songs/{name}", seconds=0.02)
        (root / name).with_suffix(".json").write_text(json.dumps(raw))
    before = scan(root)
    for layout in LAYOUTS:
        out = tmp_path / "out"
        shutil.rmtree(out, ignore_errors=True)
        convert(before, out, layout, audio="link")
        after = scan(out)
        assert words(after) == words(before), layout


@pytest.mark.parametrize("layout", LAYOUTS)
def test_conversions_chain_and_come_back(write_song: WriteSong, tmp_path: Path, layout: Layout) -> None:
    write_song("one/a.wav", seconds=0.05)
    written = {"caption": "slow", "bpm": 90, "lyrics": '[Verse]\nla, "la"\n\nlo', "custom_tag": "zx", "repeat": 3}
    (tmp_path / "one/a.json").write_text(json.dumps(written))
    first = scan(tmp_path / "one")
    convert(first, tmp_path / "two", layout, audio="copy")
    convert(scan(tmp_path / "two"), tmp_path / "three", "json", audio="copy")
    again = scan(tmp_path / "three")
    assert words(again) == words(first)
    assert json.loads((tmp_path / "three/a.json").read_text()) == {**written, "is_instrumental": False}


NAMES = (
    "~tilde",
    '"quoted"',
    " lead",
    "a,b;c",
    "back\\slash",
    "a.caption",
    "a_prompt",
    "a",
    "C:x",
    "-dash",
    "tab\there",
)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_odd_file_names_are_found_again_or_refused(write_song: WriteSong, tmp_path: Path, layout: Layout) -> None:
    refused = {"split": "a.caption", "csv": "tab\there", "dataset-json": "tab\there"}.get(layout)
    made = [name for name in NAMES if name != refused]
    for number, name in enumerate(made):
        song = write_song("plain.wav", seconds=0.02)
        (tmp_path / "set").mkdir(exist_ok=True)
        song.rename(tmp_path / "set" / f"{name}.wav")
        (tmp_path / "set" / f"{name}.json").write_text(json.dumps({"bpm": 100 + number, "caption": f"song {number}"}))
    before = scan(tmp_path / "set")
    assert sorted(song.bpm or 0 for song in before.songs) == [100 + number for number in range(len(made))]
    convert(before, tmp_path / "out", layout, audio="link")
    assert words(scan(tmp_path / "out")) == words(before)


def test_a_name_that_cannot_stand_in_a_table_is_refused(write_song: WriteSong, tmp_path: Path) -> None:
    write_song("set/a.wav", seconds=0.02).rename(tmp_path / "set/a\x07.wav")
    with pytest.raises(DataError, match="cannot stand in a table"):
        convert(scan(tmp_path / "set"), tmp_path / "out", "csv")
    assert not (tmp_path / "out").exists()


def test_a_song_called_like_the_sidecar_of_another_needs_another_layout(write_song: WriteSong, tmp_path: Path) -> None:
    for name in ("a", "A.Caption"):
        write_song(f"set/{name}.wav", seconds=0.02)
        (tmp_path / f"set/{name}.json").write_text('{"caption": "slow"}')
    with pytest.raises(DataError, match="taken for the text of") as caught:
        convert(scan(tmp_path / "set"), tmp_path / "out", "split")
    assert caught.value.hint


def test_songs_of_one_stem_need_a_table(write_song: WriteSong, tmp_path: Path) -> None:
    for name in ("a.wav", "a.flac"):
        write_song(f"set/{name}", seconds=0.05)
    (tmp_path / "set/t.csv").write_text("file,bpm\na.wav,90\na.flac,91\n")
    before = scan(tmp_path / "set")
    with pytest.raises(DataError, match="share their sidecars") as caught:
        convert(before, tmp_path / "out", "text")
    assert "csv" in caught.value.hint
    for layout in ("csv", "dataset-json"):
        convert(before, tmp_path / layout, layout, audio="link")  # type: ignore[arg-type]
        assert words(scan(tmp_path / layout)) == words(before)


def test_a_song_of_which_nothing_is_known_borrows_no_row(write_song: WriteSong, tmp_path: Path) -> None:
    for name in ("a.wav", "a.flac"):
        write_song(f"set/{name}", seconds=0.05)
    (tmp_path / "set/t.csv").write_text("file,bpm\na.wav,90\na.flac,\n")
    before = scan(tmp_path / "set")
    assert {song.name: song.bpm for song in before.songs} == {"a.flac": None, "a.wav": 90}
    for layout in ("csv", "dataset-json"):
        convert(before, tmp_path / layout, layout, audio="link")  # type: ignore[arg-type]
        assert words(scan(tmp_path / layout)) == words(before)


def test_guesses_are_not_written_down(write_song: WriteSong, tmp_path: Path) -> None:
    write_song("set/My Song.wav", seconds=0.05)
    found = scan(tmp_path / "set")
    for layout in ("text", "split", "json"):
        assert convert(found, tmp_path / layout, layout).files == ()  # type: ignore[arg-type]
    convert(found, tmp_path / "d", "dataset-json")
    (row,) = dataset_json.parse((tmp_path / "d/dataset.json").read_text()) or []
    assert row.fields == {}


def test_dataset_json_is_what_other_tools_read(write_song: WriteSong, tmp_path: Path) -> None:
    write_song("set/sub/a.wav", seconds=1.0)
    (tmp_path / "set/sub/a.txt").write_text("caption: slow\nbpm: 90\nkey: Em\ngenre: jazz\nrepeat: 2\nlyrics:\nla\n")
    convert(scan(tmp_path / "set"), tmp_path / "out", "dataset-json")
    written = json.loads((tmp_path / "out/dataset.json").read_text())
    assert written["metadata"] == {
        "name": "set",
        "custom_tag": "",
        "tag_position": "prepend",
        "num_samples": 1,
        "all_instrumental": False,
        "genre_ratio": 0,
    }
    (sample,) = written["samples"]
    assert len(sample.pop("id")) == 8
    assert sample == {
        "audio_path": "sub/a.wav",
        "filename": "a.wav",
        "caption": "slow",
        "genre": "jazz",
        "bpm": 90,
        "keyscale": "E minor",
        "is_instrumental": False,
        "repeat": 2,
        "lyrics": "la",
        "raw_lyrics": "la",
        "formatted_lyrics": "la",
        "duration": 1,
        "labeled": True,
        "prompt_override": None,
    }


# Places


def test_nothing_is_overwritten_and_the_source_stays_as_it_is(write_song: WriteSong, tmp_path: Path) -> None:
    song = write_song("set/a.wav", seconds=0.05)
    (tmp_path / "set/a.txt").write_text("slow, sad")
    before = {path: path.read_bytes() for path in (tmp_path / "set").iterdir()}
    found = scan(tmp_path / "set")
    convert(found, tmp_path / "out", "json", audio="copy")
    assert (tmp_path / "out/a.wav").stat().st_ino != song.stat().st_ino
    for taken in (tmp_path / "out", tmp_path / "set", song):
        with pytest.raises(DataError, match="exists already"):
            convert(found, taken, "json")
    with pytest.raises(DataError, match="lies in the folder itself"):
        convert(found, tmp_path / "set/new", "json")
    assert {path: path.read_bytes() for path in (tmp_path / "set").iterdir()} == before
    (tmp_path / "empty").mkdir()
    assert convert(found, tmp_path / "empty", "json").files == ("a.json",)
    assert [path.name for path in (tmp_path / "empty").iterdir()] == ["a.json"]


def test_links_take_no_room_and_say_where_they_fail(
    write_song: WriteSong, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    song = write_song("set/a.wav", seconds=0.05)
    (tmp_path / "set/b.wav").symlink_to("a.wav")
    found = scan(tmp_path / "set")
    convert(found, tmp_path / "out", "csv", audio="link")
    assert (tmp_path / "out/a.wav").stat().st_ino == (tmp_path / "out/b.wav").stat().st_ino == song.stat().st_ino
    assert not (tmp_path / "out/b.wav").is_symlink()

    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(DataError, match="cross-device") as caught:
        convert(found, tmp_path / "other", "csv", audio="link")
    assert "--copy" in caught.value.hint
    assert not (tmp_path / "other").exists()


def test_full_disk_is_said_before_songs_are_copied(
    write_song: WriteSong, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_song("set/a.wav", seconds=0.05)
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10))
    with pytest.raises(DiskFullError, match="no room"):
        convert(scan(tmp_path / "set"), tmp_path / "out", "csv", audio="copy")


@pytest.mark.parametrize("layout", ["text", "csv"])
def test_words_that_no_scan_would_read_again_are_refused(
    write_song: WriteSong, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: Layout
) -> None:
    write_song("set/a.wav", seconds=0.05)
    (tmp_path / "set/a.lyrics.txt").write_text("la la\n" * 20_000)
    found = scan(tmp_path / "set")
    monkeypatch.setattr(converting, "LARGEST_TEXT", 100_000)
    with pytest.raises(DataError, match=r"would be larger|too long for a table"):
        convert(found, tmp_path / "out", layout)
