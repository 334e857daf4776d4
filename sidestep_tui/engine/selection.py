"""Which modules of the diffusers transformer an adapter goes to, and what of that a resumed run must share."""

from __future__ import annotations

import re
from typing import Final

import torch

from sidestep_tui.core.errors import AdapterError
from sidestep_tui.core.text import listing
from sidestep_tui.engine.keymap import path_to_diffusers
from sidestep_tui.schema import adapter_targets
from sidestep_tui.schema.adapter import AdapterSettings

_LAYER_TARGET: Final = re.compile(r"layers\.(?P<layer>\d+)\.(?P<target>.+)")


def target_suffixes(settings: AdapterSettings) -> tuple[str, ...]:
    """What the settings select inside each layer: `self_attn.to_q`, `mlp.up_proj`, …"""
    return tuple(_module_name((0, part)).removeprefix("layers.0.") for part in adapter_targets.parts(settings))


def module_names(settings: AdapterSettings) -> list[str]:
    """Full names of the selected modules of the layers that the settings list, in diffusers names; needs no model."""
    return [_module_name(matrix) for matrix in adapter_targets.matrices(settings, adapter_targets.MANY_LAYERS)]


def _module_name(matrix: adapter_targets.Matrix) -> str:
    """What the model in memory calls a matrix: `layers.3.self_attn.to_q`."""
    return path_to_diffusers(adapter_targets.original_name(matrix))


def kind_settings(settings: AdapterSettings) -> dict[str, object]:
    """The settings of the chosen kind and its targets that a resumed run must share, by path.

    What is not used is None, as in checkpoints from before it could be.
    """
    values = settings.model_dump()
    own = [name for name in values if settings.kind in ("lokr", "oft") and name.startswith(f"{settings.kind}_")]
    layers = [number for first, last in adapter_targets.spans(settings.layers) for number in range(first, last + 1)]
    return {
        **{f"adapter.{name}": values[name] for name in own},
        "adapter.layers": adapter_targets.layers_text(layers) or None,
        **{f"adapter.{name}": values[name].replace(" ", "") or None for name in ("rank_pattern", "alpha_pattern")},
        "adapter.start_from": settings.start_from or None,
        "adapter.init": None if settings.init == "default" else settings.init,
    }


def refuse_empty(settings: AdapterSettings) -> None:
    """Raise AdapterError when the settings select nothing, or nothing that could be; needs no model."""
    if not target_suffixes(settings):
        raise AdapterError(
            "There is nothing to train.",
            "No attention (attention = none) and no MLP layers are selected.",
            "Choose attention 'both', 'self' or 'cross', or switch the MLP layers on.",
        )
    _refuse_misfits(settings, None)


def _refuse_misfits(settings: AdapterSettings, layers: int | None) -> None:
    for path, sentence in adapter_targets.misfits(settings, layers):
        raise AdapterError(f"{path} does not fit the model.", sentence, f"Change {path}, or leave it empty.")


def target_modules(transformer: torch.nn.Module, settings: AdapterSettings) -> list[str]:
    """Full names of the modules to adapt, in model order.

    Raises AdapterError when nothing is selected, when a selected part or layer does not exist in the model, or when a
    pattern matches none of them.
    """
    refuse_empty(settings)
    wanted = set(target_suffixes(settings))
    found: dict[int, dict[str, str]] = {}
    for name, module in transformer.named_modules():
        match = _LAYER_TARGET.fullmatch(name)
        if match and match["target"] in wanted and isinstance(module, torch.nn.Linear):
            found.setdefault(int(match["layer"]), {})[match["target"]] = name
    if missing := sorted(wanted - {target for layer in found.values() for target in layer}):
        raise AdapterError(
            "The adapter's targets are not in this model.",
            f"No layer has {listing(missing)}.",
            "Check that the checkpoint is an ACE-Step 1.5 transformer.",
        )
    _refuse_misfits(settings, len(found))
    chosen = adapter_targets.layers_of(settings, len(found))
    return [name for layer in chosen for name in found[layer].values()]
