"""Writing an adapter in another format: read, convert, write beside, read again and compare, and only then name it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch

from sidestep_tui.core import atomic, text
from sidestep_tui.core.errors import AdapterError, DivergedError
from sidestep_tui.engine import adapter_formats, export_formats, new_files, shards, variants
from sidestep_tui.engine.adapter_facts import AdapterFacts, Parts
from sidestep_tui.engine.export_formats import Base, Converted, Target
from sidestep_tui.engine.keymap import key_to_original, path_to_diffusers
from sidestep_tui.engine.writer import write_tensors
from sidestep_tui.schema import adapter_names

_ALPHA_PRECISION: Final = 1e-6
"""How exactly a scale survives: alphas are stored in single precision, which keeps 6e-8 of them."""


def export(path: Path, target: Target, output: Path | None, model: Path | None = None) -> dict[str, Any]:
    """Write the adapter at `path` in the format `target`, as `output` or under a name of its own in this folder.

    `model` is the checkpoint it was trained on, which only DoRA for ComfyUI needs. Returns what was written, as plain
    values. Raises AdapterError when the conversion is impossible or the name taken; nothing is ever overwritten.
    """
    facts, parts = adapter_formats.read_parts(path)
    export_formats.refuse_impossible(facts, target, has_base=model is not None)
    place = destination(facts, path, target, output)
    new_files.refuse_taken(place)
    needs_base = facts.kind == "dora" and facts.dora_on_base != (target == "comfyui")
    base = None
    if model is not None and needs_base:
        base = base_of_checkpoint(variants.find_checkpoint(str(model), "auto", ""))
    converted = export_formats.convert(facts, parts, target, base)
    write(converted, place, facts, parts)
    return {
        "from": str(facts.file),
        "to": target,
        "path": str(place),
        "kind": facts.kind,
        "modules": len(facts.modules),
        "tensors": len(converted.tensors),
        "bytes": sum(file.stat().st_size for file in (place.rglob("*") if place.is_dir() else [place])),
        "notes": [*facts.notes, *converted.notes],
    }


def destination(facts: AdapterFacts, path: Path, target: Target, output: Path | None) -> Path:
    """Where an export goes: peft is a directory, everything else a file; a folder as output gets the usual name."""
    suffix = "" if target == "peft" else ".safetensors"
    usual = f"{_name(facts, path)}_{target}{suffix}"
    if output is None:
        return Path.cwd() / usual
    if output.is_dir() and target != "peft":
        return output / usual
    if suffix and output.suffix != suffix:
        raise AdapterError(
            "The name does not fit the format.",
            f"{output} should end in {suffix}.",
            f"Write --output {output}{suffix}.",
        )
    if not output.parent.is_dir():
        raise AdapterError("There is no such folder.", f"{output.parent} does not exist.", "Make it first.")
    return output


def _name(facts: AdapterFacts, path: Path) -> str:
    """The run that made the adapter, else what its file or folder is called."""
    try:
        own = json.loads(facts.metadata.get(adapter_names.OWN_METADATA, "{}"))
    except ValueError:
        own = {}
    if isinstance(own, dict) and own.get("run") and Path(str(own["run"])).name == str(own["run"]):
        return str(own["run"])
    if facts.file.name in adapter_names.USUAL_FILES:
        return facts.file.resolve().parent.name or "adapter"
    return facts.file.stem


def base_of_checkpoint(ckpt: variants.Checkpoint) -> Base:
    """The decoder's weights from the files of a checkpoint, one at a time, without building the model."""
    tensors = shards.open_tensors(ckpt.transformer_dir)
    names = set(tensors.names())

    def weight(module: str) -> torch.Tensor:
        inside = f"{path_to_diffusers(module)}.weight"
        key = inside if ckpt.layout == "diffusers" else key_to_original("transformer", inside)
        if key is None or key not in names:
            raise AdapterError(
                "The adapter does not fit the model.",
                f"{ckpt.dir} has no {module}.",
                "Choose the checkpoint that it was trained on with --model DIR.",
            )
        return tensors.read([key], torch.float32, "cpu")[key]

    return weight


def base_of_model(transformer: torch.nn.Module) -> Base:
    """The weights of a model in memory, adapted or not."""

    def weight(module: str) -> torch.Tensor:
        layer = transformer.get_submodule(path_to_diffusers(module))
        inner = getattr(layer, "base_layer", layer)
        return inner.weight.detach().float().cpu()

    return weight


def write(converted: Converted, place: Path, facts: AdapterFacts, parts: Mapping[str, Parts]) -> None:
    """Write a converted adapter to `place`, which must be free, and check that it reads back as the one it was.

    Raises DivergedError, with nothing written, if a weight is not finite.
    """
    if bad := [name for name, tensor in converted.tensors.items() if not bool(torch.isfinite(tensor).all())]:
        raise DivergedError(
            "The adapter holds values that are not numbers.",
            f"{facts.file}: for example {text.listing(bad, 2)}; nothing was written.",
            "Use an earlier checkpoint.",
        )
    if converted.config is None:

        def fill(temporary: Path) -> None:
            write_tensors(temporary, converted.tensors, converted.metadata)
            _compare(temporary, facts, parts)

        new_files.publish_new(place, fill)
        return
    new_files.refuse_taken(place)
    with atomic.publish_dir(place) as directory:
        write_tensors(directory / adapter_names.PEFT_FILE, converted.tensors, converted.metadata)
        (directory / adapter_names.PEFT_CONFIG).write_text(json.dumps(converted.config, indent=2) + "\n", "utf-8")
        _compare(directory, facts, parts)


def _compare(written: Path, facts: AdapterFacts, parts: Mapping[str, Parts]) -> None:
    """Read the export and hold it against its source: the same modules, factors to the last bit, scales to 1e-6."""
    again, found = adapter_formats.read_parts(written)
    for module in parts:
        if (again.kind, set(found)) != (facts.kind, set(parts)):
            break
        before, after = _product(facts, parts, module), _product(again, found, module)
        if before.keys() != after.keys() or any(not _same(before[name], after[name], name) for name in before):
            break
    else:
        return
    raise AdapterError(
        "The export does not read back as the adapter.",
        f"{facts.file}: {module} came out differently; nothing was written.",
        "Please report this with the output of `sidestep-tui adapter inspect --json`.",
    )


def _product(facts: AdapterFacts, parts: Mapping[str, Parts], module: str) -> Parts:
    """What must survive a conversion. Magnitudes are restated for ComfyUI; a baked scale sits in the first factor."""
    kept = {name: tensor for name, tensor in parts[module].items() if name != "magnitude"}
    first = next((name for name in ("lokr_w1", "lokr_w1_a") if name in kept), None)
    scale = torch.tensor(facts.scales[module], dtype=torch.float64)
    if first is not None:
        return {**kept, first: kept[first].double() * scale}
    return {**kept, "scale": scale}


def _same(before: torch.Tensor, after: torch.Tensor, name: str) -> bool:
    if before.shape != after.shape:
        return False
    if name in ("scale", "lokr_w1", "lokr_w1_a"):
        return bool(torch.allclose(before, after, rtol=_ALPHA_PRECISION, atol=0.0))
    return bool(torch.equal(before, after))
