"""Fixes change one value, keep a backup, and change nothing the second time."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidestep_tui.dataset import lyrics
from sidestep_tui.dataset.editing import fixes
from sidestep_tui.dataset.health import doctor

from .conftest import WriteSong

BROKEN = "franÃ§ais"


def repair(folder: Path, *only: str, tag: str = "") -> list[fixes.Written]:
    return doctor.fix(doctor.examine(folder, quick=True, tag=tag), only)[1]


def test_a_json_sidecar_keeps_everything_else(tmp_path: Path, write_song: WriteSong) -> None:
    write_song("a.wav")
    before = (
        '{ "bpm" : "120 BPM",\r\n\t"x": 1.50, "x": [1 ,2],\r\n "keyscale":"Em", '
        '"caption": "fran\\u00c3\\u00a7ais" }\r\n'
    )
    path = tmp_path / "a.json"
    path.write_bytes(before.encode())
    path.chmod(0o640)
    repair(tmp_path)
    after = before.replace("120 BPM", "120").replace("Em", "E minor").replace("\\u00c3\\u00a7", "\\u00e7")
    assert path.read_bytes().decode() == after
    assert path.stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "a.json.bak").read_bytes() == before.encode()
    assert repair(tmp_path) == []


def test_a_table_keeps_every_other_cell(tmp_path: Path, write_song: WriteSong) -> None:
    write_song("a.wav")
    write_song("b.wav")
    before = 'File;Note;BPM;Key;caption\r\na.wav;"x; ""y""";120 bpm;Em;rock\r\nb.wav; z ;90;A minor;"jazz; hot"\r\n'
    path = tmp_path / "list.csv"
    path.write_bytes(before.encode())
    repair(tmp_path, tag="sks")
    rows = list(csv.reader(io.StringIO(path.read_bytes().decode()), delimiter=";"))
    assert rows[1:] == [
        ["a.wav", 'x; "y"', "120", "E minor", "sks, rock"],
        ["b.wav", " z ", "90", "A minor", "sks, jazz; hot"],
    ]
    assert b'"x; ""y"""' in path.read_bytes()
    assert repair(tmp_path, tag="sks") == []


@pytest.mark.parametrize("form", ["[{}]", '{{"metadata": {{"custom_tag": ""}},\n "samples": [\n{} ]}}'])
def test_a_dataset_json_keeps_everything_else(tmp_path: Path, write_song: WriteSong, form: str) -> None:
    samples = (
        '{"id": "1", "audio_path": "/home/x/set/one/a.wav", "bpm" : "120 BPM", "caption": "rock"}, 7,\n'
        '  {"audio_path": "/home/x/set/two/a.wav", "keyscale":"Em", "caption":"jazz", "lyrics": "[00:01.00]la\\nlo"}'
    )
    for name in ("one/a.wav", "two/a.wav"):
        write_song(name)
    path = tmp_path / "dataset.json"
    path.write_text(form.format(samples))
    repair(tmp_path, tag="sks")
    after = samples.replace("120 BPM", "120").replace("Em", "E minor").replace("[00:01.00]", "")
    assert path.read_text() == form.format(after.replace("rock", "sks, rock").replace("jazz", "sks, jazz"))
    assert repair(tmp_path, tag="sks") == []


@pytest.mark.parametrize("closing", ["", "</LYRICS>", "\n</lyrics>\n<MOOD>calm"])
def test_tagged_text_keeps_its_tags(tmp_path: Path, write_song: WriteSong, closing: str) -> None:
    write_song("a.wav")
    before = f"<KEY>Em\n<CAPTION> slow \n<BPM>120 BPM</BPM>\n<LYRICS>\n[00:01.00]la{closing}"
    (tmp_path / "a.txt").write_text(before)
    repair(tmp_path, tag="sks")
    after = before.replace("Em", "E minor").replace("120 BPM", "120").replace("[00:01.00]", "")
    assert (tmp_path / "a.txt").read_text() == after.replace(" slow", " sks, slow")
    assert repair(tmp_path, tag="sks") == []


def test_a_key_value_sidecar_keeps_its_other_lines(tmp_path: Path, write_song: WriteSong) -> None:
    write_song("a.wav")
    path = tmp_path / "a.txt"
    path.write_text(f"caption: {BROKEN}\nduration: 3\nkey:  Em\nlyrics:\n[00:01.00] one\n[00:02.00] two\n")
    repair(tmp_path)
    assert path.read_text() == "caption: français\nduration: 3\nkey:  E minor\nlyrics:\none\ntwo\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_plain_texts_keep_their_encoding(tmp_path: Path, write_song: WriteSong, encoding: str) -> None:
    write_song("a.wav")
    path = tmp_path / "a.caption.txt"
    path.write_text(f" {BROKEN}, rock\n", encoding=encoding)
    repair(tmp_path, tag="sks")
    assert path.read_bytes() == " sks, français, rock\n".encode(encoding)


def test_only_what_is_asked_for_is_fixed(tmp_path: Path, write_song: WriteSong) -> None:
    write_song("a.wav")
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"caption": "rock", "bpm": "99 bpm", "key": "Em"}))
    repair(tmp_path, "key_spelling")
    assert json.loads(path.read_text()) == {"caption": "rock", "bpm": "99 bpm", "key": "E minor"}


def test_backups_are_numbered_and_never_overwritten(tmp_path: Path, write_song: WriteSong) -> None:
    write_song("a.wav")
    (tmp_path / "a.caption.txt.bak").write_text("precious")
    (tmp_path / "a.caption.txt").write_text(BROKEN)
    (written,) = repair(tmp_path)
    assert written.backup == "a.caption.txt.bak2"
    assert (tmp_path / "a.caption.txt.bak").read_text() == "precious"


def test_what_cannot_be_replaced_without_loss_is_said_and_left(tmp_path: Path, write_song: WriteSong) -> None:
    write_song("a.wav")
    path = tmp_path / "a.caption.txt"
    path.write_bytes(b"rock\r\nloud\n")
    report = doctor.examine(tmp_path, quick=True, tag="sks")
    (finding,) = [item for item in report.text if item.code == "tag_missing"]
    assert finding.not_fixable == "mixes line endings"
    assert doctor.fix(report)[1] == []
    assert path.read_bytes() == b"rock\r\nloud\n"


def test_write_protected_sidecars_stay(tmp_path: Path, write_song: WriteSong) -> None:
    write_song("a.wav")
    path = tmp_path / "a.caption.txt"
    path.write_text(BROKEN)
    path.chmod(0o444)
    assert repair(tmp_path) == []
    assert path.read_text() == BROKEN


def test_a_file_that_changed_since_is_not_overwritten(tmp_path: Path, write_song: WriteSong) -> None:
    write_song("a.wav")
    path = tmp_path / "a.caption.txt"
    path.write_text(BROKEN)
    (edit,) = doctor.planned(doctor.examine(tmp_path, quick=True)).edits
    path.write_text("mine")
    assert fixes.write(edit).problem == "has changed meanwhile"
    assert path.read_text() == "mine"


def test_examining_writes_nothing_and_fixing_touches_no_audio(tmp_path: Path, write_song: WriteSong) -> None:
    audio = write_song("a.wav")
    (tmp_path / "a.caption.txt").write_text(BROKEN)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    doctor.planned(doctor.examine(tmp_path, tag="sks"))
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    repair(tmp_path)
    assert audio.read_bytes() == before[audio]


def test_time_stamps_of_an_lrc_file_are_left_alone(tmp_path: Path, write_song: WriteSong) -> None:
    write_song("a.wav")
    (tmp_path / "a.lrc").write_text("[00:01.00] la la\n")
    assert repair(tmp_path) == []


WORDS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x24F, exclude_categories=["Cc", "Cs"]), max_size=60)


@given(WORDS)
def test_mojibake_repair_is_idempotent(text: str) -> None:
    once = fixes.repair_mojibake(text)
    assert fixes.repair_mojibake(once) == once


@given(st.text(max_size=60))
def test_only_text_that_garbles_back_is_repaired(text: str) -> None:
    repaired = fixes.repair_mojibake(text)
    if repaired != text:
        assert len(repaired) < len(text)
        assert not repaired.isascii()


@given(st.lists(st.sampled_from(["é", "ü", "ñ", "ç", "ö", "Привет", "日本語", "rock", " ", "’"]), max_size=12))
def test_text_garbled_once_or_twice_is_restored(parts: list[str]) -> None:
    text = "x".join(parts)
    garbled = text.encode().decode("latin-1")
    assert fixes.repair_mojibake(garbled) == text
    assert fixes.repair_mojibake(text) == text
    assert fixes.repair_mojibake(garbled.encode().decode("latin-1")) == text


@given(st.text("ab 日é\n[]<>:.0123456789", max_size=80))
def test_removing_stamps_leaves_none_and_keeps_what_the_model_reads(text: str) -> None:
    plain = fixes.remove_stamps(text)
    assert plain == text or not lyrics.has_timestamps(plain)
    assert fixes.remove_stamps(plain) == plain
    if not lyrics.has_timestamps(text):
        assert plain == text


@given(
    st.lists(
        st.text("abc 日é", min_size=1, max_size=12).filter(lambda line: bool(line.strip())), min_size=1, max_size=8
    )
)
def test_removing_stamps_keeps_every_line(lines: list[str]) -> None:
    timed = "\n".join(f"[00:{index:02d}.00]{line}" for index, line in enumerate(lines))
    assert fixes.remove_stamps(timed) == "\n".join(line.strip() for line in lines)


def test_stamps_nested_without_end_cost_no_pass_each() -> None:
    nested = "[00:" * 20_000 + "00]" * 20_000
    assert fixes.remove_stamps(nested) == ""
