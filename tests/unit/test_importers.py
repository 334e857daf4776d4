"""Presets of other trainers: every key is reported, nothing is dropped silently, nothing hostile gets in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidestep_tui.core.errors import SettingsError
from sidestep_tui.schema import presets, rules
from sidestep_tui.schema.fields import fields_by_path
from sidestep_tui.schema.import_keys import MEANINGS, TARGET_KEYS, Take
from sidestep_tui.schema.importers import ImportReport, import_preset
from sidestep_tui.schema.layers import Layer, resolve
from sidestep_tui.schema.run import RunFile, write_run


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


SIDE_STEP: dict[str, Any] = {
    "name": "my voice",
    "description": "For one voice.",
    "adapter_type": "lora",
    "rank": 16,
    "alpha": 32,
    "dropout": 0.1,
    "target_modules_str": "q_proj k_proj v_proj o_proj",
    "attention_type": "both",
    "target_mlp": True,
    "bias": "none",
    "use_dora": False,
    "learning_rate": "3e-4",
    "batch_size": 1,
    "gradient_accumulation": 8,
    "epochs": 1000,
    "warmup_steps": 100,
    "max_steps": 0,
    "weight_decay": 0.01,
    "max_grad_norm": 1.0,
    "seed": 42,
    "dataset_repeats": 2,
    "shift": 3.0,
    "num_inference_steps": 8,
    "optimizer_type": "adamw8bit",
    "scheduler_type": "cosine",
    "scheduler_formula": "",
    "timestep_mode": "continuous",
    "cfg_ratio": 0.15,
    "loss_weighting": "none",
    "snr_gamma": 5.0,
    "save_every": 50,
    "save_best": True,
    "save_best_after": 200,
    "early_stop_patience": 0,
    "target_loss": 0.0,
    "gradient_checkpointing": True,
    "gradient_checkpointing_ratio": 1.0,
    "offload_encoder": True,
    "crop_mode": "seconds",
    "chunk_duration": 60,
    "ema_decay": 0,
    "val_split": 0.1,
    "lokr_factor": -1,
    "mystery": 3,
}
LORA_TRAINER: dict[str, Any] = {
    "_description": "Minimal.",
    "adapter_type": "lora",
    "optimizer_type": "adamw8bit",
    "scheduler_type": "constant_with_warmup",
    "learning_rate": 1e-4,
    "batch_size": 1,
    "gradient_accumulation_steps": 8,
    "max_epochs": 100,
    "save_every_n_epochs": 25,
    "warmup_steps": 50,
    "max_grad_norm": 1.0,
    "gradient_checkpointing": True,
    "encoder_offloading": True,
    "torch_compile": False,
    "max_latent_length": 750,
    "lora_r": 16,
    "lora_alpha": 32,
    "lora_dropout": 0.1,
    "cfg_dropout_prob": 0.15,
    "loss_weighting": "none",
    "auto_save_best_after": 200,
    "attention_type": "self",
}
YAML = """
model_name: "x"
output_dir: "./lora_output"
lora:
  rank: 32              # Higher = more capacity
  alpha: 64
  dropout: 0.1
  target_modules: ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]
training:
  epochs: 50
  batch_size: 1
  gradient_accumulation: 8
  learning_rate: 1e-4
  lr_scheduler: "cosine"
  warmup_steps: 100
  max_grad_norm: 1.0
data:
  train_dir: "./training_data"
  validation_split: 0.1
  max_duration: 60
  augmentation:
    pitch_shift: true
    add_noise: false
precision: "bf16"
gradient_checkpointing: true
"""


def _import(tmp_path: Path, content: Any, name: str = "theirs.json") -> ImportReport:
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return import_preset(path)


def _rows(report: ImportReport) -> dict[str, tuple[str, str]]:
    return {row.key: (row.verdict, row.detail) for row in report.rows}


def test_a_side_step_preset_is_translated(tmp_path: Path) -> None:
    report = _import(tmp_path, SIDE_STEP)
    assert (report.source_format, report.name, report.description) == ("Side-Step JSON", "my_voice", "For one voice.")
    assert report.values == {
        "adapter.kind": "lora",
        "adapter.rank": 16,
        "adapter.alpha": 32.0,
        "adapter.dropout": 0.1,
        "adapter.attention": "both",
        "adapter.mlp": True,
        "adapter.projections": ("q", "k", "v", "o"),
        "optim.lr": 3e-4,
        "optim.optimizer": "adamw8bit",
        "optim.schedule": "cosine",
        "optim.warmup_steps": 100,
        "optim.weight_decay": 0.01,
        "optim.max_grad_norm": 1.0,
        "train.batch_size": 1,
        "train.accumulation": 8,
        "train.epochs": 1000,
        "train.max_steps": 0,
        "train.seed": 42,
        "train.timesteps": "model",
        "train.condition_dropout": 0.15,
        "train.loss_weighting": "none",
        "train.snr_gamma": 5.0,
        "train.best_after": 200,
        "train.patience": 0,
        "train.ema_decay": 0.0,
        "data.repeats": 2,
        "data.crop_seconds": 60.0,
        "data.validation": 10,
        "memory.gradient_checkpointing": "on",
        "output.save_every_epochs": 50,
    }
    rows = _rows(report)
    assert set(rows) == set(SIDE_STEP)
    refused = {row.key for row in report.refused}
    assert refused == {"shift", "num_inference_steps", "mystery"}
    assert rows["lokr_factor"] == ("taken", "without effect there too: only for LoKr adapters")
    assert rows["learning_rate"] == ("translated", 'optim.lr = 3e-4 (read from the text "3e-4")')
    assert rows["rank"] == ("taken", "adapter.rank = 16")
    assert rows["timestep_mode"] == ("translated", "train.timesteps = model")


def test_an_ace_lora_trainer_preset_is_translated_and_made_possible(tmp_path: Path) -> None:
    report = _import(tmp_path, LORA_TRAINER, "vram 8gb.json")
    assert (report.source_format, report.name, report.description) == ("ace-lora-trainer JSON", "vram_8gb", "Minimal.")
    rows = _rows(report)
    assert set(rows) == set(LORA_TRAINER)
    assert rows["max_latent_length"] == ("translated", "data.crop_seconds = 30 (750 frames at 25 per second)")
    assert rows["scheduler_type"] == ("translated", "optim.schedule = constant")
    assert rows["auto_save_best_after"][0] == "translated"
    assert "200 lies behind the last of 100 epochs" in rows["auto_save_best_after"][1]
    assert report.values["train.best_after"] == 50
    assert report.values["adapter.rank"] == 16
    assert report.values["adapter.attention"] == "self"
    assert report.values["speed.compile"] == "off"
    assert report.refused == []
    assert rules.check(resolve([Layer("imported", report.values)]).settings) == []


def test_a_training_yaml_is_translated(tmp_path: Path) -> None:
    report = _import(tmp_path, YAML, "train_config.yaml")
    rows = _rows(report)
    assert report.source_format == "training YAML"
    assert report.values["optim.lr"] == 1e-4, "YAML reads 1e-4 as text"
    assert report.values["data.crop_seconds"] == 60.0
    assert report.values["memory.precision"] == "bfloat16"
    assert (report.values["adapter.mlp"], report.values["adapter.projections"]) == (True, ("q", "k", "v", "o"))
    assert rows["lora.target_modules"][0] == "translated"
    assert rows["data.validation_split"] == ("translated", "data.validation = 10")
    assert rows["data.augmentation.pitch_shift"] == (
        "translated",
        "data.pitch = 2 (in 2 altered copies of each song)",
    )
    assert rows["data.augmentation.add_noise"] == ("taken", "off")
    assert {row.key for row in report.refused} == {"model_name", "output_dir", "data.train_dir"}
    altered = {path: report.values[path] for path in ("data.variants", "data.pitch", "data.stretch", "data.noise")}
    assert altered == {"data.variants": 2, "data.pitch": 2, "data.stretch": 0.0, "data.noise": 0.0}


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ({"pitch_shift": True, "time_stretch": True, "add_noise": False}, (2, 2, 10.0, 0.0)),
        ({"pitch_shift": 3, "time_stretch": 0.05}, (2, 3, 5.0, 0.0)),
        ({"pitch_shift": [-2, 1], "time_stretch": [0.9, 1.05]}, (2, 2, 0.0 + 10, 0.0)),
        ({"pitch_shift": "true", "time_stretch": "15"}, (2, 2, 15.0, 0.0)),
        ({"add_noise": 30}, (2, 0, 0.0, 30.0)),
        ({"pitch_shift": "weird", "add_noise": True}, (2, 0, 0.0, 40.0)),
        ({"pitch_shift": 1.5, "time_stretch": 50, "add_noise": 0.005}, None),
        ({"pitch_shift": False, "time_stretch": 0, "add_noise": None}, None),
    ],
)
def test_alterations_on_the_fly_become_altered_copies(
    tmp_path: Path, given: dict[str, Any], taken: tuple[float, ...] | None
) -> None:
    report = _import(tmp_path, {"rank": 8, **given})
    paths = ("data.variants", "data.pitch", "data.stretch", "data.noise")
    found = tuple(report.values.get(path) for path in paths)
    assert found == (taken or (None,) * 4)
    assert set(_rows(report)) == {"rank", *given}
    assert rules.check(resolve([Layer("imported", report.values)]).settings) == rules.check(
        resolve([Layer("plain", {"adapter.rank": 8})]).settings
    )


@pytest.mark.parametrize(
    ("value", "percent"),
    [(0.1, 10), ("0.05", 5), (0, 0), (None, 0), (False, 0), (20, 20), (1, None), (-1, None), ("x", None), (60, None)],
)
def test_the_held_out_share_becomes_percent(tmp_path: Path, value: Any, percent: int | None) -> None:
    report = _import(tmp_path, {"rank": 8, "validation_split": value})
    assert report.values.get("data.validation") == percent
    assert (_rows(report)["validation_split"][0] == "refused") == (percent is None)


@pytest.mark.parametrize(
    ("given", "values", "refused"),
    [
        ({"normalize": "none"}, {"data.loudness": "none"}, set()),
        ({"normalize": False}, {"data.loudness": "none"}, set()),
        ({"normalize": None}, {"data.loudness": "none"}, set()),
        ({"normalize": "peak", "target_db": -1.0}, {"data.loudness": "peak"}, set()),
        ({"audio_normalization": "LUFS", "target_lufs": -14}, {"data.loudness": "lufs"}, set()),
        ({"normalize": "lufs", "target_lufs": -16.0}, {"data.loudness": "lufs"}, {"target_lufs"}),
        ({"normalize": True}, {}, {"normalize"}),
        ({"genre_ratio": 20}, {"data.genre_ratio": 20}, set()),
        ({"genre_ratio": 0}, {"data.genre_ratio": 0}, set()),
        ({"genre_ratio": 0.3}, {}, {"genre_ratio"}),
    ],
)
def test_loudness_and_genre_are_taken(
    tmp_path: Path, given: dict[str, Any], values: dict[str, Any], refused: set[str]
) -> None:
    report = _import(tmp_path, {"rank": 8, **given})
    assert report.values == {"adapter.rank": 8, **values}
    assert {row.key for row in report.refused} == refused


def test_names_of_a_diffusers_script_are_translated(tmp_path: Path) -> None:
    report = _import(
        tmp_path,
        {
            "rank": 64,
            "lora_alpha": 32,
            "target_modules": ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2"],
            "mixed_precision": "bf16",
            "train_batch_size": 2,
            "gradient_accumulation_steps": 2,
            "learning_rate": 0.00007,
            "lr_scheduler": "cosine",
            "lr_warmup_steps": 100,
            "num_workers": 4,
            "seed": -1,
        },
    )
    assert report.values["adapter.projections"] == ("q", "k", "v", "o")
    assert report.values["adapter.attention"] == "both"
    assert report.values["adapter.mlp"] is True
    assert (report.values["optim.lr"], report.values["train.batch_size"], report.values["train.seed"]) == (7e-5, 2, -1)
    assert [row.key for row in report.refused] == ["num_workers"]


@pytest.mark.parametrize(
    ("targets", "attention", "projections", "mlp"),
    [
        ("q_proj v_proj", "both", ("q", "v"), None),
        (["self_attn.q_proj", "self_attn.o_proj"], "self", ("q", "o"), None),
        (["layers.3.cross_attn.to_v"], "cross", ("v",), None),
        (["self_attn.q_proj", "cross_attn.k_proj"], "both", ("q", "k"), None),
        ("gate_proj,up_proj,down_proj", "none", None, True),
        (["linear_q", "to_q", "to_out.0"], "both", ("q", "o"), None),
    ],
)
def test_target_names_become_attention_and_projections(
    tmp_path: Path, targets: Any, attention: str, projections: Any, mlp: Any
) -> None:
    values = _import(tmp_path, {"target_modules": targets}).values
    assert values["adapter.attention"] == attention
    assert values.get("adapter.projections") == projections
    assert values.get("adapter.mlp") == mlp


def test_a_target_that_matches_nothing_is_named(tmp_path: Path) -> None:
    report = _import(tmp_path, {"r": 8, "target_modules": ["speaker_embedder", "to_q"]})
    assert [row.key for row in report.refused] == ["target_modules: speaker_embedder"]
    assert report.values["adapter.projections"] == ("q",)


@pytest.mark.parametrize(
    ("given", "projections", "refused"),
    [
        ({"self_target_modules_str": "q_proj k_proj", "cross_target_modules_str": "k_proj q_proj"}, ("q", "k"), set()),
        ({"target_modules_str": "q_proj v_proj", "self_target_modules_str": ""}, ("q", "v"), set()),
        (
            {"self_target_modules_str": "q_proj", "cross_target_modules_str": "v_proj"},
            None,
            {"self_target_modules_str", "cross_target_modules_str"},
        ),
        (
            {"attention_type": "self", "self_target_modules_str": "q_proj", "cross_target_modules_str": "v_proj"},
            ("q",),
            {"cross_target_modules_str"},
        ),
        (
            {
                "target_modules_str": "q_proj k_proj v_proj o_proj",
                "self_target_modules_str": "q_proj",
                "cross_target_modules_str": "q_proj",
            },
            ("q",),
            {"target_modules_str"},
        ),
        (
            {"target_modules_str": "k_proj v_proj", "self_target_modules_str": "q_proj"},
            ("k", "v"),
            {"self_target_modules_str"},
        ),
    ],
)
def test_separate_targets_for_self_and_cross_attention(
    tmp_path: Path, given: dict[str, str], projections: Any, refused: set[str]
) -> None:
    report = _import(tmp_path, {"rank": 4, **given})
    assert report.values.get("adapter.projections") == projections
    assert {row.key for row in report.refused} == refused
    assert set(given) <= set(_rows(report))


def test_mlp_targets_against_an_explicit_no_are_refused(tmp_path: Path) -> None:
    report = _import(tmp_path, {"target_mlp": False, "target_modules": ["q_proj", "up_proj"]})
    assert report.values["adapter.mlp"] is False
    assert [row.key for row in report.refused] == ["target_modules: up_proj"]


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ({"max_latent_length": 1500}, 60.0),
        ({"max_latent_length": 0}, 0.0),
        ({"chunk_duration": 45}, 45.0),
        ({"chunk_duration": 0, "max_latent_length": 1500}, 60.0),
        ({"chunk_duration": 30, "max_latent_length": 0}, 30.0),
        ({"crop_mode": "full", "chunk_duration": 60, "max_latent_length": 1500}, 0.0),
        ({"crop_mode": "latent", "chunk_duration": 60, "max_latent_length": 1500}, 60.0),
        ({"crop_mode": "seconds", "chunk_duration": 30, "max_latent_length": 1500}, 30.0),
    ],
)
def test_crop_windows_become_seconds(tmp_path: Path, given: dict[str, Any], seconds: float) -> None:
    report = _import(tmp_path, {"rank": 4, **given})
    assert report.values["data.crop_seconds"] == seconds
    assert set(given) <= set(_rows(report))


def test_dora_as_a_switch_becomes_a_kind(tmp_path: Path) -> None:
    report = _import(tmp_path, {"adapter_type": "lora", "use_dora": True})
    assert report.values == {"adapter.kind": "dora"}
    assert _rows(report)["use_dora"][0] == "translated"


def test_kinds_and_optimizers_that_are_not_here_are_refused(tmp_path: Path) -> None:
    report = _import(tmp_path, {"adapter_type": "ia3", "optimizer_type": "sgd", "rank": 4})
    assert report.values == {"adapter.rank": 4}
    assert {row.key for row in report.refused} == {"adapter_type", "optimizer_type"}
    assert "lora, dora" in _rows(report)["adapter_type"][1]


# What Side-Step writes for LoKr: the keys of every kind at once.
SIDE_STEP_LOKR: dict[str, Any] = {
    "adapter_type": "lokr",
    "rank": 64,
    "alpha": 128,
    "dropout": 0.0,
    "lokr_linear_dim": 10000,
    "lokr_linear_alpha": 1.0,
    "lokr_factor": -1,
    "lokr_decompose_both": False,
    "lokr_use_tucker": True,
    "lokr_use_scalar": False,
    "lokr_weight_decompose": False,
    "loha_linear_dim": 8,
    "oft_block_size": 64,
}


def test_the_keys_of_lokr_become_its_settings(tmp_path: Path) -> None:
    report = _import(tmp_path, SIDE_STEP_LOKR)
    assert report.values == {
        "adapter.kind": "lokr",
        "adapter.alpha": 1.0,
        "adapter.lokr_full_matrix": True,
        "adapter.lokr_factor": -1,
        "adapter.lokr_decompose_both": False,
    }
    assert report.refused == []
    idle = {row.key for row in report.rows if "without effect there too" in row.detail}
    assert idle == {"rank", "alpha", "loha_linear_dim", "oft_block_size"}
    assert set(_rows(report)) == set(SIDE_STEP_LOKR)


def test_a_small_dimension_of_lokr_is_a_rank(tmp_path: Path) -> None:
    upstream = {"adapter_type": "lokr", "linear_dim": 64, "linear_alpha": 128, "factor": 8, "use_scalar": True}
    report = _import(tmp_path, upstream)
    assert report.values == {
        "adapter.kind": "lokr",
        "adapter.rank": 64,
        "adapter.alpha": 128.0,
        "adapter.lokr_full_matrix": False,
        "adapter.lokr_factor": 8,
    }
    assert {row.key for row in report.refused} == {"use_scalar"}


def test_the_keys_of_loha_become_rank_and_alpha(tmp_path: Path) -> None:
    report = _import(tmp_path, {"adapter_type": "loha", "loha_linear_dim": 8, "loha_linear_alpha": 4, "rank": 64})
    assert report.values == {"adapter.kind": "loha", "adapter.rank": 8, "adapter.alpha": 4.0}
    assert _rows(report)["rank"][1] == "without effect there too: only for LoRA adapters; loha_linear_dim counts"


def test_the_block_size_of_oft_is_taken(tmp_path: Path) -> None:
    given = {"adapter_type": "oft", "oft_block_size": 64, "oft_coft": False, "oft_eps": 6e-5, "eps": 1e-8, "rank": 64}
    report = _import(tmp_path, given)
    assert report.values == {"adapter.kind": "oft", "adapter.oft_block_size": 64, "optim.eps": 1e-8}
    assert {row.key for row in report.refused} == {"oft_eps"}


@pytest.mark.parametrize("dimension", ["x", 0, -4, None, True, [8]])
def test_a_dimension_that_is_no_size_is_refused(tmp_path: Path, dimension: object) -> None:
    report = _import(tmp_path, {"adapter_type": "lokr", "lokr_linear_dim": dimension})
    assert report.values == {"adapter.kind": "lokr"}
    assert {row.key for row in report.refused} == {"lokr_linear_dim"}


def test_hostile_values_are_refused_by_key(tmp_path: Path) -> None:
    report = _import(
        tmp_path,
        '{"rank": "banana", "learning_rate": -5, "optimizer_type": "nope", "batch_size": true, "epochs": 1e999,'
        ' "seed": NaN, "lora_dropout": [1, [2]], "alpha": {"x": {"y": 1}}, "attention_type": null, "save_every": 3,'
        ' "max_latent_length": "x", "crop_mode": 7, "target_modules": 5, "use_dora": "yes", "name": ["x"],'
        ' "scheduler_formula": "().__class__.__base__.__subclasses__()"}',
    )
    assert report.values == {"output.save_every_epochs": 3}
    assert {row.key for row in report.refused} == {
        *("rank", "learning_rate", "optimizer_type", "batch_size", "epochs", "seed", "lora_dropout", "alpha.x.y"),
        *("attention_type", "max_latent_length", "crop_mode", "target_modules", "use_dora", "name"),
        "scheduler_formula",
    }
    assert "1–512, not 'banana'" in _rows(report)["rank"][1]
    assert report.name == "theirs"


def test_keys_that_are_there_twice_are_said(tmp_path: Path) -> None:
    twice = _import(tmp_path, '{"rank": 4, "rank": 8}')
    assert ("rank", "refused", "given twice; the last one counts") in [row[:3] for row in twice.rows]
    synonyms = _import(tmp_path, {"rank": 4, "lora_r": 8, "r": 4})
    assert synonyms.values == {"adapter.rank": 4}
    assert _rows(synonyms)["lora_r"] == ("refused", "adapter.rank is already 4 from rank")
    assert _rows(synonyms)["r"][0] == "taken"
    sections = _import(tmp_path, {"a": {"target_modules": "q_proj"}, "b": {"target_modules": "v_proj"}})
    assert _rows(sections)["a.target_modules"][0] == "refused"
    yaml = _import(tmp_path, "rank: 4\nrank: 8\n", "twice.yml")
    assert yaml.rows[0].detail == "given twice; the last one counts"


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("x.json", "{", "not valid JSON"),
        ("x.json", "[1]", "is not a preset"),
        ("x.json", "{}", "is not a preset"),
        ("x.json", '{"a": 1}', "no setting that can be taken"),
        ("x.json", '{"rank": "banana"}', "1–512"),
        ("x.json", "[" * 100_000, "not valid JSON"),
        ("x.yaml", "a: [", "not valid YAML"),
        ("x.yaml", "a: !!python/object/apply:os.system ['true']", "not valid YAML"),
        ("x.yaml", "a: &a [1, 2]\nb: [*a, *a]\n", "aliases"),
        ("x.yaml", "- 1\n", "is not a preset"),
        ("x.toml", "[adapter", "not valid TOML"),
        ("x.toml", "schema_version = 5", "newer release"),
    ],
)
def test_what_is_no_preset_is_refused(tmp_path: Path, name: str, content: str, sentence: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        _import(tmp_path, content, name)
    assert sentence in str(refusal.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="There is no file"):
        import_preset(tmp_path / "gone.json")


def test_one_of_our_own_keeps_what_can_be_used(tmp_path: Path) -> None:
    content = 'schema_version = 1\nextends = "vram_12gb"\n[adapter]\nrank = 24\nrnk = 3\nalpha = -1\n'
    report = _import(tmp_path, content, "mine.toml")
    assert report.values == {**presets.find("vram_12gb").values, "adapter.rank": 24}
    assert {row.key for row in report.refused} == {"adapter.rnk", "adapter.alpha"}
    assert _rows(report)["extends"][0] == "translated"


def test_a_run_gives_its_recipe_and_not_its_places(tmp_path: Path) -> None:
    settings = resolve([Layer("x", {"adapter.rank": 7, "data.path": "/songs", "model.path": "/m"})]).settings
    write_run(tmp_path / "run.toml", RunFile("drums 3", settings, extra={"fake": {"steps": 1}}))
    report = import_preset(tmp_path / "run.toml")
    assert (report.source_format, report.name) == ("sidestep-tui run", "drums_3")
    assert report.values["adapter.rank"] == 7
    assert not {"data.path", "model.path", "output.path"} & set(report.values)
    assert {"data.path", "model.path"} <= {row.key for row in report.refused}


def test_every_taken_key_leads_to_a_setting_that_exists() -> None:
    for key, meaning in MEANINGS.items():
        if isinstance(meaning, Take):
            spec = fields_by_path()[meaning.path]
            for value in (meaning.words or {}).values():
                assert not spec.choices or value in spec.choices, key


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
_KEYS = st.sampled_from([*MEANINGS, *TARGET_KEYS, "crop_mode", "chunk_duration", "max_latent_length", "use_dora"])


@settings(deadline=None)  # the machine may be busy
@given(source=st.dictionaries(_KEYS | st.text(max_size=6), _ANYTHING, max_size=8))
def test_every_key_of_any_file_is_reported_and_every_value_is_valid(
    tmp_path_factory: pytest.TempPathFactory, source: dict[str, Any]
) -> None:
    path = tmp_path_factory.mktemp("any") / "any.json"
    path.write_text(json.dumps({**source, "warmup_steps": 7, "num_warmup_steps": 7}))
    report = import_preset(path)
    reported = {row.key for row in report.rows}
    for key, value in source.items():
        inside = [row for row in reported if row.startswith((f"{key}.", f"{key}: "))]
        assert key in reported or inside, (key, value)
    resolve([Layer("imported", report.values)])


def test_the_noise_distribution_and_the_loss_are_taken(tmp_path: Path) -> None:
    theirs = {"timestep_mu": 0.2, "timestep_sigma": 0.8, "loss_type": "l2", "huber_delta": 0.3, "huber_c": 0.1}
    report = _import(tmp_path, theirs)
    assert report.values == {
        "train.timestep_mu": 0.2,
        "train.timestep_sigma": 0.8,
        "train.loss": "mse",
        "train.huber_delta": 0.3,
    }
    assert [row.key for row in report.refused] == ["huber_c"]


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ({"optimizer_type": "adafactor"}, {"optim.optimizer": "adafactor"}),
        ({"optimizer_type": "Lion"}, {"optim.optimizer": "lion"}),
        ({"optimizer": "adamw_torch_fused"}, {"optim.optimizer": "adamw"}),
        ({"scheduler_type": "cosine_restarts"}, {"optim.schedule": "cosine_restarts"}),
        ({"lr_scheduler_type": "cosine_with_restarts"}, {"optim.schedule": "cosine_restarts"}),
        ({"lr_scheduler_type": "warmup_stable_decay"}, {"optim.schedule": "wsd"}),
        ({"scheduler_type": "linear"}, {"optim.schedule": "linear"}),
        ({"loraplus_lr_ratio": 16}, {"optim.lr_ratio_b": 16.0}),
        (
            {"optimizer_type": "prodigy", "scheduler_type": "cosine", "learning_rate": 1.0},
            {"optim.optimizer": "prodigy", "optim.schedule": "constant", "optim.lr": 1.0},
        ),
        ({"optimizer_type": "prodigy"}, {"optim.optimizer": "prodigy", "optim.schedule": "constant"}),
        (
            {"optimizer_type": "AdamWScheduleFree", "scheduler_type": "constant"},
            {"optim.optimizer": "schedule_free", "optim.schedule": "constant"},
        ),
    ],
)
def test_optimizers_and_schedules_of_others_keep_their_meaning(
    tmp_path: Path, given: dict[str, Any], values: dict[str, Any]
) -> None:
    report = _import(tmp_path, given)
    assert report.values == values
    assert set(_rows(report)) == set(given)
    assert report.refused == []


def test_a_schedule_that_others_ignore_beside_prodigy_is_said(tmp_path: Path) -> None:
    rows = _rows(_import(tmp_path, {"optimizer_type": "prodigy", "scheduler_type": "cosine"}))
    assert rows["scheduler_type"] == ("translated", "optim.schedule = constant (Prodigy takes no schedule, not cosine)")


@pytest.mark.parametrize(
    ("key", "given", "taken"),
    [
        ("monitor", "val_loss", "held_out"),
        ("metric_for_best_model", "eval_loss", "held_out"),
        ("early_stop_metric", "train_loss", "training"),
        ("monitor", "accuracy", None),
    ],
)
def test_what_others_watch_for_the_best_becomes_whose_loss_is_followed(
    tmp_path: Path, key: str, given: str, taken: str | None
) -> None:
    report = _import(tmp_path, {"rank": 8, key: given})
    assert report.values.get("train.best_by") == taken
    assert (_rows(report)[key][0] == "refused") == (taken is None)
