"""Every screen in every look and size: light on a wide terminal, the terminal's own colours on the smallest, and no
colour at home size. The dark theme at home sizes is pictured beside each screen's own tests.

A new screen gets a function in `SCREENS` that opens it and waits for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pytest_textual_snapshot import SVGImageExtension
from syrupy.assertion import SnapshotAssertion
from textual.filter import Monochrome
from textual.pilot import Pilot

from sidestep_tui.engine.fake_history import FakeRun
from sidestep_tui.protocol import registry
from sidestep_tui.schema.draft import Draft
from sidestep_tui.ui.app import SidestepApp
from sidestep_tui.ui.dialogs.confirm import Confirm
from sidestep_tui.ui.screens.compare.screen import CompareScreen
from sidestep_tui.ui.screens.runs.screen import RunsScreen
from sidestep_tui.ui.widgets.rows import Rows
from tests.ui.conftest import make_app, settle
from tests.ui.slicing import album, ready, slicer_app
from tests.ui.songs_making import make_manifest, songs_app, songs_screen
from tests.ui.test_snapshots_doctor import answer, report_on, shown, songs
from tests.ui.watching import NOW, app_on, make_run, settled, until, utc

__all__ = ["album", "answer", "make_run", "songs", "utc"]
pytestmark = pytest.mark.usefixtures("utc")

Steps = Callable[[Pilot[Any]], Awaitable[object]]
Opened = tuple[SidestepApp, Steps]


class Room:
    """What screens are opened with: fixtures, asked for by name."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self.fixture = request.getfixturevalue
        self.monkeypatch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")

    def wizard(self, step: str, *keys: str, **texts: str) -> Opened:
        make_draft: Callable[..., Draft] = self.fixture("ready_draft")
        make_draft(step=step, **texts)

        async def press(pilot: Pilot[Any]) -> None:
            await settle(pilot)
            for key in keys:
                await pilot.press(key)
                await settle(pilot)

        return make_app(), press

    def run(self, scenario: str, **options: Any) -> FakeRun:
        made: FakeRun = self.fixture("make_run")(scenario, **options)
        return made


def _dashboard(room: Room) -> Opened:
    return app_on(room.run("live", steps=2000).path), settled


def _died(room: Room) -> Opened:
    return app_on(room.run("crashed", steps=2000).path), settled


def _run_info(room: Room) -> Opened:
    async def look(pilot: Pilot[Any]) -> None:
        await settled(pilot)
        await pilot.press("i")
        await until(pilot, lambda: bool(pilot.app.screen.query("#settings").only_one(Rows).rows), "the page")

    return app_on(room.run("finished", steps=400).path), look


def _runs(room: Room) -> Opened:
    for number, scenario in enumerate(["live", "paused", "crashed", "finished"]):
        run: FakeRun = room.fixture("make_run")(scenario, f"{number}_{scenario}", steps=400 + 100 * number)
        registry.register(run.run_dir)

    async def look(pilot: Pilot[Any]) -> None:
        screen = pilot.app.screen
        assert isinstance(screen, RunsScreen)
        await until(pilot, lambda: screen.looked, "the list")
        await settle(pilot)

    return app_on(None), look


def _compare(room: Room) -> Opened:
    runs = [room.fixture("make_run")("finished", f"take_{number}", steps=400 + 200 * number) for number in (1, 2)]

    async def look(pilot: Pilot[Any]) -> None:
        screen = CompareScreen([run.path for run in runs], clock=lambda: NOW)
        await pilot.app.push_screen(screen)
        await until(pilot, lambda: len(screen.sides) == 2, "the journals")
        await pilot.pause()

    return make_app("runs"), look


def _songs(room: Room) -> Opened:
    app = songs_app(make_manifest(Path("/music/ember"), 13), room.monkeypatch)

    async def look(pilot: Pilot[Any]) -> None:
        screen = songs_screen(app)
        await until(pilot, lambda: screen.session is not None and not screen.busy, "the songs")
        await settle(pilot)

    return app, look


def _doctor(room: Room) -> Opened:
    folder = room.fixture("songs")
    room.fixture("answer")(report_on(folder))
    return make_app("runs"), shown(folder)


def _slicer(room: Room) -> Opened:
    return slicer_app(room.fixture("album")), ready


def _question(room: Room) -> Opened:
    async def ask(pilot: Pilot[Any]) -> None:
        await settle(pilot)
        await pilot.app.push_screen(Confirm("Stop the run?", "It saves a checkpoint, then exits.", "Stop and save"))
        await settle(pilot)

    return make_app("runs"), ask


SCREENS: dict[str, Callable[[Room], Opened]] = {
    "model": lambda room: room.wizard("model"),
    "data": lambda room: room.wizard("data"),
    "adapter": lambda room: room.wizard("adapter", level="expert"),
    "optim": lambda room: room.wizard("optim", optim__lr="7"),
    "memory": lambda room: room.wizard("memory"),
    "review": lambda room: room.wizard("review", adapter__rank="256"),
    "help": lambda room: room.wizard("adapter"),
    "palette": lambda room: room.wizard("adapter"),
    "jump": lambda room: room.wizard("adapter"),
    "presets": lambda room: room.wizard("adapter", "ctrl+f"),
    "settings": lambda room: room.wizard("adapter", "f6"),
    "dashboard": _dashboard,
    "died": _died,
    "run_info": _run_info,
    "runs": _runs,
    "compare": _compare,
    "songs": _songs,
    "doctor": _doctor,
    "slicer": _slicer,
    "question": _question,
}

# What lies over a screen is opened anew in each look.
OVER = {"help": "f1", "palette": "ctrl+p", "jump": "ctrl+o"}

LOOKS = {"light": ("sidestep-light", (120, 40)), "ansi": ("ansi-dark", (60, 18)), "mono": ("sidestep", (80, 24))}


async def _dress(app: SidestepApp, pilot: Pilot[Any], look: str, key: str | None) -> str:
    """The picture of a look, with what a key opens."""
    name, size = LOOKS[look]
    if look == "mono":
        app._filters.append(Monochrome())  # what NO_COLOR does when the app begins
    app.theme = name
    await pilot.resize_terminal(*size)
    for _ in range(3):  # laid out, measured, painted
        await pilot.pause()
    if key is None:
        return app.export_screenshot()
    await pilot.press(key)
    await pilot.pause()
    await pilot.pause()
    picture = app.export_screenshot()
    await pilot.press("escape")
    return picture


@pytest.mark.parametrize("name", SCREENS)
async def test_looks(
    name: str, request: pytest.FixtureRequest, snapshot: SnapshotAssertion, machine: SimpleNamespace
) -> None:
    app, open_screen = SCREENS[name](Room(request))
    pictures = snapshot.use_extension(SVGImageExtension)
    differing = []
    async with app.run_test(size=(80, 24)) as pilot:
        await open_screen(pilot)
        for look in LOOKS:
            if (await _dress(app, pilot, look, OVER.get(name))) != pictures(name=look):
                differing.append(look)
    assert differing == [], "look at it with --snapshot-update and git diff"
