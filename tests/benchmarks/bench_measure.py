"""What measuring tempo and key costs: seconds for a minute of music, against decoding alone, and memory by length.

Run it by hand: `python tests/benchmarks/bench_measure.py`. The songs are synthesised; nothing is read from a cache.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from sidestep_tui.dataset.measuring import measure, measure_key, measure_tempo

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.dataset import playing

FORMATS = {".wav": ("WAV", "PCM_16"), ".flac": ("FLAC", "PCM_16"), ".mp3": ("MP3", "MPEG_LAYER_III")}
RATE = 44_100


def seconds(function: object, *arguments: object) -> float:
    """How long a call takes on one core."""
    start = time.process_time()
    function(*arguments)  # type: ignore[operator]
    return time.process_time() - start


def write(path: Path, minutes: int) -> Path:
    """A stereo song of so many minutes, at twice the rate it was played at."""
    bar = np.repeat(playing.chords(0, "major", 8.0) + playing.drums(120, 8.0), 2) / 2
    container, coding = FORMATS[path.suffix]
    with soundfile.SoundFile(str(path), "w", RATE, 2, format=container, subtype=coding) as sound:
        for _ in range(-(-minutes * 60 // 8)):
            sound.write(np.stack([bar, bar], axis=1))
    return path


def main() -> None:
    """Measure starting, decoding and measuring."""
    start = time.perf_counter()
    measure.measure_samples("first", playing.drums(120, 8.0))
    print(f"first song, with imports: {time.perf_counter() - start:.1f} s")
    with tempfile.TemporaryDirectory() as folder:
        for suffix in FORMATS:
            path = write(Path(folder) / f"a{suffix}", 2)
            decoding = seconds(measure.excerpt, path)
            samples = measure.excerpt(path)
            tempo, key = seconds(measure_tempo.tempo, samples), seconds(measure_key.key, samples)
            print(
                f"{suffix}: a minute of music: decode {decoding / 2:.3f} s, tempo {tempo / 2:.3f} s, "
                f"key {key / 2:.3f} s; measuring costs {(tempo + key) / decoding:.1f} times decoding"
            )
        for minutes in (2, 10, 40):
            path = write(Path(folder) / f"{minutes}.flac", minutes)
            took = seconds(lambda path=path: measure.measure_samples("a", measure.excerpt(path)))
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"{minutes} minutes: {took:.2f} s (peak memory {peak:.0f} MiB)")


if __name__ == "__main__":
    main()
