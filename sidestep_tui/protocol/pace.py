"""How fast a run advances by the wall clock, and where its time goes: data, forward, backward, optimizer, saving. Pure.

Only the newest stretch of steps counts: what was slow an hour ago helps nobody now.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from sidestep_tui.protocol.events import Event
from sidestep_tui.protocol.fields import float_of, seconds_of

PARTS = ("data", "forward", "backward", "optimizer")
"""Parts of a step that a `step` event may tell as `data_s`, `forward_s`, `backward_s` and `optimizer_s`."""

_WINDOW = 64
_LONG_WINDOW = 512
"""Steps whose parts are added up: enough to hold a few saves."""


class Pace:
    """Steps against the wall clock, over the newest ones."""

    def __init__(self) -> None:
        self._steps: deque[Event] = deque(maxlen=_WINDOW)

    def add(self, events: Sequence[Event]) -> None:
        """Take in steps; they are looked at when somebody asks."""
        self._steps.extend(events[-_WINDOW:])

    def clear(self) -> None:
        """A new stretch begins."""
        self._steps.clear()

    @property
    def newest_t(self) -> float | None:
        """When the newest step was done."""
        times = (float_of(event, "t") for event in reversed(self._steps))
        return next((t for t in times if math.isfinite(t)), None)

    @property
    def seconds_per_step(self) -> float | None:
        """The recent pace; None until two steps of this stretch are in."""
        points: list[tuple[float, int]] = [
            (t, event["step"]) for event in self._steps if math.isfinite(t := float_of(event, "t"))
        ]
        if len(points) < 2:
            return None
        (t0, step0), (t1, step1) = points[0], points[-1]
        if step1 <= step0 or t1 < t0:
            return None
        return (t1 - t0) / (step1 - step0)


def _parts(event: Event) -> tuple[float, ...]:
    """How long the parts of a step took; 0 for those it does not tell."""
    parts = tuple(seconds_of(event, f"{part}_s") for part in PARTS)
    return parts if parts[0] else (seconds_of(event, "data_seconds"), *parts[1:])


@dataclass(frozen=True, slots=True)
class Share:
    """A part of the time: its seconds, and how much of the whole that is."""

    name: str
    seconds: float
    share: float


class Anatomy:
    """Where the time of the newest steps went.

    What the steps do not account for by the wall clock is saving and measuring, as far as those say how long they
    held the training, and `other`.
    """

    def __init__(self) -> None:
        self._steps: deque[Event] = deque(maxlen=_LONG_WINDOW)
        self._breaks: deque[tuple[float, str, float]] = deque(maxlen=_LONG_WINDOW)

    @property
    def tells_parts(self) -> bool:
        """Whether the engine tells forward, backward and optimizer apart."""
        return bool(self._steps) and any(_parts(self._steps[-1])[1:3])

    def add(self, events: Sequence[Event]) -> None:
        """Take in steps; they are looked at when somebody asks, for a journal holds very many."""
        self._steps.extend(events[-_LONG_WINDOW:])

    def hold(self, event: Event, kind: str, seconds: float) -> None:
        """Something held the training for so long: `save` or `measure`."""
        t = float_of(event, "t")
        if math.isfinite(t) and seconds > 0.0:
            self._breaks.append((t, kind, seconds))

    def clear(self) -> None:
        """A new stretch begins."""
        self._steps.clear()
        self._breaks.clear()

    @property
    def steps(self) -> int:
        """How many steps are looked at."""
        return max(len(self._steps) - 1, 0)

    def shares(self) -> list[Share]:
        """The parts that are known, in the order in which they happen; empty until two steps are in.

        The first step of the stretch only gives its end, from where the clock runs.
        """
        timed = [event for event in self._steps if math.isfinite(float_of(event, "t"))]
        if len(timed) < 2:
            return []
        began, ended = float_of(timed[0], "t"), float_of(timed[-1], "t")
        stepping = math.fsum(seconds_of(event, "seconds") for event in timed[1:])
        sums = [math.fsum(column) for column in zip(*map(_parts, timed[1:]), strict=True)]
        if not self.tells_parts:
            sums = [sums[0], max(stepping - sums[0], 0.0)]
        names = PARTS if self.tells_parts else ("data", "compute")
        named = dict(zip(names, sums, strict=True))
        for kind in ("save", "measure"):
            named[kind] = math.fsum(s for t, what, s in self._breaks if what == kind and began < t <= ended)
        known = math.fsum(named.values())
        whole = max(ended - began, known)
        if whole <= 0.0:
            return []
        named["other"] = max(whole - known, 0.0)
        return [Share(name, seconds, seconds / whole) for name, seconds in named.items()]
