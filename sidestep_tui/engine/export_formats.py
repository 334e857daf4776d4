"""One adapter in the file formats of its consumers: ComfyUI, diffusers, peft (ACE-Step's own app), LyCORIS.

Factors are copied as they are, in their own precision; what changes is names and where the scale is said. Only two
things are computed: a scale that a format has no place for is multiplied into a factor, and DoRA's magnitudes are
restated for ComfyUI, which divides by the length of the base's rows where everyone else divides by that of the sums.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, get_args

import torch

from sidestep_tui.core.errors import AdapterError
from sidestep_tui.engine.adapter_facts import AdapterFacts, Parts, lycoris_names, own_names, whole
from sidestep_tui.engine.keymap import path_to_diffusers
from sidestep_tui.schema import adapter_maths, adapter_names

Target = Literal["comfyui", "diffusers", "peft", "lycoris"]
TARGETS: Final[tuple[Target, ...]] = get_args(Target)
Base = Callable[[str], torch.Tensor]
"""Gives the base's weight [out, in] of a module, by its path in the original code."""

_WHOLE_DIM: Final = 10_000
_READERS: Final[dict[str, tuple[Target, ...]]] = {
    "lora": ("comfyui", "diffusers", "peft", "lycoris"),
    "dora": ("comfyui", "diffusers", "peft", "lycoris"),
    "lokr": ("comfyui", "diffusers", "lycoris"),
    "loha": ("comfyui", "lycoris"),
    "oft": ("peft",),
}
_REASONS: Final[dict[tuple[str, Target], str]] = {
    (
        "lokr",
        "peft",
    ): "A Kronecker product is no product of low rank, and ACE-Step's app reads LoKr from LyCORIS files.",
    ("loha", "peft"): "peft's own LoHa files are read by nothing that plays ACE-Step.",
    ("loha", "diffusers"): "diffusers reads LoRA, DoRA and LoKr, not LoHa.",
    (
        "oft",
        "comfyui",
    ): "ComfyUI's OFT turns what comes out of a layer, peft's what goes in: they are different changes.",
    ("oft", "diffusers"): "diffusers reads LoRA, DoRA and LoKr, not OFT.",
    (
        "oft",
        "lycoris",
    ): "LyCORIS' OFT turns what comes out of a layer, peft's what goes in: they are different changes.",
}


@dataclass(frozen=True, slots=True)
class Converted:
    """An adapter ready to be written: one file, or for peft a directory with its configuration."""

    target: Target
    tensors: dict[str, torch.Tensor]
    metadata: dict[str, str]
    config: dict[str, Any] | None = None
    notes: tuple[str, ...] = field(default=())


def targets_of(kind: str) -> tuple[Target, ...]:
    """The formats that an adapter of this kind can be written in."""
    return _READERS[kind]


def refuse_impossible(facts: AdapterFacts, target: Target, *, has_base: bool) -> None:
    """Raise AdapterError with the reason, and what can be done, if `target` cannot hold this adapter."""
    name = adapter_maths.KIND_NAMES[facts.kind]
    possible = _READERS[facts.kind]
    if target not in possible:
        raise AdapterError(
            f"{name} cannot be written for {target}.",
            _REASONS[facts.kind, target],
            f"Possible for {name}: --to {' or '.join(possible)}.",
        )
    if facts.kind == "dora" and not has_base and (facts.dora_on_base or target == "comfyui"):
        raise AdapterError(
            "This conversion needs the base model.",
            "ComfyUI divides DoRA's magnitudes by the length of the base's rows, others by that of the changed rows.",
            "Say which checkpoint it was trained on with --model DIR.",
        )


def convert(facts: AdapterFacts, parts: Mapping[str, Parts], target: Target, base: Base | None = None) -> Converted:
    """The adapter in the format `target`. `base` is needed where DoRA goes to ComfyUI or comes from there.

    Raises AdapterError where the format cannot hold it, see `refuse_impossible`.
    """
    refuse_impossible(facts, target, has_base=base is not None)
    metadata = {"format": "pt"}
    if own := facts.metadata.get(adapter_names.OWN_METADATA):
        metadata[adapter_names.OWN_METADATA] = own
    if base is not None and facts.kind == "dora" and facts.dora_on_base != (target == "comfyui"):
        parts = {
            name: _restated(facts, name, found, base, to_base=target == "comfyui") for name, found in parts.items()
        }
    if target == "comfyui":
        return _comfyui(facts, parts, metadata)
    if target == "diffusers":
        return _diffusers(facts, parts, metadata)
    return _peft(facts, parts, metadata) if target == "peft" else _lycoris(facts, parts, metadata)


def _restated(facts: AdapterFacts, module: str, found: Parts, base: Base, *, to_base: bool) -> Parts:
    """DoRA's magnitudes for ComfyUI, or back: m ‖W‖ / ‖W + ΔW‖ by row.

    peft and LyCORIS compute m (W + ΔW) / ‖W + ΔW‖ (Liu et al. 2024, "DoRA", eq. 5); ComfyUI's `weight_decompose`
    computes m (W + ΔW) / (‖W‖ + ε). With the restated m both are the same at strength 1.
    """
    weight = base(module).double()
    change = facts.scales[module] * (found["lora_B"].double().flatten(1) @ found["lora_A"].double().flatten(1))
    if change.shape != weight.shape:
        raise AdapterError(
            "The adapter does not fit the model.",
            f"{facts.file}: {module} changes {list(change.shape)}, the model has {list(weight.shape)}.",
            "Choose the checkpoint that it was trained on with --model DIR.",
        )
    own = torch.linalg.vector_norm(weight, dim=1) + torch.finfo(torch.float32).eps
    changed = torch.linalg.vector_norm(weight + change, dim=1)
    ratio = own / changed if to_base else changed / own
    return {**found, "magnitude": (found["magnitude"].double() * ratio).to(found["magnitude"].dtype)}


def _comfyui(facts: AdapterFacts, parts: Mapping[str, Parts], metadata: dict[str, str]) -> Converted:
    """One file in names that every ComfyUI with ACE-Step 1.5 maps, with an alpha beside each module."""
    if facts.kind == "dora":
        metadata[adapter_names.DORA_METADATA] = "comfyui"
    if facts.kind in ("lokr", "loha"):
        return Converted("comfyui", lycoris_names(facts, parts, adapter_names.COMFYUI_PREFIX), metadata)
    return Converted("comfyui", _kohya(facts, parts, lambda name: adapter_names.COMFYUI_PREFIX + name), metadata)


def _kohya(facts: AdapterFacts, parts: Mapping[str, Parts], stem_of: Callable[[str], str]) -> dict[str, torch.Tensor]:
    """Low rank as kohya's scripts spell it. `dora_scale` is a column: loaders multiply rows by it."""
    tensors: dict[str, torch.Tensor] = {}
    for module, found in parts.items():
        stem = stem_of(module)
        tensors[f"{stem}.lora_down.weight"] = found["lora_A"]
        tensors[f"{stem}.lora_up.weight"] = found["lora_B"]
        tensors[f"{stem}.alpha"] = torch.tensor(facts.alphas[module], dtype=torch.float32)
        if "magnitude" in found:
            tensors[f"{stem}.dora_scale"] = found["magnitude"].unsqueeze(1)
    return tensors


def _diffusers(facts: AdapterFacts, parts: Mapping[str, Parts], metadata: dict[str, str]) -> Converted:
    """One file for `load_lora_weights` of the pipeline, or for LoKr `load_lora_adapter` of its transformer."""
    prefix = adapter_names.DIFFUSERS_PREFIX
    if facts.kind == "lokr":
        _refuse_uneven(facts, parts)
        tensors = {
            f"{prefix}{path_to_diffusers(module)}.{part}": tensor
            for module, found in parts.items()
            for part, tensor in _baked(found, facts.scales[module]).items()
        }
        note = "Load it with pipe.transformer.load_lora_adapter(FILE): load_lora_weights of the pipeline refuses LoKr."
        return Converted("diffusers", tensors, metadata, notes=(note,))
    tensors = {
        prefix + path_to_diffusers(name.removeprefix(adapter_names.PEFT_PREFIX)): tensor
        for name, tensor in own_names(facts, parts).items()
    }
    metadata[adapter_names.DIFFUSERS_METADATA] = _embedded(facts)
    return Converted("diffusers", tensors, metadata)


def _embedded(facts: AdapterFacts) -> str:
    """The configuration that diffusers looks for inside the file; without it, it takes alpha = rank."""
    options = {**facts.peft_config(), "lora_dropout": 0.0, "bias": "none"}
    options.pop("peft_type")
    for pattern in ("rank_pattern", "alpha_pattern"):
        options[pattern] = {path_to_diffusers(name): value for name, value in options[pattern].items()}
    options["target_modules"] = [path_to_diffusers(module) for module in facts.modules]
    prefixed = {f"{adapter_names.DIFFUSERS_PREFIX}{key}": value for key, value in options.items()}
    return json.dumps(prefixed, sort_keys=True)


def _baked(found: Parts, scale: float) -> Parts:
    """LoKr factors with the scale in the first of them, in single precision at least."""
    name = "lokr_w1" if "lokr_w1" in found else "lokr_w1_a"
    return found if scale == 1.0 else {**found, name: found[name].float() * scale}


def _refuse_uneven(facts: AdapterFacts, parts: Mapping[str, Parts]) -> None:
    """diffusers rebuilds every module from one factor, which it finds by trying (`_create_lokr_config` of 0.42)."""
    sizes = {module: (_sides(found, "lokr_w1"), _sides(found, "lokr_w2")) for module, found in parts.items()}
    for factor in (*sorted({first[0] for first, _ in sizes.values()}), -1):
        if all(
            adapter_maths.factors(first[side] * second[side], factor) == (first[side], second[side])
            for first, second in sizes.values()
            for side in (0, 1)
        ):
            return
    raise AdapterError(
        "This LoKr cannot be written for diffusers.",
        f"{facts.file} divides its matrices by different factors, and diffusers wants one for all.",
        "Use --to comfyui or lycoris.",
    )


def _sides(found: Parts, name: str) -> tuple[int, int]:
    left, right = (found[name], found[name]) if name in found else (found[f"{name}_a"], found[f"{name}_b"])
    return int(left.shape[0]), int(right.shape[1])


def _peft(facts: AdapterFacts, parts: Mapping[str, Parts], metadata: dict[str, str]) -> Converted:
    """A directory in original names: what ACE-Step's app loads, readable for diffusers too."""
    if facts.kind == "oft":
        if "oft_block_size" not in facts.config:
            raise AdapterError(
                "The OFT adapter is not complete.",
                f"{adapter_names.PEFT_CONFIG} is missing beside {facts.file}: it says how the numbers turn layers.",
                "Give the directory that holds both.",
            )
    else:
        metadata[adapter_names.DIFFUSERS_METADATA] = _embedded(facts)
    config = {
        "task_type": None,
        "auto_mapping": None,
        "revision": None,
        "bias": "none",
        "modules_to_save": None,
        "fan_in_fan_out": False,
        "layers_to_transform": None,
        "layers_pattern": None,
        **({} if facts.kind == "oft" else {"init_lora_weights": True, "lora_dropout": 0.0}),
        **facts.peft_config(),
        "inference_mode": True,
        "base_model_name_or_path": _base_name(facts),
        "target_modules": list(facts.modules),
    }
    return Converted("peft", own_names(facts, parts), metadata, config)


def _base_name(facts: AdapterFacts) -> str:
    """What the adapter says it was trained on, without the folders of whoever trained it."""
    try:
        own = json.loads(facts.metadata.get(adapter_names.OWN_METADATA, "{}"))
    except ValueError:
        own = {}
    known = own.get("base_model") if isinstance(own, dict) else None
    return Path(str(known or facts.config.get("base_model_name_or_path") or "")).name


def _lycoris(facts: AdapterFacts, parts: Mapping[str, Parts], metadata: dict[str, str]) -> Converted:
    """A LyCORIS file with its configuration inside, where ACE-Step's app looks for LoKr."""
    metadata["format"] = "lycoris"
    if facts.kind in ("lora", "dora"):
        metadata["algo"] = "lora"
        names = _kohya(facts, parts, lambda name: adapter_names.LYCORIS_PREFIX + name.replace(".", "_"))
        return Converted("lycoris", names, metadata)
    metadata["algo"] = facts.kind
    document = facts.config if "linear_dim" in facts.config else _document(facts, parts)
    metadata[f"{facts.kind}_config"] = json.dumps(document, sort_keys=True)
    return Converted("lycoris", lycoris_names(facts, parts), metadata)


def _document(facts: AdapterFacts, parts: Mapping[str, Parts]) -> dict[str, Any]:
    """`lokr_config` from the weights alone, for files that came without one."""
    ranks = [rank for rank in facts.ranks.values() if rank is not None]
    dimension = ranks[0] if ranks else _WHOLE_DIM
    alphas = [facts.alphas[name] for name, rank in facts.ranks.items() if rank is not None]
    document: dict[str, Any] = {
        "linear_dim": dimension,
        "linear_alpha": whole(alphas[0]) if alphas else _WHOLE_DIM,
        "use_tucker": False,
        "use_scalar": False,
        "weight_decompose": False,
        "target_modules": list(facts.modules),
        "bypass_mode": True,
        "rs_lora": False,
    }
    if facts.kind == "loha":
        return document
    small = {_sides(found, "lokr_w1") for found in parts.values()}
    even = all(
        adapter_maths.factors(shape[side], -1)[0] == _sides(parts[module], "lokr_w1")[side]
        for module, shape in facts.shapes.items()
        for side in (0, 1)
    )
    return document | {
        "factor": -1 if even else max(max(sides) for sides in small),
        "decompose_both": any("lokr_w1_a" in found for found in parts.values()),
        "full_matrix": not ranks,
        "unbalanced_factorization": False,
    }
