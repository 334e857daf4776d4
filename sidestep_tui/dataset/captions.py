"""The exact strings that the text encoder reads, in training as in generation (ACESTEP_FACTS.md §3.2).

A song is learned under the words it will later be called by, so these templates are the model's own: every
space and newline counts, and golden tests hold them. Pure.
"""

from __future__ import annotations

import math
from typing import Final, Literal, Protocol

from sidestep_tui.dataset import values
from sidestep_tui.dataset.lyrics import INSTRUMENTAL

INSTRUCTION: Final = "Fill the audio semantic mask based on the given conditions:"
END_OF_TEXT: Final = "<|endoftext|>"
MISSING: Final = "N/A"
DEFAULT_SECONDS: Final = 30

TagPosition = Literal["prepend", "append", "replace"]


class Described(Protocol):
    """What the templates need to know of a song; `manifest.Song` is one."""

    @property
    def caption(self) -> str: ...
    @property
    def lyrics(self) -> str: ...
    @property
    def language(self) -> str: ...
    @property
    def bpm(self) -> int | None: ...
    @property
    def keyscale(self) -> str: ...
    @property
    def timesignature(self) -> str: ...
    @property
    def instrumental(self) -> bool: ...
    @property
    def tag(self) -> str: ...


def prompt(song: Described, *, tag: str, tag_position: TagPosition, seconds: float) -> str:
    """The text prompt of `song`, stating `seconds` (whole seconds, rounded down) as its duration.

    A tag of the song's own takes the place of `tag`. Values out of the model's vocabulary read `N/A`.
    """
    caption = tagged(song.caption, song.tag or tag, tag_position)
    whole = int(seconds) if math.isfinite(seconds) and seconds >= 1 else DEFAULT_SECONDS
    metas = (
        f"- bpm: {_bpm(song.bpm)}\n"
        f"- timesignature: {_timesignature(song.timesignature)}\n"
        f"- keyscale: {_keyscale(song.keyscale)}\n"
        f"- duration: {whole} seconds\n"
    )
    return f"# Instruction\n{INSTRUCTION}\n\n# Caption\n{caption}\n\n# Metas\n{metas}{END_OF_TEXT}\n"


def lyrics_text(song: Described) -> str:
    """The lyric string of `song`; instrumental music reads `[Instrumental]` in language `unknown`."""
    language = values.UNKNOWN_LANGUAGE if song.instrumental else song.language or values.UNKNOWN_LANGUAGE
    words = song.lyrics or (INSTRUMENTAL if song.instrumental else "")
    return f"# Languages\n{language}\n\n# Lyric\n{words}{END_OF_TEXT}"


def tagged(caption: str, tag: str, position: TagPosition) -> str:
    """The caption with the trigger tag put in; a tag that already stands there is not said twice."""
    caption, tag = caption.strip(), tag.strip()
    if not tag:
        return caption
    if position == "replace" or not caption:
        return tag
    parts = [part.strip().casefold() for part in caption.split(",")]
    if position == "prepend":
        return caption if parts[0] == tag.casefold() else f"{tag}, {caption}"
    return caption if parts[-1] == tag.casefold() else f"{caption}, {tag}"


def _bpm(bpm: int | None) -> str:
    low, high = values.BPM_RANGE
    return str(bpm) if bpm is not None and low <= bpm <= high else MISSING


def _timesignature(timesignature: str) -> str:
    try:
        return values.timesignature(timesignature)
    except ValueError:
        return MISSING


def _keyscale(keyscale: str) -> str:
    try:
        return values.keyscale(keyscale)
    except ValueError:
        return MISSING
