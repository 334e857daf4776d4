"""Prompts and lyrics to the states that the condition encoder reads.

ACESTEP_FACTS.md §3.2 and §3.3: prompts run through the whole text encoder, at most 256 tokens; lyrics only through its
embedding table, at most 2048. One text at a time, so that nothing is ever padded. Tokens come from `tokenizer.json`
as it is, with the end-of-text token that its post-processor appends.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Final

import torch

from sidestep_tui.core.errors import ModelError
from sidestep_tui.dataset import captions
from sidestep_tui.dataset.captions import TagPosition
from sidestep_tui.dataset.manifest import Song

PROMPT_TOKENS: Final = 256
LYRIC_TOKENS: Final = 2048
# A cut moves back to the last word boundary if that costs less than this share of what was kept.
_BOUNDARY_SHARE: Final = 0.2


class Tokens:
    """The tokenizer, without the model."""

    def __init__(self, tokenizer_dir: Path) -> None:
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


def prompt_states(model: Any, ids: list[int]) -> torch.Tensor:
    """Last hidden states [L, D] of a prompt."""
    with torch.inference_mode():
        states: torch.Tensor = model(input_ids=_batch(model, ids)).last_hidden_state[0]
    return states


def lyric_states(model: Any, ids: list[int]) -> torch.Tensor:
    """Rows [L, D] of the embedding table for lyrics."""
    with torch.inference_mode():
        states: torch.Tensor = model.get_input_embeddings()(_batch(model, ids))[0]
    return states


def _batch(model: Any, ids: list[int]) -> torch.Tensor:
    return torch.tensor([ids], dtype=torch.long, device=next(model.parameters()).device)
