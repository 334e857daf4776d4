"""What people are told when a run goes on under other settings than it was saved with."""

from __future__ import annotations

from sidestep_tui.core import text
from sidestep_tui.engine.checkpoint import TrainingState
from sidestep_tui.engine.reporter import Reporter
from sidestep_tui.engine.trainer import Trainer

_NOTEWORTHY_RISE = 1.01


def report_changes(reporter: Reporter, trainer: Trainer, state: TrainingState) -> None:
    """Tell about another end of the run, and about a learning rate that goes up because of it."""
    if trainer.total_steps != state.total_steps:
        reporter.log(
            f"The run now ends at step {trainer.total_steps} instead of {state.total_steps}; "
            f"the learning rate follows the schedule of that length."
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
