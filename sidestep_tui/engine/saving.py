"""What a run leaves on disk: checkpoints when they are due or asked for, the best adapter, the final one."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Literal

from sidestep_tui.engine import averages, checkpoint, distributed, export
from sidestep_tui.engine.control import Control
from sidestep_tui.engine.reporter import Reporter
from sidestep_tui.engine.trainer import Trainer
from sidestep_tui.engine.weights import Checkpoint
from sidestep_tui.protocol.inbox import Command
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.schema.run import RunFile

SaveReason = Literal["schedule", "requested", "stop", "final"]


class Saver:
    """Saves what `trainer` has learnt into `run_dir` and tells the journal. The only one who writes there."""

    def __init__(
        self,
        run_dir: RunDir,
        run_file: RunFile,
        base: Checkpoint,
        trainer: Trainer,
        fingerprint: dict[str, object],
        reporter: Reporter,
        control: Control,
    ) -> None:
        self.run_dir = run_dir
        self.run_file = run_file
        self.settings = run_file.settings
        self.base = base
        self.trainer = trainer
        self.fingerprint = fingerprint
        self.reporter = reporter
        self.control = control

    # Checkpoints.

    @property
    def is_due(self) -> bool:
        """Whether the schedule wants a checkpoint after this step."""
        output, position = self.settings.output, self.trainer.position
        by_steps = output.save_every_steps and position.step % output.save_every_steps == 0
        by_epochs = output.save_every_epochs and position.offset == 0 and position.epoch % output.save_every_epochs == 0
        return bool(by_steps or by_epochs)

    def save(self, reason: SaveReason, requests: tuple[Command, ...] = ()) -> None:
        """Publish a checkpoint of this step, unless there is one, and answer those who asked for it."""
        if not distributed.is_first():
            return
        began = time.monotonic()
        step = self.trainer.position.step
        exists = self.run_dir.checkpoint_path(step).exists()
        if step == 0:
            for request in requests:
                self.control.refused(request, "no step has been trained yet")
            return
        directory = checkpoint.save(
            self.run_dir,
            self.trainer.transformer,
            self.trainer.optimizer,
            self.trainer.state(self.fingerprint),
            self.settings,
            self._provenance(),
        )
        if not exists:
            self.reporter.checkpoint(
                path=directory,
                step=step,
                epoch=self._epochs_begun(),
                reason=reason,
                seconds=time.monotonic() - began,
                bytes=checkpoint.size(directory),
            )
            checkpoint.prune(self.run_dir, self.settings.output.keep_last)
        for request in requests:
            self.control.done(request, directory.name)

    # Adapters.

    def publish_best(self, loss: float) -> None:
        """Export the adapter as the best so far."""
        count = self._publish("best", loss=loss)
        self.reporter.adapter(path=self.adapter("best"), kind="best", tensors=count)

    def publish_final(self) -> int:
        """Export the adapter as the result of the run; returns the number of tensors."""
        return self._publish("final", loss=self.trainer.tracker.smoothed)

    def adapter(self, kind: Literal["best", "final"]) -> Path:
        """Where that adapter is exported to."""
        return self.run_dir.adapter / kind

    def _publish(self, kind: Literal["best", "final"], *, loss: float | None) -> int:
        if not distributed.is_first():
            return 0
        provenance = self._provenance(loss)
        with averages.published(self.trainer.optimizer):
            return export.publish(self.adapter(kind), self.trainer.transformer, self.settings, provenance)

    def _provenance(self, loss: float | None = None) -> export.Provenance:
        finite = loss is not None and math.isfinite(loss)
        return export.Provenance(
            run=self.run_file.name,
            run_created=self.run_file.created,
            step=self.trainer.position.step,
            epoch=self._epochs_begun(),
            loss=loss if finite else None,
            base_model=self.base.dir.name,
            variant=self.base.variant,
            tag=self.settings.data.tag,
            started_from=Path(self.settings.adapter.start_from).name,
        )

    def _epochs_begun(self) -> int:
        position = self.trainer.position
        return position.epoch + (1 if position.offset else 0)


def recover(run_dir: RunDir) -> None:
    """Clean up what a killed session left half-written, half-deleted or between two names."""
    checkpoint.clean(run_dir)
    for kind in ("best", "final"):
        export.recover(run_dir.adapter / kind)
