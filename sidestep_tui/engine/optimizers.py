"""Optimizers over the adapter, and their state as named tensors (no pickle)."""

from __future__ import annotations

from typing import Any

import torch

from sidestep_tui.core.errors import RunError, SettingsError
from sidestep_tui.core.text import listing
from sidestep_tui.schema.optim import OptimSettings

_FUSED_DEVICES = ("cuda", "cpu", "mps")


def build(
    optim: OptimSettings, parameters: dict[str, torch.nn.Parameter], device: torch.device
) -> torch.optim.Optimizer:
    """The optimizer that the settings ask for, over `parameters` in their order."""
    values = list(parameters.values())
    options: dict[str, Any] = {
        "lr": optim.lr,
        "betas": (optim.beta1, optim.beta2),
        "eps": optim.eps,
        "weight_decay": optim.weight_decay,
    }
    if optim.optimizer == "adamw8bit":
        return _adamw8bit(values, options)
    return torch.optim.AdamW(values, fused=device.type in _FUSED_DEVICES, **options)


def _adamw8bit(values: list[torch.nn.Parameter], options: dict[str, Any]) -> torch.optim.Optimizer:
    bitsandbytes = _bitsandbytes()
    optimizer: torch.optim.Optimizer = bitsandbytes.optim.AdamW8bit(values, **options)
    return optimizer


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
        group["lr"] = lr


def state_tensors(
    optimizer: torch.optim.Optimizer, parameters: dict[str, torch.nn.Parameter]
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The optimizer's state as CPU tensors and as plain numbers, both keyed `<parameter name>|<entry>`."""
    tensors: dict[str, torch.Tensor] = {}
    numbers: dict[str, Any] = {}
    for name, parameter in parameters.items():
        for entry, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, torch.Tensor):
                tensors[f"{name}|{entry}"] = value.detach().to("cpu", copy=True).contiguous()
            else:
                numbers[f"{name}|{entry}"] = value
    return tensors, numbers


def restore_state(
    optimizer: torch.optim.Optimizer,
    parameters: dict[str, torch.nn.Parameter],
    tensors: dict[str, torch.Tensor],
    numbers: dict[str, Any],
) -> int:
    """Put back what `state_tensors` returned; returns the number of tensors.

    Learning rate and other options stay those of the optimizer at hand, so that edited settings take effect.
    Raises RunError unless every parameter and every entry finds its counterpart.
    """
    index = {name: position for position, name in enumerate(parameters)}
    state: dict[int, dict[str, Any]] = {}
    for key, value in (*tensors.items(), *numbers.items()):
        name, _, entry = key.rpartition("|")
        if name not in index:
            raise RunError("The checkpoint does not fit this run.", f"Its optimizer knows a weight '{name}'.")
        state.setdefault(index[name], {})[entry] = value
    if missing := [name for name in parameters if index[name] not in state]:
        raise RunError(
            "The checkpoint is not complete.",
            f"The optimizer state of {len(missing)} of {len(parameters)} tensors is missing: {listing(missing, 2)}.",
            "Delete this checkpoint to resume from the one before it.",
        )
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return len(tensors)
