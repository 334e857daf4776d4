"""Short songs for the demo and the tests: synthesised here, in five formats, described in five layouts.

Drums, bass and chords at a given tempo and key, so that tempo and key in the sidecars are true. Same arguments, same
samples.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sidestep_tui.core import atomic

Samples = NDArray[np.float64]

_NOTES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_TRIADS = {"major": (0, 4, 7), "minor": (0, 3, 7)}
_PROGRESSIONS = {"major": (0, 7, 9, 5), "minor": (0, 8, 3, 10)}


@dataclass(frozen=True, slots=True)
class TinySong:
    """One song of the set: how it sounds and what is said about it."""

    name: str
    suffix: str
    bpm: int
    keyscale: str
    rate: int
    channels: int
    caption: str
    lyrics: str


SONGS: tuple[TinySong, ...] = (
    TinySong(
        "night_drive", ".wav", 124, "A minor", 48_000, 2,
        "driving synthwave, analog bass, gated drums, night mood, 124 bpm", "",
    ),
    TinySong(
        "paper_boats", ".flac", 92, "C major", 44_100, 2,
        "gentle indie folk, soft plucked chords, brushed drums, warm",
        "[Verse]\nPaper boats along the stream\nCarry what is left of a dream\n\n[Chorus]\nLet them go, let them go\n",
    ),
    TinySong(
        "glass_garden", ".ogg", 110, "E minor", 22_050, 1,
        "minimal electronica, glassy chords, sparse kick, cool and spacious",
        "[Verse]\nWalking through a garden of glass\n",
    ),
    TinySong(
        "iron_tide", ".mp3", 140, "D minor", 44_100, 1,
        "industrial techno, distorted kick, rolling bass, dark warehouse",
        "[Instrumental]",
    ),
    TinySong(
        "slow_lantern", ".opus", 76, "G major", 48_000, 2,
        "slow lo-fi hip hop, mellow electric piano, dusty drums, relaxed",
        "[Verse]\nLantern light on the water tonight\n",
    ),
)  # fmt: skip


def write_songs(directory: Path, *, seconds: float = 6.0, count: int = len(SONGS)) -> Path:
    """Write the first `count` songs with their sidecars into `directory`, and return it."""
    import soundfile

    directory.mkdir(parents=True, exist_ok=True)
    for index, song in enumerate(SONGS[:count]):
        samples = synthesise(song, seconds + 0.37 * index, seed=index)
        kind = {"wav": ("WAV", "PCM_16"), "flac": ("FLAC", "PCM_16"), "ogg": ("OGG", "VORBIS")} | {
            "mp3": ("MP3", "MPEG_LAYER_III"),
            "opus": ("OGG", "OPUS"),
        }
        container, coding = kind[song.suffix.removeprefix(".")]
        path = directory / (song.name + song.suffix)
        soundfile.write(str(path), samples.T, song.rate, format=container, subtype=coding)
        _describe(directory, song)
    return directory


def synthesise(song: TinySong, seconds: float, *, seed: int = 0) -> Samples:
    """The samples of a song, [channels, samples] within ±0.9."""
    random = np.random.default_rng(seed)
    total = int(seconds * song.rate)
    mix = np.zeros((2, total))
    note, mode = song.keyscale.split()
    root = 45 + (_NOTES.index(note) - 9) % 12
    beat = 60.0 / song.bpm
    for step in range(int(seconds / (beat / 2)) + 1):
        at = step * beat / 2
        chord = root + _PROGRESSIONS[mode][step // 8 % 4]
        if step % 2 == 0:
            _add(mix, _kick(song.rate), at, song.rate, pan=0.0, level=0.9)
        else:
            _add(mix, _hat(song.rate, random), at, song.rate, pan=0.4, level=0.18)
        if step % 4 == 2:
            _add(mix, _snare(song.rate, random), at, song.rate, pan=-0.15, level=0.4)
        _add(mix, _tone(chord - 12, beat / 2, song.rate, harmonics=6), at, song.rate, pan=0.0, level=0.35)
        if step % 4 == 0:
            for offset, pan in zip(_TRIADS[mode], (-0.5, 0.1, 0.5), strict=True):
                _add(
                    mix,
                    _tone(chord + 12 + offset, beat * 2, song.rate, harmonics=3),
                    at,
                    song.rate,
                    pan=pan,
                    level=0.16,
                )
    mix *= 0.9 / np.abs(mix).max()
    return mix if song.channels == 2 else mix.mean(axis=0, keepdims=True)


def _add(mix: Samples, sound: Samples, at: float, rate: int, *, pan: float, level: float) -> None:
    start = int(at * rate)
    sound = sound[: max(0, mix.shape[1] - start)]
    for channel, side in enumerate((1 - pan, 1 + pan)):
        mix[channel, start : start + len(sound)] += sound * level * side / 2


def _times(seconds: float, rate: int) -> Samples:
    return np.arange(int(seconds * rate)) / rate


def _kick(rate: int) -> Samples:
    t = _times(0.25, rate)
    return np.sin(2 * np.pi * (50 * t + 4 * (1 - np.exp(-t * 30)))) * np.exp(-t * 14)


def _snare(rate: int, random: np.random.Generator) -> Samples:
    t = _times(0.18, rate)
    return (random.standard_normal(len(t)) * 0.7 + np.sin(2 * np.pi * 190 * t)) * np.exp(-t * 22)


def _hat(rate: int, random: np.random.Generator) -> Samples:
    t = _times(0.06, rate)
    return np.diff(random.standard_normal(len(t)), prepend=0.0) * np.exp(-t * 70)


def _tone(midi: int, seconds: float, rate: int, *, harmonics: int) -> Samples:
    t = _times(seconds * 0.95, rate)
    pitch = 440.0 * 2 ** ((midi - 69) / 12)
    wave = sum((np.sin(2 * np.pi * pitch * n * t) / n for n in range(1, harmonics + 1)), np.zeros_like(t))
    fade = np.minimum(1.0, np.minimum(t, t[::-1]) * 100)
    return wave * fade * np.exp(-t * 2.5)


def _describe(directory: Path, song: TinySong) -> None:
    """Each format has its sidecars in another layout: plain text, two files, JSON, prompt and lyrics, a CSV row."""
    base = directory / song.name
    tempo_key = {"bpm": song.bpm, "keyscale": song.keyscale}
    if song.suffix == ".wav":
        atomic.write_text(base.with_suffix(".txt"), song.caption + "\n")
    elif song.suffix == ".flac":
        atomic.write_text(base.with_suffix(".caption.txt"), song.caption + "\n")
        atomic.write_text(base.with_suffix(".lyrics.txt"), song.lyrics)
    elif song.suffix == ".ogg":
        record = {"caption": song.caption, "lyrics": song.lyrics, "language": "en", "timesignature": "4"} | tempo_key
        atomic.write_json(base.with_suffix(".json"), record)
    elif song.suffix == ".mp3":
        atomic.write_text(directory / f"{song.name}_prompt.txt", song.caption + "\n")
        atomic.write_text(directory / f"{song.name}_lyrics.txt", song.lyrics)
    else:
        header = "filename,caption,lyrics,bpm,keyscale,language"
        fields = (song.name + song.suffix, song.caption, song.lyrics, str(song.bpm), song.keyscale, "en")
        row = ",".join(json.dumps(field, ensure_ascii=False).replace("\\n", "\n") for field in fields)
        atomic.write_text(directory / "metadata.csv", f"{header}\n{row}\n")
