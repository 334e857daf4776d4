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


def wait_for_step(run_dir: RunDir, process: subprocess.Popen[bytes], step: int, kind: str = "step") -> None:
    """Read the journal until it tells of `step`, or of its checkpoint."""
    tail = Tail(run_dir.events)
    while process.poll() is None:
        for event in tail.read():
            if event["type"] == kind and event["step"] >= step:
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


# One song of five is held out and each of the others has an altered copy: twelve examples an epoch, four a step, and
# each epoch ends with a measurement.
CHOICES = {
    "data": {"validation": 20, "repeats": 3, "variants": 1},
    "train": {"epochs": 4, "best_after": 0, "seed": 7, "accumulation": 4},
    "adapter": {"dropout": 0.2},
    "output": {"save_every_epochs": 0, "save_every_steps": 2},
}


@pytest.fixture(scope="module")
def straight(make_run, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run that nobody interrupted."""
    run_dir, _ = make_run(tmp_path_factory.mktemp("straight"), **CHOICES)
    assert finish(run_dir) == ExitCode.DONE, run_dir.log.read_text()
    return run_dir


def assert_same_result(run_dir: RunDir, straight: RunDir) -> None:
    """Every loss, the epochs' means and the exported files, bit for bit."""
    assert losses(run_dir) == losses(straight)
    assert list(losses(run_dir)) == list(range(1, TOTAL_STEPS + 1))
    told = [{e["epoch"]: (e["loss"], e["smoothed_loss"]) for e in events(run, "epoch")} for run in (run_dir, straight)]
    assert told[0] == told[1]
    held = [
        {e["step"]: (e["loss"], e["baseline"], e["by_song"]) for e in events(run, "eval")}
        for run in (run_dir, straight)
    ]
    assert held[0] == held[1]
    assert sorted(held[0]) == [0, 3, 6, 9, 12]
    assert files(run_dir.adapter / "final") == files(straight.adapter / "final")
    assert adapters.WEIGHTS_FILE in files(run_dir.adapter / "final")


def test_a_run_that_is_stopped_and_then_killed_ends_as_if_nothing_had_happened(straight, new_run):
    run_dir, _ = new_run(**CHOICES)
    process = start(run_dir)
    wait_for_step(run_dir, process, 1)
    process.send_signal(signal.SIGHUP)  # a closed terminal is none of the engine's business
    wait_for_step(run_dir, process, 2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=120) == ExitCode.STOPPED
    stopped = events(run_dir, "session_ended")[-1]
    assert stopped["reason"] == "stopped"
    newest = run_dir.latest_checkpoint()
    assert newest is not None
    assert newest.name == f"step_{stopped['step']:06d}"

    process = start(run_dir)
    wait_for_step(run_dir, process, stopped["step"] + 1, "checkpoint")  # one lies at every second step
    process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=60) == -signal.SIGKILL
    before = losses(run_dir)
    assert stopped["step"] < max(before) < TOTAL_STEPS
    assert not (run_dir.adapter / "final").exists()

    assert finish(run_dir) == ExitCode.DONE
    last = events(run_dir, "session_started")[-1]
    resumed_from = last["resumed_from"]
    assert stopped["step"] < resumed_from <= max(before)
    assert resumed_from % 2 == 0
    assert any("64/64 adapter tensors and 192/192 of the optimizer" in event["msg"] for event in events(run_dir, "log"))
    again = [event["step"] for event in events(run_dir, "step") if event["session"] == last["session"]]
    assert again == list(range(resumed_from + 1, TOTAL_STEPS + 1))
    assert before == {step: loss for step, loss in losses(straight).items() if step in before}
    assert_same_result(run_dir, straight)
