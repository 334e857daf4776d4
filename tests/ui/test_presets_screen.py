"""The browser of presets by keyboard: choosing, keeping edits, saving, files of one's own and of others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from textual import events
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Input, Static

from sidestep_tui.core import paths
from sidestep_tui.schema import presets
from sidestep_tui.schema.draft import Draft
from sidestep_tui.ui.dialogs.confirm import Choose, Tell
from sidestep_tui.ui.dialogs.paper import Paper
from sidestep_tui.ui.dialogs.presets import AskPath, SavePreset, ShowImport
from sidestep_tui.ui.dialogs.text import AskText
from sidestep_tui.ui.dialogs.typed import TypeWord
from sidestep_tui.ui.screens.presets.provider import PresetsProvider
from sidestep_tui.ui.screens.presets.screen import PresetsScreen
from sidestep_tui.ui.screens.wizard.screen import WizardScreen
from sidestep_tui.ui.widgets.rows import Rows
from tests.ui.conftest import make_app, settle

SIZE = (80, 24)


def browser(pilot: Pilot[Any]) -> PresetsScreen:
    """The browser, which must be on the screen or behind a dialog."""
    return next(screen for screen in pilot.app.screen_stack if isinstance(screen, PresetsScreen))


def draft(pilot: Pilot[Any]) -> Draft:
    session = pilot.app.form_session()  # type: ignore[attr-defined]
    assert session is not None
    assert isinstance(session.draft, Draft)
    return session.draft


def text_of(pilot: Pilot[Any], name: str) -> str:
    return browser(pilot).query_one(f"#{name}", Rows).plain


async def go_to(pilot: Pilot[Any], name: str) -> None:
    """Put the bar on a preset."""
    browser(pilot).listing.go_to_name(name)
    browser(pilot).repaint()
    await pilot.pause()


async def press(pilot: Pilot[Any], *keys: str) -> Screen[Any]:
    """Press keys one by one, and wait for what comes of it."""
    for key in keys:
        await pilot.press(key)
        await pilot.pause()
    await pilot.pause()
    return pilot.app.screen


async def answer(pilot: Pilot[Any], text: str) -> Screen[Any]:
    """Type a whole answer into the dialog in front."""
    field = pilot.app.screen.query_one(Input)
    field.value = text
    await pilot.press("enter")
    await quiet(pilot)
    return pilot.app.screen


async def quiet(pilot: Pilot[Any]) -> None:
    """Wait for everything but the question in front."""
    await pilot.pause()
    while pending := [
        worker for worker in pilot.app.workers if not worker.is_finished and worker.group not in ("dialog",)
    ]:
        await pilot.app.workers.wait_for_complete(pending)
        await pilot.pause()
    await pilot.pause()


async def open_browser(pilot: Pilot[Any]) -> PresetsScreen:
    await settle(pilot)
    await pilot.press("ctrl+f")
    await settle(pilot)
    screen = pilot.app.screen
    assert isinstance(screen, PresetsScreen)
    return screen


# Choosing


async def test_three_keys_start_from_another_preset_and_undo_takes_it_back(ready_draft: Callable[..., Draft]) -> None:
    ready_draft(step="adapter")
    async with make_app().run_test(size=SIZE) as pilot:
        screen = await open_browser(pilot)
        assert screen.listing.current is not None
        assert screen.listing.current.name == "vram_12gb"
        await pilot.press("down", "enter")
        await settle(pilot)
        assert isinstance(pilot.app.screen, WizardScreen)
        assert draft(pilot).base_name == "preset vram_16gb"
        assert draft(pilot).value("data.path") == "songs"
        await pilot.press("ctrl+y")
        assert draft(pilot).base_name == "preset vram_12gb"
        await open_browser(pilot)
        await press(pilot, "ctrl+underscore")
        assert draft(pilot).base_name == "preset vram_16gb"
        await press(pilot, "u")
        assert draft(pilot).base_name == "preset vram_12gb"
        assert "taken back" in text_of(pilot, "heading")


async def test_the_preview_says_what_would_change_and_the_filter_narrows(ready_draft: Callable[..., Draft]) -> None:
    ready_draft(step="adapter", adapter__rank="8")
    async with make_app().run_test(size=SIZE) as pilot:
        await open_browser(pilot)
        await go_to(pilot, "vram_24gb_plus")
        shown = text_of(pilot, "preview")
        assert "• rank" in shown
        assert "8 → 128" in shown
        assert "of 12.0 GiB" in shown
        assert "22 GiB of GPU memory !" in shown
        assert draft(pilot).value("adapter.rank") == 8
        screen = browser(pilot)
        await press(pilot, "space", "up")
        assert "against the preset: vram_24gb_plus" in text_of(pilot, "heading")
        assert "differs from vram_24gb_plus in" in text_of(pilot, "preview")
        assert "was yours" not in text_of(pilot, "preview")
        await press(pilot, "down")
        assert "has the settings of vram_24gb_plus" in text_of(pilot, "preview")
        await press(pilot, "space")
        assert "8 → 128" in text_of(pilot, "preview")
        await press(pilot, "slash", *"quick", "underscore", *"te")
        assert [item.name for item in screen.listing.shown] == ["quick_test"]
        await press(pilot, "enter", "escape")
        assert len(screen.listing.shown) > 5
        assert pilot.app.screen is screen


async def test_edits_are_asked_about_and_can_stay_on_top(ready_draft: Callable[..., Draft]) -> None:
    ready_draft(step="adapter", adapter__rank="8", train__epochs="7")
    async with make_app().run_test(size=SIZE) as pilot:
        await open_browser(pilot)
        await go_to(pilot, "recommended")
        question = await press(pilot, "enter")
        assert isinstance(question, Choose)
        assert "yours 8, the preset's 64" in question._body
        await press(pilot, "escape")
        assert draft(pilot).base_name == "preset vram_12gb"
        await press(pilot, "enter", "k")
        await settle(pilot)
        assert (draft(pilot).base_name, draft(pilot).value("adapter.rank")) == ("preset recommended", 8)
        await open_browser(pilot)
        await press(pilot, "enter", "t")
        await settle(pilot)
        assert draft(pilot).value("adapter.rank") == 64
        await pilot.press("ctrl+y")
        assert (draft(pilot).value("adapter.rank"), draft(pilot).value("train.epochs")) == (8, 7)


async def test_on_a_narrow_window_enter_reads_first_and_escape_goes_one_step_out(
    ready_draft: Callable[..., Draft],
) -> None:
    ready_draft(step="adapter")
    async with make_app().run_test(size=(60, 18)) as pilot:
        screen = await open_browser(pilot)
        assert not screen.query_one("#preview").display
        await pilot.click("#presets", offset=(5, 2))
        assert screen.listing.current is not None
        assert screen.listing.current.name == "recommended"
        screen.listing.go_to_name("vram_12gb")
        await press(pilot, "down", "enter")
        assert screen.query_one("#preview").display
        assert draft(pilot).base_name == "preset vram_12gb"
        await press(pilot, "escape")
        assert not screen.query_one("#preview").display
        await press(pilot, "enter", "enter")
        await settle(pilot)
        assert draft(pilot).base_name == "preset vram_16gb"
        await open_browser(pilot)
        await press(pilot, "q")
        assert isinstance(pilot.app.screen, WizardScreen)


async def test_without_a_wizard_the_latest_draft_is_compared_and_then_shown(ready_draft: Callable[..., Draft]) -> None:
    ready_draft(step="adapter", adapter__rank="8")
    app = make_app("runs")
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        await press(pilot, "p", "escape")
        assert app.current_mode == "runs"
        await pilot.press("p")
        await settle(pilot)
        screen = browser(pilot)
        assert app.form_session() is None
        assert screen.session.draft.value("adapter.rank") == 8
        assert screen.session.gpus
        await press(pilot, "q")
        provider = PresetsProvider(pilot.app.screen)
        titles = {str(hit.text): hit async for hit in provider.search("Preset quick_test")}
        titles["Preset quick_test"].command()
        await quiet(pilot)
        assert screen.listing.current is not None
        assert screen.listing.current.name == "quick_test"
        await press(pilot, "enter", "t")
        await settle(pilot)
        assert isinstance(pilot.app.screen, WizardScreen)
        assert draft(pilot).base_name == "preset quick_test"


# Keeping


async def save_as(pilot: Pilot[Any], name: str) -> Screen[Any]:
    dialog = await press(pilot, "ctrl+s")
    assert isinstance(dialog, SavePreset)
    return await answer(pilot, name)


async def test_saving_keeps_the_recipe_and_leaves_paths_out(
    ready_draft: Callable[..., Draft],
) -> None:
    ready_draft(step="adapter", adapter__rank="8")
    async with make_app().run_test(size=SIZE) as pilot:
        await settle(pilot)
        await save_as(pilot, "mine")
        await settle(pilot)
        saved = presets.find("mine")
        assert saved.own["adapter.rank"] == 8
        assert "data.path" not in saved.own
        assert draft(pilot).base_name == "preset mine"
        screen = await open_browser(pilot)
        screen.session.set("train.epochs", "7")
        await press(pilot, "s")
        pilot.app.screen.query_one("#preset-purpose", Input).value = "Small drums."
        await press(pilot, "down", "down", "right")
        kept = str(pilot.app.screen.query_one("#kept", Static).render())
        assert "1 setting differs from mine" in kept
        assert "train.epochs = 7" in kept
        assert isinstance(await answer(pilot, "recommended"), SavePreset)
        assert isinstance(await answer(pilot, "mine"), SavePreset)
        assert "needs another name" in str(pilot.app.screen.query_one("#problem", Static).render())
        await answer(pilot, "drums")
        await settle(pilot)
        assert screen.listing.current is not None
        assert (screen.listing.current.name, screen.listing.current.group) == ("drums", "Yours")
        saved = presets.find("drums")
        assert (saved.description, saved.extends, saved.own) == ("Small drums.", "mine", {"train.epochs": 7})


async def test_a_preset_is_overwritten_only_by_typing_its_name(ready_draft: Callable[..., Draft]) -> None:
    presets.save("mine", {"adapter.rank": 4})
    ready_draft(step="adapter", adapter__rank="8")
    async with make_app().run_test(size=SIZE) as pilot:
        await settle(pilot)
        assert isinstance(await save_as(pilot, "mine"), TypeWord)
        await answer(pilot, "yes")
        await press(pilot, "escape")
        await settle(pilot)
        assert presets.find("mine").values["adapter.rank"] == 4
        await save_as(pilot, "mine")
        await answer(pilot, "mine")
        await settle(pilot)
        assert presets.find("mine").values["adapter.rank"] == 8
        wizard = pilot.app.screen
        assert isinstance(wizard, WizardScreen)
        wizard.session.set("adapter.rank", "9999")
        assert isinstance(await press(pilot, "ctrl+s"), Tell)


# Files of one's own


async def test_duplicate_rename_export_and_delete(ready_draft: Callable[..., Draft], home: Path) -> None:
    ready_draft(step="adapter")
    async with make_app().run_test(size=SIZE) as pilot:
        screen = await open_browser(pilot)
        await go_to(pilot, "quick_test")
        assert isinstance(await press(pilot, "d"), AskText)
        await answer(pilot, "swift")
        await settle(pilot)
        assert presets.find("swift").values == presets.find("quick_test").values
        assert screen.listing.current is not None
        assert screen.listing.current.name == "swift"
        await press(pilot, "m")
        await answer(pilot, "swifter")
        await settle(pilot)
        assert not (paths.user_presets_dir() / "swift.toml").exists()
        assert isinstance(await press(pilot, "x"), AskPath)
        await answer(pilot, "out.toml")
        await settle(pilot)
        assert presets.read(home / "out.toml").values == presets.find("swifter").values
        (home / "out.toml").write_text("precious")
        await press(pilot, "x")
        assert isinstance(await answer(pilot, "out.toml"), TypeWord)
        await press(pilot, "escape")
        await settle(pilot)
        assert (home / "out.toml").read_text() == "precious"
        await press(pilot, "x")
        assert await answer(pilot, "out.json") is screen
        assert '"rank": 16' in (home / "out.json").read_text()
        assert isinstance(await press(pilot, "D"), TypeWord)
        await answer(pilot, "yes")
        await press(pilot, "escape")
        assert (paths.user_presets_dir() / "swifter.toml").exists()
        await press(pilot, "D")
        await answer(pilot, "swifter")
        await settle(pilot)
        assert not (paths.user_presets_dir() / "swifter.toml").exists()
        assert "swifter" not in [item.name for item in screen.listing.items]


async def test_broken_files_are_listed_wrong_ones_checked_and_shipped_ones_stay(
    ready_draft: Callable[..., Draft],
) -> None:
    broken = paths.user_presets_dir() / "odd.toml"
    broken.write_text("[adapter]\nrank = 'many'\n")
    presets.save("late", {"train.best_after": 500, "train.epochs": 20})
    ready_draft(step="adapter")
    async with make_app().run_test(size=SIZE) as pilot:
        screen = await open_browser(pilot)
        await go_to(pilot, "odd")
        assert "cannot be used" in text_of(pilot, "presets")
        assert "line 2" in text_of(pilot, "preview")
        assert isinstance(await press(pilot, "v"), Paper)
        told = await press(pilot, "escape", "e")
        assert isinstance(told, Tell)
        assert "editor" in told._title
        await press(pilot, "escape", "enter", "d", "x")
        assert pilot.app.screen is screen
        await press(pilot, "D")
        await answer(pilot, "odd")
        await settle(pilot)
        assert not broken.exists()
        await go_to(pilot, "late")
        paper = await press(pilot, "v")
        assert isinstance(paper, Paper)
        assert "train.best_after" in paper.plain
        await press(pilot, "escape")
        await go_to(pilot, "recommended")
        for key in ("D", "m", "e"):
            told = await press(pilot, key)
            assert isinstance(told, Tell)
            assert "d makes a copy" in told._hint
            await press(pilot, "escape")


# Files of others

OLD = '{"rank": 24, "alpha": 48, "learning_rate": 5e-5, "no_such_key": 1}'


async def test_an_import_shows_every_key_before_it_is_taken(ready_draft: Callable[..., Draft], home: Path) -> None:
    (home / "old.json").write_text(OLD)
    ready_draft(step="adapter")
    async with make_app().run_test(size=SIZE) as pilot:
        await open_browser(pilot)
        await press(pilot, "i")
        report = await answer(pilot, "old.json")
        assert isinstance(report, ShowImport)
        assert "no_such_key" in report.lines()[0].plain
        assert draft(pilot).value("adapter.rank") == 32
        await press(pilot, "y")
        await settle(pilot)
        assert draft(pilot).value("adapter.rank") == 24
        await pilot.press("ctrl+y")
        assert draft(pilot).value("adapter.rank") == 32
        screen = await open_browser(pilot)
        await press(pilot, "o")
        await answer(pilot, "old.json")
        assert isinstance(await press(pilot, "s"), AskText)
        await answer(pilot, "from_old")
        await settle(pilot)
        assert presets.find("from_old").values["adapter.rank"] == 24
        assert screen.listing.current is not None
        assert screen.listing.current.name == "from_old"
        assert draft(pilot).value("adapter.rank") == 32


async def test_a_path_is_listed_and_pasted_settings_are_imported(ready_draft: Callable[..., Draft], home: Path) -> None:
    (home / "far").mkdir()
    (home / "far/away.toml").write_text("[adapter]\nrank = 48\n")
    ready_draft(step="adapter")
    async with make_app().run_test(size=SIZE) as pilot:
        screen = await open_browser(pilot)
        dialog = await press(pilot, "o")
        dialog.query_one(Input).value = "fa"
        await press(pilot, "tab")
        assert dialog.query_one(Input).value == "far/"
        await answer(pilot, "far/away.toml")
        await settle(pilot)
        assert screen.listing.current is not None
        assert (screen.listing.current.name, screen.listing.current.group) == ("away", "Opened by path")
        screen.post_message(events.Paste("train --rank 12 --alpha 24 \\\r --learning-rate 3e-4\r"))
        report = await press(pilot, "ctrl+l")
        assert isinstance(report, ShowImport)
        assert report.summary == "3 taken"
        await press(pilot, "escape", "enter")
        await settle(pilot)
        assert draft(pilot).value("adapter.rank") == 48
