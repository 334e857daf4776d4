"""What the settings cost on the machine: memory, weights that learn, time and disk, as far as each is known.

The answers are kept until something changes: a key press asks for the same ones a dozen times.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from sidestep_tui.launch import gpus, hardware
from sidestep_tui.launch.gpus import Device
from sidestep_tui.schema import disk_maths, fit_ladder, memory_model
from sidestep_tui.schema import pace as pace_model
from sidestep_tui.schema.draft import Draft
from sidestep_tui.schema.model_shape import ModelShape, shape_for_variant
from sidestep_tui.schema.pace import Measured, Pace
from sidestep_tui.schema.plan_maths import run_steps, steps_per_epoch
from sidestep_tui.schema.settings import Settings

if TYPE_CHECKING:
    from sidestep_tui.core.nvml import Gpu
    from sidestep_tui.dataset.manifest import Manifest
    from sidestep_tui.launch.models import FoundModel

AnswerT = TypeVar("AnswerT")


@dataclass(frozen=True, slots=True)
class Cost:
    """What the settings cost now: memory by parts, trainable weights."""

    estimate: memory_model.MemoryEstimate
    parameters: int


class SessionCosts:
    """What is known of model, songs and machine, and what follows for the settings of the draft."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.gpus: list[Gpu] | None = None
        self.model: FoundModel | None = None
        self.manifest: Manifest | None = None
        self.measured: Measured | None = None
        """How fast this machine trained before, where it did."""
        self.free_disk: int | None = None
        """Bytes that are free where runs go, once that is known."""
        self.stand_in: Device | None = None
        """A GPU that is not here, to judge by; None to judge by this machine."""
        self._devices: dict[str, Device | None] = {}
        self._counted: tuple[Manifest, int, int] | None = None
        self._answers: dict[object, Any] = {}

    @property
    def settings(self) -> Settings:
        """The settings in force, with base values where the text is not valid."""
        return self.draft.settings

    def with_values(self, changes: Mapping[str, Any]) -> Settings:
        """The settings in force with some of them changed."""
        return fit_ladder.with_values(self.settings, changes)

    def shape(self) -> ModelShape:
        """The shape of the chosen checkpoint, or of the variant asked for, or of the 2B model."""
        return self.model.shape if self.model is not None else shape_for_variant(self.settings.model.variant)

    @property
    def device(self) -> Device | None:
        """The device that the run would take; None while the machine has not told, or when there is no such device."""
        if self.stand_in is not None or self.gpus is None:
            return self.stand_in
        wanted = self.settings.memory.device
        if wanted not in self._devices:
            self._devices[wanted] = gpus.choose(self.settings, self.gpus)
        return self._devices[wanted]

    @property
    def processes(self) -> int:
        """How many processes would train together; 1 while the machine has not told its GPUs."""
        return 1 if self.stand_in is not None else gpus.processes(self.settings, self.gpus or ())

    @property
    def fits(self) -> bool:
        """Whether the estimate is within what is free on the device, as far as that is known."""
        device = self.device
        return device is None or self.cost().estimate.total <= device.free

    @property
    def training_songs(self) -> int | None:
        """How many songs are trained on: all but those held out; None before the folder was read."""
        manifest, percent = self.manifest, self.settings.data.validation
        if manifest is None or not percent:
            return len(manifest.songs) or None if manifest else None
        # Deferred with the manifest itself, which the wizard opens without.
        from sidestep_tui.dataset import split

        if self._counted is None or self._counted[0] is not manifest or self._counted[1] != percent:
            self._counted = (manifest, percent, split.training_count(manifest.songs, percent))
        return self._counted[2]

    def cost(self, settings: Settings | None = None) -> Cost:
        """What `settings` (or those in force) cost."""
        return self._kept("cost", settings or self.settings, self._cost)

    def cost_with(self, changes: Mapping[str, Any]) -> Cost:
        """What it would cost with some settings changed."""
        return self.cost(self.with_values(changes))

    def steps(self, settings: Settings | None = None) -> int | None:
        """Optimizer steps of the run, as far as they can be known."""
        settings = settings or self.settings
        songs = self.training_songs
        each = steps_per_epoch(settings, songs, self.processes) if songs else None
        return run_steps(settings, steps_per_epoch=each)

    def pace(self, settings: Settings | None = None) -> Pace:
        """How long the run takes, with where that is known from."""
        return self._kept("pace", settings or self.settings, self._pace)

    def disk(self, settings: Settings | None = None) -> int:
        """Bytes that the run takes on disk."""
        return self._kept("disk", settings or self.settings, self._disk)

    def forget_costs(self) -> None:
        """Something has changed; also keeps the answers few."""
        self._answers.clear()

    def _kept(self, question: str, settings: Settings, answer: Callable[[Settings], AnswerT]) -> AnswerT:
        known = (id(self.model), id(self.manifest), id(self.measured), id(self.gpus), self.stand_in)
        key = (question, settings, *known)
        if key not in self._answers:
            self._answers[key] = answer(settings)
        found: AnswerT = self._answers[key]
        return found

    def _cost(self, settings: Settings) -> Cost:
        shape, device = self.shape(), self.device
        if device is None:
            estimate = memory_model.estimate(shape, settings)
        else:
            estimate = hardware.estimate_for(settings, device, shape)
        return Cost(estimate, memory_model.adapter_parameters(shape, settings))

    def _pace(self, settings: Settings) -> Pace:
        device, shape = self.device, self.shape()
        if device is not None:
            settings = fit_ladder.settled(settings, hardware.needs(device, shape), device.free)
        lengths = [song.duration for song in self.manifest.songs] if self.manifest else []
        steps = self.steps(settings)
        return pace_model.estimate(settings, shape, device, steps=steps, measured=self.measured, lengths=lengths)

    def _disk(self, settings: Settings) -> int:
        songs = len(self.manifest.songs) if self.manifest else None
        return disk_maths.needs(settings, self.shape(), songs=songs, trained=self.training_songs).total
