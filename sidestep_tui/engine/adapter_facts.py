"""What an adapter file says about itself, in one form for all formats, and whether a model is the one it is for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import torch

from sidestep_tui.core import text
from sidestep_tui.core.errors import AdapterError
from sidestep_tui.engine.keymap import path_to_diffusers
from sidestep_tui.schema import adapter_names
from sidestep_tui.schema.adapter_names import Layout

Kind = Literal["lora", "dora", "lokr", "loha", "oft"]
Parts = dict[str, torch.Tensor]
"""The tensors of one module by canonical part: lora_A, lora_B, magnitude [out], lokr_w1, …; alpha is a scale by now."""

_SIZES: Final = {(2048, 24): "2B", (2560, 32): "XL"}


@dataclass(frozen=True, slots=True)
class AdapterFacts:
    """What a file says about its adapter. Modules go by their paths in the original code."""

    file: Path
    kind: Kind
    layout: Layout
    scales: dict[str, float]
    """What each module's product of factors is multiplied by, at strength 1; rsLoRA's √rank is in it."""
    ranks: dict[str, int | None]
    """Inner dimension of the factors; None where nothing is split (whole LoKr factors, OFT)."""
    shapes: dict[str, tuple[int, int]]
    """The matrix [out, in] that each module changes; absent where the file alone does not tell."""
    stored: dict[str, float]
    """The alphas that lie beside the weights; without meaning where nothing is split."""
    config: dict[str, Any]
    """adapter_config.json, lokr_config or what is embedded for diffusers, as it was."""
    metadata: dict[str, str]
    dora_on_base: bool = False
    """`dora_scale` counts on the length of the base's rows, as ComfyUI computes: only the base can undo that."""
    notes: tuple[str, ...] = ()

    @property
    def modules(self) -> tuple[str, ...]:
        """The adapted modules, in order of the file."""
        return tuple(self.scales)

    @property
    def alphas(self) -> dict[str, float]:
        """By module, the alpha with which loaders of alpha / rank arrive at the scale."""
        return {
            name: self.stored.get(name, 1.0) if (rank := self.ranks[name]) is None else alpha_for(scale, rank)
            for name, scale in self.scales.items()
        }

    @property
    def width(self) -> int | None:
        """The width of the model that the adapter is for, where its modules tell."""
        widths = {shape[0 if _is_out(name) else 1] for name, shape in self.shapes.items() if _tells_width(name)}
        return widths.pop() if len(widths) == 1 else None

    @property
    def depth(self) -> int:
        """How many layers the model must have at least."""
        return max(
            (layer + 1 for name in self.scales if (layer := adapter_names.layer_of(name)) is not None), default=0
        )

    def peft_config(self) -> dict[str, Any]:
        """Rank and alpha as peft's configuration says them, with patterns where modules differ; original names."""
        if self.kind == "oft":
            return {**self.config, "peft_type": "OFT"}
        ranks = {name: rank for name, rank in self.ranks.items() if rank is not None}
        alphas = self.alphas
        rank, alpha = _commonest(list(ranks.values())), _commonest(list(alphas.values()))
        return {
            "peft_type": "LORA",
            "r": rank,
            "lora_alpha": whole(alpha),
            "use_dora": self.kind == "dora",
            "use_rslora": False,
            "rank_pattern": {name: value for name, value in ranks.items() if value != rank},
            "alpha_pattern": {name: whole(value) for name, value in alphas.items() if value != alpha},
        }


def alpha_for(scale: float, rank: int) -> float:
    """The alpha for which alpha / rank is `scale` to the last bit, where there is one."""
    alpha = scale * rank
    candidates = (alpha, math.nextafter(alpha, math.inf), math.nextafter(alpha, -math.inf))
    return next((value for value in candidates if value / rank == scale), alpha)


def own_names(facts: AdapterFacts, parts: Mapping[str, Parts]) -> dict[str, torch.Tensor]:
    """Tensors by module and part, under the names of our own adapter files."""
    if facts.kind in ("lokr", "loha"):
        return lycoris_names(facts, parts)
    tensors = {}
    for module, found in parts.items():
        for part, tensor in found.items():
            ending = "lora_magnitude_vector" if part == "magnitude" else f"{part}.weight"
            tensors[f"{adapter_names.PEFT_PREFIX}{module}.{ending}"] = tensor
    return tensors


def lycoris_names(facts: AdapterFacts, parts: Mapping[str, Parts], prefix: str = "lycoris_") -> dict[str, torch.Tensor]:
    """As `own_names` for LyCORIS kinds, with an alpha beside every module; `prefix` ends in the separator to use."""
    separator = prefix[-1]
    tensors: dict[str, torch.Tensor] = {}
    for module, found in parts.items():
        stem = prefix + module.replace(".", separator)
        tensors[f"{stem}.alpha"] = torch.tensor(facts.alphas[module], dtype=torch.float32)
        tensors |= {f"{stem}.{part}": tensor for part, tensor in found.items()}
    return tensors


def refuse_other_model(facts: AdapterFacts, transformer: torch.nn.Module) -> None:
    """Raise AdapterError with the reason if the adapter was made for a model of another size than `transformer`."""
    width, depth = int(transformer.config.hidden_size), int(transformer.config.num_hidden_layers)
    if facts.width not in (None, width) or facts.depth > depth:
        made = _size_words(facts.width, facts.depth, least=True)
        raise AdapterError(
            "The adapter was trained for another size of model.",
            f"{facts.file} is for {made}; this model has {_size_words(width, depth)}.",
            "Choose the checkpoint that it was trained on, or another adapter.",
        )
    for module, shape in facts.shapes.items():
        try:
            layer = transformer.get_submodule(path_to_diffusers(module))
        except AttributeError:
            raise broken(facts.file, module, "the model has no such module") from None
        if isinstance(layer, torch.nn.Linear) and (layer.out_features, layer.in_features) != shape:
            size = f"{layer.out_features} × {layer.in_features}"
            raise broken(facts.file, module, f"it changes a matrix of {shape[0]} × {shape[1]}, which is {size} here")


def broken(file: Path, key: str, why: str) -> AdapterError:
    """The refusal of a file that makes no sense at `key`."""
    return AdapterError("The adapter cannot be used.", f"{file}: {key}: {why}.", "Use another copy or export of it.")


def _size_words(width: int | None, depth: int, *, least: bool = False) -> str:
    name = next((f" ({name})" for (w, d), name in _SIZES.items() if w == width and (d == depth or least)), "")
    layers = f"{'at least ' if least else ''}{text.plural(depth, 'layer')}"
    return (f"width {width} and {layers}" if width is not None else layers) + name


def _is_out(module: str) -> bool:
    return module.endswith(("o_proj", "down_proj"))


def _tells_width(module: str) -> bool:
    """The model's own width is what these take in or give out; keys of the conditions have another."""
    into = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "cross_attn.q_proj", "gate_proj", "up_proj")
    return module.startswith("layers.") and (_is_out(module) or module.endswith(into))


def _commonest(values: list[Any]) -> Any:
    return max(dict.fromkeys(values), key=values.count)


def whole(value: float) -> float | int:
    return int(value) if float(value).is_integer() else value
