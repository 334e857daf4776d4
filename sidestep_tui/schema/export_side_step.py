"""Our settings as a preset of Side-Step: what it can say in its own keys, and what it cannot, with the reason."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sidestep_tui.schema.fields import fields_by_path
from sidestep_tui.schema.import_keys import FRAMES_PER_SECOND

_SAME: Final = {
    "adapter.rank": "rank",
    "adapter.alpha": "alpha",
    "adapter.dropout": "dropout",
    "adapter.mlp": "target_mlp",
    "optim.lr": "learning_rate",
    "optim.optimizer": "optimizer_type",
    "optim.schedule": "scheduler_type",
    "optim.warmup_steps": "warmup_steps",
    "optim.weight_decay": "weight_decay",
    "optim.max_grad_norm": "max_grad_norm",
    "optim.lr_floor": "cosine_eta_min_ratio",
    "train.epochs": "epochs",
    "train.max_steps": "max_steps",
    "train.batch_size": "batch_size",
    "train.accumulation": "gradient_accumulation",
    "train.seed": "seed",
    "train.condition_dropout": "cfg_ratio",
    "train.loss_weighting": "loss_weighting",
    "train.snr_gamma": "snr_gamma",
    "train.best_after": "save_best_after",
    "train.patience": "early_stop_patience",
    "train.ema_decay": "ema_decay",
    "data.repeats": "dataset_repeats",
    "output.save_every_epochs": "save_every",
}
_OPTIMIZERS: Final = ("adamw", "adamw8bit", "adafactor", "prodigy")
_SCHEDULES: Final = ("cosine", "cosine_restarts", "linear", "constant")
_NOISE: Final = {"model": "continuous", "turbo8": "discrete"}
_TOGETHER: Final = ("adapter.kind", "adapter.attention", "adapter.projections", "data.crop_seconds", "data.validation")
_WHOLE_FACTORS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Exported:
    """A preset of Side-Step as `keys`, and the settings that it has no word for, with the value they have here."""

    keys: dict[str, Any]
    left_out: dict[str, Any]

    def text(self) -> str:
        """The file."""
        return json.dumps(self.keys, ensure_ascii=False, indent=2) + "\n"


def export(values: Mapping[str, Any], *, name: str, description: str) -> Exported:
    """`values` (all settings, resolved) as a preset of Side-Step, which knows no other file than its own."""
    keys: dict[str, Any] = {"name": name, "description": description}
    keys |= _adapter(values)
    taken = set(_TOGETHER)
    for path, key in _SAME.items():
        if _is_theirs(path, values[path]):
            keys.setdefault(key, values[path])
            taken.add(path)
    keys |= _together(values)
    taken |= {path for path in ("train.timesteps", "memory.gradient_checkpointing") if _is_theirs(path, values[path])}
    taken |= {path for path in values if path.startswith(f"adapter.{values['adapter.kind']}_")}
    defaults = {path: spec.default for path, spec in fields_by_path().items()}
    left_out = {path: value for path, value in values.items() if path not in taken and value != defaults[path]}
    return Exported(keys, left_out)


def _is_theirs(path: str, value: Any) -> bool:
    match path:
        case "optim.optimizer":
            return value in _OPTIMIZERS
        case "optim.schedule":
            return value in _SCHEDULES
        case "train.timesteps":
            return value in _NOISE
        case "memory.gradient_checkpointing":
            return bool(value in ("on", "off"))
    return True


def _adapter(values: Mapping[str, Any]) -> dict[str, Any]:
    kind = values["adapter.kind"]
    keys: dict[str, Any] = {"adapter_type": "lora" if kind == "dora" else kind, "use_dora": kind == "dora"}
    if kind == "lokr":
        whole = values["adapter.lokr_full_matrix"]
        keys["lokr_linear_dim"] = _WHOLE_FACTORS if whole else values["adapter.rank"]
        keys["lokr_linear_alpha"] = values["adapter.alpha"]
        keys["lokr_factor"] = values["adapter.lokr_factor"]
        keys["lokr_decompose_both"] = values["adapter.lokr_decompose_both"]
    elif kind == "loha":
        keys |= {"loha_linear_dim": values["adapter.rank"], "loha_linear_alpha": values["adapter.alpha"]}
    elif kind == "oft":
        keys["oft_block_size"] = values["adapter.oft_block_size"]
    return keys


def _together(values: Mapping[str, Any]) -> dict[str, Any]:
    """What takes several keys, or other units."""
    keys: dict[str, Any] = {"bias": "none", "save_best": True}
    if values["adapter.attention"] != "none":
        keys["attention_type"] = values["adapter.attention"]
        keys["target_modules_str"] = " ".join(f"{name}_proj" for name in values["adapter.projections"])
    else:
        keys["target_modules_str"] = "gate_proj up_proj down_proj"
    crop = values["data.crop_seconds"]
    keys["crop_mode"] = "seconds" if crop else "full"
    keys |= {"chunk_duration": crop, "max_latent_length": round(crop * FRAMES_PER_SECOND)} if crop else {}
    keys["val_split"] = values["data.validation"] / 100
    if values["train.timesteps"] in _NOISE:
        keys["timestep_mode"] = _NOISE[values["train.timesteps"]]
    if values["memory.gradient_checkpointing"] in ("on", "off"):
        keys["gradient_checkpointing"] = values["memory.gradient_checkpointing"] == "on"
    return keys
