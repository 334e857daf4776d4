"""What the loss on held-out songs says: still learning, or learning by heart. Pure.

Losses of different recipes cannot be compared, so every verdict is against this run's own measurements: the first,
before any step, and the lowest since.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from sidestep_tui.core import text
from sidestep_tui.protocol.events import Event

Verdict = Literal["", "learning", "flat", "rising", "overfitting"]

_FLAT = 0.002
"""Changes below this share of the baseline are none."""
_LOST = 0.25
"""Share of the gain that must be lost again before it is called overfitting."""
_PATIENCE = 3
"""Measurements since the lowest one; fewer may be chance."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The measurements of a run so far, at increasing steps."""

    points: tuple[tuple[int, float], ...]
    baseline: float | None
    songs: int

    @classmethod
    def of(cls, evals: Iterable[Event]) -> HeldOut | None:
        """The measurements among `eval` events; None where there are none."""
        points: dict[int, float] = {}
        baseline: float | None = None
        songs = 0
        for event in evals:
            step, loss = event.get("step"), _number(event.get("loss"))
            if type(step) is not int or loss is None:
                continue
            points[step] = loss
            first, count = _number(event.get("baseline")), event.get("songs")
            baseline = first if first is not None and math.isfinite(first) else baseline
            songs = count if type(count) is int else songs
        return cls(tuple(sorted(points.items())), baseline, songs) if points else None

    @property
    def newest(self) -> float:
        """The last measurement."""
        return self.points[-1][1]

    @property
    def best(self) -> tuple[int, float] | None:
        """Step and loss of the lowest measurement after the baseline."""
        later = [(loss, step) for step, loss in self.points if step > 0 and math.isfinite(loss)]
        if not later:
            return None
        loss, step = min(later)
        return step, loss

    @property
    def sentence(self) -> str:
        """The newest loss with what it is judged against: `0.8120, overfitting since step 200 (start 0.9, …)`."""
        best, verdict = self.best, self.verdict
        said = f"{text.number(self.newest)}"
        if verdict == "overfitting" and best is not None:
            said += f", overfitting since step {text.thousands(best[0])}"
        elif verdict:
            said += f", {verdict}"
        against = [] if self.baseline is None or best is None else [f"start {text.number(self.baseline)}"]
        if best is not None and best[1] != self.newest:
            where = "" if verdict == "overfitting" else f" at step {text.thousands(best[0])}"
            against.append(f"best {text.number(best[1])}{where}")
        return f"{said} ({', '.join(against)})" if against else said

    @property
    def verdict(self) -> Verdict:
        """What the newest measurement means; empty while nothing can be said."""
        best, baseline, newest = self.best, self.baseline, self.newest
        if best is None or not baseline or not math.isfinite(newest):
            return ""
        margin = _FLAT * baseline
        since = sum(1 for step, _ in self.points if step > best[0])
        lost = newest - best[1]
        if newest > baseline + margin and len(self.points) > _PATIENCE:
            return "overfitting"
        if since >= _PATIENCE and lost > max(margin, _LOST * (baseline - best[1])):
            return "overfitting"
        if abs(baseline - newest) <= margin:
            return "flat"
        return "learning" if newest < baseline else "rising"


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
