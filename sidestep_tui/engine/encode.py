"""From a manifest to encoded songs: three passes, one model in memory at a time, everything through the cache.

Audio becomes latents, words become text states, text states become conditions. A model is loaded only if an entry is
missing, so a second run starts at once and an edited caption costs one text and one condition. A killed run continues
where it was, because every finished entry is on disk.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from sidestep_tui.core import paths
from sidestep_tui.core import text as wording
from sidestep_tui.core.errors import DataError
from sidestep_tui.dataset import prompts
from sidestep_tui.dataset.manifest import Manifest, Song
from sidestep_tui.engine import conditions, devices, text, vae, weights
from sidestep_tui.engine.cache import Cache, EncodedDataset, EncodedSong, Kind, digest, entry_shape
from sidestep_tui.engine.variants import Checkpoint
from sidestep_tui.schema.data import DataSettings
from sidestep_tui.schema.settings import Settings

Progress = Callable[[str, int, int, str], None]
"""Phase, songs done, songs in all, name of the song at hand."""
Warn = Callable[[str, str, str], None]
"""Code, message, hint."""

# Raise when an entry of the same name would come out otherwise: other resampling, templates, or model code.
_RECIPE = 1


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


def cache_root(data: DataSettings) -> Path:
    """The directory of encoded songs that these settings mean."""
    return Path(data.cache).expanduser() if data.cache else paths.cache_dir() / "encoded"


def _silent(_code: str, _message: str, _hint: str) -> None:
    """Swallow warnings for callers that want none."""


@dataclass(slots=True)
class _Work:
    """A song on its way through the passes."""

    song: Song
    latents_key: str
    texts: prompts.Texts = field(default_factory=lambda: prompts.Texts("", ""))
    prompt_key: str = ""
    lyrics_key: str = ""
    condition_key: str = ""
    needs_condition: bool = False


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
        self.manifest, self.ckpt, self.data = manifest, ckpt, data
        self.device, self.dtype = device, dtype
        self.progress, self.should_stop, self.warn = progress, should_stop, warn
        self.cache = Cache(cache_root(data))
        self.songs: list[_Work] = []
        self.skipped: list[tuple[str, str]] = []
        self.stopped = False

    def encode_audio(self) -> None:
        """Pass one: latents of every song, by the VAE."""
        model: Any = None
        total = len(self.manifest.songs)
        for done, song in enumerate(self.manifest.songs):
            if self._stop():
                return
            self.progress("encoding_audio", done, total, song.name)
            samples = None
            try:
                key = self._latents_key(song)
                if self._lacks("latents", key, song):
                    samples = vae.load_audio(song.audio, self.data.max_duration)
            except DataError as error:
                self.skipped.append((song.name, f"{error.title} {error.message}".strip()))
                continue
            if samples is not None:
                model = self._load_vae() if model is None else model
                latents = vae.encode(model, samples, song.name)
                self.cache.write("latents", key, latents.to(torch.float16), song=song.name)
            self.songs.append(_Work(song, key))
        self.progress("encoding_audio", total, total, "")
        del model
        devices.release(self.device)

    def encode_text(self) -> None:
        """Pass two: states of every prompt and every lyric whose condition is not there yet."""
        tokens = prompts.Tokens(self.ckpt.tokenizer_dir)
        model: Any = None
        for done, work in enumerate(self.songs):
            if self._stop():
                return
            self.progress("encoding_text", done, len(self.songs), work.song.name)
            self._plan_text(work, tokens)
            if not work.needs_condition:
                continue
            for key, string, limit, run in (
                (work.prompt_key, work.texts.prompt, prompts.PROMPT_TOKENS, text.prompt_states),
                (work.lyrics_key, work.texts.lyrics, prompts.LYRIC_TOKENS, text.lyric_states),
            ):
                if self._lacks("text", key, work.song):
                    if model is None:
                        _, model = weights.load_text_encoder(self.ckpt, self.dtype, self.device)
                    self.cache.write("text", key, run(model, tokens.ids(string, limit)), text=string)
        self.progress("encoding_text", len(self.songs), len(self.songs), "")
        del model
        devices.release(self.device)

    def encode_conditions(self) -> None:
        """Pass three: what the DiT attends to, by the condition encoder."""
        model: Any = None
        for done, work in enumerate(self.songs):
            if self._stop():
                return
            self.progress("encoding_conditions", done, len(self.songs), work.song.name)
            if not work.needs_condition or self.cache.state("conditions", work.condition_key) == "present":
                continue
            if model is None:
                model = weights.load_condition_encoder(self.ckpt, self.dtype, self.device)
            states = (self.cache.read("text", key) for key in (work.prompt_key, work.lyrics_key))
            condition = conditions.encode(model, *states)
            if not bool(torch.isfinite(condition).all()):
                raise DataError(
                    f"The condition of {work.song.name} is not finite.",
                    "The condition encoder's weights are damaged, or the precision is too low for them.",
                    "Download the checkpoint again, or set memory.precision to float32.",
                )
            timbre = "special token" if self.ckpt.is_xl else "first frame"
            self.cache.write("conditions", work.condition_key, condition, prompt=work.texts.prompt, timbre=timbre)
        self.progress("encoding_conditions", len(self.songs), len(self.songs), "")
        del model
        devices.release(self.device)

    def result(self) -> EncodedDataset:
        """What was encoded, in the order of the manifest."""
        songs = [] if self.stopped else [self._encoded(work) for work in self.songs]
        facts = [f"{work.song.name}/{work.latents_key}/{work.texts.prompt}/{work.texts.lyrics}" for work in self.songs]
        return EncodedDataset(
            songs=songs,
            silence=weights.load_silence_latent(self.ckpt),
            null_condition=weights.load_null_condition(self.ckpt),
            fingerprint=digest("dataset", *facts),
            skipped=self.skipped,
            stopped=self.stopped,
        )

    def _encoded(self, work: _Work) -> EncodedSong:
        latents = self.cache.path("latents", work.latents_key)
        condition = self.cache.path("conditions", work.condition_key)
        return EncodedSong(
            name=work.song.name,
            latents_path=latents,
            condition_path=condition,
            frames=entry_shape(latents)[0],
            tokens=entry_shape(condition)[0],
            repeats=work.song.repeats,
            prompt=work.texts.prompt,
            lyrics=work.texts.lyrics,
        )

    def _plan_text(self, work: _Work, tokens: prompts.Tokens) -> None:
        """Decide what the model reads about a song, and under which names it is cached."""
        song, data, ckpt = work.song, self.data, self.ckpt
        seconds = prompts.stated_seconds(song.duration, data.max_duration, data.crop_seconds, data.duration_text)
        work.texts = prompts.texts_for(song, tokens, tag=data.tag, tag_position=data.tag_position, seconds=seconds)
        if work.texts.caption_cut:
            self.warn(
                "caption_shortened",
                f"The caption of {song.name} is too long: its last {work.texts.caption_cut} characters are left out.",
                f"The model reads {prompts.PROMPT_TOKENS} tokens, and tempo, key and duration come last.",
            )
        if work.texts.lyric_tokens_cut:
            self.warn(
                "lyrics_shortened",
                f"The lyrics of {song.name} are too long: the last {work.texts.lyric_tokens_cut} tokens are left out.",
                f"The model reads {prompts.LYRIC_TOKENS} tokens of lyrics.",
            )
        common = (_RECIPE, ckpt.text_encoder_fingerprint, str(self.dtype))
        work.prompt_key = digest("prompt", *common, work.texts.prompt)
        work.lyrics_key = digest("lyrics", *common, work.texts.lyrics)
        work.condition_key = digest("condition", _RECIPE, ckpt.fingerprint, work.prompt_key, work.lyrics_key)
        work.needs_condition = self._lacks("conditions", work.condition_key, song)

    def _latents_key(self, song: Song) -> str:
        content = self.cache.content_hash(song.audio)
        return digest("latents", _RECIPE, content, self.ckpt.vae_fingerprint, self.data.max_duration)

    def _lacks(self, kind: Kind, key: str, song: Song) -> bool:
        """Whether an entry has to be made; one that is there but broken is said so, by the song's name."""
        state = self.cache.state(kind, key)
        if state == "damaged":
            self.warn(
                "cache_damaged",
                f"The cached {kind} of {song.name} are damaged and are encoded again.",
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
