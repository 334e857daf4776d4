"""The switches of `speed` in training: the same run, however its batches and steps are made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._dynamo.backends.debugging import aot_eager_decomp_partition

from sidestep_tui.engine import adapters, checkpoint
from sidestep_tui.engine.speed import compiled
from sidestep_tui.engine.trainer import Trainer
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.schema.settings import Settings
from tests.engine.training.adapting import provenance


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return adapters.state_dict(trainer.transformer)


def train(trainer: Trainer, steps: int) -> list[float]:
    losses = []
    for _ in range(steps):
        losses.append(trainer.step().loss)
        if trainer.at_end_of_epoch:
            trainer.end_epoch()
    return losses


def test_batches_made_ahead_train_the_same_weights_to_the_last_bit(
    new_trainer: Callable[..., Trainer], new_settings: Callable[..., Settings]
) -> None:
    runs = []
    for prefetch in ("off", "on"):
        trainer = new_trainer(new_settings(speed={"prefetch": prefetch}))
        # Past the end of an epoch, and to the end of the run, where nothing follows.
        runs.append((train(trainer, trainer.total_steps), weights(trainer)))
    assert runs[0][0] == runs[1][0]
    assert all(torch.equal(runs[0][1][name], runs[1][1][name]) for name in runs[0][1])


def test_a_run_starts_by_the_faster_ways_and_near_the_stock_one(
    new_trainer: Callable[..., Trainer], new_settings: Callable[..., Settings]
) -> None:
    stock = {"attention": "stock", "fused": False, "lean_lora": False}
    plain, fast = new_trainer(new_settings(speed=stock)), new_trainer(new_settings())
    assert plain.computed_by == "Computed as diffusers and peft do."
    assert fast.computed_by == "Faster by windowed attention by blocks, fused norms and lean LoRA."
    assert train(fast, 4) == pytest.approx(train(plain, 4), rel=1e-5)


def test_a_checkpoint_is_the_same_file_by_stock_and_by_faster_ways(
    new_trainer: Callable[..., Trainer], new_settings: Callable[..., Settings]
) -> None:
    stock = {"attention": "stock", "fused": False, "lean_lora": False}
    plain, fast = weights(new_trainer(new_settings(speed=stock))), weights(new_trainer(new_settings()))
    assert list(plain) == list(fast)
    assert all(torch.equal(plain[name], fast[name]) for name in plain)


def test_a_compiled_run_that_is_killed_goes_on_bit_for_bit(
    new_trainer: Callable[..., Trainer],
    new_settings: Callable[..., Settings],
    new_song: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the graphs and the partitions of the compiler; what makes code of them takes minutes here."""
    monkeypatch.setattr(compiled, "inductor", aot_eager_decomp_partition)
    settings = new_settings(speed={"compile": "on"}, train={"accumulation": 1})
    songs = [new_song("a", 60, 9), new_song("b", 60, 5)]
    first = new_trainer(settings, songs)
    train(first, 1)
    run_dir = RunDir.create(tmp_path, "drums")
    directory = checkpoint.save(run_dir, first.transformer, first.optimizer, first.state({}), settings, provenance())
    expected = train(first, 2)
    torch._dynamo.reset()
    second = new_trainer(settings, songs)
    second.restore(directory, *checkpoint.read(directory))
    assert train(second, 2) == expected
    assert all(block.compiler.works for block in second.transformer.layers)
    found, wanted = weights(second), weights(first)
    assert [name for name in wanted if not torch.equal(found[name], wanted[name])] == []
