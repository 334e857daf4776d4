"""Where adapters land, in which precision, and that loading accounts for every tensor."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sidestep_tui.core.errors import AdapterError
from sidestep_tui.engine import adapters, export, keymap
from sidestep_tui.schema.adapter import AdapterSettings
from tests.engine.training.adapting import provenance, randomise


def written(directory: Path, transformer: torch.nn.Module, settings: AdapterSettings) -> Path:
    directory.mkdir(exist_ok=True)
    export.write_adapter(directory, transformer, settings, provenance())
    return directory


@pytest.mark.parametrize(
    ("settings", "per_layer"),
    [
        (
            {"attention": "both"},
            {f"{a}.{p}" for a in ("self_attn", "cross_attn") for p in ("to_q", "to_k", "to_v", "to_out.0")},
        ),
        ({"attention": "self", "projections": ("q", "v")}, {"self_attn.to_q", "self_attn.to_v"}),
        ({"attention": "cross", "projections": ("o",)}, {"cross_attn.to_out.0"}),
        ({"attention": "none", "mlp": True}, {"mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"}),
    ],
)
def test_exactly_the_chosen_modules_of_every_layer_are_adapted(new_transformer, settings, per_layer):
    transformer = new_transformer(layers=3)
    count = adapters.inject(transformer, AdapterSettings(rank=2, **settings))
    expected = {f"layers.{layer}.{name}" for layer in range(3) for name in per_layer}
    assert set(adapters.adapted_layers(transformer)) == expected
    assert count == len(expected)
    learning = {name.split(".lora_")[0] for name in adapters.trainable(transformer)}
    assert learning == expected


def test_many_targets_do_not_leak_into_other_layers(new_transformer):
    """With twenty and more targets, peft shortens the list; layer 1 must not match layers 10 and 11."""
    transformer = new_transformer(layers=12)
    adapters.inject(transformer, AdapterSettings(rank=2, attention="self"))
    assert len(adapters.adapted_layers(transformer)) == 12 * 4


def test_nothing_selected_is_refused(new_transformer):
    with pytest.raises(AdapterError, match="nothing to train"):
        adapters.inject(new_transformer(), AdapterSettings(attention="none"))


def test_targets_that_the_model_lacks_are_refused():
    with pytest.raises(AdapterError, match=r"self_attn\.to_q"):
        adapters.inject(torch.nn.Sequential(torch.nn.Linear(2, 2)), AdapterSettings(attention="self"))


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_adapter_is_float32_on_a_frozen_bfloat16_base(new_transformer, kind):
    transformer = new_transformer().to(torch.bfloat16)
    adapters.inject(transformer, AdapterSettings(rank=2, kind=kind))
    assert {parameter.dtype for parameter in adapters.trainable(transformer).values()} == {torch.float32}
    frozen = [parameter for name, parameter in transformer.named_parameters() if ".lora_" not in name]
    assert not any(parameter.requires_grad for parameter in frozen)
    assert {parameter.dtype for parameter in frozen} == {torch.bfloat16}


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_a_fresh_adapter_changes_nothing(new_transformer, kind):
    plain = export.probe(new_transformer(), dtype=torch.float32)
    transformer = new_transformer()
    adapters.inject(transformer, AdapterSettings(rank=2, kind=kind))
    assert torch.allclose(export.probe(transformer, dtype=torch.float32), plain, atol=1e-5)


def test_doras_magnitudes_start_as_the_exact_norms_of_the_base(new_transformer):
    transformer = new_transformer().to(torch.bfloat16)
    adapters.inject(transformer, AdapterSettings(rank=2, kind="dora"))
    layer = transformer.layers[0].self_attn.to_q
    norm = layer.get_base_layer().weight.float().norm(dim=1)
    assert torch.equal(layer.lora_magnitude_vector["default"].weight.detach(), norm)


def test_names_translate_both_ways():
    pairs = {
        "layers.0.self_attn.to_q": "layers.0.self_attn.q_proj",
        "layers.1.cross_attn.to_out.0": "layers.1.cross_attn.o_proj",
        "layers.2.mlp.gate_proj": "layers.2.mlp.gate_proj",
        "layers.2.self_attn.to_v.lora_A.weight": "layers.2.self_attn.v_proj.lora_A.weight",
    }
    for diffusers, original in pairs.items():
        assert keymap.path_to_original(diffusers) == original
        assert keymap.path_to_diffusers(original) == diffusers


@pytest.mark.parametrize(
    "settings",
    [
        {"alpha": 3.0},
        {"alpha": 7.5, "rslora": True},
        {"mlp": True, "attention": "none"},
        {"kind": "dora", "mlp": True},
        {"projections": ("v", "o"), "attention": "cross"},
    ],
)
def test_a_written_adapter_loads_into_a_fresh_model_to_the_last_bit(new_transformer, tmp_path, settings):
    chosen = AdapterSettings(rank=4, **settings)
    trained = new_transformer()
    adapters.inject(trained, chosen)
    randomise(trained)
    directory = written(tmp_path / "a", trained, chosen)
    fresh = new_transformer()
    assert adapters.load_adapter(fresh, directory) == len(load_file(directory / adapters.WEIGHTS_FILE))
    expected = export.probe(trained, dtype=torch.float32)
    assert torch.equal(export.probe(fresh, dtype=torch.float32), expected)
    assert not torch.equal(export.probe(new_transformer(), dtype=torch.float32), expected)


def test_loading_refuses_missing_left_over_and_misshapen_tensors(new_transformer, tmp_path):
    settings = AdapterSettings(rank=4)
    trained = new_transformer()
    adapters.inject(trained, settings)
    directory = written(tmp_path / "a", trained, settings)
    weights = directory / adapters.WEIGHTS_FILE
    good = load_file(weights)
    key = next(name for name in good if name.endswith("lora_B.weight"))

    def refusal(tensors: dict[str, torch.Tensor]) -> str:
        save_file(tensors, weights)
        with pytest.raises(AdapterError) as caught:
            adapters.load_adapter(new_transformer(), directory)
        return str(caught.value)

    assert "missing" in refusal({name: tensor for name, tensor in good.items() if name != key})
    stray = "base_model.model.layers.77.self_attn.q_proj.lora_A.weight"
    assert "layers.77" in refusal({**good, stray: torch.zeros(4, 32)})
    assert "unknown" in refusal({**good, key.replace("lora_B", "lora_C"): torch.zeros(4, 32)})
    assert "shape" in refusal({**good, key: torch.zeros(32, 5)})
    # What peft itself writes into a model's keys must not be mistaken for an adapter (it would load nothing).
    infixed = {name.replace(".weight", ".default.weight"): tensor for name, tensor in good.items()}
    assert "missing" in refusal(infixed)


def test_a_damaged_or_incomplete_directory_is_named(new_transformer, tmp_path):
    with pytest.raises(AdapterError, match=r"adapter_config\.json"):
        adapters.load_adapter(new_transformer(), tmp_path)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LOHA"}))
    (tmp_path / "adapter_model.safetensors").write_bytes(b"not safetensors")
    with pytest.raises(AdapterError, match="cannot be read"):
        adapters.load_adapter(new_transformer(), tmp_path)
    save_file({"a": torch.zeros(1)}, tmp_path / "adapter_model.safetensors")
    with pytest.raises(AdapterError, match="LOHA"):
        adapters.load_adapter(new_transformer(), tmp_path)


def test_a_model_with_an_adapter_takes_no_second_one(new_transformer):
    transformer = new_transformer()
    adapters.inject(transformer, AdapterSettings(rank=2))
    with pytest.raises(AdapterError, match="already"):
        adapters.inject(transformer, AdapterSettings(rank=2))
