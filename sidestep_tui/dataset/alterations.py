"""Altered copies of a song: which alteration each one gets, and what the words then say.

Everything follows from the content of the audio file and the number of the copy, so that a song has the same copies on
every machine, in every order and in every folder, and asking for more copies keeps those there are. Pure.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from typing import Final

from sidestep_tui.dataset import values
from sidestep_tui.dataset.manifest import Song

_SHARPS: Final = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_FLATS: Final = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")
# The spelling with the fewer accidentals in the key's own signature, as it is usually printed.
_USUAL: Final = {
    "major": ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"),
    "minor": ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B"),
}
_NUMBER: Final = re.compile(r"\d{2,3}(?:\.\d+)?")
_TEMPO: Final = re.compile(rf"(?<![\d.,]){_NUMBER.pattern}(?:\s*[-–]\s*{_NUMBER.pattern})?(?=\s*bpm\b)", re.IGNORECASE)
# The note in upper case, because `a minor setback` names no key.
_KEY: Final = re.compile(r"(?<![\w#♯♭])[A-G][#♯b♭]?[ -]?(?i:major|minor|maj|min)(?![\w#♯♭])")
_PLACES: Final = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}


@dataclasses.dataclass(frozen=True, slots=True)
class Alteration:
    """What is done to one copy."""

    number: int
    """Of the copy, from 1."""
    semitones: int = 0
    """Pitch, up or down."""
    tempo: float = 1.0
    """Speed at the same pitch: 1.1 plays in 1/1.1 of the time."""
    noise: float = 0.0
    """Decibels from the music's level down to that of white noise; 0 for none."""
    seed: int = 0
    """Of the noise."""


def draw(content: str, copies: int, *, pitch: int, stretch: float, noise: float) -> tuple[Alteration, ...]:
    """The alterations of a song with audio of this hash.

    Pitches from -`pitch` to `pitch` semitones are dealt out in a shuffled order and come round again only when all
    were given; tempo is drawn evenly within ±`stretch` percent. Where nothing else would tell a copy from the song,
    no copy stays at pitch. All three zero: there are no copies.
    """
    if not (pitch or stretch or noise):
        return ()
    pitches = [step for step in range(-pitch, pitch + 1) if step or not pitch or stretch or noise]
    pitches.sort(key=lambda step: _hash(content, "pitch", step))
    return tuple(
        Alteration(
            number=number,
            semitones=pitches[(number - 1) % len(pitches)],
            tempo=round(1 + (2 * _hash(content, "tempo", number) / 2**64 - 1) * stretch / 100, 4),
            noise=float(noise),
            seed=_hash(content, "noise", number) % 2**63,
        )
        for number in range(1, copies + 1)
    )


def altered(song: Song, alteration: Alteration) -> Song:
    """The song as its copy is described: key transposed, tempo and length scaled, in the caption too.

    A tempo that leaves what the model knows is not stated.
    """
    return dataclasses.replace(
        song,
        keyscale=transposed(song.keyscale, alteration.semitones),
        bpm=_scaled(song.bpm, alteration.tempo),
        duration=song.duration / alteration.tempo,
        caption=_caption(song.caption, alteration),
    )


def transposed(keyscale: str, semitones: int) -> str:
    """`E minor` two semitones up is `F# minor`; what is no key stays as it is.

    A key with a sharp or a flat keeps to that sign where it needs one, others are spelled as usual.
    """
    if not semitones:
        return keyscale
    try:
        note, _, mode = values.keyscale(keyscale).partition(" ")
    except ValueError:
        return keyscale
    sign = note[1:]
    place = _PLACES[note[0]] + (sign == "#") - (sign == "b") + semitones
    names = _SHARPS if sign == "#" else _FLATS if sign == "b" else _USUAL[mode]
    return f"{names[place % 12]} {mode}"


def _scaled(bpm: float | None, tempo: float) -> int | None:
    if bpm is None:
        return None
    low, high = values.BPM_RANGE
    scaled = round(bpm * tempo)
    return scaled if low <= scaled <= high else None


def _caption(caption: str, alteration: Alteration) -> str:
    """The caption with every tempo and key that it names exchanged: `142 BPM`, `120-125 bpm`, `E minor`, `F♯ maj`."""
    tempo = alteration.tempo
    if tempo != 1.0:
        caption = _TEMPO.sub(lambda mention: _NUMBER.sub(lambda beats: _faster(beats[0], tempo), mention[0]), caption)
    return _KEY.sub(lambda found: transposed(found[0], alteration.semitones), caption)


def _faster(beats: str, tempo: float) -> str:
    scaled = _scaled(float(beats), tempo)
    return beats if scaled is None else str(scaled)


def _hash(content: str, *place: str | int) -> int:
    """64 bits that belong to this content and place."""
    words = "/".join(map(str, (content, *place)))
    return int.from_bytes(hashlib.blake2b(words.encode(), digest_size=8).digest(), "little")
