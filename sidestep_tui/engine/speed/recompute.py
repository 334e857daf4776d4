"""Gradient checkpointing: a layer keeps what it was given alone, and computes the rest again for its gradient.

The last layer is left out. Its gradient is the first to be computed, when everything that it would throw away is
needed again at once: keeping it costs no memory at the peak and saves a layer's forward pass.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.checkpoint import checkpoint


def enable(transformer: torch.nn.Module) -> None:
    """Have all layers of `transformer` but the last recompute their activations."""
    last = transformer.layers[-1]

    def run(block: torch.nn.Module, *args: Any) -> Any:
        return block(*args) if block is last else checkpoint(block.__call__, *args, use_reentrant=False)

    transformer.enable_gradient_checkpointing(run)
