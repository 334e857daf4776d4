"""Advice about the adapter: settings that its kind does not know, or that do nothing beside others."""

from __future__ import annotations

from collections.abc import Iterator

from sidestep_tui.core import text
from sidestep_tui.schema.adapter import AdapterSettings
from sidestep_tui.schema.adapter_maths import has_scale
from sidestep_tui.schema.advice import Advice, Facts, Rule, fix_of
from sidestep_tui.schema.settings import Settings

_NAMES = {"lora": "LoRA", "dora": "DoRA", "lokr": "LoKr", "loha": "LoHa"}
_OF_KIND = {"lokr": ("lokr_factor", "lokr_full_matrix", "lokr_decompose_both")}


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
                f"This has no effect on {_NAMES[adapter.kind]} adapters, only on {_NAMES[kind]}.",
                **fix_of("Set it back", **{f"adapter__{name}": default}),
            )


def _dropout_unknown(settings: Settings, facts: Facts) -> Iterator[Advice]:
    adapter = settings.adapter
    if adapter.dropout and adapter.kind in ("lokr", "loha"):
        yield Advice(
            "warning",
            "adapter.dropout",
            f"{_NAMES[adapter.kind]} has no dropout: nothing will be dropped.",
            **fix_of("Set dropout to 0", adapter__dropout=0.0),
        )


def _scale_unused(settings: Settings, facts: Facts) -> Iterator[Advice]:
    adapter = settings.adapter
    if has_scale(adapter):
        return
    inert = _changed(adapter, ("rank", "alpha", "rslora", "lokr_decompose_both"))
    if not inert:
        return
    known = {"rank": "rank", "alpha": "alpha", "rslora": "rank stabilisation", "lokr_decompose_both": "splitting both"}
    if adapter.lokr_full_matrix:
        why, fix = "both factors are kept whole", fix_of("Split at the rank", adapter__lokr_full_matrix=False)
    else:
        why, fix = f"at rank {adapter.rank} no factor is split", fix_of("Set rank to 8", adapter__rank=8)
    verb = "has" if len(inert) == 1 else "have"
    names = text.listing([known[name] for name in inert])
    sentence = f"{names[0].upper()}{names[1:]} {verb} no effect on this LoKr adapter: {why}."
    yield Advice("advice", f"adapter.{inert[0]}", sentence, **fix)


RULES: tuple[Rule, ...] = (_dropout_unknown, _scale_unused, _of_another_kind)
