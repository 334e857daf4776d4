"""Bytes that a forward pass keeps for the backward pass, matrix by matrix, from closed forms.

Counted is what autograd keeps of each operator: a norm its input and 1/rms, a flash kernel q, k, v, its answer and one
number a row, SwiGLU three tensors, an adapter what it hears and its own narrow product. Checked against the saved
tensors of the real configurations under fake tensors (tests/engine/counts).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sidestep_tui.schema.adapter import AdapterSettings
from sidestep_tui.schema.adapter_maths import kept_per_token, matrix_parameters
from sidestep_tui.schema.layer_walk import Layer, Product, walk
from sidestep_tui.schema.model_shape import ModelShape
from sidestep_tui.schema.settings import Settings

Attention = Literal["flash", "math"]

_WIDE = 4.0
"""Bytes of float32."""
_ROTATION_BYTES = 14.5
"""Kept of the terms of an OFT rotation, for each of its values."""


@dataclass(frozen=True, slots=True)
class Kept:
    """Bytes of one micro-batch."""

    layers: tuple[float, ...]
    """Of each layer."""
    inputs: float
    """Of the residual where the layers begin that a gradient passes: all that checkpointing keeps of them."""
    shared: float
    """Of what all layers use: the condition, positions, masks."""
    head: float
    """Behind the last layer, and of the loss."""
    passing: float
    """At most, of gradients on their way through one layer."""

    @property
    def total(self) -> float:
        """Without checkpointing, when the forward pass ends."""
        return sum(self.layers) + self.shared + self.head


@dataclass(frozen=True, slots=True)
class _Counting:
    """How one example is computed: all that the sums of a layer depend on."""

    shape: ModelShape
    adapter: AdapterSettings
    tokens: int
    condition: int
    batch: int
    width: float
    fused: bool
    windowed: bool
    attention: Attention

    @property
    def copy(self) -> float:
        """Bytes of the float32 copy that a stock norm keeps of a value."""
        return 0.0 if self.fused or self.width >= _WIDE else _WIDE

    def norm(self, rows: float, size: int) -> float:
        """A norm over rows of `size`: its input, and 1/rms."""
        return rows * (size * (self.width + self.copy) + _WIDE)


def kept(
    shape: ModelShape, settings: Settings, *, condition_tokens: int, tokens: int, width: float, attention: Attention
) -> Kept:
    """What one micro-batch keeps with crops of `tokens` model tokens, on a base of `width` bytes a value.

    `attention="math"` is PyTorch's fallback, which keeps the scores of layers with a mask.
    """
    speed, batch = settings.speed, settings.train.batch_size
    windowed = speed.attention != "stock"
    how = _Counting(shape, settings.adapter, tokens, condition_tokens, batch, width, speed.fused, windowed, attention)
    walked = walk(shape, settings.adapter, tokens=tokens, condition=condition_tokens)
    learning = sum(layer.learns for layer in walked)
    hears_condition = any(layer.part(f"cross.{name}").adapted for layer in walked for name in "kv")
    shared = 2 * width * tokens * shape.head_dim
    if not windowed:
        shared += width * tokens**2
    if hears_condition and settings.adapter.kind != "oft" and not settings.adapter.dropout:
        shared += batch * width * condition_tokens * shape.hidden
    frames = shape.patch * tokens
    head = how.norm(tokens, shape.hidden) + width * tokens * shape.hidden + 2 * _WIDE * frames * shape.latent_channels
    return Kept(
        layers=tuple(batch * _of_tokens(layer, how) + _of_weights(layer, how) for layer in walked),
        inputs=batch * learning * width * tokens * shape.hidden,
        shared=shared,
        head=batch * head if learning else 0.0,
        passing=batch * width * tokens * (3.0 * shape.intermediate + 2.0 * shape.hidden) if learning else 0.0,
    )


def _of_tokens(layer: Layer, how: _Counting) -> float:
    """Bytes of one example in one layer."""
    width, tokens, hidden = how.width, how.tokens, how.shape.hidden
    found = sum(how.norm(tokens, hidden) for hears in (layer.hears, layer.hears_cross, layer.hears_mlp) if hears)
    found += 8 * width * hidden if layer.learns else 0.0  # what modulates the layer
    found += _of_attention(layer, "self", how) + _of_attention(layer, "cross", how)
    found += _of_inputs(layer, how)
    gate, up = layer.part("mlp.gate"), layer.part("mlp.up")
    inner = width * tokens * how.shape.intermediate
    found += inner * (2 * gate.learns + up.learns)
    return found + sum(_of_adapter(product, how) for product in layer.products if product.adapted)


def _of_attention(layer: Layer, block: str, how: _Counting) -> float:
    """Norms of queries and keys, and what the kernel keeps."""
    shape, width, tokens = how.shape, how.width, how.tokens
    query, key = layer.part(f"{block}.q"), layer.part(f"{block}.k")
    found = how.norm(tokens * shape.heads, shape.head_dim) if query.learns else 0.0
    found += how.norm(key.tokens * shape.kv_heads, shape.head_dim) if key.learns else 0.0
    if not layer.attends(block):
        return found
    slides = layer.slides and block == "self"
    # The flash kernel for windows is given as many heads of keys and values as of queries.
    heard = 2 * (shape.query_width if slides and how.windowed else shape.key_width)
    found += width * (2 * tokens * shape.query_width + key.tokens * heard) + _WIDE * tokens * shape.heads
    if slides and not how.windowed and how.attention == "math":
        found += shape.heads * tokens**2 * _WIDE + 8.0 * tokens * shape.query_width
    return found


def _of_inputs(layer: Layer, how: _Counting) -> float:
    """What adapted matrices hear, where nothing else keeps it: once for those that hear the same."""
    adapter, width = how.adapter, how.width
    if adapter.kind == "oft" or (adapter.kind in ("lora", "dora") and adapter.dropout > 0):
        return 0.0
    adapted = {product.part for product in layer.products if product.adapted}
    groups = [adapted & group for group in _HEARING_THE_SAME]
    # The stock residual lies in memory by columns: a batch of it is copied for each product that hears it.
    hidden = sum(bool(group) if how.fused or how.batch == 1 else len(group) for group in groups)
    found = width * how.tokens * hidden * how.shape.hidden
    if "mlp.down" in adapted:
        found += width * how.tokens * how.shape.intermediate
    for block in ("self", "cross"):
        if f"{block}.o" in adapted and not layer.attends(block):
            found += width * how.tokens * how.shape.query_width
    return found


_HEARING_THE_SAME = ({"self.q", "self.k", "self.v"}, {"cross.q"}, {"mlp.gate", "mlp.up"})


def _of_adapter(product: Product, how: _Counting) -> float:
    """Of one adapter and example, besides what it hears."""
    adapter, tokens, width = how.adapter, product.tokens, how.width
    found = 0.0
    match adapter.kind:
        case "lora" | "dora":
            found += width * tokens * (product.rank or 0)
            if adapter.dropout > 0:
                # The dropped copy; the mask, in bytes, for the gradient of what is heard.
                found += (width + product.hears) * tokens * product.inputs
            if adapter.kind == "dora":
                found += 2 * width * tokens * product.outputs  # the base's answer and the adapter's
        case "lokr":
            found += width * tokens * kept_per_token(adapter, product.outputs, product.inputs)
        case "oft":
            found += width * tokens * product.inputs  # each turns what it hears by itself
    return found


def _of_weights(layer: Layer, how: _Counting) -> float:
    """What adapters make of their weights, whatever the batch: casts to the base's precision, rotations."""
    return sum(sum(_made(product, how)) for product in layer.products if product.adapted)


def _made(product: Product, how: _Counting) -> Iterator[float]:
    adapter = how.adapter
    if adapter.kind == "oft":
        yield _ROTATION_BYTES * adapter.oft_block_size * product.inputs
    elif adapter.kind in ("lora", "dora") and how.width < _WIDE:
        # A is needed for the gradient of what it hears alone.
        yield how.width * (product.rank or 0) * (product.outputs + (product.inputs if product.hears else 0))
    elif adapter.kind == "lokr" and how.width < _WIDE:
        yield how.width * matrix_parameters(adapter, product.outputs, product.inputs, rank=product.rank)
    if adapter.kind == "dora":
        yield 2 * _WIDE * product.outputs
