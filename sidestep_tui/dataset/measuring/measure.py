"""Tempo and key of songs, measured from their sound: estimates with a confidence, to be accepted or not.

At most two minutes from the middle of a song are decoded, block by block, so memory stays flat with its length. A
measurement is kept in the user's cache until the file or the recipe changes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from sidestep_tui.core import atomic, paths
from sidestep_tui.core.errors import DataError, SidestepError
from sidestep_tui.dataset import probe, values
from sidestep_tui.dataset.measuring import measure_key, measure_tempo

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_SECONDS: Final = 120.0
RATE: Final = measure_tempo.RATE
# Raise when the same sound would be measured otherwise.
_RECIPE: Final = 1
_BLOCK_FRAMES: Final = 1 << 16
_SILENT: Final = 1e-4
"""A peak of -80 dBFS."""
_LEAST_CONFIDENCE: Final = 0.05
"""Less is no finding at all."""

BpmAgreement = Literal["same", "half", "double", "differs", ""]
KeyAgreement = Literal["same", "relative", "differs", ""]


@dataclass(frozen=True, slots=True)
class Measured:
    """What was found in the sound of a song."""

    name: str
    bpm: int | None = None
    bpm_exact: float | None = None
    """Beats per minute to a tenth."""
    bpm_confidence: float = 0.0
    """From 0 to 1: how clear and steady the pulse is, and how surely this octave of it is the beat."""
    bpm_other: int | None = None
    """The next best octave: half or double as a rule."""
    key: str = ""
    """Spelled as `values.keyscale` does."""
    key_confidence: float = 0.0
    """From 0 to 1: whether notes stand out, how far this key leads, and in how much of the song."""
    key_other: str = ""
    note: str = ""
    """Why something was not found; a sentence, or empty."""


def measure_file(name: str, audio: Path) -> Measured:
    """Tempo and key of the song `name`, from the cache if it was measured before. What cannot be measured says why."""
    found = remembered(name, audio)
    if found is not None:
        return found
    entry = cache_entry(audio)
    try:
        found = measure_samples(name, excerpt(audio))
    except DataError as error:  # a file that may be repaired or come back: not remembered
        return Measured(name, note=" ".join(filter(None, (error.title, error.message))))
    _remember(entry, found)
    return found


def measure_samples(name: str, samples: NDArray[np.float32]) -> Measured:
    """Tempo and key of mono samples at `RATE`."""
    seconds = len(samples) / RATE
    if not len(samples) or float(abs(samples).max()) < _SILENT:
        return Measured(name, note="It is silent.")
    if seconds < measure_key.SHORTEST_SECONDS:
        return Measured(name, note=f"It is too short to measure ({seconds:.1f} s).")
    samples = samples / abs(samples).max()
    tempo, key = measure_tempo.tempo(samples), measure_key.key(samples)
    notes = []
    found = Measured(name)
    if tempo is not None and tempo.confidence >= _LEAST_CONFIDENCE:
        found = dataclasses.replace(
            found,
            bpm=round(tempo.bpm),
            bpm_exact=round(tempo.bpm, 1),
            bpm_confidence=round(tempo.confidence, 2),
            bpm_other=None if tempo.other is None else round(tempo.other),
        )
    elif seconds < measure_tempo.SHORTEST_SECONDS:
        notes.append(f"It is too short to measure its tempo ({seconds:.1f} s).")
    else:
        notes.append("No steady beat was found.")
    if key is not None and key.confidence >= _LEAST_CONFIDENCE:
        found = dataclasses.replace(found, key=key.name, key_confidence=round(key.confidence, 2), key_other=key.other)
    else:
        notes.append("No clear key was found.")
    return dataclasses.replace(found, note=" ".join(notes))


def excerpt(path: Path, most_seconds: float = MOST_SECONDS) -> NDArray[np.float32]:
    """Mono samples at `RATE` from the middle of a file. `DataError` for what cannot be read."""
    # Deferred: numpy and soundfile take 340 ms to import (measured), soxr 2 ms more.
    import numpy as np
    import soundfile
    import soxr

    header = probe.read_header(path)
    wanted = min(header.frames, math.ceil(most_seconds * header.sample_rate))
    resampler = soxr.ResampleStream(header.sample_rate, RATE, 1, dtype="float32")
    blocks = []
    got = 0
    try:
        with soundfile.SoundFile(str(path)) as sound:
            _go_to(sound, (header.frames - wanted) // 2)
            while got < wanted:
                block = sound.read(min(_BLOCK_FRAMES, wanted - got), dtype="float32", always_2d=True)
                if not len(block):
                    break
                got += len(block)
                blocks.append(resampler.resample_chunk(_mono(block)))
    except (soundfile.SoundFileError, RuntimeError, OSError) as error:
        # Damage late in a song leaves enough to measure.
        if got < measure_tempo.SHORTEST_SECONDS * header.sample_rate:
            raise DataError(
                f"{path.name} is damaged.", probe.reason(error), "Copy it again from its source."
            ) from error
    blocks.append(resampler.resample_chunk(np.zeros(0, np.float32), last=True))
    samples: NDArray[np.float32] = np.concatenate(blocks)
    if not np.isfinite(samples).all():
        raise DataError(f"{path.name} holds samples that are not numbers.", "", "Export it again, as wav or flac.")
    return samples


def _go_to(sound: Any, frame: int) -> None:
    if sound.seekable():
        sound.seek(frame)
        return
    while frame > 0 and (read := len(sound.read(min(_BLOCK_FRAMES, frame)))):
        frame -= read


def _mono(block: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean of the channels; the first one where they cancel each other out."""
    import numpy as np

    mean: NDArray[np.float32] = block.mean(axis=1)
    if block.shape[1] > 1 and float(np.square(mean).sum()) < 0.01 * float(np.square(block[:, 0]).sum()):
        return np.ascontiguousarray(block[:, 0])
    return np.ascontiguousarray(mean)


def cache_entry(audio: Path) -> Path | None:
    """Where the measurement of a file is kept: named by path, size and time of change. None if it is not there."""
    try:
        facts = audio.stat()
        place = str(audio.resolve())
    except OSError:
        return None
    described = json.dumps([_RECIPE, place, facts.st_size, facts.st_mtime_ns])
    digest = hashlib.sha256(described.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return paths.cache_place() / "measured" / digest[:2] / f"{digest}.json"


def remembered(name: str, audio: Path) -> Measured | None:
    """The measurement in the cache, under the song's name of today; anything but a whole entry counts as none."""
    entry = cache_entry(audio)
    if entry is None:
        return None
    try:
        found = Measured(**{**json.loads(entry.read_text("utf-8")), "name": name})
    except (OSError, ValueError, TypeError):
        return None
    return found if _is_sound(found) else None


def _is_sound(found: Measured) -> bool:
    numbers = (found.bpm, found.bpm_exact, found.bpm_other)
    if not all(value is None or (isinstance(value, (int, float)) and 0 < value < 1000) for value in numbers):
        return False
    if not all(isinstance(value, (int, float)) for value in (found.bpm_confidence, found.key_confidence)):
        return False
    return all(isinstance(value, str) for value in (found.key, found.key_other, found.note))


def _remember(entry: Path | None, found: Measured) -> None:
    """Keep a measurement. A cache that cannot be written costs time, nothing else."""
    if entry is None:
        return
    try:
        paths.cache_dir()
        atomic.write_json(entry, dataclasses.asdict(found), mode=0o600, durable=False, indent=None)
    except (OSError, SidestepError):
        return


def compare_bpm(said: int | None, measured: int | None) -> BpmAgreement:
    """How what is said of a song relates to what was measured: `half` means that half of the measured is said."""
    if said is None or measured is None:
        return ""
    allowed: tuple[tuple[BpmAgreement, float], ...] = (("same", 1.0), ("half", 0.5), ("double", 2.0))
    for word, factor in allowed:
        if abs(said - measured * factor) <= max(1.0, 0.02 * said):
            return word
    return "differs"


def compare_key(said: str, measured: str) -> KeyAgreement:
    """`same` also for other spellings of a key (Eb and D#); `relative` for the minor or major of the same notes."""
    one, two = _pitch(said), _pitch(measured)
    if one is None or two is None:
        return ""
    if one == two:
        return "same"
    # The relative minor lies three semitones below its major.
    (first, first_mode), (second, second_mode) = one, two
    down = (first - second) % 12 if first_mode == "major" else (second - first) % 12
    return "relative" if first_mode != second_mode and down == 3 else "differs"


def _pitch(key: str) -> tuple[int, str] | None:
    """Pitch class and mode of a key however it is written; None for none."""
    try:
        note, mode = values.keyscale(key).split()
    except ValueError:
        return None
    sign = {"": 0, "#": 1, "b": -1}[note[1:]]
    return ({"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}[note[0]] + sign) % 12, mode
