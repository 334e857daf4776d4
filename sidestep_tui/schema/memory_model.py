"""How much device memory a run will need, from closed forms: no model, no torch, no measuring.

The saved-for-backward terms count what eager diffusers keeps per layer and sample with a flash-class attention
kernel; they were checked against the real configurations under fake tensors to within half a percent, and the
peak to within five percent, always on the safe side.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Literal

from sidestep_tui.schema import adapter_targets
from sidestep_tui.schema.adapter_maths import kept_per_token, matrix_parameters
from sidestep_tui.schema.model_shape import ModelShape
from sidestep_tui.schema.plan_maths import OPTIMIZER_BYTES
from sidestep_tui.schema.settings import Settings

TOKENS_PER_SECOND = 12.5
"""Latents run at 25 Hz; the model folds two of them into one token."""

CONDITION_TOKENS = 1024
"""Assumed length of caption, lyrics and timbre together: a song with three or four verses."""

FRAGMENTATION = 1.05
CONTEXT_BYTES = int(0.7 * 1024**3)
"""CUDA context, cuBLAS workspaces and what the allocator cannot give back."""

_BYTES_PER_ADAPTER_PARAMETER = 8.0
"""fp32 weight and fp32 gradient."""

Attention = Literal["flash", "math"]


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Bytes by purpose; `total` adds the allocator's fragmentation and the device context."""

    weights: int
    adapter: int
    optimizer: int
    activations: int
    overhead: int

    @property
    def total(self) -> int:
        return self.weights + self.adapter + self.optimizer + self.activations + self.overhead

    def parts(self) -> tuple[tuple[str, int], ...]:
        """The terms with their names, in the order of a stacked bar."""
        return (
            ("base model", self.weights),
            ("adapter", self.adapter),
            ("optimizer", self.optimizer),
            ("activations", self.activations),
            ("overhead", self.overhead),
        )


@dataclass(frozen=True, slots=True)
class _Targets:
    """Summed input and output widths of the adapted matrices of one layer, on latent and on condition tokens.

    `shapes` holds each matrix as (inputs, outputs), the first `latent` of them on latent tokens.
    """

    shapes: tuple[tuple[int, int], ...]
    latent: int
    latent_in: int
    latent_out: int
    condition_in: int
    condition_out: int


def _targets(shape: ModelShape, settings: Settings) -> _Targets:
    sizes = _matrix_sizes(shape)
    chosen = [sizes[name] for name in settings.adapter.projections]
    latent: list[tuple[int, int]] = []
    condition: list[tuple[int, int]] = []
    if settings.adapter.attention in ("both", "self"):
        latent += chosen
    if settings.adapter.attention in ("both", "cross"):
        for name, widths in zip(settings.adapter.projections, chosen, strict=True):
            (condition if name in "kv" else latent).append(widths)
    if settings.adapter.mlp:
        latent += [sizes[name] for name in ("gate", "up", "down")]
    return _Targets(
        shapes=(*latent, *condition),
        latent=len(latent),
        latent_in=sum(width for width, _ in latent),
        latent_out=sum(width for _, width in latent),
        condition_in=sum(width for width, _ in condition),
        condition_out=sum(width for _, width in condition),
    )


def adapted_matrices(shape: ModelShape, settings: Settings) -> int:
    """How many matrices of the model get an adapter."""
    return len(adapter_targets.matrices(settings.adapter, shape.layers))


def adapter_parameters(shape: ModelShape, settings: Settings) -> int:
    """Trainable weights of all adapted matrices."""
    adapter, sizes = settings.adapter, _matrix_sizes(shape)
    counts = Counter(
        (part, adapter_targets.rank_of(adapter, (layer, part)))
        for layer, part in adapter_targets.matrices(adapter, shape.layers)
    )
    return sum(
        count * matrix_parameters(adapter, outputs, inputs, rank=rank)
        for (part, rank), count in counts.items()
        for inputs, outputs in [sizes[part.partition(".")[2]]]
    )


def _matrix_sizes(shape: ModelShape) -> dict[str, tuple[int, int]]:
    """Inputs and outputs of a layer's matrices by name; both attentions have the same."""
    hidden, query, key, inner = shape.hidden, shape.query_width, shape.key_width, shape.intermediate
    attention = {"q": (hidden, query), "k": (hidden, key), "v": (hidden, key), "o": (query, hidden)}
    return {**attention, "gate": (hidden, inner), "up": (hidden, inner), "down": (inner, hidden)}


def _heard_layers(shape: ModelShape, settings: Settings) -> int:
    """Layers that a gradient passes: the first one that learns and all above it."""
    chosen = adapter_targets.layers_of(settings.adapter, shape.layers)
    return shape.layers - min(chosen, default=0)


def _mean_rank(shape: ModelShape, settings: Settings) -> float:
    """The rank of the average matrix."""
    adapter = settings.adapter
    if not adapter.rank_pattern:
        return adapter.rank
    ranks = [adapter_targets.rank_of(adapter, matrix) for matrix in adapter_targets.matrices(adapter, shape.layers)]
    return sum(ranks) / len(ranks) if ranks else adapter.rank


def latent_tokens(settings: Settings) -> int:
    """Model tokens of one training example; whole songs count as the longest allowed one."""
    seconds = settings.data.crop_seconds or settings.data.max_duration
    return math.ceil(seconds * TOKENS_PER_SECOND)


def estimate(
    shape: ModelShape,
    settings: Settings,
    *,
    condition_tokens: int = CONDITION_TOKENS,
    attention: Attention = "flash",
    autocast_copies: bool = False,
    base_bytes: float | None = None,
    context_bytes: int = CONTEXT_BYTES,
) -> MemoryEstimate:
    """Device memory at the peak of a training step.

    `attention="math"` adds what PyTorch's fallback keeps on the sliding layers when no flash kernel takes their mask.
    `autocast_copies` counts the low-precision copies of adapter inputs that peft keeps for fp32 weights under
    autocast. `base_bytes` overrides the bytes per weight of the frozen model (2 for bfloat16, 4 for float32).
    """
    width = base_bytes if base_bytes is not None else (4.0 if settings.memory.precision == "float32" else 2.0)
    trained = adapter_parameters(shape, settings)
    activation_scale = width / 2.0
    per_layer = activation_scale * _layer_bytes(
        shape, settings, condition_tokens, attention=attention, autocast_copies=autocast_copies
    )
    batch = settings.train.batch_size
    if settings.memory.gradient_checkpointing:
        activations = batch * _checkpointed_bytes(shape, settings, condition_tokens, per_layer, activation_scale)
        if attention == "math":
            activations += batch * 2.5 * shape.heads * latent_tokens(settings) ** 2 * 4
    else:
        activations = batch * _heard_layers(shape, settings) * per_layer
    activations += _rebuilt_bytes(shape, settings)
    weights = shape.parameters * width
    adapter = trained * _BYTES_PER_ADAPTER_PARAMETER
    optimizer = trained * (OPTIMIZER_BYTES[settings.optim.optimizer] + (4 if settings.train.ema_decay else 0))
    overhead = (FRAGMENTATION - 1) * (weights + adapter + optimizer + activations) + context_bytes
    return MemoryEstimate(int(weights), int(adapter), int(optimizer), int(activations), int(overhead))


def _layer_bytes(
    shape: ModelShape, settings: Settings, condition_tokens: int, *, attention: Attention, autocast_copies: bool
) -> float:
    """What the backward pass of one layer needs kept for one example, averaged over sliding and full layers."""
    tokens, hidden, inner = latent_tokens(settings), shape.hidden, shape.intermediate
    query, key, rank = shape.query_width, shape.key_width, _mean_rank(shape, settings)
    targets = _targets(shape, settings)
    kept = tokens * (6.0 * inner + 22 * hidden + 20 * query + 10 * key + 12 * rank)
    kept += condition_tokens * (10.0 * key + 4 * rank)
    if settings.adapter.mlp:
        kept += tokens * (2.0 * inner + 2 * hidden + 6 * rank)
    inputs = tokens * float(targets.latent_in) + condition_tokens * float(targets.condition_in)
    outputs = tokens * float(targets.latent_out) + condition_tokens * float(targets.condition_out)
    if autocast_copies:
        # Four bytes of the fp32 cast would be kept without autocast; under it a two-byte copy remains per target,
        # less the one copy of each shared input that the base layer keeps anyway.
        kept += tokens * (6.0 * hidden + 4 * query) + condition_tokens * 4.0 * hidden
        if settings.adapter.mlp:
            kept += tokens * 2.0 * (hidden + inner)
    if settings.adapter.kind == "lokr":
        kept += 2.0 * tokens * hidden + _lokr_bytes(shape, settings, condition_tokens)
    if settings.adapter.kind == "oft":
        kept += 2.0 * inputs  # each target's turned input, instead of the shared one
        if settings.adapter.attention == "both":
            kept -= 2.0 * hidden * (2 * tokens + condition_tokens)
    if settings.adapter.kind in ("lora", "dora") and settings.adapter.dropout > 0:
        kept += 3.0 * inputs  # the dropped copy and its mask
    if settings.adapter.kind == "dora":
        kept += 12.0 * outputs  # base output, adapter output and their fp32 product with the magnitude
    if attention == "math" and not settings.memory.gradient_checkpointing:
        kept += (shape.heads * tokens**2 * 4.0 + 8.0 * tokens * query) / 2  # every second layer slides
    return kept


def _lokr_bytes(shape: ModelShape, settings: Settings, condition_tokens: int) -> float:
    """Inputs of one layer with one of the Kronecker factors applied, which the other factor's gradient needs."""
    targets = _targets(shape, settings)
    lengths = [latent_tokens(settings)] * targets.latent + [condition_tokens] * (len(targets.shapes) - targets.latent)
    return sum(
        2.0 * length * kept_per_token(settings.adapter, outputs, inputs)
        for length, (inputs, outputs) in zip(lengths, targets.shapes, strict=True)
    )


def _rebuilt_bytes(shape: ModelShape, settings: Settings) -> float:
    """What an adapter makes of its weights in each step, whatever the batch.

    LoHa's backward pass holds two products in 16 bits and three gradients in 32 of one matrix at a time. OFT keeps the
    terms of its rotations, 14.5 bytes per value; with checkpointing those of one layer.
    """
    adapter, targets = settings.adapter, _targets(shape, settings)
    if adapter.kind == "loha":
        return 16.0 * max((inputs * outputs for inputs, outputs in targets.shapes), default=0)
    if adapter.kind == "oft":
        layers = 1 if settings.memory.gradient_checkpointing else shape.layers
        return 14.5 * layers * adapter.oft_block_size * sum(inputs for inputs, _ in targets.shapes)
    return 0.0


def _checkpointed_bytes(
    shape: ModelShape, settings: Settings, condition_tokens: int, layer: float, scale: float
) -> float:
    """Layer inputs of the whole depth, and one layer being recomputed with its temporaries."""
    tokens, hidden = latent_tokens(settings), shape.hidden
    kept = (
        _heard_layers(shape, settings) * 2.0 * tokens * hidden + 2.0 * condition_tokens * hidden + 6.0 * tokens * hidden
    )
    return kept * scale + 1.15 * layer
