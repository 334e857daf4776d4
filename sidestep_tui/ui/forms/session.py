"""What the wizard's widgets read and change: the draft, its estimates and what the machine has told so far.

No widget keeps a value; no method here waits for anything. Slow facts (GPUs, the checkpoint, the songs) are put in by
the screen's workers when they arrive.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sidestep_tui.core.errors import SidestepError
from sidestep_tui.launch import gpus, hardware
from sidestep_tui.launch.gpus import Device
from sidestep_tui.schema import drafts, memory_model
from sidestep_tui.schema.draft import Draft
from sidestep_tui.schema.fields import FieldSpec, fields_by_path
from sidestep_tui.schema.layers import Layer
from sidestep_tui.schema.meta import Level
from sidestep_tui.schema.model_shape import ModelShape, shape_for_variant
from sidestep_tui.schema.plan_maths import steps_per_epoch
from sidestep_tui.schema.rules import Facts
from sidestep_tui.schema.settings import Settings
from sidestep_tui.schema.values import format_value
from sidestep_tui.ui.forms.cells import RowState

if TYPE_CHECKING:
    from sidestep_tui.core.nvml import Gpu
    from sidestep_tui.dataset.manifest import Manifest
    from sidestep_tui.launch.models import FoundModel

LEVELS: tuple[Level, ...] = ("basic", "advanced", "expert")


@dataclass(frozen=True, slots=True)
class Cost:
    """What the settings cost now: memory by parts, trainable weights."""

    estimate: memory_model.MemoryEstimate
    parameters: int


class FormSession:
    """The state behind the forms. `on_change` is called after every change of the draft."""

    def __init__(self, draft: Draft, on_change: Callable[[], None], clock: Callable[[], float] = time.time) -> None:
        self.draft = draft
        self.gpus: list[Gpu] | None = None
        self.model: FoundModel | None = None
        self.model_problem: SidestepError | None = None
        self.manifest: Manifest | None = None
        self.data_problem: SidestepError | None = None
        self.scan_progress: tuple[int, int] | None = None
        self._on_change = on_change
        self._clock = clock
        self._burst = ""
        self._burst_pushed = False
        self._saved_version = -1
        self._devices: dict[str, Device | None] = {}
        self._hardware: Layer | None = None
        self._counted: tuple[Manifest, int, int] | None = None

    # Reading

    @property
    def level(self) -> Level:
        """How much is shown: basic, advanced or expert."""
        return next((level for level in LEVELS if level == self.draft.level), "basic")

    @property
    def settings(self) -> Settings:
        """The settings in force, with base values where the text is not valid."""
        return self.draft.settings

    def next_level(self) -> None:
        """Show more, or after the last level the least again."""
        self.draft.level = LEVELS[(LEVELS.index(self.level) + 1) % len(LEVELS)]

    def shows(self, spec: FieldSpec) -> bool:
        """Whether a setting is shown: at its level, or because it differs or is wrong."""
        if LEVELS.index(spec.meta.level) <= LEVELS.index(self.level):
            return True
        return bool(self.draft.error(spec.path)) or self.draft.is_changed(spec.path)

    def row(self, path: str) -> RowState:
        """What a row shows."""
        draft = self.draft
        return RowState(draft.text(path), draft.origin(path), draft.is_changed(path), draft.error(path))

    def shape(self) -> ModelShape:
        """The shape of the chosen checkpoint, or of the variant asked for, or of the 2B model."""
        return self.model.shape if self.model is not None else shape_for_variant(self.settings.model.variant)

    def cost(self, settings: Settings | None = None) -> Cost:
        """What `settings` (or those in force) cost."""
        settings = settings or self.settings
        shape = self.shape()
        device = self.device
        estimate = memory_model.estimate(shape, settings)
        if device is not None:
            estimate = hardware.estimate_for(settings, device, shape)
        return Cost(estimate, memory_model.adapter_parameters(shape, settings))

    def cost_with(self, changes: Mapping[str, Any]) -> Cost:
        """What it would cost with some settings changed."""
        groups: dict[str, dict[str, Any]] = {}
        for path, value in changes.items():
            group, _, name = path.partition(".")
            groups.setdefault(group, {})[name] = value
        settings = self.settings
        updated = {group: getattr(settings, group).model_copy(update=values) for group, values in groups.items()}
        return self.cost(settings.model_copy(update=updated))

    @property
    def device(self) -> Device | None:
        """The device that the run would take; None while the machine has not told, or when there is no such device."""
        if self.gpus is None:
            return None
        wanted = self.settings.memory.device
        if wanted not in self._devices:
            self._devices[wanted] = gpus.choose(self.settings, self.gpus)
        return self._devices[wanted]

    @property
    def processes(self) -> int:
        """How many processes would train together; 1 while the machine has not told its GPUs."""
        return gpus.processes(self.settings, self.gpus or ())

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

    def rule_facts(self) -> Facts:
        """What the rules may know about songs and machine."""
        lengths = [song.duration for song in self.manifest.songs] if self.manifest else []
        songs = self.training_songs
        device = self.device
        return Facts(
            songs=songs,
            total_seconds=sum(lengths) if lengths else None,
            longest_seconds=max(lengths, default=None),
            shortest_seconds=min(lengths, default=None),
            steps_per_epoch=steps_per_epoch(self.settings, songs, self.processes) if songs else None,
            adapter_parameters=memory_model.adapter_parameters(self.shape(), self.settings),
            layers=self.shape().layers,
            vram_bytes=device.total if device is not None and device.kind == "cuda" else None,
            device=device.kind if device is not None else None,
        )

    def group_errors(self, groups: tuple[str, ...]) -> int:
        """How many settings of some groups hold invalid text."""
        return sum(path.partition(".")[0] in groups for path in self.draft.errors)

    # Changing

    def type(self, path: str, text: str) -> None:
        """Take text as it is typed; one visit to a field is one step of undo."""
        if self._burst == path and self._burst_pushed:
            self.draft.undo()
        before = self.draft.version
        self.draft.set(path, text)
        self._burst, self._burst_pushed = path, self.draft.version != before
        self.changed()

    def end_burst(self) -> None:
        """What is typed from now on is another step of undo."""
        self._burst, self._burst_pushed = "", False

    def set(self, path: str, text: str) -> None:
        """Set a whole value, as one step of undo."""
        self.end_burst()
        self.draft.set(path, text)
        self.changed()

    def apply(self, values: Mapping[str, Any], *, origin: str) -> None:
        """Set several values as one step of undo."""
        self.end_burst()
        self.draft.apply_values(values, origin=origin)
        self.changed()

    def cycle(self, path: str, step: int) -> None:
        """The next or previous choice; also flips a switch."""
        spec = fields_by_path()[path]
        if spec.kind == "bool":
            self.toggle(path)
            return
        current = self.draft.text(path)
        index = spec.choices.index(current) if current in spec.choices else -step
        self.set(path, spec.choices[(index + step) % len(spec.choices)])

    def toggle(self, path: str) -> None:
        """Flip a switch."""
        self.set(path, "false" if self.draft.text(path) == "true" else "true")

    def toggle_option(self, path: str, option: str) -> None:
        """Put one option of a list in or out; the last one stays."""
        spec = fields_by_path()[path]
        chosen = [part.strip() for part in self.draft.text(path).split(",") if part.strip()]
        kept = [choice for choice in spec.choices if (choice in chosen) != (choice == option)]
        if kept:
            self.set(path, ", ".join(kept))

    def bump(self, path: str, direction: int) -> None:
        """One sensible step up or down, within the bounds."""
        spec = fields_by_path()[path]
        value = bumped(spec, self.draft.value(path), direction)
        self.set(path, format_value(spec, value))

    def reset(self, path: str) -> None:
        """Back to the layer below."""
        self.end_burst()
        self.draft.reset(path)
        self.changed()

    def undo(self) -> str | None:
        """Take back the last edit; the path that it touched."""
        self.end_burst()
        touched = self.draft.undo()
        self.changed()
        return touched

    def redo(self) -> str | None:
        """Do it again."""
        self.end_burst()
        touched = self.draft.redo()
        self.changed()
        return touched

    def replace_draft(self, draft: Draft) -> None:
        """Work on another draft from now on."""
        self.end_burst()
        self.draft = draft
        self._saved_version = -1
        self._hardware = None
        self.changed()

    def changed(self) -> None:
        """Let the machine's suggestion follow the settings, then tell the screen."""
        if self.device is not None:
            layer = hardware.layer(self.settings, device=self.device, shape=self.shape())
            if layer != self._hardware:
                self._hardware = layer
                self.draft.apply_hardware(layer)
        self._on_change()

    def machine_known(self, present: list[Gpu]) -> None:
        """The GPUs have been counted."""
        self.gpus = present
        self._devices.clear()
        self.changed()

    def save(self, *, force: bool = False) -> None:
        """Write the draft if it has changed since it was last written."""
        if force or self.draft.version != self._saved_version:
            drafts.save(self.draft, self._clock())
            self._saved_version = self.draft.version


def bumped(spec: FieldSpec, value: float, direction: int) -> float:
    """The next sensible value of a number: a step, double or half, or a quarter more; kept within the bounds."""
    factor = {"double": 2.0, "scale": 1.25}.get(spec.meta.bump, 0.0)
    if factor and value:
        new = value * factor if direction > 0 else value / factor
        if spec.meta.bump == "scale":
            new = float(f"{new:.3g}")
    else:
        new = value + direction * spec.meta.step
        new = round(new, 10)
    if spec.kind == "int":
        new = int(new)
    if spec.high is not None and (new > spec.high or (spec.high_open and new >= spec.high)):
        new = value if spec.high_open else spec.high
    if spec.low is not None and (new < spec.low or (spec.low_open and new <= spec.low)):
        new = value if spec.low_open else spec.low
    return int(new) if spec.kind == "int" else float(new)
