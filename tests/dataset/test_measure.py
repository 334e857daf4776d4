"""Tempo and key by the sound: right where they are clear, doubtful where they are not, and never an exception."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from sidestep_tui.core.errors import DataError
from sidestep_tui.dataset import apart, apart_tasks, manifest, values
from sidestep_tui.dataset.measuring import measure, measure_apart, measure_key, measure_tempo
from sidestep_tui.dataset.measuring.measure import Measured
from sidestep_tui.engine import tiny_songs

from . import playing
from .playing import RATE

WriteSong = Callable[..., Path]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of one's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the songs that were really measured, by something quick."""
    names: list[str] = []

    def quick(name: str, samples: Any) -> Measured:
        names.append(name)
        return Measured(name, bpm=120, bpm_exact=120.2, bpm_confidence=0.9, bpm_other=60, key="C major")

    monkeypatch.setattr(measure, "measure_samples", quick)
    return names


def write(path: Path, samples: np.ndarray, rate: int = RATE) -> Path:
    soundfile.write(str(path), samples, rate, subtype="FLOAT")
    return path


# Tempo


@pytest.mark.parametrize("bpm", [60, 90, 120, 128, 140, 174])
def test_a_metronome_is_measured_to_a_tenth(bpm: int) -> None:
    found = measure_tempo.tempo(playing.clicks(bpm, 10))
    assert found is not None
    assert found.bpm == pytest.approx(bpm, abs=0.1)
    assert found.confidence > 0.7


@pytest.mark.parametrize("bpm", [90, 120, 128, 140, 174])
@pytest.mark.parametrize("pattern", ["four", "rock"])
def test_drums_are_measured_in_the_right_octave(bpm: int, pattern: str) -> None:
    found = measure_tempo.tempo(playing.drums(bpm, 10, pattern))
    assert found is not None
    assert found.bpm == pytest.approx(bpm, abs=0.1)
    assert found.confidence > 0.5


@pytest.mark.parametrize("bpm", [97.3, 133.7])
def test_drums_of_a_person_are_measured_within_half_a_beat(bpm: float) -> None:
    found = measure_tempo.tempo(playing.drums(bpm, 16, jitter=0.01))
    assert found is not None
    assert found.bpm == pytest.approx(bpm, abs=0.5)
    assert found.confidence > 0.6


@pytest.mark.parametrize(("bpm", "pattern"), [(60, "rock"), (60, "break"), (174, "break")])
def test_where_the_octave_is_open_the_other_one_is_named(bpm: int, pattern: str) -> None:
    found = measure_tempo.tempo(playing.drums(bpm, 10, pattern))
    assert found is not None
    assert found.other is not None
    assert bpm in (round(found.bpm), round(found.other))
    assert 60 <= found.bpm <= 180


@pytest.mark.parametrize("seed", range(3))
def test_noise_has_no_tempo_and_no_key(seed: int) -> None:
    found = measure.measure_samples("n", playing.noise(10, seed))
    assert (found.bpm, found.key) == (None, "")
    assert (found.bpm_confidence, found.key_confidence) == (0, 0)
    assert found.note == "No steady beat was found. No clear key was found."


def test_a_held_note_has_no_tempo() -> None:
    assert measure_tempo.tempo(playing.drone(10)) is None


# Key


@pytest.mark.parametrize("mode", ["major", "minor"])
@pytest.mark.parametrize("tonic", [0, 3, 6, 9, 10])
def test_progressions_are_measured_in_their_key(tonic: int, mode: str) -> None:
    found = measure_key.key(playing.chords(tonic, mode, 10, seed=tonic))
    assert found is not None
    assert found.name == measure_key.name(tonic, mode)
    assert found.other != found.name
    assert found.confidence > 0.3


@pytest.mark.parametrize("cents", [-30, 30])
def test_drums_and_detuning_do_not_move_the_key(cents: float) -> None:
    mix = playing.chords(7, "major", 12, cents=cents) + 0.6 * playing.drums(120, 12)
    found = measure_key.key(mix.astype(np.float32))
    assert found is not None
    assert found.name == "G major"


@pytest.mark.parametrize("pattern", ["four", "rock", "break"])
def test_drums_alone_have_no_key(pattern: str) -> None:
    assert measure.measure_samples("d", playing.drums(100, 8, pattern)).key == ""


@pytest.mark.parametrize("mode", ["major", "minor"])
def test_keys_are_spelled_as_sidecars_spell_them(mode: str) -> None:
    names = [measure_key.name(tonic, mode) for tonic in range(12)]
    assert [values.keyscale(name) for name in names] == names
    assert len({measure._pitch(name) for name in names}) == 12


# Songs


def test_the_tiny_songs_have_the_tempo_that_they_state(tmp_path: Path) -> None:
    folder = tiny_songs.write_songs(tmp_path / "songs", seconds=8)
    for song in tiny_songs.SONGS:
        found = measure.measure_file(song.name, folder / (song.name + song.suffix))
        assert found.bpm == song.bpm, song.name
        # Their minor songs are made of minor chords alone, which no key holds; the major ones are in theirs.
        if song.keyscale.endswith("major"):
            assert found.key == song.keyscale


def test_the_middle_of_a_long_song_is_measured_whatever_its_rate_and_channels(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    ramp = np.repeat(np.arange(8.0), 48_000) / 8
    write(path, np.stack([ramp] * 3, axis=1), 48_000)
    samples = measure.excerpt(path, most_seconds=2)
    assert samples.dtype == np.float32
    assert len(samples) == pytest.approx(2 * RATE, abs=2)
    assert samples[RATE // 2] == pytest.approx(3 / 8, abs=0.01)
    assert samples[RATE + RATE // 2] == pytest.approx(4 / 8, abs=0.01)


def test_channels_that_cancel_each_other_out_are_still_heard(tmp_path: Path) -> None:
    wave = playing.clicks(120, 5)
    samples = measure.excerpt(write(tmp_path / "a.wav", np.stack([wave, -wave], axis=1)))
    assert np.abs(samples).max() > 0.5


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (np.zeros(RATE * 5), "silent"),
        (np.full(RATE * 5, 1e-6), "silent"),
        (playing.clicks(120, 1), "too short to measure"),
        (playing.chords(0, "major", 3), "too short to measure its tempo"),
        (np.full(RATE * 5, np.nan), "not numbers"),
        (np.full(RATE * 5, 1e30), "No steady beat"),
        (b"", "empty"),
        (b"RIFF\0\0\0\0WAVEnonsense", "not readable"),
        (None, "cannot be read"),
    ],
    ids=["zeros", "whisper", "instant", "short", "nan", "absurd", "empty", "nonsense", "missing"],
)
def test_what_cannot_be_measured_says_why(tmp_path: Path, content: Any, reason: str) -> None:
    path = tmp_path / "a.wav"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        write(path, content)
    found = measure.measure_file("a", path)
    assert found.bpm is None
    assert reason in found.note


# Cache


def test_a_song_is_measured_once_until_it_changes(tmp_path: Path, counted: list[str]) -> None:
    path = write(tmp_path / "a.wav", playing.clicks(120, 1))
    first = measure.measure_file("a", path)
    assert measure.measure_file("a", path) == first
    assert measure.measure_file("renamed", path) == dataclasses.replace(first, name="renamed")
    assert counted == ["a"]
    os.utime(path, (1, 1))
    measure.measure_file("a", path)
    assert counted == ["a", "a"]


@pytest.mark.parametrize(
    "damage",
    ["", "{", "[]", '{"bpm": "fast"}', '{"name": "a", "tempo": 3}', '{"bpm": -5}', '{"key": null}', "\ud800", "1e999"],
)
def test_a_damaged_cache_entry_counts_as_none(tmp_path: Path, counted: list[str], damage: str) -> None:
    path = write(tmp_path / "a.wav", playing.clicks(120, 1))
    whole = measure.measure_file("a", path)
    entry = measure.cache_entry(path)
    assert entry is not None
    assert json.loads(entry.read_text())["bpm"] == 120
    entry.write_bytes(damage.encode("utf-8", "surrogatepass"))
    assert measure.measure_file("a", path) == whole
    assert counted == ["a", "a"]


def test_a_cache_that_cannot_be_written_is_done_without(
    tmp_path: Path, cache: Path, counted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.write_text("a file")
    path = write(tmp_path / "a.wav", playing.clicks(120, 1))
    assert measure.measure_file("a", path).bpm == 120


def test_another_recipe_measures_again(tmp_path: Path, counted: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.wav", playing.clicks(120, 1))
    measure.measure_file("a", path)
    monkeypatch.setattr(measure, "_RECIPE", -1)
    measure.measure_file("a", path)
    assert counted == ["a", "a"]


# Agreement


@pytest.mark.parametrize(
    ("said", "found", "word"),
    [
        (120, 120, "same"),
        (120, 121, "same"),
        (174, 171, "same"),
        (70, 140, "half"),
        (140, 70, "double"),
        (120, 90, "differs"),
        (None, 90, ""),
        (90, None, ""),
    ],
)
def test_tempi_are_compared(said: int | None, found: int | None, word: str) -> None:
    assert measure.compare_bpm(said, found) == word


@pytest.mark.parametrize(
    ("said", "found", "word"),
    [
        ("E minor", "E minor", "same"),
        ("D# minor", "Eb minor", "same"),
        ("Cb major", "B major", "same"),
        ("A minor", "C major", "relative"),
        ("Eb major", "C minor", "relative"),
        ("C minor", "C major", "differs"),
        ("C major", "E minor", "differs"),
        ("", "C major", ""),
        ("what", "C major", ""),
    ],
)
def test_keys_are_compared_by_sound(said: str, found: str, word: str) -> None:
    assert measure.compare_key(said, found) == word


# Many songs


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Parts that would have gone to processes are measured here; a song called `bomb` breaks its part."""
    seen: list[list[str]] = []

    def call(task: str, given: Any, report: Any, *, quiet_seconds: float) -> Any:
        assert task in apart_tasks.TASKS
        seen.append([name for name, _ in given["songs"]])
        results = []
        for done, (name, path) in enumerate(given["songs"]):
            report("songs", done, len(given["songs"]))
            if name == "bomb":
                raise DataError("Looking at the songs ended unexpectedly.")
            results.append(dataclasses.asdict(measure.measure_file(name, Path(path))))
        return results

    monkeypatch.setattr(apart, "call", call)
    return seen


def test_songs_are_spread_over_processes_and_come_back_in_order(
    tmp_path: Path, write_song: WriteSong, counted: list[str], parts: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure_apart, "_PART_SONGS", 3)
    for index in range(8):
        write_song(f"s{index}.wav", seconds=0.1)
    steps: list[tuple[str, int, int]] = []
    given = {"root": str(tmp_path), "txt_role": "auto", "language": "unknown", "names": None}
    found = measure_apart.measure(given, lambda *step: steps.append(step))
    steps = [step for step in steps if step[0] != "headers"]
    assert [item["name"] for item in found] == [f"s{index}" for index in range(8)]
    assert sorted(map(len, parts)) == [2, 3, 3]
    assert steps[0] == (measure_apart.STARTING, 0, 8)
    assert steps[-1] == ("songs", 8, 8)
    assert [done for _, done, _ in steps] == sorted(done for _, done, _ in steps)
    parts.clear()
    assert measure_apart.measure({**given, "names": ["s3"]}, lambda *_: None) == [found[3]]
    assert not parts


def test_a_song_that_breaks_its_process_is_named_and_the_rest_goes_on(
    tmp_path: Path, write_song: WriteSong, counted: list[str], parts: list[list[str]]
) -> None:
    for name in ("a", "bomb", "c"):
        write_song(f"{name}.wav", seconds=0.1)
    given = {"manifest": manifest.scan(tmp_path).to_dict(), "names": None}
    found = {item["name"]: item for item in measure_apart.measure(given, lambda *_: None)}
    assert parts == [["a", "bomb", "c"], ["c"]]
    assert found["a"]["bpm"] == found["c"]["bpm"] == 120
    assert found["bomb"]["bpm"] is None
    assert "ended unexpectedly" in found["bomb"]["note"]


def test_the_child_answers_from_the_cache_and_has_its_own_children_do_the_rest(tmp_path: Path) -> None:
    """Neither loads librosa here, which takes seconds: one song is known, the other silent."""
    beat = measure.measure_file("beat", write(tmp_path / "beat.wav", playing.drums(120, 6)))
    write(tmp_path / "nothing.wav", np.zeros(RATE))
    steps: list[tuple[str, int, int]] = []
    given = {"root": str(tmp_path), "txt_role": "auto", "language": "unknown", "names": []}
    found = apart.call("measure", given, lambda *step: steps.append(step))
    assert found == [dataclasses.asdict(beat), dataclasses.asdict(Measured("nothing", note="It is silent."))]
    assert beat.bpm == 120
    assert steps[-1] == ("songs", 2, 2)
