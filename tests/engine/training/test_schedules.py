"""Learning rates at known steps."""

from __future__ import annotations

import itertools
import math

import pytest

from sidestep_tui.engine.schedules import Schedule
from sidestep_tui.schema.optim import OptimSettings


def schedule(total: int, **fields) -> Schedule:
    return Schedule.of(OptimSettings(**{"lr": 1.0, "warmup_steps": 10, "lr_floor": 0.1, **fields}), total)


def test_warm_up_climbs_from_a_tenth_in_a_line():
    rates = [schedule(110).lr(step) for step in (0, 5, 10)]
    assert rates == pytest.approx([0.1, 0.55, 1.0])


def test_cosine_is_half_way_down_in_the_middle_and_ends_on_the_floor():
    cosine = schedule(111)
    assert cosine.lr(60) == pytest.approx((1.0 + 0.1) / 2)
    assert cosine.lr(35) == pytest.approx(0.1 + 0.9 * (0.5 + 0.5 * 2**-0.5))
    assert cosine.lr(110) == pytest.approx(0.1)
    assert cosine.lr(500) == pytest.approx(0.1)


def test_linear_falls_evenly_to_the_floor():
    linear = schedule(111, schedule="linear")
    assert [linear.lr(step) for step in (10, 35, 60, 110)] == pytest.approx([1.0, 0.775, 0.55, 0.1])


def test_constant_stays_at_the_peak_after_warm_up():
    constant = schedule(111, schedule="constant")
    assert [constant.lr(step) for step in (0, 10, 60, 110)] == pytest.approx([0.1, 1.0, 1.0, 1.0])


def test_rates_never_rise_after_warm_up():
    for kind in ("cosine", "linear", "constant"):
        rates = [schedule(300, schedule=kind).lr(step) for step in range(10, 300)]
        assert all(later <= earlier for earlier, later in itertools.pairwise(rates))


def test_a_run_shorter_than_its_warm_up_still_reaches_the_peak():
    short = schedule(8, warmup_steps=100)
    assert short.warmup_steps == 4
    assert max(short.lr(step) for step in range(8)) == pytest.approx(1.0)
    assert short.lr(7) == pytest.approx(0.1)


@pytest.mark.parametrize("total", [1, 2, 3])
def test_the_shortest_runs_have_a_usable_rate(total):
    assert all(0 < schedule(total).lr(step) <= 1.0 for step in range(total))


def test_the_step_limit_is_part_of_the_horizon(new_trainer, new_settings):
    trainer = new_trainer(new_settings(train={"epochs": 100, "max_steps": 7}))
    assert trainer.total_steps == 7
    assert trainer.schedule.lr(6) == pytest.approx(trainer.settings.optim.lr * trainer.settings.optim.lr_floor)


def test_restarts_take_a_quarter_of_the_steps_and_twice_as_long_each_time():
    """S2's rule, like CosineAnnealingWarmRestarts with T_0 = a quarter of the steps and T_mult = 2."""
    restarts = schedule(410, schedule="cosine_restarts")
    rates = [restarts.lr(step) for step in (10, 60, 110, 210, 310, 385)]
    assert rates == pytest.approx([1.0, 0.55, 1.0, 0.55, 1.0, 0.1 + 0.45 * (1 + math.cos(math.pi * 75 / 400))])
    assert restarts.lr(109) < 0.101
    assert restarts.lr(309) < 0.101


def test_restarts_equal_the_scheduler_of_torch():
    import torch

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=25, T_mult=2, eta_min=0.1)
    ours = schedule(100, schedule="cosine_restarts", warmup_steps=0)
    for step in range(100):
        assert ours.lr(step) == pytest.approx(optimizer.param_groups[0]["lr"]), step
        optimizer.step()
        theirs.step()


def test_wsd_is_stable_and_falls_in_the_last_fifth():
    stable = schedule(101, schedule="wsd", warmup_steps=10)
    assert [stable.lr(step) for step in (0, 5, 10, 40, 80)] == pytest.approx([0.1, 0.55, 1.0, 1.0, 1.0])
    assert [stable.lr(step) for step in (85, 90, 95, 100, 300)] == pytest.approx([0.775, 0.55, 0.325, 0.1, 0.1])


@pytest.mark.parametrize("kind", ["cosine", "cosine_restarts", "linear", "constant", "wsd"])
@pytest.mark.parametrize("total", [1, 2, 3, 5, 13])
def test_every_schedule_stays_between_floor_and_peak_in_the_shortest_runs(kind, total):
    rates = [schedule(total, schedule=kind).lr(step) for step in range(total + 3)]
    assert all(0.1 - 1e-12 <= rate <= 1.0 + 1e-12 for rate in rates)


def test_a_constant_schedule_without_warm_up_never_moves():
    assert {schedule(20, schedule="constant", warmup_steps=0).lr(step) for step in range(20)} == {1.0}


def test_the_defaults_are_those_of_the_recipe():
    default = Schedule.of(OptimSettings(), 1000)
    assert (default.lr(0), default.lr(100), default.lr(999)) == pytest.approx((1e-5, 1e-4, 1e-6))
