"""Which crop of which song, with which noise, at every step: a pure function of seed, epoch and place.

Nothing here keeps a random state, so a resumed run continues exactly. Nothing is ever padded: the model has no masks
and would hear the padding (ACESTEP_FACTS.md §3.7). Examples of one optimizer step are grouped by equal shape instead,
which leaves their mean gradient as it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch

from sidestep_tui.core.errors import DataError
from sidestep_tui.engine import devices, timesteps
from sidestep_tui.schema.data import DataSettings
from sidestep_tui.schema.train import TrainSettings

FRAMES_PER_SECOND = 25
PATCH = 2
"""Latent frames per model token; a length that is no multiple of it would be padded with zeros inside the model."""


class Song(Protocol):
    """What batches need of an encoded song."""

    @property
    def name(self) -> str:
        """How messages call it."""

    @property
    def repeats(self) -> int:
        """Its own repeats; those of the settings come on top."""

    @property
    def takes(self) -> Sequence[Song]:
        """Its altered copies."""

    def latents(self) -> torch.Tensor:
        """[T, C]."""

    def condition(self) -> torch.Tensor:
        """[L, D]."""


@dataclass(frozen=True, slots=True)
class Example:
    """One crop in its place: `index` counts the examples of an epoch."""

    song: int
    """Place in the store, of the song or of the altered copy that is heard instead."""
    name: str
    start: int
    frames: int
    tokens: int
    epoch: int
    index: int


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Examples of one shape, computed together. x0, noise [B, T, C]; t, dropped [B]; condition [B, L, D]."""

    names: tuple[str, ...]
    x0: torch.Tensor
    noise: torch.Tensor
    t: torch.Tensor
    dropped: torch.Tensor
    condition: torch.Tensor


def derive_seed(seed: int, *place: int | str) -> int:
    """A seed for one purpose at one place, independent of all others."""
    text = "/".join(str(part) for part in (seed, *place))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def generator(seed: int, *place: int | str) -> torch.Generator:
    """A CPU generator seeded by `derive_seed`; the CPU's draws are the same whatever device trains."""
    return torch.Generator().manual_seed(derive_seed(seed, *place))


def crop_frames(seconds: float) -> int:
    """Latent frames of a crop, a whole number of model tokens; 0 for whole songs."""
    return max(round(seconds * FRAMES_PER_SECOND) // PATCH * PATCH, PATCH) if seconds > 0 else 0


class SongStore:
    """The encoded songs, kept in RAM if they fit. Reading each once also finds damaged ones before training."""

    def __init__(self, songs: Sequence[Song], preload: Literal["auto", "ram", "disk"], available_ram: int) -> None:
        copies = [copy for song in songs for copy in song.takes]
        self._songs = [*songs, *copies]
        """The songs, then all their altered copies."""
        self.takes: list[tuple[int, ...]] = []
        """Of each song, the places where it and its altered copies are."""
        first = len(songs)
        for place, song in enumerate(songs):
            self.takes.append((place, *range(first, first + len(song.takes))))
            first += len(song.takes)
        self._kept: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self.repeats = [song.repeats for song in songs]
        self.shapes: list[tuple[int, int]] = []
        """Frames and tokens by place."""
        self.kept_bytes = 0
        """RAM that songs and copies take."""
        budget = {"auto": available_ram // 4, "ram": None, "disk": 0}[preload]
        for index in range(len(self._songs)):
            latents, condition = self._read(index)
            self.shapes.append((latents.shape[0], condition.shape[0]))
            if budget is None or self.kept_bytes + latents.nbytes + condition.nbytes <= budget:
                self._kept[index] = (latents, condition)
                self.kept_bytes += latents.nbytes + condition.nbytes
            else:
                # All or nothing: a half that waits on disk would make step times jump.
                self._kept.clear()
                self.kept_bytes = budget = 0

    @property
    def in_ram(self) -> bool:
        """Whether songs wait in RAM."""
        return bool(self._kept)

    def names(self) -> list[str]:
        """Names by place."""
        return [song.name for song in self._songs]

    def get(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Latents [T, C] and condition [L, D] of a song or copy, by its place."""
        return self._kept[index] if index in self._kept else self._read(index)

    def _read(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        song = self._songs[index]
        latents, condition = song.latents(), song.condition()
        problem = ""
        if latents.shape[0] < PATCH:
            problem = f"it has {latents.shape[0]} latent frames, and at least {PATCH} are needed"
        elif not bool(torch.isfinite(latents).all()) or not bool(torch.isfinite(condition).all()):
            problem = "it holds values that are not numbers"
        if problem:
            raise DataError(
                f"The encoded song '{song.name}' cannot be used.",
                f"Its cache entry is damaged: {problem}.",
                "Delete the cache of encoded songs, so that it is encoded again, or remove the song.",
            )
        return latents, condition


class Sampler:
    """Lays out the epochs: order, crops, and the micro-batches of each optimizer step.

    An optimizer step takes `batch_size` times `accumulation` examples for each of `processes`, dealt out in turn.
    """

    def __init__(
        self, store: SongStore, data: DataSettings, train: TrainSettings, *, seed: int, processes: int = 1
    ) -> None:
        self._store = store
        self._crop = crop_frames(data.crop_seconds)
        self._names = store.names()
        self._batch_size = train.batch_size
        self._seed = seed
        self._places = [index for index, own in enumerate(store.repeats) for _ in range(own * data.repeats)]
        self.processes = processes
        self.window = train.batch_size * train.accumulation * processes
        if not self._places:
            raise DataError("There is no song to train on.", hint="Check the dataset's warnings about skipped songs.")

    @property
    def examples_per_epoch(self) -> int:
        """Songs times repeats."""
        return len(self._places)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of an epoch; the last one has fewer examples rather than dropping them."""
        return -(-self.examples_per_epoch // self.window)

    def steps_left(self, epoch: int, offset: int, epochs: int) -> int:
        """Optimizer steps from example `offset` of `epoch` (from 0) to the end of `epochs`."""
        if epoch >= epochs:
            return 0
        this_epoch = -(-max(self.examples_per_epoch - offset, 0) // self.window)
        return this_epoch + (epochs - epoch - 1) * self.steps_per_epoch

    def examples(self, epoch: int, offset: int) -> list[Example]:
        """The examples of the optimizer step that begins at example `offset` of `epoch`; empty past its end."""
        order = torch.randperm(self.examples_per_epoch, generator=generator(self._seed, "order", epoch)).tolist()
        return [
            self._example(self._places[place], epoch, offset + index)
            for index, place in enumerate(order[offset : offset + self.window])
        ]

    def _example(self, song: int, epoch: int, index: int) -> Example:
        song = self._take(song, epoch, index)
        frames, tokens = self._store.shapes[song]
        even = frames // PATCH * PATCH
        length = min(self._crop, even) if self._crop else even
        source = generator(self._seed, "crop", epoch, index)
        start = int(torch.randint(frames - length + 1, (1,), generator=source))
        return Example(song, self._names[song], start, length, tokens, epoch, index)

    def _take(self, song: int, epoch: int, index: int) -> int:
        """The song itself or one of its copies, each as likely; without copies nothing is drawn."""
        takes = self._store.takes[song]
        if len(takes) == 1:
            return song
        source = generator(self._seed, "take", epoch, index)
        return takes[int(torch.randint(len(takes), (1,), generator=source))]

    def share(self, examples: Sequence[Example], rank: int) -> list[Example]:
        """What process `rank` computes of a step's examples; nothing, where the end of an epoch leaves too few."""
        return list(examples[rank :: self.processes])

    def computed(self, examples: Sequence[Example]) -> list[list[Example]]:
        """A step's examples by process, each in the order in which its micro-batches hold them."""
        shares = (self.share(examples, rank) for rank in range(self.processes))
        return [[example for group in self.micro_batches(share) for example in group] for share in shares]

    def micro_batches(self, examples: Sequence[Example]) -> Iterator[list[Example]]:
        """Split the examples of a step into groups of equal shape, at most `batch_size` each."""
        groups: dict[tuple[int, int], list[Example]] = {}
        for example in examples:
            groups.setdefault((example.frames, example.tokens), []).append(example)
        for group in groups.values():
            for first in range(0, len(group), self._batch_size):
                yield group[first : first + self._batch_size]


class Collator:
    """Turns examples into tensors: cuts crops and draws noise, noise level and condition dropout for each."""

    def __init__(self, store: SongStore, train: TrainSettings, *, seed: int, mu: float, sigma: float) -> None:
        self._store = store
        self._train = train
        self._seed = seed
        self._mu = mu
        self._sigma = sigma

    def collate(self, examples: Sequence[Example], device: torch.device) -> MicroBatch:
        """The micro-batch of `examples`, which have one shape, on `device`."""
        latents, conditions, noises, levels, drops = [], [], [], [], []
        for example in examples:
            song_latents, condition = self._store.get(example.song)
            crop = song_latents[example.start : example.start + example.frames].float()
            latents.append(crop)
            conditions.append(condition)
            noise_generator = generator(self._seed, "noise", example.epoch, example.index)
            noises.append(torch.randn(crop.shape, generator=noise_generator))
            levels.append(self._level(example))
            drops.append(self._is_dropped(example))
        return MicroBatch(
            names=tuple(example.name for example in examples),
            x0=devices.send(torch.stack(latents), device),
            noise=devices.send(torch.stack(noises), device),
            t=devices.send(torch.cat(levels), device),
            dropped=devices.send(torch.tensor(drops), device),
            condition=devices.send(torch.stack(conditions), device),
        )

    def _level(self, example: Example) -> torch.Tensor:
        source = generator(self._seed, "timestep", example.epoch, example.index)
        return timesteps.sample(self._train.timesteps, 1, source, mu=self._mu, sigma=self._sigma)

    def _is_dropped(self, example: Example) -> bool:
        source = generator(self._seed, "condition", example.epoch, example.index)
        return bool(torch.rand(1, generator=source) < self._train.condition_dropout)
