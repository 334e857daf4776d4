"""Coming back from the shell, the whole screen is there again."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from tests.budget.terminal import Terminal, ctrl


def _is_stopped(pid: int) -> bool:
    return os.waitpid(pid, os.WUNTRACED | os.WNOHANG)[0] == pid


def test_suspend_and_resume_repaint_everything(tmp_path: Path) -> None:
    with Terminal([sys.executable, "-m", "sidestep_tui"], cwd=tmp_path, columns=80, rows=24) as terminal:
        terminal.wait_for("1 Model")
        terminal.settle()
        before = terminal.text
        terminal.send(ctrl("z"))
        pid = terminal.process.pid
        terminal.wait_until(lambda: _is_stopped(pid), what="the suspension")
        terminal._stream.feed("\x1b[2J\x1b[H$ what the shell left behind\r\n")
        assert terminal.text != before
        os.kill(pid, signal.SIGCONT)
        terminal.wait_until(lambda: terminal.text == before, what="the same screen again")
