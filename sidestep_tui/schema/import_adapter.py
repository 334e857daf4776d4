"""The keys of other trainers about adapters that need more than a table: those of LoKr, LoHa and OFT, with or without
the prefix of the kind, and peft's patterns and layers.

Presets carry the keys of every kind at once; those of the chosen kind count, and of two ranks the kind's own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sidestep_tui.schema import adapter_targets
from sidestep_tui.schema.import_keys import OFF, PATTERN_KEYS, Fixed, Idle, Meaning, Refuse, Take, projection_of
from sidestep_tui.schema.import_report import Row, Translation, number, shown

_KIND_KEYS = ("adapter_type", "adapter", "peft_type")
_LARGEST_RANK = 512

_TUCKER = Fixed((True, False, None), "Tucker's form is for convolutions, and only linear layers learn")
_PLAIN: dict[str, Meaning] = {
    "use_tucker": _TUCKER,
    "use_scalar": Fixed(OFF, "the change starts at zero without a scalar"),
    "weight_decompose": Fixed(OFF, "magnitudes are for DoRA"),
    "bypass_mode": Fixed((True, False, None), "the change is always computed beside the base"),
    "dropout": Fixed(OFF, "this kind has no dropout"),
}
_MEANINGS: dict[str, dict[str, Meaning]] = {
    "lokr": {
        **_PLAIN,
        "linear_alpha": Take("adapter.alpha"),
        "factor": Take("adapter.lokr_factor"),
        "decompose_both": Take("adapter.lokr_decompose_both"),
        "full_matrix": Take("adapter.lokr_full_matrix"),
        "unbalanced_factorization": Fixed(OFF, "both sizes are divided the same way round"),
    },
    "loha": {
        **_PLAIN,
        "linear_dim": Take("adapter.rank"),
        "linear_alpha": Take("adapter.alpha"),
        "factor": Fixed((-1, *OFF), "LoHa has no factor"),
    },
    "oft": {
        "dropout": _PLAIN["dropout"],
        "oft_block_size": Take("adapter.oft_block_size"),
        "oft_coft": Fixed(OFF, "rotations are not held back"),
        "oft_eps": Refuse("only for constrained OFT"),
        **dict.fromkeys(("rank", "alpha", "lora_alpha"), Idle("only for LoRA adapters")),
    },
}
_OF_LORA = {"rank": "linear_dim", "r": "linear_dim", "alpha": "linear_alpha", "lora_alpha": "linear_alpha"}


def kind_of(source: Mapping[str, Any]) -> str:
    """Which of these kinds the preset is about; empty for LoRA and DoRA."""
    named = (value for key, value in source.items() if key.rpartition(".")[2] in _KIND_KEYS)
    return next((kind for kind in map(str, named) if kind.lower() in _MEANINGS), "").lower()


def meaning_of(kind: str, leaf: str) -> Meaning | None:
    """What a key means to an adapter of `kind`; None if it is none of its keys."""
    own = _MEANINGS.get(kind, {})
    return own.get(leaf) or own.get(leaf.removeprefix(f"{kind}_"))


def translate(state: Translation, kind: str, key: str, leaf: str, value: Any) -> bool:
    """Translate what no table can: patterns, layers, LoKr's dimension, and the rank of a LoRA beside it.

    False if it is none of them.
    """
    if leaf in PATTERN_KEYS:
        _translate_pattern(state, key, leaf, value)
        return True
    if leaf == "layers_to_transform":
        _translate_layers(state, key, value)
        return True
    short = leaf.removeprefix(f"{kind}_")
    if kind == "lokr" and short == "linear_dim":
        _translate_dimension(state, key, value)
        return True
    other = _OF_LORA.get(leaf)
    if kind and other and {other, f"{kind}_{other}"} & {given.rpartition(".")[2] for given in state.source}:
        state.idle(key, f"only for LoRA adapters; {kind}_{other} counts")
        return True
    return False


def _translate_pattern(state: Translation, key: str, leaf: str, value: Any) -> None:
    """peft's patterns: of several that match, its first counts, here the last."""
    if not isinstance(value, Mapping) or not value:
        if value in (None, "", [], {}):
            state.rows.append(Row(key, "taken", "empty"))
        else:
            state.wrong(key, f"must be a table of module names, not {shown(value)}")
        return
    grouped: dict[tuple[str, float], list[int | None]] = {}
    for name, size in list(value.items())[::-1]:
        selector, found = _selector(str(name)), number(size)
        if selector is None or found is None:
            state.refuse(f"{key}: {name}", "it names no matrix that an adapter can learn, or no number")
            continue
        layer, part = selector
        grouped.setdefault((part, found), []).append(layer)
    entries = []
    for (part, size), layers in grouped.items():
        entries += [f"{part}={size:g}"] if None in layers else []
        numbers = adapter_targets.layers_text([layer for layer in layers if layer is not None])
        entries += [f"layers.{run}.{part}={size:g}" for run in numbers.split(", ") if run]
    if entries:
        state.take(key, f"adapter.{leaf}", ", ".join(entries), original=f"{len(value)} patterns")


def _selector(name: str) -> tuple[int | None, str] | None:
    """A layer, or None for all, and a part, from a module name that peft would match at its end."""
    plain = name.removeprefix("^").removesuffix("$").replace("\\.", ".")
    target = projection_of(plain)
    match = re.fullmatch(r"(?:.*\.)?layers\.(\d+)\..+", plain)
    if target is None or re.search(r"[^\w.]", plain):
        return None
    where, projection = target
    if where == "mlp":
        last = plain.rpartition(".")[2]
        part = f"mlp.{last.removesuffix('_proj')}" if last in ("gate_proj", "up_proj", "down_proj") else "mlp"
    else:
        part = projection if where == "both" else f"{where}.{projection}"
    return (int(match[1]) if match else None), part


def _translate_layers(state: Translation, key: str, value: Any) -> None:
    numbers = value if isinstance(value, list) else [value]
    if value is None or value == []:
        state.rows.append(Row(key, "taken", "all layers"))
    elif all(type(item) is int and item >= 0 for item in numbers):
        state.take(key, "adapter.layers", adapter_targets.layers_text(numbers), original=value)
    else:
        state.wrong(key, f"must be numbers of layers, not {shown(value)}")


def layers_in(names: Sequence[str]) -> str | None:
    """The layers that a list of full module names is about, as a setting; None if it names all layers.

    Raises ValueError where the names are not the same in every layer.
    """
    by_layer: dict[int, set[str]] = {}
    for name in names:
        match = re.fullmatch(r"(?:.*\.)?layers\.(\d+)\.(.+)", name)
        if match:
            by_layer.setdefault(int(match[1]), set()).add(match[2])
    if not by_layer:
        return None
    if len(set(map(frozenset, by_layer.values()))) > 1 or sum(map(len, by_layer.values())) != len(set(names)):
        raise ValueError("the same modules are trained in every layer here")
    return adapter_targets.layers_text(list(by_layer))


def _translate_dimension(state: Translation, key: str, value: Any) -> None:
    """A dimension beyond every matrix (10000 in Side-Step) asks for whole factors, any other one for a rank."""
    found = number(value)
    if found is None or found < 1:
        state.wrong(key, "must be a number above 0")
    elif found > _LARGEST_RANK:
        state.take(key, "adapter.lokr_full_matrix", True, note="larger than any factor", original=value)
    else:
        state.take(key, "adapter.rank", value)
        state.values.setdefault("adapter.lokr_full_matrix", False)
