"""What encoding a folder would compute, song by song and why, without loading a model.

The names of all entries follow from files, words and settings, so that a look into the cache tells what is missing.
Hashes of audio files are remembered on the way, as in encoding; nothing else is written.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import torch

from sidestep_tui.core.errors import DataError
from sidestep_tui.dataset import prompts, reading
from sidestep_tui.dataset.manifest import Manifest
from sidestep_tui.engine.cache import Cache, Kind
from sidestep_tui.engine.pieces import Piece, Pieces, cache_root
from sidestep_tui.engine.variants import Checkpoint
from sidestep_tui.schema.settings import Settings

_LATENT_BYTES: Final = 64 * 2
_TEXT_WIDTH: Final = 1024
# What each fact of `Pieces.facts` is called when it changed; the order is that of the reasons.
_OF_SOUND: Final = {
    "audio": "audio changed",
    "vae": "VAE changed",
    "longest": "longest song changed",
    "loudness": "loudness changed",
    "copies": "altered copies changed",
}
_OF_WORDS: Final = {
    "words": "words changed",
    "text encoder": "text encoder changed",
    "model": "model changed",
    "precision": "precision changed",
}


@dataclass(frozen=True, slots=True)
class PlannedSong:
    """What is missing of one song, its altered copies included. All zero: everything is there."""

    name: str
    latents: int
    seconds: float
    """Of audio that the VAE would encode."""
    texts: int
    conditions: int
    bytes: int
    """To be written, about: lengths follow from the header."""
    reasons: tuple[str, ...]
    problem: str = ""
    """Why the song would be left out."""


@dataclass(frozen=True, slots=True)
class EncodePlan:
    """What would run, by song in the order of the manifest."""

    songs: tuple[PlannedSong, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values with totals, for JSON."""
        totals = {
            name: sum(getattr(song, name) for song in self.songs)
            for name in ("latents", "seconds", "texts", "conditions", "bytes")
        }
        return {**totals, "songs": [asdict(song) for song in self.songs]}


def plan(
    manifest: Manifest,
    ckpt: Checkpoint,
    settings: Settings,
    dtype: torch.dtype,
    progress: Callable[[str, int, int, str], None],
    should_stop: Callable[[], bool],
) -> EncodePlan:
    """Look up every entry that encoding with the same arguments would use; ends early when asked to stop."""
    cache = Cache(cache_root(settings.data))
    pieces = Pieces(manifest.songs, ckpt, settings.data, dtype, cache)
    planner = _Planner(pieces, ckpt, settings, dtype, cache)
    planned = []
    for done, song in enumerate(pieces.songs):
        if should_stop():
            break
        progress("planning", done, len(pieces.songs), song.name)
        try:
            planned.append(planner.look_at(pieces.of(song)))
        except DataError as error:
            problem = f"{error.title} {error.message}".strip()
            planned.append(PlannedSong(song.name, 0, 0.0, 0, 0, 0, (), problem))
    progress("planning", len(pieces.songs), len(pieces.songs), "")
    return EncodePlan(tuple(planned))


class _Planner:
    """Remembers what was planned for earlier songs: equal audio and equal words are encoded once."""

    def __init__(self, pieces: Pieces, ckpt: Checkpoint, settings: Settings, dtype: torch.dtype, cache: Cache) -> None:
        self.pieces, self.cache = pieces, cache
        self.tokens = prompts.Tokens(ckpt.tokenizer_dir)
        self.longest = settings.data.max_duration
        self.text_bytes = _text_width(ckpt) * dtype.itemsize
        self.condition_bytes = ckpt.encoder_hidden_size * dtype.itemsize
        self.planned: set[str] = set()

    def look_at(self, pieces: Sequence[Piece]) -> PlannedSong:
        latents = [piece for piece in pieces if self._lacks("latents", piece.latents_key)]
        for piece in pieces:
            self.pieces.describe(piece, self.tokens)
        conditions = [piece for piece in pieces if self._lacks("conditions", piece.condition_key)]
        texts = [text for piece in conditions for text in self._texts(piece)]
        frames = [reading.latent_frames(piece.song, self.longest) for piece in latents]
        plain = pieces[0]
        before = self.cache.remembered(plain.song.audio)
        return PlannedSong(
            name=plain.song.name,
            latents=len(latents),
            seconds=sum(frames) / reading.FRAMES_PER_SECOND,
            texts=len(texts),
            conditions=len(conditions),
            bytes=sum(frames) * _LATENT_BYTES
            + sum(texts) * self.text_bytes
            + sum(self._length(piece) for piece in conditions) * self.condition_bytes,
            reasons=_reasons(before, self.pieces.facts(plain), of_sound=bool(latents), of_words=bool(conditions)),
        )

    def _texts(self, piece: Piece) -> Iterator[int]:
        """Lengths in tokens of the texts that have to be encoded."""
        if self._lacks("text", piece.prompt_key):
            yield self._prompt_length(piece)
        if self._lacks("text", piece.lyrics_key):
            yield self._lyrics_length(piece)

    def _length(self, piece: Piece) -> int:
        return self._prompt_length(piece) + 1 + self._lyrics_length(piece)

    def _prompt_length(self, piece: Piece) -> int:
        return len(self.tokens.ids(piece.texts.prompt, prompts.PROMPT_TOKENS))

    def _lyrics_length(self, piece: Piece) -> int:
        return len(self.tokens.ids(piece.texts.lyrics, prompts.LYRIC_TOKENS))

    def _lacks(self, kind: Kind, key: str) -> bool:
        if key in self.planned or self.cache.state(kind, key) == "present":
            return False
        self.planned.add(key)
        return True


def _reasons(before: dict[str, Any], now: dict[str, Any], *, of_sound: bool, of_words: bool) -> tuple[str, ...]:
    """Why entries are missing, by what was noted when the song was last encoded."""
    if not (of_sound or of_words):
        return ()
    if not before:
        return ("new",)
    sentences = {**(_OF_SOUND if of_sound else {"copies": _OF_SOUND["copies"]}), **(_OF_WORDS if of_words else {})}
    changed = tuple(sentence for fact, sentence in sentences.items() if before.get(fact) != now[fact])
    return changed or ("gone from the cache",)


def _text_width(ckpt: Checkpoint) -> int:
    """Width of the text states, from the text encoder's configuration."""
    try:
        config = json.loads((ckpt.text_encoder_dir / "config.json").read_text("utf-8"))
        return int(config["hidden_size"])
    except (OSError, ValueError, KeyError, TypeError):
        return _TEXT_WIDTH
