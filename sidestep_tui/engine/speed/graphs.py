"""CUDA graphs for compiled blocks: a step's kernels are sent to the GPU as one, which spares small batches its wait.

Inductor records them per block and shape; the hook here keeps to its two rules. A pass must say that it begins, and
what outlives it must not lie in the graphs' memory: gradients are added to tensors of their own.
"""

from __future__ import annotations

from typing import Any

import torch

OPTIONS = {"triton.cudagraphs": True}
"""What inductor is told."""


def prepare(transformer: torch.nn.Module) -> None:
    """Make every pass that trains keep to the rules."""
    learning = [parameter for parameter in transformer.parameters() if parameter.requires_grad]

    def begin(module: torch.nn.Module, args: Any) -> None:
        if not torch.is_grad_enabled():
            return
        for parameter in learning:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        torch.compiler.cudagraph_mark_step_begin()

    transformer.register_forward_pre_hook(begin)


def are_possible(device: torch.device) -> bool:
    """Whether this device records graphs."""
    return device.type == "cuda"
