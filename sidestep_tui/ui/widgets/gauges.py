"""Readings of the machine in fixed widths; a sensor that says nothing is told as such. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sidestep_tui.ui.widgets import braille
from sidestep_tui.ui.widgets.rows import Row

NA = "n/a"
BAR = 12
FULL = 0.92
"""From here on a memory is shown in the warning style."""

_GIB = 1024**3


def number(value: Any) -> float | None:
    """A finite number, or None."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None


def percent(value: Any) -> str:
    """` 97 %`."""
    shown = number(value)
    return f"{shown:3.0f} %" if shown is not None else f"{NA:>5}"


def degrees(value: Any, limit: Any = None) -> str:
    """` 67 °C`, or ` 67/83 °C` with the limit."""
    shown, most = number(value), number(limit)
    if shown is None:
        return f"{NA:>6}"
    return f"{shown:3.0f} °C" if most is None else f"{shown:3.0f}/{most:.0f} °C"


def watts(value: Any, limit: Any = None) -> str:
    """` 331 W`, or ` 331/350 W` with the limit."""
    shown, most = number(value), number(limit)
    if shown is None:
        return f"{NA:>6}"
    return f"{shown:4.0f} W" if most is None else f"{shown:4.0f}/{most:.0f} W"


def used(values: Mapping[str, Any], part: str, total: str) -> str:
    """`11.4/24.0 GiB`."""
    a, b = number(values.get(part)), number(values.get(total))
    if a is None or not b:
        return f"{NA:>12}"
    return f"{a / _GIB:.1f}/{b / _GIB:.1f} GiB"


def share(values: Mapping[str, Any], part: str, total: str) -> float:
    """How full something is, from 0 to 1; 0 where nobody knows."""
    a, b = number(values.get(part)), number(values.get(total))
    return a / b if a is not None and b else 0.0


def gauge(label: str, part: float, words: str, *, ascii_only: bool, warn: bool = False, bar: int = BAR) -> Row:
    """Label, bar and value in fixed columns; with `warn`, a nearly full one turns to the warning style."""
    full, rest = braille.bar(part, bar, ascii_only=ascii_only)
    style = "warn" if warn and part >= FULL else "fill"
    return ((f"{label:<5}", "muted"), (full, style), (rest, "faint"), (f" {words:>15}", ""))
