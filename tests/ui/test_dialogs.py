"""Dialogs with a list: what is typed narrows the list, and never acts on the screen behind."""

from __future__ import annotations

from types import SimpleNamespace

from textual.screen import Screen
from textual.widgets import OptionList

from sidestep_tui.ui.dialogs.presets import PickPreset
from sidestep_tui.ui.screens.wizard.screen import WizardScreen
from tests.ui.conftest import make_app


async def test_typing_in_the_list_of_presets_narrows_it(machine: SimpleNamespace) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await pilot.press("ctrl+f")
        await pilot.pause()
        await pilot.press(*"quick q")
        await pilot.pause()
        assert isinstance(pilot.app.screen, PickPreset)
        options = pilot.app.screen.query_one(OptionList)
        names = [str(options.get_option_at_index(index).id) for index in range(options.option_count)]
        assert names == ["shipped:quick_test"]
        await pilot.press("enter")
        await pilot.pause()
        screen = pilot.app.screen
        assert isinstance(screen, WizardScreen)
        assert screen.session.draft.base_name == "preset quick_test"


async def test_no_letter_in_the_list_of_presets_reaches_the_wizard_behind(machine: SimpleNamespace) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        screen = pilot.app.screen
        assert isinstance(screen, WizardScreen)
        wizard: Screen[None] = screen
        screen.session.set("adapter.rank", "77")
        await pilot.press("ctrl+f")
        await pilot.pause()
        await pilot.press(*"uNSq4[:?/")
        await pilot.pause()
        assert isinstance(pilot.app.screen, PickPreset)
        await pilot.press("escape")
        await pilot.pause()
        assert pilot.app.screen is wizard
        assert screen.session.draft.text("adapter.rank") == "77"
        assert screen.pages.current == "model"
