"""The slicer's screen for tests: songs that are heard at once, child processes that are threads of this one."""

from __future__ import annotations

import json
import wave
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from textual.pilot import Pilot

from sidestep_tui.dataset import apart, apart_tasks
from sidestep_tui.ui.screens.slicer import jobs as slicer_jobs
from sidestep_tui.ui.screens.slicer.screen import SlicerScreen
from sidestep_tui.ui.songs_place import SongsPlace
from sidestep_tui.ui.widgets.rows import Rows
from tests.ui.conftest import make_app, settle
from tests.ui.watching import until

RATE = 4000
LENGTHS = {"aurora": 70.0, "bright": 45.0, "dust": 5.0}


@cache
def sound(seconds: float) -> bytes:
    """A tone that swells and fades three times: stereo samples of 16 bits."""
    time = np.arange(round(seconds * RATE)) / RATE
    loud = 0.15 + 0.8 * np.abs(np.sin(3 * np.pi * time / seconds))
    left, right = np.sin(2 * np.pi * 110 * time), 0.6 * np.sin(2 * np.pi * 173 * time + 1)
    samples = np.rint(32000 * loud[:, None] * np.stack([left, right], axis=1)).astype("<i2")
    return bytes(samples.tobytes())


def write_song(path: Path, seconds: float) -> None:
    """A song of so many seconds."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(sound(seconds))


@pytest.fixture
def album(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """./songs with three songs, the last one too short for a slice; and no processes beside this one."""
    folder = home / "songs"
    folder.mkdir()
    for name, seconds in LENGTHS.items():
        write_song(folder / f"{name}.wav", seconds)
        words = {"caption": f"{name}, a test", "bpm": 120}
        (folder / f"{name}.json").write_text(json.dumps(words), encoding="utf-8")
    monkeypatch.setattr(apart, "call", call_here)
    monkeypatch.setattr(slicer_jobs, "ASK_DELAY", 0.01)
    return folder


def call_here(task: str, parameters: dict[str, Any], report: Any = None, *, quiet_seconds: float = 0) -> Any:
    """What the child would do, in the thread that asks."""
    heard: Callable[[str, int, int], None] = report or (lambda doing, done, total: None)
    return json.loads(json.dumps(apart_tasks.TASKS[task](json.loads(json.dumps(parameters)), heard)))


def slicer_app(place: Path, *, song: str = "", ascii_only: bool = False) -> Any:
    """The app with the slicer in front; `app.answered` is what the screen gave when it closed."""
    app = make_app("runs", ascii_only=ascii_only)
    app.answered = []  # type: ignore[attr-defined]

    def show() -> None:
        screen = SlicerScreen(SongsPlace(place), song)
        app.push_screen(screen, app.answered.append)  # type: ignore[attr-defined]

    app.call_later(show)
    return app


async def ready(pilot: Pilot[Any]) -> SlicerScreen:
    """The screen, once the song in view has its outline and its cuts."""
    await until(pilot, lambda: isinstance(pilot.app.screen, SlicerScreen), "the slicer")
    screen = pilot.app.screen
    assert isinstance(screen, SlicerScreen)
    await until(pilot, lambda: screen.manifest is not None or screen.problem is not None, "the songs")
    if screen.manifest is not None:
        await planned(pilot, screen)
    return screen


async def planned(pilot: Pilot[Any], screen: SlicerScreen) -> None:
    """Wait for the cuts of the song in view, and for what is painted of them."""
    await until(pilot, lambda: screen.song is not None and screen.song.name in screen.outlines, "the outline")
    await until(pilot, lambda: screen.plan is not None, "the cuts")
    await settle(pilot)


def words(screen: SlicerScreen, part: str) -> str:
    """What a part of the screen says."""
    return screen.query_one(f"#{part}", Rows).plain
