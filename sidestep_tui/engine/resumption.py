"""Going on from the newest checkpoint, and what people are told when the settings are others than it was saved with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sidestep_tui.core import text
from sidestep_tui.engine import checkpoint, distributed
from sidestep_tui.engine.checkpoint import TrainingState
from sidestep_tui.engine.reporter import Reporter
from sidestep_tui.engine.tracking import saved_by
from sidestep_tui.engine.trainer import Trainer
from sidestep_tui.protocol.rundir import RunDir

_NOTEWORTHY_RISE = 1.01


@dataclass(frozen=True, slots=True)
class Saved:
    """What was read of a checkpoint before the model is there to take its weights."""

    directory: Path
    state: TrainingState
    optimizer_numbers: dict[str, Any]


def newest(run_dir: RunDir) -> Saved | None:
    """The checkpoint that a session continues from, or None for a run without one."""
    directory = run_dir.latest_checkpoint()
    return Saved(directory, *checkpoint.read(directory)) if directory else None


def resume(trainer: Trainer, saved: Saved, fingerprint: Mapping[str, Any], reporter: Reporter) -> None:
    """Continue exactly where `saved` was saved; raises RunError where that cannot be."""
    checkpoint.refuse_other(saved.state.fingerprint, fingerprint, saved.directory)
    trainer.restore(saved.directory, saved.state, saved.optimizer_numbers)
    reporter.log(f"Resumed from {saved.directory.name}: {trainer.loaded}.")
    report_changes(reporter, trainer, saved.state)
    if best := trainer.tracker.best:
        reporter.best(step=best.step, epoch=best.epoch, loss=best.loss, by=trainer.tracker.by)


def report_changes(reporter: Reporter, trainer: Trainer, state: TrainingState) -> None:
    """Tell about another end of the run, and about a learning rate that goes up because of it."""
    if trainer.total_steps != state.total_steps:
        reporter.log(
            f"The run now ends at step {trainer.total_steps} instead of {state.total_steps}; "
            f"the learning rate follows the schedule of that length."
        )
    if saved_by(state.tracking) != trainer.tracker.by:
        whose = {"training": "training loss", "held_out": "loss on held-out songs"}
        reporter.log(f"The best adapter is now looked for anew, by the {whose[trainer.tracker.by]}.")
    if state.processes != distributed.size():
        reporter.warning(
            "processes_changed",
            f"The run goes on with {text.plural(distributed.size(), 'process', 'processes')} instead of "
            f"{state.processes}: it continues at the same song, but a step now takes "
            f"{text.plural(trainer.examples_per_step, 'song')}.",
            "Adjust train.accumulation if steps should stay as large as they were.",
        )
    if trainer.watch.lr_scale != 1.0:
        returns = text.plural(len(trainer.watch.returns), "time")
        reporter.log(
            f"The learning rate stays at {trainer.watch.lr_scale:.3g} of what was planned: the weights went back "
            f"{returns}. Another optim.lr would be taken as it is."
        )
    rate = trainer.next_lr
    if state.next_lr is not None and not trainer.is_done and rate > _NOTEWORTHY_RISE * state.next_lr:
        reporter.warning(
            "learning_rate_rises",
            f"The learning rate goes on at {rate:.3g}; before the settings changed it would have been "
            f"{state.next_lr:.3g}.",
            "If the loss jumps, lower optim.lr.",
        )
