"""Jobs of the engine over a pipe: whoever asked may leave, and nonsense is refused before torch is loaded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sidestep_tui.core.errors import SettingsError
from sidestep_tui.launch import failures, job, spawn

SLEEPER = job.Job("sleep", "Sleeping", "")


def start(source: str) -> list[str]:
    """The engine with a job of its own: `sleep` runs `source`."""
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom sidestep_tui.engine import job\n"
        f"def sleep(request, channel):\n{source}\njob.JOBS = {{'sleep': sleep}}\nsys.exit(job.main())"
    )
    return [sys.executable, "-c", script]


@pytest.fixture
def interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A job that waits until it is interrupted, and then leaves this file."""
    left = tmp_path / "left"
    source = (
        "    try:\n        channel.progress('sleeping', 1, 2, 'long')\n        time.sleep(600)\n"
        f"    finally:\n        Path({str(left)!r}).touch()"
    )
    monkeypatch.setattr(spawn, "python", lambda module, command=start(source): command)
    return left


def test_a_job_that_is_told_to_stop_cleans_up(interrupted: Path) -> None:
    heard: list[job.Said] = []
    with pytest.raises(failures.EngineStopped):
        job.ask(SLEEPER, {}, heard.append, lambda: bool(heard))
    assert heard == [job.Said("progress", "sleeping", 1, 2, "long")]
    assert interrupted.exists()


def test_what_the_listener_raises_ends_the_job_too(interrupted: Path) -> None:
    def refuse(said: job.Said) -> None:
        raise SettingsError("No.", "", "")

    with pytest.raises(SettingsError):
        job.ask(SLEEPER, {}, refuse)
    assert interrupted.exists()


def test_a_job_whose_asker_is_killed_ends(interrupted: Path) -> None:
    child = subprocess.Popen(spawn.python(job.MODULE), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(b'{"do": "sleep"}\n')
    child.stdin.flush()
    assert json.loads(child.stdout.readline())["event"] == "progress"
    child.stdin.close()
    assert child.wait(timeout=60) == 3
    child.stdout.close()
    assert interrupted.exists()


def test_a_bug_is_told_with_its_report(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(spawn, "python", lambda module: start("    raise AssertionError('oh')"))
    with pytest.raises(failures.EngineBug) as caught:
        job.ask(SLEEPER, {}, print)
    assert "AssertionError: oh" in caught.value.message
    report = Path(caught.value.hint.removeprefix("Please report this with ").rstrip("."))
    assert "AssertionError: oh" in report.read_text()
