"""`dataset measure` shows what it hears, and writes only what was accepted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from sidestep_tui.dataset import apart
from sidestep_tui.dataset.measuring.measure import Measured

from .conftest import Outcome, write_wav

Cli = Callable[..., Outcome]

HEARD = {
    "drums": Measured("drums", 128, 127.9, 0.95, 64, "A minor", 0.9, "C major"),
    "waves": Measured("waves", 81, 80.6, 0.4, 161, "C major", 0.85, "A minor"),
    "wind": Measured("wind", note="No steady beat was found. No clear key was found."),
}


@pytest.fixture(autouse=True)
def ears(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What was asked for; the answers are `HEARD`, without listening."""
    asked: list[list[str]] = []

    def call(task: str, given: dict[str, Any], report: Any, *, quiet_seconds: float) -> Any:
        assert task == "measure"
        asked.append(given["names"])
        report("songs", 0, len(given["names"]))
        return [asdict(HEARD[name]) for name in given["names"]]

    monkeypatch.setattr(apart, "call", call)
    return asked


@pytest.fixture
def folder(home: Path) -> Path:
    """`drums` says half the tempo and the relative key, `waves` nothing, `wind` everything."""
    path = home / "music"
    path.mkdir()
    for name in HEARD:
        write_wav(path / f"{name}.wav", 1.0)
    (path / "drums.json").write_text(json.dumps({"caption": "drums", "bpm": 64, "keyscale": "C major"}))
    (path / "waves.json").write_text(json.dumps({"caption": "waves"}))
    (path / "wind.json").write_text(json.dumps({"caption": "wind", "bpm": 100, "keyscale": "F major"}))
    return path


def files(folder: Path) -> dict[str, bytes]:
    return {item.name: item.read_bytes() for item in folder.iterdir()}


def test_what_is_heard_stands_beside_what_is_said_and_nothing_is_written(run_cli: Cli, folder: Path) -> None:
    before = files(folder)
    outcome = run_cli("dataset", "measure", folder)
    assert outcome.code == 0
    header, drums, waves, wind = outcome.out.splitlines()
    assert header.split() == "SONG BPM HEARD SURE OR AGREE KEY HEARD SURE OR AGREE".split()
    assert drums.split() == "drums 64 127.9 0.95 64 half C major A minor 0.90 C major relative".split()
    assert waves.split() == "waves – 80.6 0.40 161 – – C major 0.85 A minor –".split()
    assert wind.split() == "wind 100 – – – – F major – – – –".split()
    assert "wind: No steady beat" in outcome.err
    assert files(folder) == before


def test_accepting_fills_in_what_is_missing_and_certain(run_cli: Cli, folder: Path) -> None:
    before = files(folder)
    outcome = run_cli("dataset", "measure", folder, "--accept", "bpm,key")
    assert outcome.code == 0
    after = files(folder)
    assert json.loads(after["waves.json"])["keyscale"] == "C major"
    assert "bpm" not in json.loads(after["waves.json"])
    assert after["drums.json"] == before["drums.json"]
    assert before["waves.json"] in [content for name, content in after.items() if name.endswith(".bak")]
    assert "Wrote waves.json (was kept as waves.json.bak)" in outcome.err
    assert "Nothing to write" in run_cli("dataset", "measure", folder, "--accept", "key").err


def test_min_confidence_decides_what_is_certain(run_cli: Cli, folder: Path) -> None:
    run_cli("dataset", "measure", folder, "--accept", "bpm", "--min-confidence", "0.3")
    waves = json.loads((folder / "waves.json").read_text())
    assert waves["bpm"] == 81
    assert "keyscale" not in waves


def test_overwrite_replaces_what_differs(run_cli: Cli, folder: Path) -> None:
    run_cli("dataset", "measure", folder, "--accept", "bpm,key", "--overwrite")
    drums = json.loads((folder / "drums.json").read_text())
    assert (drums["bpm"], drums["keyscale"]) == (128, "A minor")
    assert json.loads((folder / "wind.json").read_text())["bpm"] == 100


def test_a_dry_run_shows_and_writes_nothing(run_cli: Cli, folder: Path) -> None:
    before = files(folder)
    outcome = run_cli("dataset", "measure", folder, "--accept", "key", "--dry-run")
    assert "waves.json: keyscale – → C major" in outcome.err
    assert "1 file would be written" in outcome.err
    assert files(folder) == before


def test_missing_leaves_out_songs_that_have_both(run_cli: Cli, folder: Path, ears: list[list[str]]) -> None:
    run_cli("dataset", "measure", folder, "--missing")
    assert ears == [["waves"]]
    outcome = run_cli("dataset", "measure", folder, "wind", "--missing")
    assert "No song lacks" in outcome.err
    assert ears == [["waves"]]


def test_json_holds_both_sides_and_the_changes(run_cli: Cli, folder: Path) -> None:
    found = run_cli("dataset", "measure", folder, "drums", "waves", "--accept", "key", "--dry-run", "--json").json
    drums, waves = found["songs"]
    assert drums["said"] == {"bpm": 64, "key": "C major"}
    assert drums["agrees"] == {"bpm": "half", "key": "relative"}
    assert (waves["bpm"], waves["bpm_exact"], waves["key_confidence"]) == (81, 80.6, 0.85)
    assert found["changes"] == [{"song": "waves", "field": "keyscale", "before": "", "after": "C major"}]
    assert found["written"] == found["problems"] == []


@pytest.mark.parametrize("fields", ["tempo", "", "bpm;key"])
def test_unknown_fields_are_refused(run_cli: Cli, folder: Path, fields: str) -> None:
    assert run_cli("dataset", "measure", folder, "--accept", fields).code == 2


def test_a_zip_is_refused_before_anything_is_measured(
    run_cli: Cli, folder: Path, ears: list[list[str]], home: Path
) -> None:
    shutil.make_archive(str(home / "music"), "zip", folder)
    outcome = run_cli("dataset", "measure", home / "music.zip", "--accept", "bpm")
    assert outcome.code == 4
    assert "never changed" in outcome.err
    assert not ears
    assert run_cli("dataset", "measure", home / "music.zip").code == 0


def test_unknown_songs_are_refused(run_cli: Cli, folder: Path, ears: list[list[str]]) -> None:
    outcome = run_cli("dataset", "measure", folder, "drum")
    assert outcome.code == 4
    assert "drums" in outcome.err
    assert not ears


def test_what_cannot_be_saved_is_said(run_cli: Cli, folder: Path) -> None:
    (folder / "waves.json").write_text("{broken")
    outcome = run_cli("dataset", "measure", folder, "waves", "--accept", "key")
    assert (outcome.code == 4) == ("Wrote" not in outcome.err)
    assert (folder / "waves.json").read_text() == "{broken" or list(folder.glob("*.bak"))
