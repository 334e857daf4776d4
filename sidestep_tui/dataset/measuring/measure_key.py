"""Key from the sound: how much each of the twelve notes sounds, compared with how much it does in each of 24 keys.

The profiles are the mean of two that were counted in music: J. Albrecht and D. Shanahan, "The use of large corpora to
train a new type of key-finding algorithm", Music Perception 31 (2013); D. Temperley, "Music and Probability" (2007),
after the Kostka-Payne corpus. Together they made fewer errors on synthesised progressions than either or than those of
Krumhansl and Kessler (1982), which take a fifth for the tonic (4, 5, 5 and 13 of 24).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

RATE: Final = 22_050
SHORTEST_SECONDS: Final = 2.0
NOTES: Final = {
    "major": ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"),
    "minor": ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B"),
}
"""The usual spelling of each key: the one with fewer accidentals."""
_ALBRECHT: Final = (
    (0.238, 0.006, 0.111, 0.006, 0.137, 0.094, 0.016, 0.214, 0.009, 0.080, 0.008, 0.081),
    (0.220, 0.006, 0.104, 0.123, 0.019, 0.103, 0.012, 0.214, 0.062, 0.022, 0.061, 0.052),
)
_TEMPERLEY: Final = (
    (0.748, 0.060, 0.488, 0.082, 0.670, 0.460, 0.096, 0.715, 0.104, 0.366, 0.057, 0.400),
    (0.712, 0.084, 0.474, 0.618, 0.049, 0.460, 0.105, 0.747, 0.404, 0.067, 0.133, 0.330),
)
_HOP: Final = 2048
_OCTAVES: Final = 4
_BINS: Final = 36
"""Of an octave: three for each note, so that an instrument tuned between notes is heard as such."""
_COMPRESSION: Final = 50.0
_WINDOW_SECONDS: Final = 20.0
_FLAT, _TONAL = 0.2, 0.45
"""Spread of the twelve notes over their mean: noise has 0.01, drums 0.2, chords with drums at least 0.45 (measured)."""
_NO_FIT, _GOOD_FIT = 0.5, 0.7
"""Correlation with the best key: drums, whose tuned skins stand out, reach 0.3, chord progressions 0.73 and more."""
_CLEAR_MARGIN: Final = 0.15
"""Lead of the best correlation over the second, from where the key is as clear as it gets."""


@dataclass(frozen=True, slots=True)
class Key:
    """The key of a piece of sound."""

    name: str
    confidence: float
    """From 0 to 1: whether notes stand out and fit any key, times the geometric mean of the lead over the second best
    key and the share of windows that have the same key."""
    other: str
    """The second best, often the relative key."""


def key(samples: NDArray[np.float32]) -> Key | None:
    """The key of mono samples at `RATE`; None where no notes stand out, or in less than two seconds."""
    import numpy as np

    if len(samples) < SHORTEST_SECONDS * RATE:
        return None
    notes = _notes(samples)
    whole = notes.mean(axis=1)
    spread = float(whole.std() / (whole.mean() + 1e-12))
    tonality = float(np.clip((spread - _FLAT) / (_TONAL - _FLAT), 0, 1))
    if tonality <= 0:
        return None
    fits = _fits(whole)
    tonality *= float(np.clip((fits.max() - _NO_FIT) / (_GOOD_FIT - _NO_FIT), 0, 1))
    first, second = (int(index) for index in np.argsort(fits)[::-1][:2])
    window = int(min(_WINDOW_SECONDS * RATE / _HOP, max(1, notes.shape[1] // 2)))
    parts = [notes[:, at : at + window] for at in range(0, notes.shape[1] - window + 1, max(1, window // 2))]
    agreement = float(np.mean([int(np.argmax(_fits(part.mean(axis=1)))) == first for part in parts]))
    lead = float(np.clip((fits[first] - fits[second]) / _CLEAR_MARGIN, 0, 1))
    return Key(_name(first), tonality * float(np.sqrt(lead * agreement)), _name(second))


def name(pitch_class: int, mode: str) -> str:
    """`name(10, "major")` → `Bb major`."""
    return f"{NOTES[mode][pitch_class % 12]} {mode}"


def _name(index: int) -> str:
    return name(index % 12, "major" if index < 12 else "minor")


def _notes(samples: NDArray[np.float32]) -> Floats:
    """Strength of the twelve notes from C in every frame: [12, frames], with drums and detuning taken out."""
    # Deferred: librosa takes 2 s to import, and 20 s on the first use on a machine, while numba compiles (measured).
    import librosa
    import numpy as np
    from scipy.ndimage import median_filter

    transform = librosa.cqt(
        samples,
        sr=RATE,
        hop_length=_HOP,
        fmin=librosa.note_to_hz("C2"),
        n_bins=_BINS * _OCTAVES,
        bins_per_octave=_BINS,
        tuning=0.0,
    )
    bins = np.abs(transform)
    # What lasts is a note, what is wide is a drum (D. FitzGerald, "Harmonic/percussive separation using median
    # filtering", DAFx 2010), at a tenth of the cost of doing so in a short-time spectrum.
    lasting, wide = median_filter(bins, (1, 9)) ** 2, median_filter(bins, (15, 1)) ** 2
    bins = bins * lasting / (lasting + wide + 1e-20)
    bins = np.log1p(_COMPRESSION * bins / (bins.max() + 1e-12))
    octave = bins.reshape(_OCTAVES, _BINS, -1).sum(axis=0)
    tuning = int(np.argmax(octave.sum(axis=1).reshape(12, 3).sum(axis=0)))
    # Bring the bin that most notes fall into to the middle of its three; the third one belongs to the next note.
    centred = np.roll(octave, (1, 0, 2)[tuning], axis=0)
    weights = np.array([0.5, 1.0, 0.5])[None, :, None]
    result: Floats = (centred.reshape(12, 3, -1) * weights).sum(axis=1)
    return result


def _fits(notes: Floats) -> Floats:
    """Correlation with each of the 24 keys: twelve major from C, twelve minor."""
    import numpy as np

    fits: Floats = np.nan_to_num(_profiles() @ _standard(notes) / 12)
    return fits


def _profiles() -> Floats:
    import numpy as np

    modes = [
        _standard(_standard(np.array(one)) + _standard(np.array(two)))
        for one, two in zip(_ALBRECHT, _TEMPERLEY, strict=True)
    ]
    return np.stack([np.roll(mode, tonic) for mode in modes for tonic in range(12)])


def _standard(values: Floats) -> Floats:
    standard: Floats = (values - values.mean()) / (values.std() + 1e-12)
    return standard
