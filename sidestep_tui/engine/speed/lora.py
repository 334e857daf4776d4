"""peft's LoRA layer without its passes over full-width tensors.

peft adds `B(A(x)) · scale` to the base layer's output in three passes and casts x to the adapter's float32 unless
autocast does the opposite. Here A and B, which are small, are cast to the base's precision, and the product is added
in the matrix product itself (ENGINE.md §2.4, §2.5). Weights and names stay: a layer only changes its class.

A model of 192 layers casts 384 matrices a pass and as many gradients: 768 kernels that do next to nothing. `cast_ahead`
does all of them in a few kernels for many tensors, before the first layer is reached.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from peft.tuners.lora import Linear as LoraLinear


class LeanLoraLinear(LoraLinear):
    """x [..., in] → base(x) + scale · (x Aᵀ) Bᵀ [..., out]."""

    copies: tuple[torch.Tensor, torch.Tensor] | None = None
    """A and B as the pass under way computes with them, where they were cast ahead."""

    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        if self.disable_adapters or self.merged or args or kwargs:
            return super().forward(x, *args, **kwargs)
        (name,) = self.lora_A.keys()
        rows = x.reshape(-1, x.shape[-1])
        answer = self.base_layer(rows)
        low, up = self.copies or (part[name].weight.to(answer.dtype) for part in (self.lora_A, self.lora_B))
        inner = F.linear(rows, low)
        # In place: a linear layer needs its input again, never its output.
        answer = answer.addmm_(inner, up.T, alpha=self.scaling[name])
        return answer.unflatten(0, x.shape[:-1])


class _Cast(torch.autograd.Function):
    """Tensors → copies in another precision; the gradients of the copies → those of the tensors in theirs."""

    @staticmethod
    def forward(ctx: Any, dtype: torch.dtype, *tensors: torch.Tensor) -> Any:
        ctx.set_materialize_grads(False)
        ctx.dtypes = [tensor.dtype for tensor in tensors]
        return tuple(_copied(tensors, [dtype] * len(tensors)))

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor | None) -> Any:
        known = [index for index, gradient in enumerate(gradients) if gradient is not None]
        wide = _copied([gradients[index] for index in known], [ctx.dtypes[index] for index in known])
        answers: list[torch.Tensor | None] = [None] * len(gradients)
        for index, gradient in zip(known, wide, strict=True):
            answers[index] = gradient
        return None, *answers


def _copied(tensors: Sequence[torch.Tensor], dtypes: Sequence[torch.dtype]) -> list[torch.Tensor]:
    copies = [torch.empty_like(tensor, dtype=dtype) for tensor, dtype in zip(tensors, dtypes, strict=True)]
    if copies:
        torch._foreach_copy_(copies, list(tensors))
    return copies


def cast_ahead(transformer: torch.nn.Module, dtype: torch.dtype) -> None:
    """From now on, each pass of `transformer` begins by casting the matrices of all its lean layers to `dtype`."""
    layers = [module for module in transformer.modules() if isinstance(module, LeanLoraLinear)]

    def begin(*_: Any) -> None:
        lean = [layer for layer in layers if type(layer) is LeanLoraLinear and not layer.disable_adapters]
        parts = [part[name].weight for layer in lean for name in layer.lora_A for part in (layer.lora_A, layer.lora_B)]
        copies = _Cast.apply(dtype, *parts) if parts else ()
        for layer, low, up in zip(lean, copies[::2], copies[1::2], strict=True):
            layer.copies = (low, up)

    def end(*_: Any) -> None:
        # Weights may change before the next pass. A layer that is recomputed for its gradient casts its own again.
        for layer in layers:
            layer.copies = None

    transformer.register_forward_pre_hook(begin)
    transformer.register_forward_hook(end, always_call=True)


def is_plain(module: torch.nn.Module) -> bool:
    """Whether a layer is LoRA and nothing else: one adapter, without dropout, DoRA, or biases."""
    return (
        type(module) is LoraLinear
        and len(module.lora_A) == 1
        and not module.lora_variant
        and not any(module.lora_bias.values())
        and not module.fan_in_fan_out
        and all(isinstance(dropout, torch.nn.Identity) for dropout in module.lora_dropout.values())
    )
