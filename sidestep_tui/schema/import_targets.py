"""The modules that other trainers name as targets, as attention, projections and feed-forward layers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sidestep_tui.schema import import_adapter
from sidestep_tui.schema.fields import fields_by_path
from sidestep_tui.schema.import_keys import SPLIT_TARGET_KEYS, projection_of
from sidestep_tui.schema.import_report import Row, Translation, shown
from sidestep_tui.schema.values import check_value

_ALL_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""What peft's word for everything comes to in the layers of this model."""


def translate_targets(state: Translation, keys: Mapping[str, str]) -> None:
    """Names of modules → which attention, which projections, and whether the feed-forward layers learn."""
    lists: dict[str, list[str]] = {}
    for leaf, key in keys.items():
        names = _names(state.source[key])
        if names:
            lists[leaf] = names
        elif state.source[key] == "" and leaf in SPLIT_TARGET_KEYS.values():
            state.rows.append(Row(key, "taken", "empty: the common list counts"))
        else:
            state.wrong(key, f"must be a list of module names, not {shown(state.source[key])}")
    for leaf, reason in _overruled_targets(state.values.get("adapter.attention", "both"), lists).items():
        state.refuse(keys[leaf], reason)
        del lists[leaf]
    wanted: dict[str, set[str]] = {"self": set(), "cross": set(), "both": set(), "mlp": set()}
    for leaf, names in lists.items():
        known = {name: target for name in names if (target := projection_of(name)) is not None}
        for name in names:
            if name not in known:
                state.refuse(f"{keys[leaf]}: {name}", "the model has no module of that name that an adapter can learn")
            elif known[name][0] == "mlp" and state.values.get("adapter.mlp") is False:
                state.refuse(f"{keys[leaf]}: {name}", f"{state.given['adapter.mlp']} leaves the MLP layers alone")
                del known[name]
        for where, projection in known.values():
            wanted[where].add(projection)
        try:
            layers = import_adapter.layers_in(list(known))
        except ValueError as error:
            state.refuse(f"{keys[leaf]}: layers", f"{error}; all layers learn")
            layers = None
        if layers is not None:
            state.take(f"{keys[leaf]}: layers", "adapter.layers", layers)
        if known:
            state.rows.append(Row(keys[leaf], "translated", _targets_in_words(known)))
    mlp = bool(wanted.pop("mlp"))
    _set_targets(state, wanted, set().union(*wanted.values()), mlp=mlp)


def _overruled_targets(attention: str, lists: Mapping[str, list[str]]) -> dict[str, str]:
    """Which lists of targets do not count, and why: one set of projections serves both attentions here."""
    overruled = {
        leaf: f"without effect: attention is {attention}"
        for side, leaf in SPLIT_TARGET_KEYS.items()
        if leaf in lists and attention not in ("both", side)
    }
    split = [leaf for leaf in SPLIT_TARGET_KEYS.values() if leaf in lists and leaf not in overruled]
    if not split:
        return overruled
    common = next((leaf for leaf in lists if leaf not in SPLIT_TARGET_KEYS.values()), "")
    sides = [leaf for side, leaf in SPLIT_TARGET_KEYS.items() if attention in ("both", side)]
    per_side = [sorted(lists.get(leaf, lists.get(common, []))) for leaf in sides]
    if per_side[0] != per_side[-1]:
        overruled.update(dict.fromkeys(split, "self- and cross-attention get the same projections here"))
    elif common and sorted(lists[common]) != per_side[0]:
        overruled[common] = f"overruled by {split[0]}"
    return overruled


def _set_targets(state: Translation, wanted: Mapping[str, set[str]], projections: set[str], *, mlp: bool) -> None:
    if not projections and not mlp:
        return
    if projections:
        spec = fields_by_path()["adapter.projections"]
        state.values["adapter.projections"] = check_value(spec, sorted(projections))
    if mlp:
        state.values["adapter.mlp"] = True
    if "adapter.attention" in state.values:
        return
    if not projections:
        state.values["adapter.attention"] = "none"
    elif wanted["self"] and not wanted["cross"] and not wanted["both"]:
        state.values["adapter.attention"] = "self"
    elif wanted["cross"] and not wanted["self"] and not wanted["both"]:
        state.values["adapter.attention"] = "cross"
    else:
        state.values["adapter.attention"] = "both"


def _targets_in_words(known: Mapping[str, tuple[str, str]]) -> str:
    projections = [name for name in "qkvo" if any(target[1] == name for target in known.values())]
    parts = [f"adapter.projections = {', '.join(projections)}"] if projections else []
    if any(target[0] == "mlp" for target in known.values()):
        parts.append("adapter.mlp = true")
    return "; ".join(parts)


def _names(value: Any) -> list[str] | None:
    """Module names from a list or from one string with spaces or commas."""
    if value == "all-linear":
        return list(_ALL_LINEAR)
    if isinstance(value, str):
        return [name for name in re.split(r"[\s,]+", value.strip("[]()")) if name][:100]
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return value[:100]
    return None
