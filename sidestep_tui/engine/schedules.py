"""The learning rate as a pure function of the step, so that a resumed or extended run needs no stored schedule."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sidestep_tui.schema.optim import OptimSettings

WARMUP_START = 0.1
"""Share of the peak at which warm-up begins."""

FIRST_CYCLE = 0.25
"""Share of the steps after warm-up that the first cosine of a schedule with restarts takes; each next is twice as long.

The third one would end behind the run, which stops a quarter of its way down.
"""

DECAY_SHARE = 0.2
"""Share of all steps in which WSD falls from the peak to the floor: the length that Hägele et al. found enough
(arXiv:2405.18392)."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Learning rate of each optimizer step of a run of `total_steps` (steps count from 0)."""

    kind: str
    peak: float
    floor: float
    warmup_steps: int
    total_steps: int

    @classmethod
    def of(cls, optim: OptimSettings, total_steps: int, *, warmed_up_in: int | None = None) -> Schedule:
        """The schedule that the settings ask for over `total_steps`, step limit included.

        Warm-up never takes more than half of a run, so that the peak is reached even in a very short one.
        `warmed_up_in` says in how many steps a resumed run has already warmed up: making the run longer must not
        warm it up again.
        """
        warmup = warmed_up_in if warmed_up_in is not None else min(optim.warmup_steps, total_steps // 2)
        return cls(optim.schedule, optim.lr, optim.lr_floor, warmup, total_steps)

    def lr(self, step: int) -> float:
        """Learning rate of step `step`: from a tenth of the peak up in a line, then between peak and floor."""
        if step < self.warmup_steps:
            return self.peak * (WARMUP_START + (1.0 - WARMUP_START) * step / self.warmup_steps)
        if self.kind == "constant":
            return self.peak
        return self.peak * (self.floor + (1.0 - self.floor) * self._shape(step))

    def _shape(self, step: int) -> float:
        """1 at the peak and 0 at the floor, for a step behind warm-up."""
        last = max(self.total_steps - 1, self.warmup_steps + 1)
        progress = min((step - self.warmup_steps) / (last - self.warmup_steps), 1.0)
        match self.kind:
            case "cosine":
                return 0.5 * (1.0 + math.cos(math.pi * progress))
            case "cosine_restarts":
                return 0.5 * (1.0 + math.cos(math.pi * self._cycle_progress(step)))
            case "wsd":
                begin = max(self.total_steps - 1 - round(DECAY_SHARE * self.total_steps), self.warmup_steps)
                return 1.0 - min(max(step - begin, 0) / max(last - begin, 1), 1.0)
            case _:
                return 1.0 - progress

    def _cycle_progress(self, step: int) -> float:
        """How far the cosine that `step` lies in has come, from 0 to below 1."""
        length = max(1, int((self.total_steps - self.warmup_steps) * FIRST_CYCLE))
        place = step - self.warmup_steps
        while place >= length:
            place -= length
            length *= 2
        return place / length
