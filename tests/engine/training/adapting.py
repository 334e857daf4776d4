"""What the tests about adapters share: adapters with weights that change the output, and where they say they are
from."""

from __future__ import annotations

from collections.abc import Callable

import torch

from sidestep_tui.engine import adapters, export
from sidestep_tui.schema.adapter import AdapterSettings


def randomise(transformer: torch.nn.Module, spread: float = 0.1) -> None:
    """Move every weight of the adapter, the same way each time."""
    source = torch.Generator().manual_seed(3)
    for parameter in adapters.trainable(transformer).values():
        parameter.data = parameter.data + spread * torch.randn(parameter.shape, generator=source)


def provenance() -> export.Provenance:
    return export.Provenance("drums", "2026-11-21", 10, 2, 0.5, "acestep-v15-turbo", "turbo", "drms")


def trained(
    new_transformer: Callable[..., torch.nn.Module], settings: AdapterSettings, spread: float = 0.1
) -> torch.nn.Module:
    """A fresh small transformer with an adapter that changes its answers."""
    transformer = new_transformer()
    adapters.inject(transformer, settings)
    randomise(transformer, spread)
    return transformer


class OriginalNames(torch.nn.Module):
    """The transformer's layers under the module names of the original code, as ACE-Step's app and Side-Step hold it."""

    def __init__(self, transformer: torch.nn.Module) -> None:
        super().__init__()
        self.inner = [transformer]
        self.layers = torch.nn.ModuleList()
        for layer in transformer.layers:
            renamed = torch.nn.Module()
            renamed.mlp = layer.mlp
            for block in ("self_attn", "cross_attn"):
                source, target = getattr(layer, block), torch.nn.Module()
                target.q_proj, target.k_proj, target.v_proj = source.to_q, source.to_k, source.to_v
                target.o_proj = source.to_out[0]
                renamed.add_module(block, target)
            self.layers.append(renamed)

    def adopt(self) -> torch.nn.Module:
        """Put the (by now adapted) modules back into the transformer and return it."""
        for layer, renamed in zip(self.inner[0].layers, self.layers, strict=True):
            layer.mlp = renamed.mlp
            for block in ("self_attn", "cross_attn"):
                source, target = getattr(renamed, block), getattr(layer, block)
                target.to_q, target.to_k, target.to_v = source.q_proj, source.k_proj, source.v_proj
                target.to_out[0] = source.o_proj
        return self.inner[0]
