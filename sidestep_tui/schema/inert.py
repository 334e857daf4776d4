"""Which settings have no effect beside the others, and why: the one place that says so. Pure.

A reason is of few words, so that it stands whole beside the value on a terminal of 80 columns ("full matrix is on"),
and in the listings of presets. A setting whose value a rule refuses is an error and not inert, whatever is said here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sidestep_tui.schema.adapter_maths import KIND_NAMES, has_scale
from sidestep_tui.schema.settings import Settings

Reason = tuple[str, str]
"""A path, and why it has no effect."""

_RATE_FINDERS = {"prodigy": "Prodigy has none", "schedule_free": "averaged instead"}
_ADAM_ONLY = {
    "adafactor": ("Adafactor", ("beta1", "beta2", "eps")),
    "muon": ("Muon", ("beta1", "beta2", "eps")),
    "lion": ("Lion", ("eps",)),
}
_LOW_RANK = ("lora", "dora")
_EPOCHS_IN_MEAN = 5
"""Epochs in the mean by which the best adapter is found without held-out songs (engine.tracking.WINDOW)."""


def inert(settings: Settings) -> dict[str, str]:
    """Every setting without effect, in the order of the groups, with the reason."""
    return {path: reason for part in _PARTS for path, reason in part(settings)}


def _data(settings: Settings) -> Iterator[Reason]:
    data = settings.data
    if not data.tag and data.tag_position != "replace":
        yield "data.tag_position", "no trigger tag"
    if data.crop_seconds == 0:
        yield "data.duration_text", "whole songs"
    if data.variants == 0:
        for name in ("pitch", "stretch", "noise"):
            yield f"data.{name}", "no altered copies"


def _of_kind(settings: Settings) -> Iterator[Reason]:
    adapter = settings.adapter
    name = KIND_NAMES[adapter.kind]
    if adapter.kind in ("lokr", "loha", "oft"):
        yield "adapter.dropout", f"{name}: no dropout"
        for path in ("adapter.rank_pattern", "adapter.alpha_pattern"):
            yield path, f"{name}: one size"
        yield "adapter.init", f"not for {name}"
        yield "optim.lr_ratio_b", f"{name}: no B matrix"
    elif adapter.start_from:
        yield "adapter.init", "start from is set"
    if adapter.kind != "lokr":
        for path in ("lokr_factor", "lokr_full_matrix", "lokr_decompose_both"):
            yield f"adapter.{path}", "LoKr only"
    if adapter.kind != "oft":
        yield "adapter.oft_block_size", "OFT only"
    if adapter.attention == "none":
        yield "adapter.projections", "no attention"
    if adapter.kind == "oft":
        yield "output.comfyui", "ComfyUI: no OFT"


def _scale(settings: Settings) -> Iterator[Reason]:
    adapter = settings.adapter
    if has_scale(adapter):
        return
    if adapter.kind == "oft":
        why = "OFT block decides"
    elif adapter.lokr_full_matrix:
        why = "full matrix is on"
    else:
        why = "rank splits none"
    # The rank decides from where on a LoKr is split, so it stays of interest until full matrices leave it no say.
    of_kind = ("rank",) if adapter.kind == "oft" or adapter.lokr_full_matrix else ()
    for name in (*of_kind, "alpha", "rslora", *(("lokr_decompose_both",) if adapter.kind == "lokr" else ())):
        yield f"adapter.{name}", why


def _optimizer(settings: Settings) -> Iterator[Reason]:
    optim = settings.optim
    why = _RATE_FINDERS.get(optim.optimizer)
    if why and optim.schedule == "constant":
        yield "optim.schedule", why
    if optim.optimizer == "prodigy" and optim.lr == 1:
        yield "optim.lr", "found by Prodigy"
    if optim.schedule == "constant":
        yield "optim.lr_floor", "constant schedule"
    if optim.optimizer in _ADAM_ONLY:
        name, constants = _ADAM_ONLY[optim.optimizer]
        for constant in constants:
            yield f"optim.{constant}", f"none in {name}"


def _objective(settings: Settings) -> Iterator[Reason]:
    train = settings.train
    if train.timesteps in ("uniform", "turbo8"):
        yield "train.timestep_sigma", f"not for {train.timesteps}"
        yield "train.timestep_mu", f"not for {train.timesteps}"
    elif train.timestep_sigma == 0:
        yield "train.timestep_mu", "no spread is set"
    if train.loss != "huber":
        yield "train.huber_delta", "loss is mse"
    if train.loss_weighting == "none":
        yield "train.snr_gamma", "no loss weighting"


def _best(settings: Settings) -> Iterator[Reason]:
    train, held_out = settings.train, settings.data.validation > 0
    if not held_out:
        if train.best_by != "held_out":
            yield "train.best_by", "no song held out"
        yield "train.validate_every", "no song held out"
    follows_held_out = held_out and train.best_by != "training"
    if train.epochs < _EPOCHS_IN_MEAN and not follows_held_out:
        for name in ("best_after", "patience"):
            yield f"train.{name}", f"under {_EPOCHS_IN_MEAN} epochs"
    if train.rollbacks == 0:
        yield "train.rollback_lr", "no rollbacks"
    if not settings.output.keep_last:
        yield "output.keep_best", "all are kept"


def _machine(settings: Settings) -> Iterator[Reason]:
    speed, adapter = settings.speed, settings.adapter
    if adapter.kind != "lora":
        yield "speed.lean_lora", "LoRA only"
    elif adapter.dropout:
        yield "speed.lean_lora", "not with dropout"
    if speed.compile == "off":
        yield "speed.activation_budget", "compile is off"
        yield "speed.cuda_graphs", "compile is off"
    elif settings.memory.gradient_checkpointing == "on":
        yield "speed.activation_budget", "checkpointing on"


_PARTS: tuple[Callable[[Settings], Iterator[Reason]], ...] = (
    _data,
    _of_kind,
    _scale,
    _optimizer,
    _objective,
    _best,
    _machine,
)
