"""How few keys it takes from an empty state to a run that trains: counted, with a real engine process behind it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from sidestep_tui.launch import discover, spawn
from sidestep_tui.protocol.lock import is_held, read_holder
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.schema import drafts, run
from sidestep_tui.ui.forms.rows import ActionRow, FieldRow
from sidestep_tui.ui.places import PlacesApp
from sidestep_tui.ui.screens.wizard.screen import WizardScreen
from tests.ui.conftest import make_app, settle
from tests.ui.watching import until

SIZE = (80, 24)
MOST_KEYS = 10


class Keyboard:
    """Presses keys one at a time, as a person does who waits for what is shown, and counts them."""

    def __init__(self, pilot: Pilot[Any]) -> None:
        self.pilot = pilot
        self.pressed: list[str] = []

    async def press(self, *keys: str) -> None:
        for key in keys:
            self.pressed.append(key)
            await self.pilot.press(key)
            await settle(self.pilot)

    @property
    def focused(self) -> str:
        row = self.pilot.app.focused
        return row.spec.path if isinstance(row, FieldRow) else ""


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """Runs whose dashboard was opened. The engine without torch trains them; it is killed at the end."""
    paths: list[Path] = []
    monkeypatch.setattr(spawn, "ENGINE_MODULE", "sidestep_tui.engine.fake")
    monkeypatch.setenv("SIDESTEP_FAKE", json.dumps({"steps": 100_000, "step_seconds": 0.02, "gpus": 0, "songs": 2}))
    monkeypatch.setattr(PlacesApp, "open_run", lambda self, path: paths.append(path))
    yield paths
    for path in paths:
        if holder := read_holder(RunDir.open(path)):
            os.kill(holder.pid, signal.SIGKILL)


@pytest.fixture
def used_before(places: Path) -> Path:
    """A machine on which one checkpoint and one folder were used, of which no run is left."""
    discover.remember(model=places / "checkpoints" / "acestep-v15-turbo", dataset=places / "songs")
    return places


async def test_from_nothing_to_a_running_training_with_a_preset(used_before: Path, opened: list[Path]) -> None:
    async with make_app("auto").run_test(size=SIZE) as pilot:
        await settle(pilot)
        keyboard = Keyboard(pilot)
        wizard = pilot.app.screen
        assert isinstance(wizard, WizardScreen)
        await keyboard.press("enter")  # the checkpoint used last
        assert keyboard.focused == "data.path"
        await keyboard.press("enter")  # the songs used last
        assert keyboard.focused == "data.crop_seconds"
        await keyboard.press("ctrl+f", "down", "enter")  # another preset
        preset = wizard.session.draft.base_name.partition(" ")[2]
        await keyboard.press("f9", "S")
        await until(pilot, lambda: bool(opened), "the run's dashboard")
        assert len(keyboard.pressed) <= MOST_KEYS, keyboard.pressed
        run_dir = RunDir.open(opened[0])
        frozen = run.read_run(run_dir.run_toml)
        assert is_held(run_dir)
        assert frozen.preset == preset != "recommended"
        assert frozen.settings.data.path == str(used_before / "songs")
        # What was started stays as the draft of the next run, on the page that starts it.
        keyboard.pressed.clear()
        await keyboard.press("S")
        await until(pilot, lambda: len(opened) == 2, "the second run")


async def test_nothing_is_taken_that_was_not_accepted(used_before: Path) -> None:
    async with make_app("auto").run_test(size=SIZE) as pilot:
        await settle(pilot)
        keyboard = Keyboard(pilot)
        await keyboard.press("down", "up", "ctrl+n", "f9")
        (stored,) = drafts.list_drafts()
        assert drafts.load(stored.id).value("model.path") == ""
        advice = [row for row in pilot.app.screen.query_one("#advice").query(ActionRow) if row.advice]
        assert [row.advice.path for row in advice if row.advice][:2] == ["model.path", "data.path"]
        advice[1].focus()
        await keyboard.press("F")
        wizard = pilot.app.screen
        assert isinstance(wizard, WizardScreen)
        assert wizard.session.draft.value("data.path") == str(used_before / "songs")
