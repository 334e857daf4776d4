"""Pruning: only what the run saved by itself, what loads, and what nothing depends on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sidestep_tui.engine import adapters, checkpoint, export, pruning
from sidestep_tui.engine.checkpoint import Position
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.schema.output import OutputSettings

OURS = export.Provenance("drums", "2026", 1, 1, None, "acestep-v15-turbo", "turbo", "")
OTHERS = replace(OURS, run="bass")

Publish = Callable[..., Path]


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    return RunDir.create(tmp_path, "drums")


@pytest.fixture
def publish(new_trainer, run_dir: RunDir) -> Publish:
    """`publish(step, score=…)`: a checkpoint of that step with this in its state."""
    trainer = new_trainer()
    trainer.step()

    def save(step: int, provenance: export.Provenance = OURS, **state: Any) -> Path:
        changed = replace(trainer.state({}), position=Position(step, 1, 0), **state)
        settings = trainer.settings
        return checkpoint.save(run_dir, trainer.transformer, trainer.optimizer, changed, settings, provenance)

    return save


def prune(run_dir: RunDir, *, keep_last: int = 1, keep_best: int = 0) -> list[int]:
    """The steps that are left."""
    pruning.prune(run_dir, OutputSettings(keep_last=keep_last, keep_best=keep_best), OURS)
    left = [int(path.name.removeprefix("step_")) for path in run_dir.published_checkpoints()]
    hidden = [path.name for path in run_dir.checkpoints.iterdir() if path.name.startswith(".")]
    assert hidden == []
    return left


def test_the_newest_stay_and_0_keeps_all(run_dir: RunDir, publish: Publish) -> None:
    for step in (1, 2, 3, 4):
        publish(step)
    assert prune(run_dir, keep_last=0) == [1, 2, 3, 4]
    assert prune(run_dir, keep_last=2) == [3, 4]


def test_the_best_stay_beside_the_newest(run_dir: RunDir, publish: Publish) -> None:
    # 1 is from before the best is looked for; 3 and 4 share the loss of one epoch, whose end is nearer to 3.
    for step, score in ((1, None), (2, 0.6), (3, 0.5), (4, 0.5), (5, 0.9), (6, 0.7)):
        publish(step, score=score)
    assert prune(run_dir, keep_best=3) == [2, 3, 4, 6]
    assert prune(run_dir, keep_best=1) == [3, 6]


def test_scores_of_another_loss_are_not_compared(run_dir: RunDir, publish: Publish, new_trainer) -> None:
    held_out = {"tracking": {**new_trainer().tracker.state(), "by": "held_out"}}
    publish(1, score=0.1)
    for step, score in ((2, 0.8), (3, 0.7), (4, 0.9)):
        publish(step, score=score, **held_out)
    assert prune(run_dir, keep_best=1) == [3, 4]


def test_the_last_one_from_before_bad_steps_stays_and_so_does_the_one_to_resume(
    run_dir: RunDir, publish: Publish
) -> None:
    for step, skipped in ((1, 0), (2, 0), (3, 1), (4, 4)):
        publish(step, skipped_in_a_row=skipped)
    assert prune(run_dir) == [2, 4]


def test_the_last_one_from_before_a_jump_of_the_loss_stays(run_dir: RunDir, publish: Publish, new_trainer) -> None:
    calm = new_trainer().tracker.state()
    troubled = {**calm, "trends": {**calm["trends"], "trouble": 3}}
    for step, tracking in ((1, calm), (2, calm), (4, troubled), (5, troubled)):
        publish(step, tracking=tracking)
    assert prune(run_dir) == [2, 5]


@pytest.mark.parametrize("file", [checkpoint.STATE_FILE, checkpoint.OPTIMIZER_FILE, adapters.WEIGHTS_FILE])
def test_one_that_does_not_load_counts_for_nothing_and_stays(run_dir: RunDir, publish: Publish, file: str) -> None:
    for step in (1, 2, 3):
        damaged = publish(step) / file
    damaged.write_bytes(damaged.read_bytes()[:-4])
    assert prune(run_dir) == [2, 3]


def test_one_that_was_asked_for_stays_until_its_mark_is_deleted(run_dir: RunDir, publish: Publish) -> None:
    asked = publish(1)
    pruning.keep(asked)
    pruning.keep(asked)  # a second request for the same
    for step in (2, 3):
        publish(step)
    assert prune(run_dir) == [1, 3]
    (asked / pruning.KEEP_FILE).unlink()
    assert prune(run_dir) == [3]


def test_what_the_user_put_there_stays(run_dir: RunDir, publish: Publish, tmp_path: Path) -> None:
    (publish(1) / "notes.txt").write_text("the one with the good hi-hats")
    (publish(2) / "listening").mkdir()
    (run_dir.checkpoint_path(2) / "listening" / "take.wav").write_bytes(b"RIFF")
    publish(3, OTHERS)  # copied from another run
    publish(4).rename(run_dir.checkpoints / "step_4")
    publish(5).rename(run_dir.checkpoints / "step_000005 good")
    publish(6).rename(tmp_path / "elsewhere")
    run_dir.checkpoint_path(6).symlink_to(tmp_path / "elsewhere")
    (run_dir.checkpoints / "mine").mkdir()
    for step in (7, 8):
        publish(step)
    pruning.prune(run_dir, OutputSettings(keep_last=1), OURS)
    left = sorted(path.name for path in run_dir.checkpoints.iterdir())
    ours = [f"step_00000{step}" for step in (1, 2, 3, 6, 8)]
    assert left == sorted([*ours, "step_000005 good", "step_4", "mine"])
    assert (tmp_path / "elsewhere" / checkpoint.STATE_FILE).is_file()


KINDS: list[dict[str, Any]] = [{"kind": "dora"}, {"kind": "lokr"}, {"kind": "loha"}, {"kind": "oft"}]


@pytest.mark.parametrize("adapter", [*KINDS, {"attention": "none", "mlp": True}])
def test_whatever_kind_of_adapter_it_holds_its_files_are_known(new_trainer, new_settings, run_dir, adapter) -> None:
    settings = new_settings(adapter=adapter)
    trainer = new_trainer(settings)
    for _ in range(2):
        trainer.step()
        state = trainer.state({})
        checkpoint.save(run_dir, trainer.transformer, trainer.optimizer, state, settings, OURS)
    assert prune(run_dir) == [2]


def test_a_kill_while_deleting_leaves_nothing_that_looks_whole(run_dir: RunDir, publish: Publish, monkeypatch) -> None:
    for step in (1, 2):
        publish(step)

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        pruning.prune(run_dir, OutputSettings(keep_last=1), OURS)
    monkeypatch.undo()
    assert [path.name for path in run_dir.published_checkpoints()] == ["step_000002"]
    checkpoint.clean(run_dir)
    assert [path.name for path in run_dir.checkpoints.iterdir()] == ["step_000002"]
