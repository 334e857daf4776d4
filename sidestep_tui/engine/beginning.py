"""Runs that begin with an adapter that is already there: any format, any trainer, refused unless it fits whole.

The file decides nothing in silence: kind, targets, ranks and scale of the settings must be those of the file, and a
refusal says which settings would be. Everything is refused before songs are encoded, and nothing is loaded in part.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from sidestep_tui.core import text
from sidestep_tui.core.errors import AdapterError
from sidestep_tui.engine import adapter_facts, adapter_formats, adapters, export_formats
from sidestep_tui.engine.adapter_facts import AdapterFacts, Parts
from sidestep_tui.engine.keymap import path_to_diffusers
from sidestep_tui.schema import adapter_maths, adapter_targets
from sidestep_tui.schema.adapter import AdapterSettings
from sidestep_tui.schema.adapter_targets import Matrix
from sidestep_tui.schema.fields import format_number

_PRECISION: Final = 1e-6
"""Relative difference of two scales that are the same number, one of them stored as float32 or with a root in it."""
_LONGEST_PATTERN: Final = 1000


@dataclass(frozen=True, slots=True)
class Beginning:
    """An adapter in memory that a run may begin with."""

    facts: AdapterFacts
    parts: dict[str, Parts]

    @property
    def sentence(self) -> str:
        """What it is: `a LoRA adapter of rank 16, scale 2`."""
        ranks = sorted({rank for rank in self.facts.ranks.values() if rank is not None})
        scales = sorted({round(scale, 6) for scale in self.facts.scales.values()})
        size = f" of rank {_span(ranks)}" if ranks else ""
        strength = f", scale {_span(scales)}" if self.facts.kind != "oft" else ""
        article = "an" if self.facts.kind == "oft" else "a"
        return f"{article} {adapter_maths.KIND_NAMES[self.facts.kind]} adapter{size}{strength}"


def read(settings: AdapterSettings, layers: int) -> Beginning | None:
    """The adapter that `adapter.start_from` names, if it names one, checked against the settings.

    `layers` is the depth of the model. Raises AdapterError naming the file and what is wrong with it, or the settings
    that would agree with it.
    """
    if not settings.start_from:
        return None
    facts, parts = adapter_formats.read_parts(Path(settings.start_from).expanduser())
    if bad := [
        f"{module}.{part}"
        for module, found in parts.items()
        for part, t in found.items()
        if not bool(t.isfinite().all())
    ]:
        raise adapter_facts.broken(facts.file, bad[0], "it holds values that are not numbers")
    _refuse_disagreement(facts, parts, settings, layers)
    return Beginning(facts, parts)


def put(transformer: torch.nn.Module, begin: Beginning) -> int:
    """Give the injected adapter the weights of the file; returns the number of tensors, all of which found their place.

    Raises AdapterError, with nothing loaded, if the adapter was made for another model.
    """
    facts = begin.facts
    adapter_facts.refuse_other_model(facts, _BaseOf(transformer))
    tensors = adapter_facts.own_names(facts, begin.parts)
    if facts.kind in ("lora", "dora"):

        def base(module: str) -> torch.Tensor:
            weight: torch.Tensor = adapters.base_layer(transformer, path_to_diffusers(module)).weight
            return weight.detach().cpu()

        tensors = export_formats.convert(facts, begin.parts, "peft", base).tensors
    # The scales were compared; how a file writes an alpha that does nothing does not matter.
    present = adapters.state_dict(transformer)
    tensors |= {key: tensor for key, tensor in present.items() if key.endswith(".alpha") and key in tensors}
    return adapters.load_state_dict(transformer, tensors, facts.file)


def origin(settings: AdapterSettings, fingerprints: Mapping[str, str]) -> str:
    """What exports say they began with: the name of the adapter and the beginning of its digest in run.toml."""
    name = Path(settings.start_from).name
    digest = fingerprints.get("start_from", "")[:12]
    return f"{name} ({digest})" if digest else name


class _BaseOf(torch.nn.Module):
    """A transformer as it was before its layers were adapted: what `refuse_other_model` asks about."""

    def __init__(self, transformer: torch.nn.Module) -> None:
        super().__init__()
        self._asked = [transformer]
        self.config = transformer.config

    def get_submodule(self, target: str) -> torch.nn.Module:
        return adapters.base_layer(self._asked[0], target)


def _refuse_disagreement(
    facts: AdapterFacts, parts: Mapping[str, Parts], settings: AdapterSettings, layers: int
) -> None:
    """Compare what the file is with what the settings ask for; one refusal holds every setting to change."""
    found = _matrices(facts)
    if facts.depth > layers:
        raise AdapterError(
            "The adapter was trained for another size of model.",
            f"{facts.file} has weights for layer {facts.depth - 1}; this model has {text.plural(layers, 'layer')}.",
            "Choose the checkpoint that it was trained on, or another adapter.",
        )
    described, own = _described(facts, parts, found, settings, layers), _plainly(settings, layers)
    wanted = {name: value for name, value in described.items() if not _is_same(value, own[name])}
    if not wanted or _agrees(facts, found, settings, layers):
        return
    if "alpha" in described:
        wanted |= _stabilised(facts, settings, described)
    changes = " ".join(f"-s adapter.{name}={_typed(value)}" for name, value in wanted.items())
    why = f" {' '.join(facts.notes)}" if facts.notes else ""
    raise AdapterError(
        "The adapter to start from is not what the settings ask for.",
        f"{facts.file} is {Beginning(facts, dict(parts)).sentence}; the settings differ in "
        f"{text.listing([f'adapter.{name}' for name in wanted], most=len(wanted))}.{why}",
        f"Start it with {changes}",
    )


def _matrices(facts: AdapterFacts) -> dict[Matrix, str]:
    """The file's modules by the matrix that they change; AdapterError names what no run here can train."""
    found = {adapter_targets.matrix_of(module): module for module in facts.modules}
    if None in found:
        extra = [module for module in facts.modules if adapter_targets.matrix_of(module) is None]
        raise AdapterError(
            "The adapter trains parts of the model that runs do not.",
            f"{facts.file} changes {text.listing(extra, 4)}, and runs train attention and MLP layers.",
            "It cannot be continued without losing them: choose another adapter, or train from the beginning.",
        )
    return {matrix: module for matrix, module in found.items() if matrix is not None}


def _is_same(value: object, other: object) -> bool:
    if isinstance(value, float) and isinstance(other, float):
        return math.isclose(value, other, rel_tol=_PRECISION)
    return value == other


def _stabilised(facts: AdapterFacts, settings: AdapterSettings, described: Mapping[str, Any]) -> dict[str, Any]:
    """Alpha and rsLoRA as the file itself says them, where either has to change for the sake of the other."""
    patterned = described.get("rank_pattern") or described.get("alpha_pattern")
    if facts.config.get("use_rslora") is True and facts.kind in ("lora", "dora") and not patterned:
        return {"rslora": True, "alpha": _rounded(described["alpha"] / math.sqrt(described["rank"]))}
    return {"rslora": False, "alpha": described["alpha"]} if settings.rslora else {}


def _plainly(settings: AdapterSettings, layers: int) -> dict[str, Any]:
    """The settings as `_described` would write them: alpha without √rank, layers as short as they can be."""
    own = settings.model_dump()
    chosen = adapter_targets.layers_of(settings, layers)
    own["layers"] = "" if chosen == list(range(layers)) else adapter_targets.layers_text(chosen)
    names = ("q", "k", "v", "o")
    own["projections"] = tuple(p for p in names if p in settings.projections or settings.attention == "none")
    own["alpha"] = _rounded(settings.alpha * (math.sqrt(settings.rank) if settings.rslora else 1.0))
    return own | {"rslora": False}


def _agrees(facts: AdapterFacts, found: Mapping[Matrix, str], settings: AdapterSettings, layers: int) -> bool:
    """Whether the settings, written in another way than the file would be, mean the same."""
    same = facts.kind == settings.kind and set(found) == set(adapter_targets.matrices(settings, layers))
    if not same or facts.kind not in ("lora", "dora"):
        return False
    return all(
        adapter_targets.rank_of(settings, matrix) == facts.ranks[module]
        and math.isclose(adapter_targets.scale_of(settings, matrix), facts.scales[module], rel_tol=_PRECISION)
        for matrix, module in found.items()
    )


def _described(
    facts: AdapterFacts, parts: Mapping[str, Parts], found: Mapping[Matrix, str], settings: AdapterSettings, layers: int
) -> dict[str, Any]:
    """The settings under which the file could have been trained here; AdapterError if there are none.

    Where several say the same, those that are set already.
    """
    described: dict[str, Any] = {"kind": facts.kind, **_targets(facts, set(found), layers)}
    if facts.kind == "oft":
        return described | {"oft_block_size": _block_size(facts, parts)}
    if facts.kind == "lokr":
        return described | _lokr(facts, parts, settings.lokr_factor)
    ranks = {matrix: facts.ranks[module] or 0 for matrix, module in found.items()}
    rank = Counter(ranks.values()).most_common(1)[0][0]
    scales = {matrix: facts.scales[module] for matrix, module in found.items()}
    alphas = {matrix: _rounded(scales[matrix] * ranks[matrix]) for matrix in found}
    alpha = Counter(alphas.values()).most_common(1)[0][0]
    described |= {"rank": rank, "alpha": alpha, "rslora": False}
    if facts.kind == "loha":
        if len({*ranks.values()}) > 1 or len({*alphas.values()}) > 1:
            raise adapter_facts.broken(facts.file, facts.modules[0], "its modules are of several ranks or alphas")
        return described
    described["rank_pattern"] = _pattern(facts, {m: r for m, r in ranks.items() if r != rank}, found)
    described["alpha_pattern"] = _pattern(facts, {m: a for m, a in alphas.items() if a != alpha}, found)
    return described


def _targets(facts: AdapterFacts, found: set[Matrix], layers: int) -> dict[str, Any]:
    numbers = sorted({layer for layer, _ in found})
    names = {part for _, part in found}
    sides = {side: tuple(p for p in "qkvo" if f"{side}.{p}" in names) for side in ("self", "cross")}
    both = sides["self"] and sides["cross"]
    described = {
        "attention": "both" if both else "self" if sides["self"] else "cross" if sides["cross"] else "none",
        "mlp": any(name.startswith("mlp.") for name in names),
        "projections": sides["self"] or sides["cross"] or ("q", "k", "v", "o"),
        "layers": "" if numbers == list(range(layers)) else adapter_targets.layers_text(numbers),
    }
    if set(adapter_targets.matrices(AdapterSettings.model_validate(described), layers)) != found:
        raise AdapterError(
            "The adapter trains a choice of modules that the settings cannot name.",
            f"{facts.file} adapts {text.listing(sorted(names), 11)} in layers {adapter_targets.layers_text(numbers)}, "
            "but not each of them in each.",
            "Choose an adapter with the same modules in every layer.",
        )
    return described


def _pattern(facts: AdapterFacts, values: Mapping[Matrix, float], found: Mapping[Matrix, str]) -> str:
    """A pattern that gives some matrices their values: by part where all layers agree, else one by one."""
    entries = []
    for name in dict.fromkeys(part for _, part in found):
        layers = [layer for layer, part in found if part == name]
        own = {layer: values.get((layer, name)) for layer in layers}
        if len(set(own.values())) == 1:
            entries += [f"{name}={value:g}" for value in [own[layers[0]]] if value is not None]
        else:
            entries += [f"layers.{layer}.{name}={value:g}" for layer, value in own.items() if value is not None]
    pattern = ", ".join(entries)
    if len(pattern) > _LONGEST_PATTERN:
        raise adapter_facts.broken(facts.file, facts.modules[0], "its modules are of more ranks than a pattern can say")
    return pattern


def _lokr(facts: AdapterFacts, parts: Mapping[str, Parts], preferred: int) -> dict[str, Any]:
    """Factor, rank and splits of a LoKr, from the shapes of its factors."""
    whole = all(rank is None for rank in facts.ranks.values())
    ranks = sorted({rank for rank in facts.ranks.values() if rank is not None})
    split_both = any("lokr_w1_a" in found for found in parts.values())
    described: dict[str, Any] = {"lokr_full_matrix": whole, "lokr_decompose_both": split_both}
    if len(ranks) > 1:
        raise adapter_facts.broken(facts.file, facts.modules[0], "its modules are of several ranks")
    if ranks:
        alphas = {_rounded(facts.scales[m] * ranks[0]) for m, rank in facts.ranks.items() if rank is not None}
        described |= {"rank": ranks[0], "alpha": alphas.pop(), "rslora": False}
    for factor in (preferred, -1, *range(1, 513)):
        settings = AdapterSettings.model_validate({"kind": "lokr", **described, "lokr_factor": factor})
        if all(
            adapter_maths.lokr_shapes(settings, *facts.shapes[module])
            == {part: tuple(tensor.shape) for part, tensor in found.items()}
            for module, found in parts.items()
        ):
            return {**described, "lokr_factor": factor}
    raise adapter_facts.broken(facts.file, facts.modules[0], "no factor divides its matrices like this")


def _block_size(facts: AdapterFacts, parts: Mapping[str, Parts]) -> int:
    """The side of the blocks whose skew-symmetric halves, n (n − 1) / 2 numbers each, the file holds."""
    sizes = {int(tensor.shape[-1]) for found in parts.values() for tensor in found.values()}
    side = round((1 + math.sqrt(1 + 8 * min(sizes))) / 2)
    if len(sizes) != 1 or side * (side - 1) // 2 not in sizes:
        raise adapter_facts.broken(facts.file, facts.modules[0], "its blocks are of several sizes")
    return side


def _rounded(alpha: float) -> float:
    """Without the last digits that a root or float32 left behind."""
    near = float(f"{alpha:.6g}")
    return near if math.isclose(near, alpha, rel_tol=1e-7) else alpha


def _typed(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(value)
    shown = format_number(value) if isinstance(value, float) else str(value)
    return f"'{shown}'" if "," in shown or not shown else shown


def _span(values: list[Any]) -> str:
    first, last = f"{values[0]:g}", f"{values[-1]:g}"
    return first if first == last else f"{first} to {last}"
