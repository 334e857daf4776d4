"""What the keys of other trainers mean here: one table, by the names that they use.

The vocabularies (Side-Step, ace-lora-trainer, ACE-Step's YAML, PEFT, diffusers scripts) never give one name two
meanings, so that one table serves all; keys that only work together (crop, targets) are in `importers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FRAMES_PER_SECOND = 25


@dataclass(frozen=True, slots=True)
class Take:
    """The same setting under another name. `words` translates values; what is not in it is taken as it is."""

    path: str
    words: Mapping[str, Any] | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Fixed:
    """Something that is always one way here. `same` lists the values that ask for just that; others are refused."""

    same: tuple[Any, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """A key without counterpart, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Idle:
    """A key that does nothing in this preset where it comes from either."""

    reason: str


@dataclass(frozen=True, slots=True)
class Share:
    """A setting in percent, given there as a share from 0 to 1."""

    path: str


Meaning = Take | Fixed | Refuse | Idle | Share

OFF = (0, 0.0, False, None, "", "none", "0", "0.0", "false")
"""What other trainers write for a switch that is off."""
_OFF = OFF
# Trainers on Lightning write -1 where steps alone decide.
_MOST_EPOCHS = 100_000
_PLACE = Refuse("a place on another machine; name it when you start a run")
_MODEL = Refuse("the checkpoint says what it is; choose it when you start a run")
_RUN_NAME = Refuse("the name of one run; give it when you start")
_GENERATION = Refuse("a setting of generation; training does not depend on it")
_WORKERS = Refuse("songs are fed from memory, without worker processes")
_LOGGING = Idle("every step is written to the journal")
_AUDITION = Refuse("auditions are not part of a preset")

_SCHEDULES = {
    "cosine_with_warmup": "cosine",
    "cosine_with_min_lr": "cosine",
    **dict.fromkeys(
        ("cosine_with_restarts", "cosine_annealing_warm_restarts", "cosine_warm_restarts"), "cosine_restarts"
    ),
    **dict.fromkeys(("warmup_stable_decay", "warmup-stable-decay"), "wsd"),
    **dict.fromkeys(("constant_with_warmup", "constant+warmup", "constant + warmup"), "constant"),
    "linear_with_warmup": "linear",
}
_OPTIMIZERS = {
    "adamw_8bit": "adamw8bit",
    "adamw_bnb_8bit": "adamw8bit",
    "bnb_adamw8bit": "adamw8bit",
    **dict.fromkeys(("bitsandbytes 8-bit adamw", "8-bit adamw", "8bit adamw", "adamw 8-bit"), "adamw8bit"),
    "paged_adamw8bit": "adamw8bit",
    "paged_adamw_8bit": "adamw8bit",
    "adamw_torch": "adamw",
    **dict.fromkeys(("adamw_torch_fused", "adamw_fused", "fused_adamw"), "adamw"),
    "prodigyopt": "prodigy",
    **dict.fromkeys(("lion_32bit", "lion_pytorch"), "lion"),
    **dict.fromkeys(
        ("adamwschedulefree", "adamw_schedulefree", "adamw_schedule_free", "schedule_free_adamw", "schedulefree"),
        "schedule_free",
    ),
}
_PRECISIONS = {
    "bf16": "bfloat16",
    "bf16-true": "bfloat16",
    "bf16-mixed": "bfloat16",
    "fp16": "float16",
    "16": "float16",
    "16-true": "float16",
    "16-mixed": "float16",
    "fp16-mixed": "float16",
    "fp32": "float32",
    "32-true": "float32",
    "32": "float32",
    "no": "float32",
}
_SWITCH = {"true": "on", "false": "off"}
_LOUDNESS = {
    **dict.fromkeys(("", "off", "false", "no", "null"), "none"),
    **dict.fromkeys(("loudness", "r128", "ebu_r128"), "lufs"),
}
_NOISE = {"continuous": "model", "discrete": "turbo8"}
_LOSSES = {"l2": "mse"}
_FOLLOWED = {
    **dict.fromkeys(("val_loss", "eval_loss", "validation_loss"), "held_out"),
    **dict.fromkeys(("loss", "train_loss"), "training"),
}
_ATTENTION = {"self only": "self", "cross only": "cross", "self + cross": "both", "self and cross": "both"}
_PEFT = Fixed((*OFF, {}, []), "nothing of the kind is trained here")
_KIND: dict[str, Any] = {"dora_lora": "dora"}

_ADAPTER: dict[str, Meaning] = {
    **dict.fromkeys(("rank", "r", "lora_r", "lora_rank"), Take("adapter.rank")),
    **dict.fromkeys(("alpha", "lora_alpha"), Take("adapter.alpha")),
    **dict.fromkeys(("dropout", "lora_dropout"), Take("adapter.dropout")),
    **dict.fromkeys(("use_rslora", "use_rs_lora", "rslora", "rs_lora"), Take("adapter.rslora")),
    **dict.fromkeys(("adapter_type", "adapter", "peft_type"), Take("adapter.kind", _KIND)),
    "attention_type": Take("adapter.attention", _ATTENTION),
    **dict.fromkeys(("target_mlp", "train_mlp"), Take("adapter.mlp")),
    "bias": Fixed(("none",), "biases are never trained"),
    "task_type": Fixed((None, "feature_extraction"), "the adapter is for a diffusion model"),
    **dict.fromkeys(("auto_mapping", "inference_mode", "revision", "peft_version"), Idle("a note of peft to itself")),
    **dict.fromkeys(("megatron_core", "qalora_group_size"), Idle("only for kinds of adapters that are not here")),
    **dict.fromkeys(("exclude_modules", "modules_to_save", "target_parameters", "trainable_token_indices"), _PEFT),
    **dict.fromkeys(("layer_replication", "lora_bias", "loftq_config", "eva_config", "corda_config"), _PEFT),
    **dict.fromkeys(("lora_ga_config", "velora_config", "monteclora_config", "arrow_config", "kasa_config"), _PEFT),
    **dict.fromkeys(("use_qalora", "use_bdlora", "alora_invocation_tokens", "megatron_config"), _PEFT),
    **dict.fromkeys(("ensure_weight_tying", "fan_in_fan_out"), _PEFT),
    "init_lora_weights": Take(
        "adapter.init",
        {"true": "default", **dict.fromkeys(("pissa_niter_4", "pissa_niter_8", "pissa_niter_16"), "pissa")},
    ),
    "layers_pattern": Fixed((None, "", "layers"), "the model's layers are called layers"),
}
_OPTIM: dict[str, Meaning] = {
    **dict.fromkeys(("learning_rate", "lr"), Take("optim.lr")),
    **dict.fromkeys(("optimizer_type", "optimizer", "optim"), Take("optim.optimizer", _OPTIMIZERS)),
    **dict.fromkeys(
        ("scheduler_type", "scheduler", "lr_scheduler", "lr_scheduler_type"), Take("optim.schedule", _SCHEDULES)
    ),
    **dict.fromkeys(("warmup_steps", "lr_warmup_steps", "num_warmup_steps"), Take("optim.warmup_steps")),
    "gradient_clip_algorithm": Fixed(("norm", None, ""), "gradients are clipped by their norm"),
    **dict.fromkeys(("weight_decay", "adam_weight_decay"), Take("optim.weight_decay")),
    **dict.fromkeys(("max_grad_norm", "gradient_clip_val", "gradient_clip"), Take("optim.max_grad_norm")),
    "cosine_eta_min_ratio": Take("optim.lr_floor"),
    **dict.fromkeys(("adam_beta1", "beta1"), Take("optim.beta1")),
    **dict.fromkeys(("adam_beta2", "beta2"), Take("optim.beta2")),
    **dict.fromkeys(("adam_epsilon", "eps"), Take("optim.eps")),
    "warmup_start_factor": Fixed((0.1,), "warm-up always starts at a tenth of the peak"),
    "scheduler_formula": Fixed(_OFF, "formulas are programs and are not run"),
    "cosine_restarts_count": Refuse("the first cosine takes a quarter of the steps, each next one twice as long"),
    **dict.fromkeys(("loraplus_lr_ratio", "lora_plus_lr_ratio", "loraplus_ratio"), Take("optim.lr_ratio_b")),
    "prodigy_d_coef": Fixed((1, 1.0, "1", "1.0", None), "Prodigy takes the rate as it finds it"),
}
_EPOCHS = Take("train.epochs", {"-1": _MOST_EPOCHS})
_TRAIN: dict[str, Meaning] = {
    **dict.fromkeys(("epochs", "max_epochs", "num_epochs", "num_train_epochs"), _EPOCHS),
    **dict.fromkeys(("max_steps", "max_train_steps"), Take("train.max_steps", {"-1": 0})),
    **dict.fromkeys(("batch_size", "train_batch_size", "per_device_train_batch_size"), Take("train.batch_size")),
    **dict.fromkeys(
        ("gradient_accumulation", "gradient_accumulation_steps", "accumulate_grad_batches"), Take("train.accumulation")
    ),
    "seed": Take("train.seed"),
    **dict.fromkeys(("cfg_ratio", "cfg_dropout_prob", "cfg_dropout"), Take("train.condition_dropout")),
    "loss_weighting": Take("train.loss_weighting"),
    "snr_gamma": Take("train.snr_gamma"),
    "timestep_mode": Take("train.timesteps", _NOISE),
    **dict.fromkeys(("save_best_after", "auto_save_best_after"), Take("train.best_after")),
    **dict.fromkeys(("early_stop_patience", "early_stop", "early_stopping_patience"), Take("train.patience")),
    **dict.fromkeys(
        ("monitor", "early_stop_metric", "early_stopping_monitor", "metric_for_best_model"),
        Take("train.best_by", _FOLLOWED),
    ),
    "save_best": Fixed((True,), "the best adapter is always kept"),
    **dict.fromkeys(
        ("target_loss", "target_loss_floor", "target_loss_warmup", "target_loss_smoothing"),
        Fixed(_OFF, "runs do not steer towards a loss"),
    ),
    "save_best_every_n_steps": Fixed(_OFF, "the best adapter is decided at the end of an epoch"),
    "ema_decay": Take("train.ema_decay"),
    "ema_start_step": Fixed(_OFF, "the average begins with the first step and warms up"),
    **dict.fromkeys(("val_split", "validation_split"), Share("data.validation")),
    **dict.fromkeys(
        ("adaptive_timestep_ratio", "adaptive_timestep"), Fixed(_OFF, "noise levels are drawn as the model's were")
    ),
    "timestep_mu": Take("train.timestep_mu"),
    "timestep_sigma": Take("train.timestep_sigma"),
    **dict.fromkeys(("loss_type", "loss_fn"), Take("train.loss", _LOSSES)),
    "huber_delta": Take("train.huber_delta"),
    "huber_c": Refuse("that Huber is rounded at its corner; this one is Huber's own"),
    **dict.fromkeys(("shift", "dynamic_shift", "num_inference_steps", "guidance_scale"), _GENERATION),
    "nan_detection_max": Refuse("after five steps without a finite loss the run goes back, see train.rollbacks"),
}
_DATA: dict[str, Meaning] = {
    "max_duration": Take("data.max_duration"),
    # The YAML of the ACE-Step page crops longer tracks to it; the others cut songs off before encoding.
    "data.max_duration": Take("data.crop_seconds", note="the window that one example hears"),
    **dict.fromkeys(("dataset_repeats", "repeats"), Take("data.repeats")),
    **dict.fromkeys(("custom_tag", "tag", "trigger", "activation_tag"), Take("data.tag")),
    "tag_position": Take("data.tag_position"),
    "chunk_decay_every": Refuse("windows are drawn evenly"),
    "genre_ratio": Take("data.genre_ratio"),
    **dict.fromkeys(("normalize", "audio_normalization"), Take("data.loudness", _LOUDNESS)),
    "target_db": Fixed((*_OFF[2:5], -1, -1.0, "-1", "-1.0"), "peaks always go to −1 dBFS"),
    "target_lufs": Fixed((*_OFF[2:5], -14, -14.0, "-14", "-14.0"), "the loudness aimed at is always −14 LUFS"),
    **dict.fromkeys(("num_workers", "pin_memory", "persistent_workers", "prefetch_factor"), _WORKERS),
}
_MEMORY: dict[str, Meaning] = {
    "gradient_checkpointing": Take("memory.gradient_checkpointing"),
    "gradient_checkpointing_ratio": Fixed((1, 1.0, "1.0"), "layers are recomputed all or not at all"),
    **dict.fromkeys(("offload_encoder", "encoder_offloading"), Fixed((True, False), "only the decoder is ever loaded")),
    **dict.fromkeys(
        ("precision", "mixed_precision"),
        Take("memory.precision", _PRECISIONS, "that of the frozen model; the adapter itself stays float32"),
    ),
    "device": Take("memory.device"),
    **dict.fromkeys(("torch_compile", "compile", "compile_model"), Take("speed.compile", _SWITCH)),
}
_OUTPUT: dict[str, Meaning] = {
    **dict.fromkeys(("save_every", "save_every_n_epochs"), Take("output.save_every_epochs")),
    **dict.fromkeys(("save_steps", "save_every_n_steps", "every_n_train_steps"), Take("output.save_every_steps")),
    "checkpointing_steps": Take("output.save_every_steps"),
    **dict.fromkeys(
        ("save_total_limit", "checkpoints_total_limit", "max_step_saves_to_keep", "keep_last_n"),
        Take("output.keep_last"),
    ),
    "save_top_k": Take("output.keep_best", {"-1": 0}, note="beside the newest"),
    **dict.fromkeys(("every_plot_step", "val_check_interval", "plot_every_n_steps"), _AUDITION),
    **dict.fromkeys(("log_every", "log_every_n_steps", "log_heavy_every"), _LOGGING),
}
_NOT_A_RECIPE: dict[str, Meaning] = {
    **dict.fromkeys(
        (
            "output_dir",
            "train_dir",
            "data_dir",
            "dataset_dir",
            "dataset_path",
            "tensor_dir",
            "log_dir",
            "checkpoint_dir",
            "resume_from",
            "logger_dir",
            "ckpt_path",
            "lora_config_path",
            "hf_token",
        ),
        _PLACE,
    ),
    **dict.fromkeys(
        ("model_type", "model_variant", "base_model", "model_path", "model_name", "base_model_name_or_path"), _MODEL
    ),
    **dict.fromkeys(
        ("num_nodes", "devices", "reload_dataloaders_every_n_epochs"),
        Refuse("how a run is spread over GPUs is said when it starts, see memory.device"),
    ),
    **dict.fromkeys(("run_name", "exp_name", "project_name", "experiment"), _RUN_NAME),
}

MEANINGS: Mapping[str, Meaning] = {
    **_ADAPTER,
    **_OPTIM,
    **_TRAIN,
    **_DATA,
    **_MEMORY,
    **_OUTPUT,
    **_NOT_A_RECIPE,
}
_FAMILIES: tuple[tuple[str, Refuse | Idle], ...] = (
    ("lokr_", Idle("only for LoKr adapters")),
    ("loha_", Idle("only for LoHa adapters")),
    ("oft_", Idle("only for OFT adapters")),
    ("sample_", _AUDITION),
)
# Keys of which several decide one setting together.
CROP_KEYS = ("crop_mode", "chunk_duration", "max_latent_length")
SPLIT_TARGET_KEYS = {"self": "self_target_modules_str", "cross": "cross_target_modules_str"}
ALTERATION_KEYS = ("pitch_shift", "time_stretch", "add_noise")
TARGET_KEYS = ("target_modules", "target_modules_str", "lora_target_modules", *SPLIT_TARGET_KEYS.values())
PATTERN_KEYS = ("rank_pattern", "alpha_pattern")
"""Keys whose value is a table by module name."""
ABOUT_KEYS = ("name", "description", "_description", "schema_version", "version")

_PROJECTIONS = {
    **dict.fromkeys(("q_proj", "to_q", "linear_q", "q"), "q"),
    **dict.fromkeys(("k_proj", "to_k", "linear_k", "k"), "k"),
    **dict.fromkeys(("v_proj", "to_v", "linear_v", "v"), "v"),
    **dict.fromkeys(("o_proj", "out_proj", "to_out", "to_out.0", "o"), "o"),
}
_MLP_NAMES = ("gate_proj", "up_proj", "down_proj", "ff.net.0.proj", "ff.net.2", "fc1", "fc2", "mlp")


def meaning_of(key: str, leaf: str) -> Meaning | None:
    """What a key means: `key` with its section (`data.max_duration`), `leaf` without."""
    found = MEANINGS.get(key) or MEANINGS.get(leaf)
    if found is not None:
        return found
    return next((meaning for prefix, meaning in _FAMILIES if leaf.startswith(prefix)), None)


def projection_of(module: str) -> tuple[str, str] | None:
    """What a module name targets: ("self" | "cross" | "both", "q" | "k" | "v" | "o"), ("mlp", "mlp"), or None."""
    name = module.strip().lower()
    if f".{name}".endswith(tuple(f".{mlp}" for mlp in _MLP_NAMES)):
        return "mlp", "mlp"
    projection = next((ours for known, ours in _PROJECTIONS.items() if f".{name}".endswith(f".{known}")), None)
    if projection is None:
        return None
    where = "self" if "self_attn" in name else "cross" if "cross_attn" in name else "both"
    return where, projection
