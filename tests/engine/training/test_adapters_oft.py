"""OFT: counts, orthogonality, training, resuming, and the directory that peft loads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from diffusers import AceStepTransformer1DModel
from peft import PeftModel
from safetensors.torch import load_file

from sidestep_tui.core.errors import AdapterError
from sidestep_tui.engine import adapters, checkpoint, export
from sidestep_tui.launch import adapter_files
from sidestep_tui.schema import memory_model, rules
from sidestep_tui.schema.adapter import AdapterSettings
from sidestep_tui.schema.model_shape import SHAPE_2B
from sidestep_tui.schema.settings import Settings
from tests.engine.training import adapting
from tests.engine.training.adapting import OriginalNames, provenance, randomise

OFT = {"kind": "oft", "oft_block_size": 8, "mlp": True}


def trained(new_transformer, settings: AdapterSettings) -> torch.nn.Module:
    return adapting.trained(new_transformer, settings, spread=0.05)


@pytest.mark.parametrize(("block", "mlp"), [(32, False), (64, True)])
def test_the_real_2b_model_gets_as_many_weights_as_the_estimate_says(block, mlp):
    with torch.device("meta"):
        transformer = AceStepTransformer1DModel()
    settings = Settings.model_validate({"adapter": {"kind": "oft", "oft_block_size": block, "mlp": mlp}})
    adapters.inject(transformer, settings.adapter)
    counted = sum(parameter.numel() for parameter in adapters.trainable(transformer).values())
    inputs = 24 * (8 * 2048 + (2 * 2048 + 6144 if mlp else 0))
    assert counted == inputs * (block - 1) // 2
    assert memory_model.adapter_parameters(SHAPE_2B, settings) == counted


def test_a_fresh_adapter_changes_nothing_and_a_trained_one_turns_the_input(new_transformer):
    plain = export.probe(new_transformer(), dtype=torch.float32)
    model = new_transformer()
    adapters.inject(model, AdapterSettings(**OFT))
    assert torch.equal(export.probe(model, dtype=torch.float32), plain)
    randomise(model, 0.05)
    assert not torch.equal(export.probe(model, dtype=torch.float32), plain)
    layer = model.layers[0].self_attn.to_q
    x = torch.randn(5, 32, generator=torch.Generator().manual_seed(1))
    turned = layer.oft_R["default"](x)
    assert torch.allclose(turned.norm(dim=1), x.norm(dim=1), rtol=1e-2)
    assert not torch.allclose(turned, x, atol=1e-2)


def test_peft_and_our_loader_read_the_directory_to_the_last_bit(new_transformer, new_settings, tmp_path):
    settings = new_settings(adapter=OFT)
    model = trained(new_transformer, settings.adapter)
    directory = tmp_path / "final"
    export.publish(directory, model, settings, provenance())
    expected = export.probe(model, dtype=torch.float32)
    count = export.verify(directory, new_transformer(), expected, dtype=torch.float32)
    assert count == len(load_file(directory / adapters.WEIGHTS_FILE)) == len(adapters.adapted_layers(model))
    named = OriginalNames(new_transformer())
    PeftModel.from_pretrained(named, str(directory))
    assert torch.equal(export.probe(named.adopt(), dtype=torch.float32), expected)
    assert json.loads((directory / adapters.CONFIG_FILE).read_text())["oft_block_size"] == 8
    assert "Block size | 8" in (directory / export.CARD_FILE).read_text()
    assert not (directory / "diffusers").exists()
    report = adapter_files.inspect(directory)
    assert (report.kind, report.naming, report.layers, report.warnings) == ("OFT", "original", 2, [])
    assert "self_attn.q_proj" in report.targets


def test_a_checkpoint_remembers_the_block_size(new_settings):
    remembered = checkpoint.fingerprint(new_settings(adapter=OFT), model="m", dataset="d")
    assert remembered["adapter.oft_block_size"] == 8


def test_blocks_that_do_not_divide_a_layer_are_refused(new_transformer, tmp_path: Path):
    with pytest.raises(AdapterError, match="32 inputs"):
        adapters.inject(new_transformer(), AdapterSettings(kind="oft", oft_block_size=12))
    found = rules.check(Settings.model_validate({"adapter": {"kind": "oft", "oft_block_size": 12}}))
    assert (found[0].severity, found[0].path) == ("error", "adapter.oft_block_size")


def test_settings_without_effect_are_told():
    def advised(**adapter: object) -> dict[str, str]:
        return {advice.path: advice.sentence for advice in rules.check(Settings.model_validate({"adapter": adapter}))}

    assert "no effect on this OFT adapter" in advised(kind="oft", alpha=1.0)["adapter.alpha"]
    assert "no dropout" in advised(kind="oft", dropout=0.1)["adapter.dropout"]
    assert "only on OFT" in advised(oft_block_size=64)["adapter.oft_block_size"]
    assert not [path for path in advised(kind="oft") if path.startswith("adapter.")]
