"""Which epoch counts as best, and when patience ends."""

from __future__ import annotations

import json
import math

import pytest

from sidestep_tui.engine.tracking import Best, Tracker


def feed(tracker: Tracker, losses: list[float], first_epoch: int = 1) -> list[int]:
    """Epochs that were a new best."""
    return [
        epoch for epoch, loss in enumerate(losses, first_epoch) if tracker.add_epoch(epoch, step=epoch * 10, loss=loss)
    ]


def test_the_moving_average_is_a_mean_of_five_epochs_and_nothing_less():
    tracker = Tracker(best_after=0, patience=0)
    assert feed(tracker, [5.0, 4.0, 3.0, 2.0]) == []
    assert tracker.smoothed is None
    assert feed(tracker, [1.0], first_epoch=5) == [5]
    assert tracker.smoothed == pytest.approx(3.0)
    assert tracker.best == Best(step=50, epoch=5, loss=3.0)


def test_the_window_fills_before_best_is_looked_for():
    tracker = Tracker(best_after=7, patience=0)
    assert feed(tracker, [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0]) == [7]
    assert tracker.best is not None
    assert tracker.best.loss == pytest.approx(5.0)  # the mean of epochs 3 to 7, not epoch 7 alone


def test_an_improvement_must_exceed_a_thousandth():
    tracker = Tracker(best_after=0, patience=0)
    assert feed(tracker, [1.0] * 5) == [5]
    assert feed(tracker, [0.996], first_epoch=6) == []  # moving average 0.9992
    assert feed(tracker, [0.990], first_epoch=7) == [7]  # 0.9972


def test_patience_counts_epochs_since_the_last_best():
    tracker = Tracker(best_after=0, patience=3)
    feed(tracker, [1.0] * 5)
    for epoch in (6, 7):
        feed(tracker, [1.0], first_epoch=epoch)
        assert not tracker.out_of_patience(epoch)
    feed(tracker, [1.0], first_epoch=8)
    assert tracker.out_of_patience(8)


def test_patience_does_not_run_before_a_best_is_possible():
    tracker = Tracker(best_after=50, patience=3)
    feed(tracker, [1.0] * 20)
    assert not tracker.out_of_patience(20)


def test_zero_patience_never_stops():
    tracker = Tracker(best_after=0, patience=0)
    feed(tracker, [1.0] * 500)
    assert not tracker.out_of_patience(500)


def test_an_epoch_without_a_finite_loss_is_never_best():
    tracker = Tracker(best_after=0, patience=0)
    assert feed(tracker, [1.0, math.nan, 0.1, 0.1, 0.1, 0.1]) == []
    assert feed(tracker, [0.1], first_epoch=7) == [7]


@pytest.mark.parametrize("cut", [3, 6, 9])
def test_a_restored_tracker_decides_like_one_that_never_stopped(cut):
    losses = [1.0, 0.9, math.nan, 0.8, 0.7, 0.6, 0.65, 0.6, 0.5, 0.55, 0.5, 0.4]
    straight = Tracker(best_after=4, patience=2)
    bests = feed(straight, losses)
    first = Tracker(best_after=4, patience=2)
    found = feed(first, losses[:cut])
    second = Tracker(best_after=4, patience=2)
    second.restore(json.loads(json.dumps(first.state(), allow_nan=False)))
    found += feed(second, losses[cut:], first_epoch=cut + 1)
    assert found == bests
    assert second.best == straight.best
    assert second.out_of_patience(12) == straight.out_of_patience(12)
