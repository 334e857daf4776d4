"""`dataset slice`: what it says, what it refuses, and what scripts get."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from .conftest import Outcome

Cli = Callable[..., Outcome]
RATE = 8000
QUICK = ("--seconds", 2, "--overlap", 0.25, "--min-tail", 1)


@pytest.fixture
def album(home: Path) -> Path:
    """A captioned song of 9 s, a sung one of 5 s, one that is too short, and a file that is no sound."""
    folder = home / "album"
    folder.mkdir()
    random = np.random.default_rng(1)
    for name, seconds in (("long", 9), ("sung", 5), ("tiny", 1)):
        soundfile.write(folder / f"{name}.wav", random.uniform(-0.5, 0.5, (seconds * RATE, 2)), RATE)
        (folder / f"{name}.json").write_text(json.dumps({"caption": f"{name}, a test", "bpm": 120}), encoding="utf-8")
    (folder / "sung.lyrics.txt").write_text("La la\nla la la", encoding="utf-8")
    (folder / "broken.flac").write_bytes(b"nonsense")
    return folder


def test_slicing_lists_the_slices_and_says_what_was_left_out(run_cli: Cli, album: Path) -> None:
    outcome = run_cli("dataset", "slice", album, "out", *QUICK)
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert lines[0].split() == ["SLICE", "START", "SECONDS", "PEAK", "CUT"]
    assert [line.split()[0] for line in lines[1:]] == sorted(path.name for path in Path("out").glob("*.wav"))
    assert "broken.flac" in outcome.err
    assert "tiny: is shorter than a slice (1.0 s)" in outcome.err
    assert "The lyrics of sung were left out" in outcome.err
    assert f"{len(lines) - 1} slices of 2 songs in" in outcome.err


def test_json_gives_every_slice_with_its_cut(run_cli: Cli, album: Path) -> None:
    outcome = run_cli("dataset", "slice", album, "out", *QUICK, "--json")
    assert outcome.code == 0
    for row in outcome.json["slices"]:
        samples, rate = soundfile.read(Path("out") / row["file"])
        assert len(samples) == row["samples"] == row["seconds"] * rate
        assert row["peak"] == pytest.approx(np.abs(samples).max())
        assert row["cut"]["level"] == pytest.approx(np.abs(samples[0]).max())
        assert abs(row["cut"]["moved_ms"]) <= 50
    assert {item["path"] for item in outcome.json["skipped"]} == {"broken.flac", "tiny"}
    scanned = run_cli("dataset", "scan", "out", "--json").json
    assert {song["caption"] for song in scanned["songs"]} == {"long, a test", "sung, a test"}


def test_a_dry_run_says_the_same_and_writes_nothing(run_cli: Cli, album: Path) -> None:
    dry = run_cli("dataset", "slice", album, "out", *QUICK, "--dry-run", "--json").json
    assert not Path("out").exists()
    wet = run_cli("dataset", "slice", album, "out", *QUICK, "--json").json
    assert [(row["file"], row["start_sample"]) for row in dry["slices"]] == [
        (row["file"], row["start_sample"]) for row in wet["slices"]
    ]


def test_slicing_twice_is_refused_and_resuming_is_not(run_cli: Cli, album: Path) -> None:
    run_cli("dataset", "slice", album, "out", *QUICK)
    again = run_cli("dataset", "slice", album, "out", *QUICK)
    assert again.code == 4
    assert "long_001.wav is there already" in again.err
    resumed = run_cli("dataset", "slice", album, "out", *QUICK, "--resume")
    assert resumed.code == 0
    assert "identical slices there already" in resumed.err


@pytest.mark.parametrize("place", ["album", "album/out", "."])
def test_a_destination_among_the_songs_is_refused(run_cli: Cli, album: Path, place: str) -> None:
    before = sorted(album.rglob("*"))
    outcome = run_cli("dataset", "slice", album, place, *QUICK)
    assert outcome.code == 4
    assert "the folder with the songs" in outcome.err
    assert sorted(album.rglob("*")) == before


def test_another_rate_is_resampled_and_said(run_cli: Cli, album: Path) -> None:
    outcome = run_cli("dataset", "slice", album, "out", *QUICK, "--rate", 44100, "--json")
    assert outcome.code == 0
    for row in outcome.json["slices"]:
        info = soundfile.info(Path("out") / row["file"])
        assert (info.samplerate, info.frames, info.subtype) == (44100, 88200, "PCM_16")
        assert row["resampled"] and row["samples"] == 88200
    assert any("resampled to 44100 Hz and rounded to 16 bits" in note for note in outcome.json["notes"])


def test_a_preview_draws_every_song_with_its_cuts_in_plain_signs(run_cli: Cli, album: Path) -> None:
    outcome = run_cli("dataset", "slice", album, "out", *QUICK, "--dry-run", "--preview")
    assert outcome.code == 0, outcome.err
    lines = outcome.out.partition("SLICE ")[0].splitlines()
    assert lines[0].startswith("long: 5 slices of 9 s")
    assert "sung: 3 slices of 5 s" in lines
    assert any(line.startswith("[1---") for line in lines)
    assert all(len(line) <= 120 and line.isascii() for line in lines)
    assert not Path("out").exists()


def test_nothing_long_enough_is_a_refusal_that_names_the_songs(run_cli: Cli, album: Path) -> None:
    outcome = run_cli("dataset", "slice", album, "out")
    assert outcome.code == 4
    assert "There is nothing to slice." in outcome.err
    assert "--tail keep" in outcome.err


@pytest.mark.parametrize(
    "arguments", [("--overlap", 40), ("--seconds", "nan"), ("--seconds", -1), ("--bpm", 120), ("--tail", "bury")]
)
def test_options_that_make_no_sense_are_usage_errors(run_cli: Cli, album: Path, arguments: tuple[object, ...]) -> None:
    outcome = run_cli("dataset", "slice", album, "out", *arguments)
    assert outcome.code == 2
    assert "Traceback" not in outcome.err


def test_a_song_without_tempo_is_cut_without_bars_and_named(run_cli: Cli, album: Path) -> None:
    (album / "sung.json").unlink()
    outcome = run_cli("dataset", "slice", album, "out", "--seconds", 3, "--bars")
    assert outcome.code == 0
    assert "No BPM is known for sung: cut without bars." in outcome.err
    assert "No caption is known for sung" in outcome.err
