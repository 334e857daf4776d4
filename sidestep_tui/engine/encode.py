"""From a manifest to encoded songs: three passes, one model in memory at a time, everything through the cache.

Audio becomes latents, words become text states, text states become conditions. A model is loaded only if an entry is
missing, so a second run starts at once and an edited caption costs one text and one condition. A killed run continues
where it was, because every finished entry is on disk.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from sidestep_tui.core import text as wording
from sidestep_tui.core.errors import DataError
from sidestep_tui.dataset import adopted as adopted_songs
from sidestep_tui.dataset import prompts
from sidestep_tui.dataset.manifest import Manifest
from sidestep_tui.engine import adopted, conditions, devices, sound, text, vae, weights
from sidestep_tui.engine.cache import Cache, EncodedDataset, EncodedSong, Kind, digest, entry_shape
from sidestep_tui.engine.pieces import Piece, Pieces, cache_root
from sidestep_tui.engine.variants import Checkpoint
from sidestep_tui.schema.data import DataSettings
from sidestep_tui.schema.settings import Settings

Progress = Callable[[str, int, int, str], None]
"""Phase, songs and altered copies done, how many in all, name of the one at hand."""
Warn = Callable[[str, str, str], None]
"""Code, message, hint."""


def encode_dataset(
    manifest: Manifest,
    ckpt: Checkpoint,
    settings: Settings,
    device: torch.device | str,
    dtype: torch.dtype,
    progress: Progress,
    should_stop: Callable[[], bool],
    warn: Warn | None = None,
) -> EncodedDataset:
    """Encode the songs of `manifest`, as far as the cache does not have them.

    The VAE runs in float32 wherever it runs, since latents are what is learned; text encoder and condition encoder run
    in `dtype`. Songs that cannot be read are named in `.skipped`. When `should_stop` (asked between songs) says so, the
    result is incomplete and marked `stopped`. Raises DataError when no song is left, ModelError, DiskFullError.
    """
    if adopted_songs.is_adopted(manifest.root):
        return adopted.load(manifest, ckpt)
    job = _Job(manifest, ckpt, settings.data, torch.device(device), dtype, progress, should_stop, warn or _silent)
    for encode_pass in (job.encode_audio, job.encode_text, job.encode_conditions):
        if not job.stopped:
            encode_pass()
    if not job.songs and not job.stopped:
        raise DataError(
            "There is no song left to train on.",
            wording.listing([f"{name}: {reason}" for name, reason in job.skipped], 3),
            "Replace or remove the songs that are named, and start again.",
        )
    return job.result()


def _silent(_code: str, _message: str, _hint: str) -> None:
    """Swallow warnings for callers that want none."""


class _Job:
    """One call of `encode_dataset`."""

    def __init__(
        self,
        manifest: Manifest,
        ckpt: Checkpoint,
        data: DataSettings,
        device: torch.device,
        dtype: torch.dtype,
        progress: Progress,
        should_stop: Callable[[], bool],
        warn: Warn,
    ) -> None:
        self.ckpt, self.data = ckpt, data
        self.device, self.dtype = device, dtype
        self.progress, self.should_stop, self.warn = progress, should_stop, warn
        self.cache = Cache(cache_root(data))
        self.pieces = Pieces(manifest.songs, ckpt, data, dtype, self.cache)
        self.songs: list[list[Piece]] = []
        """The songs that can be used, each followed by its altered copies."""
        self.skipped: list[tuple[str, str]] = []
        self.needed: set[str] = set()
        """Names of the conditions that are missing."""
        self.stopped = False

    def encode_audio(self) -> None:
        """Pass one: latents of every song and copy, by the VAE."""
        model: Any = None
        for done, song in enumerate(self.pieces.songs):
            if self._stop():
                return
            self.progress("encoding_audio", done * self.pieces.per_song, self.pieces.total, song.name)
            try:
                pieces = self.pieces.of(song)
                for number, piece in enumerate(pieces):
                    if number and self._stop():
                        return
                    if not self._lacks("latents", piece.latents_key, piece):
                        continue
                    if number:
                        self.progress(
                            "encoding_audio", done * self.pieces.per_song + number, self.pieces.total, piece.label
                        )
                    samples = self._samples(piece)
                    model = self._load_vae() if model is None else model
                    latents = vae.encode(model, samples, piece.label)
                    self.cache.write("latents", piece.latents_key, latents.to(torch.float16), song=piece.label)
            except DataError as error:
                self.skipped.append((song.name, f"{error.title} {error.message}".strip()))
                continue
            self.songs.append(pieces)
        self.progress("encoding_audio", self.pieces.total, self.pieces.total, "")
        if model is not None:
            del model
            devices.release(self.device)

    def encode_text(self) -> None:
        """Pass two: states of every prompt and every lyric whose condition is not there yet."""
        tokens = prompts.Tokens(self.ckpt.tokenizer_dir)
        model: Any = None
        pieces = self._all()
        for done, piece in enumerate(pieces):
            if self._stop():
                return
            self.progress("encoding_text", done, len(pieces), piece.label)
            self._describe(piece, tokens)
            if not self._lacks("conditions", piece.condition_key, piece):
                continue
            self.needed.add(piece.condition_key)
            for key, string, limit, run in (
                (piece.prompt_key, piece.texts.prompt, prompts.PROMPT_TOKENS, text.prompt_states),
                (piece.lyrics_key, piece.texts.lyrics, prompts.LYRIC_TOKENS, text.lyric_states),
            ):
                if self._lacks("text", key, piece):
                    if model is None:
                        _, model = weights.load_text_encoder(self.ckpt, self.dtype, self.device)
                    self.cache.write("text", key, run(model, tokens.ids(string, limit)), text=string)
        self.progress("encoding_text", len(pieces), len(pieces), "")
        if model is not None:
            del model
            devices.release(self.device)

    def encode_conditions(self) -> None:
        """Pass three: what the DiT attends to, by the condition encoder."""
        model: Any = None
        pieces = self._all()
        for done, piece in enumerate(pieces):
            if self._stop():
                return
            self.progress("encoding_conditions", done, len(pieces), piece.label)
            if piece.condition_key in self.needed:
                self.needed.remove(piece.condition_key)
                if model is None:
                    model = weights.load_condition_encoder(self.ckpt, self.dtype, self.device)
                self._encode_condition(model, piece)
            if piece.alteration is None:
                self.cache.remember(piece.song.audio, self.pieces.facts(piece))
        self.progress("encoding_conditions", len(pieces), len(pieces), "")
        if model is not None:
            del model
            devices.release(self.device)

    def result(self) -> EncodedDataset:
        """What was encoded, in the order of the manifest."""
        return EncodedDataset(
            songs=[] if self.stopped else [self._encoded(pieces) for pieces in self.songs],
            silence=weights.load_silence_latent(self.ckpt),
            null_condition=weights.load_null_condition(self.ckpt),
            fingerprint=digest("dataset", *map(_trait, self._all())),
            skipped=self.skipped,
            stopped=self.stopped,
            made={kind: self.cache.made[kind] for kind in ("latents", "text", "conditions")},
        )

    def _all(self) -> list[Piece]:
        return [piece for pieces in self.songs for piece in pieces]

    def _encoded(self, pieces: list[Piece]) -> EncodedSong:
        piece, *copies = pieces
        latents = self.cache.path("latents", piece.latents_key)
        condition = self.cache.path("conditions", piece.condition_key)
        return EncodedSong(
            name=piece.label,
            latents_path=latents,
            condition_path=condition,
            frames=entry_shape(latents)[0],
            tokens=entry_shape(condition)[0],
            repeats=piece.song.repeats,
            prompt=piece.texts.prompt,
            lyrics=piece.texts.lyrics,
            takes=tuple(self._encoded([copy]) for copy in copies),
        )

    def _samples(self, piece: Piece) -> torch.Tensor:
        """What the VAE hears; the song is named where its loudness could not be changed."""
        data = self.data
        samples, problem = sound.load(piece.song.audio, data.max_duration, data.loudness, piece.alteration)
        if problem and piece.alteration is None:
            self.warn(
                "loudness_kept",
                f"The loudness of {piece.label} is left as it is: {problem}.",
                "Listen to it: a song without sound teaches silence.",
            )
        return samples

    def _encode_condition(self, model: Any, piece: Piece) -> None:
        states = (self.cache.read("text", key) for key in (piece.prompt_key, piece.lyrics_key))
        condition = conditions.encode(model, *states)
        if not bool(torch.isfinite(condition).all()):
            raise DataError(
                f"The condition of {piece.label} is not finite.",
                "The condition encoder's weights are damaged, or the precision is too low for them.",
                "Download the checkpoint again, or set memory.precision to float32.",
            )
        timbre = "special token" if self.ckpt.is_xl else "first frame"
        self.cache.write("conditions", piece.condition_key, condition, prompt=piece.texts.prompt, timbre=timbre)

    def _describe(self, piece: Piece, tokens: prompts.Tokens) -> None:
        """Decide what the model reads; said once for a song and its copies where something is left out."""
        self.pieces.describe(piece, tokens)
        if piece.alteration is not None:
            return
        if piece.texts.caption_cut:
            self.warn(
                "caption_shortened",
                f"The caption of {piece.label} is too long: its last {piece.texts.caption_cut} characters are left "
                "out.",
                f"The model reads {prompts.PROMPT_TOKENS} tokens, and tempo, key and duration come last.",
            )
        if piece.texts.lyric_tokens_cut:
            self.warn(
                "lyrics_shortened",
                f"The lyrics of {piece.label} are too long: the last {piece.texts.lyric_tokens_cut} tokens are left "
                "out.",
                f"The model reads {prompts.LYRIC_TOKENS} tokens of lyrics.",
            )

    def _lacks(self, kind: Kind, key: str, piece: Piece) -> bool:
        """Whether an entry has to be made; one that is there but broken is said so, by the song's name."""
        state = self.cache.state(kind, key)
        if state == "damaged":
            self.warn(
                "cache_damaged",
                f"The cached {kind} of {piece.label} are damaged and are encoded again.",
                f"If this happens often, check the disk that holds {self.cache.root}.",
            )
        return state != "present"

    def _load_vae(self) -> Any:
        model = weights.load_vae(self.ckpt, torch.float32, self.device)
        vae.drop_identities(model)
        return model

    def _stop(self) -> bool:
        self.stopped = self.stopped or self.should_stop()
        return self.stopped


def _trait(piece: Piece) -> str:
    return f"{piece.label}/{piece.latents_key}/{piece.texts.prompt}/{piece.texts.lyrics}"
