"""One value of one setting: from text, from a file, back to text, always within its bounds.

`check_value` takes what TOML or JSON holds and is strict about types; `parse_value` takes what a person typed.
Both raise a SettingsError whose title is a whole sentence with the bound.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

from sidestep_tui.core import text
from sidestep_tui.core.errors import SettingsError
from sidestep_tui.schema.fields import LARGEST_EXACT, FieldSpec, format_number, is_whole

__all__ = ["check_value", "format_number", "format_value", "parse_value"]

_NUMBER = re.compile(r"[+-]?(?:\d[\d_]*)?(?:\.\d[\d_]*|\.)?(?:[eE][+-]?\d{1,4})?", re.ASCII)
_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")


def check_value(spec: FieldSpec, raw: Any) -> Any:
    """The value of `spec` that a file or another program gave, in the setting's own type."""
    if spec.kind == "bool":
        if not isinstance(raw, bool):
            raise _refusal(spec, raw, "true or false")
        return raw
    if spec.kind in ("int", "float"):
        return _check_number(spec, raw)
    if spec.kind == "choices":
        if isinstance(raw, str) or not isinstance(raw, Sequence) or not all(isinstance(item, str) for item in raw):
            raise _refusal(spec, raw, f"a list of {spec.bounds}")
        return _check_choices(spec, list(raw))
    if isinstance(raw, bool) and _has_switch(spec):
        return "on" if raw else "off"
    if not isinstance(raw, str):
        raise _refusal(spec, raw, f"one of {spec.bounds}" if spec.kind == "choice" else "text")
    return _check_choice(spec, raw) if spec.kind == "choice" else _check_text(spec, raw)


def parse_value(spec: FieldSpec, typed: str) -> Any:
    """The value of `spec` that a person typed: `1e-4`, `1_000`, `60 s`, `yes`, `q,k,v`."""
    if spec.kind in ("text", "path"):
        return _check_text(spec, typed.strip())
    word = typed.strip()
    if spec.kind == "bool":
        if word.lower() in _TRUE:
            return True
        if word.lower() in _FALSE:
            return False
        raise _refusal(spec, word, "true or false")
    if spec.kind == "choice":
        word = word.lower()
        if _has_switch(spec) and word in _TRUE + _FALSE:
            word = "on" if word in _TRUE else "off"
        return _check_choice(spec, word)
    if spec.kind == "choices":
        return _check_choices(spec, [part.lower() for part in re.split(r"[\s,+]+", word.strip("[]()")) if part])
    if spec.meta.unit and word.lower().endswith(spec.meta.unit):
        word = word[: -len(spec.meta.unit)].rstrip()
    if not word or not _NUMBER.fullmatch(word) or not any(char.isdigit() for char in word):
        raise _refusal(spec, typed.strip(), _expected_number(spec))
    number = float(word.replace("_", ""))
    return _check_number(spec, int(number) if is_whole(number) else number)


def format_value(spec: FieldSpec, value: Any) -> str:
    """The text that `parse_value` turns into `value` again."""
    return spec.write(value)


def _has_switch(spec: FieldSpec) -> bool:
    """Whether a choice is a switch with more positions, which `true` and `false` name too."""
    return spec.kind == "choice" and {"on", "off"} <= set(spec.choices)


def _check_number(spec: FieldSpec, raw: Any) -> int | float:
    # bool is an int in Python, never in a settings file.
    if isinstance(raw, bool) or not isinstance(raw, (int, float)):
        raise _refusal(spec, raw, _expected_number(spec))
    if abs(raw) > LARGEST_EXACT or not math.isfinite(raw):
        raise _refusal(spec, raw, _expected_number(spec))
    if spec.kind == "int" and not is_whole(raw):
        raise _refusal(spec, raw, _expected_number(spec))
    value: int | float = int(raw) if spec.kind == "int" else float(raw)
    too_low = spec.low is not None and (value <= spec.low if spec.low_open else value < spec.low)
    too_high = spec.high is not None and (value >= spec.high if spec.high_open else value > spec.high)
    if too_low or too_high:
        raise _refusal(spec, raw, _expected_number(spec))
    return value


def _check_choice(spec: FieldSpec, raw: str) -> str:
    if raw not in spec.choices:
        raise _refusal(spec, raw, f"one of {spec.bounds}", text.did_you_mean(raw, spec.choices))
    return raw


def _check_choices(spec: FieldSpec, raw: list[str]) -> tuple[str, ...]:
    unknown = [item for item in raw if item not in spec.choices]
    if unknown or len(raw) < spec.min_length:
        raise _refusal(spec, ", ".join(unknown or raw), f"at least one of {spec.bounds}")
    return tuple(choice for choice in spec.choices if choice in raw)


def _check_text(spec: FieldSpec, raw: str) -> str:
    # Control characters, line separators, and the lone surrogates that stand for undecodable bytes in arguments.
    if any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in raw):
        raise _refusal(spec, raw, "one line of text without control characters")
    fits = len(raw) >= spec.min_length and (spec.max_length is None or len(raw) <= spec.max_length)
    if not fits or (spec.pattern and not re.fullmatch(spec.pattern, raw)):
        raise _refusal(spec, raw, spec.bounds or "text")
    return raw


def _expected_number(spec: FieldSpec) -> str:
    kind = "a whole number" if spec.kind == "int" else "a number"
    unit = f" ({spec.meta.unit})" if spec.meta.unit else ""
    return f"{kind}{unit}, {spec.bounds}" if spec.bounds else f"{kind}{unit}"


def _refusal(spec: FieldSpec, raw: Any, expected: str, hint: str = "") -> SettingsError:
    if isinstance(raw, str):
        printable = "".join(char if char.isprintable() else "?" for char in raw[:41])
        shown = f"'{printable if len(raw) <= 40 else printable[:39] + '…'}'" if raw else "empty"
    elif isinstance(raw, (list, dict)):
        shown = "a list" if isinstance(raw, list) else "a table"
    else:
        written = repr(raw).lower() if isinstance(raw, bool) else repr(raw)
        shown = written if len(written) <= 40 else written[:39] + "…"
    sentence = f"{spec.path} must be {expected}, not {shown}."
    return SettingsError(f"{sentence} {hint}" if hint else sentence)
