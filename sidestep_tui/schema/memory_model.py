"""How much device memory a run will need, from closed forms: no model, no torch, no measuring.

Checked against the real configurations under fake tensors (tests/engine/counts): what is kept for the backward pass to
within one percent, the peak to within five, always on the safe side.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from sidestep_tui.schema import activation_model, adapter_targets
from sidestep_tui.schema.activation_model import Attention
from sidestep_tui.schema.adapter_maths import matrix_parameters
from sidestep_tui.schema.memory import Base
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

_QUANTISED_BYTES = {"int8": 1.001, "nf4": 0.516}
"""Bytes of a quantised weight with its share of the scales."""
_DEQUANTISED_COPIES = {"full": 0, "int8": 1, "nf4": 2}
"""How often the largest matrix is there in full while it is multiplied by; 4 bits go by way of indices."""
_BUDGET_SHARES = {0.0: 0.137, 0.25: 0.352, 0.5: 0.566, 0.75: 0.685, 1.0: 1.0}
"""What compiled blocks keep under an activation budget, of what they keep without (measured, ENGINE.md §2.13)."""
_WEIGHT_BYTES = _GRADIENT_BYTES = 4.0
"""Of an adapter weight and of its gradient, both float32."""
_MATH_PASSING = 6.0
"""Bytes of a score while the fallback computes backwards, besides the four that it kept."""


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Bytes by purpose; `total` adds the allocator's fragmentation and the device context."""

    weights: int
    adapter: int
    optimizer: int
    activations: int
    """Kept for the backward pass at its peak, less the gradients that take its place."""
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
    base_bytes: float | None = None,
    context_bytes: int = CONTEXT_BYTES,
) -> MemoryEstimate:
    """Device memory at the peak of a training step.

    `attention="math"` adds what PyTorch's fallback keeps on the sliding layers when no flash kernel takes their mask:
    with `speed.attention` stock alone, as windowed attention has no mask. `base_bytes` overrides the bytes per weight
    of the frozen model (2 for bfloat16, 4 for float32).
    """
    width = base_bytes if base_bytes is not None else (4.0 if settings.memory.precision == "float32" else 2.0)
    trained = adapter_parameters(shape, settings)
    gradients = _GRADIENT_BYTES * trained
    kept = activation_model.kept(
        shape,
        settings,
        condition_tokens=condition_tokens,
        tokens=latent_tokens(settings),
        width=width,
        attention=attention,
    )
    passing = max(kept.passing, _rebuilt_bytes(shape, settings))
    # Gradients take the place of what was kept: the peak is at one end of the backward pass or at the other.
    if settings.memory.recomputes:
        peak = max(kept.layers) + passing + max(kept.inputs + kept.shared + kept.head, gradients)
        if attention == "math" and settings.speed.attention == "stock":
            peak += _MATH_PASSING * settings.train.batch_size * shape.heads * latent_tokens(settings) ** 2
    else:
        peak = max(kept.total * _budget_share(settings), gradients) + passing
    activations = peak - gradients + _DEQUANTISED_COPIES[settings.memory.base] * width * _largest_matrix(shape)
    weights = _base_bytes(shape, settings.memory.base, width)
    adapter = _WEIGHT_BYTES * trained + gradients
    if settings.adapter.init == "pissa":
        # What it began with, and in float32 the joined factors, of which other precisions keep their own copy.
        adapter += _WEIGHT_BYTES * trained * (3 if width == 4 else 1)
    optimizer = trained * (OPTIMIZER_BYTES[settings.optim.optimizer] + (4 if settings.train.ema_decay else 0))
    overhead = (FRAGMENTATION - 1) * (weights + adapter + optimizer + activations) + context_bytes
    return MemoryEstimate(int(weights), int(adapter), int(optimizer), int(activations), int(overhead))


def _budget_share(settings: Settings) -> float:
    """The share of the activations that a compiled run keeps under its budget.

    Only where compiling is certain. What the partitioner wins without a budget is left out, to stay on the safe side.
    """
    speed = settings.speed
    if speed.compile != "on":
        return 1.0
    budgets = list(_BUDGET_SHARES)
    low = max(budget for budget in budgets if budget <= speed.activation_budget)
    high = min(budget for budget in budgets if budget >= speed.activation_budget)
    way = (speed.activation_budget - low) / (high - low) if high > low else 0.0
    return _BUDGET_SHARES[low] + way * (_BUDGET_SHARES[high] - _BUDGET_SHARES[low])


def _base_bytes(shape: ModelShape, base: Base, width: float) -> float:
    """The frozen model: all of it in `width` bytes a weight, or the blocks' matrices quantised."""
    return (
        shape.linear_parameters * _QUANTISED_BYTES.get(base, width)
        + (shape.parameters - shape.linear_parameters) * width
    )


def _largest_matrix(shape: ModelShape) -> int:
    """Weights of the largest matrix of a block."""
    return shape.hidden * max(shape.intermediate, shape.query_width)


def _rebuilt_bytes(shape: ModelShape, settings: Settings) -> float:
    """What LoHa's backward pass holds of one matrix at a time: two products in 16 bits, three gradients in 32."""
    if settings.adapter.kind != "loha":
        return 0.0
    sizes = _matrix_sizes(shape)
    chosen = {sizes[part.partition(".")[2]] for part in adapter_targets.parts(settings.adapter)}
    return 16.0 * max((inputs * outputs for inputs, outputs in chosen), default=0)
