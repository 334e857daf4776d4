"""Pictures of the slicer, at home sizes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from sidestep_tui.ui.dialogs.confirm import Confirm
from sidestep_tui.ui.screens.slicer.jobs import Advanced
from tests.ui.conftest import settle
from tests.ui.slicing import album, planned, ready, slicer_app
from tests.ui.watching import until

__all__ = ["album"]
SnapCompare = Callable[..., bool]
SIZES = [pytest.param((80, 24), id="80x24"), pytest.param((120, 40), id="120x40")]


def after(*keys: str) -> Callable[[Pilot[Any]], Awaitable[None]]:
    """Wait for the song in view, press keys, wait for its cuts."""

    async def steps(pilot: Pilot[Any]) -> None:
        screen = await ready(pilot)
        for key in keys:
            await pilot.press(key)
            await pilot.pause()
        if pilot.app.screen is screen and screen.form.contradiction(screen.song) is None:
            await planned(pilot, screen)

    return steps


@pytest.mark.parametrize("size", SIZES)
def test_slicer(snap_compare: SnapCompare, album: Path, size: tuple[int, int]) -> None:
    assert snap_compare(slicer_app(album), terminal_size=size, run_before=after())


def test_zoomed_with_bars(snap_compare: SnapCompare, album: Path) -> None:
    keys = ["down", "down", "down", "right", "n", "z", "l"]
    assert snap_compare(slicer_app(album), terminal_size=(80, 24), run_before=after(*keys))


def test_a_contradiction(snap_compare: SnapCompare, album: Path) -> None:
    assert snap_compare(slicer_app(album), terminal_size=(80, 24), run_before=after("down", "2", "0", "enter"))


def test_ascii_only(snap_compare: SnapCompare, album: Path) -> None:
    assert snap_compare(slicer_app(album, ascii_only=True), terminal_size=(80, 24), run_before=after("1", "0"))


def test_the_smallest_window(snap_compare: SnapCompare, album: Path) -> None:
    assert snap_compare(slicer_app(album), terminal_size=(60, 18), run_before=after())


def test_the_question(snap_compare: SnapCompare, album: Path) -> None:
    async def ask(pilot: Pilot[Any]) -> None:
        await ready(pilot)
        await pilot.press("S")
        await until(pilot, lambda: isinstance(pilot.app.screen, Confirm), "the question")
        await pilot.pause()

    assert snap_compare(slicer_app(album), terminal_size=(80, 24), run_before=ask)


def test_while_slicing(snap_compare: SnapCompare, album: Path) -> None:
    async def stand(pilot: Pilot[Any]) -> None:
        screen = await ready(pilot)
        screen._slice = lambda *_, **__: None  # type: ignore[method-assign, assignment]
        screen.begin_slicing(screen.form.folder, screen.form.wish, resume=False)
        screen.post_message(Advanced("slices", "slices", 37, 100))
        await settle(pilot)

    assert snap_compare(slicer_app(album), terminal_size=(80, 24), run_before=stand)
