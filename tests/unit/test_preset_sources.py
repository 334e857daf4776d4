"""Shipped presets are their sources': what a source says is in them, or named with the reason why not.

The sources are written out here in their own words and imported; provenance has to account for every difference.
"""

from __future__ import annotations

from typing import Any

import pytest

from sidestep_tui.schema import presets
from sidestep_tui.schema.fields import fields_by_path
from sidestep_tui.schema.importers import import_text

QKVO = ["q_proj", "k_proj", "v_proj", "o_proj"]


def _guide(rank: int, optimizer: str, **more: Any) -> dict[str, Any]:
    """A preset file of the ace-lora-trainer guide."""
    common = {
        **{
            "adapter_type": "lora",
            "lora_r": rank,
            "lora_alpha": 2 * rank,
            "lora_dropout": 0.1,
            "attention_type": "both",
        },
        **{"optimizer_type": optimizer, "scheduler_type": "cosine", "learning_rate": 1e-4, "max_grad_norm": 1.0},
        **{"batch_size": 1, "gradient_accumulation_steps": 4, "max_epochs": 100, "save_every_n_epochs": 10},
        **{"warmup_steps": 100, "max_latent_length": 1500, "cfg_dropout_prob": 0.15, "loss_weighting": "none"},
        **{"auto_save_best_after": 200, "gradient_checkpointing": True},
    }
    return common | more


def _tier(rank: int, **more: Any) -> dict[str, Any]:
    """A LoRA column of the ace-lora-trainer guide's tables."""
    common = {"lora_r": rank, "lora_dropout": 0.1, "learning_rate": 1e-4, "max_epochs": 800, "scheduler_type": "cosine"}
    return common | {"early_stop_patience": 80, "auto_save_best_after": 200, "attention_type": "both"} | more


def _lokr_tier(**more: Any) -> dict[str, Any]:
    common = {"adapter_type": "lokr", "lora_r": 64, "lora_alpha": 128, "lokr_linear_dim": 10000, "learning_rate": 3e-4}
    common |= {"lokr_factor": -1, "lokr_decompose_both": False, "optimizer_type": "adamw", "scheduler_type": "cosine"}
    return (
        common
        | {"max_epochs": 500, "early_stop_patience": 50, "auto_save_best_after": 100, "attention_type": "both"}
        | more
    )


def _turbo_trainer(rank: int) -> dict[str, Any]:
    targets = ["speaker_embedder", "linear_q", "linear_k", "linear_v", "to_q", "to_k", "to_v", "to_out.0"]
    return {
        **{"r": rank, "lora_alpha": 32, "use_rslora": True, "target_modules": targets, "learning_rate": 1e-4},
        **{"precision": "bf16-true", "shift": 3.0, "gradient_clip_val": 0.5, "max_steps": 5000},
        **{"every_n_train_steps": 500},
    }


def _tutorial(epochs: int) -> dict[str, Any]:
    return {
        **{"lora_rank": 64, "lora_alpha": 128, "lora_dropout": 0.1, "target_modules": QKVO, "learning_rate": 3e-4},
        **{"max_epochs": epochs, "batch_size": 1, "gradient_accumulation": 1, "seed": 42, "shift": 3.0},
    }


SAVING = {"gradient_checkpointing": True, "encoder_offloading": True}
SOURCES: dict[str, dict[str, Any]] = {
    "recommended": _guide(64, "adamw"),
    "high_quality": _guide(
        128,
        "adamw",
        **{"lora_dropout": 0.05, "learning_rate": 5e-5, "max_epochs": 1000, "save_every_n_epochs": 250},
        **{"warmup_steps": 200, "loss_weighting": "min_snr", "snr_gamma": 5.0, "early_stop_patience": 200},
    ),
    "quick_test": _guide(
        16,
        "adamw",
        **{"lora_dropout": 0.0, "max_epochs": 10, "save_every_n_epochs": 5, "warmup_steps": 10},
        **{"max_latent_length": 750, "auto_save_best_after": 0, "gradient_accumulation_steps": 1},
    ),
    "vram_8gb": _guide(
        16,
        "adamw8bit",
        **{"gradient_accumulation_steps": 8, "max_latent_length": 750, "save_every_n_epochs": 25, "warmup_steps": 50},
        encoder_offloading=True,
    ),
    "vram_12gb": _guide(32, "adamw8bit", save_every_n_epochs=20, encoder_offloading=True),
    "vram_16gb": _guide(64, "adamw"),
    "vram_24gb_plus": _guide(128, "adamw", batch_size=2, gradient_accumulation_steps=2),
    "psytrance_3090": {
        **{"lora_rank": 64, "lora_alpha": 32, "lora_dropout": 0.05, "mixed_precision": "bf16", "num_epochs": 40},
        "target_modules": ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2"],
        **{"optimizer": "bitsandbytes 8-bit AdamW", "gradient_checkpointing": True, "train_batch_size": 2},
        **{"gradient_accumulation_steps": 2, "learning_rate": 0.00007, "scheduler_type": "cosine", "warmup_steps": 100},
        **{"seed": -1, "num_workers": 4, "pin_memory": True, "persistent_workers": True, "chunk_duration": 30},
    },
    "tier_24gb": _tier(64, lora_alpha=128, batch_size=3, gradient_accumulation=1, optimizer_type="prodigy"),
    "tier_16gb": _tier(64, lora_alpha=128, batch_size=2, gradient_accumulation=2, optimizer_type="prodigy"),
    "tier_12gb": _tier(32, batch_size=1, gradient_accumulation=4, optimizer_type="adamw8bit", **SAVING),
    "tier_8gb": _tier(
        16,
        **{"batch_size": 1, "optimizer_type": "adafactor", "max_latent_length": 1000, **SAVING},
        **{"scheduler_type": "constant_with_warmup", "attention_type": "self"},
    ),
    "tier_24gb_lokr": _lokr_tier(batch_size=2, gradient_accumulation=4),
    "tier_16gb_lokr": _lokr_tier(batch_size=2, gradient_accumulation=4),
    "tier_12gb_lokr": _lokr_tier(batch_size=1, gradient_accumulation=8, **SAVING),
    "tier_8gb_lokr": _lokr_tier(
        **{"batch_size": 1, "optimizer_type": "adafactor", "max_latent_length": 1000, **SAVING},
        **{"scheduler_type": "constant_with_warmup", "attention_type": "self"},
    ),
    "conservative_24gb": _turbo_trainer(16),
    "balanced_24gb": _turbo_trainer(64),
    "aggressive_24gb": _turbo_trainer(256),
    "many_tracks": {
        **{"base_model": "ACE-Step/ACE-Step-v1-3.5B", "output_dir": "./lora_output", "precision": "bf16"},
        "lora": {
            "rank": 32,
            "alpha": 64,
            "dropout": 0.1,
            "target_modules": ["q_proj", "k_proj", "v_proj", "out_proj", "fc1"],
        },
        "training": {
            **{"epochs": 50, "batch_size": 1, "gradient_accumulation": 8, "learning_rate": 1e-4},
            **{"lr_scheduler": "cosine", "warmup_steps": 100, "max_grad_norm": 1.0},
        },
        "data": {
            **{"train_dir": "./training_data", "validation_split": 0.1, "max_duration": 60},
            "augmentation": {"pitch_shift": True, "time_stretch": True, "add_noise": False},
        },
        "gradient_checkpointing": True,
    },
    "album_20_songs": _tutorial(800),
    "album_100_songs": _tutorial(500),
}


def test_every_shipped_preset_has_a_source() -> None:
    assert set(SOURCES) == {preset.name for preset in presets.list_presets() if preset.source == "shipped"}


@pytest.mark.parametrize("name", SOURCES)
def test_a_preset_differs_from_its_source_only_where_it_says_so(name: str) -> None:
    preset = presets.find(name)
    report = import_text(repr(SOURCES[name]))
    assert report.wrong == []
    defaults = {path: spec.default for path, spec in fields_by_path().items()}
    ours = defaults | dict(preset.values)
    told = preset.provenance
    # The settings that translation alone brings along with a key, and the one that never belongs to a recipe.
    beside = {"memory.gradient_checkpointing", "adapter.lokr_full_matrix", "train.best_by"}
    different = {path for path, value in report.values.items() if ours[path] != value}
    added = {path for path, value in ours.items() if value != defaults[path] and path not in report.values}
    unexplained = (different | added) - set(told.changed) - beside
    assert unexplained == set()
    left_out = {row.key for row in report.refused} | {key for key in SOURCES[name] if key == "gradient_checkpointing"}
    assert left_out <= set(told.left_out)


@pytest.mark.parametrize("name", SOURCES)
def test_what_a_preset_says_it_changed_is_changed_or_filled_in(name: str) -> None:
    preset = presets.find(name)
    said = import_text(repr(SOURCES[name]))
    translated = {row.detail.partition(" = ")[0] for row in said.rows if row.verdict == "translated"}
    for path in preset.provenance.changed:
        same = said.values.get(path) == preset.values.get(path, fields_by_path()[path].default)
        assert not same or path in translated or path in ("adapter.mlp", "adapter.projections", "data.variants"), path
