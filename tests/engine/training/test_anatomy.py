"""Where the time of a step goes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from sidestep_tui.engine import anatomy
from sidestep_tui.engine.anatomy import StepClock


class Mark:
    """A point in time that has passed when `now` says so."""

    now = 0
    made = 0

    def __init__(self) -> None:
        Mark.made += 1
        self.at = Mark.made

    def is_past(self) -> bool:
        return self.at <= Mark.now

    def until(self, later: Mark) -> float:
        return float(later.at - self.at)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> StepClock:
    monkeypatch.setattr(anatomy, "_HostMark", Mark)
    Mark.now = Mark.made = 0
    return StepClock(torch.device("cpu"))


def test_what_is_not_over_is_told_the_next_time(clock: StepClock) -> None:
    for part in ("forward", "backward", "forward", "optimizer"):
        with clock.part(part):
            pass
    Mark.now = 6
    assert clock.take() == {"forward": 2.0, "backward": 1.0}
    assert clock.take() == {}
    Mark.now = 8
    assert clock.take() == {"optimizer": 1.0}


def test_what_fails_is_not_counted(clock: StepClock) -> None:
    Mark.now = 9
    with pytest.raises(RuntimeError), clock.part("forward"):
        raise RuntimeError
    clock.add("data", 0.5)
    assert clock.take() == {"data": 0.5}


def test_a_step_tells_all_its_parts(new_trainer: Callable) -> None:
    result = new_trainer().step()
    assert set(result.parts) == {"data", "forward", "backward", "optimizer"}
    assert all(seconds > 0 for seconds in result.parts.values())
    assert sum(result.parts.values()) <= result.seconds
