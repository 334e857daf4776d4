"""Each finding about words: a folder that has it, and one that nearly does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sidestep_tui.dataset import doctor

from .conftest import WriteSong


def found(folder: Path, **options: str) -> dict[str, list[str]]:
    """Songs by code."""
    result: dict[str, list[str]] = {}
    for item in doctor.examine(folder, quick=True, **options).text:
        result.setdefault(item.code, []).append(item.song)
    return result


def describe(folder: Path, song: str = "a", **fields: object) -> None:
    (folder / f"{song}.json").write_text(json.dumps(fields), encoding="utf-8")


GOOD = {"caption": "rock, loud", "bpm": 120, "keyscale": "E minor", "lyrics": "la la", "language": "en"}
CASES: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    "missing_caption": ({"caption": ""}, {}),
    "missing_lyrics": ({"lyrics": ""}, {"lyrics": "[Instrumental]"}),
    "vocals_without_lyrics": ({"lyrics": "", "is_instrumental": False}, {"lyrics": "", "is_instrumental": True}),
    "missing_bpm": ({"bpm": None}, {}),
    "missing_key": ({"keyscale": "N/A"}, {}),
    "missing_language": ({"language": ""}, {"language": "", "lyrics": "[Instrumental]"}),
    "bad_bpm": ({"bpm": 301}, {"bpm": 300}),
    "bad_key": ({"keyscale": "H minor"}, {"keyscale": "B minor"}),
    "bad_time_signature": ({"timesignature": "5"}, {"timesignature": "6"}),
    "bad_language": ({"language": "klingon"}, {"language": "ja"}),
    "bad_value": ({"is_instrumental": "perhaps"}, {"is_instrumental": "no"}),
    "bpm_spelling": ({"bpm": "120 BPM"}, {"bpm": "120"}),
    "key_spelling": ({"keyscale": "Em"}, {"keyscale": "E"}),
    "time_signature_spelling": ({"timesignature": "4/4"}, {"timesignature": 4}),
    "long_caption": ({"caption": "word " * 191}, {"caption": "word " * 189}),
    "long_lyrics": ({"lyrics": "word " * 2100}, {"lyrics": "word " * 2000}),
    "lrc_stamps": ({"lyrics": "[00:01.00] la"}, {"lyrics": "[Verse 1]\nla"}),
    "mojibake": ({"caption": "musique franÃ§aise"}, {"caption": "musique française, IRMÃ”, CAFÉ», Spaß…"}),
}


@pytest.mark.parametrize("code", CASES)
def test_each_fault_of_a_description_is_found_and_a_near_miss_is_not(
    tmp_path: Path, write_song: WriteSong, code: str
) -> None:
    write_song("a.wav")
    bad, fine = CASES[code]
    describe(tmp_path, **{**GOOD, **bad})
    assert found(tmp_path).get(code) == ["a"]
    describe(tmp_path, **{**GOOD, **fine})
    assert code not in found(tmp_path)


def captions(folder: Path, write_song: WriteSong, *texts: str) -> None:
    for name, text in zip("abcdefgh", texts, strict=False):
        write_song(f"{name}.wav")
        (folder / f"{name}.caption.txt").write_text(text, encoding="utf-8")


def test_identical_captions_are_reported_once(tmp_path: Path, write_song: WriteSong) -> None:
    captions(tmp_path, write_song, "rock, loud", "Rock,  loud", "rock, quiet")
    assert found(tmp_path)["same_caption"] == ["a"]


def test_captions_made_from_file_names_are_not_identical_captions(write_song: WriteSong, tmp_path: Path) -> None:
    write_song("x/a.wav")
    write_song("y/a.wav")
    assert "same_caption" not in found(tmp_path)


def test_a_given_tag_is_missed_misspelt_or_misplaced(tmp_path: Path, write_song: WriteSong) -> None:
    captions(tmp_path, write_song, "sks, rock", "jazz", "SKS, pop", "folk, sks", "sksy, ska")
    kinds = found(tmp_path, tag="sks")
    assert kinds["tag_missing"] == ["b", "e"]
    assert kinds["tag_inconsistent"] == ["c"]
    assert kinds["tag_position"] == ["d"]


def test_a_tag_that_most_captions_begin_with_is_noticed(tmp_path: Path, write_song: WriteSong) -> None:
    captions(tmp_path, write_song, "ZX_Me, rock", "ZX_Me jazz", "ZX_Me, pop", "folk")
    assert found(tmp_path)["tag_missing"] == ["d"]


def test_a_common_beginning_is_advice_and_a_common_word_is_nothing(tmp_path: Path, write_song: WriteSong) -> None:
    captions(tmp_path, write_song, "psytrance track, a", "psytrance track, b", "psytrance track, c", "dub, d")
    kinds = found(tmp_path)
    assert kinds["anchor_missing"] == ["d"]
    assert "tag_missing" not in kinds
    captions(tmp_path, write_song, "a rock song", "a jazz song", "a pop song", "the folk song")
    assert "anchor_missing" not in found(tmp_path)


def test_style_is_advised_only_where_most_follow_it(tmp_path: Path, write_song: WriteSong) -> None:
    full = "trance track, 142 bpm, G# minor, {}, studio master quality"
    captions(tmp_path, write_song, full.format("a"), full.format("b"), full.format("c"), "trance track, drums")
    assert found(tmp_path)["caption_style"] == ["d"]
    captions(tmp_path, write_song, full.format("a"), "trance track, b", "trance track, c", "trance track, drums")
    assert "caption_style" not in found(tmp_path)


def test_trouble_with_sidecars_is_passed_on_and_values_are_not_said_twice(
    tmp_path: Path, write_song: WriteSong
) -> None:
    captions(tmp_path, write_song, "rock")
    describe(tmp_path, bpm="fast")
    (tmp_path / "list.csv").write_text("a;b\n1;2\n")
    report = doctor.examine(tmp_path, quick=True)
    assert [item.code for item in report.text].count("bad_bpm") == 1
    (trouble,) = [item for item in report.text if item.code == "sidecar"]
    assert "list.csv" in trouble.sentence


def test_few_songs_are_advice_and_never_more(tmp_path: Path, write_song: WriteSong) -> None:
    captions(tmp_path, write_song, "rock")
    report = doctor.examine(tmp_path, quick=True)
    assert {item.severity for item in report.text if item.code in ("few_songs", "little_audio")} == {"advice"}


def test_hostile_sidecars_do_not_stop_the_doctor(tmp_path: Path, write_song: WriteSong) -> None:
    write_song("a.wav")
    (tmp_path / "a.json").write_text("[" * 100_000)
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "a.lyrics.txt").write_bytes(b"\x80\x81")
    (tmp_path / "t.csv").write_text('filename,caption\n"a.wav,"x\n')
    (tmp_path / "a.caption.txt").symlink_to("/etc/passwd")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert "missing_caption" in found(tmp_path, tag="sks")
