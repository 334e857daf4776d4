"""`dataset doctor`: exit codes, JSON, and a page that fits a terminal."""

from __future__ import annotations

import math
import struct
import wave
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Outcome, write_wav

Cli = Callable[..., Outcome]


def write_tone(path: Path, *, seconds: int = 31, rate: int = 4000) -> None:
    """A tone that differs between the channels."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(rate)
        for step in range(seconds * rate):
            left, right = (int(6000 * math.sin(step * pitch)) for pitch in (0.3, 0.4))
            file.writeframesraw(struct.pack("<hh", left, right))


@pytest.fixture
def folder(home: Path) -> Path:
    """One song without a warning."""
    path = home / "music"
    path.mkdir()
    write_tone(path / "a.wav")
    (path / "a.txt").write_text("caption: rock, loud\nbpm: 120\nkey: E minor\ninstrumental: yes\n")
    return path


def test_advice_alone_exits_with_0(run_cli: Cli, folder: Path) -> None:
    outcome = run_cli("dataset", "doctor", folder)
    assert outcome.code == 0, outcome.out
    assert "advice" in outcome.out


def test_warnings_exit_with_1_and_errors_with_4(run_cli: Cli, folder: Path) -> None:
    (folder / "a.txt").write_text("caption: rock\nbpm: 999\n")
    assert run_cli("dataset", "doctor", folder, "--quick").code == 1
    write_wav(folder / "silent.wav", 31)
    outcome = run_cli("dataset", "doctor", folder)
    assert outcome.code == 4
    assert "silent audio" in outcome.out
    assert run_cli("dataset", "doctor", folder, "--quick").code == 1


def test_help_states_the_exit_codes(run_cli: Cli) -> None:
    assert "1 for warnings, 4 for errors" in " ".join(run_cli("dataset", "doctor", "--help").out.split())


def test_json_holds_counts_and_findings(run_cli: Cli, folder: Path) -> None:
    (folder / "a.txt").write_text("caption: rock\nkey: Em\n")
    found = run_cli("dataset", "doctor", folder, "--quick", "--json").json
    assert found["counts"]["error"] == 0
    assert sum(found["counts"].values()) == len(found["findings"])
    (spelling,) = [item for item in found["findings"] if item["code"] == "key_spelling"]
    assert spelling["fixable"]
    assert {"severity", "song", "sentence", "why", "remedy"} <= spelling.keys()
    assert found["changes"] == [
        {"path": "a.txt", "code": "key_spelling", "field": "keyscale", "before": "Em", "after": "E minor"}
    ]
    assert found["written"] == []


def test_fix_lists_first_then_writes_and_is_done(run_cli: Cli, folder: Path) -> None:
    (folder / "a.txt").write_text("caption: rock\nkey: Em\n")
    assert "--fix would change 1 file" in run_cli("dataset", "doctor", folder, "--quick", "--tag", "sks").out
    assert (folder / "a.txt").read_text() == "caption: rock\nkey: Em\n"
    outcome = run_cli("dataset", "doctor", folder, "--quick", "--fix", "--tag", "sks")
    assert "a.txt.bak" in outcome.err
    assert (folder / "a.txt").read_text() == "caption: sks, rock\nkey: E minor\n"
    assert "Nothing to fix" in run_cli("dataset", "doctor", folder, "--quick", "--fix", "--tag", "sks").err


def test_fix_only_limits_the_fixes(run_cli: Cli, folder: Path) -> None:
    (folder / "a.txt").write_text("caption: rock\nkey: Em\nbpm: 90 bpm\n")
    run_cli("dataset", "doctor", folder, "--quick", "--fix-only", "bpm_spelling")
    assert (folder / "a.txt").read_text() == "caption: rock\nkey: Em\nbpm: 90\n"
    assert run_cli("dataset", "doctor", folder, "--fix-only", "nonsense").code == 2


def test_the_page_fits_80_columns_and_obeys_no_file_name(run_cli: Cli, folder: Path) -> None:
    for number in range(20):
        write_tone(folder / f"{'long name ' * 6}{number}.wav", seconds=1)
    write_tone(folder / "evil\x1b[2J.wav", seconds=1)
    outcome = run_cli("dataset", "doctor", folder)
    assert max(map(len, outcome.out.splitlines())) <= 80
    assert "\x1b" not in outcome.out
    assert "more (--json lists all)" in outcome.out


def test_a_folder_without_a_usable_song_has_findings(run_cli: Cli, home: Path) -> None:
    outcome = run_cli("dataset", "doctor", home)
    assert outcome.code == 4
    assert "no usable song" in outcome.out
    (home / "broken.mp3").write_bytes(b"")
    outcome = run_cli("dataset", "doctor", home, "--json")
    assert outcome.code == 4
    assert {"empty", "no_songs"} <= {item["code"] for item in outcome.json["findings"]}
    assert outcome.json["songs"] == 0


def test_a_folder_that_is_not_there_is_refused(run_cli: Cli, home: Path) -> None:
    outcome = run_cli("dataset", "doctor", home / "nowhere")
    assert outcome.code == 4
    assert "no folder" in outcome.err


def test_tokens_are_counted_with_a_model_and_estimated_without(run_cli: Cli, folder: Path, checkpoint: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(checkpoint.parent / "Qwen3-Embedding-0.6B" / "tokenizer.json"))
    (folder / "a.txt").write_text(f"caption: {'word ' * 300}\nbpm: 120\nkey: E minor\ninstrumental: yes\n")
    counted = run_cli("dataset", "doctor", folder, "--quick", "--model", checkpoint)
    assert "256 fit" in " ".join(counted.out.split())
    assert "estimated" not in counted.out
    assert "Tokens are estimated" in run_cli("dataset", "doctor", folder, "--quick").out


def test_a_model_without_a_tokenizer_is_refused(run_cli: Cli, folder: Path, home: Path) -> None:
    outcome = run_cli("dataset", "doctor", folder, "--quick", "--model", home / "nowhere")
    assert outcome.code == 4
    assert "model" in outcome.err
