"""The model's RMS norms in one kernel.

diffusers writes them in primitive operations, which make up half of all kernels of a step and keep float32 copies
(ENGINE.md §2.3). Weights and names stay: a norm only changes its class.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.normalization import RMSNorm


class FusedRMSNorm(RMSNorm):
    """y = x / √(mean(x²) + ε) · w over the last dimension, x [..., D], by torch's own norm (one kernel on CUDA)."""

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(hidden_states, self.dim, self.weight, self.eps)


class LeanRMSNorm(RMSNorm):
    """The same where torch has no such kernel: few passes, and only x and 1/rms [..., 1] kept."""

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        if torch.compiler.is_compiling():
            # The compiler fuses it anyway; and torch 2.11 compiles a Function that ends in place without its gradient.
            return F.rms_norm(hidden_states, self.dim, self.weight, self.eps)
        normed: torch.Tensor = _RMSNorm.apply(hidden_states, self.weight, self.eps)
        return normed


class _RMSNorm(torch.autograd.Function):
    """With r = 1/√(mean(x²) + ε) and g = w·∂y: ∂x = r·(g − x·r²·mean(g·x)). w is frozen and gets no gradient."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        wide = x.float()
        inverse = torch.linalg.vector_norm(wide, dim=-1, keepdim=True).square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight, inverse)
        return (wide * inverse).mul_(weight).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        x, weight, inverse = ctx.saved_tensors
        scaled = gradients[0].float() * weight
        wide = x.float()
        share = (scaled * wide).mean(dim=-1, keepdim=True).mul_(inverse.square())
        return scaled.addcmul_(wide, share, value=-1).mul_(inverse).to(x.dtype), None, None


def is_plain(module: torch.nn.Module) -> bool:
    """Whether a module is a norm of diffusers that the ones here can stand in for."""
    return type(module) is RMSNorm and module.weight is not None and module.bias is None
