"""Layers, ranks and alphas one by one: where they land in the model, and what peft and diffusers make of the files."""

from __future__ import annotations

import json

import pytest
import torch
from peft import PeftModel
from safetensors import safe_open

from sidestep_tui.core.errors import AdapterError, RunError
from sidestep_tui.engine import adapters, checkpoint, export
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.schema import rules
from sidestep_tui.schema.adapter import AdapterSettings
from tests.engine.models import make_transformer
from tests.engine.training.adapting import OriginalNames, provenance, randomise, trained

PATTERNS = {
    "rank": 4,
    "alpha": 8.0,
    "mlp": True,
    "rank_pattern": "self.q=6, layers.1=2, layers.10-11.q=3",
    "alpha_pattern": "mlp=2.5, layers.1.mlp.up=5",
}


def many_layers(new_transformer, settings: AdapterSettings) -> torch.nn.Module:
    transformer = new_transformer(layers=12)
    adapters.inject(transformer, settings)
    return transformer


@pytest.mark.parametrize("kind", ["lora", "dora", "lokr", "loha", "oft"])
def test_only_the_layers_that_are_named_learn(new_transformer, kind):
    transformer = new_transformer(layers=6)
    settings = AdapterSettings(kind=kind, rank=2, layers="1, 3-4", oft_block_size=8)
    assert adapters.inject(transformer, settings) == 3 * 8
    found = {name.split(".")[1] for name in adapters.adapted_layers(transformer)}
    assert found == {"1", "3", "4"}
    assert {name.split(".")[1] for name in adapters.trainable(transformer)} == found


def test_every_matrix_has_the_rank_and_alpha_of_its_own_entry(new_transformer):
    layers = adapters.adapted_layers(many_layers(new_transformer, AdapterSettings(**PATTERNS)))

    def size(name: str) -> tuple[int, float]:
        return layers[name].lora_A["default"].weight.shape[0], layers[name].lora_alpha["default"]

    assert size("layers.0.self_attn.to_q") == (6, 8)
    assert size("layers.0.cross_attn.to_q") == (4, 8)
    assert size("layers.1.self_attn.to_q") == size("layers.1.cross_attn.to_out.0") == (2, 8)
    assert size("layers.11.self_attn.to_q") == size("layers.10.cross_attn.to_q") == (3, 8)
    assert size("layers.11.self_attn.to_k") == (4, 8)
    assert size("layers.11.mlp.up_proj") == (4, 2.5)
    assert size("layers.1.mlp.up_proj") == (2, 5)
    assert layers["layers.1.mlp.up_proj"].scaling["default"] == 2.5


def test_peft_and_our_loader_read_patterns_to_the_last_bit(new_transformer, new_settings, tmp_path):
    settings = new_settings(adapter={**PATTERNS, "rslora": True, "layers": "0-1, 11"})
    model = many_layers(new_transformer, settings.adapter)
    randomise(model)
    expected = export.probe(model, dtype=torch.float32)
    export.publish(tmp_path / "final", model, settings, provenance())
    export.verify(tmp_path / "final", new_transformer(layers=12), expected, dtype=torch.float32)
    named = OriginalNames(new_transformer(layers=12))
    loaded = PeftModel.from_pretrained(named, str(tmp_path / "final"))
    count = sum(name.endswith("lora_A.default.weight") for name, _ in loaded.named_parameters())
    assert count == len(adapters.adapted_layers(model)) == 3 * 11
    assert torch.equal(export.probe(named.adopt(), dtype=torch.float32), expected)


def test_diffusers_reads_patterns_from_the_same_file(new_transformer, new_settings, tmp_path):
    settings = new_settings(adapter={**PATTERNS, "layers": "0-1, 10-11"})
    model = many_layers(new_transformer, settings.adapter)
    randomise(model)
    export.publish(tmp_path / "final", model, settings, provenance())
    file = tmp_path / "final" / adapters.WEIGHTS_FILE
    with safe_open(file, framework="pt") as handle:
        metadata = json.loads(handle.metadata()[export.DIFFUSERS_METADATA_KEY])
        tensors = {
            key.replace("base_model.model.", "")
            .replace("q_proj", "to_q")
            .replace("k_proj", "to_k")
            .replace("v_proj", "to_v")
            .replace("o_proj", "to_out.0"): handle.get_tensor(key)
            for key in handle.keys()
        }
    fresh = new_transformer(layers=12)
    options = {key.removeprefix("transformer."): value for key, value in metadata.items()}
    fresh.load_lora_adapter(tensors, prefix=None, metadata=options)
    assert torch.equal(export.probe(fresh, dtype=torch.float32), export.probe(model, dtype=torch.float32))


def test_the_patterns_in_files_name_single_modules_as_the_original_code_does(new_transformer, new_settings, tmp_path):
    settings = new_settings(adapter={"rank": 4, "alpha": 8.0, "rank_pattern": "layers.1.cross.o=2"})
    export.publish(tmp_path / "final", many_layers(new_transformer, settings.adapter), settings, provenance())
    config = json.loads((tmp_path / "final" / "adapter_config.json").read_text())
    assert config["rank_pattern"] == {"layers.1.cross_attn.o_proj": 2}
    assert (config["r"], config["alpha_pattern"]) == (4, {})
    assert config["target_modules"] == ["q_proj", "k_proj", "v_proj", "o_proj"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"layers": "0-2"}, "layers 0 to 1"),
        ({"layers": "1-0"}, "counts backwards"),
        ({"rank_pattern": "mlp=8"}, "there is self.q"),
        ({"alpha_pattern": "layers.2=8"}, "in layers 0-1"),
        ({"rank_pattern": "q=8, self=4, cross=2"}, "decides nothing"),
    ],
)
def test_what_matches_nothing_in_the_model_is_refused(new_transformer, settings, said):
    with pytest.raises(AdapterError, match=said):
        adapters.inject(new_transformer(), AdapterSettings(rank=2, **settings))


def test_a_run_is_resumed_with_its_own_layers_and_patterns_only(new_trainer, new_settings, tmp_path):
    def prints(**adapter):
        return checkpoint.fingerprint(new_settings(adapter=adapter), model="m", dataset="d")

    before = prints()
    for setting in ({"layers": "0"}, {"rank_pattern": "q=2"}, {"alpha_pattern": "self=2"}):
        with pytest.raises(RunError, match=next(iter(setting))):
            checkpoint.refuse_other(before, prints(**setting), tmp_path)
        with pytest.raises(RunError, match=next(iter(setting))):
            checkpoint.refuse_other(prints(**setting), before, tmp_path)
    checkpoint.refuse_other(prints(layers="0-1"), prints(layers="0, 1"), tmp_path)
    # A checkpoint from before there were layers and patterns.
    old = {key: value for key, value in before.items() if value is not None}
    checkpoint.refuse_other(old, before, tmp_path)


def test_patterns_train_and_resume_bit_for_bit(new_trainer, new_settings, tmp_path):
    settings = new_settings(
        adapter={"layers": "1", "rank_pattern": "self.q=6", "alpha_pattern": "cross=3", "dropout": 0.2},
        optim={"lr_ratio_b": 4.0},
    )
    straight = new_trainer(settings)
    expected = [straight.step().loss for _ in range(3)]
    first = new_trainer(settings)
    for _ in range(2):
        first.step()
    state = first.state(checkpoint.fingerprint(settings, model="m", dataset="d"))
    run_dir = RunDir.create(tmp_path, "drums")
    directory = checkpoint.save(run_dir, first.transformer, first.optimizer, state, settings, provenance())
    second = new_trainer(settings)
    saved, numbers = checkpoint.read(directory)
    assert second.restore(directory, saved, numbers) == len(second.parameters)
    assert second.step().loss == expected[2]
    for name, parameter in second.parameters.items():
        assert torch.equal(parameter, straight.parameters[name]), name


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"rank": 4, "alpha": 6.0}, "scaled by 1.5"),
        ({"rank": 4, "alpha": 6.0, "rslora": True}, "scaled by 3"),
        ({"rank": 4, "alpha": 6.0, "init": "pissa"}, "scaled by 1.5"),
        ({"rank": 4, "alpha": 8.0, "rank_pattern": "self=2"}, "scaled by 2 to 4"),
        ({"kind": "lokr"}, "scaled by 1"),
        ({"kind": "loha", "rank": 2, "alpha": 5.0}, "scaled by 2.5"),
        ({"kind": "oft", "oft_block_size": 8}, "not scaled"),
    ],
)
def test_the_log_says_how_strongly_an_adapter_acts(new_transformer, settings, said):
    transformer = new_transformer()
    adapters.inject(transformer, AdapterSettings(**settings))
    assert adapters.strength(transformer) == said


LORA_OPTIONS = {
    "rank": 3,
    "alpha": 5.0,
    "mlp": True,
    "rslora": True,
    "dropout": 0.3,
    "layers": "1",
    "rank_pattern": "mlp.up=2",
    "alpha_pattern": "cross=2",
}


@pytest.mark.parametrize(
    ("kind", "init", "dtype"),
    [("lora", "pissa", torch.bfloat16), ("dora", "default", torch.bfloat16), ("dora", "pissa", torch.float32)],
)
def test_all_options_of_a_lora_work_together(new_trainer, new_settings, tmp_path, kind, init, dtype):
    """rsLoRA, dropout, patterns, layers, LoRA+, PiSSA and checkpointing at once: nothing is refused, all of it learns,
    and the export answers like the trained model."""
    settings = new_settings(
        adapter={**LORA_OPTIONS, "kind": kind, "init": init},
        optim={"lr_ratio_b": 8.0},
        memory={"gradient_checkpointing": True},
    )
    assert [advice for advice in rules.check(settings) if advice.severity == "error"] == []
    trainer = new_trainer(settings, dtype=dtype)
    before = {name: parameter.detach().clone() for name, parameter in trainer.parameters.items()}
    assert not any(trainer.step().skipped for _ in range(2))
    assert all(not torch.equal(parameter, before[name]) for name, parameter in trainer.parameters.items())
    assert {parameter.dtype for parameter in trainer.parameters.values()} == {torch.float32}
    expected = export.probe(trainer.transformer, dtype=dtype)
    export.publish(tmp_path / "final", trainer.transformer, settings, provenance())
    export.verify(tmp_path / "final", make_transformer().to(dtype), expected, dtype=dtype)


@pytest.mark.parametrize(
    "adapter",
    [
        {"kind": "lokr", "lokr_factor": 4},
        {"kind": "loha", "rank": 2, "rslora": True},
        {"kind": "oft", "oft_block_size": 8},
    ],
)
def test_layer_ranges_work_with_every_other_kind(new_trainer, new_settings, tmp_path, adapter):
    settings = new_settings(adapter={**adapter, "layers": "1", "mlp": True})
    assert [advice for advice in rules.check(settings) if advice.severity == "error"] == []
    trainer = new_trainer(settings)
    assert not any(trainer.step().skipped for _ in range(2))
    expected = export.probe(trainer.transformer, dtype=torch.float32)
    export.publish(tmp_path / "final", trainer.transformer, settings, provenance())
    export.verify(tmp_path / "final", make_transformer(), expected, dtype=torch.float32)


def test_the_card_says_which_layers_and_which_patterns(new_transformer, new_settings, tmp_path):
    adapter = {"rank": 4, "alpha": 6.0, "layers": "0-1", "rank_pattern": "q=2"}
    settings = new_settings(adapter=adapter)
    model = trained(new_transformer, settings.adapter)
    export.publish(tmp_path / "final", model, settings, provenance())
    card = (tmp_path / "final" / export.CARD_FILE).read_text()
    assert "| Rank, alpha | 4, 6; rank q=2 |" in card
    assert "attention: both) of layers 0-1 |" in card
    assert "set the strength" not in card
