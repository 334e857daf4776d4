"""What is encoded of a folder and under which names: each song as the model reads it, and its altered copies.

An entry's name is a hash of all that decides its content, and of nothing else: what did not change keeps its name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from sidestep_tui.core import paths
from sidestep_tui.dataset import alterations, prompts
from sidestep_tui.dataset.alterations import Alteration
from sidestep_tui.dataset.manifest import Song
from sidestep_tui.engine import sound
from sidestep_tui.engine.cache import Cache, digest
from sidestep_tui.engine.variants import Checkpoint
from sidestep_tui.schema import plan_maths
from sidestep_tui.schema.data import DataSettings

# Raise when an entry of the same name would come out otherwise: other resampling, templates, or model code.
_RECIPE = 1
_ALTERED_RECIPE = 1


def cache_root(data: DataSettings) -> Path:
    """The directory of encoded songs that these settings mean."""
    return Path(data.cache).expanduser() if data.cache else paths.cache_dir() / "encoded"


@dataclass(slots=True)
class Piece:
    """A song or one of its altered copies; the texts and their names are there after `Pieces.describe`."""

    song: Song
    """As the model reads of it: a copy has its own tempo, key and length."""
    content: str
    """Hash of the audio file."""
    alteration: Alteration | None
    latents_key: str
    texts: prompts.Texts = field(default_factory=lambda: prompts.Texts("", ""))
    prompt_key: str = ""
    lyrics_key: str = ""
    condition_key: str = ""

    @property
    def label(self) -> str:
        """How messages call it."""
        return f"{self.song.name}, altered copy {self.alteration.number}" if self.alteration else self.song.name


class Pieces:
    """All pieces of the songs of a folder, for one checkpoint and these settings."""

    def __init__(
        self, songs: tuple[Song, ...], ckpt: Checkpoint, data: DataSettings, dtype: torch.dtype, cache: Cache
    ) -> None:
        self.songs = prompts.as_read(songs, data.genre_ratio)
        self.per_song = plan_maths.pieces_per_song(data)
        self._ckpt, self._data, self._dtype, self._cache = ckpt, data, dtype, cache

    @property
    def total(self) -> int:
        """Songs and copies together."""
        return len(self.songs) * self.per_song

    def of(self, song: Song) -> list[Piece]:
        """The song, then its copies. DataError if its file cannot be read."""
        data = self._data
        content = self._cache.content_hash(song.audio)
        drawn = alterations.draw(content, data.variants, pitch=data.pitch, stretch=data.stretch, noise=data.noise)
        pieces = [Piece(song, content, None, self._latents_key(content, None))]
        for alteration in drawn:
            copy = alterations.altered(song, alteration)
            pieces.append(Piece(copy, content, alteration, self._latents_key(content, alteration)))
        return pieces

    def describe(self, piece: Piece, tokens: prompts.Tokens) -> None:
        """Decide what the model reads about a piece, and under which names it is cached."""
        song, data, ckpt = piece.song, self._data, self._ckpt
        seconds = prompts.stated_seconds(song.duration, data.max_duration, data.crop_seconds, data.duration_text)
        piece.texts = prompts.texts_for(song, tokens, tag=data.tag, tag_position=data.tag_position, seconds=seconds)
        common = (_RECIPE, ckpt.text_encoder_fingerprint, str(self._dtype))
        piece.prompt_key = digest("prompt", *common, piece.texts.prompt)
        piece.lyrics_key = digest("lyrics", *common, piece.texts.lyrics)
        piece.condition_key = digest("condition", _RECIPE, ckpt.fingerprint, piece.prompt_key, piece.lyrics_key)

    def facts(self, piece: Piece) -> dict[str, Any]:
        """What decides the entries of a described song, each by itself: two such facts tell what changed."""
        data, ckpt = self._data, self._ckpt
        return {
            "audio": piece.content,
            "vae": ckpt.vae_fingerprint,
            "longest": data.max_duration,
            "loudness": sound.RECIPES[data.loudness],
            "copies": [data.variants, data.pitch, data.stretch, data.noise] if self.per_song > 1 else [],
            "words": digest(piece.texts.prompt, piece.texts.lyrics),
            "text encoder": ckpt.text_encoder_fingerprint,
            "model": ckpt.fingerprint,
            "precision": str(self._dtype),
        }

    def _latents_key(self, content: str, alteration: Alteration | None) -> str:
        """Loudness and alteration are named only where there are any: latents of plain songs keep their names."""
        parts: list[str | int | float] = [_RECIPE, content, self._ckpt.vae_fingerprint, self._data.max_duration]
        if recipe := sound.RECIPES[self._data.loudness]:
            parts += ["loudness", recipe]
        if alteration is not None:
            parts += ["altered", _ALTERED_RECIPE, alteration.semitones, alteration.tempo]
            if alteration.noise:
                parts += [alteration.noise, alteration.seed]
        return digest("latents", *parts)
