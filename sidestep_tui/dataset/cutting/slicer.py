"""Where songs are cut: slices of exactly equal length whose starts lie where all channels are as good as silent.

The rules (S0 of the sources: no fades, no gain, shared audio instead of crossfades):

- A slice has N samples, always. The first starts at sample 0; the k-th nominally at k hops, hop = N − overlap.
- Each later start may move by the search window, in either direction, to where all channels cross zero together: of
  the samples at which each channel is zero or has its neighbour on the other side, the one whose loudest channel is
  quietest. A window without such a sample gives its quietest one, and the cut says so. Of equally quiet ones the
  nearest to the nominal start wins. Starts are moved from the grid, not from each other, so that nothing drifts.
- No start moves past the end of the slice before it: what the slices hold together has no gaps, even with no overlap.
- What is left after the last whole slice is the tail. A tail worth keeping becomes a slice of N samples that ends with
  the song and so reaches back further than the overlap; its start is not moved, since its length would change.
- On a bar grid the hop is the largest number of whole bars within it, counted from the first sample of the song.

Pure: the samples come through a callable.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from sidestep_tui.core.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_SECONDS: Final = 600.0
"""Longest slice: those under way, two as a rule, are held in memory while they are written."""
DEFAULT_BEATS: Final = 4

Tail = Literal["drop", "keep"]


@dataclass(frozen=True, slots=True)
class Cutting:
    """How songs are to be cut."""

    seconds: float = 30.0
    overlap: float = 1.0
    """Seconds that a slice shares with the next one."""
    window_ms: float = 50.0
    """How far a start may move, in either direction."""
    tail: Tail = "drop"
    """What becomes of a tail shorter than `min_tail`, and of a song shorter than a slice."""
    min_tail: float = 10.0
    """A tail of this many seconds is always kept."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A `Cutting` in samples."""

    length: int
    hop: float
    """A fraction only on a bar grid, where it keeps the starts from drifting off the beat."""
    window: int
    min_tail: int
    keep_tail: bool

    def nominal(self, index: int) -> int:
        """Where slice `index` would start if silence were everywhere."""
        return round(index * self.hop)


@dataclass(frozen=True, slots=True)
class Cut:
    """A start that was found."""

    sample: int
    level: float
    """The loudest channel's absolute value there; full scale is 1."""
    crosses: bool
    """Whether every channel crosses zero right there, within a sample; if not, no place in the search window did."""


@dataclass(frozen=True, slots=True)
class Slice:
    """One slice of a song."""

    start: int
    length: int
    moved: int = 0
    """Samples between the nominal start and this one."""
    level: float | None = None
    """See `Cut`; None where nothing was searched: at the start of the song, and for a tail."""
    crosses: bool = True
    is_tail: bool = False

    @property
    def end(self) -> int:
        """The sample after the last."""
        return self.start + self.length


@dataclass(frozen=True, slots=True)
class Plan:
    """The slices of a song, and what is in none of them."""

    slices: tuple[Slice, ...]
    left_over: int
    """Samples at the end of the song that no slice holds."""


FindCut = Callable[[int, int, int], Cut]
"""Called with the index of a slice and the first and last sample that it may start at."""


def grid(cutting: Cutting, rate: int, bar_seconds: float | None = None) -> Grid:
    """The grid at a sample rate; `UsageError` where the numbers contradict each other."""
    _check(cutting)
    length = round(cutting.seconds * rate)
    hop = length - round(cutting.overlap * rate)
    window = round(cutting.window_ms / 1000 * rate)
    exact: float = hop
    if bar_seconds is not None:
        bar = bar_seconds * rate
        bars = math.floor(hop / bar + 1e-9)
        if bars < 1:
            raise UsageError(
                "No whole bar fits.",
                f"A bar lasts {bar_seconds:.2f} s, from one slice to the next it is {hop / rate:.2f} s.",
                "Make the slices longer or the overlap shorter (--seconds, --overlap).",
            )
        exact = min(bars * bar, float(hop))
    if exact < 2 * window + 4:
        raise UsageError(
            "The search window is too wide.",
            f"Starts {exact / rate:.3f} s apart could meet when each moves by {cutting.window_ms:g} ms.",
            "Make the window smaller, the slices longer or the overlap shorter (--window-ms, --seconds, --overlap).",
        )
    return Grid(length, exact, window, round(cutting.min_tail * rate), cutting.tail == "keep")


def bar_seconds(bpm: float, timesignature: str) -> float:
    """How long a bar lasts; without a time signature it has four beats."""
    beats = int(timesignature) if timesignature else DEFAULT_BEATS
    return beats * 60.0 / bpm


def plan(frames: int, cuts: Grid, find: FindCut) -> Plan:
    """The slices of a song of `frames` samples."""
    if frames < cuts.length:
        whole = (Slice(0, frames),) if cuts.keep_tail and frames > 0 else ()
        return Plan(whole, 0 if whole else frames)
    slices = [Slice(0, cuts.length)]
    # The second case: where next to nothing is shared and the last start moved back, a whole slice may fit after it
    # although its nominal start lies too late. Taken for a tail, it would leave a gap.
    while (nominal := cuts.nominal(len(slices))) + cuts.length <= frames or frames - slices[-1].end > cuts.length:
        before = slices[-1].start
        first = nominal - cuts.window
        last = min(nominal + cuts.window, before + cuts.length, frames - cuts.length)
        cut = find(len(slices), first, last)
        slices.append(Slice(cut.sample, cuts.length, cut.sample - nominal, cut.level, cut.crosses))
    left_over = frames - slices[-1].end
    tail = frames - nominal
    if left_over > 0 and (cuts.keep_tail or tail >= cuts.min_tail):
        slices.append(Slice(frames - cuts.length, cuts.length, is_tail=True))
        left_over = 0
    return Plan(tuple(slices), left_over)


def count(frames: int, cuts: Grid) -> int:
    """How many slices a song of `frames` samples has where no start moves far; hardly ever has it one more or less."""
    if frames < cuts.length:
        return int(cuts.keep_tail and frames > 0)
    whole = math.floor((frames - cuts.length) / cuts.hop) + 1
    # Starts are whole samples: on a bar grid the last may lie half a sample earlier or later than the quotient says.
    if cuts.nominal(whole) + cuts.length <= frames:
        whole += 1
    elif whole > 1 and cuts.nominal(whole - 1) + cuts.length > frames:
        whole -= 1
    # A last slice that could end with the song hardly ever does: its start moves to a better place before.
    rest = frames - cuts.nominal(whole - 1) - cuts.length or (cuts.window if whole > 1 else 0)
    tail = frames - cuts.nominal(whole)
    return whole + int(rest > 0 and (cuts.keep_tail or tail >= cuts.min_tail))


def quietest_crossing(samples: NDArray[Any], offset: int, first: int, last: int, nominal: int) -> Cut:
    """The best start from `first` to `last`, both included; how, the module says.

    `samples` [n, channels] are floats of full scale 1, the first of them at position `offset` in the song; they reach
    a sample beyond the search on either side where the song does.
    """
    # Deferred: numpy takes 200 ms to import (measured), and the terminal side imports this package.
    import numpy as np

    loudest = np.abs(samples).max(axis=1)
    here = np.arange(first, last + 1)
    inside = slice(first - offset, last + 1 - offset)
    candidates = np.flatnonzero(sign_changes(samples)[inside].all(axis=1))
    crosses = len(candidates) > 0
    if not crosses:
        candidates = np.arange(len(here))
    levels = loudest[inside][candidates]
    quietest = candidates[levels == levels.min()]
    position = int(here[quietest[np.abs(here[quietest] - nominal).argmin()]])
    return Cut(position, float(loudest[position - offset]), crosses)


def sign_changes(samples: NDArray[Any]) -> NDArray[Any]:
    """True where a channel of samples [n, channels] is zero or has a neighbour on the other side of zero."""
    import numpy as np

    signs = np.sign(samples)
    changes = signs[1:] * signs[:-1] < 0
    found: NDArray[np.bool_] = signs == 0
    found[1:] |= changes
    found[:-1] |= changes
    return found


def _check(cutting: Cutting) -> None:
    """Refuse numbers that mean nothing together."""
    for name, value in (
        ("The length of slices", cutting.seconds),
        ("The overlap", cutting.overlap),
        ("The search window", cutting.window_ms),
        ("The shortest tail", cutting.min_tail),
    ):
        if not math.isfinite(value) or value < 0:
            raise UsageError(f"{name}, {value:g}, is no length of time.", "", "Give a number from 0.")
    if not 0 < cutting.seconds <= MOST_SECONDS:
        raise UsageError(
            f"Slices of {cutting.seconds:g} s cannot be made.",
            f"They last from a moment to {MOST_SECONDS:g} s.",
            "30 or 60 seconds are usual.",
        )
    if cutting.overlap > cutting.seconds / 2:
        raise UsageError(
            f"Slices of {cutting.seconds:g} s cannot share {cutting.overlap:g} s.",
            "Beyond half of a slice, the same sound would be stored and learned three times and more.",
            f"Make the overlap {cutting.seconds / 2:g} s or less.",
        )
