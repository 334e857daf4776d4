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
    keyscale = transposed(song.keyscale, alteration.semitones)
    bpm = _scaled(song.bpm, alteration.tempo)
    return dataclasses.replace(
        song,
        keyscale=keyscale,
        bpm=bpm,
        duration=song.duration / alteration.tempo,
        caption=_caption(song, keyscale, bpm),
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


def _scaled(bpm: int | None, tempo: float) -> int | None:
    if bpm is None:
        return None
    low, high = values.BPM_RANGE
    scaled = round(bpm * tempo)
    return scaled if low <= scaled <= high else None


def _caption(song: Song, keyscale: str, bpm: int | None) -> str:
    """The caption with the song's own tempo and key exchanged where it names them: `142 BPM`, `E minor`, `Em`."""
    caption = song.caption
    if song.bpm and bpm and bpm != song.bpm:
        caption = re.sub(rf"(?<![\d.,]){song.bpm}(?=\s*bpm\b)", str(bpm), caption, flags=re.IGNORECASE)
    if keyscale != song.keyscale:
        caption = re.sub(_mention(song.keyscale), keyscale, caption)
    return caption


def _mention(keyscale: str) -> str:
    """A pattern for a key in prose; the note in upper case, because `a minor setback` names no key."""
    note, _, mode = values.keyscale(keyscale).partition(" ")
    sign = {"#": "[#♯]", "b": "[b♭]", "": ""}[note[1:]]
    short = r"(?i:\s*min)|m" if mode == "minor" else r"(?i:\s*maj)"
    return rf"(?<![\w#♯♭]){note[0]}{sign}(?:[ -](?i:{mode})|{short})(?![\w#♯♭])"


def _hash(content: str, *place: str | int) -> int:
    """64 bits that belong to this content and place."""
    words = "/".join(map(str, (content, *place)))
    return int.from_bytes(hashlib.blake2b(words.encode(), digest_size=8).digest(), "little")
