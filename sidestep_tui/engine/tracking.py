"""Which epoch was best, when to stop waiting for a better one, and where the loss comes from."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Literal

from sidestep_tui.core.errors import SettingsError
from sidestep_tui.engine import trends
from sidestep_tui.engine.trends import Finding, Trends

BestBy = Literal["training", "held_out"]

WINDOW = 5
"""Epochs in the moving average (MA5)."""

MIN_IMPROVEMENT = 0.001
"""How far the loss that is followed must fall to count as a new best."""

BANDS = 4
"""Parts of equal width into which the noise levels from 0 to 1 are told."""

_FINE = 8
"""Parts by which songs are compared: the loss differs by level far more than by song."""
_KEPT = 0.9
"""Share of a song's past that counts on after an epoch: about ten epochs are remembered."""
_SONGS_TOLD = 100
"""Songs told one by one in the journal: half of them the highest, half the lowest."""


@dataclass(frozen=True, slots=True)
class Best:
    """The lowest loss so far, and where it was reached."""

    step: int
    epoch: int
    loss: float


def followed(best_by: Literal["auto", "training", "held_out"], *, held_out: bool) -> BestBy:
    """The loss that best and patience follow: `auto` takes that of the held-out songs where there are any.

    Raises SettingsError when it should be theirs and no song is held out.
    """
    if best_by == "held_out" and not held_out:
        raise SettingsError(
            "There are no held-out songs to judge the best adapter by.",
            "train.best_by is 'held_out', and every song is trained on.",
            "Set data.validation to 10, or train.best_by to 'auto'.",
        )
    if best_by == "auto":
        return "held_out" if held_out else "training"
    return best_by


class Tracker:
    """Follows the losses of a run: which moment was best, whether to wait on, and what the curves say.

    `by` says which loss is followed. Of training, it is the mean over five epochs, which runs from the first one, so
    that it is a mean of five on the very first epoch that may be best. Of held-out songs, it is each measurement by
    itself: the same crops, noise and levels every time need no averaging.

    Epochs count from 1. Best is looked for from epoch `best_after` on; patience counts epochs since the last best, or
    since the first one that could have been. `baseline` is the loss of the held-out songs before the first step,
    against which later ones are judged. `table` says where the loss comes from, `trends` where it goes.
    """

    def __init__(self, best_after: int, patience: int, by: BestBy = "training") -> None:
        self.best_after = best_after
        self.patience = patience
        self.by: BestBy = by
        self.best: Best | None = None
        self.smoothed: float | None = None
        self.score: float | None = None
        """The loss that is followed, when it was last known; None before it decides anything."""
        self.baseline: float | None = None
        self.measured: int | None = None
        """Step at which the held-out songs were measured last."""
        self.table = LossTable()
        self.trends = Trends()
        self._losses: deque[float] = deque(maxlen=WINDOW)
        self._waiting_since: int | None = None
        self._findings: list[Finding] = []

    def follow(self, best_by: Literal["auto", "training", "held_out"], *, held_out: bool) -> None:
        """Follow the loss that the settings ask for; before `restore`. Raises SettingsError as `followed` does."""
        self.by = followed(best_by, held_out=held_out)

    def add_step(self, step: int, loss: float, grad_norm: float, *, skipped: bool) -> None:
        """Take a step, mean loss and length of its gradient."""
        self._findings += self.trends.add_step(step, loss, grad_norm, skipped=skipped)

    def add_epoch(self, epoch: int, step: int, loss: float) -> bool:
        """Take the mean loss of a finished epoch; true if it is the new best."""
        self._losses.append(loss)
        self.smoothed = sum(self._losses) / WINDOW if len(self._losses) == WINDOW else None
        self._findings += self.trends.add_epoch(loss)
        return self.by == "training" and self.smoothed is not None and self._is_best(epoch, step, self.smoothed)

    def add_held_out(self, epoch: int, step: int, loss: float) -> bool:
        """Take a measurement of the held-out songs after `step`, `epoch` epochs done; true if it is the new best."""
        self.measured = step
        if step == 0:
            self.baseline = loss
            return False
        self._findings += self.trends.add_held_out(step, loss, self.baseline)
        return self.by == "held_out" and self._is_best(epoch, step, loss)

    def _is_best(self, epoch: int, step: int, loss: float) -> bool:
        if epoch < self.best_after:
            return False
        if self._waiting_since is None:
            self._waiting_since = epoch
        if not math.isfinite(loss):
            return False
        self.score = loss
        if self.best is not None and loss >= self.best.loss - MIN_IMPROVEMENT:
            return False
        self.best = Best(step, epoch, loss)
        self._waiting_since = epoch
        return True

    def out_of_patience(self, epoch: int) -> bool:
        """Whether `patience` epochs brought no new best."""
        return self.patience > 0 and self._waiting_since is not None and epoch - self._waiting_since >= self.patience

    def take_findings(self) -> list[Finding]:
        """What the curves said since this was asked last."""
        findings, self._findings = self._findings, []
        return findings

    def state(self) -> dict[str, Any]:
        """Everything that a resumed run needs, as JSON values (a loss that is not a number travels as text)."""
        return {
            "losses": [_plain(loss) for loss in self._losses],
            "baseline": None if self.baseline is None else _plain(self.baseline),
            "measured": self.measured,
            "by": self.by,
            "waiting_since": self._waiting_since,
            "score": self.score,
            "best": None if self.best is None else [self.best.step, self.best.epoch, self.best.loss],
            "table": self.table.state(),
            "trends": self.trends.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned; where another loss is followed now, best is looked for anew."""
        self._losses = deque((float(loss) for loss in state["losses"]), maxlen=WINDOW)
        self.smoothed = sum(self._losses) / WINDOW if len(self._losses) == WINDOW else None
        baseline = state.get("baseline")
        self.baseline = None if baseline is None else float(baseline)
        measured = state.get("measured")
        self.measured = None if measured is None else int(measured)
        self.table.restore(state.get("table", {}))
        self.trends.restore(state.get("trends", {}))
        best = state["best"]
        self.best = None if best is None else Best(int(best[0]), int(best[1]), float(best[2]))
        self._waiting_since = state["waiting_since"]
        self.score = state.get("score")
        if self.by != saved_by(state):
            self.best = self.score = self._waiting_since = None


def saved_by(state: dict[str, Any]) -> BestBy:
    """Which loss a saved tracker followed; before there was a choice, that of training."""
    by: BestBy = "held_out" if state.get("by") == "held_out" else "training"
    return by


def in_trouble(state: dict[str, Any], step: int) -> bool:
    """Whether a tracker was saved at `step` soon after a skipped step or a jump of the loss."""
    return not trends.is_calm_at((state.get("trends") or {}).get("trouble"), step)


@dataclass(frozen=True, slots=True)
class Breakdown:
    """Where the loss of a finished epoch came from."""

    by_band: dict[str, float] = field(default_factory=dict)
    """Mean loss of the epoch by noise level, as training weighs it; only bands that were drawn (1 is pure noise)."""
    by_song: dict[str, float] = field(default_factory=dict)
    """The loss of each song over about ten epochs against that of all songs at the same noise levels: 1 is usual."""

    def event(self) -> dict[str, Any]:
        """Fields for the journal; of many songs only those that stand out."""
        ranked = sorted(self.by_song, key=lambda name: self.by_song[name])
        half = _SONGS_TOLD // 2
        told = {*ranked[:half], *ranked[-half:]} if len(ranked) > _SONGS_TOLD else set(ranked)
        return {
            "by_band": self.by_band,
            "by_song": {name: round(value, 4) for name, value in self.by_song.items() if name in told},
        }


class LossTable:
    """Sums of losses by noise level and by song, fed with numbers that are on the host already.

    A song's plain mean loss tells more about the noise levels that it happened to draw than about the song. Each of
    its losses is therefore divided by the mean loss of all songs in the same eighth of the noise levels.
    """

    def __init__(self) -> None:
        self._bands = _Sums()
        self._songs: dict[str, _Sums] = {}

    def add(self, song: str, level: float, loss: float) -> None:
        """Count one finite loss of `song` at noise level `level`."""
        part = min(max(int(level * _FINE), 0), _FINE - 1)
        for sums in (self._bands, self._songs.setdefault(song, _Sums())):
            sums.losses[part] += loss
            sums.counts[part] += 1.0

    def end_epoch(self) -> Breakdown:
        """The numbers of the epoch that ends; the past then fades by a tenth."""
        breakdown = Breakdown(self._by_band(), self._by_song())
        self._bands = _Sums()
        for sums in self._songs.values():
            sums.losses = [_KEPT * loss for loss in sums.losses]
            sums.counts = [_KEPT * count for count in sums.counts]
        return breakdown

    def _by_band(self) -> dict[str, float]:
        width = _FINE // BANDS
        means: dict[str, float] = {}
        for band in range(BANDS):
            parts = slice(band * width, (band + 1) * width)
            if count := math.fsum(self._bands.counts[parts]):
                name = f"{band / BANDS:.2f}-{(band + 1) / BANDS:.2f}"
                means[name] = math.fsum(self._bands.losses[parts]) / count
        return means

    def _by_song(self) -> dict[str, float]:
        usual = [
            math.fsum(sums.losses[part] for sums in self._songs.values())
            / (math.fsum(sums.counts[part] for sums in self._songs.values()) or 1.0)
            for part in range(_FINE)
        ]
        ratios: dict[str, float] = {}
        for song, sums in self._songs.items():
            parts = [part for part in range(_FINE) if usual[part] > 0.0]
            if count := math.fsum(sums.counts[part] for part in parts):
                ratios[song] = math.fsum(sums.losses[part] / usual[part] for part in parts) / count
        return ratios

    def state(self) -> dict[str, Any]:
        """Everything that a resumed run needs, as JSON values."""
        songs = {name: [*sums.losses, *sums.counts] for name, sums in self._songs.items()}
        return {"bands": [*self._bands.losses, *self._bands.counts], "songs": songs}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned; from nothing, as before there was a table, begin anew."""
        self._bands = _Sums.of(state["bands"]) if "bands" in state else _Sums()
        self._songs = {str(name): _Sums.of(numbers) for name, numbers in state.get("songs", {}).items()}


@dataclass(slots=True)
class _Sums:
    """Losses and how many there were, by eighth of the noise levels."""

    losses: list[float] = field(default_factory=lambda: [0.0] * _FINE)
    counts: list[float] = field(default_factory=lambda: [0.0] * _FINE)

    @classmethod
    def of(cls, numbers: list[Any]) -> _Sums:
        if len(numbers) != 2 * _FINE:
            raise ValueError(f"{len(numbers)} sums of losses instead of {2 * _FINE}")
        return cls([float(loss) for loss in numbers[:_FINE]], [float(count) for count in numbers[_FINE:]])


def _plain(loss: float) -> float | str:
    return loss if math.isfinite(loss) else str(loss)
