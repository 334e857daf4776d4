"""The norms that `adapter inspect` computes from factors are those of what LyCORIS adds to a layer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lycoris.modules.loha import LohaModule
from lycoris.modules.lokr import LokrModule
from safetensors.torch import save_file

from sidestep_tui.launch.adapter_norms import examine


@pytest.mark.parametrize("kind", [LokrModule, LohaModule])
@pytest.mark.parametrize(("dimension", "rs_lora"), [(2, False), (2, True), (6, False)])
def test_the_norm_is_that_of_what_lycoris_adds(
    tmp_path: Path, kind: type[torch.nn.Module], dimension: int, rs_lora: bool
) -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(32, 48)
    module = kind("lycoris_layers_0_self_attn_q_proj", layer, lora_dim=dimension, alpha=5, rs_lora=rs_lora)
    for parameter in module.parameters():
        parameter.data.normal_()
    tensors = {f"{module.lora_name}.{name}": value.contiguous() for name, value in module.state_dict().items()}
    save_file(tensors, tmp_path / "a.safetensors")
    # What the forward pass adds; `get_diff_weight` of LyCORIS 4.1.3 has the scale in it twice.
    change = module.get_weight(None).detach().double()
    (found,) = examine(tmp_path / "a.safetensors").modules
    assert found.norm == pytest.approx(float(change.norm()), rel=1e-5)
    assert (found.outputs, found.inputs) == (48, 32)
