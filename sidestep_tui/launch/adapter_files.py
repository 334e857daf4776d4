"""What an adapter file holds, from its header alone: kind, rank, alpha, targets, and what loaders will make of it."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sidestep_tui.core.errors import AdapterError
from sidestep_tui.launch import tensorfile
from sidestep_tui.launch.tensorfile import TensorFile

_USUAL_NAMES = ("adapter_model.safetensors", "lokr_weights.safetensors", "loha_weights.safetensors")
_RUN_PLACES = ("adapter/final", "adapter/best")
_SUFFIX = re.compile(
    r"[._](lora_A|lora_B|lora_down|lora_up|lora_magnitude_vector|dora_scale|lokr_\w+|hada_\w+|oft_\w+|alpha)"
    r"(\.default)?(\.weight)?$"
)
_PREFIX = re.compile(r"^(base_model\.model\.|transformer\.|diffusion_model\.|decoder\.|lycoris_|lora_unet_)+")
_LAYER = re.compile(r"(?:^|[._])layers[._](\d+)[._]")
_UNDERSCORED = re.compile(r"^(self_attn|cross_attn|mlp)_")


@dataclass(frozen=True, slots=True)
class AdapterReport:
    """The findings; `ranks` and `alphas` list every value that occurs."""

    path: Path
    kind: str
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


def weights_file(path: Path) -> Path:
    """The safetensors that `path` means: a file, an adapter's directory, or a run with a finished adapter."""
    if path.is_file():
        return path
    if not path.is_dir():
        raise AdapterError("There is no such adapter.", f"{path} does not exist.", "Check the path.")
    for place in ("", *_RUN_PLACES):
        directory = path / place
        for name in _USUAL_NAMES:
            if (directory / name).is_file():
                return directory / name
    others = sorted(path.glob("*.safetensors"))
    if len(others) == 1:
        return others[0]
    raise AdapterError(
        "There is no adapter in this directory.",
        f"{path} holds no {_USUAL_NAMES[0]}" + (" but several other safetensors." if others else "."),
        "Name the file, or choose the directory that adapter_config.json is in.",
    )


def inspect(path: Path) -> AdapterReport:
    """Read the header (and adapter_config.json beside it); AdapterError when it is no adapter."""
    file = weights_file(path)
    header = tensorfile.read_header(file, error=AdapterError)
    names = list(header.tensors)
    kind = _kind(names)
    if kind is None:
        raise AdapterError(
            "This file is not an adapter.",
            f"{file} holds {len(names)} tensors, none with an adapter's name (lora_A, lokr_w1, hada_w1_a, oft_R, …).",
            "Choose adapter_model.safetensors of an adapter, not the model's own weights.",
        )
    config = _config(file.parent / "adapter_config.json")
    modules = sorted({_module(name) for name in names})
    targets = Counter(_target(module) for module in modules)
    return AdapterReport(
        path=file,
        kind=kind,
        naming=_naming(names),
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


def _naming(names: list[str]) -> str:
    joined = "\n".join(names)
    if re.search(r"[._][qkvo]_proj\b|[._][qkvo]_proj\.", joined):
        return "original"
    return "diffusers" if re.search(r"[._]to_(q|k|v|out)\b", joined) else "unknown"


def _module(name: str) -> str:
    return _PREFIX.sub("", _SUFFIX.sub("", name))


def _target(module: str) -> str:
    """`layers.3.self_attn.q_proj` and, as LyCORIS writes it, `layers_3_self_attn_q_proj` → `self_attn.q_proj`."""
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
    warnings = []
    has_alpha = any(name.endswith(".alpha") for name in header.tensors)
    if kind in ("LoRA", "DoRA"):
        if any(".default." in name for name in header.tensors):
            warnings.append("Names contain '.default.': diffusers loads such a file without effect, or as noise.")
        if "lora_adapter_metadata" not in header.metadata and not has_alpha:
            warnings.append("The file carries no alpha for diffusers, which will take alpha = rank.")
        if config is None and not has_alpha:
            warnings.append("There is no adapter_config.json beside the file; the original app needs it.")
    if kind == "LoKr" and "lokr_config" not in header.metadata:
        warnings.append("The file has no lokr_config metadata; the original app will assume dimension 64, alpha 128.")
    return warnings
