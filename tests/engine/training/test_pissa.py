"""PiSSA as a plain LoRA of twice the rank: against its definition, against peft's own, in training and in files."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from diffusers import AceStepTransformer1DModel
from peft import LoraConfig, inject_adapter_in_model

from sidestep_tui.core.errors import AdapterError, RunError
from sidestep_tui.engine import adapters, checkpoint, export, optimizers, pissa
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.schema import memory_model, rules
from sidestep_tui.schema.adapter import AdapterSettings
from sidestep_tui.schema.adapter_targets import rank_of, scale_of
from sidestep_tui.schema.model_shape import SHAPE_2B
from sidestep_tui.schema.settings import Settings
from tests.engine.training.adapting import provenance, trained

PISSA: dict[str, Any] = {"init": "pissa", "rank": 3, "alpha": 5.0}
VARIATIONS = [
    PISSA,
    {**PISSA, "rslora": True, "mlp": True},
    {**PISSA, "kind": "dora", "attention": "self"},
    {**PISSA, "rank_pattern": "q=2, layers.1.cross.o=4", "alpha_pattern": "self=7", "layers": "1"},
]


def grown(transformer: torch.nn.Module) -> dict[str, tuple[pissa.Down, pissa.Up]]:
    found = {name: pissa.factors(layer) for name, layer in adapters.adapted_layers(transformer).items()}
    return {name: pair for name, pair in found.items() if pair is not None}


@pytest.mark.parametrize("adapter", VARIATIONS)
def test_a_fresh_adapter_changes_no_bit_and_learns_from_the_first_step(new_transformer, adapter):
    plain = export.probe(new_transformer(), dtype=torch.float32)
    model = new_transformer()
    adapters.inject(model, AdapterSettings(**adapter))
    difference = (export.probe(model, dtype=torch.float32) - plain).abs().max()
    assert difference == 0.0 if adapter.get("kind") != "dora" else difference < 1e-5
    assert len(grown(model)) == len(adapters.adapted_layers(model))
    assert all(name.endswith((".change", "vector.default.weight")) for name in adapters.trainable(model))


@pytest.mark.parametrize(("outputs", "inputs"), [(40, 24), (24, 40), (320, 300)])
def test_the_start_is_the_largest_components_of_the_weight(outputs, inputs):
    """Against the definition, and for large matrices against what an exact decomposition gives."""
    torch.manual_seed(1)
    spectrum = torch.diag(0.9 ** torch.arange(min(outputs, inputs)))
    left = torch.linalg.qr(torch.randn(outputs, min(outputs, inputs)))[0]
    right = torch.linalg.qr(torch.randn(inputs, min(outputs, inputs)))[0]
    holder = torch.nn.ModuleDict({"one": torch.nn.Linear(inputs, outputs, bias=False)})
    holder["one"].weight.data = left @ spectrum @ right.T
    inject_adapter_in_model(LoraConfig(r=4, lora_alpha=6, target_modules=["one"]), holder)
    pissa.grow("one", holder["one"])
    down, up = pissa.factors(holder["one"])
    scale = 1.5
    expected = left[:, :4] @ spectrum[:4, :4] @ right[:, :4].T
    assert torch.allclose(scale * up.start @ down.start, expected, atol=1e-5)
    # Both factors carry the same share of the singular values, as in the paper.
    assert torch.allclose(up.start.norm(dim=0), down.start.norm(dim=1), rtol=1e-4)


def test_a_step_is_that_of_pefts_own_pissa():
    """Same gradients and, after a step without weight decay, the same function as peft with its changed base."""
    torch.manual_seed(2)
    weight = torch.randn(20, 16)

    def layer(init: Any) -> torch.nn.Module:
        holder = torch.nn.ModuleDict({"one": torch.nn.Linear(16, 20, bias=False)})
        holder["one"].weight.data = weight.clone()
        config = LoraConfig(r=3, lora_alpha=6, target_modules=["one"], init_lora_weights=init)
        inject_adapter_in_model(config, holder)
        return holder["one"]

    theirs, ours = layer("pissa"), layer(True)
    pissa.grow("one", ours)
    x, target = torch.randn(7, 16), torch.randn(7, 20)
    assert torch.allclose(theirs(x), ours(x), atol=1e-5)
    for module in (theirs, ours):
        parameters = [p for name, p in module.named_parameters() if "lora_" in name]
        optimizer = torch.optim.SGD(parameters, lr=0.05)
        for _ in range(3):
            optimizer.zero_grad()
            (module(x) - target).square().mean().backward()
            optimizer.step()
    assert torch.allclose(theirs(x), ours(x), atol=1e-4)
    assert not torch.allclose(ours(x), x @ weight.T, atol=1e-2)


@pytest.mark.parametrize("adapter", VARIATIONS)
def test_the_export_is_a_plain_lora_of_twice_the_rank_on_the_original_model(
    new_transformer, new_settings, tmp_path, adapter
):
    settings = new_settings(adapter=adapter)
    model = trained(new_transformer, settings.adapter)
    expected = export.probe(model, dtype=torch.float32)
    export.publish(tmp_path / "final", model, settings, provenance())
    fresh = new_transformer()
    assert export.verify(tmp_path / "final", fresh, expected, dtype=torch.float32)
    assert not grown(fresh)
    assert not torch.equal(export.probe(new_transformer(), dtype=torch.float32), expected)
    config = json.loads((tmp_path / "final" / "adapter_config.json").read_text())
    assert config["init_lora_weights"] is True
    if not adapter.get("rank_pattern"):
        assert config["r"] == 6
        assert config["lora_alpha"] == pytest.approx(10.0 if not adapter.get("rslora") else 5.0 * 2**0.5)
    assert "twice the rank in the file" in (tmp_path / "final" / export.CARD_FILE).read_text()
    layer = adapters.adapted_layers(fresh)["layers.1.self_attn.to_q"]
    matrix = (1, "self.q")
    assert layer.r["default"] == 2 * rank_of(settings.adapter, matrix)
    assert layer.scaling["default"] == pytest.approx(scale_of(settings.adapter, matrix))


@pytest.mark.parametrize(
    ("adapter", "dtype"),
    [(PISSA, torch.bfloat16), ({**PISSA, "kind": "dora", "mlp": True, "rslora": True}, torch.float32)],
)
def test_training_resumes_bit_for_bit_whatever_the_generator_drew(new_trainer, new_settings, tmp_path, adapter, dtype):
    settings = new_settings(adapter=adapter, optim={"weight_decay": 0.1, "lr_ratio_b": 2.0}, train={"ema_decay": 0.9})
    straight = new_trainer(settings, dtype=dtype)
    expected = [straight.step().loss for _ in range(3)]
    assert all(bool((parameter != 0).any()) for parameter in straight.parameters.values())
    first = new_trainer(settings, dtype=dtype)
    for _ in range(2):
        first.step()
    state = first.state(checkpoint.fingerprint(settings, model="m", dataset="d"))
    run_dir = RunDir.create(tmp_path, "drums")
    directory = checkpoint.save(run_dir, first.transformer, first.optimizer, state, settings, provenance())
    second = new_trainer(settings, dtype=dtype)
    with torch.no_grad():
        for start in adapters.settled(second.transformer):
            start.add_(torch.randn_like(start))  # as another decomposition on another machine would
    saved, numbers = checkpoint.read(directory)
    second.restore(directory, saved, numbers)
    assert second.step().loss == expected[2]
    for name, parameter in second.parameters.items():
        assert torch.equal(parameter, straight.parameters[name]), name
    for one, other in zip(adapters.settled(second.transformer), adapters.settled(straight.transformer), strict=True):
        assert torch.equal(one, other)
    plain = new_settings(adapter={**adapter, "init": "default"})
    with pytest.raises(RunError, match=r"adapter\.init"):
        checkpoint.refuse_other(saved.fingerprint, checkpoint.fingerprint(plain, model="m", dataset="d"), directory)


@pytest.mark.parametrize("name", ["prodigy", "schedule_free", "muon"])
def test_every_optimizer_trains_it(new_trainer, new_settings, name):
    constant = {"schedule": "constant"} if name in ("prodigy", "schedule_free") else {}
    trainer = new_trainer(new_settings(adapter=PISSA, optim={"optimizer": name, **constant}))
    before = {name: parameter.detach().clone() for name, parameter in trainer.parameters.items()}
    assert not any(trainer.step().skipped for _ in range(2))
    with optimizers.published_weights(trainer.optimizer):
        assert all(not torch.equal(parameter, before[key]) for key, parameter in trainer.parameters.items())


def test_a_checkpoint_of_another_base_is_refused(new_transformer, new_settings, tmp_path):
    settings = new_settings(adapter=PISSA)
    export.publish(tmp_path / "final", trained(new_transformer, settings.adapter), settings, provenance())
    _, tensors = adapters.read_adapter(tmp_path / "final")
    other = new_transformer(seed=1)
    adapters.inject(other, settings.adapter)
    with pytest.raises(AdapterError, match="principal components"):
        adapters.load_state_dict(other, tensors, tmp_path)


def test_a_rank_beyond_the_components_is_refused(new_transformer):
    with pytest.raises(AdapterError, match="16 × 32"):
        adapters.inject(new_transformer(), AdapterSettings(init="pissa", rank=17))


def test_a_model_of_shapes_alone_gets_the_weights_that_the_estimate_counts():
    settings = Settings.model_validate({"adapter": {"init": "pissa", "rank": 16, "layers": "3"}})
    with torch.device("meta"):
        transformer = AceStepTransformer1DModel()
    adapters.inject(transformer, settings.adapter)
    counted = sum(parameter.numel() for parameter in adapters.trainable(transformer).values())
    assert counted == memory_model.adapter_parameters(SHAPE_2B, settings)
    assert sum(start.numel() for start in adapters.settled(transformer)) == counted
    plain = Settings.model_validate({"adapter": {"rank": 16, "layers": "3"}})
    more = memory_model.estimate(SHAPE_2B, settings).adapter - memory_model.estimate(SHAPE_2B, plain).adapter
    assert more == 4 * counted


@pytest.mark.parametrize(
    ("settings", "path", "fix"),
    [
        ({"adapter": {"kind": "lokr"}}, "adapter.init", {"adapter.init": "default"}),
        ({"adapter": {"kind": "oft"}}, "adapter.init", {"adapter.init": "default"}),
        ({"adapter": {"start_from": "/a"}}, "adapter.init", {"adapter.init": "default"}),
        ({"memory": {"base": "int8"}}, "memory.base", {"memory.base": "full"}),
        ({"memory": {"base": "nf4"}}, "memory.base", {"memory.base": "full"}),
    ],
)
def test_what_pissa_cannot_be_combined_with_is_an_error_with_a_fix(settings, path, fix):
    values = {**settings, "adapter": {"init": "pissa", **settings.get("adapter", {})}}
    found = [a for a in rules.check(Settings.model_validate(values)) if a.severity == "error" and a.path == path]
    assert [dict(advice.fix) for advice in found] == [fix]
