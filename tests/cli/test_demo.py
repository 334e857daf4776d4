"""The demo, for real: from nothing to a verified adapter, and again from what is there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sidestep_tui.protocol.state import RunState
from sidestep_tui.protocol.tail import Tail

from .conftest import Outcome


@pytest.mark.slow
def test_the_demo_trains_and_verifies_an_adapter(run_cli: Callable[..., Outcome], home: Path) -> None:
    command = [sys.executable, "-m", "sidestep_tui.cli.main", "demo", "--headless", "--dir", "tried"]
    result = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    assert result.returncode == 0, result.stderr
    (adapter,) = map(Path, result.stdout.splitlines())
    assert adapter == home / "tried" / "runs" / "demo" / "adapter" / "final"
    story = RunState.from_events(Tail(home / "tried" / "runs" / "demo" / "events.jsonl").read_all())
    assert story.status == "finished"
    losses = [loss for _, loss in story.series["epoch_loss"]]
    assert losses[-1] < losses[0]
    assert {item.kind for item in story.adapters} == {"final", "best"}
    report = run_cli("adapter", "inspect", adapter, "--json").json
    assert (report["ranks"], report["alphas"], report["warnings"]) == ([8], [16.0], [])
    assert run_cli("models", "check", home / "tried" / "model").code == 0
    scan = run_cli("dataset", "scan", home / "tried" / "songs", "--json").json
    assert len({Path(song["audio"]).suffix for song in scan["songs"]}) == 5
    assert scan["skipped"] == scan["warnings"] == []
