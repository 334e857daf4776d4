"""What holds for any text: parsers read or refuse, cleaning settles, and what is written is read again."""

from __future__ import annotations

import csv
import io
import json
import posixpath
import re
import zipfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sidestep_tui.dataset import archive_names, dataset_json, lyrics, sidecars, tables, tagged, values
from sidestep_tui.dataset.files import UnreadableTextError, decode_text
from sidestep_tui.dataset.layouts import Found
from sidestep_tui.dataset.manifest import Manifest, Skipped, Song
from sidestep_tui.dataset.merge import merge
from sidestep_tui.dataset.tables import Row, SongNames, Table

QUICK = settings(max_examples=40, deadline=None)

anything = st.text(st.characters() | st.sampled_from("[]<>|:/.,;\"'\n\r\t 0123_-#"), max_size=120)
marks = st.lists(
    st.sampled_from(
        ["<|", "|>", "<", ">", "[", "]", "00", ":", "01", ".5", "endoftext", "im_end", "a", "\n", " ", "\x00"]
    ),
    max_size=30,
).map("".join)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
)
keys = st.sampled_from(
    [
        "audio_path",
        "filename",
        "caption",
        "bpm",
        "lyrics",
        "custom_tag",
        "repeat",
        "key",
        "tags",
        "prompt_override",
        "x",
    ]
)
words = st.text(st.characters(exclude_characters="\x00"), max_size=40).map(values.clean_text).map(str.strip)
MODEL_MARK = re.compile(r"<\|[A-Za-z_]{1,40}\|>")


@QUICK
@given(anything | marks)
def test_cleaning_twice_changes_nothing_more(text: str) -> None:
    plain = values.clean_text(text)
    assert values.clean_text(plain) == plain
    assert not MODEL_MARK.search(plain)
    cleaned = lyrics.clean(text)
    assert lyrics.clean(cleaned) == cleaned
    assert not lyrics.has_timestamps(cleaned) and not MODEL_MARK.search(cleaned)
    line = values.line(text)
    assert values.line(line) == line and "\n" not in line


@QUICK
@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 59), words), max_size=8))
def test_timed_lyrics_give_their_lines(lines: list[tuple[int, int, str]]) -> None:
    sung = [(minute, second, values.line(text)) for minute, second, text in lines]
    sung = [item for item in sung if item[2] and not re.search(r"[\[\]<>]", item[2])]
    timed = "[ti: x]\n" + "\n\n".join(f"[{minute:02d}:{second:02d}.00]{text}" for minute, second, text in sung)
    expected = "\n".join(text for _, _, text in sung)
    assert lyrics.clean(timed) == (expected if sung else "[ti: x]")


@QUICK
@given(
    anything
    | st.lists(st.sampled_from(["<BPM>", "</bpm>", "<caption>", "<Lyrics>", "</lyrics>", "x", "\n", "<"])).map("".join)
)
def test_any_text_is_read_as_tagged_or_not(text: str) -> None:
    if tagged.is_tagged(text):
        assert tagged.spans(text)
    for start, end in tagged.spans(text).values():
        assert 0 <= start <= end <= len(text)
    assert set(tagged.parse(text)) <= set(sidecars.ALIASES)


@QUICK
@given(st.dictionaries(st.sampled_from(["caption", "lyrics", "bpm", "genre", "custom_tag"]), words, min_size=1))
def test_tagged_fields_are_read_as_written(written: dict[str, str]) -> None:
    text = "\n".join(f"<{name.upper()}>\n{value}\n</{name.upper()}>" for name, value in written.items())
    known = {name: value for name, value in written.items() if not values.is_blank(value)}
    if not any("<" in value for value in written.values()):
        assert tagged.is_tagged(text)
        assert tagged.parse(text) == sidecars.canonical(known)


@QUICK
@given(
    json_values.map(json.dumps)
    | st.lists(st.dictionaries(keys, json_values, max_size=5), max_size=4).map(json.dumps)
    | st.lists(st.dictionaries(keys, json_values), max_size=4).map(lambda s: json.dumps({"samples": s, "metadata": s}))
    | anything
)
def test_any_json_is_a_dataset_or_refused(text: str) -> None:
    try:
        rows = dataset_json.parse(text)
    except UnreadableTextError as error:
        assert str(error)
        return
    for row in rows or []:
        assert row.file and not row.file.startswith("/")
        assert set(row.fields) <= {*sidecars.ALIASES, "source"}


@QUICK
@given(
    st.lists(st.fixed_dictionaries({"audio_path": words, "caption": words, "bpm": st.integers(30, 300)}), max_size=5)
)
def test_samples_are_read_as_written(samples: list[dict[str, Any]]) -> None:
    rows = dataset_json.parse(json.dumps(samples))
    named = [sample for sample in samples if tables.file_name(sample["audio_path"])[0]]
    assert [row.fields["bpm"] for row in rows or []] == [sample["bpm"] for sample in named]


@QUICK
@given(
    st.lists(st.tuples(words, words, words), min_size=1, max_size=6),
    st.sampled_from([",", ";", "\t", "|"]),
    st.booleans(),
)
def test_tables_are_read_as_written(cells: list[tuple[str, str, str]], delimiter: str, quotes: bool) -> None:
    sink = io.StringIO()
    writer = csv.writer(
        sink, delimiter=delimiter, quoting=csv.QUOTE_ALL if quotes else csv.QUOTE_MINIMAL, lineterminator="\n"
    )
    writer.writerow(["filename", "caption", "Key"])
    for number, (_, caption, key) in enumerate(cells):
        writer.writerow([f"song{number}.wav", caption, key])
    rows = tables.parse(sink.getvalue())
    assert [row.file for row in rows] == [f"song{number}.wav" for number in range(len(cells))]
    for row, (_, caption, key) in zip(rows, cells, strict=True):
        assert row.fields == sidecars.canonical({"caption": caption, "key": key})


paths = st.lists(
    st.sampled_from(["a", "b", "audio", "..", ".", "", "/", "C:", "~", "\\", "x.wav", "y.wav", "y.mp3", '"', " "]),
    max_size=6,
).map("/".join)


@QUICK
@given(st.lists(paths | anything, max_size=6), st.sampled_from(["", "a", "a/b", "audio"]))
def test_no_row_means_a_song_outside_and_none_a_song_of_another_name(files: list[str], folder: str) -> None:
    rows = []
    for number, cell in enumerate(files):
        file, far = tables.file_name(cell)
        if file:
            assert not file.startswith("/") or file == "/"
            rows.append(Row(file, {"bpm": number}, far))
    songs = ["x.wav", "a/x.wav", "a/b/x.wav", "audio/x.wav", "a/audio/x.wav", "y.wav"]
    table = Table(f"{folder}/t.csv", folder, rows, SongNames.of("/data/set", songs))
    meant: list[int] = []
    for song in songs:
        for row in table.rows_for(song):
            assert posixpath.basename(row.far or row.file).casefold().partition(".")[0].strip() in ("x", "y")
            meant.append(id(row))
    assert len(set(meant)) == len(meant), "one row for two songs"
    assert set(table.unused()) <= {row.file for row in rows}


songs = st.builds(
    Song,
    name=words,
    audio=st.sampled_from([Path("/x/a.wav"), Path("/x/ü b.wav")]),
    caption=words,
    lyrics=words,
    bpm=st.none() | st.integers(30, 300),
    instrumental=st.booleans(),
    repeats=st.integers(1, 9),
    duration=st.floats(0, 1e4),
    origins=st.dictionaries(words, words, max_size=3),
    size=st.integers(0, 1 << 40),
    source=words,
)
skips = st.builds(Skipped, path=st.sampled_from([Path("a.mp3"), Path("b/c.wav")]), reason=words, code=words)


@QUICK
@given(st.lists(songs, max_size=3), st.lists(skips, max_size=3), st.lists(words, max_size=3))
def test_manifest_survives_json(known: list[Song], skipped: list[Skipped], warnings: list[str]) -> None:
    manifest = Manifest(Path("/x"), tuple(known), tuple(skipped), "mixed", tuple(warnings))
    assert Manifest.from_dict(json.loads(json.dumps(manifest.to_dict()))) == manifest


@QUICK
@given(st.lists(st.dictionaries(st.sampled_from([*sidecars.ALIASES]), json_values, max_size=6), max_size=3), anything)
def test_any_fields_become_canonical_and_stay_so(sources: list[dict[str, Any]], plain: str) -> None:
    found = [Found(f"{number}.json", sidecars.canonical(source)) for number, source in enumerate(sources)]
    found.append(Found("a.txt", plain=plain))
    merged = merge("a.wav", found, wanted="auto", fallback="caption", language="unknown")
    facts = {
        name: getattr(merged, name)
        for name in ("caption", "lyrics", "bpm", "keyscale", "timesignature", "genre", "tag")
    }
    again = merge("a.wav", [Found("a.json", facts)], wanted="auto", fallback="caption", language="unknown")
    assert {name: getattr(again, name) for name in facts if name != "lyrics"} == {
        name: value for name, value in facts.items() if name != "lyrics"
    }
    if merged.lyrics:
        assert again.lyrics == merged.lyrics
    json.dumps(facts).encode("utf-8")


@QUICK
@given(anything, st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
def test_text_is_decoded_as_it_was_written(text: str, encoding: str) -> None:
    written = text.encode("utf-8", "replace").decode("utf-8").replace("\x00", "").removeprefix("\ufeff")
    if encoding == "utf-8" and written.encode()[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return
    assert decode_text(written.encode(encoding)) == values.clean_text(written)


@QUICK
@given(st.lists(paths | anything, max_size=8), st.integers(0, 0xFFFF), st.booleans())
def test_whatever_a_zip_lists_its_files_stay_inside(names: list[str], mode: int, is_utf8: bool) -> None:
    infos = []
    for name in names:
        info = zipfile.ZipInfo(name or "x")
        info.external_attr, info.flag_bits = mode << 16, 0x800 if is_utf8 else 0
        infos.append(info)
    entries, left_out = archive_names.sort_out(infos)
    taken = [entry.name for entry in entries]
    assert len({name.casefold() for name in taken}) == len(taken)
    for name in taken:
        assert posixpath.normpath(name) == name
        assert not name.startswith(("/", "..")) and "\\" not in name and ":" != name[1:2]
    assert all(item.reason and not re.search(r"[\x00-\x1f\x7f-\x9f]", item.name) for item in left_out)
