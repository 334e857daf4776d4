"""Scanning whole folders: every layout, precedence, and everything that can be wrong with a folder."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sidestep_tui.core.errors import DataError
from sidestep_tui.dataset import files
from sidestep_tui.dataset.manifest import Manifest, Song, fingerprint, scan

WriteSong = Callable[..., Path]


def only(manifest: Manifest) -> Song:
    assert len(manifest.songs) == 1
    return manifest.songs[0]


# Layouts


def test_song_without_any_sidecar_is_called_by_its_file_name(write_song: WriteSong, tmp_path: Path) -> None:
    write_song("01_Night-Drive (final).wav", seconds=0.5, rate=44100, channels=1)
    song = only(scan(tmp_path))
    assert (song.name, song.caption, song.origins["caption"]) == (
        "01_Night-Drive (final)",
        "01 Night Drive (final)",
        "file name",
    )
    assert (song.lyrics, song.instrumental, song.origins["lyrics"]) == ("[Instrumental]", True, "no lyrics found")
    assert (song.duration, song.sample_rate, song.channels) == (0.5, 44100, 1)
    assert (song.bpm, song.keyscale, song.timesignature, song.language, song.repeats) == (None, "", "", "unknown", 1)


def test_caption_and_lyrics_files_are_read(write_song: WriteSong, tmp_path: Path) -> None:
    write_song("a.wav")
    (tmp_path / "a.caption.txt").write_text("warm pads,\nslow\n")
    (tmp_path / "a.lyrics.txt").write_text("[00:01.00]Hello\n[00:02.00]you\n")
    song = only(scan(tmp_path, language="de"))
    assert (song.caption, song.lyrics, song.instrumental, song.language) == (
        "warm pads, slow",
        "Hello\nyou",
        False,
        "de",
    )
    assert song.origins == {"caption": "a.caption.txt", "lyrics": "a.lyrics.txt", "language": "setting"}


def test_prompt_and_lyrics_files_are_read(write_song: WriteSong, tmp_path: Path) -> None:
    write_song("a.mp3")
    (tmp_path / "a_prompt.txt").write_text("male vocal, rock")
    (tmp_path / "a_lyrics.txt").write_text("la la")
    song = only(scan(tmp_path))
    assert (song.caption, song.lyrics) == ("male vocal, rock", "la la")


def test_json_is_read_and_made_canonical(write_song: WriteSong, tmp_path: Path) -> None:
    write_song("a.ogg")
    written = {"caption": "x", "bpm": "142", "keyscale": "E Minor", "timesignature": "4/4", "language": "Japanese"}
    (tmp_path / "a.json").write_text(json.dumps({**written, "lyrics": "la", "custom_tag": "zx", "genre": "rock"}))
    song = only(scan(tmp_path))
    assert (song.bpm, song.keyscale, song.timesignature, song.language) == (142, "E minor", "4", "ja")
    assert (song.tag, song.genre, song.origins["bpm"]) == ("zx", "rock", "a.json")


def test_key_value_text_is_read(write_song: WriteSong, tmp_path: Path) -> None:
    write_song("a.flac")
    (tmp_path / "a.txt").write_text("caption: deep house\nbpm: 122\nrepeats: 3\nlyrics:\n[Verse]\nhey\n")
    manifest = scan(tmp_path)
    song = only(manifest)
    assert (song.caption, song.bpm, song.repeats, song.lyrics) == ("deep house", 122, 3, "[Verse]\nhey")
    assert manifest.txt_role == "none"


def test_audio_and_annotations_folders_belong_together(write_song: WriteSong, tmp_path: Path) -> None:
    write_song("audio/track_001.wav")
    write_song("audio/track_002.wav")
    (tmp_path / "annotations").mkdir()
    annotation = {"prompt": "loud", "tags": ["rock"], "bpm": 140, "key": "E minor"}
    (tmp_path / "annotations/track_001.json").write_text(json.dumps(annotation))
    (tmp_path / "metadata.csv").write_text(
        "filename,prompt,duration,genre,mood\n"
        'track_001.wav,"csv",180,rock,calm\ntrack_002.wav,"soft, slow",180,jazz,calm\n'
    )
    manifest = scan(tmp_path)
    first, second = manifest.songs
    assert (first.name, first.caption, first.bpm, first.keyscale) == ("audio/track_001", "loud", 140, "E minor")
    assert (first.genre, first.origins["genre"]) == ("rock", "metadata.csv")
    assert (second.caption, second.origins["caption"]) == ("soft, slow", "metadata.csv")
    assert manifest.warnings == ()


def test_several_tables_in_one_folder_are_merged(write_song: WriteSong, tmp_path: Path) -> None:
    write_song("a.wav")
    write_song("b.wav")
    (tmp_path / "1.csv").write_text("File,Artist,Title,BPM,Key,Camelot\na.wav,,,120,A minor,8A\n")
    (tmp_path / "2.csv").write_text("File;BPM;Key\nb.mp3;121;C major\n")
    (tmp_path / "3.csv").write_text("filename,caption,lyrics,language\na,hum,la,en\nb,sing,lo,fr\n")
    a, b = scan(tmp_path).songs
    assert (a.bpm, a.keyscale, a.caption, a.lyrics, a.language) == (120, "A minor", "hum", "la", "en")
    assert (b.bpm, b.keyscale, b.caption, b.lyrics, b.language) == (121, "C major", "sing", "lo", "fr")


def test_nearer_source_wins_field_by_field(write_song: WriteSong, tmp_path: Path) -> None:
    write_song("a.wav")
    (tmp_path / "a.caption.txt").write_text("from caption file")
    (tmp_path / "a.txt").write_text("caption: from text\ngenre: house")
    (tmp_path / "a.json").write_text('{"caption": "from json", "genre": "techno", "bpm": 120}')
    (tmp_path / "t.csv").write_text("file,caption,bpm,key\na.wav,from table,125,C\n")
    manifest = scan(tmp_path)
    song = only(manifest)
    assert (song.caption, song.genre, song.bpm, song.keyscale) == ("from caption file", "house", 120, "C major")
    assert song.origins["keyscale"] == "t.csv"
    assert manifest.warnings == ("t.csv: bpm 125 contradicts 120 in a.json, which is used.",)


def test_table_nearest_to_the_song_wins(write_song: WriteSong, tmp_path: Path) -> None:
    write_song("sub/a.wav")
    (tmp_path / "a.csv").write_text("file,genre\nsub/a.wav,far\n")
    (tmp_path / "sub/z.csv").write_text("file,genre\na.wav,near\n")
    assert only(scan(tmp_path)).genre == "near"


def test_language_called_unknown_leaves_it_to_the_setting(write_song: WriteSong, tmp_path: Path) -> None:
    write_song("a.wav")
    (tmp_path / "a.json").write_text('{"language": "unknown", "lyrics": "la la"}')
    assert only(scan(tmp_path, language="ja")).language == "ja"


def test_subfolder_with_a_saved_run_file_is_still_music(write_song: WriteSong, tmp_path: Path) -> None:
    write_song("sub/a.wav")
    (tmp_path / "sub/run.toml").write_text("")
    assert only(scan(tmp_path)).name == "sub/a"


def test_unusable_value_is_named_and_the_next_source_used(write_song: WriteSong, tmp_path: Path) -> None:
    write_song("a.wav")
    (tmp_path / "a.json").write_text('{"bpm": "fast", "keyscale": "H dur", "caption": "x", "lyrics": {"no": 1}}')
    (tmp_path / "t.csv").write_text("file,bpm\na.wav,120\n")
    manifest = scan(tmp_path)
    assert only(manifest).bpm == 120
    assert "a.json: bpm 'fast' is not a number; it was not used." in manifest.warnings
    assert any("keyscale 'H dur'" in sentence for sentence in manifest.warnings)
    assert any("lyrics 'an object'" in sentence for sentence in manifest.warnings)


# The role of name.txt


def test_plain_text_role_is_found_by_content_for_each_file(write_song: WriteSong, tmp_path: Path) -> None:
    write_song("a.wav")
    write_song("b.wav")
    (tmp_path / "a.txt").write_text("psytrance track, 142 bpm, G# minor")
    (tmp_path / "b.txt").write_text("[Verse]\nla la")
    manifest = scan(tmp_path)
    assert manifest.songs[0].caption == "psytrance track, 142 bpm, G# minor"
    assert manifest.songs[1].lyrics == "[Verse]\nla la"
    assert manifest.txt_role == "mixed"


@pytest.mark.parametrize(("clear", "role"), [("[Verse]\nla", "lyrics"), ("slow, sad, piano", "caption")])
def test_unclear_text_goes_with_the_rest_of_the_folder(
    write_song: WriteSong, tmp_path: Path, clear: str, role: str
) -> None:
    for name in ("a", "b", "c"):
        write_song(f"{name}.wav", seconds=0.1)
        (tmp_path / f"{name}.txt").write_text(clear)
    (tmp_path / "c.txt").write_text("walking home\nin the rain")
    manifest = scan(tmp_path)
    assert manifest.txt_role == role
    held = manifest.song("c").lyrics if role == "lyrics" else manifest.song("c").caption
    assert held.split() == "walking home in the rain".split()


def test_unclear_text_takes_the_place_that_is_open(write_song: WriteSong, tmp_path: Path) -> None:
    write_song("a.wav")
    (tmp_path / "a.txt").write_text("walking home\nin the rain")
    (tmp_path / "a.json").write_text('{"caption": "slow"}')
    song = only(scan(tmp_path))
    assert (song.caption, song.lyrics) == ("slow", "walking home\nin the rain")


def test_setting_decides_the_role_for_the_folder(write_song: WriteSong, tmp_path: Path) -> None:
    write_song("a.wav")
    (tmp_path / "a.txt").write_text("slow, sad, piano")
    as_lyrics = scan(tmp_path, txt_role="lyrics")
    assert (only(as_lyrics).lyrics, as_lyrics.txt_role) == ("slow, sad, piano", "lyrics")
    assert only(scan(tmp_path, txt_role="caption")).caption == "slow, sad, piano"


# Vocals


def test_instrumental_statement_beats_lyrics_and_says_so(write_song: WriteSong, tmp_path: Path) -> None:
    write_song("a.wav")
    (tmp_path / "a.json").write_text('{"is_instrumental": true, "lyrics": "la la", "language": "en"}')
    manifest = scan(tmp_path)
    song = only(manifest)
    assert (song.instrumental, song.lyrics, song.language) == (True, "[Instrumental]", "unknown")
    assert any("says instrumental" in sentence for sentence in manifest.warnings)


def test_vocals_without_lyrics_are_warned_about(write_song: WriteSong, tmp_path: Path) -> None:
    write_song("a.wav")
    (tmp_path / "a.json").write_text('{"is_instrumental": false, "language": "en"}')
    manifest = scan(tmp_path)
    assert (only(manifest).instrumental, only(manifest).lyrics, only(manifest).language) == (False, "", "en")
    assert any("no lyrics were found" in sentence for sentence in manifest.warnings)


def test_structure_without_words_is_kept_and_instrumental(write_song: WriteSong, tmp_path: Path) -> None:
    write_song("a.wav")
    (tmp_path / "a.lyrics.txt").write_text("[Intro]\n\n[Drop]")
    song = only(scan(tmp_path))
    assert (song.instrumental, song.lyrics, song.language) == (True, "[Intro]\n\n[Drop]", "unknown")


# Names


def test_songs_of_one_name_in_two_folders_never_mix(write_song: WriteSong, tmp_path: Path) -> None:
    write_song("a.wav")
    write_song("sub/a.wav")
    (tmp_path / "a.json").write_text('{"caption": "outer"}')
    (tmp_path / "t.csv").write_text("file,bpm\na.wav,100\n")
    outer, inner = scan(tmp_path).songs
    assert (outer.name, outer.caption, outer.bpm) == ("a", "outer", 100)
    assert (inner.name, inner.caption, inner.bpm) == ("sub/a", "a", None)


def test_table_row_of_a_missing_song_is_not_given_to_a_namesake_below(write_song: WriteSong, tmp_path: Path) -> None:
    write_song("sub/a.wav")
    (tmp_path / "t.csv").write_text("file,bpm\na.wav,100\n")
    manifest = scan(tmp_path)
    assert only(manifest).bpm is None
    assert manifest.warnings == ("t.csv: 1 row matches no song beside it (a.wav).",)


def test_suffix_is_kept_where_names_would_clash(write_song: WriteSong, tmp_path: Path) -> None:
    for name in ("a.wav", "a.flac", "b.wav", "a.wav.mp3"):
        write_song(name, seconds=0.2)
    assert [song.name for song in scan(tmp_path).songs] == ["a.flac", "a.wav", "a.wav.mp3", "b"]


def test_sidecar_of_a_song_is_not_lent_to_a_shorter_name(write_song: WriteSong, tmp_path: Path) -> None:
    write_song("a.wav")
    write_song("a_prompt.wav")
    (tmp_path / "a_prompt.txt").write_text("a caption of its own")
    by_name = {song.name: song.caption for song in scan(tmp_path).songs}
    assert by_name == {"a": "a", "a_prompt": "a caption of its own"}


def test_case_and_composed_accents_do_not_separate_a_song_from_its_sidecar(
    write_song: WriteSong, tmp_path: Path
) -> None:
    write_song("Cafe\u0301.wav")
    (tmp_path / "caf\u00e9.JSON").write_text('{"bpm": 90}')
    (tmp_path / "t.csv").write_text("file,genre\nCAF\u00c9.wav,jazz\n")
    song = only(scan(tmp_path))
    assert (song.bpm, song.genre) == (90, "jazz")


def test_upper_case_suffixes_are_songs(write_song: WriteSong, tmp_path: Path) -> None:
    write_song("a.wav").rename(tmp_path / "A.WAV")
    assert only(scan(tmp_path)).name == "A"


# Trouble


def reasons(manifest: Manifest) -> dict[str, str]:
    return {item.path.as_posix(): item.reason for item in manifest.skipped}


def test_unusable_songs_are_named_and_the_rest_is_kept(write_song: WriteSong, tmp_path: Path) -> None:
    write_song("good.wav")
    (tmp_path / "empty.mp3").touch()
    (tmp_path / "noise.flac").write_bytes(b"not audio" * 100)
    (tmp_path / "folder.mp3").mkdir()
    (tmp_path / "later.m4a").write_bytes(b"x")
    os.mkfifo(tmp_path / "pipe.ogg")
    cut = write_song("cut.wav", seconds=2)
    cut.write_bytes(cut.read_bytes()[:5000])
    manifest = scan(tmp_path)
    assert only(manifest).name == "good"
    found = reasons(manifest)
    assert set(found) == {"cut.wav", "empty.mp3", "folder.mp3", "later.m4a", "noise.flac", "pipe.ogg"}
    for name, words in [("empty.mp3", "0 bytes"), ("noise.flac", "not readable"), ("folder.mp3", "folder")]:
        assert words in found[name]
    assert "convert" in found["later.m4a"] and "cut short" in found["cut.wav"]
    assert {item.path.name: item.code for item in manifest.skipped} == {
        "cut.wav": "truncated",
        "empty.mp3": "empty",
        "folder.mp3": "folder",
        "later.m4a": "other_format",
        "noise.flac": "unreadable",
        "pipe.ogg": "not_a_file",
    }
    assert {item.path.name for item in manifest.skipped if item.is_deliberate} == {"folder.mp3", "later.m4a"}


def test_links_never_lead_out_of_the_folder_or_in_circles(write_song: WriteSong, tmp_path: Path) -> None:
    outside = write_song("outside/secret.wav")
    root = tmp_path / "songs"
    write_song("songs/a.wav")
    (root / "inside.wav").symlink_to(root / "a.wav")
    (root / "out.wav").symlink_to(outside)
    (root / "a.json").symlink_to(tmp_path / "outside.json")
    (tmp_path / "outside.json").write_text('{"caption": "secret"}')
    (root / "circle").symlink_to(root)
    (root / "self.wav").symlink_to(root / "self.wav")
    (root / "etc").symlink_to("/etc")
    manifest = scan(root)
    assert [song.name for song in manifest.songs] == ["a", "inside"]
    assert "secret" not in {song.caption for song in manifest.songs}
    assert {item.path.name: item.code for item in manifest.skipped} == {
        "out.wav": "link_outside",
        "self.wav": "link_broken",
    }
    assert any(sentence.startswith("a.json is a link that leads out") for sentence in manifest.warnings)


def test_scan_works_through_a_link_to_the_folder_itself(write_song: WriteSong, tmp_path: Path) -> None:
    write_song("songs/a.wav")
    (tmp_path / "songs/b.wav").symlink_to("a.wav")
    (tmp_path / "link").symlink_to(tmp_path / "songs")
    assert [song.name for song in scan(tmp_path / "link").songs] == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.json", b"[1, 2]", "JSON object"),
        ("a.json", b"{", "not valid JSON"),
        ("a.json", b"[" * 50_000, "not valid JSON"),
        ("a.txt", b"caf\xe9, slow", "not valid UTF-8"),
        ("a.lyrics.txt", b"\xff\xfe\x00", "not valid UTF-16"),
        ("a.caption.txt", b"a\x00b", "NUL"),
        ("a.lyrics.txt", b"x" * (files.LARGEST_TEXT + 1), "too large"),
        ("t.csv", b"name,price\n", "no column that names files"),
        ("t.csv", b"\x00\x01", "NUL"),
        ("t.csv", b"", "is empty"),
    ],
)
def test_unreadable_sidecar_is_named_and_the_song_kept(
    write_song: WriteSong, tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    write_song("a.wav")
    (tmp_path / name).write_bytes(content)
    manifest = scan(tmp_path)
    assert only(manifest).caption == "a"
    assert len(manifest.warnings) == 1
    assert manifest.warnings[0].startswith(name) and words in manifest.warnings[0]


def test_sidecar_of_two_songs_is_complained_about_once(write_song: WriteSong, tmp_path: Path) -> None:
    write_song("a.wav")
    write_song("a.mp3")
    (tmp_path / "a.json").write_text("[]")
    assert len(scan(tmp_path).warnings) == 1


def test_file_that_may_not_be_read_is_named(
    write_song: WriteSong, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_song("a.wav")
    write_song("b.wav")
    (tmp_path / "a.txt").write_text("slow, sad")
    real_open = Path.open

    def refuse(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.name in ("a.txt", "b.wav"):
            raise PermissionError(13, "Permission denied", str(path))
        return real_open(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    manifest = scan(tmp_path)
    assert only(manifest).name == "a"
    assert reasons(manifest)["b.wav"] == "cannot be read. Permission denied."
    assert manifest.warnings == ("a.txt cannot be read (Permission denied); it was not used.",)


def test_folder_that_may_not_be_opened_is_named(
    write_song: WriteSong, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_song("a.wav")
    write_song("locked/b.wav")
    real_scandir = os.scandir

    def refuse(path: Path) -> Any:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return real_scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    manifest = scan(tmp_path)
    assert only(manifest).name == "a"
    assert manifest.warnings == ("locked: the folder cannot be opened (Permission denied).",)


def test_name_that_is_no_text_is_left_out(write_song: WriteSong, tmp_path: Path) -> None:
    write_song("a.wav")
    try:
        shutil.copy(tmp_path / "a.wav", os.fsencode(tmp_path) + b"/b\xff.wav")
    except OSError:
        pytest.skip("this file system has only valid names")
    manifest = scan(tmp_path)
    assert only(manifest).name == "a"
    assert "UTF-8" in reasons(manifest)["b?.wav"]


def test_hidden_files_and_runs_of_ours_are_not_songs(write_song: WriteSong, tmp_path: Path) -> None:
    write_song("a.wav")
    for name in (".hidden.wav", "._a.wav", ".cache/b.wav", "runs/drums/samples/c.wav", "__MACOSX/d.wav"):
        write_song(name, seconds=0.1)
    for name in ("run.toml", "events.jsonl"):
        (tmp_path / "runs/drums" / name).write_text("")
    manifest = scan(tmp_path)
    assert [song.name for song in manifest.songs] == ["a"]
    assert manifest.skipped == () and manifest.warnings == ()


def test_hidden_parent_of_the_folder_does_not_matter(write_song: WriteSong, tmp_path: Path) -> None:
    write_song(".music/a.wav")
    assert only(scan(tmp_path / ".music")).name == "a"


def test_whole_disk_is_refused(write_song: WriteSong, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b", "c"):
        write_song(f"{name}.wav", seconds=0.1)
    monkeypatch.setattr(files, "MOST_ENTRIES", 2)
    with pytest.raises(DataError, match="more than 2 files"):
        scan(tmp_path)


@pytest.mark.parametrize("missing", ["nowhere", "a\x00b", "~nobody-of-this-name/x"])
def test_missing_folder_is_refused_with_a_hint(tmp_path: Path, missing: str) -> None:
    where = missing if missing.startswith("~") else tmp_path / missing
    with pytest.raises(DataError) as caught:
        scan(where)
    assert caught.value.hint


def test_file_instead_of_a_folder_is_refused(write_song: WriteSong) -> None:
    with pytest.raises(DataError, match="is a file, not a folder"):
        scan(write_song("a.wav"))


def test_folder_without_audio_is_refused_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(DataError, match="No songs in") as caught:
        scan(tmp_path)
    assert "wav, flac, ogg, mp3 and opus" in caught.value.hint


def test_folder_of_other_formats_says_which(tmp_path: Path) -> None:
    (tmp_path / "a.m4a").write_bytes(b"x")
    with pytest.raises(DataError, match=r"a\.m4a is a \.m4a file, which is not read"):
        scan(tmp_path)


def test_nothing_left_is_refused_with_the_reasons(tmp_path: Path) -> None:
    (tmp_path / "a.mp3").touch()
    with pytest.raises(DataError, match=r"None of the 1 song .*a\.mp3 is empty") as caught:
        scan(tmp_path)
    assert caught.value.hint


# Progress, identity, transport


def test_progress_counts_up_to_the_number_of_songs(write_song: WriteSong, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write_song(f"{name}.wav", seconds=0.1)
    seen: list[tuple[int, int]] = []
    scan(tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_what_is_known_is_counted_by_songs_of_their_own_sources(write_song: WriteSong, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write_song(f"{name}.wav", seconds=0.1)
    (tmp_path / "a.json").write_text('{"caption": "slow", "bpm": 90, "lyrics": "la la"}')
    (tmp_path / "b.json").write_text('{"bpm": 91, "lyrics": "[Instrumental]"}')
    manifest = scan(tmp_path, language="en")
    assert manifest.known() == {
        "caption": 1,
        "lyrics": 1,
        "bpm": 2,
        "keyscale": 0,
        "timesignature": 0,
        "genre": 0,
        "tag": 0,
    }
    assert manifest.seconds == pytest.approx(0.3)


def test_fingerprint_follows_what_training_sees_and_not_where_it_lies(write_song: WriteSong, tmp_path: Path) -> None:
    write_song("here/a.wav")
    (tmp_path / "here/a.json").write_text('{"caption": "slow"}')
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    before = fingerprint(scan(tmp_path / "here"))
    assert fingerprint(scan(tmp_path / "there")) == before
    (tmp_path / "there/a.json").write_text('{"caption": "fast"}')
    assert fingerprint(scan(tmp_path / "there")) != before
    write_song("here/a.wav", seconds=0.7)
    assert fingerprint(scan(tmp_path / "here")) != before


def test_manifest_survives_json(write_song: WriteSong, tmp_path: Path) -> None:
    write_song("a.wav")
    (tmp_path / "b.wav").touch()
    (tmp_path / "a.json").write_text("[]")
    manifest = scan(tmp_path)
    assert Manifest.from_dict(json.loads(json.dumps(manifest.to_dict()))) == manifest


def test_audio_paths_are_absolute(write_song: WriteSong, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_song("songs/a.wav")
    monkeypatch.chdir(tmp_path)
    assert only(scan("songs")).audio == tmp_path / "songs/a.wav"
