"""Which epoch counts as best, and when patience ends."""

from __future__ import annotations

import json
import math

import pytest

from sidestep_tui.core.errors import SettingsError
from sidestep_tui.engine.tracking import Best, Tracker, followed, saved_by


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


def measure(tracker: Tracker, losses: list[float], every: int = 1) -> list[int]:
    """Epochs at whose end a measurement of held-out songs was a new best; the first one is that of step 0."""
    tracker.add_held_out(0, 0, losses[0])
    found = []
    for count, loss in enumerate(losses[1:], 1):
        for epoch in range(every * (count - 1) + 1, every * count + 1):
            assert not tracker.add_epoch(epoch, 10 * epoch, 1.0 / epoch)  # training would always be at its best
        if tracker.add_held_out(every * count, 10 * every * count, loss):
            found.append(every * count)
    return found


def test_the_best_by_held_out_songs_is_a_single_measurement_and_never_the_base_model():
    tracker = Tracker(best_after=0, patience=0, by="held_out")
    assert measure(tracker, [0.1, 0.9, 0.7, 0.6995, 0.8, math.nan, 0.6]) == [1, 2, 6]
    assert tracker.best == Best(step=60, epoch=6, loss=0.6)
    assert tracker.baseline == 0.1


def test_patience_follows_the_held_out_songs():
    tracker = Tracker(best_after=4, patience=4, by="held_out")
    assert measure(tracker, [1.0, 0.5, 0.9, 0.8], every=2) == [4, 6]
    assert not tracker.out_of_patience(9)
    assert tracker.out_of_patience(10)


@pytest.mark.parametrize(
    ("asked", "held_out", "by"),
    [
        ("auto", False, "training"),
        ("auto", True, "held_out"),
        ("training", True, "training"),
        ("held_out", True, "held_out"),
    ],
)
def test_auto_follows_the_held_out_songs_where_there_are_any(asked, held_out, by):
    assert followed(asked, held_out=held_out) == by
    with pytest.raises(SettingsError, match="no held-out songs"):
        followed("held_out", held_out=False)


def test_another_loss_to_follow_begins_anew_and_the_same_one_goes_on():
    before = Tracker(best_after=0, patience=3)
    feed(before, [1.0] * 8)
    state = json.loads(json.dumps(before.state(), allow_nan=False))
    assert saved_by(state) == "training"
    same, other = Tracker(0, 3), Tracker(0, 3, by="held_out")
    same.restore(state)
    other.restore(state)
    assert (same.best, same.out_of_patience(8)) == (before.best, True)
    assert (other.best, other.out_of_patience(8)) == (None, False)
    # As saved before there was a choice, and before curves were watched.
    for key in ("by", "measured", "trends"):
        del state[key]
    old = Tracker(0, 3)
    old.restore(state)
    assert (old.best, old.measured, old.trends.state()) == (before.best, None, Tracker(0, 0).trends.state())


def test_findings_are_handed_over_once():
    tracker = Tracker(0, 0)
    for step in range(1, 101):
        tracker.add_step(step, 50.0 if step == 100 else 0.5, 1.0, skipped=False)
    assert [finding.code for finding in tracker.take_findings()] == ["loss_spike"]
    assert tracker.take_findings() == []
