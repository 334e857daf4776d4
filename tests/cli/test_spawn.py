"""Engines are processes of their own: no terminal, no pipe, no surprise from the working directory."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from sidestep_tui.core.errors import RunError
from sidestep_tui.launch import spawn


def _run(home: Path, code: str) -> list[str]:
    """The log of an engine whose module holds `code`, lying in the run directory."""
    (home / "engine_for_test.py").write_text(code)
    os.environ["PYTHONPATH"] = str(home)
    process = spawn.spawn(home, "engine_for_test")
    assert process.wait() == 0
    return (home / "engine.log").read_text().splitlines()


@pytest.fixture(autouse=True)
def _python_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "")


def test_an_engine_leads_a_session_of_its_own_and_reads_nothing(home: Path) -> None:
    code = "import os, sys\nprint(os.getsid(0) == os.getpid(), sys.stdin.read() == '')\nprint('err', file=sys.stderr)"
    assert _run(home, code) == ["True True", "err"]


def test_an_engine_is_offline_and_its_log_unbuffered(home: Path) -> None:
    code = "import os; print(*(os.environ[n] for n in ('HF_HUB_OFFLINE', 'TRANSFORMERS_OFFLINE', 'PYTHONUNBUFFERED')))"
    assert _run(home, code) == ["1 1 1"]


def test_files_in_the_working_directory_do_not_stand_in_for_modules(home: Path) -> None:
    (home / "json.py").write_text("raise SystemExit('shadowed')")
    result = subprocess.run(
        [*spawn.python("sidestep_tui.engine.fake"), "--help"],
        cwd=home,
        env=spawn.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "shadowed" not in result.stderr


def test_a_log_is_continued_not_replaced(home: Path) -> None:
    (home / "engine.log").write_text("before\n")
    assert _run(home, "print('after')") == ["before", "after"]


def test_a_process_that_cannot_start_is_a_sentence(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spawn, "interpreter", lambda: str(home / "no-python"))
    with pytest.raises(RunError, match="cannot be started"):
        spawn.spawn(home)
