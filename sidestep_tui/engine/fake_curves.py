"""What a training run looks like from outside: made-up but lifelike numbers, the same for the same seed."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from sidestep_tui.core.errors import SettingsError
from sidestep_tui.core.nvml import Disk, Gpu, GpuProcess, HostStats
from sidestep_tui.core.text import did_you_mean

GIB = 1024**3
_SMOOTHED_OVER = 5
_BANDS = ("0.00-0.25", "0.25-0.50", "0.50-0.75", "0.75-1.00")
_BAND_SHARES = (1.25, 0.95, 0.8, 1.1)


@dataclass(frozen=True, slots=True)
class FakePlan:
    """How long the pretended run is, how fast, and what befalls it. A `…_at` of None means never."""

    steps: int = 400
    step_seconds: float = 0.02
    steps_per_epoch: int = 40
    save_every: int = 100
    songs: int = 8
    held_out: int = 0
    """Songs that are only measured, at the start and after every epoch."""
    gpus: int = 1
    gpu_gib: float = 11.4
    """Memory in use on each GPU, of 24 GiB."""
    gpu_heat: int = 67
    """Degrees; the cards slow down from 83 on."""
    disk_gib: float = 412.0
    """Room on the disk."""
    data_share: float = 0.02
    """How much of a step is waiting for data."""
    seed: int = 7
    nan_at: int | None = None
    """From this step on the loss is NaN; the engine gives up at the third."""
    die_at: int | None = None
    """At this step the process kills itself with SIGKILL, half a line into the journal."""
    fail_at: int | None = None
    """At this step a bug strikes."""
    oom_at: int | None = None
    """At this step the device is full."""

    @property
    def epochs(self) -> int:
        """Whole passes, the last perhaps shorter."""
        return -(-self.steps // self.steps_per_epoch)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> FakePlan:
        """A plan from a table; refuses what it does not know."""
        known = {field.name for field in fields(cls)}
        for key in values:
            if key not in known:
                raise SettingsError(
                    f"The fake engine has no setting '{key}'.", did_you_mean(key, known), f"Known: {', '.join(known)}."
                )
        plan = cls(**values)
        if plan.steps < 1 or plan.steps_per_epoch < 1 or plan.save_every < 1 or plan.step_seconds < 0:
            raise SettingsError("The fake engine needs at least one step, and no negative time.")
        return plan


class Curves:
    """The numbers of one plan, by step: a resumed run continues the very same curve."""

    def __init__(self, plan: FakePlan) -> None:
        self.plan = plan

    def _noise(self, step: int, salt: int) -> float:
        return random.Random(self.plan.seed * 1_000_003 + step * 31 + salt).gauss(0.0, 1.0)

    def epoch_of(self, step: int) -> int:
        """The epoch that `step` belongs to, from 1."""
        return (max(1, step) - 1) // self.plan.steps_per_epoch + 1

    def loss(self, step: int) -> float:
        """Falls fast, then slowly, and is noisy throughout."""
        if self.plan.nan_at is not None and step >= self.plan.nan_at:
            return math.nan
        progress = step / self.plan.steps
        level = 0.58 + 0.38 * math.exp(-step / (0.06 * self.plan.steps + 1)) + 0.14 * math.exp(-3.0 * progress)
        spread = 0.05 * (0.6 + 0.4 * math.exp(-4.0 * progress))
        spike = 0.22 if self._noise(step, 5) > 2.6 else 0.0
        return round(max(0.05, level + spread * self._noise(step, 1) + spike), 6)

    def lr(self, step: int) -> float:
        """Warm-up over a twentieth, then a cosine down to nothing."""
        peak = 1e-4
        warmup = max(1, self.plan.steps // 20)
        if step <= warmup:
            return peak * step / warmup
        return peak * 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(1, self.plan.steps - warmup)))

    def grad_norm(self, step: int) -> float:
        """Settles with the loss."""
        if self.plan.nan_at is not None and step >= self.plan.nan_at:
            return math.nan
        return round(0.12 + 0.5 * math.exp(-4.0 * step / self.plan.steps) + abs(0.05 * self._noise(step, 2)), 6)

    def seconds(self, step: int) -> float:
        """How long the step took."""
        return round(max(1e-4, self.plan.step_seconds) * (1.0 + 0.04 * abs(self._noise(step, 3))), 6)

    def step_fields(self, step: int) -> dict[str, Any]:
        """Everything that a step event says."""
        seconds = self.seconds(step)
        return {
            "step": step,
            "epoch": self.epoch_of(step),
            "loss": self.loss(step),
            "lr": self.lr(step),
            "grad_norm": self.grad_norm(step),
            "samples_per_s": round(1.0 / seconds, 4),
            "seconds": seconds,
            **self._parts(seconds),
        }

    def _parts(self, seconds: float) -> dict[str, float]:
        """What a step is made of; a little is left over."""
        share = self.plan.data_share
        rest = 0.98 - share
        shares = {"data": share, "forward": 0.31 * rest, "backward": 0.65 * rest, "optimizer": 0.04 * rest}
        return {f"{name}_s": round(seconds * part, 6) for name, part in shares.items()}

    def epoch_loss(self, epoch: int) -> float:
        """The mean loss of one epoch."""
        first = (epoch - 1) * self.plan.steps_per_epoch + 1
        last = min(epoch * self.plan.steps_per_epoch, self.plan.steps)
        return round(math.fsum(self.loss(step) for step in range(first, last + 1)) / (last - first + 1), 6)

    def smoothed_loss(self, epoch: int) -> float | None:
        """The mean of the last five epochs; None before there are five."""
        if epoch < _SMOOTHED_OVER:
            return None
        recent = range(epoch - _SMOOTHED_OVER + 1, epoch + 1)
        return round(math.fsum(self.epoch_loss(item) for item in recent) / _SMOOTHED_OVER, 6)

    def breakdown(self, epoch: int) -> dict[str, dict[str, float]]:
        """Where the loss of an epoch came from: by noise level, and by song against what is usual at its levels.

        The last song is harder than the others, the first one is learnt by and by.
        """
        loss = self.epoch_loss(epoch)
        if not math.isfinite(loss):
            return {}
        names = [f"song_{number:02d}" for number in range(self.plan.held_out + 1, self.plan.songs + 1)]
        progress = epoch / self.plan.epochs
        ratios = {name: 1.0 + 0.04 * self._noise(epoch, 61 + place) for place, name in enumerate(names)}
        if len(names) > 1:
            ratios[names[0]] -= 0.25 * progress
            ratios[names[-1]] += 0.3
        shares = zip(_BANDS, _BAND_SHARES, strict=True)
        return {
            "by_band": {band: round(loss * share, 6) for band, share in shares},
            "by_song": {name: round(ratio, 4) for name, ratio in ratios.items()},
        }

    def held_out_loss(self, step: int) -> float:
        """Falls with the loss, and rises again from the middle on; hardly noisy."""
        progress = step / self.plan.steps
        level = 0.78 + 0.3 * math.exp(-step / (0.12 * self.plan.steps + 1)) + 0.5 * max(0.0, progress - 0.4) ** 2
        return round(level + 0.002 * self._noise(step, 7), 6)

    @property
    def measuring_seconds(self) -> float:
        """How long the held-out songs take."""
        return round(0.5 * self.plan.step_seconds * self.plan.held_out, 3)

    def held_out_fields(self, step: int) -> dict[str, Any]:
        """Everything that an eval event says."""
        loss = self.held_out_loss(step)
        names = [f"song_{number:02d}" for number in range(1, self.plan.held_out + 1)]
        return {
            "step": step,
            "epoch": self.epoch_of(step) if step else 0,
            "loss": loss,
            "baseline": self.held_out_loss(0),
            "songs": self.plan.held_out,
            "by_song": dict.fromkeys(names, loss),
            "by_level": {"0.250": loss, "0.750": loss},
            "seconds": self.measuring_seconds,
        }

    def gpus(self, tick: int) -> list[Gpu]:
        """The gauges at the `tick`-th look."""
        total = 24 * GIB
        result = []
        for index in range(self.plan.gpus):
            used = int((self.plan.gpu_gib + 0.1 * self._noise(tick, 11 + index)) * GIB)
            heat = round(self.plan.gpu_heat + 2 * math.sin(tick / 9) + 0.5 * self._noise(tick, 31 + index))
            others = int(0.35 * GIB)
            result.append(
                Gpu(
                    index=index,
                    uuid=f"GPU-fake-{index}",
                    name="NVIDIA GeForce RTX 3090",
                    total=total,
                    used=used,
                    free=total - used,
                    util=max(0, min(100, round(96 + 2 * self._noise(tick, 21 + index)))),
                    temp=heat,
                    power=round(331 + 6 * self._noise(tick, 41 + index), 1),
                    power_limit=350.0,
                    temp_limit=83,
                    throttle="heat" if heat >= 83 else "",
                    processes=(
                        GpuProcess(4213, "python -m sidestep_tui.engine", used - others, ours=True),
                        GpuProcess(1888, "Xorg", others, ours=False),
                    ),
                )
            )
        return result

    def host(self, tick: int) -> HostStats:
        """The machine around the GPUs."""
        return HostStats(
            cpu=round(14 + 3 * abs(self._noise(tick, 51)), 1),
            ram_used=int((9.2 + 0.05 * self._noise(tick, 52)) * GIB),
            ram_total=64 * GIB,
            rss=int(4.1 * GIB),
        )

    def disk(self, tick: int) -> Disk:
        """The disk that holds the run; it fills slowly."""
        return Disk(max(int(self.plan.disk_gib * GIB) - tick * 2**20, 0), 960 * GIB)
