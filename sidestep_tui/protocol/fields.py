"""How a field is read from an event that may come from anyone: one of the wrong kind counts as missing. Pure."""

from __future__ import annotations

import math

from sidestep_tui.protocol.events import Event

LARGEST = 2**53
"""Whole numbers up to here survive as floats; anything larger in a journal is damage."""


def text_of(event: Event, key: str) -> str:
    """Prose; empty where there is none."""
    value = event.get(key)
    return value if type(value) is str else ""


def int_of(event: Event, key: str, default: int = 0) -> int:
    """A whole number."""
    value = event.get(key)
    return value if type(value) is int and -LARGEST < value < LARGEST else default


def float_of(event: Event, key: str, default: float = math.nan) -> float:
    """A number, finite or not."""
    value = event.get(key)
    if type(value) is int:
        return float(value) if -LARGEST < value < LARGEST else default
    return value if type(value) is float else default


def seconds_of(event: Event, key: str) -> float:
    """A length of time: 0 where there is none, or no sensible one."""
    value = float_of(event, key, 0.0)
    return value if math.isfinite(value) and value > 0.0 else 0.0
