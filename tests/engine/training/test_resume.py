"""The real engine in its own process: killed, stopped, resumed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sidestep_tui.core.errors import ExitCode
from sidestep_tui.engine import adapters
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.protocol.tail import Tail

TOTAL_STEPS = 12


def start(run_dir: RunDir) -> subprocess.Popen[bytes]:
    """The engine as the launcher starts it; one thread, since the tests' machines are busy ones."""
    with run_dir.log.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "sidestep_tui.engine", str(run_dir.path)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )


def finish(run_dir: RunDir) -> int:
    process = start(run_dir)
    return process.wait(timeout=300)


def wait_for_step(run_dir: RunDir, process: subprocess.Popen[bytes], step: int) -> None:
    """Read the journal until it tells of `step`."""
    tail = Tail(run_dir.events)
    while process.poll() is None:
        for event in tail.read():
            if event["type"] == "step" and event["step"] >= step:
                return
        try:
            process.wait(timeout=0.01)  # the process is the only thing to wait on besides the journal
        except subprocess.TimeoutExpired:
            continue
    raise AssertionError(f"the engine ended first:\n{run_dir.log.read_text()}")


def events(run_dir: RunDir, kind: str) -> list[dict[str, Any]]:
    return [event for event in Tail(run_dir.events).read(limit_bytes=2**30) if event["type"] == kind]


def losses(run_dir: RunDir) -> dict[int, float]:
    """Loss of each step; a resumed session's steps replace those it goes back over."""
    return {event["step"]: event["loss"] for event in events(run_dir, "step")}


def files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir()) if path.is_file()}


CHOICES = {
    "train": {"epochs": 4, "best_after": 0, "seed": 7},
    "adapter": {"dropout": 0.2},
    "output": {"save_every_epochs": 0, "save_every_steps": 2},
}


@pytest.fixture
def twins(new_run, tmp_path: Path) -> tuple[RunDir, RunDir]:
    """Two runs of the same name and settings in different places."""
    first, _ = new_run("drums", **CHOICES)
    first.path.rename(tmp_path / "elsewhere")
    second, _ = new_run("drums", **CHOICES)
    return RunDir(tmp_path / "elsewhere"), second


def test_a_killed_run_resumes_to_the_same_losses_and_the_same_adapter(twins):
    straight, broken = twins
    assert finish(straight) == ExitCode.DONE

    process = start(broken)
    wait_for_step(broken, process, 5)  # the second of three steps of epoch 2; the newest checkpoint is of step 4
    process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=60) == -signal.SIGKILL
    reached = max(losses(broken))
    assert 5 <= reached < TOTAL_STEPS
    assert not (broken.adapter / "final").exists()
    before = losses(broken)

    assert finish(broken) == ExitCode.DONE
    resumed_from = events(broken, "session_started")[-1]["resumed_from"]
    assert resumed_from is not None
    assert 0 < resumed_from <= reached
    assert resumed_from % 3 != 0 or reached > 6  # inside an epoch, unless it ran on before the kill arrived
    assert any("64 of 64" in event["msg"] for event in events(broken, "log"))
    again = [
        event["step"] for event in events(broken, "step") if event["session"] != events(broken, "step")[0]["session"]
    ]
    assert again == list(range(resumed_from + 1, TOTAL_STEPS + 1))

    assert losses(broken) == losses(straight)
    assert {step: loss for step, loss in losses(straight).items() if step in before} == before
    told = [[(e["epoch"], e["loss"], e["smoothed_loss"]) for e in events(run, "epoch")][-3:] for run in twins]
    assert told[0] == told[1]
    assert files(broken.adapter / "final") == files(straight.adapter / "final")
    assert adapters.WEIGHTS_FILE in files(broken.adapter / "final")


def test_sigterm_saves_and_the_resumed_run_is_the_same_again(twins):
    straight, stopped = twins
    process = start(stopped)
    wait_for_step(stopped, process, 1)
    process.send_signal(signal.SIGHUP)  # a closed terminal is none of the engine's business
    wait_for_step(stopped, process, 2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=120) == ExitCode.STOPPED
    ended = events(stopped, "session_ended")[-1]
    assert ended["reason"] == "stopped"
    newest = stopped.latest_checkpoint()
    assert newest is not None
    assert newest.name == f"step_{ended['step']:06d}"
    assert finish(stopped) == ExitCode.DONE
    assert finish(straight) == ExitCode.DONE
    assert losses(stopped) == losses(straight)
    assert files(stopped.adapter / "final") == files(straight.adapter / "final")


def test_a_run_in_use_is_refused(new_run):
    run_dir, _ = new_run("drums", **CHOICES)
    process = start(run_dir)
    wait_for_step(run_dir, process, 1)
    assert finish(run_dir) == ExitCode.REFUSED
    assert "in use" in run_dir.log.read_text()
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
