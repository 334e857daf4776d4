"""One optimizer step of six of the real 2B model's layers on the CPU, with made-up weights.

In bfloat16 where the processor has it (0.9 GB), else in float32 (1.9 GB): emulated bfloat16 would take minutes. The
whole depth is counted under fake tensors (`counts/`).
"""

from __future__ import annotations

import psutil
import pytest
import torch
from diffusers import AceStepTransformer1DModel

from sidestep_tui.engine import adapters, devices, trainer
from sidestep_tui.engine.batches import SongStore
from sidestep_tui.engine.trainer import Material

CONDITION_WIDTH = 2048
TOKENS = 100
LAYERS = 6


class Song:
    """Two seconds of made-up latents."""

    name = "two seconds"
    repeats = 1
    takes = ()

    def latents(self) -> torch.Tensor:
        return torch.randn((51, 64), generator=torch.Generator().manual_seed(1))

    def condition(self) -> torch.Tensor:
        return torch.randn((TOKENS, CONDITION_WIDTH), generator=torch.Generator().manual_seed(2))


def materialise(module: torch.nn.Module, dtype: torch.dtype) -> None:
    """Give meta parameters values at memory speed: one small random tile, repeated."""
    tile = torch.randn(1 << 16, generator=torch.Generator().manual_seed(3)).mul_(0.02).to(dtype)
    for owner in module.modules():
        for name, parameter in owner.named_parameters(recurse=False):
            count = parameter.numel()
            if parameter.dim() == 1 and name == "weight":
                values = torch.ones(count, dtype=dtype)
            else:
                values = tile.repeat(-(-count // tile.numel()))[:count]
            made = torch.nn.Parameter(values.view(parameter.shape), requires_grad=False)
            setattr(owner, name, made)


@pytest.mark.slow
def test_one_step_at_the_real_size(new_settings):
    cpu = torch.device("cpu")
    dtype = torch.float32 if devices.is_slow(cpu, torch.bfloat16) else torch.bfloat16
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in AceStepTransformer1DModel().parameters()) == 1_575_458_880
        transformer = AceStepTransformer1DModel(num_hidden_layers=LAYERS)
    needed = sum(parameter.numel() for parameter in transformer.parameters()) * dtype.itemsize + 2 * 1024**3
    if psutil.virtual_memory().available < needed:
        pytest.skip(f"needs {needed / 1024**3:.0f} GiB of free memory")
    materialise(transformer, dtype)
    settings = new_settings(
        data={"crop_seconds": 2.0},
        adapter={"rank": 8, "alpha": 16.0},
        train={"accumulation": 1},
        memory={"gradient_checkpointing": True},
    )
    material = Material(
        store=SongStore([Song()], "ram", 0),
        silence=torch.randn((1, 200, 64), generator=torch.Generator().manual_seed(4)),
        null_condition=torch.zeros(1, 1, CONDITION_WIDTH),
        timestep_mu=-0.4,
        timestep_sigma=1.0,
        device=cpu,
        dtype=dtype,
    )
    made = trainer.build(transformer, material, settings, seed=42)
    assert len(adapters.adapted_layers(transformer)) == 8 * LAYERS
    assert len(made.parameters) == 16 * LAYERS
    assert sum(parameter.numel() for parameter in made.parameters.values()) == 28_672 * LAYERS * 8
    before = {name: parameter.detach().clone() for name, parameter in made.parameters.items()}
    result = made.step()
    assert not result.skipped
    assert 0.1 < result.loss < 100
    assert result.grad_norm > 0
    moved = [name for name, parameter in made.parameters.items() if not torch.equal(parameter, before[name])]
    assert {name for name in made.parameters if "lora_B" in name} <= set(moved)
    assert all(bool(torch.isfinite(parameter).all()) for parameter in made.parameters.values())
