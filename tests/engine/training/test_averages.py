"""The moving average of the adapter against its formula; saved, resumed and exported."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sidestep_tui.engine import adapters, averages, checkpoint, export
from sidestep_tui.engine.control import Orders
from sidestep_tui.engine.loop import TrainingRun
from sidestep_tui.engine.reporter import Reporter
from sidestep_tui.engine.trainer import Trainer
from sidestep_tui.protocol.rundir import RunDir


class Quiet:
    """A control that orders nothing."""

    def poll(self) -> Orders:
        return Orders()

    def should_stop(self) -> bool:
        return False

    def should_abort(self) -> bool:
        return False


OPTIMIZERS = ["adamw", "adamw8bit", "adafactor", "prodigy", "lion", "muon"]


def weights(trainer: Trainer) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in trainer.parameters.values()]


def published(trainer: Trainer) -> list[torch.Tensor]:
    with averages.published(trainer.optimizer):
        return weights(trainer)


def same(left: list[torch.Tensor], right: list[torch.Tensor]) -> bool:
    return all(torch.equal(one, two) for one, two in zip(left, right, strict=True))


def save(trainer: Trainer, run_dir: RunDir) -> Path:
    provenance = export.Provenance("drums", "2026", 1, 1, None, "acestep-v15-turbo", "turbo", "")
    state = trainer.state({})
    return checkpoint.save(run_dir, trainer.transformer, trainer.optimizer, state, trainer.settings, provenance)


def test_the_warm_up_lets_go_of_the_start_and_ends_at_the_decay():
    assert [averages.decay_at(0.99, updates) for updates in (0, 1, 8)] == [1 / 10, 2 / 11, 9 / 18]
    assert averages.decay_at(0.99, 10_000) == 0.99


def test_the_average_is_its_formula(new_trainer, new_settings):
    trainer = new_trainer(new_settings(train={"ema_decay": 0.15, "epochs": 9}))
    plain = new_trainer(new_settings(train={"epochs": 9}))
    expected: list[torch.Tensor] = []
    for updates, rate in enumerate((None, 0.1, 0.15, 0.15)):
        trainer.step(), plain.step()
        for one in (trainer, plain):
            if one.at_end_of_epoch:
                one.end_epoch()
        now = weights(trainer)
        assert same(now, weights(plain)), updates  # training itself does not know of the average
        if rate is None:
            expected = now
        else:
            expected = [rate * mean + (1 - rate) * weight for mean, weight in zip(expected, now, strict=True)]
        found = published(trainer)
        assert all(torch.allclose(a, b, rtol=1e-5, atol=1e-7) for a, b in zip(found, expected, strict=True))
        assert same(weights(trainer), now)


def test_a_skipped_step_leaves_the_average_alone(new_trainer, new_settings, monkeypatch):
    trainer = new_trainer(new_settings(train={"ema_decay": 0.9}))
    trainer.step()
    trainer.step()
    before = published(trainer)
    losses = Trainer.losses
    monkeypatch.setattr(Trainer, "losses", lambda self, batch: losses(self, batch) * float("nan"))
    assert trainer.step().skipped
    assert same(published(trainer), before)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_weights_and_average_resume_bit_for_bit(new_trainer, new_settings, tmp_path, optimizer):
    adapter = {}
    if optimizer == "adamw8bit":
        pytest.importorskip("bitsandbytes")
        adapter = {"rank": 128}  # only matrices of 4096 weights and more have 8-bit state
    settings = new_settings(
        adapter=adapter, train={"ema_decay": 0.9, "epochs": 4, "accumulation": 5}, optim={"optimizer": optimizer}
    )
    straight, first = new_trainer(settings), new_trainer(settings)
    for trainer in (straight, first):
        for _ in range(2):
            trainer.step()
            trainer.end_epoch()
    directory = save(first, RunDir.create(tmp_path, "drums"))
    resumed = new_trainer(settings)
    resumed.restore(directory, *checkpoint.read(directory))
    for trainer in (straight, resumed):
        for _ in range(2):
            trainer.step()
            trainer.end_epoch()
    assert same(weights(straight), weights(resumed))
    assert same(published(straight), published(resumed))
    assert not same(published(resumed), weights(resumed))


def test_an_average_switched_off_or_on_between_sessions_is_what_the_settings_say(new_trainer, new_settings, tmp_path):
    averaged = new_settings(train={"ema_decay": 0.9})
    trainer = new_trainer(averaged)
    trainer.step(), trainer.step()
    directory = save(trainer, RunDir.create(tmp_path, "drums"))
    plain = new_trainer()
    plain.restore(directory, *checkpoint.read(directory))
    assert same(published(plain), weights(plain))
    back = save(plain, RunDir.create(tmp_path, "other"))
    again = new_trainer(averaged)
    again.restore(back, *checkpoint.read(back))
    assert same(published(again), weights(again))
    again.step()
    assert same(published(again), weights(again))  # begins with the weights of its first step


def test_a_run_exports_the_average_and_its_checkpoints_hold_the_weights(new_run):
    run_dir, _ = new_run(train={"epochs": 4, "ema_decay": 0.9})
    with Reporter(run_dir, "test", sample_seconds=0) as reporter:
        assert TrainingRun(run_dir, reporter, Quiet()).carry_out() == "finished"  # reloads the export and compares
    final = adapters.read_adapter(run_dir.adapter / "final")[1]
    saved = adapters.read_adapter(run_dir.checkpoint_path(12))[1]
    assert any(not torch.equal(final[name], saved[name]) for name in final)
    with Reporter(run_dir, "test", sample_seconds=0) as reporter:
        assert TrainingRun(run_dir, reporter, Quiet()).carry_out() == "finished"  # a finished run only exports again
    again = adapters.read_adapter(run_dir.adapter / "final")[1]
    assert all(torch.equal(final[name], again[name]) for name in final)
