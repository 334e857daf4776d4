"""Each finding about words: a folder that has it, and one that nearly does."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from sidestep_tui.dataset.health import doctor

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


def test_guides_are_quoted_with_their_numbers(tmp_path: Path, write_song: WriteSong) -> None:
    captions(tmp_path, write_song, "rock")
    report = doctor.examine(tmp_path, quick=True)
    songs = next(item.sentence for item in report.text if item.code == "few_songs")
    audio = next(item.sentence for item in report.text if item.code == "little_audio")
    for words in ("1 song.", "5 to 10", "13", "50", "200", "never fewer than 20"):
        assert words in songs
    for words in ("about 3 hours", "1 hour", "better 5"):
        assert words in audio


def test_the_plan_of_captions_is_mentioned_once_where_few_follow_it(tmp_path: Path, write_song: WriteSong) -> None:
    captions(tmp_path, write_song, "rock, guitar, drums, loud", "jazz", "rock, 120 bpm, E minor, bass, studio quality")
    (item,) = [item for item in doctor.examine(tmp_path, quick=True).text if item.code == "caption_plan"]
    assert item.song == ""
    assert "2 begin alike, 1 name BPM and key, 1 list elements, 1 end in words on quality" in item.sentence
    full = "trance, 142 bpm, G# minor, {}, {}, studio master quality"
    captions(tmp_path, write_song, full.format("a", "b"), full.format("c", "d"), full.format("e", "f"))
    assert "caption_plan" not in found(tmp_path)


def test_captions_without_elements_are_named_where_most_list_some(tmp_path: Path, write_song: WriteSong) -> None:
    full = "trance, 142 bpm, G# minor, {}, studio master quality"
    texts = ["bass, lead", "drums, hats", "acid, pads"]
    captions(tmp_path, write_song, *map(full.format, texts), "trance, 142 bpm, G# minor, studio master quality")
    (item,) = [item for item in doctor.examine(tmp_path, quick=True).text if item.code == "caption_style"]
    assert (item.song, item.sentence) == ("d", "has a caption without elements of the song.")


def test_a_tag_that_training_adds_is_not_missed(tmp_path: Path, write_song: WriteSong) -> None:
    captions(tmp_path, write_song, "jazz", "SKS, pop")
    assert found(tmp_path, tag="sks")["tag_missing"] == ["a"]
    codes = {item.code for item in doctor.examine(tmp_path, tag="sks", tag_is_added=True, quick=True).text}
    assert "tag_missing" not in codes
    assert "tag_inconsistent" in codes


# Counted with a tokenizer


@pytest.fixture(scope="module")
def words_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer to which every word and every sign is one token."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    folder = tmp_path_factory.mktemp("words")
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def test_with_a_tokenizer_tokens_are_counted_and_the_loss_is_told(
    tmp_path: Path, write_song: WriteSong, words_tokenizer: Path
) -> None:
    from sidestep_tui.dataset import captions as templates
    from sidestep_tui.dataset.manifest import scan
    from sidestep_tui.dataset.prompts import Tokens

    def report(words: int, lyric_words: int) -> dict[str, str]:
        describe(tmp_path, **{**GOOD, "caption": "w " * words, "lyrics": "la " * lyric_words})
        result = doctor.examine(tmp_path, quick=True, tokenizer=words_tokenizer)
        assert result.to_dict()["tokens"] == "counted"
        return {item.code: item.sentence for item in result.text if item.code in ("long_caption", "long_lyrics")}

    write_song("a.wav")
    describe(tmp_path, **{**GOOD, "caption": "w"})
    (song,) = scan(tmp_path).songs
    tokens = Tokens(words_tokenizer)
    room = 256 - tokens.count(templates.prompt(song, tag="", tag_position="prepend", seconds=0.5)) + 1
    lyric_room = 2048 - tokens.count(templates.lyrics_text(song)) + 2
    assert report(room, lyric_room) == {}
    counted = report(room + 3, lyric_room + 7)
    assert "259 tokens; 256 fit, so the last 6 characters" in counted["long_caption"]
    assert "2,055 tokens; the last 7 are not read" in counted["long_lyrics"]


def test_without_a_tokenizer_estimates_are_called_so(tmp_path: Path, write_song: WriteSong) -> None:
    write_song("a.wav")
    describe(tmp_path, **{**GOOD, "caption": "word " * 400})
    report = doctor.examine(tmp_path, quick=True)
    assert "(estimated)" in next(item.sentence for item in report.text if item.code == "long_caption")
    assert report.to_dict()["tokens"] == "estimated"


# The report as a whole


@pytest.mark.parametrize("left_out", [(), ("broken.wav",)])
def test_a_folder_without_a_usable_song_has_a_report(tmp_path: Path, left_out: tuple[str, ...]) -> None:
    for name in left_out:
        (tmp_path / name).write_bytes(b"")
    report = doctor.examine(tmp_path)
    assert report.worst == "error"
    assert "no_songs" in {item.code for item in report.text}
    assert [item.song for item in report.audio] == list(left_out)
    assert not {"few_songs", "little_audio"} & {item.code for item in report.findings}


def test_a_report_survives_the_way_through_json(tmp_path: Path, write_song: WriteSong) -> None:
    captions(tmp_path, write_song, "rock", "musique franÃ§aise")
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "folder.wav").mkdir()
    report = doctor.examine(tmp_path, tag="sks", tag_position="append", language="de")
    again = doctor.Report.from_dict(json.loads(json.dumps(report.to_dict())))
    assert again.findings == report.findings
    assert again.to_dict() == report.to_dict()
    assert (again.options, again.root, again.fixes()) == (report.options, report.root, report.fixes())


def test_preview_is_what_a_fix_writes_and_nothing_else_is_agreed_to(tmp_path: Path, write_song: WriteSong) -> None:
    write_song("a.wav")
    write_song("b.wav")
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text("caption: rock\nkey: Em\n")
    (tmp_path / "a.txt.bak").write_text("older")
    report = doctor.examine(tmp_path, quick=True)
    shown = doctor.preview(doctor.planned(report))
    assert [(file["path"], file["backup"]) for file in shown] == [("a.txt", "a.txt.bak2"), ("b.txt", "b.txt.bak")]
    assert [(item["before"], item["after"]) for item in shown[0]["changes"]] == [("Em", "E minor")]
    (tmp_path / "b.txt").write_text("caption: rock\nkey: Am\n")
    left, written = doctor.fix(report, agreed={file["path"]: file["digest"] for file in shown})
    assert [(item.backup, item.problem) for item in written] == [("a.txt.bak2", ""), ("", "has changed meanwhile")]
    assert (tmp_path / "b.txt").read_text() == "caption: rock\nkey: Am\n"
    assert [fix.origin for fix in left.fixes()] == ["b.txt"]


def test_what_lies_in_a_zip_is_reported_and_cannot_be_fixed(
    tmp_path: Path, write_song: WriteSong, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    song = write_song("in/a.wav")
    with zipfile.ZipFile(tmp_path / "songs.zip", "w") as archive:
        archive.write(song, "a.wav")
        archive.writestr("a.txt", "caption: rock\nkey: Em\n")
    report = doctor.examine(tmp_path / "songs.zip")
    (finding,) = [item for item in report.text if item.code == "key_spelling"]
    assert "ZIP" in finding.not_fixable
    assert report.fixes() == []


def test_hostile_sidecars_do_not_stop_the_doctor(tmp_path: Path, write_song: WriteSong) -> None:
    write_song("a.wav")
    (tmp_path / "a.json").write_text("[" * 100_000)
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "a.lyrics.txt").write_bytes(b"\x80\x81")
    (tmp_path / "t.csv").write_text('filename,caption\n"a.wav,"x\n')
    (tmp_path / "a.caption.txt").symlink_to("/etc/passwd")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert "missing_caption" in found(tmp_path, tag="sks")
