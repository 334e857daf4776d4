"""How many floating-point operations a training step takes, from closed forms: no model, no torch, no measuring.

Only matrix products, convolutions and attention are counted, two operations for each multiplication with its addition;
all else waits for memory and not for arithmetic. The sums were checked against the operators of the real models under
fake tensors (tests/engine/counts).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sidestep_tui.schema.adapter import AdapterSettings
from sidestep_tui.schema.adapter_maths import factors, lokr_shapes
from sidestep_tui.schema.layer_walk import WINDOW, Layer, Product, heard_pairs, walk
from sidestep_tui.schema.memory_model import CONDITION_TOKENS, latent_tokens
from sidestep_tui.schema.model_shape import ModelShape
from sidestep_tui.schema.settings import Settings

_TIME_CHANNELS = 256
_FLASH_BACKWARD = 2.5
"""Products of a flash kernel's backward pass for each of its forward pass: it computes the scores again."""
_ROTATION_PRODUCTS = 3
"""Of a block with itself, in the Cayley–Neumann series of five terms that OFT makes its rotations from."""


@dataclass(frozen=True, slots=True)
class StepFlops:
    """Operations of one optimizer step: all its examples together."""

    forward: float
    backward: float
    recomputed: float
    """The forward pass of all layers but the last once more, under gradient checkpointing."""

    @property
    def total(self) -> float:
        """What the device computes."""
        return self.forward + self.backward + self.recomputed

    @property
    def useful(self) -> float:
        """What the recipe needs, and what a model's utilisation of a device is measured by."""
        return self.forward + self.backward


def flops(
    shape: ModelShape,
    settings: Settings,
    *,
    checkpointing: bool,
    condition_tokens: int = CONDITION_TOKENS,
    windowed: bool = True,
) -> StepFlops:
    """Operations of one optimizer step with crops of the settings' length.

    `checkpointing` says whether activations are recomputed, which the settings may leave open. `windowed` counts what
    sliding layers hear; without it, all tokens, as the stock model computes them under a mask.
    """
    batch, tokens = settings.train.batch_size, latent_tokens(settings)
    layers = walk(shape, settings.adapter, tokens=tokens, condition=condition_tokens)
    forward = backward = recomputed = 0.0
    for layer in layers:
        recomputed = forward
        for once, again in _of_layer(layer, shape, settings.adapter, batch, tokens, condition_tokens, windowed):
            forward += once
            backward += again * once
    patched = 2.0 * batch * tokens * shape.patch * shape.in_channels * shape.hidden
    embedded = 2.0 * batch * condition_tokens * shape.encoder_hidden * shape.hidden
    timed = 2 * 2.0 * batch * shape.hidden * (_TIME_CHANNELS + 7 * shape.hidden)
    unpatched = 2.0 * batch * tokens * shape.patch * shape.latent_channels * shape.hidden
    times = settings.train.accumulation
    return StepFlops(
        forward=times * (forward + patched + embedded + timed + unpatched),
        backward=times * (backward + (unpatched if layers[-1].learns else 0.0)),
        recomputed=times * recomputed if checkpointing else 0.0,
    )


def _of_layer(
    layer: Layer,
    shape: ModelShape,
    adapter: AdapterSettings,
    batch: int,
    tokens: int,
    condition: int,
    windowed: bool,
) -> Iterator[tuple[float, float]]:
    """Operations forward, and how often as many backward, of one layer's products."""
    for block, pairs in (
        ("self", heard_pairs(tokens, WINDOW if layer.slides and windowed else None)),
        ("cross", tokens * condition),
    ):
        yield 4.0 * batch * pairs * shape.query_width, _FLASH_BACKWARD if layer.attends(block) else 0.0
    for product in layer.products:
        length = float(batch * product.tokens)
        turned = product.adapted and adapter.kind == "oft"
        yield 2.0 * length * product.inputs * product.outputs, 1.0 if product.hears or turned else 0.0
        if product.adapted:
            yield from _of_adapter(adapter, product, length)


def _of_adapter(adapter: AdapterSettings, product: Product, tokens: float) -> Iterator[tuple[float, float]]:
    """The products of an adapter on `tokens` tokens.

    Backward comes once for each factor that has a gradient: twice between weights, once where x has none.
    """
    inputs, outputs, rank = product.inputs, product.outputs, product.rank or 0
    of_x = 2.0 if product.hears else 1.0
    match adapter.kind:
        case "lora" | "dora":
            yield 2.0 * tokens * inputs * rank, of_x
            yield 2.0 * tokens * rank * outputs, 2.0
            if adapter.kind == "dora":
                # peft finds the length of the rows of W + BA by sending the identity through A and B.
                yield 2.0 * inputs * rank * (inputs + outputs), 0.0
                if adapter.dropout > 0:
                    yield 2.0 * tokens * inputs * outputs, of_x - 1.0
        case "lokr":
            yield from _of_kronecker(adapter, inputs, outputs, tokens, of_x)
        case "loha":
            yield 2 * 2.0 * outputs * rank * inputs, 3.0  # made again, and both factors of each
            yield 2.0 * tokens * inputs * outputs, of_x
        case "oft":
            block = adapter.oft_block_size
            yield _ROTATION_PRODUCTS * 2.0 * inputs * block * block, 2.0
            yield 2.0 * tokens * inputs * block, of_x


def _of_kronecker(
    adapter: AdapterSettings, inputs: int, outputs: int, tokens: float, of_x: float
) -> Iterator[tuple[float, float]]:
    """LoKr: x [in₁, in₂] times the second factor, then the first."""
    small_in, large_in = factors(inputs, adapter.lokr_factor)
    small_out, large_out = factors(outputs, adapter.lokr_factor)
    shapes = lokr_shapes(adapter, outputs, inputs)
    if "lokr_w2" in shapes:
        yield 2.0 * tokens * small_in * large_in * large_out, of_x
    else:
        yield 2.0 * tokens * small_in * large_in * adapter.rank, of_x
        yield 2.0 * tokens * small_in * adapter.rank * large_out, 2.0
    if "lokr_w1_a" in shapes:
        yield 2.0 * small_out * adapter.rank * small_in, 2.0
    yield 2.0 * tokens * large_out * small_in * small_out, 2.0
