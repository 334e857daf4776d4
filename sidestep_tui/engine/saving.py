"""What a run leaves on disk: checkpoints when they are due or asked for, the best adapter, the final one.

Training waits for a copy in memory only; a `Writer` brings it to disk, tells the journal when it is there, and then
deletes the checkpoints that are superseded.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sidestep_tui.core import text
from sidestep_tui.core.errors import DiskFullError
from sidestep_tui.engine import averages, beginning, checkpoint, distributed, export, pruning
from sidestep_tui.engine.checkpoint import Snapshot
from sidestep_tui.engine.control import Control
from sidestep_tui.engine.reporter import Reporter
from sidestep_tui.engine.trainer import Trainer
from sidestep_tui.engine.weights import Checkpoint
from sidestep_tui.engine.writer import Writer
from sidestep_tui.protocol.inbox import Command
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.schema.run import RunFile

SaveReason = Literal["schedule", "requested", "stop", "final"]

_CHECKPOINT, _ADAPTER = "checkpoint", "adapter"
"""Kinds of writing, of each of which one is on its way at most."""


@dataclass(frozen=True, slots=True)
class _Order:
    """A checkpoint on its way to disk."""

    taken: Snapshot
    epoch: int
    reason: SaveReason
    requests: tuple[Command, ...]
    began: float
    """When training stopped for it."""
    held_seconds: float | None
    """How long training was held up; None if until it is on disk."""


class Saver:
    """Saves what `trainer` has learnt into `run_dir` and tells the journal. The only one who writes there.

    `clock` counts seconds; the minutes between checkpoints begin anew with each session.
    """

    def __init__(
        self,
        run_dir: RunDir,
        run_file: RunFile,
        base: Checkpoint,
        trainer: Trainer,
        fingerprint: dict[str, object],
        reporter: Reporter,
        control: Control,
        writer: Writer | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.run_dir = run_dir
        self.run_file = run_file
        self.settings = trainer.settings
        self.base = base
        self.trainer = trainer
        self.fingerprint = fingerprint
        self.reporter = reporter
        self.control = control
        self.writer = writer or Writer(background=False)
        self._clock = clock
        self._last_saved = clock()
        self._is_short = False
        """Whether little room on the disk has been told already."""

    @property
    def writes(self) -> bool:
        """Whether this process is the one that writes the run's directory."""
        return distributed.is_first()

    # Checkpoints.

    def save_if_due(self) -> None:
        """Save if the schedule wants it after this step; raises what has gone wrong with an earlier save."""
        self.writer.check()
        if self.is_due and not self.trainer.is_done:
            self.save("schedule")

    @property
    def is_due(self) -> bool:
        """Whether the schedule wants a checkpoint after this step."""
        output, position = self.settings.output, self.trainer.position
        by_steps = output.save_every_steps and position.step % output.save_every_steps == 0
        by_epochs = output.save_every_epochs and position.offset == 0 and position.epoch % output.save_every_epochs == 0
        passed = self._clock() - self._last_saved
        by_minutes = output.save_every_minutes and passed >= 60.0 * output.save_every_minutes
        return bool(by_steps or by_epochs or by_minutes)

    def save(self, reason: SaveReason, requests: tuple[Command, ...] = ()) -> None:
        """Publish a checkpoint of this step, unless there is one, and answer those who asked for it.

        Those of the schedule and those asked for are written while training goes on; the last ones of a session are on
        disk when this returns.
        """
        if not self.writes:
            return
        step, began = self.trainer.position.step, self._clock()
        if step == 0:
            for request in requests:
                self.control.refused(request, "no step has been trained yet")
            return
        self.writer.wait(_CHECKPOINT)
        self._last_saved = began
        directory = self.run_dir.checkpoint_path(step)
        if directory.exists():
            self._answer(directory, requests)
        else:
            self._write(reason, requests, began)
        if reason in ("stop", "final"):
            self.wait()

    def wait(self) -> None:
        """Return when everything is on disk; raises what went wrong."""
        self.writer.wait()

    def _write(self, reason: SaveReason, requests: tuple[Command, ...], began: float) -> None:
        trainer = self.trainer
        state = trainer.state(self.fingerprint)
        taken = checkpoint.snapshot(trainer.transformer, trainer.optimizer, state, self.settings, self._provenance())
        waits = reason in ("stop", "final") or not self.writer.is_background
        held = None if waits else self._clock() - began
        order = _Order(taken, self._epochs_begun(), reason, requests, began, held)
        self.writer.submit(_CHECKPOINT, lambda: self._publish_checkpoint(order))

    def _publish_checkpoint(self, order: _Order) -> None:
        """Bring a snapshot to disk, tell of it, and delete what it supersedes; in the writer's thread."""
        self._tell_if_short(order.taken.bytes)
        directory = checkpoint.write(self.run_dir, order.taken)
        seconds = self._clock() - order.began
        size = checkpoint.size(directory)
        self.reporter.checkpoint(
            path=directory,
            step=order.taken.step,
            epoch=order.epoch,
            reason=order.reason,
            seconds=seconds,
            bytes=size,
            held_seconds=seconds if order.held_seconds is None else order.held_seconds,
        )
        self._answer(directory, order.requests)
        pruning.prune(self.run_dir, self.settings.output, order.taken.provenance)
        self._tell_if_short(size)

    def _answer(self, directory: Path, requests: tuple[Command, ...]) -> None:
        if requests:
            pruning.keep(directory)
        for request in requests:
            self.control.done(request, directory.name)

    def _tell_if_short(self, needed: int) -> None:
        """Warn, once, when the disk has no room for one more checkpoint."""
        free = shutil.disk_usage(self.run_dir.path).free
        was_short, self._is_short = self._is_short, free < needed
        if self._is_short and not was_short:
            self.reporter.warning(
                "disk_nearly_full",
                f"A checkpoint takes {text.file_size(needed)}, and {text.file_size(free)} are free on the disk.",
                "Free some space: the run ends when a checkpoint cannot be written. Earlier ones stay whole.",
            )

    # Adapters.

    def publish_best(self, loss: float) -> None:
        """Export the adapter as the best so far, while training goes on."""
        if not self.writes:
            return
        whose = "held-out songs" if self.trainer.tracker.by == "held_out" else "training"
        held, provenance = self._contents(), self._provenance(loss, whose)
        target = self.adapter("best")

        def publish() -> None:
            count = export.publish_contents(target, held, self.settings, provenance)
            self.reporter.adapter(path=target, kind="best", tensors=count)

        self.writer.submit(_ADAPTER, publish)

    def publish_final(self) -> int:
        """Export the adapter as the result of the run; returns the number of tensors."""
        if not self.writes:
            return 0
        self.wait()
        provenance = self._provenance(self.trainer.tracker.smoothed)
        return export.publish_contents(self.adapter("final"), self._contents(), self.settings, provenance)

    def adapter(self, kind: Literal["best", "final"]) -> Path:
        """Where that adapter is exported to."""
        return self.run_dir.adapter / kind

    def _contents(self) -> export.Contents:
        with averages.published(self.trainer.optimizer):
            return export.contents(self.trainer.transformer, self.settings.adapter)

    def _provenance(self, loss: float | None = None, loss_of: str = "training") -> export.Provenance:
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
            started_from=beginning.origin(self.settings.adapter, self.run_file.fingerprints),
            loss_of=loss_of,
        )

    def _epochs_begun(self) -> int:
        position = self.trainer.position
        return position.epoch + (1 if position.offset else 0)


def close(writer: Writer, reporter: Reporter) -> None:
    """Let the last save come to its end, before the session's; a failure that nobody heard of becomes a warning."""
    if error := writer.close():
        # On a full disk, the error that ends the session is told instead, from the room held in reserve.
        with suppress(DiskFullError):
            reporter.warning(
                "save_failed",
                f"The last save failed: {error}",
                "The checkpoint before it is whole: a resumed run continues from there.",
            )


def recover(run_dir: RunDir) -> None:
    """Clean up what a killed session left half-written, half-deleted or between two names."""
    checkpoint.clean(run_dir)
    for kind in ("best", "final"):
        export.recover(run_dir.adapter / kind)
