"""How fast a folder is scanned and examined, and whether memory stays flat with the length of a song.

Run it by hand: `python tests/benchmarks/bench_dataset.py [--songs 1 13 2000] [--seconds 5] [--hours 1]`; 2,000 songs of
5 s take 1.3 GiB in the temporary directory meanwhile. Seconds depend on the machine, ratios less: scan against a walk
with `os.stat`, the doctor against decoding with soundfile alone on one thread, of the same files in the same run.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from sidestep_tui.dataset import manifest
from sidestep_tui.dataset.health import doctor, duplicates, listening
from sidestep_tui.dataset.health.listening import Print
from sidestep_tui.dataset.manifest import Song

RATE = 44_100
MIB = 1 << 20


def write_songs(folder: Path, count: int, seconds: float, suffix: str) -> int:
    """Noise under changing levels with a caption each; returns the bytes written."""
    folder.mkdir(parents=True)
    dice = np.random.default_rng(count)
    base = dice.standard_normal((int(seconds * RATE), 2)).astype("float32") * 0.1
    for number in range(count):
        level = np.repeat(dice.uniform(0.2, 1, int(seconds) + 1), RATE)[: len(base), None].astype("float32")
        soundfile.write(folder / f"{number:05d}{suffix}", base * level, RATE)
        (folder / f"{number:05d}.txt").write_text(
            f"caption: song {number}, loud\nbpm: {60 + number % 90}\nkey: E minor\n"
        )
    return sum(path.stat().st_size for path in folder.iterdir())


def timed(work: Callable[[], object]) -> float:
    """Seconds that it takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def stat_walk(folder: Path) -> int:
    """The least that any look at a folder costs."""
    return sum(os.stat(entry.path).st_size for entry in os.scandir(folder))  # noqa: PTH116 (the yardstick itself)


def decode(folder: Path, suffix: str) -> None:
    """Every song once through soundfile, on one thread, with nothing kept."""
    for path in sorted(folder.glob(f"*{suffix}")):
        with soundfile.SoundFile(str(path)) as sound:
            buffer = np.empty((RATE, sound.channels), dtype=np.float32)
            while len(sound.read(out=buffer)):
                pass


def bench_folder(parent: Path, count: int, seconds: float, suffix: str) -> None:
    """Scan and doctor of one folder."""
    folder = parent / f"{count}{suffix}"
    size = write_songs(folder, count, seconds, suffix)
    hours = count * seconds / 3600
    print(f"\n{count:,} {suffix} of {seconds:g} s: {hours:.2f} h, {size / MIB:.0f} MiB")
    walked = min(timed(lambda: stat_walk(folder)) for _ in range(3))
    scanned = min(timed(lambda: manifest.scan(folder)) for _ in range(2))
    print(
        f"  scan    {scanned:8.3f} s   {scanned / count * 1e3:7.2f} ms a song   {scanned / walked:6.0f} times os.stat"
    )
    decoded = timed(lambda: decode(folder, suffix))
    quick = timed(lambda: doctor.examine(folder, quick=True))
    print(f"  quick   {quick:8.3f} s   {quick / count * 1e3:7.2f} ms a song")
    examined = timed(lambda: doctor.examine(folder))
    print(
        f"  doctor  {examined:8.3f} s   {examined / count * 1e3:7.2f} ms a song   {examined / hours:6.1f} s an hour"
        f"   {hours * 3600 / examined:5.0f} times real time   {examined / decoded:5.2f} times decoding"
    )
    songs = manifest.scan(folder).songs
    alone = timed(lambda: listening.listen_to_all(songs, lambda *step: None, threads=1))
    together = timed(lambda: listening.listen_to_all(songs, lambda *step: None))
    print(f"  listening alone {alone:.2f} s on one thread, {together:.2f} s on several, decoding {decoded:.2f} s")


def bench_memory(parent: Path, hours: float) -> None:
    """The most that listening holds at once, for songs of 1 minute and of hours."""
    print("\nmemory of listening to one song (the most that was held at once)")
    for seconds in (2, 60, 600, int(hours * 3600)):
        path = parent / "long.wav"
        with soundfile.SoundFile(str(path), "w", 8000, 2, "PCM_16") as file:
            block = np.random.default_rng(1).uniform(-0.3, 0.3, (8000, 2)).astype("float32")
            for _ in range(seconds):
                file.write(block)
        song = Song("long", path, duration=float(seconds), sample_rate=8000, channels=2)
        listening.listen(song)  # tables of the libraries grow once
        tracemalloc.start()
        listening.listen(song)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        print(f"  {seconds:6} s   {peak / MIB:6.2f} MiB   (decoded it would be {seconds * 8000 * 8 / MIB:.1f} MiB)")


def bench_copies() -> None:
    """Comparing fingerprints of slices that are all 30 s long: the worst case."""
    print("\ncomparing the fingerprints of slices of one length")
    for count in (13, 500, 2000, 8000):
        dice = random.Random(1)
        marks = {str(number): Print(dice.randbytes(55), dice.randbytes(55), 30.0) for number in range(count)}
        seconds = timed(lambda marks=marks: list(duplicates.same_music(marks)))  # type: ignore[misc]
        print(f"  {count:6,} slices  {seconds:7.3f} s   {seconds / count * 1e6:7.1f} µs a song")


def main() -> None:
    """Measure scan, doctor, memory and the search for copies."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--songs", type=int, nargs="+", default=[1, 13, 2000], help="how many songs a folder has")
    options.add_argument("--seconds", type=float, default=5.0, help="length of a song")
    options.add_argument("--suffix", nargs="+", default=[".flac"], help="wav, flac, ogg or mp3")
    options.add_argument("--hours", type=float, default=1.0, help="length of the longest song for memory")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        warm_up(Path(folder))
        for suffix in given.suffix:
            for count in given.songs:
                bench_folder(Path(folder), count, given.seconds, suffix)
        bench_memory(Path(folder), given.hours)
    bench_copies()


def warm_up(folder: Path) -> None:
    """Imports and first calls, which no folder should be charged with."""
    write_songs(folder / "warm", 2, 2.0, ".flac")
    doctor.examine(folder / "warm")


if __name__ == "__main__":
    main()
