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

from sidestep_tui.core.errors import AdapterError, RunError
from sidestep_tui.engine import adapters, checkpoint, export, lycoris
from sidestep_tui.launch import adapter_files
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.schema import adapter_maths, memory_model, rules
from sidestep_tui.schema.adapter import AdapterSettings
from sidestep_tui.schema.model_shape import SHAPE_2B
from sidestep_tui.schema.settings import Settings
from tests.engine.training.adapting import OriginalNames, provenance, trained

WHOLE = {"kind": "lokr"}
SPLIT = {"kind": "lokr", "rank": 2, "alpha": 3.0, "lokr_full_matrix": False, "lokr_factor": 2}
SPLIT_BOTH = {**SPLIT, "rank": 1, "lokr_factor": 4, "lokr_decompose_both": True, "mlp": True}
LOHA = {"kind": "loha", "rank": 3, "alpha": 6.0, "mlp": True}
VARIATIONS = [WHOLE, SPLIT, SPLIT_BOTH, {**SPLIT, "rslora": True}, LOHA, {**LOHA, "rslora": True, "attention": "self"}]


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
    assert memory_model.adapter_parameters(SHAPE_2B, settings) == expected


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
    """As ACE-Step's app and Side-Step: a network made from `lokr_config`, then its weights; nothing is left over."""
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


def losses(trainer, steps: int) -> list[float]:
    found = []
    for _ in range(steps):
        found.append(trainer.step().loss)
        if trainer.at_end_of_epoch:
            trainer.end_epoch()
    return found


def test_training_moves_every_split_factor_and_resumes_bit_for_bit(new_trainer, new_settings, tmp_path):
    settings = new_settings(adapter=SPLIT_BOTH, memory={"gradient_checkpointing": "on"})
    straight = new_trainer(settings)
    before = {name: parameter.detach().clone() for name, parameter in straight.parameters.items()}
    expected = losses(straight, 7)
    assert all(not torch.equal(parameter, before[name]) for name, parameter in straight.parameters.items())
    first = new_trainer(settings)
    found = losses(first, 4)
    run_dir = RunDir.create(tmp_path, "drums")
    fingerprint = checkpoint.fingerprint(settings, model="m", dataset="d")
    state = first.state(fingerprint)
    directory = checkpoint.save(run_dir, first.transformer, first.optimizer, state, settings, provenance())
    torch.manual_seed(999)
    second = new_trainer(settings)
    saved, numbers = checkpoint.read(directory)
    assert second.restore(directory, saved, numbers) == len(second.parameters) + len(
        adapters.adapted_layers(second.transformer)
    )
    assert found + losses(second, 3) == expected
    for name, parameter in second.parameters.items():
        assert torch.equal(parameter, straight.parameters[name]), name
    other = new_settings(adapter={**SPLIT_BOTH, "lokr_factor": 3})
    with pytest.raises(RunError, match=r"adapter\.lokr_factor was 4 and is 3|lokr_factor was -1 and is 3"):
        checkpoint.refuse_other(saved.fingerprint, checkpoint.fingerprint(other, model="m", dataset="d"), directory)


@pytest.mark.parametrize("adapter", [WHOLE, SPLIT, LOHA])
def test_inspect_recognises_the_file(new_transformer, tmp_path, adapter):
    settings = AdapterSettings(**adapter)
    model = trained(new_transformer, settings)
    export.write_adapter(tmp_path, model, settings, provenance())
    report = adapter_files.inspect(tmp_path)
    assert report.kind == ("LoKr" if settings.kind == "lokr" else "LoHa")
    assert report.naming == "original"
    assert report.layers == 2
    assert report.warnings == []
    assert report.parameters == sum(parameter.numel() for parameter in adapters.trainable(model).values())
    assert set(report.targets) == {
        f"{block}.{name}" for block in ("self_attn", "cross_attn") for name in ("q_proj", "k_proj", "v_proj", "o_proj")
    } | ({"mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"} if settings.mlp else set())
    whole = settings.lokr_full_matrix and settings.kind == "lokr"
    assert (report.ranks, report.alphas) == (((), ()) if whole else ((settings.rank,), (settings.alpha,)))


def test_files_in_diffusers_names_load_and_misfits_are_named(new_transformer, tmp_path):
    settings = AdapterSettings(**SPLIT)
    model = trained(new_transformer, settings)
    export.write_adapter(tmp_path, model, settings, provenance())
    expected = export.probe(model, dtype=torch.float32)
    file = adapters.weights_file(tmp_path)
    good = load_file(file)
    names = (("_q_proj.", "_to_q."), ("_k_proj.", "_to_k."), ("_v_proj.", "_to_v."), ("_o_proj.", "_to_out_0."))

    def renamed(key: str) -> str:
        for ours, theirs in names:
            key = key.replace(ours, theirs)
        return key

    save_file({renamed(key): tensor for key, tensor in good.items()}, file)
    fresh = new_transformer()
    adapters.load_adapter(fresh, tmp_path)
    assert torch.equal(export.probe(fresh, dtype=torch.float32), expected)

    def refusal(tensors: dict[str, torch.Tensor]) -> str:
        save_file(tensors, file)
        (tmp_path / "lokr_config.json").unlink(missing_ok=True)
        target = new_transformer()
        with pytest.raises(AdapterError) as caught:
            adapters.load_adapter(target, tmp_path)
        assert not adapters.adapted_layers(target)
        return str(caught.value)

    stem = "lycoris_layers_0_self_attn_q_proj"
    assert "alpha" in refusal({key: tensor for key, tensor in good.items() if not key.endswith(".alpha")})
    assert stem in refusal({key: tensor for key, tensor in good.items() if key != f"{stem}.lokr_w1"})
    assert "32 × 32" in refusal({**good, f"{stem}.lokr_w1": torch.zeros(3, 2)})
    assert "dora_scale" in refusal({**good, f"{stem}.dora_scale": torch.zeros(32, 1)})
    assert "lycoris_proj_in" in refusal({**good, "lycoris_proj_in.lokr_w1": torch.zeros(2, 2)})


def test_resuming_onto_other_alphas_is_refused(new_transformer, tmp_path):
    model = trained(new_transformer, AdapterSettings(**SPLIT))
    tensors = adapters.state_dict(model)
    other = new_transformer()
    adapters.inject(other, AdapterSettings(**{**SPLIT, "alpha": 4.0}))
    with pytest.raises(AdapterError, match="alpha"):
        adapters.load_state_dict(other, tensors, tmp_path)


def advised(**adapter: object) -> dict[str, str]:
    return {advice.path: advice.sentence for advice in rules.check(Settings.model_validate({"adapter": adapter}))}


def test_settings_without_effect_are_told():
    assert "no dropout" in advised(kind="lokr", dropout=0.1)["adapter.dropout"]
    assert "Alpha has no effect" in advised(kind="lokr", alpha=1.0)["adapter.alpha"]
    assert "at rank 64" in advised(kind="lokr", lokr_full_matrix=False, alpha=32.0)["adapter.alpha"]
    assert "only on LoKr" in advised(lokr_factor=8)["adapter.lokr_factor"]
    assert "adapter.alpha" not in advised(kind="lokr", lokr_full_matrix=False, rank=8, alpha=16.0)
    assert "adapter.alpha" not in advised(kind="lokr")
    assert "as it is" in rules.scale_sentence(Settings.model_validate({"adapter": {"kind": "lokr"}}))
    for settings in ({"kind": "lokr"}, {"kind": "loha"}):
        assert not [path for path in advised(**settings) if path.startswith("adapter.")]


def test_the_card_names_the_file_and_who_loads_it(new_transformer, new_settings, tmp_path):
    for kind in ("lokr", "loha"):
        settings = new_settings(adapter={"kind": kind})
        model = trained(new_transformer, settings.adapter)
        export.publish(tmp_path / kind, model, settings, provenance())
        export.publish(tmp_path / kind, model, settings, provenance())  # a later export of the same run
        card = (tmp_path / kind / "README.md").read_text()
        assert f"{kind}_weights.safetensors" in card
        assert "create_lycoris_from_weights" in card
        assert export.read_provenance(tmp_path / kind)["run"] == "drums"


@pytest.mark.parametrize("adapter", [WHOLE, SPLIT_BOTH, LOHA])
def test_layers_compile_without_a_graph_break(adapter):
    holder = torch.nn.ModuleDict({"one": torch.nn.Linear(32, 24, bias=False)})
    lycoris.inject(holder, ["one"], AdapterSettings(**adapter))
    layer = holder["one"]
    for parameter in layer.own_parameters().values():
        torch.nn.init.normal_(parameter)
    x = torch.randn(2, 5, 32)
    weights = list(layer.own_parameters().values())
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    found = torch.autograd.grad(compiled(x).square().sum(), weights)
    expected = torch.autograd.grad(layer(x).square().sum(), weights)
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-5)
