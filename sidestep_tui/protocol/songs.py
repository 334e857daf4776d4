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

_KEPT = 24
"""Measurements remembered of a song."""
_MOST_SONGS = 10_000
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
    """How many measurements there were."""
    trend: Trend
    ratios: tuple[float, ...]
    """The newest measurements, oldest first."""
    held_out: bool
    hint: str
    """What may be wrong with a song that stands out; empty for the others."""


@dataclass(slots=True)
class _Song:
    held_out: bool
    points: deque[tuple[int, float]]
    count: int = 0
    loss: float | None = None


class SongLosses:
    """Takes in the ends of epochs and the measurements of held-out songs."""

    def __init__(self) -> None:
        self._songs: dict[str, _Song] = {}
        self.version = 0
        """Rises with every change."""

    def __len__(self) -> int:
        return len(self._songs)

    def add(self, event: Event, *, held_out: bool) -> None:
        """Take in an `epoch` or an `eval` event."""
        told = event.get("by_song")
        if type(told) is not dict:
            return
        values = {name: float_of(told, name) for name in told if type(name) is str}
        values = {name: value for name, value in values.items() if math.isfinite(value) and value >= 0.0}
        usual = fmean(values.values()) if held_out and values else 1.0
        if not values or usual <= 0.0:
            return
        step = int_of(event, "step")
        for name, value in values.items():
            self._note(name, step, value / usual, value if held_out else None, held_out=held_out)
        self.version += 1

    def _note(self, name: str, step: int, ratio: float, loss: float | None, *, held_out: bool) -> None:
        song = self._songs.get(name)
        if song is None or song.held_out != held_out:
            if song is None and len(self._songs) >= _MOST_SONGS:
                return
            song = self._songs[name] = _Song(held_out, deque(maxlen=_KEPT))
        song.points.append((step, ratio))
        song.count += 1
        song.loss = loss

    def go_back_to(self, step: int) -> None:
        """Forget what was measured past `step`."""
        for song in self._songs.values():
            while song.points and song.points[-1][0] > step:
                song.points.pop()
                song.count -= 1
        self._songs = {name: song for name, song in self._songs.items() if song.points}
        self.version += 1

    def table(self) -> list[SongLoss]:
        """Every song, those first that are hardest for what they are."""
        rows: list[SongLoss] = []
        for held_out in (False, True):
            songs = {name: song for name, song in self._songs.items() if song.held_out is held_out}
            strange = _outliers({name: song.points[-1][1] for name, song in songs.items()})
            rows += [_row(name, song, strange.get(name, "")) for name, song in songs.items()]
        return sorted(rows, key=lambda row: (-row.ratio, row.name))


def _row(name: str, song: _Song, strange: str) -> SongLoss:
    ratios = tuple(ratio for _, ratio in song.points)
    trend = _trend(ratios)
    hint = _hint(strange, trend) if len(ratios) >= _FEWEST else ""
    return SongLoss(name, ratios[-1], song.loss, song.count, trend, ratios, song.held_out, hint)


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
