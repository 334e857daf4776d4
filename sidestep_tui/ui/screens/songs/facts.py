"""What the songs screen knows about one song: its words, what is pending, what was measured. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from sidestep_tui.dataset import values
from sidestep_tui.dataset.lyrics import has_words
from sidestep_tui.dataset.manifest import Song
from sidestep_tui.dataset.measuring.measure import Measured
from sidestep_tui.dataset.merge import FILE_NAME, NO_LYRICS

WORDS: Final = ("caption", "lyrics", "bpm", "keyscale")
"""What every song should say: the doctor asks for these."""

LABELS: Final[Mapping[str, str]] = {
    "caption": "caption",
    "lyrics": "lyrics",
    "bpm": "BPM",
    "keyscale": "key",
    "timesignature": "signature",
    "language": "language",
    "genre": "genre",
    "tag": "tag",
    "instrumental": "instrumental",
    "repeats": "repeats",
}
"""The fields that can be edited, with the words that the screen has for them."""


@dataclass(frozen=True, slots=True)
class SongFacts:
    """One song as the table shows it."""

    song: Song
    edited: frozenset[str] = field(default_factory=frozenset)
    """Fields with edits that are not written yet."""
    reviewed: bool = False
    marked: bool = False
    measured: Measured | None = None


def states(song: Song, name: str) -> bool:
    """Whether a song has a field from a source of its own; a caption made of the file name is none."""
    if name == "caption":
        return bool(song.caption) and song.origins.get("caption") != FILE_NAME
    if name == "lyrics":
        return (song.instrumental and not is_assumed_instrumental(song)) or is_sung(song)
    if name == "language":
        return song.language != values.UNKNOWN_LANGUAGE or song.instrumental
    if name == "instrumental":
        return song.instrumental
    if name == "repeats":
        return song.repeats != 1
    plain = {
        "bpm": song.bpm,
        "keyscale": song.keyscale,
        "timesignature": song.timesignature,
        "genre": song.genre,
        "tag": song.tag,
    }
    return bool(plain[name])


def missing(song: Song) -> list[str]:
    """The words that every song should have and this one has not."""
    return [name for name in WORDS if not states(song, name)]


def is_assumed_instrumental(song: Song) -> bool:
    """Whether nobody said that the song is instrumental: no lyrics were found, that is all."""
    return song.instrumental and song.origins.get("instrumental") == NO_LYRICS


def is_sung(song: Song) -> bool:
    """Whether the song has words that are sung."""
    return not song.instrumental and has_words(song.lyrics)


def lyric_lines(song: Song) -> int:
    """Lines of lyrics with something in them."""
    return sum(1 for line in song.lyrics.splitlines() if line.strip()) if not song.instrumental else 0


def clock(seconds: float) -> str:
    """`214.6` → `3:35`, as players show it."""
    whole = round(max(seconds, 0.0))
    minutes, rest = divmod(whole, 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"
