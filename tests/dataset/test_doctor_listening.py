"""Listening: what it costs in memory, that its order does not depend on threads, and how copies are found."""

from __future__ import annotations

import gc
import random
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sidestep_tui.core.errors import DataError
from sidestep_tui.dataset.health import duplicates, listening
from sidestep_tui.dataset.health.listening import Print
from sidestep_tui.dataset.manifest import Song, scan


def write(path: Path, seconds: float, rate: int = 8000, channels: int = 1) -> Song:
    """Noise of that length, and the song that a scan would make of it."""
    with soundfile.SoundFile(str(path), "w", rate, channels, "PCM_16") as file:
        block = np.random.default_rng(1).uniform(-0.3, 0.3, (rate, channels)).astype("float32")
        for _ in range(int(seconds)):
            file.write(block)
        file.write(block[: int(seconds % 1 * rate)])
    return Song(path.stem, path, duration=seconds, sample_rate=rate, channels=channels)


def peak_of(song: Song) -> int:
    """The most bytes that listening to a song held at once."""
    gc.collect()
    tracemalloc.start()
    listening.listen(song)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_the_length_of_a_song(tmp_path: Path) -> None:
    listening.listen(write(tmp_path / "first.wav", 2))  # imports and caches
    short, long = write(tmp_path / "short.wav", 60), write(tmp_path / "long.wav", 600)
    decoded = 8000 * 4 * 540
    growth = peak_of(long) - peak_of(short)
    assert growth < decoded / 50


def test_the_fingerprint_stops_growing_in_an_endless_song(tmp_path: Path) -> None:
    song = write(tmp_path / "endless.wav", 1300, rate=1000)
    assert len(listening.listen(song).mark.bits) == (listening._MOST_BANDS - 1) * 15 // 8 + 1


def test_a_header_does_not_choose_how_much_is_read_at_once(tmp_path: Path) -> None:
    path = tmp_path / "wide.wav"
    soundfile.write(path, np.zeros((200, 200), "float32"), 50_000_000, subtype="PCM_16")
    assert peak_of(Song("wide", path, duration=4e-6, sample_rate=50_000_000, channels=200)) < 24 << 20


def test_results_are_the_same_on_one_thread_and_on_many(tmp_path: Path) -> None:
    for number in range(5):
        write(tmp_path / f"{number}.wav", 1 + number)
    (tmp_path / "2.flac").write_bytes((tmp_path / "2.wav").read_bytes()[:5000])
    songs = [*scan(tmp_path).songs, Song("gone", tmp_path / "gone.wav")]
    steps: list[tuple[int, int]] = []
    alone = listening.listen_to_all(songs, lambda *step: None, threads=1)
    together = listening.listen_to_all(songs, lambda *step: steps.append(step), threads=4)
    assert list(together) == [song.name for song in songs]
    assert {name: item for name, item in alone.items() if not isinstance(item, DataError)} == {
        name: item for name, item in together.items() if not isinstance(item, DataError)
    }
    assert isinstance(together["gone"], DataError)
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)
    assert steps[-1] == (len(songs), len(songs))


def test_raising_from_the_progress_ends_every_thread(tmp_path: Path) -> None:
    songs = [write(tmp_path / f"{number}.wav", 1) for number in range(6)]

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        listening.listen_to_all(songs, stop, threads=2)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("listen")]


# Copies


def alike(first: Print, second: Print) -> bool:
    """The rule, one bit after the other."""
    if abs(first.seconds - second.seconds) > 2:
        return False
    bits = [np.unpackbits(np.frombuffer(mark.bits, np.uint8)) for mark in (first, second)]
    clear = [np.unpackbits(np.frombuffer(mark.clear, np.uint8)) for mark in (first, second)]
    length = min(map(len, bits))
    both = clear[0][:length] & clear[1][:length]
    size = int(both.sum())
    if size < 64 or size < 0.3 * max(int(part.sum()) for part in clear):
        return False
    return int(((bits[0][:length] ^ bits[1][:length]) & both).sum()) < 0.1 * size


def some_marks(count: int, seed: int) -> dict[str, Print]:
    """Random fingerprints of songs of many lengths; every third is a faint copy of an earlier one."""
    dice = random.Random(seed)
    marks: dict[str, Print] = {}
    for number in range(count):
        seconds = dice.choice([1.0, 30.0, 30.0, 31.5, 33.0, 40.0]) + dice.random()
        size = int(seconds * 15) // 8
        bits, clear = dice.randbytes(size), dice.randbytes(size)
        if number % 3 == 2:
            other = marks[dice.choice(list(marks))]
            flips = bytes(1 << dice.randrange(8) if dice.random() < 0.5 else 0 for _ in other.bits)
            bits = bytes(a ^ b for a, b in zip(other.bits, flips, strict=True))
            clear, seconds = other.clear, other.seconds + dice.uniform(-1, 2.5)
        marks[f"{number:04d}"] = Print(bits, clear, seconds)
    return marks


def one_by_one(marks: dict[str, Print]) -> set[tuple[str, str]]:
    """Every song with every later one that is still free, by length."""
    order = sorted(marks, key=lambda name: (marks[name].seconds, name))
    order = [name for name in order if int.from_bytes(marks[name].clear).bit_count() >= 64]
    pairs, claimed = set(), set()
    for at, name in enumerate(order):
        for other in order[at + 1 :]:
            if name not in claimed and other not in claimed and alike(marks[name], marks[other]):
                claimed.add(other)
                pairs.add((name, other))
    return pairs


@pytest.mark.parametrize("seed", range(4))
def test_comparing_many_at_once_finds_what_one_by_one_finds(seed: int) -> None:
    marks = some_marks(120, seed)
    expected = one_by_one(marks)
    assert len(expected) > 5
    assert set(duplicates.same_music(marks)) == expected


def test_thousands_of_slices_take_one_array_operation_each(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    real = duplicates._Matrix.alike
    monkeypatch.setattr(duplicates._Matrix, "alike", lambda *given: calls.append(1) or real(*given))
    dice = random.Random(1)
    marks = {f"{number:04d}": Print(dice.randbytes(55), dice.randbytes(55), 30.0) for number in range(2000)}
    marks["copy"] = marks["0700"]
    assert list(duplicates.same_music(marks)) == [("0700", "copy")]
    assert len(calls) <= len(marks)


def test_files_of_equal_size_are_only_read_again_if_they_sound_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice = np.random.default_rng(3)
    for name in "abc":
        soundfile.write(tmp_path / f"{name}.wav", dice.uniform(-0.3, 0.3, 8000), 8000)
    (tmp_path / "d.wav").write_bytes((tmp_path / "c.wav").read_bytes())
    read: list[str] = []
    real = duplicates._digest
    monkeypatch.setattr(duplicates, "_digest", lambda path: read.append(path.stem) or real(path))
    found = scan(tmp_path)
    heard = {song.name: listening.listen(song) for song in found.songs}
    assert [item.song for item in duplicates.duplicate_findings(found, heard)] == ["d"]
    assert sorted(read) == ["c", "d"]
