"""The keys of other trainers about LoKr, LoHa and OFT: `lokr_linear_dim` and the like, with or without the prefix.

Presets carry the keys of every kind at once; those of the chosen kind count, and of two ranks the kind's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sidestep_tui.schema.import_keys import OFF, Fixed, Meaning, Refuse, Take
from sidestep_tui.schema.import_report import Translation, number

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
        **dict.fromkeys(("rank", "alpha", "lora_alpha"), Refuse("only for LoRA adapters")),
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
    """Translate what no table can: LoKr's dimension, and the rank of a LoRA beside it. False if it is neither."""
    short = leaf.removeprefix(f"{kind}_")
    if kind == "lokr" and short == "linear_dim":
        _translate_dimension(state, key, value)
        return True
    other = _OF_LORA.get(leaf)
    if kind and other and {other, f"{kind}_{other}"} & {given.rpartition(".")[2] for given in state.source}:
        state.refuse(key, f"only for LoRA adapters; {kind}_{other} counts")
        return True
    return False


def _translate_dimension(state: Translation, key: str, value: Any) -> None:
    """A dimension beyond every matrix (10000 in Side-Step) asks for whole factors, any other one for a rank."""
    found = number(value)
    if found is None or found < 1:
        state.refuse(key, "must be a number above 0")
    elif found > _LARGEST_RANK:
        state.take(key, "adapter.lokr_full_matrix", True, note="larger than any factor", original=value)
    else:
        state.take(key, "adapter.rank", value)
        state.values.setdefault("adapter.lokr_full_matrix", False)
