"""Steps without a finite loss: left out, gone back from, and only then the end."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from sidestep_tui.core.errors import DivergedError
from sidestep_tui.engine import adapters, checkpoint, export, watchdog
from sidestep_tui.engine.checkpoint import Watch
from sidestep_tui.engine.control import Orders
from sidestep_tui.engine.loop import TrainingRun
from sidestep_tui.engine.reporter import Reporter
from sidestep_tui.engine.trainer import Trainer
from sidestep_tui.protocol import strict
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.protocol.tail import Tail


class Quiet:
    """A control that stops after so many steps, or never."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.left = stop_after

    def poll(self) -> Orders:
        if self.left is None:
            return Orders()
        self.left -= 1
        return Orders(stop=self.left < 0)

    def should_stop(self) -> bool:
        return False

    def should_abort(self) -> bool:
        return False


def carry_out(run_dir: RunDir, control: Quiet | None = None) -> str:
    with Reporter(run_dir, "test", sample_seconds=0) as reporter:
        return TrainingRun(run_dir, reporter, control or Quiet()).carry_out()


def events(run_dir: RunDir, kind: str) -> list[dict[str, Any]]:
    told = Tail(run_dir.events).read_all()
    strict.check_journal(told)
    return [event for event in told if event["type"] == kind]


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> Callable[[set[int]], None]:
    """`poison({4, 5})`: the losses of these steps, counted from 1, are not a number."""

    def install(steps: set[int]) -> None:
        losses = Trainer.losses

        def poisoned(self: Trainer, batch: Any) -> torch.Tensor:
            return losses(self, batch) * (math.nan if self.position.step + 1 in steps else 1.0)

        monkeypatch.setattr(Trainer, "losses", poisoned)

    return install


def settings(**train: Any) -> dict[str, dict[str, Any]]:
    return {"train": {"epochs": 6, "best_after": 0, **train}, "output": {"save_every_steps": 3, "save_every_epochs": 0}}


def test_five_bad_steps_send_the_run_back_to_good_weights_with_half_the_rate(new_run, poison):
    poison({5, 6, 7, 8, 9})
    run_dir, _ = new_run(**settings())
    assert carry_out(run_dir) == "finished"
    told = [(event["code"], event["msg"]) for event in events(run_dir, "warning") if event["code"] != "dataset"]
    assert [code for code, _ in told if code in ("step_skipped", "rolled_back")] == ["step_skipped"] * 4 + [
        "rolled_back"
    ]
    # Of the checkpoints at 3 and 6, that of 6 was saved among bad steps.
    assert "step_000003 are back" in told[-1][1]
    assert "0.5 of what was planned" in told[-1][1]
    steps = [event["step"] for event in events(run_dir, "step")]
    assert steps == list(range(1, 19))  # steps go on; only the weights went back
    final, _ = checkpoint.read(run_dir.checkpoint_path(18))
    assert final.watchdog == Watch(lr=1e-2, lr_scale=0.5, skipped=5, returns=((9, 3),))


def test_the_rate_is_that_of_the_schedule_times_the_factor(new_trainer, new_settings, tmp_path):
    given = new_settings(train={"rollback_lr": 0.3})
    trainer = new_trainer(given)
    run_dir = RunDir.create(tmp_path, "drums")
    trainer.step()
    before = {name: parameter.detach().clone() for name, parameter in trainer.parameters.items()}
    provenance = export.Provenance("drums", "2026", 1, 1, None, "acestep-v15-turbo", "turbo", "")
    directory = checkpoint.save(run_dir, trainer.transformer, trainer.optimizer, trainer.state({}), given, provenance)
    trainer.step()
    assert any(not torch.equal(parameter, before[name]) for name, parameter in trainer.parameters.items())
    trainer.go_back(directory, checkpoint.read(directory)[1])
    assert all(torch.equal(parameter, before[name]) for name, parameter in trainer.parameters.items())
    assert trainer.position.step == 2
    trainer.end_epoch()
    assert trainer.step().lr == trainer.schedule.lr(2) * 0.3


def test_a_run_that_went_back_resumes_bit_for_bit(new_run, poison, tmp_path, make_run):
    poison({5, 6, 7, 8, 9})
    straight, _ = new_run(**settings())
    carry_out(straight)
    expected = [event["loss"] for event in events(straight, "step")]
    for cut in (7, 11):  # among the bad steps, and after going back
        halves, _ = make_run(tmp_path / f"cut{cut}", "drums", **settings())
        assert carry_out(halves, Quiet(stop_after=cut)) == "stopped"
        assert carry_out(halves) == "finished"
        said = any("0.5 of what was planned" in event["msg"] for event in events(halves, "log"))
        assert said is (cut > 9)
        losses = [event["loss"] for event in events(halves, "step")]
        assert [str(loss) for loss in losses] == [str(loss) for loss in expected]
        for run in (straight, halves):
            assert checkpoint.read(run.checkpoint_path(18))[0].watchdog.returns == ((9, 3),)
        one, two = (adapters.read_adapter(run.adapter / "final")[1] for run in (straight, halves))
        assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_run_that_cannot_be_saved_ends_as_diverged_after_its_returns(new_run, poison):
    poison(set(range(7, 99)))
    run_dir, _ = new_run(**settings(epochs=12))
    with pytest.raises(DivergedError) as caught:
        carry_out(run_dir)
    assert events(run_dir, "step")[-1]["step"] == 21  # three times five bad steps: two returns, then the end
    assert "2 times did not help" in caught.value.message
    back = [event["msg"] for event in events(run_dir, "warning") if event["code"] == "rolled_back"]
    assert ["step_000006" in back[0], "step_000003" in back[1]] == [True, True]  # an older one the second time
    assert "0.25 of what was planned" in back[1]


def test_a_run_never_goes_back_to_what_was_saved_after_the_trouble_began(new_run, poison):
    """The checkpoint of step 6 follows a good step, but the trouble began at step 5."""
    poison({5, 7, 8, 9, 10, 11})
    run_dir, _ = new_run(**settings())
    assert carry_out(run_dir) == "finished"
    saved = [event["step"] for event in events(run_dir, "checkpoint")]
    assert saved[:2] == [3, 6]
    assert checkpoint.read(run_dir.checkpoint_path(6))[0].skipped_in_a_row == 0
    assert checkpoint.read(run_dir.checkpoint_path(18))[0].watchdog.returns == ((11, 3),)


@pytest.mark.parametrize(("jump", "expected"), [(None, 60), (59, 50), (49, 40)])
def test_a_checkpoint_saved_soon_after_a_jump_of_the_loss_is_passed_over(
    new_trainer, new_settings, tmp_path, jump, expected
):
    trainer = new_trainer(new_settings(train={"epochs": 40}))
    run_dir = RunDir.create(tmp_path, "drums")
    provenance = export.Provenance("drums", "2026", 1, 1, None, "acestep-v15-turbo", "turbo", "")
    trainer.step()
    trainer.end_epoch()
    for step in range(1, 61):
        trainer.position = replace(trainer.position, step=step)
        trainer.tracker.add_step(step, 80.0 if step == jump else 0.5, 1.0, skipped=False)
        if step in (40, 50, 60):
            state = trainer.state({})
            checkpoint.save(run_dir, trainer.transformer, trainer.optimizer, state, trainer.settings, provenance)
    found = watchdog._good_checkpoint(trainer, run_dir)
    assert found is not None and found[0] == run_dir.checkpoint_path(expected)


def test_a_checkpoint_saved_in_trouble_is_better_than_none(new_trainer, new_settings, tmp_path):
    trainer = new_trainer()
    run_dir = RunDir.create(tmp_path, "drums")
    provenance = export.Provenance("drums", "2026", 1, 1, None, "acestep-v15-turbo", "turbo", "")
    trainer.tracker.add_step(1, math.nan, math.nan, skipped=True)
    trainer.step()
    checkpoint.save(run_dir, trainer.transformer, trainer.optimizer, trainer.state({}), trainer.settings, provenance)
    found = watchdog._good_checkpoint(trainer, run_dir)
    assert found is not None and found[0] == run_dir.checkpoint_path(1)


def test_without_a_checkpoint_there_is_nowhere_to_go_back_to(new_run, poison):
    poison(set(range(2, 99)))
    run_dir, _ = new_run(train={"epochs": 6, "best_after": 0})
    with pytest.raises(DivergedError):
        carry_out(run_dir)
    assert events(run_dir, "step")[-1]["step"] == 6


def test_a_damaged_checkpoint_is_passed_over(new_trainer, new_settings, tmp_path):
    trainer = new_trainer()
    run_dir = RunDir.create(tmp_path, "drums")
    provenance = export.Provenance("drums", "2026", 1, 1, None, "acestep-v15-turbo", "turbo", "")
    for _ in range(2):
        trainer.step()
        checkpoint.save(
            run_dir, trainer.transformer, trainer.optimizer, trainer.state({}), trainer.settings, provenance
        )
    found = watchdog._good_checkpoint(trainer, run_dir)
    assert found is not None and found[0] == run_dir.checkpoint_path(2)
    (run_dir.checkpoint_path(2) / checkpoint.STATE_FILE).write_text("{")
    found = watchdog._good_checkpoint(trainer, run_dir)
    assert found is not None and found[0] == run_dir.checkpoint_path(1)


@pytest.mark.parametrize(("lr", "scale", "returns"), [(1e-2, 0.5, 1), (1e-3, 1.0, 0)])
def test_another_learning_rate_on_resume_is_taken_as_it_is(new_trainer, new_settings, lr, scale, returns, tmp_path):
    trainer = new_trainer()
    trainer.step()
    trainer.watch = Watch(lr=1e-2, lr_scale=0.5, skipped=5, returns=((9, 3),))
    run_dir = RunDir.create(tmp_path, "drums")
    provenance = export.Provenance("drums", "2026", 1, 1, None, "acestep-v15-turbo", "turbo", "")
    directory = checkpoint.save(
        run_dir, trainer.transformer, trainer.optimizer, trainer.state({}), trainer.settings, provenance
    )
    resumed = new_trainer(new_settings(optim={"lr": lr}))
    resumed.restore(directory, *checkpoint.read(directory))
    assert (resumed.watch.lr_scale, len(resumed.watch.returns), resumed.watch.skipped) == (scale, returns, 5)


def test_checkpoints_from_before_the_watchdog_are_readable(new_trainer, tmp_path):
    trainer = new_trainer()
    trainer.step()
    run_dir = RunDir.create(tmp_path, "drums")
    provenance = export.Provenance("drums", "2026", 1, 1, None, "acestep-v15-turbo", "turbo", "")
    directory = checkpoint.save(
        run_dir, trainer.transformer, trainer.optimizer, trainer.state({}), trainer.settings, provenance
    )
    file = directory / checkpoint.STATE_FILE
    document = json.loads(file.read_text())
    del document["watchdog"]
    file.write_text(json.dumps(document))
    assert checkpoint.read(directory)[0].watchdog == Watch()
