"""How hard each song is, over the epochs: from what the engine tells at their ends, to a table with the worst first.

A training song's number is its loss against that of all songs at the same noise levels: 1 is usual. Of held-out songs
it is the loss of the same crops and levels every time, against the mean of all of them. Pure.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean, median
from typing import Literal

from sidestep_tui.protocol.events import Event
from sidestep_tui.protocol.fields import float_of, int_of

Trend = Literal["", "falling", "steady", "rising"]

_KEPT = 48
"""Epochs and measurements that are remembered."""
_FEWEST = 3
"""Measurements before anything is said about a song."""
_MOVED = 0.05
"""Change that counts as a trend."""
_FAR = 3.5
"""Robust standard deviations from the median that make an outlier (Iglewicz and Hoaglin, 1993)."""
_HARD, _EASY = 1.25, 0.6
"""An outlier must also be this far from usual: among very even songs a small difference is no trouble."""


@dataclass(frozen=True, slots=True)
class SongLoss:
    """One row of the table."""

    name: str
    ratio: float
    """Its loss against what is usual."""
    loss: float | None
    """Its plain loss, where it is held out."""
    count: int
    """How many of the remembered measurements tell of it."""
    trend: Trend
    ratios: tuple[float, ...]
    """The newest measurements, oldest first."""
    held_out: bool
    hint: str
    """What may be wrong with a song that stands out; empty for the others."""


class SongLosses:
    """Takes in the ends of epochs and the measurements of held-out songs; looks at them when somebody asks.

    A journal of a day may tell a hundred songs at each of thousands of epochs: only the newest are kept.
    """

    def __init__(self) -> None:
        self._told: dict[bool, deque[Event]] = {held_out: deque(maxlen=_KEPT) for held_out in (False, True)}
        self.version = 0
        """Rises with every change."""

    def add(self, event: Event, *, held_out: bool) -> None:
        """Take in an `epoch` or an `eval` event."""
        if event.get("by_song"):
            self._told[held_out].append(event)
            self.version += 1

    def go_back_to(self, step: int) -> None:
        """Forget what was measured past `step`."""
        for held_out, told in self._told.items():
            self._told[held_out] = deque((event for event in told if int_of(event, "step") <= step), maxlen=_KEPT)
        self.version += 1

    def table(self) -> list[SongLoss]:
        """Every song, those first that are hardest for what they are."""
        rows: list[SongLoss] = []
        for held_out, told in self._told.items():
            songs: dict[str, list[tuple[float, float]]] = {}
            for event in told:
                for name, ratio, loss in _measured(event, held_out=held_out):
                    songs.setdefault(name, []).append((ratio, loss))
            strange = _outliers({name: points[-1][0] for name, points in songs.items()})
            rows += [_row(name, points, strange.get(name, ""), held_out=held_out) for name, points in songs.items()]
        return sorted(rows, key=lambda row: (-row.ratio, row.name))


def _measured(event: Event, *, held_out: bool) -> list[tuple[str, float, float]]:
    """Name, loss against what is usual, and plain loss of each song in an event."""
    told = event.get("by_song")
    if type(told) is not dict:
        return []
    values = {name: float_of(told, name) for name in told if type(name) is str}
    values = {name: value for name, value in values.items() if math.isfinite(value) and value >= 0.0}
    usual = fmean(values.values()) if held_out and values else 1.0
    return [(name, value / usual, value) for name, value in values.items()] if usual > 0.0 else []


def _row(name: str, points: list[tuple[float, float]], strange: str, *, held_out: bool) -> SongLoss:
    ratios = tuple(ratio for ratio, _ in points)
    trend = _trend(ratios)
    hint = _hint(strange, trend) if len(ratios) >= _FEWEST else ""
    return SongLoss(name, ratios[-1], points[-1][1] if held_out else None, len(points), trend, ratios, held_out, hint)


def _trend(ratios: tuple[float, ...]) -> Trend:
    """The newer half against the older one; halves even out the noise of single epochs."""
    if len(ratios) < _FEWEST:
        return ""
    half = max(len(ratios) // 2, 1)
    moved = fmean(ratios[-half:]) - fmean(ratios[:half])
    if abs(moved) < _MOVED:
        return "steady"
    return "rising" if moved > 0 else "falling"


def _outliers(ratios: Mapping[str, float]) -> dict[str, str]:
    """Songs far from the others: `hard` or `easy`."""
    if len(ratios) < _FEWEST + 1:
        return {}
    middle = median(ratios.values())
    spread = 1.4826 * median(abs(ratio - middle) for ratio in ratios.values())
    found = {}
    for name, ratio in ratios.items():
        if ratio > _HARD and ratio - middle > _FAR * spread:
            found[name] = "hard"
        elif ratio < _EASY and middle - ratio > _FAR * spread:
            found[name] = "easy"
    return found


def _hint(strange: str, trend: Trend) -> str:
    if strange == "hard":
        if trend == "falling":
            return "harder than the rest, but being learnt"
        return "far harder than the rest: wrong caption or lyrics? broken audio?"
    if strange == "easy":
        return "far easier than the rest: near silence, or a copy of another song?"
    return ""


def matching(rows: Iterable[SongLoss], wanted: str) -> list[SongLoss]:
    """The rows whose name or hint holds `wanted`; all of them without one."""
    needle = wanted.casefold().strip()
    return [row for row in rows if needle in row.name.casefold() or needle in row.hint]
