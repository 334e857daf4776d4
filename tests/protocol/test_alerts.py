from __future__ import annotations

from typing import Any

import pytest

from sidestep_tui.engine.fake_history import history
from sidestep_tui.protocol.alerts import AlertBook, checkpoints_that_fit
from sidestep_tui.protocol.events import Event
from sidestep_tui.protocol.liveness import Liveness
from sidestep_tui.protocol.state import RunState

RUNNING = Liveness.RUNNING
GIB = 1024**3


def state_of(**options: Any) -> RunState:
    return RunState.from_events(history(400, scenario="live", **options))


def told(state: RunState, liveness: Liveness | None = RUNNING, silent_for: float | None = None) -> dict[str, str]:
    return {alert.key: alert.sentence for alert in AlertBook().look(state, liveness, silent_for)}


def warn(state: RunState, code: str, session: str = "a1b2c3d4") -> None:
    event: Event = {"v": 1, "seq": state.seq + 1, "t": 1.0, "session": session, "type": "warning"}
    state.apply({**event, "code": code, "msg": f"{code} came up.", "hint": "Do this."})


def test_a_run_without_trouble_has_no_alerts() -> None:
    assert told(state_of()) == {}


def test_a_full_gpu_is_told_with_who_else_is_on_it() -> None:
    state = state_of(gpu_gib=23.0)
    said = told(state)
    assert "The memory of GPU 0 is 96 % full." in said["memory:0"]
    assert "gives way by itself" in said["memory:0"], "others hold next to nothing"
    state.gpus[0]["processes"][1]["memory"] = 6 * GIB
    assert "Other programs hold 6.0 GiB of it, first of all Xorg: close them." in told(state)["memory:0"]
    state.gpus[0]["processes"] = []
    assert "gives way by itself" in told(state)["memory:0"]


def test_a_hot_card_is_told() -> None:
    assert "too hot (8" in told(state_of(gpu_heat=86))["heat:0"]


def test_a_card_at_its_power_limit_is_as_usual() -> None:
    state = state_of()
    state.gpus[0]["throttle"] = "power"
    assert told(state) == {}
    state.gpus[0]["throttle"] = "brake"
    assert "want of power" in told(state)["power:0"]


def test_a_small_disk_is_told_with_the_checkpoints_that_fit() -> None:
    state = state_of(disk_gib=1.2)
    assert checkpoints_that_fit(state) == 3
    assert "room for 3 checkpoints" in told(state)["disk"]
    assert checkpoints_that_fit(RunState()) is None


def test_a_disk_is_told_before_the_size_of_a_checkpoint_is_known() -> None:
    state = state_of(disk_gib=0.5, save_every=10_000)
    assert "nearly full: 4" in told(state)["disk"]
    assert "room for" not in told(state)["disk"]


def test_main_memory_is_told() -> None:
    state = state_of()
    state.host["ram_used"] = 0.96 * state.host["ram_total"]
    assert "Main memory is 96 % full" in told(state)["ram"]


def test_a_silent_engine_is_told_with_how_long() -> None:
    assert "silent for 1 m 30 s" in told(state_of(), Liveness.STALE, 90.0)["silent"]


@pytest.mark.parametrize("code", ["plateau", "overfitting", "loss_spike", "step_skipped", "rolled_back", "save_failed"])
def test_warnings_that_need_a_person_are_alerts(code: str) -> None:
    state = state_of()
    warn(state, code)
    assert told(state) == {f"engine:{code}": f"{code} came up. Do this."}


def test_warnings_that_inform_are_none() -> None:
    state = state_of()
    for code in ("song_skipped", "warmup_shortened", "dataset", "a code of tomorrow"):
        warn(state, code)
    assert told(state) == {}


def test_warnings_of_sessions_before_are_history() -> None:
    state = state_of()
    warn(state, "loss_spike")
    event: Event = {"v": 1, "seq": state.seq + 1, "t": 2.0, "session": "next", "type": "session_started"}
    state.apply({**event, "resumed_from": 200})
    assert told(state) == {}


def test_each_is_told_once_until_it_was_over() -> None:
    book, state = AlertBook(), state_of(gpu_gib=23.0)
    assert [alert.key for alert in book.look(state, RUNNING)] == ["memory:0"]
    assert book.look(state, RUNNING) == []
    state.gpus[0]["mem_used"] = 0.91 * state.gpus[0]["mem_total"]
    assert book.look(state, RUNNING) == []
    assert book.first is not None, "it is nearly as full: not over yet"
    state.gpus[0]["mem_used"] = 0.5 * state.gpus[0]["mem_total"]
    assert book.look(state, RUNNING) == []
    assert book.first is None
    state.gpus[0]["mem_used"] = 0.95 * state.gpus[0]["mem_total"]
    assert [alert.key for alert in book.look(state, RUNNING)] == ["memory:0"]


def test_what_was_seen_stays_away_while_it_holds() -> None:
    book, state = AlertBook(), state_of(gpu_gib=23.0)
    book.look(state, RUNNING)
    assert book.seen() is not None
    assert book.seen() is None
    assert book.look(state, RUNNING) == []
    assert book.first is None


def test_a_warning_stands_until_it_is_seen_and_a_later_one_replaces_it() -> None:
    book, state = AlertBook(), state_of()
    warn(state, "loss_spike")
    book.look(state, RUNNING)
    warn(state, "loss_spike")
    assert len(book.look(state, RUNNING)) == 1
    assert len(book.standing) == 1
    book.seen()
    assert book.look(state, RUNNING) == []


def test_the_worst_comes_first() -> None:
    book, state = AlertBook(), state_of(gpu_gib=23.0, disk_gib=0.5)
    book.look(state, RUNNING)
    assert [alert.level for alert in book.standing.values()] == ["bad", "warn"]


@pytest.mark.parametrize("liveness", [Liveness.ENDED, Liveness.DIED])
def test_a_run_that_is_over_needs_nobody(liveness: Liveness) -> None:
    book, state = AlertBook(), state_of(gpu_gib=23.0)
    book.look(state, RUNNING)
    assert book.look(state, liveness) == []
    assert book.first is None


@pytest.mark.parametrize("gauges", [[{}], [{"mem_used": "x", "mem_total": None, "processes": 3, "temp": "hot"}]])
def test_odd_gauges_alarm_nobody(gauges: list[dict[str, Any]]) -> None:
    state = state_of()
    state.gpus = gauges
    state.host = {"disk_free": "much"}
    assert told(state) == {}
