"""Learning rates at known steps."""

from __future__ import annotations

import itertools

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
