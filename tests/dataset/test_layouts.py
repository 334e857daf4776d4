"""Every layout of the five sources, alone, in a ZIP and mixed: one canonical description comes out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from sidestep_tui.dataset.manifest import Manifest, Song, scan

from .conftest import WriteSong

Words = Mapping[str, Any]

EMBER: Words = {
    "caption": "warm pads, slow groove, female vocal",
    "lyrics": "[Verse 1]\nWalking home\nin the rain\n\n[Chorus]\nOh, ember",
    "language": "en",
    "bpm": 120,
    "keyscale": "E minor",
    "timesignature": "4",
    "genre": "house",
    "instrumental": False,
    "tag": "zx",
    "repeats": 2,
}
DRIFT: Words = {
    "caption": "a calm, wide piano piece, soft and slow",
    "lyrics": "[Instrumental]",
    "language": "unknown",
    "bpm": 96,
    "keyscale": "F# major",
    "timesignature": "3",
    "genre": "ambient",
    "instrumental": True,
    "tag": "zx",
    "repeats": 1,
}
SONGS = {"ember": EMBER, "drift": DRIFT}
EVERYTHING = frozenset(EMBER)
VOCALS = frozenset({"lyrics", "instrumental"})
# What other tools call the fields.
PLAIN = {
    **{name: name for name in ("caption", "lyrics", "language", "bpm", "keyscale", "timesignature", "genre")},
    "instrumental": "is_instrumental",
    "tag": "custom_tag",
    "repeats": "repeat",
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def plainly(words: Words) -> dict[str, Any]:
    return {PLAIN[name]: value for name, value in words.items()}


def caption_txt(root: Path, name: str, words: Words) -> None:
    (root / f"{name}.txt").write_text(words["caption"])


def lyrics_txt(root: Path, name: str, words: Words) -> None:
    (root / f"{name}.txt").write_text(words["lyrics"])


def two_files(root: Path, name: str, words: Words) -> None:
    (root / f"{name}.caption.txt").write_text(words["caption"] + "\n")
    (root / f"{name}.lyrics.txt").write_text(words["lyrics"] + "\n")


def timed_lyrics(root: Path, name: str, words: Words) -> None:
    lines = [f"[00:{number:02d}.50]{line}" for number, line in enumerate(words["lyrics"].split("\n"))]
    (root / f"{name}.lrc").write_text("[ar: nobody]\n" + "\n\n".join(lines))


def prompt_and_lyrics(root: Path, name: str, words: Words) -> None:
    (root / f"{name}_prompt.txt").write_text(words["caption"])
    (root / f"{name}_lyrics.txt").write_text(words["lyrics"])


def json_file(root: Path, name: str, words: Words) -> None:
    (root / f"{name}.json").write_text(json.dumps({**plainly(words), "duration": 30, "filename": f"{name}.wav"}))


def key_values(root: Path, name: str, words: Words) -> None:
    spelled = {**plainly(words), "key": words["keyscale"], "signature": f"{words['timesignature']}/4"}
    del spelled["keyscale"], spelled["timesignature"], spelled["lyrics"]
    lines = [f"{key}: {str(value).lower() if isinstance(value, bool) else value}" for key, value in spelled.items()]
    (root / f"{name}.txt").write_text("\n".join([*lines, "lyrics:", words["lyrics"]]))


def tagged(root: Path, name: str, words: Words) -> None:
    spelled = plainly(words)
    (root / f"{name}.txt").write_text("".join(f"<{key.upper()}>{value}\n" for key, value in spelled.items()))


def tagged_with_ends(root: Path, name: str, words: Words) -> None:
    spelled = plainly(words)
    parts = [f"<{key}> {value} </{key}>" for key, value in spelled.items()]
    (root / f"{name}.txt").write_text("\n".join(parts))


def annotations(root: Path, name: str, words: Words) -> None:
    (root / "annotations").mkdir(exist_ok=True)
    spelled = plainly(words)
    spelled["prompt"] = spelled.pop("caption")
    del spelled["genre"]
    (root / "annotations" / f"{name}.json").write_text(json.dumps({**spelled, "tags": ["x", "y"]}))
    table = root / "metadata.csv"
    if not table.exists():
        table.write_text("filename,prompt,duration,genre,mood\n")
    with table.open("a") as handle:
        handle.write(f"{name}.wav,something else,180,{words['genre']},calm\n")


def analyser_tables(root: Path, name: str, words: Words) -> None:
    (root / f"export of {name}.csv").write_text(
        "File,Artist,Title,BPM,Key,Camelot,Caption\n"
        f'{name}.wav,,,{words["bpm"]},{words["keyscale"]},9A,"{words["caption"]}"\n'
    )


def one_table(root: Path, name: str, words: Words) -> None:
    columns = ("caption", "genre", "bpm", "keyscale", "timesignature", "lyrics", "language")
    table = root / "captions.csv"
    if not table.exists():
        table.write_text("\ufefffilename;" + ";".join(columns) + "\r\n", encoding="utf-8")
    with table.open("a", newline="") as handle:
        handle.write(";".join([f"{name}.wav", *(f'"{words[column]}"' for column in columns)]) + "\r\n")


def _sample(name: str, words: Words) -> dict[str, Any]:
    return {
        "id": "0a1b2c3d",
        "audio_path": f"/home/someone/music/{name}.wav",
        "filename": f"{name}.wav",
        **plainly(words),
        "raw_lyrics": "not these",
        "formatted_lyrics": "",
        "duration": 30,
        "labeled": True,
        "prompt_override": None,
    }


def sample_list(root: Path, name: str, words: Words) -> None:
    path = root / "songs.json"
    samples = json.loads(path.read_text()) if path.exists() else []
    path.write_text(json.dumps([*samples, {"audio_path": f"./{name}.wav", **plainly(words)}]))


def samples_object(root: Path, name: str, words: Words) -> None:
    path = root / "dataset.json"
    samples = json.loads(path.read_text())["samples"] if path.exists() else []
    path.write_text(json.dumps({"samples": [*samples, _sample(name, words)]}))


def samples_with_metadata(root: Path, name: str, words: Words) -> None:
    """As Side-Step writes it: the tag stands in the metadata, and every song's language is called unknown."""
    path = root / "dataset.json"
    samples = json.loads(path.read_text())["samples"] if path.exists() else []
    metadata = {"name": "x", "custom_tag": "zx", "tag_position": "prepend", "created_at": "2026", "genre_ratio": 0}
    path.write_text(
        json.dumps({"metadata": metadata, "samples": [*samples, {**_sample(name, words), "custom_tag": ""}]})
    )


def trainer_json(root: Path, name: str, words: Words) -> None:
    """As ACE-Step's own trainer exports it: lyrics only where they were formatted, keys without a value null."""
    path = root / "my export.json"
    samples = json.loads(path.read_text())["samples"] if path.exists() else []
    sample = {**_sample(name, words), "lyrics": "", "raw_lyrics": "", "formatted_lyrics": words["lyrics"]}
    sample["audio_path"] = f"C:\\music\\{name}.wav"
    metadata = {"name": "x", "custom_tag": "", "num_samples": 2, "all_instrumental": False}
    path.write_text(json.dumps({"metadata": metadata, "samples": [*samples, sample]}))


LAYOUTS: dict[str, tuple[Callable[[Path, str, Words], None], frozenset[str]]] = {
    "S0: name.txt is a caption": (caption_txt, frozenset({"caption"})),
    "S4: name.txt holds lyrics": (lyrics_txt, VOCALS),
    "caption.txt and lyrics.txt": (two_files, VOCALS | {"caption"}),
    "lrc": (timed_lyrics, VOCALS),
    "S1: prompt and lyrics": (prompt_and_lyrics, VOCALS | {"caption"}),
    "S2, S4: json": (json_file, EVERYTHING),
    "S3: audio, annotations, metadata": (annotations, EVERYTHING),
    "S4: several analyser tables": (analyser_tables, frozenset({"caption", "bpm", "keyscale"})),
    "S2: one table": (one_table, EVERYTHING - {"tag", "repeats"}),
    "Side-Step: key values": (key_values, EVERYTHING),
    "tagged": (tagged, EVERYTHING),
    "tagged with ends": (tagged_with_ends, EVERYTHING),
    "Side-Step: list of samples": (sample_list, EVERYTHING),
    "Side-Step: samples": (samples_object, EVERYTHING),
    "Side-Step: samples with metadata": (samples_with_metadata, EVERYTHING),
    "ACE-Step: dataset JSON": (trainer_json, EVERYTHING),
}


def words_of(song: Song) -> dict[str, Any]:
    return {name: getattr(song, name) for name in EMBER}


def expected(name: str, words: Words, held: frozenset[str]) -> dict[str, Any]:
    """The canonical words of a song of which only some are written down."""
    nothing = {
        "caption": name,
        "lyrics": "[Instrumental]",
        "language": "unknown",
        "bpm": None,
        "keyscale": "",
        "timesignature": "",
        "genre": "",
        "instrumental": True,
        "tag": "",
        "repeats": 1,
    }
    return {field: words[field] if field in held else nothing[field] for field in words}


def build(root: Path, write_song: WriteSong, layout: str) -> frozenset[str]:
    write, held = LAYOUTS[layout]
    home = "audio/" if write is annotations else ""
    for name, words in SONGS.items():
        write_song(f"{root.name}/{home}{name}.wav", seconds=0.05)
        write(root, name, words)
    return held


def assert_canonical(found: Manifest, held: frozenset[str]) -> None:
    assert {song.name.rpartition("/")[2]: words_of(song) for song in found.songs} == {
        name: expected(name, words, held) for name, words in SONGS.items()
    }
    assert found.warnings == () and found.skipped == ()
    for song in found.songs:
        told = {name for name in held if song.origins.get(name) not in (None, "file name", "no lyrics found")}
        assert told >= held - {"language", "instrumental", "repeats", "lyrics"}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_songs(write_song: WriteSong, tmp_path: Path, layout: str) -> None:
    root = tmp_path / "songs"
    held = build(root, write_song, layout)
    assert_canonical(scan(root), held)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_zip_of_every_layout_gives_the_same_songs(write_song: WriteSong, tmp_path: Path, layout: str) -> None:
    root = tmp_path / "songs"
    held = build(root, write_song, layout)
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", root)
    shutil.rmtree(root)
    assert_canonical(scan(archive), held)


def test_a_mixed_folder_gives_the_same_songs(write_song: WriteSong, tmp_path: Path) -> None:
    mixed = [name for name in LAYOUTS if LAYOUTS[name][0] not in (annotations, samples_object, samples_with_metadata)]
    for number, layout in enumerate([*mixed, "Side-Step: samples with metadata"]):
        write_song(f"song{number:02d}.wav", seconds=0.05)
        LAYOUTS[layout][0](tmp_path, f"song{number:02d}", EMBER)
    write_song("audio/apart.wav", seconds=0.05)
    annotations(tmp_path, "apart", EMBER)
    found = scan(tmp_path)
    assert found.warnings == ()
    for number, layout in enumerate([*mixed, "Side-Step: samples with metadata"]):
        name = f"song{number:02d}"
        assert words_of(found.song(name)) == expected(name, EMBER, LAYOUTS[layout][1]), layout
    assert words_of(found.song("audio/apart")) == EMBER
    assert found.txt_role == "mixed"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_songs_of_one_name_in_two_folders_keep_their_own_words(
    write_song: WriteSong, tmp_path: Path, layout: str
) -> None:
    write, held = LAYOUTS[layout]
    home = "audio/" if write is annotations else ""
    for disc in ("disc1", "disc2", "."):
        write_song(f"{disc}/{home}ember.wav", seconds=0.05)
    write(tmp_path / "disc1", "ember", EMBER)
    write(tmp_path / "disc2", "ember", {**EMBER, "caption": "another, slower, darker take", "lyrics": "[Verse]\nNo"})
    found = scan(tmp_path)
    first, second, loose = (found.song(f"{disc}{home}ember") for disc in ("disc1/", "disc2/", ""))
    assert first.caption == expected("ember", EMBER, held)["caption"]
    assert first.lyrics == expected("ember", EMBER, held)["lyrics"]
    assert second.caption == ("another, slower, darker take" if "caption" in held else "ember")
    assert second.lyrics == ("[Verse]\nNo" if "lyrics" in held else "[Instrumental]")
    assert words_of(loose) == expected("ember", EMBER, frozenset())


# Paths in dataset JSONs


def described(root: Path, samples: list[dict[str, Any]], at: str = "dataset.json") -> Manifest:
    (root / at).parent.mkdir(parents=True, exist_ok=True)
    (root / at).write_text(json.dumps({"samples": samples}))
    return scan(root)


def bpms(found: Manifest) -> dict[str, int | None]:
    return {song.name: song.bpm for song in found.songs}


def test_folders_of_another_machine_are_told_apart(write_song: WriteSong, tmp_path: Path) -> None:
    for name in ("disc1/a.wav", "disc2/a.wav", "a.wav"):
        write_song(name, seconds=0.05)
    paths = [("/home/x/set/disc1/a.wav", 101), ("/home/x/set/disc2/a.wav", 102), ("/home/x/set/a.wav", 100)]
    samples = [{"audio_path": path, "bpm": bpm} for path, bpm in paths]
    assert bpms(described(tmp_path, samples)) == {"a": 100, "disc1/a": 101, "disc2/a": 102}
    found = described(tmp_path, samples[:2])
    assert bpms(found) == {"a": None, "disc1/a": 101, "disc2/a": 102}


def test_absolute_path_that_could_be_two_songs_is_nobodys(write_song: WriteSong, tmp_path: Path) -> None:
    write_song("a.wav", seconds=0.05)
    samples = [{"audio_path": f"/x/{disc}/a.wav", "bpm": 100} for disc in ("disc1", "disc2")]
    found = described(tmp_path, samples)
    assert bpms(found) == {"a": None}
    assert found.warnings == ("dataset.json: 2 samples match no song beside it (a.wav and a.wav).",)


def test_absolute_paths_into_this_very_folder_are_exact(write_song: WriteSong, tmp_path: Path) -> None:
    for name in ("one/a.wav", "two/a.wav"):
        write_song(name, seconds=0.05)
    found = described(tmp_path, [{"audio_path": str(tmp_path / "two/a.wav"), "bpm": 99}], at="meta/dataset.json")
    assert bpms(found) == {"one/a": None, "two/a": 99}


def test_relative_paths_begin_at_the_json_and_never_leave_the_folder(write_song: WriteSong, tmp_path: Path) -> None:
    root = tmp_path / "set"
    write_song("set/songs/a.wav", seconds=0.05)
    write_song("outside.wav", seconds=0.05)
    samples = [{"audio_path": "../songs/a.wav", "bpm": 99}, {"audio_path": "../../outside.wav", "bpm": 1}]
    found = described(root, samples, at="meta/dataset.json")
    assert bpms(found) == {"songs/a": 99}
    assert found.warnings == (
        "meta/dataset.json: 1 sample names a file outside of the folder; not used (../../outside.wav).",
    )


def test_sidecars_win_over_the_dataset_json_and_disagreement_is_said(write_song: WriteSong, tmp_path: Path) -> None:
    write_song("a.wav", seconds=0.05)
    (tmp_path / "a.json").write_text('{"bpm": 90}')
    found = described(tmp_path, [{"filename": "a.wav", "bpm": 99, "caption": "slow"}])
    assert (found.songs[0].bpm, found.songs[0].caption) == (90, "slow")
    assert found.warnings == ("dataset.json: bpm 99 contradicts 90 in a.json, which is used.",)


def test_sample_says_whether_its_genre_is_the_caption(write_song: WriteSong, tmp_path: Path) -> None:
    write_song("a.wav", seconds=0.05)
    sample = {"filename": "a", "caption": "long words", "genre": "rock", "prompt_override": "genre"}
    assert described(tmp_path, [sample]).songs[0].caption == "rock"


def test_metadata_speak_for_samples_that_are_silent(write_song: WriteSong, tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav"):
        write_song(name, seconds=0.05)
    samples = [
        {"filename": "a.wav"},
        {"filename": "b.wav", "custom_tag": "own", "is_instrumental": False, "lyrics": "la"},
    ]
    metadata = {"custom_tag": "zx", "all_instrumental": True}
    (tmp_path / "d.json").write_text(json.dumps({"metadata": metadata, "samples": samples}))
    first, second = scan(tmp_path).songs
    assert (first.tag, first.instrumental, first.origins["tag"]) == ("zx", True, "d.json")
    assert (second.tag, second.instrumental) == ("own", False)


@pytest.mark.parametrize(
    ("content", "warning"),
    [
        ("{", "d.json is not valid JSON (line 1); it was not used."),
        ("[" * 50_000, "d.json is not valid JSON; it was not used."),
        (
            '{"samples": [{"caption": "x"}]}',
            "d.json holds samples, but none that names its audio file; it was not used.",
        ),
        ('{"samples": ["/x/a.pt"]}', ""),
        ('{"samples": {"a": 1}, "metadata": 3}', ""),
        ('[1, {"a": 2}, null]', ""),
        ('{"name": "something else"}', ""),
        ("3", ""),
    ],
)
def test_other_jsons_do_no_harm(write_song: WriteSong, tmp_path: Path, content: str, warning: str) -> None:
    write_song("a.wav", seconds=0.05)
    (tmp_path / "d.json").write_text(content)
    assert scan(tmp_path).warnings == ((warning,) if warning else ())


def test_strange_values_in_samples_are_named_and_the_rest_is_read(write_song: WriteSong, tmp_path: Path) -> None:
    write_song("a.wav", seconds=0.05)
    sample = '{"filename": "a.wav", "bpm": Infinity, "caption": {"a": 1}, "genre": "rock", "repeat": 1e9, "key": NaN}'
    (tmp_path / "d.json").write_text(f'{{"samples": [7, {sample}, {{"filename": 3}}]}}')
    found = scan(tmp_path)
    assert found.songs[0].genre == "rock"
    assert {sentence.split(" '")[0] for sentence in found.warnings} == {
        "d.json: bpm",
        "d.json: caption",
        "d.json: repeats",
    }


# Letter case


def test_songs_that_differ_in_letter_case_keep_their_own_sidecars(write_song: WriteSong, tmp_path: Path) -> None:
    write_song("a.wav", seconds=0.05)
    if (tmp_path / "A.wav").exists():
        pytest.skip("this file system does not tell letter case apart")
    write_song("A.wav", seconds=0.05)
    (tmp_path / "a.json").write_text('{"bpm": 99}')
    (tmp_path / "t.csv").write_text("file,genre\na.wav,low\nA.wav,high\n")
    upper, lower = scan(tmp_path).songs
    assert (upper.name, upper.bpm, upper.genre) == ("A", None, "high")
    assert (lower.name, lower.bpm, lower.genre) == ("a", 99, "low")


# Tagged text


def test_brackets_that_are_no_tags_belong_to_the_words(write_song: WriteSong, tmp_path: Path) -> None:
    write_song("a.wav", seconds=0.05)
    (tmp_path / "a.txt").write_text(
        "<Caption>I <3 rock <guitar solo>\n<lyrics>\nla <oh> la\n<bpm>\n120 </bpm>\n<Mood>x"
    )
    song = scan(tmp_path).songs[0]
    assert (song.caption, song.lyrics, song.bpm) == ("I <3 rock <guitar solo>", "la <oh> la", 120)


def test_a_closing_tag_keeps_field_names_in_lyrics(write_song: WriteSong, tmp_path: Path) -> None:
    write_song("a.wav", seconds=0.05)
    (tmp_path / "a.txt").write_text("<LYRICS>the <key> to\nmy heart</LYRICS><CAPTION>slow</CAPTION>")
    song = scan(tmp_path).songs[0]
    assert (song.caption, song.lyrics, song.keyscale) == ("slow", "the <key> to\nmy heart", "")
