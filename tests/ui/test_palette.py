"""The palette on a live run."""

from __future__ import annotations

from collections.abc import Callable

from textual.command import CommandList, CommandPalette

from sidestep_tui.engine.fake_history import FakeRun
from tests.ui.watching import app_on, dashboard, make_run  # noqa: F401


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
