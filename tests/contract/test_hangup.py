"""Losing the terminal loses nothing: the engine goes on, and a second terminal finds the whole history."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import pytest

from sidestep_tui.protocol.inbox import send
from sidestep_tui.protocol.lock import is_held
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.protocol.state import RunState
from sidestep_tui.protocol.tail import Tail
from tests.budget.terminal import Terminal

APP = [sys.executable, "-m", "sidestep_tui"]


def _state(run_dir: RunDir) -> RunState:
    state = RunState()
    state.apply_all(Tail(run_dir.events).read_all())
    return state


@pytest.mark.slow
def test_engine_trains_on_after_a_hangup_and_a_second_terminal_shows_everything(tmp_path: Path) -> None:
    with Terminal([*APP, "demo"], cwd=tmp_path) as first:
        run_dir = RunDir(tmp_path / "sidestep-demo" / "runs" / "demo")
        first.wait_until(
            lambda: run_dir.events.exists() and _state(run_dir).step >= 3, timeout=240, what="the third step"
        )
        first.wait_for("training")
        first.hang_up()
        assert first.process.wait(timeout=30) == 128 + signal.SIGHUP
    seen = _state(run_dir).step
    assert is_held(run_dir), "the engine died with the terminal"

    with Terminal([*APP, "attach", str(run_dir.path)], cwd=tmp_path) as second:
        second.wait_until(lambda: _state(run_dir).step > seen + 2, timeout=120, what="steps after the hangup")
        second.wait_for("training")
        send(run_dir, "stop", by="test")
        second.wait_for("stopped", timeout=60)
        history = _state(run_dir)
        second.wait_for(f"{history.step}/{history.total_steps}", timeout=20)
        second.send("5", "z", "g")
        second.wait_for("training 28.7 k adapter weights", timeout=20)  # The log from its first line on.
    assert history.ended is not None and history.ended.reason == "stopped"
    assert [x for x, _ in history.series["loss"]] == list(range(1, history.step + 1))
    deadline = time.monotonic() + 20
    while is_held(run_dir) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not is_held(run_dir)
