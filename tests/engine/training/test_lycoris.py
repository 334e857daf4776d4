"""LoKr and LoHa: exact counts, formulas against LyCORIS itself, training, resuming and the files that others load."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from diffusers import AceStepTransformer1DModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from sidestep_tui.core.errors import AdapterError
from sidestep_tui.engine import adapters, export, lycoris
from sidestep_tui.launch import adapter_files, memory
from sidestep_tui.schema import adapter_maths
from sidestep_tui.schema.adapter import AdapterSettings
from sidestep_tui.schema.settings import Settings

WHOLE = {"kind": "lokr"}
SPLIT = {"kind": "lokr", "rank": 2, "alpha": 3.0, "lokr_full_matrix": False, "lokr_factor": 2}
SPLIT_BOTH = {**SPLIT, "rank": 1, "lokr_factor": 4, "lokr_decompose_both": True, "mlp": True}
LOHA = {"kind": "loha", "rank": 3, "alpha": 6.0, "mlp": True}
VARIATIONS = [WHOLE, SPLIT, SPLIT_BOTH, {**SPLIT, "rslora": True}, LOHA, {**LOHA, "rslora": True, "attention": "self"}]


def randomise(transformer: torch.nn.Module) -> None:
    source = torch.Generator().manual_seed(3)
    for parameter in adapters.trainable(transformer).values():
        parameter.data = parameter.data + 0.1 * torch.randn(parameter.shape, generator=source)


def provenance() -> export.Provenance:
    return export.Provenance("drums", "2026-11-21", 10, 2, 0.5, "acestep-v15-turbo", "turbo", "drms")


def trained(new_transformer, settings: AdapterSettings) -> torch.nn.Module:
    transformer = new_transformer()
    adapters.inject(transformer, settings)
    randomise(transformer)
    return transformer


@pytest.mark.parametrize("factor", [-1, 1, 2, 4, 7, 8, 16, 100])
def test_sizes_are_divided_as_lycoris_divides_them(factor):
    from lycoris.functional import factorization

    for size in (*range(2, 70), 127, 250, 360, 512, 1024, 2048, 2560, 4096, 6144, 9728):
        assert adapter_maths.factors(size, factor) == factorization(size, factor), size


@pytest.mark.parametrize(
    ("adapter", "expected"),
    [
        # Both attentions of the 2B model: REQUIREMENTS' published count.
        ({"kind": "lokr"}, 786_432),
        ({"kind": "lokr", "lokr_factor": 8}, 24 * 2 * (2 * (64 + 256 * 256) + 2 * (64 + 128 * 256))),
        ({"kind": "lokr", "lokr_full_matrix": False, "rank": 64}, 786_432),
        ({"kind": "lokr", "lokr_full_matrix": False, "rank": 8}, 24 * 2 * (2 * (1024 + 1024) + 2 * (1024 + 768))),
        ({"kind": "loha", "rank": 8}, 2 * 8 * 688_128),
    ],
)
def test_the_real_2b_model_gets_as_many_weights_as_the_estimate_says(adapter, expected):
    with torch.device("meta"):
        transformer = AceStepTransformer1DModel()
    settings = Settings.model_validate({"adapter": adapter})
    assert adapters.inject(transformer, settings.adapter) == 192
    counted = sum(parameter.numel() for parameter in adapters.trainable(transformer).values())
    assert counted == expected
    assert memory.adapter_parameters(memory.SHAPE_2B, settings) == expected


@pytest.mark.parametrize("adapter", VARIATIONS)
def test_a_fresh_adapter_changes_no_bit_and_is_float32(new_transformer, adapter):
    plain = export.probe(new_transformer(), dtype=torch.float32)
    transformer = new_transformer()
    adapters.inject(transformer, AdapterSettings(**adapter))
    assert torch.equal(export.probe(transformer, dtype=torch.float32), plain)
    low = new_transformer().to(torch.bfloat16)
    adapters.inject(low, AdapterSettings(**adapter))
    assert {parameter.dtype for parameter in adapters.trainable(low).values()} == {torch.float32}
    assert export.probe(low, dtype=torch.bfloat16).isfinite().all()


@pytest.mark.parametrize("adapter", VARIATIONS)
def test_the_layer_is_the_merged_weight_with_gradients_for_every_factor(adapter):
    """Against the formulas of the paper: ΔW = s · W1 ⊗ W2 and ΔW = s · (A₁B₁) ∘ (A₂B₂), with s = alpha / rank."""
    torch.manual_seed(1)
    settings = AdapterSettings(**adapter)
    holder = torch.nn.ModuleDict({"one": torch.nn.Linear(24, 20, bias=False)}).double()
    lycoris.inject(holder, ["one"], settings)
    layer = holder["one"].double()
    own = layer.own_parameters()
    for parameter in own.values():
        torch.nn.init.normal_(parameter)
    scale = settings.alpha / (math.sqrt(settings.rank) if settings.rslora else settings.rank)
    if settings.kind == "loha":
        change = scale * (own["hada_w1_a"] @ own["hada_w1_b"]) * (own["hada_w2_a"] @ own["hada_w2_b"])
    else:
        first = own["lokr_w1"] if "lokr_w1" in own else own["lokr_w1_a"] @ own["lokr_w1_b"]
        second = own["lokr_w2"] if "lokr_w2" in own else own["lokr_w2_a"] @ own["lokr_w2_b"]
        whole = "lokr_w1" in own and "lokr_w2" in own
        change = (1.0 if whole else scale) * torch.kron(first, second)
    x = torch.randn(3, 5, 24, dtype=torch.float64, requires_grad=True)
    merged = x @ (layer.base_layer.weight + change).T
    assert torch.allclose(layer(x), merged, atol=1e-10)
    wanted = torch.autograd.grad(merged.square().sum(), [x, *own.values()])
    found = torch.autograd.grad(layer(x).square().sum(), [x, *own.values()])
    for one, other in zip(found, wanted, strict=True):
        assert torch.allclose(one, other, rtol=1e-6)
        assert one.abs().sum() > 0


@pytest.mark.parametrize("adapter", VARIATIONS)
def test_a_written_adapter_loads_into_a_fresh_model_to_the_last_bit(new_transformer, tmp_path, adapter):
    settings = AdapterSettings(**adapter)
    model = trained(new_transformer, settings)
    count = export.write_adapter(tmp_path, model, settings, provenance())
    expected = export.probe(model, dtype=torch.float32)
    fresh = new_transformer()
    assert export.verify(tmp_path, fresh, expected, dtype=torch.float32) == count
    assert count == len(load_file(adapters.weights_file(tmp_path)))
    assert not torch.equal(export.probe(new_transformer(), dtype=torch.float32), expected)


class OriginalNames(torch.nn.Module):
    """The transformer's layers under the module names of the original code, as ACE-Step's app and Side-Step hold it."""

    def __init__(self, transformer: torch.nn.Module) -> None:
        super().__init__()
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


@pytest.mark.parametrize("adapter", VARIATIONS)
def test_lycoris_itself_loads_the_file_and_answers_the_same(new_transformer, tmp_path, adapter):
    from lycoris import create_lycoris_from_weights

    settings = AdapterSettings(**adapter)
    model = trained(new_transformer, settings)
    export.write_adapter(tmp_path, model, settings, provenance())
    fresh = new_transformer()
    with torch.no_grad():
        network, _ = create_lycoris_from_weights(1.0, str(adapters.weights_file(tmp_path)), OriginalNames(fresh))
    assert len(network.loras) == len(adapters.adapted_layers(model))
    for module in network.loras:
        module.bypass_mode = True
    network.apply_to()
    expected = export.probe(model, dtype=torch.float32)
    assert (export.probe(fresh, dtype=torch.float32) - expected).abs().max() <= 2e-6
    assert (export.probe(new_transformer(), dtype=torch.float32) - expected).abs().max() > 1e-2


@pytest.mark.parametrize("adapter", [WHOLE, SPLIT, SPLIT_BOTH, {**SPLIT, "rslora": True}])
def test_the_config_in_the_file_rebuilds_the_adapter_as_the_app_does(new_transformer, tmp_path, adapter):
    """ACE-Step's app and Side-Step: a network made from `lokr_config`, then `load_weights`; nothing may be left over."""
    from lycoris import LycorisNetwork, create_lycoris

    settings = AdapterSettings(**adapter)
    model = trained(new_transformer, settings)
    export.write_adapter(tmp_path, model, settings, provenance())
    file = tmp_path / "lokr_weights.safetensors"
    with safe_open(file, framework="pt") as handle:
        config = json.loads(handle.metadata()["lokr_config"])
    assert json.loads((tmp_path / "lokr_config.json").read_text()) == config
    fresh = new_transformer()
    before = {name: getattr(LycorisNetwork, name) for name in dir(LycorisNetwork) if name.isupper()}
    options = {name: config[name] for name in ("linear_dim", "linear_alpha", "factor", "decompose_both", "full_matrix")}
    preset = {"enable_conv": False, "target_module": ["Module", "AceStepMLP"], "target_name": []}
    try:
        network = create_lycoris(
            OriginalNames(fresh), 1.0, algo="lokr", bypass_mode=True, rs_lora=config["rs_lora"],
            preset=preset_file(tmp_path, preset), **options,
        )  # fmt: skip
    finally:
        for name, value in before.items():
            setattr(LycorisNetwork, name, value)
    network.apply_to()
    result = network.load_state_dict(load_file(file), strict=False)
    assert result.unexpected_keys == []
    expected = export.probe(model, dtype=torch.float32)
    assert (export.probe(fresh, dtype=torch.float32) - expected).abs().max() <= 2e-6


def preset_file(directory: Path, preset: dict[str, object]) -> str:
    import toml

    path = directory / "preset.toml"
    path.write_text(toml.dumps(preset))
    return str(path)
