"""The presets that exist in the world: Side-Step's seven and its 69 keys, peft's configuration, what guides print."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidestep_tui.core.errors import SettingsError
from sidestep_tui.schema import rules
from sidestep_tui.schema.importers import ImportReport, import_preset, import_text
from sidestep_tui.schema.layers import Layer, resolve

COMMON: dict[str, Any] = {
    "adapter_type": "lora",
    "dropout": 0.1,
    "target_modules_str": "q_proj k_proj v_proj o_proj",
    "attention_type": "both",
    "bias": "none",
    "max_steps": 0,
    "dataset_repeats": 1,
    "weight_decay": 0.01,
    "max_grad_norm": 1.0,
    "seed": 42,
    "optimizer_type": "adamw8bit",
    "scheduler_type": "cosine",
    "cfg_ratio": 0.15,
    "loss_weighting": "none",
    "snr_gamma": 5.0,
    "early_stop_patience": 0,
    "target_loss": 0.0,
    "log_heavy_every": 50,
    "gradient_checkpointing": True,
    "gradient_checkpointing_ratio": 1.0,
}
COLUMNS = (
    *("rank", "alpha", "target_mlp", "learning_rate", "batch_size", "gradient_accumulation", "epochs", "warmup_steps"),
    *("save_every", "save_best", "save_best_after", "log_every", "offload_encoder"),
)
SHIPPED: dict[str, tuple[Any, ...]] = {
    "recommended": (64, 128, True, 3e-4, 1, 4, 1000, 100, 50, True, 200, 10, True),
    "high_quality": (128, 256, True, 2e-4, 1, 4, 1000, 100, 50, True, 200, 10, True),
    "quick_test": (16, 32, True, 3e-4, 1, 4, 10, 10, 5, False, 0, 5, True),
    "vram_8gb": (16, 32, False, 3e-4, 1, 8, 1000, 100, 50, True, 200, 10, True),
    "vram_12gb": (32, 64, True, 3e-4, 1, 4, 1000, 100, 50, True, 200, 10, True),
    "vram_16gb": (64, 128, True, 3e-4, 2, 2, 1000, 100, 50, True, 200, 10, True),
    "vram_24gb_plus": (128, 256, True, 3e-4, 2, 2, 1000, 100, 50, True, 200, 10, False),
}
REST: dict[str, Any] = {
    "self_target_modules_str": "",
    "cross_target_modules_str": "",
    "use_dora": False,
    **{"lokr_linear_dim": 64, "lokr_linear_alpha": 128, "lokr_factor": -1, "lokr_decompose_both": False},
    **{"lokr_use_tucker": False, "lokr_use_scalar": False, "lokr_weight_decompose": False},
    **{"loha_linear_dim": 64, "loha_linear_alpha": 128, "loha_factor": -1},
    **{"loha_use_tucker": False, "loha_use_scalar": False},
    **{"oft_block_size": 64, "oft_coft": False, "oft_eps": 6e-5},
    **{"shift": 3.0, "num_inference_steps": 8, "crop_mode": "full", "chunk_duration": 0, "max_latent_length": 0},
    **{"chunk_decay_every": 10, "scheduler_formula": "", "timestep_mode": "continuous", "ema_decay": 0.0},
    **{"target_loss_floor": 0.01, "target_loss_warmup": 50, "target_loss_smoothing": 0.98, "val_split": 0.0},
    **{"adaptive_timestep_ratio": 0.0, "warmup_start_factor": 0.1, "cosine_eta_min_ratio": 0.01},
    **{"cosine_restarts_count": 4, "save_best_every_n_steps": 0},
}
PSYTRANCE = """\
## Network Architecture (LoRA)
* LoRA Rank ($r$): 64 (Provides sufficient capacity to map distinct keys and tempos into
separate internal slots).
* LoRA Alpha: 32 (Ensures stable weight scaling).
* LoRA Dropout: 0.05 (Prevents overfitting while retaining rapid pattern recognition).
* Target Modules: ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2"]
## Optimization & Precision
* Mixed Precision: bf16 (Mandatory for modern GPU compute stability).
* Optimizer: bitsandbytes 8-bit AdamW (Compresses the optimizer states to halve VRAM
allocation).
* Gradient Checkpointing: True (Recomputes activations during the backward pass).
* Hardware Allocation: Set num_workers=4, pin_memory=True, and
persistent_workers=True.
## Training Schedule
* Batch Configuration: Set train_batch_size: 2 and gradient_accumulation_steps: 2 (Creates
an effective total batch size of 4, ensuring smooth gradient updates).
* Learning Rate: 0.00007 ($7\\cdot10^{-5}$) with a cosine scheduler and 100 warmup steps.
A lower learning rate preserves sharp transient structures like tight kick drums.
* Seed: Set to -1 (Random Seed) across later epochs to shuffle data blocks.
"""
PSYTRANCE_VALUES = {
    "adapter.rank": 64,
    "adapter.alpha": 32.0,
    "adapter.dropout": 0.05,
    "adapter.attention": "both",
    "adapter.projections": ("q", "k", "v", "o"),
    "adapter.mlp": True,
    "memory.precision": "bfloat16",
    "memory.gradient_checkpointing": "on",
    "optim.optimizer": "adamw8bit",
    "optim.lr": 7e-5,
    "optim.schedule": "cosine",
    "optim.warmup_steps": 100,
    "train.batch_size": 2,
    "train.accumulation": 2,
    "train.seed": -1,
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path


def _import(folder: Path, content: Any, name: str = "theirs.json") -> ImportReport:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return import_preset(path)


def _rows(report: ImportReport) -> dict[str, tuple[str, str]]:
    return {row.key: (row.verdict, row.detail) for row in report.rows}


@pytest.mark.parametrize("name", SHIPPED)
def test_every_preset_that_side_step_ships_is_taken_whole(home: Path, name: str) -> None:
    source = {"name": name, "description": "Theirs.", **COMMON, **dict(zip(COLUMNS, SHIPPED[name], strict=True))}
    report = _import(home, source)
    rank, alpha, mlp, lr, batch, accumulation, epochs, warmup, save_every, save_best, *_ = SHIPPED[name]
    expected = {
        "adapter.rank": rank,
        "adapter.alpha": alpha,
        "adapter.mlp": mlp,
        "optim.lr": lr,
        "train.batch_size": batch,
        "train.accumulation": accumulation,
        "train.epochs": epochs,
        "optim.warmup_steps": warmup,
        "output.save_every_epochs": save_every,
        "optim.optimizer": "adamw8bit",
    }
    assert expected.items() <= report.values.items()
    assert set(_rows(report)) == set(source)
    assert {row.key for row in report.refused} == (set() if save_best else {"save_best"})
    assert report.wrong == []
    advice = rules.check(resolve([Layer("imported", report.values)]).settings)
    assert [item for item in advice if item.severity == "error"] == []


def test_all_keys_that_side_step_can_save_are_known(home: Path) -> None:
    source = {**COMMON, **dict(zip(COLUMNS, SHIPPED["recommended"], strict=True)), **REST}
    assert len(source) == 69
    report = _import(home, source)
    assert set(_rows(report)) == set(source)
    assert {row.key for row in report.refused} == {"shift", "num_inference_steps", "chunk_decay_every"}
    assert report.summary == "63 taken, 3 translated, 3 refused"


def test_a_wrong_value_is_named_with_its_key_and_what_to_write(home: Path) -> None:
    report = _import(
        home, {"rank": "banana", "learning_rate": -5, "optimizer_type": "nope", "alpha": "32", "epochs": 9}
    )
    # The best adapter would be looked for from epoch 50 on.
    assert report.values == {"adapter.alpha": 32.0, "train.epochs": 9, "train.best_after": 4}
    assert {row.key for row in report.wrong} == {"rank", "learning_rate", "optimizer_type"}
    wrong = {row.key: row for row in report.wrong}
    assert wrong["rank"].detail == "adapter.rank must be a whole number, 1–512, not 'banana'."
    assert wrong["rank"].fix == "Write 64, for example."
    assert "above 0" in wrong["learning_rate"].detail
    assert _rows(report)["alpha"] == ("translated", 'adapter.alpha = 32 (read from the text "32")')
    assert report.summary.endswith("3 refused, of which 3 have wrong values")


def test_the_list_of_the_psytrance_guide_is_read_as_it_stands(home: Path) -> None:
    report = _import(home, PSYTRANCE, "guide.txt")
    assert report.values == PSYTRANCE_VALUES
    assert report.source_format == "list of settings"
    assert {row.key for row in report.refused} == {"num_workers", "pin_memory", "persistent_workers"}


@pytest.mark.parametrize(
    "content",
    [
        'config = dict(rank=64, alpha=32.0, dropout=0.05, targets=None, optimizer="adamw8bit")\n',
        '{"rank": 64, "alpha": 32, "dropout": 0.05, "optimizer": "adamw8bit", }  # mine\n',
        "rank = 64\nalpha = 32\ndropout = 0.05  # little\noptimizer = AdamW8bit\n",
        "rank: 64\nalpha: 32 (half)\nDropout: 0.05\n**Optimizer**: AdamW 8-bit\n",
        "- `rank`: 64\n- `alpha`: 32\n- `dropout`: 0.05\n- `optimizer`: bitsandbytes 8-bit AdamW\n",
        "|Parameter|Value|\n|---|---|\n| Rank | 64 |\n| Alpha | 32 |\n| Dropout | 0.05 |\n| Optimizer | 8-bit AdamW |",
        "python train.py --rank 64 --alpha=32 \\\n  --dropout 0.05 --optimizer adamw8bit",
        "accelerate launch train.py --lora-rank 64 --lora-alpha 32 --lora-dropout 0.05 --optimizer-type adamw8bit",
        "train x -s adapter.rank=64 -s adapter.alpha=32 --set adapter.dropout=0.05 -s optim.optimizer=adamw8bit",
        "So:\n```python\nlora = LoraConfig(r=64, lora_alpha=32, lora_dropout=0.05)\noptim = 'adamw8bit'\n```\nDone.",
        "lora:\n  rank: 64\n  alpha: 32\n  dropout: 0.05\ntraining:\n  optimizer: adamw8bit\n",
        '[lora]\nrank = 64\nalpha = 32\ndropout = 0.05\noptimizer = "adamw8bit"\n',
    ],
)
def test_settings_are_read_however_they_are_pasted(content: str) -> None:
    report = import_text(content)
    assert report.values == {
        "adapter.rank": 64,
        "adapter.alpha": 32.0,
        "adapter.dropout": 0.05,
        "optim.optimizer": "adamw8bit",
    }


def test_the_flags_of_the_first_trainer_are_all_known() -> None:
    report = import_text(
        "python trainer.py --num_nodes 1 --shift 3.0 --learning_rate 1e-4 --num_workers 8 --epochs -1 \\\n"
        "  --max_steps 5000  --every_n_train_steps 500 --dataset_path ./data --exp_name mine --precision bf16-true \\\n"
        "  --accumulate_grad_batches 4 --devices 1 --logger_dir ./logs --ckpt_path x --checkpoint_dir y \\\n"
        "  --gradient_clip_val 0.5 --gradient_clip_algorithm norm --reload_dataloaders_every_n_epochs 1 \\\n"
        "  --every_plot_step 2000 --val_check_interval 100 --lora_config_path config/lora_config.json"
    )
    assert report.source_format == "command line"
    assert report.values == {
        "optim.lr": 1e-4,
        "train.epochs": 100_000,
        "train.max_steps": 5000,
        "output.save_every_steps": 500,
        "memory.precision": "bfloat16",
        "train.accumulation": 4,
        "optim.max_grad_norm": 0.5,
    }
    assert not [row for row in report.rows if "unknown" in row.detail]


def test_the_adapter_file_of_the_first_trainer_names_targets_that_are_gone(home: Path) -> None:
    theirs = {"r": 256, "lora_alpha": 32, "use_rslora": True}
    theirs["target_modules"] = [
        "speaker_embedder",
        "linear_q",
        "linear_k",
        "linear_v",
        "to_q",
        "to_k",
        "to_v",
        "to_out.0",
    ]
    report = _import(home, theirs, "lora_config.json")
    assert report.values == {
        "adapter.rank": 256,
        "adapter.alpha": 32.0,
        "adapter.rslora": True,
        "adapter.projections": ("q", "k", "v", "o"),
        "adapter.attention": "both",
    }
    assert [row.key for row in report.refused] == ["target_modules: speaker_embedder"]


PEFT: dict[str, Any] = {
    **{"auto_mapping": None, "base_model_name_or_path": "", "bias": "none", "corda_config": None, "eva_config": None},
    **{"exclude_modules": None, "fan_in_fan_out": False, "inference_mode": True, "init_lora_weights": True},
    **{"layer_replication": None, "layers_pattern": None, "layers_to_transform": None, "loftq_config": {}},
    **{"lora_alpha": 32, "lora_bias": False, "lora_dropout": 0.1, "megatron_config": None, "peft_version": "0.21.2"},
    **{"megatron_core": "megatron.core", "modules_to_save": None, "peft_type": "LORA", "qalora_group_size": 16},
    **{"r": 16, "rank_pattern": {}, "revision": None, "target_modules": ["self_attn.q_proj", "self_attn.v_proj"]},
    **{"target_parameters": None, "task_type": "FEATURE_EXTRACTION", "trainable_token_indices": None},
    **{"use_dora": False, "use_qalora": False, "use_rslora": True, "alpha_pattern": {}},
}


def test_the_configuration_of_a_peft_adapter_is_a_preset(home: Path) -> None:
    folder = home / "drums"
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps(PEFT))
    report = import_preset(folder)
    assert (report.source_format, report.name) == ("PEFT JSON", "drums")
    assert report.values == {
        "adapter.kind": "lora",
        "adapter.rank": 16,
        "adapter.alpha": 32.0,
        "adapter.dropout": 0.1,
        "adapter.rslora": True,
        "adapter.attention": "self",
        "adapter.projections": ("q", "v"),
        "adapter.init": "default",
    }
    assert [row.key for row in report.refused] == ["base_model_name_or_path"]
    assert set(_rows(report)) == set(PEFT)


def test_all_linear_layers_are_attention_and_mlp(home: Path) -> None:
    values = _import(home, {"r": 8, "target_modules": "all-linear"}).values
    assert (values["adapter.projections"], values["adapter.mlp"]) == (("q", "k", "v", "o"), True)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("x.json", b'{"rank": 4' + b" " * 1_100_000 + b"}", "too large for a settings file"),
        ("x.json", b"[1, 2]", "is not a preset"),
        ("x.json", b'"rank"', "is not a preset"),
        ("x.json", b"\x89PNG\r\n\x1a\n\x00\x00", "is not a text file"),
        ("x.json", '{"rank": 4}'.encode("utf-16"), "is not a text file"),
        ("x.json", '{"tag": "b\xe4r"}'.encode("latin-1"), "is not a text file"),
        ("x.txt", b"rank\x00 = 4", "is not a text file"),
        ("x.txt", b"Once upon a time there was a song.\n", "holds no setting that can be taken"),
        ("x.txt", b"", "holds no setting that can be taken"),
        ("x.py", b"rank = __import__('os').system('true')\n", "holds no setting that can be taken"),
        ("x.safetensors", b"\x10", "holds weights, not settings"),
        ("x.yaml", b"a: !!python/object/apply:os.system ['true']", "not valid YAML"),
    ],
    ids=[str(number) for number in range(12)],
)
def test_what_cannot_be_a_preset_is_refused_in_words(home: Path, name: str, content: bytes, sentence: str) -> None:
    path = home / name
    path.write_bytes(content)
    with pytest.raises(SettingsError) as refusal:
        import_preset(path)
    assert sentence in str(refusal.value)
    assert refusal.value.hint


def test_a_folder_without_settings_says_what_it_looked_for(home: Path) -> None:
    with pytest.raises(SettingsError, match=r"none of run\.toml, adapter_config\.json"):
        import_preset(home)


def test_what_is_an_expression_is_never_run_and_named() -> None:
    report = import_text("rank = 8\nepochs = int(input())\nlr = 1 / 3\nmystery = print\n")
    assert report.values == {"adapter.rank": 8}
    assert {"lr", "mystery"} <= {row.key for row in report.refused}


@pytest.mark.parametrize(
    "content", ["[" * 5000, "rank: " + "[" * 900 + "]" * 900, "rank = " + "-" * 9000 + "1", "a: {" * 300]
)
def test_nesting_without_end_is_refused_and_not_followed(content: str) -> None:
    with pytest.raises(SettingsError):
        import_text(content)


def test_a_text_far_longer_than_settings_is_refused() -> None:
    with pytest.raises(SettingsError, match="too long for a list of settings"):
        import_text("rank: 4\n" * 20_000)


_PIECES = [
    "rank",
    ": ",
    "=",
    "--",
    "[",
    "]",
    "{",
    "}",
    "'",
    '"',
    "`",
    "```\n",
    "\n",
    "64",
    "1e-4",
    "lora_alpha",
    "|",
    "* ",
    "(",
]
_PIECES += [
    ")",
    "#",
    "$",
    "\\",
    "\t",
    "target_modules",
    "to_q",
    "true",
    "None",
    ",",
    ".",
    "set to ",
    "with a cosine scheduler",
    "ü",
]


@settings(deadline=None, max_examples=150)  # the machine may be busy
@given(st.lists(st.sampled_from(_PIECES), max_size=25).map("".join))
def test_any_text_is_read_or_refused_in_words(content: str) -> None:
    try:
        report = import_text(content)
    except SettingsError:
        return
    resolve([Layer("pasted", report.values)])


def test_a_file_of_twenty_thousand_keys_is_answered_at_all(home: Path) -> None:
    """A walk over all keys for each of them would not end within the time limit of a test."""
    keys = {"rank": 3} | {f"k{number}": 1 for number in range(20_000)}
    report = _import(home, keys)
    assert len(report.refused) == 20_000
    (home / "mine.toml").write_text("[adapter]\n" + "".join(f"{key} = 1\n" for key in keys))
    assert len(_import(home, (home / "mine.toml").read_text(), "mine.toml").refused) == 20_000
