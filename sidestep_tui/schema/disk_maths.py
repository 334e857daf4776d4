"""What a run writes, in bytes, from the shapes of its tensors: known before it begins, within 2 % of the files.

Encoded songs are the exception: their size depends on words and lengths, and is counted as what is usual.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from sidestep_tui.schema import adapter_maths, adapter_targets, plan_maths
from sidestep_tui.schema.adapter import AdapterSettings
from sidestep_tui.schema.model_shape import ModelShape
from sidestep_tui.schema.settings import Settings

_FP32 = 4
_HEADER = 120
"""Bytes of a safetensors header for each tensor: its name, type, shape and place."""
_STATE = 3_000
"""Bytes of the training state and of the adapter's configuration."""
_BLOCK_8BIT, _SMALLEST_8BIT, _CODES_8BIT = 256, 4096, 256
"""bitsandbytes: weights that share a scale, the smallest tensor it shortens, and the length of its code book."""
_BEGIN_AT_ZERO = {"lora_B", "lokr_w2", "lokr_w2_b", "hada_w2_a", "oft_R"}
"""Weights of which Prodigy need not remember where they began."""

CACHE_BYTES_PER_SONG = 5_000_000
"""An encoded song of four minutes with its condition (REQUIREMENTS: 4.5 to 5.1 MB)."""

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CheckpointSize:
    """Bytes of a checkpoint: the adapter that is in it, and what a resume needs besides."""

    adapter: int
    training: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.adapter + self.training


@dataclass(frozen=True, slots=True)
class DiskNeeds:
    """Bytes that a run takes on disk. `run` is all that goes into its own directory, `cache` the encoded songs."""

    checkpoint: CheckpointSize
    checkpoints: int
    """How many there are at the end."""
    run: int
    cache: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.run + self.cache


def needs(settings: Settings, model: ModelShape, *, songs: int | None = None, trained: int | None = None) -> DiskNeeds:
    """What a run takes: `songs` are all that are encoded, `trained` those that are not held out (all, unless given)."""
    trained = songs if trained is None else trained
    return DiskNeeds(
        checkpoint=checkpoint_size(model, settings),
        checkpoints=plan_maths.checkpoints_written(settings, songs=trained or None),
        run=run_bytes(settings, model, songs=trained or None),
        cache=(songs or 0) * plan_maths.pieces_per_song(settings.data) * CACHE_BYTES_PER_SONG,
    )


def checkpoint_size(model: ModelShape, settings: Settings) -> CheckpointSize:
    """What one checkpoint takes on disk."""
    adapter, optimizer = settings.adapter, settings.optim.optimizer
    stored = trained = 0
    for matrix in adapter_targets.matrices(adapter, model.layers):
        outputs, inputs = _size(model, matrix[1])
        for name, shape in _tensors(adapter, outputs, inputs, adapter_targets.rank_of(adapter, matrix)):
            numbers = math.prod(shape)
            # A file states the difference from PiSSA's start as a LoRA of twice the rank.
            stored += _HEADER + _FP32 * numbers * (2 if adapter.init == "pissa" else 1)
            size, entries = _state(optimizer, shape, begins_at_zero=name in _BEGIN_AT_ZERO or adapter.init == "pissa")
            if settings.train.ema_decay:
                size, entries = size + _FP32 * numbers, entries + 1
            trained += size + entries * _HEADER
        if adapter.kind in ("lokr", "loha"):
            stored += _HEADER + _FP32  # alpha
    if adapter.kind in ("lora", "dora") and not (adapter.attention != "none" and {"q", "k"} & set(adapter.projections)):
        stored *= 2  # once more under the names that diffusers looks for
    return CheckpointSize(stored, trained + _STATE)


def run_bytes(
    settings: Settings, model: ModelShape, *, songs: int | None = None, steps_per_epoch: int | None = None
) -> int:
    """What a run takes on disk at its fullest: its checkpoints, the best and the final adapter.

    Where old checkpoints are deleted, the next one is whole before they are.
    """
    size = checkpoint_size(model, settings)
    kept = plan_maths.checkpoints_written(settings, songs=songs, steps_per_epoch=steps_per_epoch)
    passing = 1 if settings.output.keep_last and kept else 0
    return (kept + passing) * size.total + 2 * size.adapter


def _size(model: ModelShape, part: str) -> tuple[int, int]:
    """Outputs and inputs of a matrix; both attentions have the same."""
    query, key = (model.query_width, model.hidden), (model.key_width, model.hidden)
    inner = (model.intermediate, model.hidden)
    sizes = {"q": query, "k": key, "v": key, "o": query[::-1], "gate": inner, "up": inner, "down": inner[::-1]}
    return sizes[part.partition(".")[2]]


def _tensors(adapter: AdapterSettings, outputs: int, inputs: int, rank: int) -> Iterator[tuple[str, Shape]]:
    """The weights that learn on one matrix, by the last parts of their names."""
    match adapter.kind:
        case "lokr":
            yield from adapter_maths.lokr_shapes(adapter, outputs, inputs).items()
        case "loha":
            yield from adapter_maths.loha_shapes(adapter, outputs, inputs).items()
        case "oft":
            block = adapter.oft_block_size
            yield "oft_R", (inputs // block, block * (block - 1) // 2)
        case kind:
            yield "lora_A", (rank, inputs)
            yield "lora_B", (outputs, rank)
            if kind == "dora":
                yield "magnitude", (outputs,)


def _state(optimizer: str, shape: Shape, *, begins_at_zero: bool) -> tuple[int, int]:
    """Bytes and number of the tensors that an optimizer keeps for a weight of this shape."""
    numbers = math.prod(shape)
    match optimizer:
        case "adamw8bit" if numbers >= _SMALLEST_8BIT:
            scales = _FP32 * math.ceil(numbers / _BLOCK_8BIT)
            return 2 * (numbers + scales + _FP32 * _CODES_8BIT), 6
        case "adamw8bit":
            return 2 * _FP32 * numbers, 2
        case "adafactor":
            factored = sum(shape) if len(shape) > 1 else numbers
            return _FP32 * (factored + 1), 3 if len(shape) > 1 else 2
        case "prodigy":
            return _FP32 * (3 * numbers + (1 if begins_at_zero else numbers)), 4
        case "schedule_free":
            return 3 * _FP32 * numbers, 3
        case "lion" | "muon":
            return _FP32 * numbers, 1
        case _:
            return _FP32 * (2 * numbers + 1), 3
