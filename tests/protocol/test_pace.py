from __future__ import annotations

import math
from typing import Any

import pytest

from sidestep_tui.engine.fake_history import history
from sidestep_tui.protocol.pace import Anatomy
from sidestep_tui.protocol.state import RunState


def step(number: int, t: float, seconds: float = 1.0, **parts: Any) -> dict[str, Any]:
    return {"type": "step", "step": number, "t": t, "seconds": seconds, **parts}


def shares(anatomy: Anatomy) -> dict[str, float]:
    return {share.name: round(share.share, 3) for share in anatomy.shares()}


def test_the_parts_of_the_steps_add_up_to_the_wall_clock() -> None:
    anatomy = Anatomy()
    parts = {"data_s": 0.1, "forward_s": 0.3, "backward_s": 0.5, "optimizer_s": 0.05}
    anatomy.add([step(n, 2.0 * n, **parts) for n in range(1, 12)])
    anatomy.hold({"t": 5.0}, "save", 4.0)
    anatomy.hold({"t": 7.0}, "measure", 2.0)
    found = shares(anatomy)
    assert found == {
        "data": 0.05, "forward": 0.15, "backward": 0.25, "optimizer": 0.025, "save": 0.2, "measure": 0.1, "other": 0.225
    }  # fmt: skip
    assert math.isclose(sum(share.share for share in anatomy.shares()), 1.0)


def test_an_engine_that_only_tells_the_wait_for_data_has_two_parts() -> None:
    anatomy = Anatomy()
    anatomy.add([step(n, float(n), data_seconds=0.25) for n in range(1, 12)])
    assert shares(anatomy) == {"data": 0.25, "compute": 0.75, "save": 0.0, "measure": 0.0, "other": 0.0}


def test_nothing_is_said_before_two_steps() -> None:
    anatomy = Anatomy()
    assert anatomy.shares() == []
    anatomy.add([step(1, 1.0)])
    assert anatomy.shares() == []


@pytest.mark.parametrize("odd", [math.nan, math.inf, -1.0, "x", None, 2**60])
def test_odd_numbers_count_as_nothing(odd: object) -> None:
    anatomy = Anatomy()
    anatomy.add([step(1, 1.0), step(2, 2.0, seconds=odd, data_s=odd), step(3, 3.0, seconds=odd)])
    assert shares(anatomy)["data"] == 0.0
    assert all(0.0 <= share.share <= 1.0 for share in anatomy.shares())


def test_what_happened_before_the_newest_steps_is_left_out() -> None:
    anatomy = Anatomy()
    anatomy.add([step(n, float(n), data_s=0.9) for n in range(1, 1000)])
    anatomy.hold({"t": 10.0}, "save", 500.0)
    anatomy.add([step(n, float(n), data_s=0.1) for n in range(1000, 1600)])
    found = shares(anatomy)
    assert (found["data"], found["save"]) == (0.1, 0.0)


def test_a_run_is_taken_apart_by_its_journal() -> None:
    state = RunState.from_events(history(400, scenario="live", data_share=0.3))
    found = shares(state.anatomy)
    assert found["data"] == pytest.approx(0.3, abs=0.02)
    assert found["backward"] > found["forward"] > found["optimizer"] > 0
    assert found["save"] > 0
    assert state.metrics["data_s"] > 0


def test_a_pause_is_no_part_of_training() -> None:
    events = [*history(400, scenario="paused")]
    last = events[-1]
    events.append({**last, "seq": last["seq"] + 1, "t": last["t"] + 3600, "type": "resumed", "step": 248})
    state = RunState.from_events(events)
    assert state.anatomy.shares() == []


def test_a_finished_run_still_tells_where_its_time_went() -> None:
    state = RunState.from_events(history(400, scenario="finished"))
    assert shares(state.anatomy)["backward"] > 0.5
