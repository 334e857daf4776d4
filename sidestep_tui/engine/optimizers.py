"""Optimizers over the adapter, and their state as named tensors (no pickle)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from sidestep_tui.core.errors import SettingsError
from sidestep_tui.core.text import listing
from sidestep_tui.engine.update_rules import SHARED, Lion, Prodigy, ScheduleFreeAdamW
from sidestep_tui.engine.writer import on_host
from sidestep_tui.schema.optim import OptimSettings

_FUSED_DEVICES = ("cuda", "cpu", "mps")


def build(
    optim: OptimSettings, parameters: dict[str, torch.nn.Parameter], device: torch.device
) -> torch.optim.Optimizer:
    """The optimizer that the settings ask for, over `parameters` in their order.

    Raises SettingsError when its library is missing or when it cannot train these weights.
    """
    groups = _groups(optim, parameters)
    adam: dict[str, Any] = {
        "lr": optim.lr,
        "betas": (optim.beta1, optim.beta2),
        "eps": optim.eps,
        "weight_decay": optim.weight_decay,
    }
    lion = {key: value for key, value in adam.items() if key != "eps"}
    match optim.optimizer:
        case "adamw":
            return torch.optim.AdamW(groups, fused=device.type in _FUSED_DEVICES, **adam)
        case "adamw8bit":
            return _bitsandbytes().optim.AdamW8bit(groups, **adam)
        case "adafactor":
            return _adafactor(groups, optim)
        case "prodigy":
            return Prodigy(groups, **adam)
        case "schedule_free":
            return ScheduleFreeAdamW(groups, **adam)
        case "lion":
            return Lion(groups, **lion)
        case "muon":
            return _muon(groups, parameters, optim)


def _groups(optim: OptimSettings, parameters: dict[str, torch.nn.Parameter]) -> list[dict[str, Any]]:
    """One group, or two where B matrices have a rate of their own (LoRA+, arXiv:2402.12354).

    `lr_scale` is what `set_lr` multiplies a group's rate by.
    """
    if optim.lr_ratio_b == 1.0:
        return [{"params": list(parameters.values()), "lr_scale": 1.0}]
    matrices = [parameter for name, parameter in parameters.items() if _is_b_matrix(name)]
    if not matrices:
        raise SettingsError(
            "There are no B matrices to learn at another rate.",
            f"optim.lr_ratio_b is {optim.lr_ratio_b:g}, and this kind of adapter has none.",
            "Set optim.lr_ratio_b to 1, or train a LoRA.",
        )
    others = [parameter for name, parameter in parameters.items() if not _is_b_matrix(name)]
    groups: list[dict[str, Any]] = [
        {"params": others, "lr_scale": 1.0},
        {"params": matrices, "lr_scale": optim.lr_ratio_b},
    ]
    return [{**group, "lr": optim.lr * group["lr_scale"]} for group in groups if group["params"]]


def _is_b_matrix(name: str) -> bool:
    return "lora_B" in name.split(".")


def _adafactor(groups: list[dict[str, Any]], optim: OptimSettings) -> torch.optim.Optimizer:
    """Adafactor without momentum, at the rate of the schedule.

    Not torch's own: that scales by the size of each weight, so that B, which starts at zero, hardly moves, and it
    waits for the device twice per tensor.
    """
    # 0.1 s for those who choose it.
    from transformers.optimization import Adafactor

    return Adafactor(groups, lr=optim.lr, weight_decay=optim.weight_decay, scale_parameter=False, relative_step=False)


def _muon(
    groups: list[dict[str, Any]], parameters: dict[str, torch.nn.Parameter], optim: OptimSettings
) -> torch.optim.Optimizer:
    """Muon, with its updates scaled to the size of AdamW's so that learning rates keep their meaning."""
    if other := [name for name, parameter in parameters.items() if parameter.ndim != 2]:
        raise SettingsError(
            "Muon cannot train this adapter.",
            f"Muon trains matrices only, and {len(other)} of {len(parameters)} tensors are none: {listing(other, 2)}.",
            "Set optim.optimizer to 'adamw', or train a LoRA.",
        )
    return torch.optim.Muon(groups, lr=optim.lr, weight_decay=optim.weight_decay, adjust_lr_fn="match_rms_adamw")


def refuse_missing(optim: OptimSettings) -> None:
    """Raise SettingsError when the optimizer's library is not here, before hours of encoding."""
    if optim.optimizer == "adamw8bit":
        _bitsandbytes()


def _bitsandbytes() -> Any:
    try:
        # 2 s and a native library, for those who choose it; not installable on every platform.
        import bitsandbytes
    except ImportError as error:
        raise SettingsError(
            "The 8-bit optimizer is not available here.",
            f"optim.optimizer is 'adamw8bit', and bitsandbytes cannot be imported: {error}.",
            "Install bitsandbytes, or set optim.optimizer to 'adamw', which needs 6 bytes more per adapter weight.",
        ) from error
    return bitsandbytes


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Use `lr` from the next step on."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_scale"]


def found_rate(optimizer: torch.optim.Optimizer) -> torch.Tensor | None:
    """What the next step multiplies the learning rate by, on the device; None for all that use it as it is.

    That is Prodigy's estimate d: its learning rate alone, usually 1, says nothing about the size of its steps.
    """
    if not isinstance(optimizer, Prodigy):
        return None
    first = optimizer.param_groups[0]["params"][0]
    rate: torch.Tensor = _shared(optimizer).get("d", first.new_full((), Prodigy.FIRST_ESTIMATE, dtype=torch.float32))
    return rate


@contextmanager
def published_weights(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Within this, the parameters are what is saved, exported and measured: for most optimizers they always are."""
    if not isinstance(optimizer, ScheduleFreeAdamW):
        yield
        return
    optimizer.show_average()
    try:
        yield
    finally:
        optimizer.show_training_point()


def state_tensors(
    optimizer: torch.optim.Optimizer, parameters: dict[str, torch.nn.Parameter]
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The optimizer's state as CPU tensors and as plain numbers, both keyed `<parameter name>|<entry>`.

    What belongs to all parameters together has no name before the bar.
    """
    tensors: dict[str, torch.Tensor] = {}
    numbers: dict[str, Any] = {}
    states = [(name, optimizer.state.get(parameter, {})) for name, parameter in parameters.items()]
    for name, state in (*states, ("", _shared(optimizer))):
        for entry, value in state.items():
            if isinstance(value, torch.Tensor):
                tensors[f"{name}|{entry}"] = value
            else:
                numbers[f"{name}|{entry}"] = value
    return on_host(tensors), numbers


def _shared(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """What the optimizer keeps for all parameters together."""
    known: Mapping[Any, dict[str, Any]] = optimizer.state
    return known[SHARED] if SHARED in known else {}


def misfit(
    parameters: Mapping[str, torch.Tensor],
    tensors: Mapping[str, torch.Tensor],
    numbers: Mapping[str, Any],
    counts: Mapping[str, int] | None,
) -> str | None:
    """Why a stored state is not the whole state of an optimizer over `parameters`; None if it is.

    `counts` says how many tensors of each entry were stored, None if nobody noted it.
    """
    keys = [*tensors, *numbers]
    if not keys and counts == {}:
        return None  # saved before the first step that changed anything
    owners = {key: key.rpartition("|")[0] for key in keys}
    known = set(owners.values())
    if stray := [key for key, owner in owners.items() if owner and owner not in parameters]:
        return f"'{stray[0]}' belongs to no weight of the adapter ({len(stray)} of {len(keys)} entries do not)"
    if missing := [name for name in parameters if name not in known]:
        return f"it is not complete: {len(missing)} of {len(parameters)} weights have no state, first '{missing[0]}'"
    for key, tensor in tensors.items():
        weight = parameters.get(owners[key])
        if weight is not None and 1 < weight.ndim == tensor.ndim and weight.shape != tensor.shape:
            return f"'{key}' has the shape {list(tensor.shape)}, and its weight {list(weight.shape)}"
    for entry, count in (counts or {}).items():
        there = {owners[key] for key in tensors if key.rpartition("|")[2] == entry}
        if len(there) != count:
            lost = next((name for name in parameters if name not in there), "")
            return f"it is not complete: {len(there)} of {count} tensors '{entry}' are there, not '{lost}|{entry}'"
    return None


def restore_state(
    optimizer: torch.optim.Optimizer,
    parameters: dict[str, torch.nn.Parameter],
    tensors: dict[str, torch.Tensor],
    numbers: dict[str, Any],
) -> int:
    """Put back what `state_tensors` returned and `misfit` found no fault with; returns the number of tensors.

    Learning rate and other options stay those of the optimizer at hand, so that edited settings take effect.
    """
    order = {id(p): place for place, p in enumerate(p for group in optimizer.param_groups for p in group["params"])}
    index: dict[str, int | str] = {name: order[id(parameter)] for name, parameter in parameters.items()}
    state: dict[int | str, dict[str, Any]] = {}
    for key, value in (*tensors.items(), *numbers.items()):
        name, _, entry = key.rpartition("|")
        state.setdefault(index[name] if name else SHARED, {})[entry] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    device = next(iter(parameters.values())).device
    for entry, value in _shared(optimizer).items():
        if isinstance(value, torch.Tensor):
            _shared(optimizer)[entry] = value.to(device)
    if isinstance(optimizer, ScheduleFreeAdamW):
        optimizer.show_training_point()
    return len(tensors)
