"""What an adapter file holds, from its header alone: kind, rank, alpha, targets, and what loaders will make of it."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sidestep_tui.core import text
from sidestep_tui.core.errors import AdapterError
from sidestep_tui.launch import tensorfile
from sidestep_tui.launch.tensorfile import TensorFile
from sidestep_tui.schema import adapter_names
from sidestep_tui.schema.adapter_names import Layout

_SUFFIX = re.compile(r"\.(?:lora_|dora_|lokr_|hada_|oft_|alpha$|scalar$).*")
_LAYER = re.compile(r"(?:^|[._])layers[._](\d+)[._]")
_UNDERSCORED = re.compile(r"^(self_attn|cross_attn|mlp)_")


@dataclass(frozen=True, slots=True)
class AdapterReport:
    """The findings; `ranks` and `alphas` list every value that occurs."""

    path: Path
    kind: str
    format: Layout
    naming: str
    ranks: tuple[int, ...]
    alphas: tuple[float, ...]
    targets: dict[str, int]
    layers: int
    tensors: int
    parameters: int
    dtypes: tuple[str, ...]
    bytes: int
    config: dict[str, Any] | None
    metadata: dict[str, str]
    warnings: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "path": str(self.path),
            "kind": self.kind,
            "format": self.format,
            "naming": self.naming,
            "ranks": list(self.ranks),
            "alphas": list(self.alphas),
            "targets": self.targets,
            "layers": self.layers,
            "tensors": self.tensors,
            "parameters": self.parameters,
            "dtypes": list(self.dtypes),
            "bytes": self.bytes,
            "config": self.config,
            "metadata": self.metadata,
            "warnings": self.warnings,
        }


def inspect(path: Path) -> AdapterReport:
    """Read the header (and adapter_config.json beside it); AdapterError when it is no adapter."""
    file = adapter_names.weights_file(path)
    header = tensorfile.read_header(file, error=AdapterError)
    names = list(header.tensors)
    kind = _kind(names)
    if kind is None:
        raise AdapterError(
            "This file is not an adapter.",
            f"{file} holds {text.plural(len(names), 'tensor')}, none with an adapter's name (lora_A, lokr_w1, …)"
            + (f", but {names[0]}." if names else "."),
            "Choose adapter_model.safetensors of an adapter, not the model's own weights.",
        )
    config = _config(file.parent / "adapter_config.json")
    modules = sorted({_module(name) for name in names})
    targets = Counter(_target(module) for module in modules)
    return AdapterReport(
        path=file,
        kind=kind,
        format=adapter_names.layout(kind.lower(), names),
        naming=adapter_names.naming(names) or "unknown",
        ranks=_ranks(header, config),
        alphas=_alphas(header, config),
        targets=dict(sorted(targets.items())),
        layers=len({match.group(1) for module in modules if (match := _LAYER.search(module))}),
        tensors=len(names),
        parameters=sum(info.elements for name, info in header.tensors.items() if not name.endswith(".alpha")),
        dtypes=tuple(sorted({info.dtype for info in header.tensors.values()})),
        bytes=file.stat().st_size,
        config=config,
        metadata=header.metadata,
        warnings=_warnings(header, config, kind),
    )


def _kind(names: list[str]) -> str | None:
    joined = "\n".join(names)
    if "lora_magnitude_vector" in joined or ("dora_scale" in joined and "lora_" in joined):
        return "DoRA"
    for token, kind in (("lora_", "LoRA"), ("lokr_", "LoKr"), ("hada_", "LoHa"), ("oft_", "OFT")):
        if any(f".{token}" in name for name in names):
            return kind
    return None


def _module(name: str) -> str:
    """The module of a key, by its path in the original code; what ACE-Step does not have keeps its name."""
    parsed = adapter_names.parse(name)
    return parsed.module or parsed.stem if parsed else _SUFFIX.sub("", name)


def _target(module: str) -> str:
    """`layers.3.self_attn.q_proj` → `self_attn.q_proj`, whatever the layer."""
    inside = _LAYER.sub("", module, count=1) if _LAYER.search(module) else module
    return _UNDERSCORED.sub(r"\1.", inside)


def _config(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise AdapterError(
            "adapter_config.json cannot be read.", f"{path}: {error}.", "Copy it again from where the adapter is from."
        ) from error
    return value if isinstance(value, dict) else None


def _ranks(header: TensorFile, config: dict[str, Any] | None) -> tuple[int, ...]:
    ranks = {
        info.shape[0]
        for name, info in header.tensors.items()
        if re.search(r"\.(lora_A|lora_down)\b", name) and info.shape
    }
    ranks |= {
        min(info.shape)
        for name, info in header.tensors.items()
        if re.search(r"\.(hada_w1_b|lokr_w1_b|lokr_w2_b)$", name) and info.shape
    }
    if not ranks and config and isinstance(config.get("r"), int):
        ranks = {config["r"]}
    return tuple(sorted(ranks))


def _alphas(header: TensorFile, config: dict[str, Any] | None) -> tuple[float, ...]:
    # A LoKr module with both factors whole is not scaled, whatever its alpha says.
    modules = {name.removesuffix(".alpha") for name in header.tensors if name.endswith(".alpha")}
    whole = {m for m in modules if {f"{m}.lokr_w1", f"{m}.lokr_w2"} <= header.tensors.keys()}
    stored = {header.scalar(f"{module}.alpha") for module in modules - whole}
    alphas = {value for value in stored if value is not None}
    if config and isinstance(config.get("lora_alpha"), (int, float)):
        alphas.add(float(config["lora_alpha"]))
        pattern = config.get("alpha_pattern") or {}
        alphas |= {float(value) for value in pattern.values() if isinstance(value, (int, float))}
    embedded = _embedded(header.metadata)
    if isinstance(embedded.get("transformer.lora_alpha"), (int, float)):
        alphas.add(float(embedded["transformer.lora_alpha"]))
    return tuple(sorted(alphas))


def _embedded(metadata: dict[str, str]) -> dict[str, Any]:
    try:
        value = json.loads(metadata.get("lora_adapter_metadata", "{}"))
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _warnings(header: TensorFile, config: dict[str, Any] | None, kind: str) -> list[str]:
    """What loaders will stumble over, and what to do about it."""
    keys = {name: adapter_names.parse(name) for name in header.tensors}
    has_alpha = any(name.endswith(".alpha") for name in keys)
    warnings = []
    if foreign := [name for name, parsed in keys.items() if parsed is None or parsed.module is None]:
        warnings.append(
            f"{text.plural(len(foreign), 'tensor')} of {len(keys)} are for no module of ACE-Step 1.5's decoder, for "
            f"example {foreign[0]}: this adapter is for another model, or trains parts that are not used."
        )
    infix = next((parsed.infix for parsed in keys.values() if parsed and parsed.infix), None)
    if infix:
        warnings.append(
            f"Names contain '.{infix}.': diffusers loads such a file without effect, or as noise. "
            "`adapter export` writes it without."
        )
    if kind in ("LoRA", "DoRA"):
        if "lora_adapter_metadata" not in header.metadata and not has_alpha:
            warnings.append("The file carries no alpha for diffusers, which will take alpha = rank.")
        if config is None and not has_alpha:
            warnings.append("There is no adapter_config.json beside the file; the original app needs it.")
    if header.metadata.get(adapter_names.DORA_METADATA) == "comfyui":
        warnings.append("Its magnitudes are restated for ComfyUI: other loaders take the export for them.")
    if (
        kind == "LoKr"
        and "lokr_config" not in header.metadata
        and adapter_names.layout("lokr", list(keys)) == "lycoris"
    ):
        warnings.append("The file has no lokr_config metadata; the original app will assume dimension 64, alpha 128.")
    if extra := sorted({p.module for p in keys.values() if p and p.module and not p.module.startswith("layers.")}):
        warnings.append(f"It also changes {text.listing(extra)}, as trainers do whose targets match too much.")
    return warnings
