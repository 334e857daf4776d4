"""Tempo from the sound: how fast the pulse goes, and which of its levels people would call the beat.

The pulse is the lag and the frequency that onset strengths in several bands share: autocorrelation also peaks at
multiples of a period and the spectrum at multiples of a frequency, their product at the pulse alone (G. Peeters,
"Template-based estimation of time-varying tempo", EURASIP Journal on Advances in Signal Processing, 2007). Which
octave is the beat is then decided by accents in bass and middle, and by how fast music usually is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

RATE: Final = 22_050
SHORTEST_SECONDS: Final = 4.0
_HOP: Final = 256
_FPS: Final = RATE / _HOP
_MELS: Final = 64
_HIGHEST_HZ: Final = 10_000
# Mel bands of about 0–470, –1080, –2100, –4200 and –10,000 Hz: kick, snare and hats apart.
_PULSE_BANDS: Final = (0, 6, 14, 24, 40, _MELS)
_ACCENT_BOUNDS_HZ: Final = (200.0, 1200.0)
_WINDOW_SECONDS: Final = 8.0
_SLOWEST, _FASTEST = 30.0, 300.0
# Beats that people tap; slower and faster pulses are bars and subdivisions.
_BEATS: Final = (40.0, 240.0)
_USUAL_BPM: Final = 122.0
_PULSE_SPREAD: Final = 0.9
_BEAT_SPREAD: Final = 0.6
"""Octaves from the usual tempo at which a candidate weighs e^(-1/2) as much."""
_LEVELS: Final = (0.25, 0.5, 1.0, 2.0, 4.0)
# Comb of the autocorrelation: a pulse repeats, so two, three and four periods count too.
_COMB: Final = ((1, 1.0), (2, 0.5), (3, 0.5), (4, 0.25))
_SAME_PULSE_OCTAVES: Final = 0.06
_NO_PULSE, _CLEAR_PULSE = 0.05, 0.25
"""Autocorrelation at the pulse: noise reaches 0.04, drums played with 10 ms of jitter 0.25 (measured)."""
_LEAST_RISE_DB: Final = 1.0
"""Onsets that rise less are no onsets, but ripples of a held sound."""


@dataclass(frozen=True, slots=True)
class Tempo:
    """The beat of a piece of sound."""

    bpm: float
    confidence: float
    """From 0 to 1: clearness of the pulse, times the share of windows that have the same one, times how much better
    this octave fits than the next best."""
    other: float | None
    """The next best octave, half or double as a rule."""


def tempo(samples: NDArray[np.float32]) -> Tempo | None:
    """The tempo of mono samples at `RATE`; None where nothing beats or the piece is shorter than four seconds."""
    # Deferred: librosa takes 2 s to import, and 20 s on the first use on a machine, while numba compiles (measured).
    import numpy as np

    if len(samples) < SHORTEST_SECONDS * RATE:
        return None
    onsets, accents = _envelopes(samples)
    # A window longer than the sound has hardly any pulse to compare; three or more windows can disagree.
    window = int(min(_WINDOW_SECONDS * _FPS, 0.6 * onsets.shape[1]))
    if float(np.percentile(onsets.max(axis=0), 98)) < _LEAST_RISE_DB:
        return None
    pulses = _local(onsets)
    grid = np.geomspace(_SLOWEST, _FASTEST, 600)
    windows = [
        _spectra(pulses[:, first : first + window])
        for first in range(0, pulses.shape[1] - window + 1, max(1, window // 3))
    ]
    spectrum = np.mean([part for part, _ in windows], axis=0)
    correlation = np.median([part for _, part in windows], axis=0)
    scores, comb = _score(grid, spectrum, correlation)
    best = int(np.argmax(scores))
    apart = [np.log2(grid[int(np.argmax(_score(grid, *part)[0]))] / grid[best]) for part in windows]
    agreement = float(np.mean([abs(octaves - round(octaves)) < _SAME_PULSE_OCTAVES for octaves in apart]))
    clearness = float(np.clip((comb[best] - _NO_PULSE) / (_CLEAR_PULSE - _NO_PULSE), 0, 1))
    pulse = _refined(pulses, float(grid[best]))
    levels = sorted(((_fitness(accents, pulse * level), pulse * level) for level in _LEVELS), reverse=True)
    (first_score, bpm), (second_score, other) = levels[:2]
    if first_score <= 0:
        return None
    confidence = clearness * agreement * first_score**2 / (first_score**2 + second_score**2)
    return Tempo(bpm, confidence, other if second_score > 0 else None)


def _envelopes(samples: NDArray[np.float32]) -> tuple[Floats, Floats]:
    """Onset strengths [bands, frames] in decibels, where a hat counts as much as a kick; and accents [frames] from 0
    to 1, by amplitude in bass and middle, where it does not."""
    import librosa
    import numpy as np
    from librosa.onset import onset_strength_multi

    mel = librosa.feature.melspectrogram(
        y=samples, sr=RATE, n_fft=1024, hop_length=_HOP, n_mels=_MELS, fmax=_HIGHEST_HZ
    )
    decibels = librosa.power_to_db(mel, ref=np.max, top_db=60)
    common: dict[str, Any] = {"sr": RATE, "hop_length": _HOP}
    onsets = onset_strength_multi(S=decibels, channels=list(_PULSE_BANDS), **common)
    centres = librosa.mel_frequencies(n_mels=_MELS, fmax=_HIGHEST_HZ)
    bounds = [0, *(int(np.searchsorted(centres, hertz)) for hertz in _ACCENT_BOUNDS_HZ)]
    accents = onset_strength_multi(S=np.sqrt(mel / max(float(mel.max()), 1e-12)), channels=bounds, **common)
    # A band that never sounds is not blown up to the level of the others.
    ceiling = np.maximum(np.percentile(accents, 99, axis=1, keepdims=True), 0.01 * accents.max() + 1e-9)
    return onsets.astype(np.float64), np.minimum(accents / ceiling, 1.0).max(axis=0).astype(np.float64)


def _local(onsets: Floats) -> Floats:
    """Onsets above their mean of a second, with a mean of zero."""
    import numpy as np

    kernel = np.ones(int(_FPS)) / int(_FPS)
    above: Floats = np.stack([np.maximum(band - np.convolve(band, kernel, "same"), 0) for band in onsets])
    above -= above.mean(axis=1, keepdims=True)
    return above


def _spectra(pulses: Floats) -> tuple[Floats, Floats]:
    """Magnitude spectrum and normalised autocorrelation of a window, bands added up."""
    import numpy as np

    length = pulses.shape[1]
    size = 1 << (4 * length - 1).bit_length()
    taper = np.hanning(length)
    power = np.abs(np.fft.rfft(pulses * taper, size, axis=1)) ** 2
    overlap = np.fft.irfft(np.abs(np.fft.rfft(taper, size)) ** 2)[:length]
    correlation = np.fft.irfft(power, axis=1)[:, :length].sum(axis=0) / np.maximum(overlap / overlap[0], 0.05)
    return np.sqrt(power).sum(axis=0), correlation / (correlation[0] + 1e-12)


def _score(grid: Floats, spectrum: Floats, correlation: Floats) -> tuple[Floats, Floats]:
    """How well each tempo of `grid` explains a window, and the comb of its autocorrelation."""
    import numpy as np

    length = len(correlation)
    lags = 60 * _FPS / grid
    total, weights = np.zeros_like(grid), np.full_like(grid, 1e-12)
    for multiple, weight in _COMB:
        inside = weight * (multiple * lags < 0.8 * length)
        total += inside * np.interp(multiple * lags, np.arange(length), correlation)
        weights += inside
    comb = np.maximum(total / weights, 0)
    size = 2 * (len(spectrum) - 1)
    magnitude = np.interp(grid / 60 / _FPS * size, np.arange(len(spectrum)), spectrum) / (spectrum.max() + 1e-12)
    return comb * np.sqrt(magnitude) * _usual(grid, _PULSE_SPREAD), comb


def _usual(bpm: Any, octaves: float) -> Any:
    """Weight of a tempo by its distance from the usual one."""
    import numpy as np

    return np.exp(-0.5 * (np.log2(bpm / _USUAL_BPM) / octaves) ** 2)


def _refined(pulses: Floats, bpm: float) -> float:
    """The tempo to a tenth: how fast the phase of the pulse drifts against that of `bpm` from window to window."""
    import numpy as np

    frames = pulses.shape[1]
    length = int(min(6 * _FPS, 0.6 * frames))
    hop = max(1, length // 4)
    taper, times = np.hanning(length), np.arange(frames) / _FPS
    frequency = bpm / 60
    for _ in range(2):
        wave = np.exp(-2j * np.pi * frequency * times)
        phases = np.array(
            [(pulses[:, at : at + length] * taper * wave[at : at + length]).sum(axis=1)
             for at in range(0, frames - length + 1, hop)]
        )  # fmt: skip
        drift = np.angle((phases[1:] * phases[:-1].conj()).sum())
        frequency += float(drift) * _FPS / hop / (2 * np.pi)
    refined = 60 * frequency
    return refined if abs(refined / bpm - 1) < 0.03 else bpm


def _fitness(accents: Floats, bpm: float) -> float:
    """How well `bpm` serves as the beat: every beat is accented, the places between are not, and people play it."""
    import numpy as np
    from scipy.ndimage import maximum_filter1d

    low, high = _BEATS
    if not low <= bpm <= high:
        return 0.0
    period = 60 * _FPS / bpm
    window = int(min(12 * _FPS, len(accents)))
    # Two frames to either side: players are not machines.
    reached = maximum_filter1d(accents, 5)
    filled, between = [], []
    for first in range(0, len(accents) - window + 1, window):
        part = reached[first : first + window]
        places = np.arange(int(2 * period))[:, None] + 2 * period * np.arange(max(1, int(window / (2 * period))))
        folded = part[np.minimum(places.astype(int), window - 1)].mean(axis=1)
        turned = np.roll(folded, -round(period))
        at = int(np.argmax(folded + turned))
        one, two = folded[at], turned[at]
        off = np.roll(folded + turned, -round(period / 2))[at] / 2
        filled.append(min(one, two) / (max(one, two) + 1e-9))
        between.append(min(1.0, off / ((one + two) / 2 + 1e-9)))
    return float(np.mean(filled) * (1 - 0.5 * np.mean(between)) * _usual(bpm, _BEAT_SPREAD))
