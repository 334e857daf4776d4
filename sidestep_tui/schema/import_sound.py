"""What other trainers say about altering songs and holding them out, in our settings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from sidestep_tui.schema.fields import fields_by_path
from sidestep_tui.schema.import_report import Row, Translation, number, shown

_COPIES: Final = 2
"""Others alter songs anew at every visit; here so many altered copies are encoded beforehand."""
_SETTINGS: Final = {"pitch_shift": "data.pitch", "time_stretch": "data.stretch", "add_noise": "data.noise"}
_WHEN_TRUE: Final = {"pitch_shift": 2, "time_stretch": 10.0, "add_noise": 40.0}
_OFF: Final = frozenset({"", "none", "false", "off", "no", "0", "0.0"})


def translate_share(state: Translation, key: str, path: str, value: Any) -> None:
    """A share from 0 to 1 becomes percent; more than 1 is percent already."""
    found = 0.0 if value is None or value is False else number(value)
    if found is None or not math.isfinite(found) or found < 0:
        state.wrong(key, f"must be a share from 0 to 1, not {shown(value)}")
        return
    percent = found * 100 if found <= 1 else found
    state.take(key, path, round(percent), original=value)


def translate_alterations(state: Translation, keys: Mapping[str, str]) -> None:
    """Pitch, tempo and noise that are altered on the fly elsewhere become altered copies of each song."""
    amounts: dict[str, float] = {}
    for leaf, key in keys.items():
        value = state.source[key]
        amount = _amount(leaf, value)
        if amount is None:
            state.wrong(key, f"must be true, false or {_unit(leaf)}, not {shown(value)}")
        elif amount == 0:
            state.rows.append(Row(key, "taken", "off"))
        else:
            before = len(state.rows)
            plain: float = int(amount) if leaf == "pitch_shift" and amount == int(amount) else amount
            state.take(key, _SETTINGS[leaf], plain, original=value, note=f"in {_COPIES} altered copies of each song")
            if state.rows[before].verdict != "refused":
                amounts[leaf] = amount
    if amounts:
        state.values["data.variants"] = _COPIES
        for leaf, path in _SETTINGS.items():
            if leaf not in amounts:
                state.values[path] = type(fields_by_path()[path].default)(0)


def _amount(leaf: str, value: Any) -> float | None:
    """How much is altered at most, in our unit; 0 for not at all, None for what cannot be told."""
    if value is True or (isinstance(value, str) and value.strip().lower() in ("true", "yes", "on")):
        return float(_WHEN_TRUE[leaf])
    if value is None or value is False or (isinstance(value, str) and value.strip().lower() in _OFF):
        return 0.0
    bounds = value if isinstance(value, list) else [value]
    numbers = [found for item in bounds if (found := number(item)) is not None and math.isfinite(found)]
    if not numbers or len(numbers) != len(bounds) or len(numbers) > 2:
        return None
    if leaf == "time_stretch" and len(numbers) == 2 and all(0.5 <= factor <= 2 for factor in numbers):
        return round(max(abs(factor - 1) for factor in numbers) * 100, 3)
    largest = max(map(abs, numbers))
    if leaf == "time_stretch" and largest < 1:
        return round(largest * 100, 3)
    # The amplitudes that others give say nothing without the level of the music.
    return None if leaf == "add_noise" and 0 < largest < 1 else largest


def _unit(leaf: str) -> str:
    return {"pitch_shift": "semitones", "time_stretch": "a share or percent", "add_noise": "decibels"}[leaf]
