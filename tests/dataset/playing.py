"""Music of known tempo and key, played by formulas: clicks, drum patterns and chord progressions."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
RATE: Final = 22_050

# Sixteenths of a bar of four: (kick, snare, hat).
PATTERNS: Final = {
    "four": ((0, 4, 8, 12), (4, 12), (2, 6, 10, 14)),
    "rock": ((0, 8, 10), (4, 12), (0, 2, 4, 6, 8, 10, 12, 14)),
    "break": ((0, 10), (4, 12), (0, 2, 4, 6, 8, 10, 12, 14)),
}
# Degrees in semitones and the third of each chord: 4 is major, 3 minor.
PROGRESSIONS: Final = {
    "major": ((0, 4), (7, 4), (9, 3), (5, 4)),
    "minor": ((0, 3), (5, 3), (7, 4), (0, 3)),
}
_SCALES: Final = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}


def clicks(bpm: float, seconds: float) -> Samples:
    """A metronome."""
    mix = _silence(seconds)
    t = _times(0.03)
    for beat in range(int(seconds * bpm / 60) + 1):
        _add(mix, np.sin(2 * np.pi * 1500 * t) * np.exp(-t * 150), 0.1 + beat * 60 / bpm)
    return _finished(mix)


def drums(bpm: float, seconds: float, pattern: str = "rock", *, jitter: float = 0.0, seed: int = 0) -> Samples:
    """A drum loop; `jitter` is the standard deviation of each stroke in seconds."""
    random = np.random.default_rng(seed)
    mix = _silence(seconds)
    kicks, snares, hats = PATTERNS[pattern]
    t = _times(0.2)
    kick = np.sin(2 * np.pi * (50 * t + 4 * (1 - np.exp(-t * 30)))) * np.exp(-t * 14)
    for step in range(int(seconds * bpm / 15) + 1):
        at = max(0.0, step * 15 / bpm + random.normal() * jitter)
        if step % 16 in kicks:
            _add(mix, kick, at)
        if step % 16 in snares:
            noise = random.standard_normal(len(t)) * 0.7 + np.sin(2 * np.pi * 190 * t)
            _add(mix, 0.6 * noise * np.exp(-t * 22), at)
        if step % 16 in hats:
            _add(mix, 0.25 * np.diff(random.standard_normal(len(t)), prepend=0.0) * np.exp(-t * 70), at)
    return _finished(mix)


def chords(tonic: int, mode: str, seconds: float, *, bpm: float = 120, cents: float = 0.0, seed: int = 0) -> Samples:
    """A progression in the key of pitch class `tonic` with bass and a melody, each with harmonics."""
    random = np.random.default_rng(seed)
    mix = _silence(seconds)
    beat, tuning = 60 / bpm, cents / 100
    progression = PROGRESSIONS[mode]
    for bar in range(int(seconds / (4 * beat)) + 1):
        degree, third = progression[bar % len(progression)]
        root = (tonic + degree) % 12
        for interval in (0, third, 7):
            _add(mix, 0.2 * _tone(60 + root + interval + tuning, 4 * beat, 8, 1.0), bar * 4 * beat)
        for step in range(4):
            _add(mix, 0.4 * _tone(36 + root + tuning, beat, 6, 2.5), (bar * 4 + step) * beat)
            note = degree + random.choice((0, third, 7)) if step % 2 == 0 else random.choice(_SCALES[mode])
            _add(mix, 0.2 * _tone(72 + (tonic + note) % 12 + tuning, beat, 4, 4.0), (bar * 4 + step) * beat)
    return _finished(mix)


def noise(seconds: float, seed: int = 0) -> Samples:
    """White noise."""
    return _finished(np.random.default_rng(seed).standard_normal(int(seconds * RATE)))


def drone(seconds: float) -> Samples:
    """One note, held."""
    return _finished(_tone(45, seconds, 8, 0.0))


def _tone(midi: float, seconds: float, harmonics: int, decay: float) -> NDArray[np.float64]:
    t = _times(seconds)
    pitch = 440 * 2 ** ((midi - 69) / 12)
    wave = np.zeros_like(t)
    for number in range(1, harmonics + 1):
        wave += np.sin(2 * np.pi * pitch * number * t) / number
    return wave * np.minimum(1, np.minimum(t, t[::-1]) * 100) * np.exp(-t * decay)


def _silence(seconds: float) -> NDArray[np.float64]:
    return np.zeros(int(seconds * RATE))


def _times(seconds: float) -> NDArray[np.float64]:
    return np.arange(int(seconds * RATE)) / RATE


def _add(mix: NDArray[np.float64], sound: NDArray[np.float64], at: float) -> None:
    start = round(at * RATE)
    sound = sound[: max(0, len(mix) - start)]
    mix[start : start + len(sound)] += sound


def _finished(mix: NDArray[np.float64]) -> Samples:
    return (0.8 * mix / np.abs(mix).max()).astype(np.float32)
