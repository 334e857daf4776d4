"""The loss on songs that training never hears, measured the same way every time.

Everything that makes the training loss jump is held still: each song's crop, its noise and the noise levels, which are
even quantiles of the distribution that training draws from. No condition is dropped and no weight of the adapter, so
that between two measurements only the adapter has changed. A rise then means that it begins to learn songs by heart.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import psutil
import torch

from sidestep_tui.core import text
from sidestep_tui.dataset import split
from sidestep_tui.dataset.manifest import Song
from sidestep_tui.engine import devices, timesteps
from sidestep_tui.engine.batches import PATCH, MicroBatch, SongStore, crop_frames, generator
from sidestep_tui.engine.cache import EncodedSong, digest
from sidestep_tui.engine.trainer import Trainer
from sidestep_tui.engine.variants import Checkpoint
from sidestep_tui.schema.settings import Settings

LEVELS = 8
"""Noise levels at which each song is measured."""

_TOGETHER = 4
"""Levels computed at once: without gradients that needs less memory than one example in training."""
_SONGS_TOLD = 40
"""Songs that are told one by one in the journal: those with the largest losses."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """The held-out loss of one moment, as training weighs it."""

    loss: float
    """Mean over songs and levels."""
    by_song: dict[str, float]
    by_level: dict[str, float]
    """Mean loss by noise level (1 is pure noise), written with three digits."""
    seconds: float

    def event(self) -> dict[str, Any]:
        """Fields for the journal."""
        worst = sorted(self.by_song, key=lambda name: -self.by_song[name])[:_SONGS_TOLD]
        return {
            "loss": self.loss,
            "songs": len(self.by_song),
            "by_song": {name: self.by_song[name] for name in self.by_song if name in worst},
            "by_level": self.by_level,
            "seconds": self.seconds,
        }


@dataclass(frozen=True, slots=True)
class Parts:
    """The encoded songs on both sides, and what to say about it."""

    training: list[EncodedSong]
    held_out: list[EncodedSong]
    log: list[str]

    @property
    def fingerprint(self) -> str | None:
        """Of the songs that are held out; None where none is."""
        names = sorted(song.name for song in self.held_out)
        return digest("held out", *names) if names else None


def part(songs: Sequence[Song], encoded: Sequence[EncodedSong], percent: int) -> Parts:
    """Part what was encoded of `songs`. Equal audio has equal latents, whatever its files are called."""
    by_name = {song.name: song for song in encoded}
    contents = {name: str(song.latents_path) for name, song in by_name.items()}
    parted = split.split([song for song in songs if song.name in by_name], percent, contents)
    log = []
    if parted.held_out:
        number = text.plural(len(parted.held_out), "song is", "songs are")
        log.append(f"{number} held out and only measured: {text.listing(parted.held_out, most=10)}.")
    if parted.advice:
        log.append(parted.advice)
    return Parts([by_name[name] for name in parted.training], [by_name[name] for name in parted.held_out], log)


class Validator:
    """Measures the songs of `store`, which must not be the trainer's."""

    @classmethod
    def of(cls, parts: Parts, base: Checkpoint, settings: Settings, *, seed: int) -> Validator | None:
        """A validator of the held-out songs; None where there are none."""
        if not parts.held_out:
            return None
        # Measured as they are: nobody hears the altered copies of held-out songs.
        plain = [dataclasses.replace(song, takes=()) for song in parts.held_out]
        store = SongStore(plain, settings.memory.preload, psutil.virtual_memory().available)
        return cls(store, settings, seed=seed, mu=base.timestep_mu, sigma=base.timestep_sigma)

    def __init__(self, store: SongStore, settings: Settings, *, seed: int, mu: float, sigma: float) -> None:
        self._store = store
        self._crop = crop_frames(settings.data.crop_seconds)
        self._seed = seed
        mu, sigma = timesteps.distribution(settings.train, mu=mu, sigma=sigma)
        self._levels = timesteps.quantiles(settings.train.timesteps, LEVELS, mu=mu, sigma=sigma)

    def names(self) -> list[str]:
        """The songs that are held out."""
        return self._store.names()

    def measure(
        self,
        trainer: Trainer,
        should_stop: Callable[[], bool],
        progress: Callable[[int, int, str], None] | None = None,
    ) -> Measurement | None:
        """Measure the adapter as it is; None when `should_stop` (asked between songs) said so first.

        The trainer is left as it was: no draw is taken from a shared generator, no weight or gradient is touched.
        """
        began = time.perf_counter()
        names = self.names()
        losses: list[list[float]] = []
        trainer.transformer.eval()
        try:
            for index, name in enumerate(names):
                if should_stop():
                    return None
                if progress is not None:
                    progress(index, len(names), name)
                losses.append(self._losses(trainer, index, name))
        finally:
            trainer.transformer.train()
        by_song = [_mean(of_song) for of_song in losses]
        by_level = [_mean(of_level) for of_level in zip(*losses, strict=True)]
        return Measurement(
            loss=_mean(by_song),
            by_song=dict(zip(names, by_song, strict=True)),
            by_level={f"{t:.3f}": loss for t, loss in zip(self._levels.tolist(), by_level, strict=True)},
            seconds=time.perf_counter() - began,
        )

    def _losses(self, trainer: Trainer, index: int, name: str) -> list[float]:
        """The loss of one song at each level."""
        device = trainer.material.device
        latents, condition = self._store.get(index)
        even = latents.shape[0] // PATCH * PATCH
        length = min(self._crop, even) if self._crop else even
        start = (latents.shape[0] - length) // 2
        crop = latents[start : start + length].float()
        noise = torch.randn(crop.shape, generator=generator(self._seed, "validation", name))
        x0, noise, condition = (devices.send(tensor, device) for tensor in (crop, noise, condition))
        losses = []
        for levels in self._levels.split(_TOGETHER):
            count = len(levels)
            batch = MicroBatch(
                names=(name,) * count,
                x0=x0.expand(count, -1, -1),
                noise=noise.expand(count, -1, -1),
                t=devices.send(levels, device),
                dropped=torch.zeros(count, dtype=torch.bool, device=device),
                condition=condition.expand(count, -1, -1),
            )
            with torch.no_grad():
                losses.append(trainer.losses(batch))
        values: list[float] = torch.cat(losses).tolist()
        return values


def _mean(values: list[float] | tuple[float, ...]) -> float:
    return math.fsum(values) / len(values) if all(map(math.isfinite, values)) else math.nan
