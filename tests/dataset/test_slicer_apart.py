"""Slicing a whole folder, and in a child process: what it would make, what is in the way, stopping and going on."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile

from sidestep_tui.core.errors import DataError, DiskFullError
from sidestep_tui.dataset import apart, manifest
from sidestep_tui.dataset.cutting import slices, slicing, slicing_apart
from sidestep_tui.dataset.cutting.slicer import Cutting
from sidestep_tui.dataset.cutting.slices import Wish

RATE = 8000
QUICK = Cutting(seconds=2.0, overlap=0.25, window_ms=20, min_tail=1.0)


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    """Three songs of 9, 5 and 1 seconds."""
    folder = tmp_path / "songs"
    folder.mkdir()
    random = np.random.default_rng(1)
    for name, seconds in (("long", 9), ("middle", 5), ("tiny", 1)):
        soundfile.write(folder / f"{name}.wav", random.uniform(-0.5, 0.5, (seconds * RATE, 2)), RATE)
        (folder / f"{name}.json").write_text(json.dumps({"caption": f"{name}, a test", "bpm": 120}), encoding="utf-8")
    return folder


def asked(tmp_path: Path, wish: Wish, *, resume: bool = False) -> dict[str, Any]:
    """The parameters of a slicing into `out`."""
    return {
        "root": str(tmp_path / "songs"),
        "txt_role": "auto",
        "language": "unknown",
        "destination": str(tmp_path / "out"),
        "wish": wish.to_dict(),
        "resume": resume,
        "stop": str(tmp_path / "stop"),
    }


def quiet(doing: str, done: int, total: int) -> None:
    """Nobody listens."""


@pytest.mark.parametrize("rate", [None, 11025])
@pytest.mark.parametrize("storage", [None, "wav24"])
@pytest.mark.parametrize("tail", ["drop", "keep"])
def test_the_estimate_is_what_is_written(songs: Path, tmp_path: Path, rate: Any, storage: Any, tail: Any) -> None:
    cutting = Cutting(seconds=2.0, overlap=0.25, window_ms=20, min_tail=1.0, tail=tail)
    wish = Wish(cutting, format=storage, rate=rate)
    told = slicing.estimate(manifest.scan(songs).songs, wish)
    result = slicing_apart.slice_songs(asked(tmp_path, wish), quiet)
    files = [path for path in (tmp_path / "out").iterdir() if path.suffix == ".wav"]
    assert told.slices == result["slices"] == len(files)
    assert told.songs == result["songs"]
    assert told.seconds == pytest.approx(result["seconds"])
    size = sum(path.stat().st_size for path in (tmp_path / "out").iterdir())
    assert size <= told.bytes < size * 1.2


def test_a_wish_survives_the_way_to_another_process() -> None:
    wish = Wish(QUICK, bars=True, bpm=93.5, format="flac", rate=44100, keep_lyrics=True)
    assert Wish.from_dict(json.loads(json.dumps(wish.to_dict()))) == wish


def test_a_child_process_plans_and_slices_as_this_one_does(songs: Path, tmp_path: Path) -> None:
    wish = Wish(QUICK)
    song = manifest.scan(songs).songs[0]
    steps: list[tuple[str, int, int]] = []
    given = {"song": {**asdict(song), "audio": str(song.audio)}, "wish": wish.to_dict()}
    plan = apart.call("slice_plan", given, lambda *step: steps.append(step))
    job = slices.prepare(song, wish)
    assert plan == json.loads(json.dumps(slicing_apart.plan_fields(job, None)))
    assert steps[-1] == ("cuts", 2, 2)
    result = apart.call("slice", asked(tmp_path, wish), lambda *step: steps.append(step))
    assert result["state"] == slicing_apart.DONE
    assert sorted(path.stem for path in (tmp_path / "out").glob("long*.wav")) == [Path(file).stem for file in job.files]
    assert {doing for doing, *_ in steps} == {"cuts", "slices"}
    assert steps[-1][1] == steps[-1][2]


def test_stopping_leaves_whole_slices_and_going_on_makes_the_rest(songs: Path, tmp_path: Path) -> None:
    wish = Wish(QUICK)
    written: list[int] = []

    def stop_after_one(doing: str, done: int, total: int) -> None:
        written.append(done)
        if doing == "slices":
            (tmp_path / "stop").touch()

    stopped = slicing_apart.slice_songs(asked(tmp_path, wish), stop_after_one)
    (tmp_path / "stop").unlink()
    assert stopped["state"] == slicing_apart.STOPPED
    assert 0 < stopped["slices"] < stopped["of"]
    there = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert not [name for name in there if name.endswith(".tmp")]

    again = slicing_apart.slice_songs(asked(tmp_path, wish), quiet)
    assert again == {"state": slicing_apart.IN_THE_WAY, "there": stopped["slices"], "of": stopped["of"]}
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(there)

    done = slicing_apart.slice_songs(asked(tmp_path, wish, resume=True), quiet)
    assert done["state"] == slicing_apart.DONE
    assert (done["slices"], done["were_there"]) == (stopped["of"], stopped["slices"])
    assert all((tmp_path / "out" / name).read_bytes() == data for name, data in there.items())


def test_stopping_while_cuts_are_sought_writes_nothing(songs: Path, tmp_path: Path) -> None:
    (tmp_path / "stop").touch()
    result = slicing_apart.slice_songs(asked(tmp_path, Wish(QUICK)), quiet)
    assert (result["state"], result["slices"]) == (slicing_apart.STOPPED, 0)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("long_002.wav", b"mine"),
        ("long_002.json", b"mine"),
        ("long_002.json", b'{"caption": "mine"}'),
        ("long_002.json", b"\xff\xfe"),
    ],
)
def test_what_is_not_from_this_slicing_is_a_refusal(songs: Path, tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_bytes(content)
    with pytest.raises(DataError, match="is there already"):
        slicing_apart.slice_songs(asked(tmp_path, Wish(QUICK)), quiet)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name]


def test_another_length_does_not_go_on_with_a_former_slicing(songs: Path, tmp_path: Path) -> None:
    slicing_apart.slice_songs(asked(tmp_path, Wish(QUICK)), quiet)
    longer = Wish(Cutting(seconds=2.5, overlap=0.25, window_ms=20))
    with pytest.raises(DataError, match="is there already"):
        slicing_apart.slice_songs(asked(tmp_path, longer), quiet)


def test_too_little_room_is_refused_before_anything_is_written(
    songs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=100_000))
    with pytest.raises(DiskFullError, match="too little room") as error:
        slicing_apart.slice_songs(asked(tmp_path, Wish(QUICK)), quiet)
    assert "97.7 KiB left" in error.value.message
    assert not (tmp_path / "out").exists()


def test_a_song_that_breaks_between_the_passes_is_named_and_the_others_are_sliced(songs: Path, tmp_path: Path) -> None:
    outcome = slicing.prepare(manifest.scan(songs), Wish(QUICK))
    soundfile.write(songs / "long.wav", np.zeros((RATE, 2)), RATE)
    made = {job.song.name for job, _ in slicing.write(outcome, tmp_path / "out", resume=False)}
    assert made == {"middle"}
    assert any(name == "long" and "shorter" in reason for name, reason in outcome.skipped)


def test_notes_say_what_resampling_did_and_how_loud_rough_cuts_are(tmp_path: Path) -> None:
    (tmp_path / "songs").mkdir()
    wave = np.random.default_rng(0).uniform(0.4, 0.6, (5 * RATE, 2))  # never crosses zero
    soundfile.write(tmp_path / "songs" / "offset.wav", wave, RATE, subtype="FLOAT")
    result = slicing_apart.slice_songs(asked(tmp_path, Wish(QUICK, rate=11025)), quiet)
    notes = " ".join(result["notes"])
    assert "offset: resampled to 11025 Hz and rounded to 24 bits" in notes
    assert "1 cut where the channels never cross zero together" in notes
    assert "DC offset" in notes
