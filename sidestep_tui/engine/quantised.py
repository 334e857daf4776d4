"""A frozen base in 8 or 4 bits: linear layers that keep codes and give back their weights when they are needed.

`int8` keeps a row of a matrix as whole numbers with one scale (symmetric, to the row's largest value): half of
bfloat16, and within its rounding. `nf4` keeps four bits a weight, the quantiles of a normal distribution, with one
scale for every 64 weights (Dettmers et al. 2023, "QLoRA", appendix E); the scales take eight bits themselves, in groups
of 256. Both are plain tensor operations and run wherever torch does.

A layer's product keeps nothing for its backward pass, which makes the weights from their codes again: saved by
autograd, they would cost as much as a base that was never quantised.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import torch
import torch.nn.functional as F

from sidestep_tui.schema.memory import Base

_INT8_MOST = 127
_BLOCK = 64
_GROUP = 256
_NF4 = (
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
)
_PARTS = ("self_attn.", "cross_attn.", "mlp.")


class QuantisedLinear(torch.nn.Linear):
    """A frozen linear layer without a weight of its own: `weight` is made from the codes on every look.

    It is a Linear so that adapters find it; what they read of its weight (DoRA's row lengths) is what it computes with.
    """

    PARTS: ClassVar[tuple[str, ...]]
    """Names of the buffers that hold the codes."""

    def __init__(self, inputs: int, outputs: int, bias: torch.nn.Parameter | None, dtype: torch.dtype) -> None:
        # Not Linear's own, which would make the weight that this layer is there to avoid.
        torch.nn.Module.__init__(self)
        self.in_features, self.out_features = inputs, outputs
        self.compute_dtype = dtype
        self.register_parameter("bias", bias)
        for name in self.PARTS:
            self.register_buffer(name, None, persistent=False)

    def fill(self, weight: torch.Tensor) -> None:
        """Take the codes of `weight` [out, in], on its device."""
        for name, codes in zip(self.PARTS, self.encode(weight), strict=True):
            setattr(self, name, codes)

    def codes(self) -> tuple[torch.Tensor, ...]:
        """The buffers in the order of PARTS."""
        return tuple(self._buffers[name] for name in self.PARTS)

    @property
    def weight(self) -> torch.Tensor:
        """The weight [out, in] as it computes, made for this call."""
        with torch.no_grad():
            return self.decode(self.codes(), (self.out_features, self.in_features), self.compute_dtype)

    @staticmethod
    def encode(weight: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Codes of a float weight [out, in]."""
        raise NotImplementedError

    @staticmethod
    def decode(codes: tuple[torch.Tensor, ...], shape: tuple[int, int], dtype: torch.dtype) -> torch.Tensor:
        """The weight [out, in] in `dtype`."""
        raise NotImplementedError

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kind = x.device.type
        # As every linear layer under autocast; inside the function below it would have no effect on the backward pass.
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
        product: torch.Tensor = _Product.apply(x.to(dtype), type(self), self.out_features, *self.codes())
        return product if self.bias is None else product + self.bias.to(dtype)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Int8Linear(QuantisedLinear):
    """One byte a weight and one scale a row."""

    PARTS = ("numbers", "scales")

    @staticmethod
    def encode(weight: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Whole numbers [out, in] (int8) and scales [out, 1] (bfloat16).

        Rounding the scale first and the weights by the rounded one makes the codes the same in every precision.
        """
        largest = weight.detach().float().abs().amax(dim=1, keepdim=True).clamp_min(1e-12)
        scales = (largest / _INT8_MOST).bfloat16()
        numbers = (weight.detach().float() / scales.float()).round_().clamp_(-_INT8_MOST, _INT8_MOST)
        return numbers.to(torch.int8), scales

    @staticmethod
    def decode(codes: tuple[torch.Tensor, ...], shape: tuple[int, int], dtype: torch.dtype) -> torch.Tensor:
        numbers, scales = codes
        return numbers.to(dtype).mul_(scales.to(dtype))


class Nf4Linear(QuantisedLinear):
    """Four bits a weight, and about an eighth of a bit for the scales."""

    PARTS = ("pairs", "steps", "spans")

    @staticmethod
    def encode(weight: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Pairs of codes [out·in / 2] (uint8), block scales in steps [blocks] (uint8) of their groups' spans [groups].

        A weight whose size is no multiple of a block is filled up with zeros, and a group with empty blocks.
        """
        flat = weight.detach().float().flatten()
        blocks = F.pad(flat, (0, -flat.numel() % _BLOCK)).view(-1, _BLOCK)
        largest = blocks.abs().amax(dim=1)
        groups = F.pad(largest, (0, -largest.numel() % _GROUP)).view(-1, _GROUP)
        spans = (groups.amax(dim=1) / 255).clamp_min(1e-12)
        # Up, so that no weight lies beyond its block's scale.
        steps = (groups / spans[:, None]).ceil_().clamp_(0, 255).to(torch.uint8).flatten()[: largest.numel()]
        table = torch.tensor(_NF4, device=weight.device)
        edges = (table[1:] + table[:-1]) / 2
        scaled = blocks / _block_scales(steps, spans).clamp_min(1e-12)[:, None]
        numbers = torch.bucketize(scaled, edges, out_int32=True).to(torch.uint8).view(-1, 2)
        return (numbers[:, 0] << 4) | numbers[:, 1], steps, spans

    @staticmethod
    def decode(codes: tuple[torch.Tensor, ...], shape: tuple[int, int], dtype: torch.dtype) -> torch.Tensor:
        pairs, steps, spans = codes
        table = torch.tensor(_NF4, device=pairs.device, dtype=dtype)
        both = torch.stack([table.repeat_interleave(len(_NF4)), table.repeat(len(_NF4))], dim=1)
        # One look for two weights: the indices take four bytes each.
        blocks = both.index_select(0, pairs.int()).view(-1, _BLOCK)
        blocks.mul_(_block_scales(steps, spans).to(dtype)[:, None])
        return blocks.flatten()[: shape[0] * shape[1]].view(shape)


def _block_scales(steps: torch.Tensor, spans: torch.Tensor) -> torch.Tensor:
    """Scales of the blocks, float32 [blocks]."""
    return steps.float() * spans.repeat_interleave(_GROUP)[: steps.numel()]


class _Product(torch.autograd.Function):
    """x [..., in] → x Wᵀ [..., out] for a W that exists only while it is multiplied by, forward and backward."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, layer: type[QuantisedLinear], outputs: int, *codes: torch.Tensor
    ) -> torch.Tensor:
        ctx.save_for_backward(*codes)  # buffers of the layer: no memory of their own
        ctx.layer, ctx.shape = layer, (outputs, x.shape[-1])
        return F.linear(x, layer.decode(codes, ctx.shape, x.dtype))

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        gradient, codes = gradients[0], ctx.saved_tensors  # checkpointing unpacks them once
        to_x = gradient @ ctx.layer.decode(codes, ctx.shape, gradient.dtype) if ctx.needs_input_grad[0] else None
        return (to_x, None, None, *(None for _ in codes))


_LAYERS: dict[Base, type[QuantisedLinear]] = {"int8": Int8Linear, "nf4": Nf4Linear}


def replace(transformer: torch.nn.Module, base: Base, dtype: torch.dtype) -> dict[str, QuantisedLinear]:
    """Put empty quantised layers in place of the blocks' attention and MLP matrices; returns them by name.

    The model may be on meta: the matrices are not looked at. `fill` each before use. `full` replaces nothing.
    """
    if base == "full":
        return {}
    made: dict[str, QuantisedLinear] = {}
    for name in list(quantisable(transformer)):
        plain = transformer.get_submodule(name)
        assert isinstance(plain, torch.nn.Linear)
        made[name] = _LAYERS[base](plain.in_features, plain.out_features, plain.bias, dtype)
        transformer.set_submodule(name, made[name].train(plain.training))
    return made


def quantise(transformer: torch.nn.Module, base: Base) -> int:
    """Quantise a model that is there already, one matrix after the other; returns how many."""
    plain = {name: transformer.get_submodule(name) for name in quantisable(transformer)} if base != "full" else {}
    dtypes = {layer.weight.dtype for layer in plain.values()}
    replaced = replace(transformer, base, dtypes.pop()) if plain else {}
    for name, layer in replaced.items():
        layer.fill(plain.pop(name).weight)
    return len(replaced)


def quantisable(transformer: torch.nn.Module) -> Iterator[str]:
    """Names of the blocks' attention and MLP matrices, in model order."""
    for name, module in transformer.named_modules():
        inside = name.removeprefix("layers.").partition(".")[2]
        is_block = name.startswith("layers.") and inside.startswith(_PARTS)
        if is_block and isinstance(module, torch.nn.Linear) and not isinstance(module, QuantisedLinear):
            yield name
