"""The residual stream in memory order.

The model's patchify is a convolution over [B, H, S] whose transposed view runs through all layers: norms read it
against the grain, and matrix products of a batch copy it each time (ENGINE.md §2.2).
"""

from __future__ import annotations

import torch


class ContiguousConv1d(torch.nn.Conv1d):
    """A convolution [B, in, T] → [B, out, S] whose answer lies in memory as [B, S, out]."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(input).transpose(1, 2).contiguous().transpose(1, 2)


def is_plain(module: torch.nn.Module) -> bool:
    """Whether a module is a convolution that the one here can stand in for."""
    return type(module) is torch.nn.Conv1d
