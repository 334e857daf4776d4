"""Advice about the adapter: settings that its kind does not know, or that do nothing beside others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from sidestep_tui.core import text
from sidestep_tui.schema import adapter_targets
from sidestep_tui.schema.adapter import ALPHA_PATTERN, AdapterSettings
from sidestep_tui.schema.adapter_maths import KIND_NAMES, has_scale
from sidestep_tui.schema.advice import Advice, Facts, Rule, fix_of
from sidestep_tui.schema.fields import format_number
from sidestep_tui.schema.settings import Settings

_OF_KIND = {"lokr": ("lokr_factor", "lokr_full_matrix", "lokr_decompose_both"), "oft": ("oft_block_size",)}
_PATTERNS = ("adapter.rank_pattern", "adapter.alpha_pattern")
_LARGEST_RANK = 512
_COMMON_DIVISOR = 512
"""Of the input widths of all published models."""


def _changed(adapter: AdapterSettings, names: tuple[str, ...]) -> list[str]:
    """Those of the settings `names` that are not at their defaults."""
    fields = type(adapter).model_fields
    values = adapter.model_dump()
    return [name for name in names if values[name] != fields[name].default]


def _of_another_kind(settings: Settings, facts: Facts) -> Iterator[Advice]:
    adapter = settings.adapter
    for kind, names in _OF_KIND.items():
        if adapter.kind == kind:
            continue
        for name in _changed(adapter, names):
            default = type(adapter).model_fields[name].default
            yield Advice(
                "advice",
                f"adapter.{name}",
                f"This has no effect on {KIND_NAMES[adapter.kind]} adapters, only on {KIND_NAMES[kind]}.",
                **fix_of("Set it back", **{f"adapter__{name}": default}),
            )


def _dropout_unknown(settings: Settings, facts: Facts) -> Iterator[Advice]:
    adapter = settings.adapter
    if adapter.dropout and adapter.kind in ("lokr", "loha", "oft"):
        yield Advice(
            "warning",
            "adapter.dropout",
            f"{KIND_NAMES[adapter.kind]} has no dropout: nothing will be dropped.",
            **fix_of("Set dropout to 0", adapter__dropout=0.0),
        )


def _scale_unused(settings: Settings, facts: Facts) -> Iterator[Advice]:
    adapter = settings.adapter
    if has_scale(adapter):
        return
    of_lokr = ("lokr_decompose_both",) if adapter.kind == "lokr" else ()
    inert = _changed(adapter, ("rank", "alpha", "rslora", *of_lokr))
    if not inert:
        return
    known = {"rank": "rank", "alpha": "alpha", "rslora": "rank stabilisation", "lokr_decompose_both": "splitting both"}
    fix: dict[str, Any]
    if adapter.kind == "oft":
        why, fix = "its block size decides the capacity", {}
    elif adapter.lokr_full_matrix:
        why, fix = "both factors are kept whole", fix_of("Split at the rank", adapter__lokr_full_matrix=False)
    else:
        why, fix = f"at rank {adapter.rank} no factor is split", fix_of("Set rank to 8", adapter__rank=8)
    verb = "has" if len(inert) == 1 else "have"
    names = text.listing([known[name] for name in inert])
    sentence = f"{names[0].upper()}{names[1:]} {verb} no effect on this {KIND_NAMES[adapter.kind]} adapter: {why}."
    yield Advice("advice", f"adapter.{inert[0]}", sentence, **fix)


def _block_divides(settings: Settings, facts: Facts) -> Iterator[Advice]:
    adapter = settings.adapter
    if adapter.kind == "oft" and _COMMON_DIVISOR % adapter.oft_block_size:
        yield Advice(
            "error",
            "adapter.oft_block_size",
            f"The model's layers cannot be divided into blocks of {adapter.oft_block_size}: it takes a power of two.",
            **fix_of("Set it to 32", adapter__oft_block_size=32),
        )


def _targets_fit(settings: Settings, facts: Facts) -> Iterator[Advice]:
    labels = {"adapter.layers": "Train all layers", **dict.fromkeys(_PATTERNS, "Drop the pattern")}
    for path, sentence in adapter_targets.misfits(settings.adapter, facts.layers):
        yield Advice("error", path, sentence, {path: ""}, labels[path])


def _patterns_of_kind(settings: Settings, facts: Facts) -> Iterator[Advice]:
    adapter = settings.adapter
    if adapter.kind in ("lora", "dora"):
        return
    for path in _PATTERNS:
        if adapter.model_dump()[path.partition(".")[2]]:
            yield Advice(
                "error",
                path,
                f"Patterns are for LoRA and DoRA; every matrix of a {KIND_NAMES[adapter.kind]} adapter is of one size.",
                {path: ""},
                "Drop the pattern",
            )


def _ranks_in_bounds(settings: Settings, facts: Facts) -> Iterator[Advice]:
    highest = max((entry.value for entry in adapter_targets.entries(settings.adapter.rank_pattern)), default=0)
    if highest > _LARGEST_RANK:
        yield Advice(
            "error",
            "adapter.rank_pattern",
            f"Ranks go up to {_LARGEST_RANK}, not {highest:g}.",
            {"adapter.rank_pattern": ""},
            "Drop the pattern",
        )


def _ranks_without_alphas(settings: Settings, facts: Facts) -> Iterator[Advice]:
    adapter = settings.adapter
    if not adapter.rank_pattern or adapter.alpha_pattern or adapter.rslora or adapter.kind not in ("lora", "dora"):
        return
    ratio = adapter.alpha / adapter.rank
    entries = adapter_targets.entries(adapter.rank_pattern)
    alphas = ", ".join(f"{entry.text.partition('=')[0]}={format_number(entry.value * ratio)}" for entry in entries)
    scales = sorted({adapter.alpha / entry.value for entry in entries} | {ratio})
    if len(scales) > 1 and re.fullmatch(ALPHA_PATTERN, alphas):
        yield Advice(
            "advice",
            "adapter.alpha_pattern",
            f"Alpha {format_number(adapter.alpha)} over these ranks scales the change by {scales[0]:.3g} in one place "
            f"and {scales[-1]:.3g} in another.",
            {"adapter.alpha_pattern": alphas},
            f"Scale by {ratio:.3g} everywhere",
        )


def _pissa_fits(settings: Settings, facts: Facts) -> Iterator[Advice]:
    adapter = settings.adapter
    if adapter.init != "pissa":
        return
    fix = fix_of("Begin at nothing", adapter__init="default")
    if adapter.kind not in ("lora", "dora"):
        name = KIND_NAMES[adapter.kind]
        yield Advice("error", "adapter.init", f"PiSSA is for LoRA and DoRA; {name} has no such start.", **fix)
    if adapter.start_from:
        sentence = "The run starts from an adapter that is there already: PiSSA has nothing to begin."
        yield Advice("error", "adapter.init", sentence, **fix)
    if settings.memory.base != "full":
        yield Advice(
            "error",
            "memory.base",
            "PiSSA takes its start from the exact weights, which a quantised base does not have.",
            **fix_of("Keep the base whole", memory__base="full"),
        )


RULES: tuple[Rule, ...] = (
    _block_divides,
    _pissa_fits,
    _patterns_of_kind,
    _targets_fit,
    _ranks_in_bounds,
    _dropout_unknown,
    _scale_unused,
    _ranks_without_alphas,
    _of_another_kind,
)
