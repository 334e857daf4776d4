"""The palette: what it finds on a live run, and that it keeps quiet."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

from textual.command import CommandList, CommandPalette
from textual.widgets import Input

from sidestep_tui.engine.fake_history import FakeRun
from sidestep_tui.ui.palette import Palette
from tests.ui.conftest import make_app
from tests.ui.watching import app_on, dashboard, make_run, until  # noqa: F401


async def test_the_palette_of_a_live_run_finds_pause(make_run: Callable[..., FakeRun]) -> None:  # noqa: F811
    async with app_on(make_run("live", steps=400).path).run_test(size=(80, 24)) as pilot:
        while not dashboard(pilot).view().live:
            await pilot.pause()
        await pilot.press("ctrl+p")
        await pilot.pause()
        assert isinstance(pilot.app.screen, CommandPalette)
        await pilot.press(*"pause")
        listing = pilot.app.screen.query_one(CommandList)
        while not any("Pause" in str(option.prompt) for option in listing.options):
            await pilot.pause()


async def test_the_palettes_cursor_stands_still(machine: SimpleNamespace) -> None:
    async with make_app("runs").run_test(size=(80, 24)) as pilot:
        await pilot.press("ctrl+p")
        await until(pilot, lambda: Palette.is_open(pilot.app), "the palette")
        assert not pilot.app.screen.query_one(Input).cursor_blink
