"""Adapter files of every trainer that we know, read into one form: names of our own files, one scale a module.

What is read: peft directories (LoRA, DoRA, OFT, LoKr, LoHa), diffusers' and ComfyUI's single files, LyCORIS files; in
original or diffusers module names, with or without `.default.`, alpha or metadata (ACESTEP_FACTS.md §5). Nothing is
read in part: a key that has no meaning here refuses the file and is named.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open

from sidestep_tui.core.errors import AdapterError
from sidestep_tui.engine.adapter_facts import AdapterFacts, Kind, Parts, broken, own_names
from sidestep_tui.schema import adapter_names
from sidestep_tui.schema.adapter_names import Layout

_LOW_RANK: Final = ("lora_A", "lora_B")
_NO_ALPHA: Final = "The file gives no alpha: its change is taken as it is (scale 1), as ComfyUI and diffusers do."


def read_any(path: Path) -> tuple[AdapterFacts, dict[str, torch.Tensor]]:
    """Read the adapter at `path` (a file, its directory or a run) on the CPU, in the dtype it is stored in.

    Returns what it says about itself and its tensors under the names of our own files: `base_model.model.<path>.lora_A`
    `.weight` and the like, or `lycoris_<path>.lokr_w1` with `.alpha`. Raises AdapterError naming the file and the first
    key that is foreign, lonely, doubled or of a shape that makes no sense.
    """
    facts, parts = read_parts(path)
    return facts, own_names(facts, parts)


def read_parts(path: Path) -> tuple[AdapterFacts, dict[str, Parts]]:
    """As `read_any`, but by module (path in the original code) and canonical part, without alphas."""
    file = adapter_names.weights_file(path)
    stored, metadata = _load(file)
    keys = _keys(file, stored)
    parts, alphas = _grouped(file, stored, keys)
    kind = _kind(file, parts)
    layout = adapter_names.layout(kind, list(stored))
    config = _config(file, metadata, layout)
    notes = _notes(keys)
    _fold_scalars(parts)
    for module, found in parts.items():
        _check(file, module, found, kind)
    scales, assumed = _scales(file, kind, layout, parts, alphas, config)
    facts = AdapterFacts(
        file=file,
        kind=kind,
        layout=layout,
        scales=scales,
        ranks={module: _rank(found) for module, found in parts.items()},
        shapes={module: shape for module, found in parts.items() if (shape := _matrix(found)) is not None},
        stored=alphas,
        config=config,
        metadata=metadata,
        dora_on_base=metadata.get(adapter_names.DORA_METADATA) == "comfyui",
        notes=(*notes, *([_NO_ALPHA] if assumed else [])),
    )
    return facts, parts


def _load(file: Path) -> tuple[Parts, dict[str, str]]:
    if file.suffix != ".safetensors":
        raise AdapterError(
            "This file is not read.",
            f"{file} is no safetensors file; other kinds can run code when they are opened.",
            "Save it as safetensors where it was made.",
        )
    try:
        with safe_open(file, framework="pt") as handle:
            return {key: handle.get_tensor(key) for key in handle.keys()}, handle.metadata() or {}
    except (OSError, SafetensorError, ValueError) as error:
        raise AdapterError("The adapter cannot be read.", f"{file}: {error}", "Use another copy of it.") from error


def _keys(file: Path, stored: Parts) -> dict[str, adapter_names.Key]:
    """Every key taken apart; the first that means nothing here refuses the file."""
    keys: dict[str, adapter_names.Key] = {}
    for key in stored:
        parsed = adapter_names.parse(key)
        if parsed is None:
            raise AdapterError(
                "This file is not an adapter that is understood.",
                f"{file}: {key} is no part of a LoRA, DoRA, LoKr, LoHa or OFT adapter.",
                "Choose adapter_model.safetensors of an adapter, not the model's own weights.",
            )
        if parsed.module is None:
            raise AdapterError(
                "This adapter is not for ACE-Step 1.5's decoder.",
                f"{file}: {key}: there is no module of that name.",
                "Choose an adapter that was trained for ACE-Step 1.5.",
            )
        if parsed.part in ("lora_mid", "lokr_t2", "hada_t1", "hada_t2"):
            raise broken(file, key, "Tucker decompositions are not understood")
        keys[key] = parsed
    if not keys:
        raise AdapterError("This file is empty.", f"{file} holds no tensors.", "Use another copy of it.")
    return keys


def _grouped(
    file: Path, stored: Parts, keys: Mapping[str, adapter_names.Key]
) -> tuple[dict[str, Parts], dict[str, float]]:
    """Tensors by module and part, and the alphas apart from them."""
    parts: dict[str, Parts] = {}
    alphas: dict[str, float] = {}
    for key, parsed in keys.items():
        module = str(parsed.module)
        tensor = stored[key]
        if parsed.part == "alpha":
            if tensor.numel() != 1 or not math.isfinite(float(tensor)):
                raise broken(file, key, "it is not one finite number")
            alphas[module] = float(tensor)
            continue
        found = parts.setdefault(module, {})
        if parsed.part in found:
            raise broken(file, key, "the same weights are there under another name too")
        found[parsed.part] = tensor.flatten() if parsed.part == "magnitude" else tensor
    if lonely := sorted(alphas.keys() - parts.keys()):
        raise broken(file, lonely[0], "there is an alpha but no weights")
    return parts, alphas


def _kind(file: Path, parts: Mapping[str, Parts]) -> Kind:
    kinds: dict[Kind, str] = {}
    for module, found in parts.items():
        names = set(found)
        if names & set(_LOW_RANK):
            kinds["dora" if "magnitude" in names else "lora"] = module
        elif any(name.startswith("lokr_") for name in names):
            kinds["lokr"] = module
        elif any(name.startswith("hada_") for name in names):
            kinds["loha"] = module
        elif any(name.startswith("oft_") for name in names):
            kinds["oft"] = module
        else:
            raise broken(file, module, f"{sorted(names)[0]} alone is no adapter")
        if "magnitude" in names and not names & set(_LOW_RANK):
            raise broken(file, module, "a LoKr or LoHa with DoRA's magnitudes is not understood")
    if len(kinds) > 1:
        (first, one), (second, other) = list(kinds.items())[:2]
        raise broken(file, other, f"it is a {second} module, but {one} is {first}; one file must be of one kind")
    return next(iter(kinds))


def _config(file: Path, metadata: Mapping[str, str], layout: Layout) -> dict[str, Any]:
    """What the file is configured by: for peft what lies beside it, else what is embedded."""
    beside = file.parent / adapter_names.PEFT_CONFIG
    if layout == "peft" and file.name == adapter_names.PEFT_FILE and beside.is_file():
        return _json(beside, beside.read_text("utf-8", "replace"))
    for name in ("lokr_config", "loha_config"):
        if name in metadata:
            return _json(file, metadata[name])
        if layout == "lycoris" and (file.parent / f"{name}.json").is_file():
            return _json(file.parent / f"{name}.json", (file.parent / f"{name}.json").read_text("utf-8", "replace"))
    embedded = _json(file, metadata.get(adapter_names.DIFFUSERS_METADATA, "{}"))
    return {str(key).removeprefix(adapter_names.DIFFUSERS_PREFIX): value for key, value in embedded.items()}


def _json(file: Path, source: str) -> dict[str, Any]:
    try:
        value = json.loads(source)
    except ValueError as error:
        raise AdapterError("The adapter cannot be read.", f"{file}: {error}.", "Use another copy of it.") from error
    return value if isinstance(value, dict) else {}


def _notes(keys: Mapping[str, adapter_names.Key]) -> list[str]:
    infix = next((parsed.infix for parsed in keys.values() if parsed.infix), None)
    return [f"Names contain '.{infix}.', which was left out."] if infix else []


def _fold_scalars(parts: Mapping[str, Parts]) -> None:
    """Multiply LyCORIS' trainable `scalar` into a factor: it is one more number in the product."""
    for found in parts.values():
        scalar = found.pop("scalar", None)
        if scalar is not None:
            first = next(name for name in ("lora_B", "lokr_w1", "lokr_w1_a", "hada_w1_a") if name in found)
            found[first] = found[first] * scalar.to(found[first].dtype)


def _check(file: Path, module: str, found: Parts, kind: Kind) -> None:
    """Every part has its partner, and the shapes fit."""
    wanted: list[tuple[str, ...]] = []
    if kind in ("lora", "dora"):
        wanted = [_LOW_RANK + (("magnitude",) if kind == "dora" else ())]
    elif kind == "loha":
        wanted = [("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")]
    elif kind == "lokr":
        pair = ("lokr_w1", "lokr_w2")
        wanted = [(name,) if name in found else (f"{name}_a", f"{name}_b") for name in pair]
    names = [name for group in wanted for name in group]
    for name in names:
        if name not in found:
            raise broken(file, f"{module}.{next(iter(found))}", f"its {name} is missing")
    for name in names:
        if name != "magnitude" and (found[name].dim() < 2 or 0 in found[name].shape):
            raise broken(file, f"{module}.{name}", f"shape {list(found[name].shape)} is no matrix")
    if extra := [name for name in found if names and name not in names]:
        raise broken(file, f"{module}.{extra[0]}", "it is not expected beside the others")
    for left, right in (
        ("lora_B", "lora_A"),
        *((f"{n}_a", f"{n}_b") for n in ("lokr_w1", "lokr_w2", "hada_w1", "hada_w2")),
    ):
        if left in found and right in found and found[left].shape[1] != found[right].shape[0]:
            shapes = f"{list(found[left].shape)} does not fit {list(found[right].shape)}"
            raise broken(file, f"{module}.{left}", f"its shape {shapes} of {right}")
    if "magnitude" in found and found["magnitude"].numel() != found["lora_B"].shape[0]:
        raise broken(file, f"{module}.magnitude", "it does not have one number for each output")


def _rank(found: Parts) -> int | None:
    split = next((name for name in ("lora_A", "lokr_w1_b", "lokr_w2_b", "hada_w1_b") if name in found), None)
    return None if split is None else int(found[split].shape[0])


def _matrix(found: Parts) -> tuple[int, int] | None:
    """Outputs and inputs of the layer that these weights change."""
    if "lora_A" in found:
        return int(found["lora_B"].shape[0]), math.prod(found["lora_A"].shape[1:])
    if "hada_w1_a" in found:
        return int(found["hada_w1_a"].shape[0]), int(found["hada_w1_b"].shape[1])
    if "lokr_w1" in found or "lokr_w1_a" in found:
        sizes = [1, 1]
        for name in ("lokr_w1", "lokr_w2"):
            left, right = (found[name], found[name]) if name in found else (found[f"{name}_a"], found[f"{name}_b"])
            sizes = [sizes[0] * int(left.shape[0]), sizes[1] * int(right.shape[1])]
        return sizes[0], sizes[1]
    return None


def _scales(
    file: Path,
    kind: Kind,
    layout: Layout,
    parts: Mapping[str, Parts],
    alphas: Mapping[str, float],
    config: dict[str, Any],
) -> tuple[dict[str, float], bool]:
    """The scale of each module as its own loaders compute it, and whether any had to be assumed."""
    scales: dict[str, float] = {}
    assumed = False
    for module, found in parts.items():
        rank = _rank(found)
        if kind == "oft":
            scales[module] = 1.0
        elif kind in ("lokr", "loha"):
            scales[module] = _lycoris_scale(module, found, rank, layout, alphas.get(module), config)
        elif module in alphas and rank is not None:
            scales[module] = alphas[module] / rank
        elif (alpha := _configured(module, config, "lora_alpha", "alpha_pattern")) is not None and rank is not None:
            scales[module] = alpha / (math.sqrt(rank) if config.get("use_rslora") is True else rank)
        else:
            scales[module], assumed = 1.0, True
    if any(not math.isfinite(scale) for scale in scales.values()):
        raise broken(
            file, next(name for name, scale in scales.items() if not math.isfinite(scale)), "its alpha is no number"
        )
    return scales, assumed


def _lycoris_scale(
    module: str, found: Parts, rank: int | None, layout: Layout, stored: float | None, config: dict[str, Any]
) -> float:
    """LyCORIS divides alpha by the dimension and leaves whole factors alone; peft scales those too, which is folded."""
    if layout == "peft" and str(config.get("peft_type", "")).upper() in ("LOKR", "LOHA"):
        alpha = _configured(module, config, "alpha", "alpha_pattern")
        divisor = _configured(module, config, "r", "rank_pattern")
        scale = alpha / divisor if alpha is not None and divisor else 1.0
        if rank is None and scale != 1.0:
            found["lokr_w1"] = found["lokr_w1"] * scale
        return 1.0 if rank is None else scale
    if rank is None:
        return 1.0
    linear = config.get("linear_alpha")
    given = stored if stored is not None else linear if isinstance(linear, int | float) else None
    # LyCORIS reads an alpha of 0, and none, as the dimension.
    return (given or rank) / rank


def _configured(module: str, config: Mapping[str, Any], name: str, pattern: str) -> float | None:
    """A value of the configuration for this module: the first pattern that fits (peft's rule), else the common one."""
    patterns = config.get(pattern)
    for key, value in (patterns if isinstance(patterns, dict) else {}).items():
        number = _number(value)
        if number is not None and adapter_names.pattern_fits(str(key), module):
            return number
    return _number(config.get(name))


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
