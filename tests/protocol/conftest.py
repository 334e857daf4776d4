from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sidestep_tui.protocol.rundir import RunDir


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """An empty run directory."""
    return RunDir.create(tmp_path, "drums")


@pytest.fixture
def clock() -> Callable[[], float]:
    """A clock that moves one second at every look."""
    ticks: Iterator[int] = itertools.count(1_000)
    return lambda: float(next(ticks))


@pytest.fixture(autouse=True)
def _own_state_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidestep_tui.core.paths.state_dir", lambda: tmp_path)
