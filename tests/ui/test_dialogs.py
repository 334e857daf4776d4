"""Dialogs with a list: what is typed narrows the list, and never acts on the screen behind."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import OptionList

from sidestep_tui.ui.dialogs.one_of import Choice, OneOf
from sidestep_tui.ui.screens.wizard.screen import WizardScreen
from tests.ui.conftest import make_app


async def open_list(pilot: Pilot[Any]) -> WizardScreen:
    await pilot.pause()
    screen = pilot.app.screen
    assert isinstance(screen, WizardScreen)
    choices = [Choice("a", "Warm-up", "steps"), Choice("b", "Rank", "capacity"), Choice("c", "Warmth", "of sound")]
    pilot.app.push_screen(OneOf("One of these", choices))
    await pilot.pause()
    return screen


async def test_typing_narrows_the_list(machine: SimpleNamespace) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await open_list(pilot)
        await pilot.press(*"warm s")
        await pilot.pause()
        options = pilot.app.screen.query_one(OptionList)
        names = [str(options.get_option_at_index(index).id) for index in range(options.option_count)]
        assert names == ["=a", "=c"]


async def test_no_letter_typed_into_a_list_reaches_the_screen_behind(machine: SimpleNamespace) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        wizard: Screen[None] = await open_list(pilot)
        assert isinstance(wizard, WizardScreen)
        wizard.session.set("adapter.rank", "77")
        await pilot.press(*"uNSq4[:?/")
        await pilot.pause()
        assert isinstance(pilot.app.screen, OneOf)
        await pilot.press("escape")
        await pilot.pause()
        assert pilot.app.screen is wizard
        assert wizard.session.draft.text("adapter.rank") == "77"
        assert wizard.pages.current == "model"
