"""Saving edits: every layout takes every field, only the value changes, and nothing that someone else wrote is lost."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidestep_tui.core import atomic
from sidestep_tui.core.errors import DiskFullError
from sidestep_tui.dataset.editing import edit_values, rewriting
from sidestep_tui.dataset.editing.edits import FIELDS, EditSession
from sidestep_tui.dataset.manifest import Manifest, Song, scan

Files = dict[str, bytes]
Make = Callable[[dict[str, str | bytes]], Path]

VALUES = {
    "caption": "zyx, new words: more",
    "lyrics": "[Verse]\nneu, und\n\nanders",
    "bpm": "99",
    "keyscale": "F# minor",
    "timesignature": "3",
    "language": "de",
    "genre": "jazz",
    "tag": "zyx",
    "instrumental": "yes",
    "repeats": "4",
}
FULL = {
    "caption": "rock, loud",
    "lyrics": "[Verse]\nla la\nlo",
    "bpm": 120,
    "keyscale": "E minor",
    "timesignature": "4",
    "language": "en",
    "genre": "rock",
    "custom_tag": "sks",
    "is_instrumental": False,
    "repeat": 2,
}
LINES = (
    "caption: rock, loud\ngenre: rock\nduration: 12\nbpm: 120\nkey: Em\nsignature: 4/4\nlanguage: en\n"
    "is_instrumental: false\ncustom_tag: sks\nrepeat: 2\nlyrics:\n[Verse]\nla la\nlo\n"
)
TAGGED = (
    "<CAPTION>rock, loud</CAPTION>\n<GENRE>rock</GENRE>\n<BPM>120</BPM>\n<KEY>Em</KEY>\n<SIGNATURE>4/4</SIGNATURE>\n"
    "<LANGUAGE>en</LANGUAGE>\n<INSTRUMENTAL>no</INSTRUMENTAL>\n<TRIGGER>sks</TRIGGER>\n<REPEAT>2</REPEAT>\n"
    "<LYRICS>\n[Verse]\nla la\nlo\n</LYRICS>\n"
)
CSV = (
    "File;Artist;caption;genre;BPM;Key;meter;lang;instrumental;trigger;repeats;lyrics\n"
    'a.wav;"me; you";"rock, loud";rock;120;Em;4/4;en;no;sks;2;"[Verse]\nla la\nlo"\n'
    "b.wav;;pop;;;;;;;;;\n"
)
SAMPLES = json.dumps(
    {"metadata": {"name": "x"}, "samples": [{"filename": "a.wav", **FULL}, {"filename": "b.wav", "caption": "pop"}]},
    indent=1,
)
FULL_LAYOUTS: dict[str, dict[str, str]] = {
    "json": {"a.json": json.dumps({**FULL, "other": [1, {"x": None}]}, indent=4)},
    "json on one line": {"a.json": json.dumps({"other": 1.50, **FULL})},
    "lines": {"a.txt": LINES},
    "tagged": {"a.txt": TAGGED},
    "csv": {"t.csv": CSV},
    "samples": {"d.json": SAMPLES},
    "files and json": {
        "a.caption.txt": "rock, loud\n",
        "a.lyrics.txt": "[Verse]\nla la\nlo\n",
        "a.json": json.dumps(FULL),
    },
    "prompt and json": {"a_prompt.txt": "rock, loud", "a_lyrics.txt": "[Verse]\nla la\nlo", "a.json": json.dumps(FULL)},
    "plain caption and json": {"a.txt": "rock, loud", "a.json": json.dumps(FULL)},
}
BARE_LAYOUTS: dict[str, dict[str, str]] = {
    "nothing": {},
    "caption file": {"a.caption.txt": "rock\n", "b.caption.txt": "pop"},
    "prompt file": {"a_prompt.txt": "rock"},
    "plain caption": {"a.txt": "rock, loud", "b.txt": "pop, soft"},
    "plain lyrics": {"a.txt": "[Verse]\nla\n"},
    "lines": {"a.txt": "caption: rock\n"},
    "tagged": {"a.txt": "<CAPTION>rock</CAPTION>\n"},
    "open tags": {"a.txt": "<caption>rock\n<lyrics>\nla la\n"},
    "json": {"a.json": '{"caption": "rock"}'},
    "empty json": {"a.json": "{}"},
    "empty file": {"a.json": "", "a.caption.txt": ""},
    "csv": {"t.csv": "File,BPM,Key,caption\na.wav,,,rock\nb.wav,90,Em,pop\n"},
    "short row": {"t.csv": "File,caption,BPM\na.wav,rock\n"},
    "samples": {"d.json": json.dumps([{"audio_path": "/elsewhere/a.wav"}, {"filename": "b.wav"}])},
    "timed": {"a.lrc": "[00:01.00]la\n"},
}


def run(name: str) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.full((480, 2), len(name) / 100), 48000, format="WAV")
    return buffer.getvalue()


AUDIO = run("a")


@pytest.fixture(autouse=True)
def hasty_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of small folders need not survive a power cut."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """A folder with the songs a and b and some sidecars."""
    count = itertools.count()

    def make(files: dict[str, str | bytes]) -> Path:
        root = tmp_path / f"songs{next(count)}"
        root.mkdir()
        for name in ("a.wav", "b.wav"):
            (root / name).write_bytes(AUDIO)
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return root

    yield make


def contents(root: Path) -> Files:
    """All files but backups and audio."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and ".bak" not in path.name and path.suffix != ".wav"
    }


def words(song: Song) -> Song:
    """A song without the places that its words come from."""
    return replace(song, origins={})


def same(one: Manifest, other: tuple[Song, ...]) -> bool:
    return [words(song) for song in one.songs] == [words(song) for song in other]


# Every layout, every field


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("layout", FULL_LAYOUTS)
def test_each_field_is_replaced_where_it_stands(make: Make, layout: str, field: str) -> None:
    root = make(dict(FULL_LAYOUTS[layout]))
    before, files = scan(root), contents(root)
    origin = before.song("a").origins[field]
    session = EditSession(before)
    session.set(["a"], field, VALUES[field])
    report = session.save()
    assert report.problems == () and session.changes() == []
    after = scan(root)
    assert same(after, session.songs)
    assert edit_values.as_text(getattr(after.song("a"), field)) == VALUES[field]
    linked = {"lyrics", "language"} if field == "instrumental" else set()
    for other in set(FIELDS) - {field} - linked:
        assert getattr(after.song("a"), other) == getattr(before.song("a"), other), other
    assert after.song("b") == before.song("b")
    now = contents(root)
    assert now.keys() == files.keys()
    written = {item.origin for item in report.written}
    assert origin in written and (field == "instrumental" or written == {origin})
    for name in files.keys() - written:
        assert now[name] == files[name]
    for item in report.written:
        assert (root / item.origin).with_name(item.backup).read_bytes() == files[item.origin]
    if field != "instrumental":
        assert_only_the_value_changed(files[origin].decode(), now[origin].decode())
    session.undo()
    assert contents(root) == files
    assert same(before, tuple(session._base.values()))


def common_start(one: str, other: str) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((index for index, (left, right) in pairs if left != right), min(len(one), len(other)))


def assert_only_the_value_changed(before: str, after: str) -> None:
    """The texts are equal but for one stretch that holds the value."""
    start = common_start(before, after)
    end = common_start(before[start:][::-1], after[start:][::-1])
    old, new = before[start : len(before) - end], after[start : len(after) - end]
    assert len(old) <= 20 and len(new) <= 40, (old, new)


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("layout", FULL_LAYOUTS)
def test_each_field_is_cleared(make: Make, layout: str, field: str) -> None:
    root = make(dict(FULL_LAYOUTS[layout]))
    before, files = scan(root), contents(root)
    session = EditSession(before)
    session.set(["a"], field, "")
    report = session.save()
    assert report.problems == () and session.changes() == []
    after = scan(root)
    assert same(after, session.songs)
    assert field in ("instrumental", "repeats") or session.value("a", field) == ""
    assert not edit_values.is_stated(after.song("a"), field)
    linked = {"lyrics", "language", "instrumental"} if field == "lyrics" else set()
    for other in set(FIELDS) - {field} - linked:
        assert getattr(after.song("a"), other) == getattr(before.song("a"), other), other
    assert after.song("b") == before.song("b")
    assert contents(root).keys() == files.keys()
    session.undo()
    assert contents(root) == files


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("layout", BARE_LAYOUTS)
def test_each_field_is_added_where_there_is_none(make: Make, layout: str, field: str) -> None:
    root = make(dict(BARE_LAYOUTS[layout]))
    before, files = scan(root), contents(root)
    session = EditSession(before)
    if field == "language" and before.song("a").instrumental:
        session.set(["a"], "lyrics", "la")
    session.set(["a"], field, VALUES[field])
    report = session.save()
    assert report.problems == () and session.changes() == []
    after = scan(root)
    assert same(after, session.songs)
    assert edit_values.as_text(getattr(after.song("a"), field)) == VALUES[field]
    assert after.song("b") == before.song("b")
    now = contents(root)
    for name in files.keys() - {item.origin for item in report.written}:
        assert now[name] == files[name]
    session.undo()
    assert contents(root) == files
    session.redo()
    assert contents(root) == now


@pytest.mark.parametrize("layout", [*FULL_LAYOUTS, *(f"bare {name}" for name in BARE_LAYOUTS)])
def test_all_fields_at_once(make: Make, layout: str) -> None:
    files = BARE_LAYOUTS[layout.removeprefix("bare ")] if layout.startswith("bare ") else FULL_LAYOUTS[layout]
    root = make(dict(files))
    session = EditSession(scan(root))
    for field in FIELDS:
        if field != "instrumental":
            session.set(["a"], field, VALUES[field])
    assert session.save().problems == ()
    after = scan(root)
    assert same(after, session.songs)
    song = after.song("a")
    assert {field: edit_values.as_text(getattr(song, field)) for field in FIELDS} == VALUES | {"instrumental": "no"}


# The layout that is in use


def written_by(root: Path, field: str, value: str, name: str = "a") -> list[str]:
    session = EditSession(scan(root))
    session.set([name], field, value)
    report = session.save()
    assert report.problems == ()
    return [item.origin for item in report.written]


@pytest.mark.parametrize(
    ("files", "field", "expected"),
    [
        ({}, "caption", "a.caption.txt"),
        ({}, "lyrics", "a.lyrics.txt"),
        ({}, "bpm", "a.json"),
        ({"b_prompt.txt": "pop"}, "caption", "a_prompt.txt"),
        ({"b_prompt.txt": "pop"}, "lyrics", "a_lyrics.txt"),
        ({"b.txt": "pop, soft"}, "caption", "a.txt"),
        ({"b.txt": "[Verse]\nla"}, "lyrics", "a.txt"),
        ({"b.txt": "caption: pop\nbpm: 90"}, "caption", "a.txt"),
        ({"b.txt": "caption: pop\nbpm: 90"}, "genre", "a.txt"),
        ({"b.txt": "<CAPTION>pop"}, "bpm", "a.txt"),
        ({"b.json": '{"caption": "pop", "lyrics": "la"}'}, "lyrics", "a.json"),
        ({"a.caption.txt": "rock", "b.json": '{"bpm": 90}'}, "bpm", "a.json"),
        ({"a.json": "{}", "b.lyrics.txt": "la"}, "lyrics", "a.json"),
        ({"t.csv": "file,bpm\nb.wav,90\n"}, "bpm", "a.json"),
    ],
)
def test_new_values_go_where_such_values_are_kept(
    make: Make, files: dict[str, str | bytes], field: str, expected: str
) -> None:
    assert written_by(make(files), field, VALUES[field]) == [expected]


def test_annotations_are_kept_with_their_like(make: Make) -> None:
    root = make({"audio/c.wav": AUDIO, "audio/d.wav": AUDIO, "annotations/d.json": '{"prompt": "pop", "bpm": 90}'})
    assert written_by(root, "bpm", "99", "audio/c") == ["annotations/c.json"]
    assert written_by(root, "caption", "rock", "audio/c") == ["annotations/c.json"]
    assert written_by(root, "caption", "rock", "audio/d") == ["annotations/d.json"]
    assert json.loads((root / "annotations/d.json").read_text()) == {"prompt": "rock", "bpm": 90}


def test_values_are_written_in_the_way_of_their_file(make: Make) -> None:
    root = make({"a.json": '{"bpm": "120", "timesignature": 4, "is_instrumental": "No", "caption": "Stra\\u00dfe"}'})
    session = EditSession(scan(root))
    for field, value in {"bpm": "99", "timesignature": "3", "instrumental": "yes", "caption": "Öl"}.items():
        session.set(["a"], field, value)
    session.save()
    expected = '{"bpm": "99", "timesignature": 3, "is_instrumental": "Yes", "caption": "\\u00d6l"}'
    assert (root / "a.json").read_text() == expected


def test_a_line_is_put_before_the_lyrics(make: Make) -> None:
    root = make({"a.txt": "caption: rock\nlanguage: en\nlyrics:\nbpm: is what I sing\n"})
    written_by(root, "bpm", "99")
    assert (root / "a.txt").read_text() == "caption: rock\nbpm: 99\nlanguage: en\nlyrics:\nbpm: is what I sing\n"


def test_a_key_keeps_the_indentation_of_its_file(make: Make) -> None:
    root = make({"a.json": '{\r\n\t"caption" : "rock",\r\n\t"genre" : "rock"\r\n}\r\n'})
    written_by(root, "bpm", "99")
    assert (
        root / "a.json"
    ).read_bytes() == b'{\r\n\t"caption" : "rock",\r\n\t"genre" : "rock",\r\n\t"bpm" : 99\r\n}\r\n'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_encoding_and_line_ends_stay(make: Make, encoding: str, newline: str) -> None:
    text = newline.join(["caption: häuser", "lyrics:", "eins", "zwei", ""])
    root = make({"a.txt": text.encode(encoding)})
    session = EditSession(scan(root))
    session.set(["a"], "bpm", "99")
    session.set(["a"], "lyrics", "drei\nvier")
    session.save()
    expected = newline.join(["caption: häuser", "bpm: 99", "lyrics:", "drei", "vier", ""])
    assert (root / "a.txt").read_bytes() == expected.encode(encoding)


def test_rows_that_end_otherwise_than_lines_within_cells_stay_so(make: Make) -> None:
    before = b'file,lyrics,bpm\r\na.wav,"one\ntwo",120\r\nb.wav,"la\nlo",90\r\n'
    root = make({"t.csv": before})
    written_by(root, "bpm", "99")
    assert (root / "t.csv").read_bytes() == before.replace(b"120", b"99")


def test_permissions_stay_and_new_files_take_those_of_the_song(make: Make) -> None:
    root = make({"a.json": '{"bpm": 120}'})
    (root / "a.json").chmod(0o640)
    (root / "a.wav").chmod(0o664)
    written_by(root, "bpm", "99")
    written_by(root, "caption", "rock")
    assert (root / "a.json").stat().st_mode & 0o777 == 0o640
    written_by(make({}), "caption", "rock")
    session = EditSession(scan(root))
    session.set(["b"], "caption", "pop")
    (root / "b.wav").chmod(0o464)
    (report,) = session.save().written
    assert (root / report.origin).stat().st_mode & 0o777 == 0o664


# What must not happen


def test_a_value_that_would_read_otherwise_goes_elsewhere(make: Make) -> None:
    root = make({"a.txt": "rock, loud"})
    session = EditSession(scan(root))
    session.set(["a"], "caption", "bpm: 120")
    report = session.save()
    assert report.problems == ()
    assert [item.origin for item in report.written] == ["a.caption.txt"]
    assert any("a.caption.txt" in note for note in report.notes)
    assert scan(root).song("a").caption == "bpm: 120"
    assert (root / "a.txt").read_text() == "rock, loud"


def test_a_sidecar_of_two_songs_is_not_changed_for_one(make: Make) -> None:
    root = make({"t.csv": "file,bpm\na,120\n", "a.flac": b""})
    soundfile.write(root / "a.flac", np.zeros((480, 2)), 48000)
    before, files = scan(root), contents(root)
    session = EditSession(before)
    session.set(["a.wav"], "bpm", "99")
    report = session.save()
    assert len(report.problems) == 1 and "a.flac" in report.problems[0]
    assert contents(root) == files and session.edited("a.wav") == {"bpm"}
    session.set(["a.flac"], "bpm", "99")
    assert session.save().problems == ()
    assert [song.bpm for song in scan(root).songs] == [99, 99, None]


def test_songs_that_share_a_sidecar_must_agree(make: Make) -> None:
    root = make({"a.lyrics.txt": "[Instrumental]"})
    soundfile.write(root / "a.flac", np.zeros((480, 2)), 48000)
    files = contents(root)
    session = EditSession(scan(root))
    session.set(["a.wav"], "lyrics", "la")
    session.set(["a.flac"], "lyrics", "lo")
    report = session.save()
    assert any("describes a.flac too" in problem for problem in report.problems)
    assert {(change.song, change.field) for change in session.changes()} == {
        (name, field) for name in ("a.wav", "a.flac") for field in ("lyrics", "instrumental")
    }
    assert contents(root) == files


def test_broken_json_is_left_alone_and_named(make: Make) -> None:
    root = make({"a.json": '{"bpm": 120,'})
    session = EditSession(scan(root))
    session.set(["a", "b"], "bpm", "99")
    plan = session.plan()
    assert [(item.song, item.field) for item in plan.problems] == [("a", "bpm")]
    assert "a.json is not plain JSON" in plan.problems[0].reason
    report = session.save()
    assert [item.origin for item in report.written] == ["b.json"]
    assert (root / "a.json").read_text() == '{"bpm": 120,'
    assert [(change.song, change.field) for change in session.changes()] == [("a", "bpm")]


def test_unusable_values_are_replaced_where_they_stand(make: Make) -> None:
    root = make({"a.json": '{"bpm": "fast"}'})
    assert written_by(root, "bpm", "99") == ["a.json"]
    assert json.loads((root / "a.json").read_text()) == {"bpm": "99"}


def test_clearing_reaches_every_file_that_says_it(make: Make) -> None:
    root = make({"a.json": '{"bpm": 120, "x": 1}', "t.csv": "file,bpm\na.wav,121\n"})
    written_by(root, "bpm", "")
    assert (root / "a.json").read_text() == '{"x": 1}'
    assert (root / "t.csv").read_text() == "file,bpm\na.wav,\n"


def test_time_stamps_of_an_lrc_file_are_kept(make: Make) -> None:
    root = make({"a.lrc": "[00:01.00]la\n"})
    assert written_by(root, "lyrics", "lo") == ["a.lyrics.txt"]
    assert (root / "a.lrc").read_text() == "[00:01.00]la\n"
    assert scan(root).song("a").lyrics == "lo"


def test_lyrics_that_were_not_read_come_back(make: Make) -> None:
    root = make({"a.json": '{"is_instrumental": true}', "a.lyrics.txt": "la la\n"})
    session = EditSession(scan(root))
    session.set(["a"], "instrumental", "no")
    report = session.save()
    assert report.problems == () and session.changes() == []
    assert any("are read again" in note for note in report.notes)
    assert session.song("a").lyrics == scan(root).song("a").lyrics == "la la"


def test_lyrics_win_over_a_statement_that_nothing_is_sung(make: Make) -> None:
    root = make({"a.json": '{"is_instrumental": true, "language": "en"}', "b.lyrics.txt": "[Instrumental]"})
    session = EditSession(scan(root))
    session.set(["a", "b"], "lyrics", "la la")
    assert session.save().problems == ()
    found = scan(root)
    assert [(song.lyrics, song.instrumental) for song in found.songs] == [("la la", False)] * 2
    assert found.warnings == () and session.song("a").language == "en"
    assert not (root / "b.json").exists()


def test_a_folder_behind_a_link_is_edited(make: Make, tmp_path: Path) -> None:
    root = make({"a.json": '{"bpm": 120}'})
    (tmp_path / "link").symlink_to(root)
    assert written_by(tmp_path / "link", "bpm", "99") == ["a.json"]
    assert written_by(tmp_path / "link", "caption", "rock") == ["a.json"]
    assert json.loads((root / "a.json").read_text()) == {"bpm": 99, "caption": "rock"}


def test_a_list_is_no_sidecar_to_write_into(make: Make) -> None:
    root = make({"a.json": '[{"bpm": 120}]'})
    session = EditSession(scan(root))
    session.set(["a"], "bpm", "99")
    assert "does not hold a JSON object" in session.save().problems[0]
    assert (root / "a.json").read_text() == '[{"bpm": 120}]'


def test_forms_that_exclude_each_other_get_a_file_each(make: Make) -> None:
    root = make({"c.wav": AUDIO, "a.txt": "rock, loud", "b.txt": "bpm: 90\n"})
    session = EditSession(scan(root))
    session.set(["c"], "caption", "pop, soft")
    session.set(["c"], "bpm", "99")
    assert session.save().problems == ()
    song = scan(root).song("c")
    assert (song.caption, song.bpm) == ("pop, soft", 99)


def test_links_are_followed_within_the_folder_only(make: Make, tmp_path: Path) -> None:
    root = make({"real.txt": "rock, loud"})
    (root / "a.caption.txt").symlink_to("real.txt")
    assert written_by(root, "caption", "pop") == ["a.caption.txt"]
    assert (root / "a.caption.txt").is_symlink() and (root / "real.txt").read_text() == "pop"
    outside = tmp_path / "outside.txt"
    outside.write_text("secret")
    (root / "b.caption.txt").symlink_to(outside)
    session = EditSession(scan(root))
    session.set(["b"], "caption", "pop")
    report = session.save()
    assert outside.read_text() == "secret" and (root / "b.caption.txt").is_symlink()
    assert scan(root).song("b").caption == ("b" if report.problems else "pop")


def test_a_link_shared_by_two_songs_is_not_changed_for_one(make: Make) -> None:
    root = make({"a.json": '{"caption": "rock"}'})
    (root / "b.json").symlink_to("a.json")
    session = EditSession(scan(root))
    session.set(["a"], "caption", "pop")
    session.save()
    assert scan(root).song("b").caption == "rock"


def test_write_protected_files_stay_and_the_rest_is_saved(make: Make) -> None:
    root = make({"a.json": '{"bpm": 120}', "b.json": '{"bpm": 121}'})
    (root / "a.json").chmod(0o444)
    session = EditSession(scan(root))
    session.set(["a", "b"], "bpm", "99")
    report = session.save()
    assert report.problems == ("a.json is write-protected.",)
    assert [song.bpm for song in scan(root).songs] == [120, 99]
    (root / "a.json").chmod(0o644)
    assert session.save().problems == ()
    assert [song.bpm for song in scan(root).songs] == [99, 99]


def test_a_write_protected_folder_gets_no_new_files(make: Make) -> None:
    root = make({})
    session = EditSession(scan(root))
    session.set(["a"], "bpm", "99")
    root.chmod(0o555)
    try:
        assert "write-protected" in session.save().problems[0]
    finally:
        root.chmod(0o755)
    assert contents(root) == {}


def test_a_value_changed_elsewhere_is_not_overwritten(make: Make) -> None:
    root = make({"a.json": '{"bpm": 120, "genre": "rock"}'})
    session = EditSession(scan(root))
    session.set(["a"], "bpm", "99")
    session.set(["a"], "genre", "jazz")
    (root / "a.json").write_text('{"bpm": 130, "genre": "rock", "x": 1}')
    report = session.save()
    assert len(report.problems) == 1 and "bpm was changed elsewhere (it is '130' now)" in report.problems[0]
    assert json.loads((root / "a.json").read_text()) == {"bpm": 130, "genre": "jazz", "x": 1}


def test_a_file_that_changes_while_it_is_saved_stays(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make({"a.json": '{"bpm": 120}', "b.json": '{"bpm": 121}'})
    session = EditSession(scan(root))
    session.set(["a", "b"], "bpm", "99")
    plan = session.plan()
    (root / "a.json").write_text('{"bpm": 120, "mine": 1}')
    monkeypatch.setattr(EditSession, "plan", lambda self: plan)
    report = session.save()
    assert report.problems == ("a.json has changed meanwhile.",)
    assert (root / "a.json").read_text() == '{"bpm": 120, "mine": 1}'
    assert session.edited("a") == {"bpm"} and session.edited("b") == frozenset()


def test_a_full_disk_leaves_files_whole_and_edits_pending(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make({"a.json": '{"bpm": 120}', "b.json": '{"bpm": 121}'})
    session = EditSession(scan(root))
    session.set(["a", "b"], "bpm", "99")
    real = atomic.write_bytes

    def fail(path: Path, data: bytes, **options: int) -> None:
        if path.name == "a.json":
            raise DiskFullError("The disk is full.")
        real(path, data, **options)

    monkeypatch.setattr(atomic, "write_bytes", fail)
    report = session.save()
    assert report.problems == ("a.json cannot be written (the disk is full).",)
    assert [song.bpm for song in scan(root).songs] == [120, 99]
    assert [change.song for change in session.changes()] == ["a"]


def test_a_crash_between_files_is_made_good_by_saving_again(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make({"a.json": '{"bpm": 120}', "b.json": '{"bpm": 121}'})
    real = rewriting.overwrite

    class Killed(BaseException):
        pass

    def crash(path: Path, *arguments: object, **options: object) -> str:
        if path.name == "b.json":
            raise Killed
        return real(path, *arguments, **options)  # type: ignore[arg-type]

    session = EditSession(scan(root))
    session.set(["a", "b"], "bpm", "99")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(rewriting, "overwrite", crash)
        session.save()
    assert [song.bpm for song in scan(root).songs] == [99, 121]
    again = EditSession(scan(root))
    again.set(["a", "b"], "bpm", "99")
    assert [item.origin for item in again.save().written] == ["b.json"]
    assert [item.name for item in root.iterdir() if item.name.endswith(".tmp")] == []


def test_planning_writes_nothing(make: Make) -> None:
    root = make({"a.json": '{"bpm": 120}'})
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in root.iterdir()}
    session = EditSession(scan(root))
    session.set(["a", "b"], "bpm", "99")
    session.set(["a", "b"], "caption", "rock")
    assert [(file.origin, file.is_new) for file in session.plan().files] == [
        ("a.json", False),
        ("b.caption.txt", True),
        ("b.json", True),
    ]
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in root.iterdir()} == before


def test_a_plan_shows_each_line_that_changes(make: Make) -> None:
    root = make({"a.txt": "caption: rock\nbpm: 120\nlyrics:\nla\n"})
    session = EditSession(scan(root))
    session.set(["a"], "bpm", "99")
    session.set(["b"], "caption", "pop")
    one, two = session.plan().files
    assert [line for line in one.diff() if line[0] in "+-"] == ["-bpm: 120", "+bpm: 99"]
    assert [line for line in two.diff() if line[0] in "+-"] == ["+caption: pop"]
    assert [(change.field, change.before, change.after) for change in one.changes] == [("bpm", "120", "99")]


# Undoing a save


def test_undoing_a_save_keeps_what_was_changed_since(make: Make) -> None:
    root = make({"a.json": '{"bpm": 120}'})
    session = EditSession(scan(root))
    session.set(["a", "b"], "bpm", "99")
    session.save()
    (root / "b.json").write_text('{"bpm": 98}')
    said = session.undo()
    assert "b.json has changed meanwhile and stays as it is." in said
    assert (root / "a.json").read_text() == '{"bpm": 120}'
    assert (root / "b.json").read_text() == '{"bpm": 98}'
    assert session.value("a", "bpm") == "99" and session.edited("a") == {"bpm"}


def test_undo_and_redo_of_a_save_make_backups(make: Make) -> None:
    root = make({"a.json": '{"bpm": 120}'})
    session = EditSession(scan(root))
    session.set(["a", "b"], "bpm", "99")
    session.save()
    session.undo()
    assert not (root / "b.json").exists()
    session.redo()
    assert json.loads((root / "b.json").read_text()) == {"bpm": 99}
    assert session.changes() == []
    backups = {path.name: path.read_text() for path in root.glob("*.bak*")}
    assert backups == {"a.json.bak": '{"bpm": 120}', "a.json.bak2": '{"bpm": 99}', "a.json.bak3": '{"bpm": 120}'}


def test_many_files_are_written_and_taken_back(make: Make) -> None:
    root = make({f"{number}.wav": AUDIO for number in range(40)})
    session = EditSession(scan(root))
    session.set([song.name for song in session.songs], "bpm", "99")
    assert not session.undo_writes
    assert len(session.save().written) == 42 and session.undo_writes
    assert {song.bpm for song in scan(root).songs} == {99}
    session.undo()
    assert contents(root) == {} and session.redo_writes


# Any text


TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs"]) | st.sampled_from('",;|:\n\r\t{}[]<>\\/=#\u2028\ufeff'),
    max_size=60,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(caption=TEXT, lyric=TEXT, genre=TEXT)
@pytest.mark.parametrize("layout", ["json", "lines", "tagged", "csv", "samples", "files and json"])
def test_any_text_is_read_back_as_edited_or_refused(
    make: Make, tmp_path: Path, layout: str, caption: str, lyric: str, genre: str
) -> None:
    root = make(dict(FULL_LAYOUTS[layout]))
    before = scan(root)
    session = EditSession(before)
    for field, value in (("caption", caption), ("genre", genre), ("lyrics", lyric)):
        session.set(["a"], field, value)
    report = session.save()
    after = scan(root)
    assert after.song("b") == before.song("b")
    if not report.problems:
        assert same(after, session.songs)
        assert session.changes() == []
    assert after.song("a").bpm == 120
    shutil.rmtree(root)


def test_cells_are_quoted_as_their_table_needs(make: Make) -> None:
    root = make({"t.csv": CSV})
    written_by(root, "caption", 'say "hi"; now', "b")
    rows = list(csv.reader(io.StringIO((root / "t.csv").read_text()), delimiter=";"))
    assert rows[2][2] == 'say "hi"; now' and rows[1][1] == "me; you"
