"""What follows steps without a finite loss or gradient: leave them out, go back to a good checkpoint, or give up.

A step left out changes no weight, so a single one costs nothing. Several in a row mean that the weights themselves
have left the region where the model answers with numbers; then only older weights and smaller steps help.

Going back restores weights and optimizer, not the place in the run: training goes on with the next examples, so that
steps never count twice and songs that broke it are not the first ones heard again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sidestep_tui.core import text
from sidestep_tui.core.errors import DivergedError, RunError
from sidestep_tui.engine import checkpoint, distributed
from sidestep_tui.engine.tracking import in_trouble
from sidestep_tui.engine.trainer import MAX_SKIPPED_IN_A_ROW, StepResult, Trainer
from sidestep_tui.engine.trends import Finding
from sidestep_tui.protocol.rundir import RunDir


def judge(trainer: Trainer, run_dir: RunDir, result: StepResult) -> Finding:
    """What to say about a step without a finite loss or gradient; the fifth in a row also sends the trainer back.

    Raises DivergedError when it may not go back any more, or has nowhere to go back to.
    """
    names = text.listing(result.suspects)
    if trainer.skipped_in_a_row < MAX_SKIPPED_IN_A_ROW:
        return Finding(
            "step_skipped",
            f"Step {result.step} changed nothing: its loss or gradient is not finite (songs: {names}).",
            "If it happens again, lower the learning rate or look at these songs.",
        )
    story = (
        f"{MAX_SKIPPED_IN_A_ROW} steps in a row, up to step {result.step}, had no finite loss or gradient "
        f"(songs: {names})."
    )
    allowed = trainer.settings.train.rollbacks
    may_go_back = len(trainer.watch.returns) < allowed
    found = distributed.from_first(lambda: _good_checkpoint(trainer, run_dir)) if may_go_back else None
    if found is None:
        raise _diverged(trainer, run_dir, story)
    directory, numbers = found
    trainer.go_back(directory, numbers)
    return Finding(
        "rolled_back",
        f"{story} The weights of {directory.name} are back, and the learning rate is "
        f"{trainer.watch.lr_scale:.3g} of what was planned.",
        f"This was return {len(trainer.watch.returns)} of at most {allowed}; look at these songs if it happens again.",
    )


def _good_checkpoint(trainer: Trainer, run_dir: RunDir) -> tuple[Path, dict[str, Any]] | None:
    """The newest readable checkpoint from before the trouble, rather one that has not led here before.

    One saved soon after a skipped step or a jump of the loss may hold what went wrong: it is the last resort.
    """
    tried = {to for _, to in trainer.watch.returns}
    found: dict[tuple[bool, bool], tuple[Path, dict[str, Any]]] = {}
    for directory in reversed(run_dir.published_checkpoints()):
        try:
            state, numbers = checkpoint.read(directory)
        except RunError:
            continue
        step = state.position.step
        if state.skipped_in_a_row or step > trainer.position.step:
            continue
        found.setdefault((in_trouble(state.tracking, step), step in tried), (directory, numbers))
    return found[min(found)] if found else None


def _diverged(trainer: Trainer, run_dir: RunDir, story: str) -> DivergedError:
    newest = run_dir.latest_checkpoint()
    returns = len(trainer.watch.returns)
    went_back = f" Going back to an older checkpoint {text.plural(returns, 'time')} did not help." if returns else ""
    return DivergedError(
        "The loss is not a number any more.",
        story + went_back,
        (f"{newest.name} is the last good checkpoint. " if newest else "")
        + "Start again with a lower learning rate, and look at these songs.",
    )
