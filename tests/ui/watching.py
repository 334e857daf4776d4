"""Watching fake runs in the real app, with a clock that stands."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from sidestep_tui.core import env, paths
from sidestep_tui.engine.fake_history import FakeRun, write_run
from sidestep_tui.ui.app import SidestepApp
from sidestep_tui.ui.screens.dashboard.screen import DashboardScreen
from sidestep_tui.ui.screens.runs.screen import RunsScreen
from sidestep_tui.ui.widgets.rows import Rows

NOW = 1_790_000_000.0
SIZE = (120, 40)


class Watch:
    """A clock and a count of bells for an app under test."""

    def __init__(self) -> None:
        self.now = NOW
        self.rings = 0

    def ring(self) -> None:
        """One bell."""
        self.rings += 1


def app_on(
    run: Path | None, *, readonly: bool = False, watch: Watch | None = None, facts: env.TerminalFacts | None = None
) -> SidestepApp:
    """The real app on one run, with a clock of its own."""
    known = facts or env.terminal_facts({"TERM": "xterm-256color"}, stdin_is_tty=True, stderr_is_tty=True, size=SIZE)
    clock = watch or Watch()
    app = SidestepApp(start="runs", run=run, readonly=readonly, facts=known)
    app._dashboard_screen = lambda path: DashboardScreen(  # type: ignore[method-assign]
        path, readonly=readonly, clock=lambda: clock.now, facts=known
    )
    app._runs_screen = lambda: RunsScreen(clock=lambda: clock.now, facts=known)  # type: ignore[method-assign]
    app._modes["runs"] = app._runs_screen
    app.bell = clock.ring  # type: ignore[method-assign]
    return app


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Times of day are those of Greenwich."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def make_run(tmp_path: Path) -> Iterator[Callable[..., FakeRun]]:
    """Fake runs whose locks are let go at the end."""
    with ExitStack() as stack:

        def make(scenario: str, name: str = "drums_v3", **options: Any) -> FakeRun:
            return stack.enter_context(write_run(tmp_path / "runs" / name, scenario, now=NOW, **options))

        yield make


def dashboard(pilot: Pilot[Any]) -> DashboardScreen:
    return next(screen for screen in pilot.app.screen_stack if isinstance(screen, DashboardScreen))


async def until(pilot: Pilot[Any], condition: Callable[[], bool], what: str) -> None:
    """Let the app work until a condition holds."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come about"
        await pilot.pause(0.01)


async def settled(pilot: Pilot[Any]) -> DashboardScreen:
    """The dashboard, once the journal is read and painted."""
    await until(pilot, lambda: isinstance(pilot.app.screen, DashboardScreen), "the dashboard")
    screen = dashboard(pilot)
    await until(
        pilot, lambda: screen.caught_up and screen.paints > 0 and not screen.governor.dirty, "the first picture"
    )
    await pilot.pause()
    return screen


def facts_of(screen: DashboardScreen) -> str:
    return screen.query_one("#facts", Rows).plain


def orders(run: FakeRun) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(run.run_dir.inbox.glob("*.json"))]


def on_another_device() -> None:
    """Pretend that remembered runs lay on a disk that is not the one of their folders now."""
    store = paths.state_dir() / "runs.json"
    listed = json.loads(store.read_text())
    store.write_text(json.dumps({**listed, "devices": dict.fromkeys(listed["devices"], -1)}))
