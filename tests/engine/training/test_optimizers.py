"""Optimizers: each against its formula by hand, each resumed to the same bits, each with falling loss."""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from sidestep_tui.core.errors import SettingsError
from sidestep_tui.engine import adapters, checkpoint, export, optimizers
from sidestep_tui.engine.control import Orders
from sidestep_tui.engine.loop import TrainingRun
from sidestep_tui.engine.reporter import Reporter
from sidestep_tui.engine.resumption import report_changes
from sidestep_tui.engine.trainer import Trainer
from sidestep_tui.engine.update_rules import SHARED, Lion, Prodigy, ScheduleFreeAdamW
from sidestep_tui.engine.validation import Validator
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.protocol.tail import Tail
from sidestep_tui.schema.optim import OptimSettings

RATES = {
    "adamw": 1e-2,
    "adafactor": 1e-2,
    "prodigy": 1.0,
    "schedule_free": 1e-2,
    "lion": 3e-3,
    "muon": 1e-2,
}
GRADIENTS = [
    ([[0.5, -1.0], [2.0, 0.25]], [0.1, -0.2, 0.3]),
    ([[0.25, 1.0], [-1.0, 0.5]], [0.2, -0.1, -0.3]),
    ([[-0.5, 0.5], [1.5, 0.75]], [-0.4, 0.1, 0.6]),
    ([[1.0, -0.5], [0.5, -0.25]], [0.3, 0.3, -0.1]),
]
STARTS = ([[1.0, -0.5], [0.25, 2.0]], [0.0, 0.0, 0.0])


def provenance() -> export.Provenance:
    return export.Provenance("drums", "2026", 1, 1, None, "acestep-v15-turbo", "turbo", "")


def walk(optimizer_of, gradients=GRADIENTS) -> tuple[list[np.ndarray], torch.optim.Optimizer]:
    """Two small parameters, in float64, after a step for each of `gradients`."""
    parameters = [torch.nn.Parameter(torch.tensor(start, dtype=torch.float64)) for start in STARTS]
    optimizer = optimizer_of(parameters)
    for step in gradients:
        for parameter, gradient in zip(parameters, step, strict=True):
            parameter.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
    return [parameter.detach().numpy().astype(float) for parameter in parameters], optimizer


def flat(values) -> np.ndarray:
    return np.concatenate([np.asarray(value, dtype=float).ravel() for value in values])


def test_lion_follows_its_formula() -> None:
    found, _ = walk(partial(Lion, lr=0.1, betas=(0.9, 0.99), weight_decay=0.05))
    p, m = flat(STARTS), np.zeros(7)
    for gradients in GRADIENTS:
        g = flat(gradients)
        p = p - 0.1 * (np.sign(0.9 * m + 0.1 * g) + 0.05 * p)
        m = 0.99 * m + 0.01 * g
    assert flat(found) == pytest.approx(p, rel=1e-9)


def test_prodigy_follows_its_formula_and_its_estimate_grows() -> None:
    repeated = GRADIENTS[:1] * 12 + GRADIENTS
    found, optimizer = walk(partial(Prodigy, lr=1.0, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.01), repeated)
    p = start = flat(STARTS)
    m, v, s, r, d = np.zeros(7), np.zeros(7), np.zeros(7), 0.0, 1e-6
    for step, gradients in enumerate(repeated, start=1):
        g = flat(gradients)
        c = math.sqrt(1 - 0.99**step) / (1 - 0.9**step)
        beta3 = math.sqrt(0.99)
        r = beta3 * r + d * d * c * float(g @ (start - p))
        s = beta3 * s + d * d * c * g
        m = 0.9 * m + 0.1 * d * g
        v = 0.99 * v + 0.01 * d * d * g * g
        p = p - d * c * (m / (np.sqrt(v) + d * 1e-8) + 0.01 * p)
        d = max(d, r / np.abs(s).sum())
    assert d > 2e-6
    assert float(optimizer.state[SHARED]["d"]) == pytest.approx(d, rel=1e-9)
    assert flat(found) - start == pytest.approx(p - start, rel=1e-6)


def test_schedule_free_adamw_follows_its_formula() -> None:
    found, optimizer = walk(partial(ScheduleFreeAdamW, lr=0.1, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.05))
    x = y = z = flat(STARTS)
    v, weights = np.zeros(7), 0.0
    for step, gradients in enumerate(GRADIENTS, start=1):
        g = flat(gradients)
        c = 0.1 * math.sqrt(1 - 0.99**step)
        v = 0.99 * v + 0.01 * g * g
        z = z - c * (g / (np.sqrt(v) + 1e-8) + 0.05 * y)
        weights += c * c
        x = x + (z - x) * c * c / weights
        y = 0.1 * z + 0.9 * x
    assert flat(found) == pytest.approx(y, rel=1e-9)
    optimizer.show_average()
    assert flat([p.detach() for p in optimizer.param_groups[0]["params"]]) == pytest.approx(x, rel=1e-9)
    optimizer.show_training_point()
    assert all((flat(found) == flat([p.detach() for p in optimizer.param_groups[0]["params"]])).tolist())


def test_prodigy_finds_a_useful_rate_by_itself() -> None:
    target = torch.linspace(-1, 1, 20)
    weights = torch.nn.Parameter(torch.zeros(20))
    optimizer = Prodigy([weights], lr=1.0)
    for _ in range(300):
        optimizer.zero_grad()
        (weights - target).square().sum().backward()
        optimizer.step()
    assert float((weights.detach() - target).abs().max()) < 0.02
    assert 1e-2 < float(optimizer.state[SHARED]["d"]) < 10


def settings_for(new_settings, name: str, **groups):
    optim = {"optimizer": name, "lr": RATES[name], "schedule": "constant", "warmup_steps": 2}
    return new_settings(**{**groups, "optim": {**optim, **groups.get("optim", {})}})


def train(trainer: Trainer, steps: int) -> list[float]:
    losses = []
    for _ in range(steps):
        losses.append(trainer.step().loss)
        if trainer.at_end_of_epoch:
            losses.append(trainer.end_epoch().loss)
    return losses


def saved(trainer: Trainer, run_dir: RunDir) -> Path:
    state = trainer.state({})
    return checkpoint.save(run_dir, trainer.transformer, trainer.optimizer, state, trainer.settings, provenance())


def resumed(trainer: Trainer, directory: Path) -> Trainer:
    state, numbers = checkpoint.read(directory)
    trainer.restore(directory, state, numbers)
    return trainer


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    return RunDir.create(tmp_path, "drums")


@pytest.mark.parametrize("name", ["prodigy", "schedule_free"])
def test_two_rates_resume_in_the_middle_of_an_epoch_bit_for_bit(new_trainer, new_settings, run_dir, name) -> None:
    settings = settings_for(new_settings, name, optim={"lr_ratio_b": 4.0})
    straight = new_trainer(settings)
    expected = train(straight, 6)
    first = new_trainer(settings)
    losses = train(first, 4)
    directory = saved(first, run_dir)
    torch.manual_seed(999)
    second = resumed(new_trainer(settings), directory)
    losses += train(second, 2)
    assert losses == expected
    for (weight, one), (_, other) in zip(straight.parameters.items(), second.parameters.items(), strict=True):
        assert torch.equal(one, other), weight
    assert {path.suffix for path in directory.iterdir()} == {".safetensors", ".json"}


@pytest.mark.parametrize("name", ["prodigy", "schedule_free"])
def test_saving_changes_nothing_for_the_run_that_goes_on(new_trainer, new_settings, run_dir, name) -> None:
    settings = settings_for(new_settings, name)
    straight, saving = new_trainer(settings), new_trainer(settings)
    train(straight, 1)
    train(saving, 1)
    saved(saving, run_dir)
    assert train(straight, 2) == train(saving, 2)


def test_a_checkpoint_of_a_schedule_free_run_holds_the_average(new_trainer, new_settings, run_dir) -> None:
    trainer = new_trainer(settings_for(new_settings, "schedule_free"))
    train(trainer, 4)
    directory = saved(trainer, run_dir)
    stored = load_file(directory / checkpoint.OPTIMIZER_FILE)
    training_point = adapters.state_dict(trainer.transformer)
    _, published = adapters.read_adapter(directory)
    averages = {float(value.double().sum()) for key, value in stored.items() if key.endswith("|x")}
    assert {float(value.double().sum()) for value in published.values()} == averages
    assert any(not torch.equal(published[key], training_point[key]) for key in published)


def test_schedule_free_weights_are_put_back_when_publishing_fails(new_trainer, new_settings) -> None:
    trainer = new_trainer(settings_for(new_settings, "schedule_free"))
    train(trainer, 3)
    before = adapters.state_dict(trainer.transformer)
    with pytest.raises(OSError, match="full"), optimizers.published_weights(trainer.optimizer):
        raise OSError("full")
    after = adapters.state_dict(trainer.transformer)
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_published_weights_are_the_weights_of_other_optimizers(new_trainer) -> None:
    trainer = new_trainer()
    train(trainer, 2)
    before = adapters.state_dict(trainer.transformer)
    with optimizers.published_weights(trainer.optimizer):
        inside = adapters.state_dict(trainer.transformer)
    assert all(torch.equal(before[key], inside[key]) for key in before)


def test_b_matrices_learn_at_their_own_rate(new_trainer, new_settings) -> None:
    plain = new_trainer(settings_for(new_settings, "adamw", optim={"eps": 1e-12, "weight_decay": 0.0}))
    faster = new_trainer(
        settings_for(new_settings, "adamw", optim={"eps": 1e-12, "weight_decay": 0.0, "lr_ratio_b": 4.0})
    )
    plain.step()
    faster.step()
    # B starts at zero, so that its first change is all of it; A has no gradient before B has moved.
    for name in plain.parameters:
        if "lora_B" in name:
            assert torch.allclose(faster.parameters[name], 4 * plain.parameters[name], rtol=1e-4), name
        else:
            assert torch.equal(faster.parameters[name], plain.parameters[name]), name


def test_the_ratio_of_b_matrices_may_change_on_resume(new_trainer, new_settings, run_dir) -> None:
    first = new_trainer(settings_for(new_settings, "adamw"))
    train(first, 2)
    directory = saved(first, run_dir)
    second = resumed(new_trainer(settings_for(new_settings, "adamw", optim={"lr_ratio_b": 2.0})), directory)
    for name, parameter in first.parameters.items():
        moment = second.optimizer.state[second.parameters[name]]["exp_avg"]
        assert torch.equal(moment, first.optimizer.state[parameter]["exp_avg"]), name
    second.step()
    assert [group["lr"] for group in second.optimizer.param_groups] == pytest.approx([1e-2, 2e-2])


def test_a_ratio_without_b_matrices_is_refused() -> None:
    parameters = {"layers.0.lokr_w1": torch.nn.Parameter(torch.zeros(2, 2))}
    with pytest.raises(SettingsError, match="B matrices"):
        optimizers.build(OptimSettings(lr_ratio_b=2.0), parameters, torch.device("cpu"))


def test_muon_refuses_what_is_no_matrix(new_trainer, new_settings) -> None:
    with pytest.raises(SettingsError, match="matrices only"):
        new_trainer(settings_for(new_settings, "muon", adapter={"kind": "dora"}))


def test_an_optimizer_step_moves_nothing_to_the_host(monkeypatch) -> None:
    """What waits for a GPU is `item`, `bool` or `float` of a tensor; only Prodigy's first step may."""
    for kind in (Lion, Prodigy, ScheduleFreeAdamW):
        _, optimizer = walk(partial(kind, lr=0.1))
        with monkeypatch.context() as patch:

            def refuse(*_) -> None:
                raise AssertionError("waited for the device")

            for method in ("item", "__bool__", "__float__", "tolist"):
                patch.setattr(torch.Tensor, method, refuse)
            optimizer.step()


def test_a_longer_run_does_not_warm_up_again(new_trainer, new_settings, run_dir) -> None:
    """Warm-up takes at most half of a run: a longer one may have more of it, but not after its end."""
    first = new_trainer(new_settings(optim={"warmup_steps": 100}))
    train(first, first.total_steps)
    assert first.schedule.warmup_steps == 4
    longer_settings = new_settings(optim={"warmup_steps": 100}, train={"epochs": 20})
    second = resumed(new_trainer(longer_settings), saved(first, run_dir))
    rates = [second.schedule.lr(step) for step in range(second.position.step, second.total_steps)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] < 0.98 * longer_settings.optim.lr
    train(second, 2)
    third = resumed(new_trainer(longer_settings), saved(second, run_dir))
    assert third.schedule == second.schedule


def test_a_run_stopped_in_its_warm_up_goes_on_warming_up(new_trainer, new_settings, run_dir) -> None:
    settings = new_settings(optim={"warmup_steps": 4})
    first = new_trainer(settings)
    train(first, 2)
    second = resumed(new_trainer(settings), saved(first, run_dir))
    assert second.schedule == first.schedule
    assert second.step().lr == pytest.approx(settings.optim.lr * (0.1 + 0.9 * 2 / 4))


@pytest.mark.parametrize("schedule", ["cosine", "linear", "wsd", "cosine_restarts", "constant"])
def test_a_changed_rate_scales_the_rest_of_every_schedule(new_trainer, new_settings, run_dir, schedule) -> None:
    first = new_trainer(new_settings(optim={"schedule": schedule}))
    train(first, 1)
    directory = saved(first, run_dir)
    second = resumed(new_trainer(new_settings(optim={"schedule": schedule, "lr": 5e-3})), directory)
    left = range(1, first.total_steps)
    assert [second.schedule.lr(step) for step in left] == pytest.approx([first.schedule.lr(step) / 2 for step in left])


@pytest.mark.parametrize(
    ("schedule", "highest"),
    [("cosine", 0.51), ("linear", 0.51), ("constant", 1.0), ("wsd", 1.0), ("cosine_restarts", 1.0)],
)
def test_a_run_made_twice_as_long_after_its_end_follows_the_schedule_of_that_length(
    new_trainer, new_settings, run_dir, schedule, highest
) -> None:
    """WSD is before its fall again and restarts may start again: that is their rule. The others never return."""
    trainer = new_trainer(new_settings(optim={"schedule": schedule}))
    train(trainer, trainer.total_steps)
    directory = saved(trainer, run_dir)
    settings = new_settings(optim={"schedule": schedule}, train={"epochs": 6})
    longer = resumed(new_trainer(settings), directory)
    fresh = new_trainer(settings)
    left = range(longer.position.step, longer.total_steps)
    rates = [longer.schedule.lr(step) for step in left]
    assert rates == [fresh.schedule.lr(step) for step in left]
    assert max(rates) <= highest * settings.optim.lr
    if schedule != "cosine_restarts":
        assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant", "wsd"])
def test_a_run_made_shorter_never_raises_its_rate(new_trainer, new_settings, run_dir, schedule) -> None:
    trainer = new_trainer(new_settings(optim={"schedule": schedule}, train={"epochs": 6}))
    train(trainer, 5)
    directory = saved(trainer, run_dir)
    before = [trainer.schedule.lr(step) for step in range(5, 12)]
    shorter = resumed(new_trainer(new_settings(optim={"schedule": schedule}, train={"epochs": 4})), directory)
    assert shorter.total_steps == 12
    after = [shorter.schedule.lr(step) for step in range(5, 12)]
    assert all(now <= then for now, then in zip(after, before, strict=True))
    assert after == sorted(after, reverse=True)


def test_a_checkpoint_from_before_warm_up_was_noted_resumes(new_trainer, run_dir) -> None:
    trainer = new_trainer()
    train(trainer, 2)
    directory = saved(trainer, run_dir)
    path = directory / checkpoint.STATE_FILE
    document = json.loads(path.read_text())
    del document["warmup_steps"], document["next_lr"]
    path.write_text(json.dumps(document))
    assert resumed(new_trainer(), directory).schedule == trainer.schedule


class Told:
    """A reporter that remembers."""

    def __init__(self) -> None:
        self.logged: list[str] = []
        self.warned: list[str] = []

    def log(self, message: str) -> None:
        self.logged.append(message)

    def warning(self, code: str, message: str, hint: str = "") -> None:
        self.warned.append(f"{code}: {message}")


@pytest.mark.parametrize(
    ("optim", "train_settings", "rises", "another_end"),
    [
        ({}, {}, False, False),
        ({"lr": 5e-3}, {}, False, False),
        ({"lr": 5e-2}, {}, True, False),
        ({}, {"epochs": 9}, True, True),
        ({}, {"epochs": 2, "max_steps": 6}, False, True),
    ],
)
def test_a_rate_that_rises_on_resume_is_said(
    new_trainer, new_settings, run_dir, optim, train_settings, rises, another_end
) -> None:
    first = new_trainer()
    train(first, 2)
    directory = saved(first, run_dir)
    state, _ = checkpoint.read(directory)
    told = Told()
    report_changes(told, resumed(new_trainer(new_settings(optim=optim, train=train_settings)), directory), state)
    assert len(told.warned) == rises
    assert len(told.logged) == another_end


def test_going_back_to_a_checkpoint_takes_the_whole_optimizer_along(new_trainer, new_settings, run_dir) -> None:
    for name in ("prodigy", "schedule_free"):
        trainer = new_trainer(settings_for(new_settings, name))
        train(trainer, 1)
        directory = saved(trainer, RunDir.create(run_dir.path, name))
        kept = {
            key: value.clone()
            for key, value in optimizers.state_tensors(trainer.optimizer, trainer.parameters)[0].items()
        }
        weights = {key: value.detach().clone() for key, value in trainer.parameters.items()}
        train(trainer, 2)
        _, numbers = checkpoint.read(directory)
        checkpoint.restore(directory, trainer.transformer, trainer.optimizer, numbers)
        tensors, now = optimizers.state_tensors(trainer.optimizer, trainer.parameters)
        assert now == numbers
        assert all(torch.equal(tensors[key], kept[key]) for key in kept)
        assert all(torch.equal(trainer.parameters[key], weights[key]) for key in weights)


class NoOrders:
    """A control that lets the run go on."""

    def poll(self) -> Orders:
        return Orders()

    def should_stop(self) -> bool:
        return False

    def should_abort(self) -> bool:
        return False


def test_a_schedule_free_run_validates_exports_and_verifies_the_average(new_run, monkeypatch) -> None:
    run_dir, _ = new_run(
        optim={"optimizer": "schedule_free", "schedule": "constant", "lr": 1e-2},
        data={"validation": 20},
        train={"epochs": 2, "best_after": 0},
    )
    seen: list[dict[str, torch.Tensor]] = []
    measure = Validator.measure

    def spy(self, trainer, *rest):
        seen.append(adapters.state_dict(trainer.transformer))
        return measure(self, trainer, *rest)

    monkeypatch.setattr(Validator, "measure", spy)
    with Reporter(run_dir, "test", sample_seconds=0) as reporter:
        assert TrainingRun(run_dir, reporter, NoOrders()).carry_out() == "finished"
    told = Tail(run_dir.events).read(limit_bytes=2**30)
    assert any("maximum difference 0" in event.get("msg", "") for event in told)
    _, exported = adapters.read_adapter(run_dir.adapter / "final")
    _, kept = adapters.read_adapter(run_dir.latest_checkpoint())
    assert all(torch.equal(exported[key], kept[key]) for key in exported)
    assert all(torch.equal(exported[key], seen[-1][key]) for key in exported)


def test_the_rate_told_with_prodigy_is_what_it_found_times_the_schedule(new_trainer, new_settings, monkeypatch) -> None:
    """A curve that says 1 all along tells nothing: users expect the size of the steps."""
    trainer = new_trainer(new_settings(optim={"optimizer": "prodigy", "lr": 0.5, "schedule": "constant"}))
    told, estimates = [], [Prodigy.FIRST_ESTIMATE]
    for number in range(4):
        told.append(trainer.step().lr)
        if number == 1:  # as it grows by itself within some hundred steps
            trainer.optimizer.state[SHARED]["d"] *= 100
        estimates.append(float(trainer.optimizer.state[SHARED]["d"]))
        if trainer.at_end_of_epoch:
            trainer.end_epoch()
    assert told == pytest.approx([0.5 * estimate for estimate in estimates[:-1]], rel=1e-6)
    assert told[0] == pytest.approx(5e-7) and told[-1] > 4e-5
    assert trainer.next_lr == 0.5  # the schedule knows nothing of it
    waits = []
    tolist = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "item", lambda self: pytest.fail("a second wait"))
    monkeypatch.setattr(torch.Tensor, "tolist", lambda self: waits.append(self.shape) or tolist(self))
    trainer.step()
    assert waits[-1] == (2 + 2 + 1 + 1,)  # losses, levels, the gradient's norm, and the rate found
