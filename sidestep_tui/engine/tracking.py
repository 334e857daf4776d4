"""Which epoch was best, and when to stop waiting for a better one."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Any

WINDOW = 5
"""Epochs in the moving average (MA5)."""

MIN_IMPROVEMENT = 0.001
"""How far the moving average must fall to count as a new best."""


@dataclass(frozen=True, slots=True)
class Best:
    """The best moving average so far, and where it was reached."""

    step: int
    epoch: int
    loss: float


class Tracker:
    """Follows the mean loss of epochs.

    The moving average needs five epochs and runs from the first one, so that it is a mean of five on the very first
    epoch that may be best. Epochs count from 1. Best is looked for from epoch `best_after` on; patience counts epochs
    since the last best, or since the first one that could have been. `baseline` is the loss of the held-out songs
    before the first step, against which later ones are judged.
    """

    def __init__(self, best_after: int, patience: int) -> None:
        self.best_after = best_after
        self.patience = patience
        self.best: Best | None = None
        self.smoothed: float | None = None
        self.baseline: float | None = None
        self._losses: deque[float] = deque(maxlen=WINDOW)
        self._waiting_since: int | None = None

    def add_epoch(self, epoch: int, step: int, loss: float) -> bool:
        """Take the mean loss of a finished epoch; true if it is the new best."""
        self._losses.append(loss)
        self.smoothed = sum(self._losses) / WINDOW if len(self._losses) == WINDOW else None
        if self.smoothed is None or epoch < self.best_after:
            return False
        if self._waiting_since is None:
            self._waiting_since = epoch
        if not math.isfinite(self.smoothed):
            return False
        if self.best is not None and self.smoothed >= self.best.loss - MIN_IMPROVEMENT:
            return False
        self.best = Best(step, epoch, self.smoothed)
        self._waiting_since = epoch
        return True

    def out_of_patience(self, epoch: int) -> bool:
        """Whether `patience` epochs brought no new best."""
        return self.patience > 0 and self._waiting_since is not None and epoch - self._waiting_since >= self.patience

    def state(self) -> dict[str, Any]:
        """Everything that a resumed run needs, as JSON values (a loss that is not a number travels as text)."""
        return {
            "losses": [_plain(loss) for loss in self._losses],
            "baseline": None if self.baseline is None else _plain(self.baseline),
            "waiting_since": self._waiting_since,
            "best": None if self.best is None else [self.best.step, self.best.epoch, self.best.loss],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        self._losses = deque((float(loss) for loss in state["losses"]), maxlen=WINDOW)
        self._waiting_since = state["waiting_since"]
        baseline = state.get("baseline")
        self.baseline = None if baseline is None else float(baseline)
        best = state["best"]
        self.best = None if best is None else Best(int(best[0]), int(best[1]), float(best[2]))
        self.smoothed = sum(self._losses) / WINDOW if len(self._losses) == WINDOW else None


def _plain(loss: float) -> float | str:
    return loss if math.isfinite(loss) else str(loss)
