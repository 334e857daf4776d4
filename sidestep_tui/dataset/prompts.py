"""What the model reads about a song: prompt and lyrics, cut to the tokens there is room for.

ACESTEP_FACTS.md §3.2 and §3.3: prompts have 256 tokens, lyrics 2048. Tokens come from `tokenizer.json` as it is, with
the end-of-text token that its post-processor appends. The engine encodes exactly these texts.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

from sidestep_tui.core.errors import ModelError
from sidestep_tui.dataset import captions
from sidestep_tui.dataset.captions import TagPosition
from sidestep_tui.dataset.manifest import Song

DurationText = Literal["song", "crop"]
PROMPT_TOKENS: Final = 256
LYRIC_TOKENS: Final = 2048
# A cut moves back to the last word boundary if that costs less than this share of what was kept.
_BOUNDARY_SHARE: Final = 0.2


class Tokens:
    """The tokenizer, without the model."""

    def __init__(self, tokenizer_dir: Path) -> None:
        # Deferred: 70 ms that the terminal side need not spend (measured).
        from tokenizers import Tokenizer

        path = tokenizer_dir / "tokenizer.json"
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        # The Rust side of `tokenizers` raises plain Exception for every unreadable file.
        except Exception as error:
            raise ModelError(f"{path} cannot be read.", str(error), "Download this file again.") from error
        self._tokenizer.no_padding()

    def ids(self, text: str, limit: int) -> list[int]:
        """Token ids of `text` with the closing token, at most `limit`; what is cut is the end of the text."""
        self._tokenizer.enable_truncation(limit)
        ids: list[int] = self._tokenizer.encode(text).ids
        return ids

    def reach(self, text: str, limit: int) -> int:
        """How many characters of `text` are read where at most `limit` tokens are."""
        self._tokenizer.enable_truncation(limit)
        return max((end for _, end in self._tokenizer.encode(text).offsets), default=0)

    def count(self, text: str) -> int:
        """Number of tokens, nothing cut."""
        self._tokenizer.no_truncation()
        return len(self._tokenizer.encode(text).ids)


@dataclasses.dataclass(frozen=True, slots=True)
class Texts:
    """What the model reads about a song, and what had to be left out."""

    prompt: str
    lyrics: str
    caption_cut: int = 0
    """Characters of the caption that were left out, so that tempo, key and duration keep their place."""
    lyric_tokens_cut: int = 0


def stated_seconds(song: float, longest: float, crop: float, wanted: DurationText) -> float:
    """The duration that the prompt states, in seconds.

    `song` states the length of the song as it is trained, that is after `longest` has cut it; `crop` that of the crop,
    where the crop is shorter (0: whole songs).
    """
    whole = min(song, longest)
    return min(whole, crop) if wanted == "crop" and crop > 0 else whole


def as_read(songs: Sequence[Song], genre_ratio: int) -> tuple[Song, ...]:
    """The songs with the words that describe them to the model: `genre_ratio` percent by genre instead of caption.

    Which ones follows from the hashes of their names alone, so that it is the same in every run, and a larger share
    keeps the songs of a smaller one. Songs without a genre keep their caption; the share is one of the others. Give
    all songs of the folder.
    """
    with_genre = [song for song in songs if song.genre.strip()]
    ranked = sorted(with_genre, key=lambda song: hashlib.sha256(f"genre/{song.name}".encode()).digest())
    by_genre = {song.name for song in ranked[: round(len(ranked) * genre_ratio / 100)]}
    return tuple(_by_genre(song) if song.name in by_genre else song for song in songs)


def _by_genre(song: Song) -> Song:
    origins = {**song.origins, "caption": song.origins.get("genre", "genre")}
    return dataclasses.replace(song, caption=song.genre.strip(), origins=origins)


def texts_for(song: Song, tokens: Tokens, *, tag: str, tag_position: TagPosition, seconds: float) -> Texts:
    """Prompt and lyrics of a song, cut to what the model reads.

    The metas stand at the end of the prompt, so a long caption would push them out; the caption is shortened instead.
    """
    lyrics = captions.lyrics_text(song)
    lyrics_over = max(0, tokens.count(lyrics) - LYRIC_TOKENS)

    def prompt(length: int) -> str:
        shorter = dataclasses.replace(song, caption=_cut(song.caption, length))
        return captions.prompt(shorter, tag=tag, tag_position=tag_position, seconds=seconds)

    whole = len(song.caption)
    if tokens.count(prompt(whole)) <= PROMPT_TOKENS:
        return Texts(prompt(whole), lyrics, 0, lyrics_over)
    fits, too_long = 0, whole
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if tokens.count(prompt(middle)) <= PROMPT_TOKENS:
            fits = middle
        else:
            too_long = middle
    kept = len(_cut(song.caption, fits))
    return Texts(prompt(fits), lyrics, whole - kept, lyrics_over)


def _cut(caption: str, length: int) -> str:
    if length >= len(caption):
        return caption
    head = caption[:length]
    boundary = max(head.rfind(mark) for mark in (" ", ",", ".", ";", "\n"))
    if not caption[length].isspace() and boundary > length * (1 - _BOUNDARY_SHARE):
        head = head[:boundary]
    return head.rstrip(" ,;\n")
