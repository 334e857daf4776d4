"""How long a run takes, estimated: no model, no torch, no measuring.

A pass through the model waits for the arithmetic (schema/compute_model counts it exactly), for the memory that element
by element work moves, and on a fast GPU for the processor that sends it kernels. The shares below are those of
ENGINE.md (§1.1, §2), which expects 45 to 55 % of a GPU's published rate in practice. Where this machine has trained the
same size of model before, what was measured then counts, and the formula says only how the settings differ.

Encoding the songs, compiling, measuring held-out songs and saving come on top: nobody knows them beforehand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sidestep_tui.core import text
from sidestep_tui.schema import activation_model, automatic, compute_model, gpu_table, memory_model
from sidestep_tui.schema.automatic import Machine
from sidestep_tui.schema.gpu_table import Card
from sidestep_tui.schema.model_shape import ModelShape
from sidestep_tui.schema.settings import Settings

BUSY = 0.6
"""Share of the published rate that matrix products reach when there are rows enough."""
HALF_FULL, HALF_FULL_WIDE = 350, 1000
"""Tokens in a pass at which a GPU reaches half of that share: matrices come in tiles, and tiles in waves."""
BANDWIDTH_SHARE = 0.8
"""Share of the published bandwidth that element by element work reaches."""
MOVED = {"compiled": 3.7, "fused": 10.0, "stock": 17.0}
"""Bytes moved for each byte that is kept for the backward pass: by compiled blocks, with fused norms, and without."""
RECOMPUTED_MOVES = 4 / 3
"""How much more is moved where the forward pass is done twice."""
LAUNCH_SECONDS = {"compiled": 0.0009, "eager": 0.0019}
"""What the processor needs for a layer's kernels, forward and backward."""
RECOMPUTED_LAUNCHES = 2.4
"""How much more with gradient checkpointing."""
UNPACKED = {"full": 0.0, "int8": 3.0, "nf4": 6.5}
"""Bytes moved for a quantised weight each time it is multiplied by, beyond those of one that is not."""
SPREAD, MEASURED_SPREAD = 0.35, 0.15
"""How far such an estimate may be off, either way."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured on this machine with some settings, their `auto` decided."""

    source: str
    """Where: `drums-1121`, `the probe`."""
    seconds_per_step: float
    settings: Settings


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a run goes; what is not known is None, and `basis` says why."""

    seconds_per_step: float | None
    steps: int | None
    basis: str
    """Where the number comes from, or why there is none."""
    spread: float = SPREAD

    @property
    def total_seconds(self) -> float | None:
        """Of all steps."""
        return None if self.seconds_per_step is None or self.steps is None else self.seconds_per_step * self.steps

    @property
    def short(self) -> str:
        """In two or three words: `about 2 h`, or a step's time where the songs are not known; empty without either."""
        if self.seconds_per_step is None:
            return ""
        total = self.total_seconds
        return about(total) if total is not None else f"{seconds(self.seconds_per_step)} a step"

    @property
    def range(self) -> str:
        """`1.5 to 3 h`; empty where nothing is known."""
        total = self.total_seconds
        if total is None:
            return ""
        low, high = about(total * (1 - self.spread)), about(total * (1 + self.spread))
        if low == high:
            return low
        amount, _, unit = low.removeprefix("about ").partition(" ")
        return f"{amount if high.endswith(' ' + unit) else f'{amount} {unit}'} to {high.removeprefix('about ')}"


def estimate(
    settings: Settings,
    shape: ModelShape,
    device: Machine | None,
    *,
    steps: int | None = None,
    measured: Measured | None = None,
    lengths: Sequence[float] = (),
) -> Pace:
    """The pace of training with `settings`, whose checkpointing should be decided, for `steps` optimizer steps.

    `lengths` are the songs', in seconds; without them every example is as long as the settings allow. Beside what was
    measured they do not count: nobody knows how long the songs were then.
    """
    if device is None:
        return Pace(None, steps, "no estimate: there is no such device")
    if measured is not None:
        again = _Work.of(settings, shape, device, steps).relative(device)
        before = _Work.of(measured.settings, shape, device, None).relative(device)
        return Pace(
            measured.seconds_per_step * again / before, steps, f"as measured in {measured.source}", MEASURED_SPREAD
        )
    card = gpu_table.find(device.name)
    if device.kind == "cpu":
        return Pace(None, steps, "no estimate for processors; a probe or a first run tells")
    if device.name == gpu_table.ANY:
        return Pace(None, steps, "no estimate without the GPU's name")
    if card is None:
        return Pace(None, steps, f"no estimate for the {device.name}; a probe tells")
    if automatic.precision(settings, device) == "float32":
        return Pace(None, steps, "no estimate for float32 on GPUs; a probe tells")
    found = _Work.of(_as_heard(settings, lengths), shape, device, steps).seconds(card)
    return Pace(found, steps, f"by the published rate of the {card.name}")


def _as_heard(settings: Settings, lengths: Sequence[float]) -> Settings:
    """The settings with the length of an example as it is on average: no song is heard for longer than it lasts."""
    if not lengths:
        return settings
    data = settings.data
    longest = data.crop_seconds or data.max_duration
    mean = sum(min(length, longest) for length in lengths) / len(lengths)
    name = "crop_seconds" if data.crop_seconds else "max_duration"
    return settings.model_copy(update={"data": data.model_copy(update={name: max(mean, 1.0)})})


def compared(settings: Settings, other: Settings, shape: ModelShape, device: Machine) -> str:
    """How much longer an example takes with `settings` than with `other`: `+45 %`; empty where it is about the same."""
    ratio = _Work.of(settings, shape, device, None).relative(device) / _Work.of(other, shape, device, None).relative(
        device
    )
    percent = 5 * round(20 * (ratio * _examples(other) / _examples(settings) - 1))
    return f"{percent:+d} %" if percent else ""


def _examples(settings: Settings) -> int:
    return settings.train.batch_size * settings.train.accumulation


@dataclass(frozen=True, slots=True)
class _Work:
    """What an optimizer step asks of a device."""

    flops: float
    moved: float
    """Bytes."""
    launches: float
    """Seconds of the processor."""
    tokens: int
    """In one pass."""

    @classmethod
    def of(cls, settings: Settings, shape: ModelShape, device: Machine, steps: int | None) -> _Work:
        compiled = automatic.compiles(settings, device, steps)
        recomputes = settings.memory.recomputes
        again = _recomputed_share(settings, compiled)
        counted = compute_model.flops(shape, settings, checkpointing=True, windowed=settings.speed.attention != "stock")
        kept = activation_model.kept(
            shape,
            settings,
            condition_tokens=memory_model.CONDITION_TOKENS,
            tokens=memory_model.latent_tokens(settings),
            width=4.0 if automatic.precision(settings, device) == "float32" else 2.0,
            attention="flash",
        )
        way = "compiled" if compiled else "fused" if settings.speed.fused else "stock"
        moved = kept.total * MOVED[way] * (1 + (RECOMPUTED_MOVES - 1) * again)
        moved += shape.linear_parameters * UNPACKED[settings.memory.base] * (2 + again)
        launches = shape.layers * LAUNCH_SECONDS["compiled" if compiled else "eager"]
        passes = settings.train.accumulation
        return cls(
            flops=counted.useful + again * counted.recomputed,
            moved=passes * moved,
            launches=passes * launches * (RECOMPUTED_LAUNCHES if recomputes else 1.0),
            tokens=settings.train.batch_size * memory_model.latent_tokens(settings),
        )

    def seconds(self, card: Card) -> float:
        """The time of a step on a card: the device's or the processor's, whichever is longer."""
        half = HALF_FULL_WIDE if card.is_wide else HALF_FULL
        rate = 1e12 * card.teraflops * BUSY * self.tokens / (self.tokens + half)
        bandwidth = 1e9 * card.gigabytes_per_second * BANDWIDTH_SHARE
        return max(self.flops / rate + self.moved / bandwidth, self.launches)

    def relative(self, device: Machine) -> float:
        """What to compare two settings by: seconds where the card is known, operations where it is not."""
        card = gpu_table.find(device.name)
        return self.flops if card is None else self.seconds(card)


def _recomputed_share(settings: Settings, compiled: bool) -> float:
    """The share of the forward pass that is done again: compiled runs leave out what their budget keeps."""
    if settings.memory.recomputes:
        return 1.0
    return 1.0 - settings.speed.activation_budget if compiled else 0.0


def about(total: float) -> str:
    """A time as coarsely as it is known: `about 2.5 h`."""
    minutes, hours = total / 60, total / 3600
    if minutes < 1:
        return "under a minute"
    if minutes < 10:
        return f"about {minutes:.0f} min"
    if minutes < 87.5:
        return f"about {5 * round(minutes / 5)} min"
    if hours < 9.75:
        return f"about {round(2 * hours) / 2:g} h"
    if hours < 48:
        return f"about {hours:.0f} h"
    return f"about {text.plural(round(hours / 24), 'day')}"


def seconds(value: float) -> str:
    """The time of one step: `0.35 s`, `2.4 s`, `14 s`."""
    return f"{value:.2f} s" if value < 1 else f"{value:.1f} s" if value < 10 else f"{value:.0f} s"
