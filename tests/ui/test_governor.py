"""The governor paints when it is due, waits when the link lags, and recovers."""

from __future__ import annotations

import pytest

from sidestep_tui.ui.display import Traffic
from sidestep_tui.ui.governor import Governor
from sidestep_tui.ui.widgets import debug


def _late(governor: Governor, now: float, *, by: float = 0.4) -> None:
    governor.changed()
    governor.painted(now, scheduled=now - by)


def test_nothing_to_paint_without_a_change() -> None:
    assert Governor().delay(0.0) is None


def test_first_change_paints_at_once_and_the_next_waits_its_interval() -> None:
    governor = Governor(rate_hz=2.0)
    governor.changed()
    assert governor.delay(10.0) == 0.0
    governor.painted(10.0)
    assert governor.delay(10.1) is None
    governor.changed()
    assert governor.delay(10.1) == pytest.approx(0.4)
    assert governor.delay(11.0) == 0.0


def test_urgent_changes_do_not_wait() -> None:
    governor = Governor()
    governor.painted(10.0)
    governor.changed(urgent=True)
    assert governor.delay(10.01) == 0.0


def test_starts_slower_over_ssh() -> None:
    assert Governor.for_environment(over_ssh=True).interval == 1.0
    assert Governor.for_environment(over_ssh=False).interval == 0.5


def test_two_late_ticks_double_the_interval_up_to_four_seconds() -> None:
    governor = Governor(rate_hz=2.0)
    _late(governor, 1.0)
    assert governor.interval == 0.5
    _late(governor, 2.0)
    assert governor.interval == 1.0
    assert governor.slowed
    for tick in range(20):
        _late(governor, 3.0 + tick)
    assert governor.interval == 4.0


def test_one_late_tick_between_good_ones_changes_nothing() -> None:
    governor = Governor(rate_hz=2.0)
    for tick in range(10):
        _late(governor, 2.0 * tick)
        governor.painted(2.0 * tick + 1, scheduled=2.0 * tick + 1)
    assert governor.interval == 0.5


def test_a_line_that_is_behind_is_painted_less_although_no_tick_is_late() -> None:
    governor = Governor(rate_hz=2.0)
    governor.painted(1.0, scheduled=1.0, behind=True)
    assert governor.interval == 0.5
    governor.painted(1.5, scheduled=1.5, behind=True)
    assert governor.interval == 1.0
    assert governor.slowed


def test_twenty_calm_seconds_step_back() -> None:
    governor = Governor(rate_hz=2.0)
    _late(governor, 1.0)
    _late(governor, 2.0)
    governor.painted(3.0, scheduled=3.0)
    governor.painted(22.0, scheduled=22.0)
    assert governor.interval == 1.0
    governor.painted(23.0, scheduled=23.0)
    assert governor.interval == 0.5
    assert not governor.slowed


def test_a_blurred_terminal_is_painted_every_two_seconds() -> None:
    governor = Governor(rate_hz=4.0)
    governor.blur(blurred=True)
    assert governor.interval == 2.0
    governor.blur(blurred=False)
    assert governor.interval == 0.25


def test_frozen_and_hidden_screens_do_not_paint_and_catch_up_once() -> None:
    governor = Governor()
    governor.changed()
    governor.freeze(frozen=True)
    assert governor.delay(100.0) is None
    governor.freeze(frozen=False)
    assert governor.delay(100.0) == 0.0
    governor.painted(100.0)
    governor.show(visible=False)
    governor.changed()
    assert governor.delay(200.0) is None
    governor.show(visible=True)
    assert governor.delay(200.0) == 0.0


def test_rate_keys_walk_the_ladder_and_stop_at_its_ends() -> None:
    governor = Governor(rate_hz=2.0)
    assert [governor.faster(), governor.faster()] == [4.0, 4.0]
    assert [governor.slower() for _ in range(6)] == [2.0, 1.0, 0.5, 0.25, 0.25, 0.25]
    assert governor.interval == 4.0


def test_the_slowest_chosen_rate_survives_lateness() -> None:
    governor = Governor(rate_hz=0.25)
    _late(governor, 1.0)
    _late(governor, 2.0)
    assert governor.interval == 4.0


def test_the_debug_line_tells_what_was_sent_and_what_was_held() -> None:
    said = debug.line(Traffic(10, 0, 1000), Traffic(14, 3, 3000), seconds=2.0, late=0.25)
    assert said == "2.0 frames/s  1,000 B/s  250 ms late  3 held back"
    assert debug.line(Traffic(), Traffic(), seconds=1.0, late=0.001) == "0.0 frames/s  0 B/s  on time"


def test_the_debug_line_tells_the_rate_and_why() -> None:
    governor = Governor(rate_hz=2.0)
    assert debug.pace(governor) == "paints at 2/s"
    governor.painted(1.0, scheduled=1.0, behind=True)
    governor.painted(1.5, scheduled=1.5, behind=True)
    assert debug.pace(governor) == "paints at 1/s (slow line)"
    governor.freeze(frozen=True)
    assert "frozen" in debug.pace(governor)
