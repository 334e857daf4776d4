"""The matrices of a model one after the other, and where a gradient goes: what compute and memory are counted by.

A frozen matrix has no gradient of its own. It passes one on to what it hears only if something below it learns: under
the first adapted matrix nothing is computed backwards and nothing is kept. The condition never has a gradient.
"""

from __future__ import annotations

from dataclasses import dataclass

from sidestep_tui.schema import adapter_targets
from sidestep_tui.schema.adapter import AdapterSettings
from sidestep_tui.schema.model_shape import ModelShape

WINDOW = 128
"""Tokens that a sliding layer hears to either side; every second layer slides, the first one included."""


@dataclass(frozen=True, slots=True)
class Product:
    """A frozen matrix [outputs, inputs] over `tokens` tokens of one example."""

    part: str
    """`self.q`, `cross.o`, `mlp.up`, …"""
    inputs: int
    outputs: int
    tokens: int
    hears: bool
    """Whether what it hears has a gradient."""
    rank: int | None
    """Of the adapter on it, twice what learns with PiSSA; None where there is none."""

    @property
    def adapted(self) -> bool:
        """Whether it has an adapter."""
        return self.rank is not None

    @property
    def learns(self) -> bool:
        """Whether its answer has a gradient."""
        return self.hears or self.adapted


@dataclass(frozen=True, slots=True)
class Layer:
    """One transformer layer: self-attention, cross-attention, MLP."""

    slides: bool
    hears: bool
    """Whether the residual has a gradient where the layer begins, where its cross-attention and its MLP do."""
    hears_cross: bool
    hears_mlp: bool
    products: tuple[Product, ...]

    def part(self, name: str) -> Product:
        """The matrix of that name."""
        return next(product for product in self.products if product.part == name)

    def attends(self, block: str) -> bool:
        """Whether the scores of `self` or `cross` have a gradient."""
        return any(self.part(f"{block}.{projection}").learns for projection in "qkv")

    @property
    def learns(self) -> bool:
        """Whether the residual has a gradient where the layer ends."""
        return self.hears_mlp or self.part("mlp.down").learns


def walk(shape: ModelShape, adapter: AdapterSettings, *, tokens: int, condition: int) -> list[Layer]:
    """All layers over an example of so many model tokens, with so many condition tokens beside them."""
    ranks = {
        matrix: adapter_targets.held_rank_of(adapter, matrix)
        for matrix in adapter_targets.matrices(adapter, shape.layers)
    }
    layers: list[Layer] = []
    hears = False
    for number in range(shape.layers):
        own = {part: rank for (layer, part), rank in ranks.items() if layer == number}
        layers.append(_layer(shape, own, tokens, condition, slides=number % 2 == 0, hears=hears))
        hears = layers[-1].learns
    return layers


def heard_pairs(tokens: int, window: int | None) -> int:
    """Pairs of a token and one that it hears, itself included: all, or those at most `window` apart."""
    if window is None or window >= tokens:
        return tokens * tokens
    return tokens * (2 * window + 1) - window * (window + 1)


def _layer(
    shape: ModelShape, ranks: dict[str, int], tokens: int, condition: int, *, slides: bool, hears: bool
) -> Layer:
    hidden, inner = shape.hidden, shape.intermediate
    of_self = _attention(shape, ranks, "self", tokens, tokens, hears=hears, heard=hears)
    hears_cross = hears or of_self[-1].learns
    of_cross = _attention(shape, ranks, "cross", tokens, condition, hears=hears_cross, heard=False)
    hears_mlp = hears_cross or of_cross[-1].learns

    def matrix(name: str, inputs: int, outputs: int, *, hears: bool) -> Product:
        return Product(f"mlp.{name}", inputs, outputs, tokens, hears, ranks.get(f"mlp.{name}"))

    gate = matrix("gate", hidden, inner, hears=hears_mlp)
    up = matrix("up", hidden, inner, hears=hears_mlp)
    down = matrix("down", inner, hidden, hears=gate.learns or up.learns)
    return Layer(slides, hears, hears_cross, hears_mlp, (*of_self, *of_cross, gate, up, down))


def _attention(
    shape: ModelShape, ranks: dict[str, int], block: str, tokens: int, keys: int, *, hears: bool, heard: bool
) -> tuple[Product, ...]:
    """Queries come from the latents, keys and values from `keys` tokens that have a gradient if `heard`."""
    hidden, query, key = shape.hidden, shape.query_width, shape.key_width

    def matrix(name: str, inputs: int, outputs: int, length: int, *, hears: bool) -> Product:
        return Product(f"{block}.{name}", inputs, outputs, length, hears, ranks.get(f"{block}.{name}"))

    inside = (
        matrix("q", hidden, query, tokens, hears=hears),
        matrix("k", hidden, key, keys, hears=heard),
        matrix("v", hidden, key, keys, hears=heard),
    )
    return (*inside, matrix("o", query, hidden, tokens, hears=any(product.learns for product in inside)))
