"""What the browser of presets waits for, in threads: the files, the machine, and what each preset would take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from textual import on, work
from textual.message import Message
from textual.worker import Worker, get_current_worker

from sidestep_tui.core import crashes
from sidestep_tui.core.errors import SidestepError
from sidestep_tui.ui.base import SidestepScreen
from sidestep_tui.ui.screens.presets import listing
from sidestep_tui.ui.screens.presets.effect import Bench, Effect, effect_of
from sidestep_tui.ui.screens.presets.listing import Item

if TYPE_CHECKING:
    from sidestep_tui.core.nvml import Gpu
    from sidestep_tui.launch.models import FoundModel
    from sidestep_tui.ui.app import SidestepApp


@dataclass
class PresetsListed(Message):
    """The files have been read; the bar goes to `at`, if that is said."""

    items: Sequence[Item]
    at: str


@dataclass
class MachineSeen(Message):
    """The GPUs, and the checkpoint that the draft names."""

    gpus: list[Gpu]
    model: FoundModel | None


@dataclass
class EffectsKnown(Message):
    """What each preset would do to the draft of a bench, by the key of its item."""

    bench: Bench
    effects: Mapping[str, Effect]


class PresetsJobs(SidestepScreen):
    """The part of the browser that waits."""

    app: SidestepApp

    @work(thread=True, group="look", exclusive=True, exit_on_error=False)
    def look(self, opened: Sequence[Path] = (), at: str = "") -> None:
        """Read the files again."""
        self.post_message(PresetsListed(listing.look(opened), at))

    @work(thread=True, group="machine", exclusive=True, exit_on_error=False)
    def look_at_machine(self, model_path: str, variant: str) -> None:
        """Count the GPUs and find the checkpoint, for a draft that no wizard has asked about yet."""
        # Deferred: the NVML binding costs 30 ms, and the list needs none of it.
        from sidestep_tui.core import nvml
        from sidestep_tui.launch import models

        found = None
        if model_path:
            try:
                found = models.locate(model_path, variant)
            except SidestepError:
                found = None  # the wizard says what is wrong with it
        self.post_message(MachineSeen(nvml.gpus(), found))

    @work(thread=True, group="effects", exclusive=True, exit_on_error=False)
    def reckon(self, bench: Bench, items: Sequence[Item]) -> None:
        """Work out what every preset would do: 15 ms each, which moving the bar must not wait for."""
        worker = get_current_worker()
        effects: dict[str, Effect] = {}
        for item in items:
            if worker.is_cancelled:
                return
            if item.preset is not None:
                effects[item.key] = effect_of(bench, item.preset.layers())
        self.post_message(EffectsKnown(bench, effects))

    @on(Worker.StateChanged)
    def _worker_ended(self, event: Worker.StateChanged) -> None:
        """A worker's border: a mistake in it is a sentence and a file, never the end of the screen."""
        if event.state.name != "ERROR" or event.worker.error is None:
            return
        self.app.release_keys()
        path = crashes.write_log(event.worker.error)
        self.notify(
            f"{event.worker.error} (details in {path})", title="That did not work", severity="error", timeout=15
        )
