"""A line that takes nothing leaves the keyboard alone, and a window that is dragged about leaves a whole screen."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sidestep_tui.protocol.rundir import RunDir
from tests.budget.terminal import DOWN, F2, F3, F4, Terminal, ctrl

ATTACH = (
    "import sys; from pathlib import Path; from sidestep_tui.ui.app import run; sys.exit(run(run=Path(sys.argv[1])))"
)
PATIENCE = 40


@pytest.fixture
def live(tmp_path: Path) -> Iterator[RunDir]:
    """A fake engine of its own process, fifty steps a second."""
    run_dir = RunDir.create(tmp_path / "runs", "drums")
    plan = {"steps": 1_000_000, "step_seconds": 0.02, "songs": 1, "steps_per_epoch": 10}
    process = subprocess.Popen(
        [sys.executable, "-m", "sidestep_tui.engine.fake", str(run_dir.path)],
        env={**os.environ, "SIDESTEP_FAKE": json.dumps(plan), "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    run_dir.run_toml.write_text('[run]\nname = "drums"\n')
    yield run_dir
    process.kill()
    process.wait()


def attach(run_dir: RunDir, *, columns: int = 120, rows: int = 40) -> Terminal:
    return Terminal(
        [sys.executable, "-c", ATTACH, str(run_dir.path)], cwd=run_dir.path.parent, columns=columns, rows=rows
    )


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait without reading a single byte of the terminal."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come about"
        time.sleep(0.02)


def same_when_fresh(terminal: Terminal) -> None:
    """Hold the picture, and compare it with what is painted on an empty screen."""
    terminal.send(" ")
    terminal.settle()
    shown = terminal.lines
    assert any(shown)
    terminal._screen.reset()
    terminal.send(ctrl("l"))
    terminal.settle()
    assert terminal.lines == shown


def test_a_line_that_stands_still_and_a_wild_window_are_survived(live: RunDir) -> None:
    wild = random.Random(7)
    with attach(live) as terminal:
        terminal.wait_for("● training", timeout=PATIENCE)
        terminal.settle(0.1)
        before = terminal.received
        terminal.send(*[ctrl("l")] * 60, "P")
        until(lambda: b'"paused"' in live.events.read_bytes(), "the pause")
        terminal.send("c")
        until(lambda: b'"checkpoint"' in live.events.read_bytes(), "the checkpoint")
        assert terminal.received == before
        # What was held back is made up for when the line takes again.
        terminal.wait_for("(requested)", timeout=PATIENCE)
        for _ in range(40):
            terminal.resize(wild.randint(20, 200), wild.randint(5, 60))
            terminal.send(wild.choice([F2, F3, F4, "j", "k", "z", "1", DOWN, ctrl("l"), "[", "w"]))
            terminal.read(0.01)
        terminal.resize(100, 30)
        terminal.send(F4)
        terminal.wait_for("drums", timeout=PATIENCE)
        terminal.send(" ")
        terminal.settle()
        shown = terminal.lines
        assert any(shown)
        terminal._screen.reset()
        terminal.send(ctrl("l"))
        terminal.settle()
        assert terminal.lines == shown
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.wait() == 128 + signal.SIGTERM
