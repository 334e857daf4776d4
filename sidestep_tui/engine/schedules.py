"""The learning rate as a pure function of the step, so that a resumed or extended run needs no stored schedule."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sidestep_tui.schema.optim import OptimSettings

WARMUP_START = 0.1
"""Share of the peak at which warm-up begins."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Learning rate of each optimizer step of a run of `total_steps` (steps count from 0)."""

    kind: str
    peak: float
    floor: float
    warmup_steps: int
    total_steps: int

    @classmethod
    def of(cls, optim: OptimSettings, total_steps: int) -> Schedule:
        """The schedule that the settings ask for over `total_steps`, step limit included.

        Warm-up never takes more than half of a run, so that the peak is reached even in a very short one.
        """
        warmup = min(optim.warmup_steps, total_steps // 2)
        return cls(optim.schedule, optim.lr, optim.lr_floor, warmup, total_steps)

    def lr(self, step: int) -> float:
        """Learning rate of step `step`: from a tenth of the peak up in a line, then down to the floor at the last."""
        if step < self.warmup_steps:
            return self.peak * (WARMUP_START + (1.0 - WARMUP_START) * step / self.warmup_steps)
        if self.kind == "constant":
            return self.peak
        last = max(self.total_steps - 1, self.warmup_steps + 1)
        progress = min((step - self.warmup_steps) / (last - self.warmup_steps), 1.0)
        shape = 0.5 * (1.0 + math.cos(math.pi * progress)) if self.kind == "cosine" else 1.0 - progress
        return self.peak * (self.floor + (1.0 - self.floor) * shape)
