"""What each of two processes of `test_distributed.py` does: a few short trainings, and what came of them."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from sidestep_tui.core.errors import OutOfMemoryError, SidestepError
from sidestep_tui.engine import checkpoint, distributed, export, trainer
from sidestep_tui.engine.ranks import World, linger
from sidestep_tui.engine.trainer import Trainer
from sidestep_tui.protocol.lock import RunLock
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.schema.settings import Settings
from tests.engine.models import make_transformer
from tests.engine.training.conftest import SONGS, make_material, make_settings

STEPS = 6
"""Three epochs of a full step and one that leaves the second process without an example."""


def go_on(trained: Trainer, steps: int = STEPS) -> list[Any]:
    """The results of so many further steps; epochs are closed as they end."""
    results = []
    for _ in range(steps):
        results.append(trained.step())
        if trained.at_end_of_epoch:
            trained.end_epoch()
    return results


def resumed(make: Callable[[], Trainer], settings: Settings, run_dir: RunDir) -> Trainer:
    """Three steps, a checkpoint by the first process, and the rest by a new trainer."""
    begun = make()
    go_on(begun, 3)
    if distributed.is_first():
        about = export.Provenance("run", "", 3, 1, None, "tiny", "turbo", "")
        checkpoint.save(run_dir, begun.transformer, begun.optimizer, begun.state({}), settings, about)
    directory = distributed.from_first(lambda: run_dir.checkpoint_path(3))
    again = make()
    again.restore(directory, *checkpoint.read(directory))
    go_on(again, STEPS - 3)
    return again


def broken(make: Callable[[], Trainer]) -> list[bool]:
    """Which steps are left out where the second process never has a finite loss."""
    trained = make()
    if distributed.rank() == 1:
        kept = trained.material.store._kept
        kept.update({place: (latents * math.inf, condition) for place, (latents, condition) in kept.items()})
    return [result.skipped for result in go_on(trained)]


def main() -> None:
    """All in one pair of processes: starting them is what takes the time."""
    out = Path(sys.argv[1])
    torch.set_num_threads(1)
    settings = make_settings()

    def make() -> Trainer:
        return trainer.build(make_transformer(), make_material(SONGS), settings, seed=settings.train.seed)

    world = World.of_environment(os.environ)
    run_dir = RunDir(out)
    lock = RunLock(run_dir, "two", now=0.0) if world.is_first else None

    def end(error: SidestepError) -> None:
        (out / "end.json").write_text(json.dumps([error.title, error.message, error.kind]))

    with distributed.joined(world, run_dir, end):
        whole = make()
        results = go_on(whole)
        again = resumed(make, settings, RunDir(out))
        tensors = {f"whole|{name}": value.detach() for name, value in whole.parameters.items()}
        tensors |= {f"resumed|{name}": value.detach() for name, value in again.parameters.items()}
        said = {
            "losses": [result.loss for result in results],
            "norms": [result.grad_norm for result in results],
            "examples": [result.examples for result in results],
            "steps": [whole.steps_per_epoch, whole.total_steps],
            "songs": sorted(whole.tracker.table.state()["songs"]),
            "skipped": broken(make),
        }
        save_file(tensors, out / f"rank{world.rank}.safetensors")
        (out / f"rank{world.rank}.json").write_text(json.dumps(said))
        if not world.is_first:
            raise OutOfMemoryError("Memory ran out.", "It did.", "Buy some.")
        go_on(make(), 1)  # waits for the other's gradients, which never come
    lock.release()


if __name__ == "__main__":
    try:
        main()
    except SidestepError as error:
        linger(RunDir(Path(sys.argv[1])))
        os._exit(int(error.exit_code))
