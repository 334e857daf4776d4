"""What is said about made-up curves: plateau, learning by heart, jumps; and how rarely chance is taken for them."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable

import pytest

from sidestep_tui.engine import curves, trends
from sidestep_tui.engine.curves import History, Jumps, mann_kendall
from sidestep_tui.engine.trends import Finding, Trends

Curve = Callable[[int], float]


def told(
    training: Curve,
    held_out: Curve | None = None,
    *,
    epochs: int,
    seed: int = 0,
    noise: float = 0.0,
    small: float = 0.0,
) -> list[tuple[int, Finding]]:
    """Findings by epoch over curves with normal noise: `noise` on the training loss, `small` on the held-out one."""
    source = random.Random(seed)
    watched = Trends()
    found = []
    for epoch in range(1, epochs + 1):
        findings = watched.add_epoch(training(epoch) + source.gauss(0.0, noise))
        if held_out is not None:
            loss = held_out(epoch) + source.gauss(0.0, small)
            findings += watched.add_held_out(10 * epoch, loss, held_out(0))
        found += [(epoch, finding) for finding in findings]
    return found


def codes(found: list[tuple[int, Finding]]) -> list[str]:
    return [finding.code for _, finding in found]


def test_the_rank_test_follows_its_formula():
    # 1 3 2 4: five pairs rise, one falls: S = 4, Var S = 4·3·13/18.
    assert mann_kendall([1, 3, 2, 4]) == pytest.approx(3 / math.sqrt(4 * 3 * 13 / 18))
    assert mann_kendall([4, 2, 3, 1]) == pytest.approx(-3 / math.sqrt(4 * 3 * 13 / 18))
    # 1 2 2 3: S = 5, and the tied pair takes 2·1·9/18 off.
    assert mann_kendall([1, 2, 2, 3]) == pytest.approx(4 / math.sqrt((4 * 3 * 13 - 2 * 1 * 9) / 18))
    assert [mann_kendall(values) for values in ([], [1.0], [2.0] * 9, [1, 2, 1])] == [0.0] * 4


def test_the_rank_test_of_noise_is_nearly_normal():
    source = random.Random(1)
    scores = [mann_kendall([source.random() for _ in range(12)]) for _ in range(2000)]
    assert sum(score < trends.FALLING for score in scores) / 2000 == pytest.approx(0.05, abs=0.012)


def test_noise_does_not_see_a_line_and_scatter_is_that_around_it():
    line = [0.5 - 0.01 * epoch for epoch in range(50)]
    assert curves.noise(line) == pytest.approx(0.0, abs=1e-12)
    assert curves.scatter(line) == pytest.approx(0.0, abs=1e-12)
    # One value off by 3: e is 1.5, -3 and 1.5 of five inner values, so that 2/3 · 13.5/5 remains.
    assert curves.noise([0, 0, 0, 3, 0, 0, 0]) == pytest.approx(math.sqrt(2 / 3 * 13.5 / 5))
    source = random.Random(2)
    rough = [value + source.gauss(0.0, 0.2) for value in line * 20]
    assert curves.noise(rough) == pytest.approx(0.2, rel=0.1)
    assert math.isnan(curves.noise([1, 2])) and math.isnan(curves.scatter([1, 2]))


def test_a_loss_that_stops_falling_is_a_plateau_once():
    found = told(lambda epoch: 0.8 - 0.2 * min(epoch / 40, 1.0), epochs=120, noise=0.01)
    assert codes(found) == ["plateau"]
    (epoch, finding) = found[0]
    assert 44 <= epoch <= 70
    assert "over the last 20 epochs: 0.6" in finding.message and "differ by 0.0" in finding.message
    assert "raise the learning rate" in finding.hint


def test_a_plateau_that_is_left_may_come_again():
    def steps(epoch: int) -> float:
        return 0.9 - 0.2 * min(epoch / 40, 1.0) - 0.2 * min(max(epoch - 90, 0) / 40, 1.0)

    assert codes(told(steps, epochs=240, noise=0.01)) == ["plateau", "plateau"]


def test_a_loss_that_falls_to_the_end_is_no_plateau():
    runs = [
        told(lambda e: 0.8 - 0.002 * e, epochs=100, noise=noise, seed=s) for s in range(25) for noise in (0.01, 0.04)
    ]
    assert sum(bool(found) for found in runs) <= 2


def test_a_loss_that_never_fell_is_told_after_many_epochs():
    runs = [told(lambda epoch: 0.8, epochs=100, noise=0.05, seed=seed) for seed in range(10)]
    assert all(not found or found[0][0] >= 60 for found in runs)
    assert sum("since the start" in found[0][1].message for found in runs if found) >= 8


def overfitted(epoch: int) -> float:
    return 0.9 - 0.1 * min(epoch / 30, 1.0) + 0.1 * max(epoch - 30, 0) / 70


def learning(epoch: int) -> float:
    return 0.7 + 0.2 * math.exp(-epoch / 30)


def test_held_out_songs_that_get_worse_while_training_gets_better_are_overfitting_once():
    found = [
        item for item in told(learning, overfitted, epochs=100, noise=0.02, small=0.002) if item[1].code != "plateau"
    ]
    assert codes(found) == ["overfitting"]
    (epoch, finding) = found[0]
    assert 38 <= epoch <= 70
    assert "since step 3" in finding.message and "training loss fell from 0.8" in finding.message
    assert "around that step" in finding.hint


def test_overfitting_is_over_with_a_new_lowest_loss_and_may_come_again():
    def twice(epoch: int) -> float:
        return (
            overfitted(epoch) if epoch <= 70 else 0.9 - 0.25 * min((epoch - 70) / 30, 1) + 0.003 * max(epoch - 100, 0)
        )

    found = told(learning, twice, epochs=170, noise=0.01, small=0.001)
    assert [code for code in codes(found) if code == "overfitting"] == ["overfitting"] * 2


@pytest.mark.parametrize("small", [0.002, 0.02])
def test_noise_alone_is_hardly_ever_overfitting(small):
    """Held-out songs that only jitter, beside a training loss that falls and beside one that does not."""
    flat = [told(lambda e: 0.8, lambda e: 0.8, epochs=100, noise=0.03, small=small, seed=s) for s in range(15)]
    falling = [
        told(learning, lambda e: 0.85 + 0.05 * math.exp(-e / 15), epochs=100, noise=0.03, small=small, seed=s)
        for s in range(15)
    ]
    assert sum("overfitting" in codes(found) for found in (*flat, *falling)) <= 1


def test_held_out_songs_that_get_worse_with_the_training_loss_are_not_overfitting():
    def worse(epoch: int) -> float:
        return 0.7 + 0.01 * abs(epoch - 30)

    assert "overfitting" not in codes(told(worse, worse, epochs=80, noise=0.01, small=0.002))


def test_values_that_are_no_numbers_are_left_out():
    watched = Trends()
    for epoch in range(1, 90):
        loss = math.nan if epoch % 7 == 0 else 0.5
        assert watched.add_held_out(epoch, loss, math.nan) == []
        watched.add_epoch(loss)
        assert watched.add_step(epoch, loss, math.inf) == []
    json.dumps(watched.state(), allow_nan=False)


# Jumps.


def steps(count: int, seed: int, spikes: dict[int, float], watched: Trends | None = None) -> list[tuple[int, Finding]]:
    source = random.Random(seed)
    watched = watched or Trends()
    found = []
    for step in range(1, count + 1):
        loss = 0.8 * math.exp(0.3 * source.gauss(0.0, 1.0)) * spikes.get(step, 1.0)
        found += [(step, finding) for finding in watched.add_step(step, loss, 0.1 * math.exp(source.gauss(0.0, 0.5)))]
    return found


def test_a_jump_is_told_once_and_again_after_ordinary_steps():
    found = steps(400, 1, {100: 30.0, 101: 30.0, 104: 40.0, 300: 25.0})
    assert [(step, finding.code) for step, finding in found] == [(100, "loss_spike"), (300, "loss_spike")]
    assert found[0][1].message.startswith("The loss of step 100 is ")
    assert "around 0." in found[0][1].message


def test_a_gradient_far_longer_than_usual_is_a_jump_too():
    watched = Trends()
    for step in range(1, 200):
        assert watched.add_step(step, 0.5 + 0.01 * (step % 7), 1.0 + 0.1 * (step % 5)) == []
    (finding,) = watched.add_step(200, 0.5, 80.0)
    assert "The gradient norm of step 200 is 80" in finding.message


def test_ordinary_noise_never_jumps():
    assert [steps(800, seed, {}) for seed in range(6)] == [[]] * 6


def test_a_step_in_level_is_one_jump_and_then_the_new_normal():
    assert [step for step, _ in steps(600, 3, dict.fromkeys(range(200, 601), 40.0))] == [200]


@pytest.mark.parametrize(("value", "jumps"), [(85.0, False), (86.0, True)])
def test_the_spread_is_that_of_the_logarithms(value, jumps):
    watched = Jumps()
    for sign in (-1, 1) * 32:
        watched.add(math.exp(0.5 * sign))
    # Median 0 and MAD 0.5 of the logarithms: usual up to exp(6 · 1.4826 · 0.5) = 85.4.
    expected = pytest.approx((1.0, math.exp(6 * 1.4826 * 0.5)))
    assert watched.add(value) == (expected if jumps else None)


def test_the_quietest_curve_must_still_nearly_double():
    jumps = Jumps()
    assert not any(jumps.add(0.5) for _ in range(60))
    assert jumps.add(0.9) is None
    assert jumps.add(0.92) is not None


def test_trouble_is_skipped_steps_and_jumps_and_passes():
    watched = Trends()
    watched.add_step(7, math.nan, math.nan, skipped=True)
    assert not trends.is_calm_at(watched.state()["trouble"], 7)
    assert not trends.is_calm_at(watched.state()["trouble"], 39)
    assert trends.is_calm_at(watched.state()["trouble"], 40)
    assert trends.is_calm_at(Trends().state()["trouble"], 0)


# Memory and resume.


def test_a_long_history_stays_short_and_keeps_its_means():
    history = History()
    values = [math.sin(place / 100) for place in range(5000)]
    for value in values:
        history.add(value)
    assert 200 <= len(history.means) < History.MOST
    assert history.block == 16
    assert history.means[0] == pytest.approx(sum(values[:16]) / 16)
    assert history.means[100] == pytest.approx(sum(values[1600:1616]) / 16)


@pytest.mark.parametrize("cut", [1, 45, 58, 77, 101, 130])
def test_a_resumed_run_says_the_same_and_nothing_twice(cut):
    def feed(watched: Trends, epochs: range) -> list[tuple[int, str, str]]:
        found = []
        for epoch in epochs:
            source = random.Random(epoch)
            findings = watched.add_step(epoch, (30.0 if epoch in (76, 100) else 1.0) + 0.1 * source.random(), 1.0)
            findings += watched.add_epoch(0.8 - 0.2 * min(epoch / 40, 1.0) + source.gauss(0.0, 0.01))
            findings += watched.add_held_out(epoch, overfitted(epoch) + source.gauss(0.0, 0.001), 0.9)
            found += [(epoch, finding.code, finding.message) for finding in findings]
        return found

    straight = feed(Trends(), range(1, 150))
    assert {code for _, code, _ in straight} == {"plateau", "overfitting", "loss_spike"}
    first, second = Trends(), Trends()
    before = feed(first, range(1, cut))
    second.restore(json.loads(json.dumps(first.state(), allow_nan=False)))
    assert before + feed(second, range(cut, 150)) == straight
