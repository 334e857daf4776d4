"""peft's LoRA layer without its passes over full-width tensors.

peft adds `B(A(x)) · scale` to the base layer's output in three passes and casts x to the adapter's float32 unless
autocast does the opposite. Here A and B, which are small, are cast to the base's precision, and the product is added
in the matrix product itself (ENGINE.md §2.4, §2.5). Weights and names stay: a layer only changes its class.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from peft.tuners.lora import Linear as LoraLinear


class LeanLoraLinear(LoraLinear):
    """x [..., in] → base(x) + scale · (x Aᵀ) Bᵀ [..., out]."""

    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        if self.disable_adapters or self.merged or args or kwargs:
            return super().forward(x, *args, **kwargs)
        (name,) = self.lora_A.keys()
        rows = x.reshape(-1, x.shape[-1])
        answer = self.base_layer(rows)
        low, up = (part[name].weight.to(answer.dtype) for part in (self.lora_A, self.lora_B))
        inner = F.linear(rows, low)
        # In place: a linear layer needs its input again, never its output.
        answer = answer.addmm_(inner, up.T, alpha=self.scaling[name])
        return answer.unflatten(0, x.shape[:-1])


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
