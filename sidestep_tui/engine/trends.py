"""What the curves of a run say against the run's own past: a plateau, learning by heart, a jump. No tensors, no clock.

Losses of different recipes cannot be compared, so nothing here knows the numbers of another run: a rank test says
whether a curve falls or rises beyond its own noise, and a robust spread what a usual step looks like.

Every finding is told once; it must be over before the same is told again.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from sidestep_tui.core import text
from sidestep_tui.engine.curves import History, Jumps, mann_kendall, noise, scatter

FALLING = -1.645
"""Z of the rank test below which a fall is significant at 5 %, one-sided."""
SURELY_FALLING = -2.326
"""The same at 1 %: what ends a plateau, so that chance does not end it and begin it again."""
SURELY_RISING = 3.0
"""A rise that chance brings about once in 700 times, since it is looked for at every measurement."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A warning for the journal: what was noticed, with its numbers, and what may be done about it."""

    code: str
    message: str
    hint: str


class Plateau:
    """Tells when the training loss stopped falling: no significant fall over the last quarter of the run.

    Noise hides a slow fall as well as none. So a plateau is told only where a fall as fast as the run's mean so far
    would have been seen (`VISIBLE` standard errors of a straight line's fall), or where the whole run shows none.
    """

    SHORTEST = 20
    """Epochs in the window, at least."""
    FLAT_AFTER = 60
    """Epochs after which a run that never fell is told."""
    IN_A_ROW = 5
    """Epochs in a row that must say the same."""
    VISIBLE = 4.0
    NO_HINT = -0.67
    """Z above which three of four curves without any trend lie: what a run that never fell must reach."""

    def __init__(self) -> None:
        self.history = History()
        self._told = False
        self._count = 0

    def rises_since(self, epoch: int) -> bool:
        """Whether the loss has risen significantly since the end of `epoch`."""
        return mann_kendall(self.history.means[epoch // self.history.block :]) > -FALLING

    @property
    def has_fallen(self) -> bool:
        """Whether the loss has fallen significantly since the start."""
        return mann_kendall(self.history.means) < FALLING

    def add(self, loss: float) -> Finding | None:
        """Take the mean loss of an epoch; one that is not finite is left out."""
        if not math.isfinite(loss) or not self.history.add(loss) or len(self.history.means) < self.SHORTEST:
            return None
        trend = mann_kendall(self._window())
        if self._told:
            self._told = trend > SURELY_FALLING
            return None
        flat = len(self.history.means) >= self.FLAT_AFTER and mann_kendall(self.history.means) > self.NO_HINT
        self._count = self._count + 1 if trend > FALLING and (flat or self._would_be_seen()) else 0
        if self._count < self.IN_A_ROW:
            return None
        self._told, self._count = True, 0
        return self._finding(flat=flat)

    def ends(self) -> tuple[float, float]:
        """Mean loss of the first and of the last quarter."""
        means = self.history.means
        quarter = max(len(means) // 4, 1)
        return fmean(means[:quarter]), fmean(means[-quarter:])

    def _window(self) -> list[float]:
        return self.history.means[-max(self.SHORTEST, len(self.history.means) // 4) :]

    def _would_be_seen(self) -> bool:
        """Whether the fall of the mean pace so far would stand out of the window's noise.

        The fall of a straight line over n values has the standard error σ√(12/n) (least squares).
        """
        window = self._window()
        first, last = self.ends()
        apart = 0.75 * len(self.history.means)
        expected = (first - last) * len(window) / apart
        return expected > self.VISIBLE * noise(self.history.means) * math.sqrt(12.0 / len(window))

    def _finding(self, *, flat: bool) -> Finding:
        window = self.history.means if flat else self._window()
        half = len(window) // 2
        epochs = text.thousands(len(window) * self.history.block)
        since = f"since the start, {epochs} epochs ago" if flat else f"over the last {epochs} epochs"
        message = (
            f"The training loss has not fallen beyond its noise {since}: {text.number(fmean(window[:half]))} in the "
            f"first half, {text.number(fmean(window[half:]))} in the second, and epochs differ by "
            f"{text.number(noise(window))}."
        )
        if flat:
            return Finding(
                "plateau", message, "Raise the learning rate or the rank, and check that captions and songs fit."
            )
        hint = "Stopping now loses little. To learn more, raise the learning rate or the rank in another run."
        return Finding("plateau", message, hint)

    def state(self) -> dict[str, Any]:
        """What `restore` continues from."""
        return {"history": self.history.state(), "told": self._told, "count": self._count}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        self.history.restore(state["history"])
        self._told, self._count = bool(state["told"]), int(state["count"])


class Overfitting:
    """Tells when held-out songs get worse over several measurements while the training loss keeps what it gained.

    Since the lowest measurement the loss must rise significantly, and by more than both the noise and a share of all
    that was gained: weights wander a little even when nothing is learnt. It is over with the next lowest measurement.
    """

    FEWEST = 8
    """Measurements since the lowest one."""
    MOST = 200
    LOST = 0.25
    """Share of the gain: from here on the viewers' verdict calls it overfitting too (protocol.heldout)."""
    NOISES = 4.0
    """Times the scatter of single measurements; the lowest one of many lies two or three too low itself."""

    def __init__(self) -> None:
        self._lowest: tuple[int, float] | None = None
        self._epoch = 0
        self._since: deque[float] = deque(maxlen=self.MOST)
        self._told = False

    def add(self, step: int, loss: float, baseline: float | None, training: Plateau) -> Finding | None:
        """Take a measurement after `step`; one that is not finite is left out. `baseline` is that of step 0."""
        if not math.isfinite(loss):
            return None
        if self._lowest is None or loss < self._lowest[1]:
            self._lowest, self._epoch = (step, loss), training.history.count
            self._since.clear()
            self._told = False
            return None
        self._since.append(loss)
        if self._told or len(self._since) < self.FEWEST:
            return None
        if not training.has_fallen or training.rises_since(self._epoch):
            return None
        losses = list(self._since)
        now, spread = fmean(losses[-(self.FEWEST // 2) :]), scatter(losses)
        gained = baseline - self._lowest[1] if baseline is not None and math.isfinite(baseline) else 0.0
        least = max(self.LOST * gained, self.NOISES * spread)
        if mann_kendall(losses) < SURELY_RISING or now - self._lowest[1] <= least:
            return None
        self._told = True
        return _learnt_by_heart(self._lowest, len(losses), now, spread, training.ends())

    def state(self) -> dict[str, Any]:
        """What `restore` continues from."""
        lowest = None if self._lowest is None else list(self._lowest)
        return {"lowest": lowest, "epoch": self._epoch, "since": list(self._since), "told": self._told}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        lowest = state["lowest"]
        self._lowest = None if lowest is None else (int(lowest[0]), float(lowest[1]))
        self._epoch = int(state["epoch"])
        self._since = deque((float(loss) for loss in state["since"]), maxlen=self.MOST)
        self._told = bool(state["told"])


class Trends:
    """All that is watched over a run, fed with numbers that are on the host already."""

    CALM = 32
    """Ordinary steps after which a jump or skipped steps are over."""

    def __init__(self) -> None:
        self.training = Plateau()
        self._held_out = Overfitting()
        self._losses = Jumps()
        self._norms = Jumps()
        self._trouble: int | None = None

    def add_step(self, step: int, loss: float, grad_norm: float, *, skipped: bool = False) -> list[Finding]:
        """Take a step; one that was skipped is told by the watchdog and only remembered here."""
        jumps = [
            (name, value, jump)
            for name, value, jumper in (("loss", loss, self._losses), ("gradient norm", grad_norm, self._norms))
            if (jump := jumper.add(value)) is not None
        ]
        if not jumps and not skipped:
            return []
        told = is_calm_at(self._trouble, step)
        self._trouble = step
        return [_jump(step, *jumps[0])] if jumps and told and not skipped else []

    def add_epoch(self, loss: float) -> list[Finding]:
        """Take the mean training loss of an epoch."""
        finding = self.training.add(loss)
        return [finding] if finding else []

    def add_held_out(self, step: int, loss: float, baseline: float | None) -> list[Finding]:
        """Take a measurement of the held-out songs after `step`."""
        finding = self._held_out.add(step, loss, baseline, self.training)
        return [finding] if finding else []

    def state(self) -> dict[str, Any]:
        """Everything that a resumed run needs, as JSON values."""
        return {
            "training": self.training.state(),
            "held_out": self._held_out.state(),
            "losses": self._losses.state(),
            "norms": self._norms.state(),
            "trouble": self._trouble,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned; from nothing, as of a checkpoint from before, begin anew."""
        if not state:
            return
        self.training.restore(state["training"])
        self._held_out.restore(state["held_out"])
        self._losses.restore(state["losses"])
        self._norms.restore(state["norms"])
        self._trouble = None if state["trouble"] is None else int(state["trouble"])


def is_calm_at(trouble: int | None, step: int) -> bool:
    """Whether `step` lies so far behind the last jump or skipped step that it has nothing to do with it."""
    return trouble is None or step - trouble > Trends.CALM


def _jump(step: int, name: str, value: float, usual: tuple[float, float]) -> Finding:
    return Finding(
        "loss_spike",
        f"The {name} of step {text.thousands(step)} is {text.number(value)}; the steps before it were around "
        f"{text.number(usual[0])}, and up to {text.number(usual[1])} would be usual.",
        "A single jump is harmless, and long gradients are clipped. If it comes again or the loss stays high, lower "
        "the learning rate and look at the songs with the highest losses.",
    )


def _learnt_by_heart(
    lowest: tuple[int, float], count: int, now: float, spread: float, training: tuple[float, float]
) -> Finding:
    return Finding(
        "overfitting",
        f"The loss on held-out songs has risen from {text.number(lowest[1])} to {text.number(now)} in the "
        f"{text.plural(count, 'measurement')} since step {text.thousands(lowest[0])} (they scatter by "
        f"{text.number(spread)}), while the training loss fell from {text.number(training[0])} to "
        f"{text.number(training[1])}: the adapter begins to learn songs by heart.",
        "Prefer an adapter from around that step to the final one; or train again with more songs, fewer epochs or "
        "some dropout.",
    )
