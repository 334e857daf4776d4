"""What the dashboard costs a slow line, and that it survives its terminal: measured on a pseudo-terminal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sidestep_tui.engine.fake_history import write_run
from sidestep_tui.protocol.lock import is_held
from sidestep_tui.protocol.rundir import RunDir
from tests.budget.terminal import Terminal

ATTACH = (
    "import sys; from pathlib import Path; from sidestep_tui.ui.app import run; sys.exit(run(run=Path(sys.argv[1])))"
)
MOST_PER_SECOND = 1_100
MOST_PER_UPDATE = 5_000
NEW_AXIS = 1_400
PATIENCE = 40


@contextmanager
def fake_engine(run_dir: RunDir, plan: dict[str, Any]) -> Iterator[subprocess.Popen[bytes]]:
    """A fake engine of its own process on a run."""
    process = subprocess.Popen(
        [sys.executable, "-m", "sidestep_tui.engine.fake", str(run_dir.path)],
        env={**os.environ, "SIDESTEP_FAKE": json.dumps(plan), "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[tuple[RunDir, subprocess.Popen[bytes]]]:
    """A fake engine, ten steps a second."""
    run_dir = RunDir.create(tmp_path / "runs", "drums")
    plan = {"steps": 100_000, "step_seconds": 0.1, "songs": 1, "save_every": 200, "steps_per_epoch": 100}
    with fake_engine(run_dir, plan) as process:
        run_dir.run_toml.write_text('[run]\nname = "drums"\n')
        yield run_dir, process


def attach(run_dir: RunDir, *, columns: int = 120, rows: int = 40) -> Terminal:
    return Terminal(
        [sys.executable, "-c", ATTACH, str(run_dir.path)], cwd=run_dir.path.parent, columns=columns, rows=rows
    )


def shown_step(terminal: Terminal) -> int:
    """The step that the progress row shows."""
    words = terminal.lines[1].split("step")[-1].split("/")[0].strip().replace(",", "")
    return int(words) if words.isdigit() else 0


def updates(terminal: Terminal, how_many: int) -> list[int]:
    """The bytes of the next updates; one ends when the line falls silent."""
    sizes: list[int] = []
    current = 0
    while len(sizes) < how_many:
        data = terminal.read(0.08)
        current += len(data)
        if not data and current:
            sizes.append(current)
            current = 0
        assert terminal.process.poll() is None, terminal.text
    return sizes


def test_a_live_run_with_every_panel_shown_takes_a_kilobyte_a_second(
    engine: tuple[RunDir, subprocess.Popen[bytes]],
) -> None:
    run_dir, _ = engine
    with attach(run_dir) as terminal:
        terminal.wait_until(lambda: shown_step(terminal) >= 10, timeout=PATIENCE, what="step 10")
        terminal.read_for(1.0)
        for panel in ("loss", "machine", "schedule", "checkpoints", "log"):
            assert panel in terminal.text
        sizes = updates(terminal, 20)
        assert max(sizes) <= MOST_PER_UPDATE
        # The young run's axis doubles now and then, and the whole chart with it.
        usual = [size for size in sizes if size < NEW_AXIS]
        assert len(usual) >= 15
        assert sum(usual) / len(usual) <= MOST_PER_SECOND / 2
        assert shown_step(terminal) > 10


def test_a_hangup_leaves_the_engine_training_and_another_viewer_sees_it_all(
    engine: tuple[RunDir, subprocess.Popen[bytes]],
) -> None:
    run_dir, process = engine
    with attach(run_dir) as terminal:
        terminal.wait_until(lambda: shown_step(terminal) >= 5, timeout=PATIENCE, what="step 5")
        seen = shown_step(terminal)
        terminal.hang_up()
        terminal.wait()
    assert process.poll() is None
    assert is_held(run_dir)
    with attach(run_dir, columns=80, rows=24) as terminal:
        terminal.wait_until(lambda: shown_step(terminal) > seen + 5, timeout=PATIENCE, what="a later step")
        terminal.send("5", "z")
        terminal.wait_for("Session started.", timeout=PATIENCE)


def test_kill_nine_of_the_engine_is_explained(engine: tuple[RunDir, subprocess.Popen[bytes]]) -> None:
    run_dir, process = engine
    with attach(run_dir) as terminal:
        terminal.wait_until(lambda: shown_step(terminal) >= 5, timeout=PATIENCE, what="step 5")
        process.send_signal(signal.SIGKILL)
        terminal.wait_for("✕ died", timeout=PATIENCE)
        terminal.wait_for("The engine vanished", timeout=PATIENCE)
        terminal.send("q")
        terminal.wait_for("runs", timeout=PATIENCE)


def test_keys_steer_a_real_engine_through_its_inbox(engine: tuple[RunDir, subprocess.Popen[bytes]]) -> None:
    run_dir, process = engine
    with attach(run_dir, columns=80, rows=24) as terminal:
        terminal.wait_until(lambda: shown_step(terminal) >= 5, timeout=PATIENCE, what="step 5")
        terminal.send("P")
        terminal.wait_for("‖ paused", timeout=PATIENCE)
        terminal.send("P")
        terminal.wait_for("● training", timeout=PATIENCE)
        terminal.send("c")
        terminal.wait_for("checkpoint saved", timeout=PATIENCE)
        assert run_dir.latest_checkpoint() is not None
        terminal.send("X")
        terminal.wait_for("Stop this run", timeout=PATIENCE)
        terminal.send("y")
        terminal.wait_for("■ stopped", timeout=PATIENCE)
        assert process.wait(timeout=PATIENCE) == 3


def test_a_shell_in_the_run_folder_comes_back_to_a_whole_screen(tmp_path: Path) -> None:
    with write_run(tmp_path / "runs" / "drums", "live", steps=400) as run, attach(run.run_dir) as terminal:
        terminal.wait_for("● training", timeout=PATIENCE)
        terminal.settle(1.0)
        before = terminal.lines[4:]
        terminal.send("!")
        terminal.wait_for("A shell in", timeout=PATIENCE)
        terminal.send("ls\r")
        terminal.wait_for("events.jsonl", timeout=PATIENCE)
        terminal.send("exit\r")
        terminal.wait_until(lambda: terminal.lines[4:] == before, timeout=PATIENCE, what="the dashboard as it was")


def test_the_terminal_title_tells_the_state_and_is_given_back(tmp_path: Path) -> None:
    with write_run(tmp_path / "runs" / "drums", "finished", steps=40) as run, attach(run.run_dir) as terminal:
        received = b""
        while b"\x1b]0;\xe2\x9c\x93 finished" not in received:
            received += terminal.read(1.0)
            assert terminal.process.poll() is None
        terminal.settle()
        terminal.send("q")
        terminal.wait_for("runs", timeout=PATIENCE)
        terminal.settle()
        terminal.send("q")
        left = b""
        while terminal.process.poll() is None:
            left += terminal.read(0.2)
        left += terminal.read_for(0.5)
        assert received.count(b"\x1b[22;0t") == left.count(b"\x1b[23;0t") == 1
        assert terminal.process.returncode == 0
