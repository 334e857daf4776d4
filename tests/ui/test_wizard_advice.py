"""What has no effect is grey and passed by; what the rules object to is put right by a key, and taken back by one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

from textual.pilot import Pilot

from sidestep_tui.dataset.editing import own_file
from sidestep_tui.schema import drafts
from sidestep_tui.schema.draft import Draft
from sidestep_tui.schema.layers import Layer
from sidestep_tui.ui.forms.panes import HelpPane
from sidestep_tui.ui.forms.rows import FieldRow
from sidestep_tui.ui.screens.wizard.screen import WizardScreen
from tests.ui.conftest import make_app, settle
from tests.ui.watching import until

SIZE = (120, 40)


def wizard(pilot: Pilot[None]) -> WizardScreen:
    return next(screen for screen in pilot.app.screen_stack if isinstance(screen, WizardScreen))


def focused(pilot: Pilot[None]) -> str:
    row = pilot.app.focused
    return row.spec.path if isinstance(row, FieldRow) else ""


def shown(pilot: Pilot[None], path: str) -> str:
    page = wizard(pilot).page
    assert page is not None
    row = page.row_of(path)
    assert row is not None
    return str(row.render())


def help_text(pilot: Pilot[None]) -> str:
    return str(wizard(pilot).query_one(HelpPane).build())


async def test_what_has_no_effect_says_why_and_is_passed_by(ready_draft: Callable[..., Draft]) -> None:
    ready_draft(step="adapter", field="adapter.kind", level="advanced", adapter__kind="lokr")
    async with make_app().run_test(size=SIZE) as pilot:
        await settle(pilot)
        assert "full matrix is on" in shown(pilot, "adapter.alpha")
        await pilot.press("enter")
        assert focused(pilot) == "adapter.lokr_factor", "rank, alpha and dropout are passed by"
        await pilot.press("up", "up")
        assert focused(pilot) == "adapter.alpha", "on purpose it can be reached"
        assert "No effect now: full matrix is on" in help_text(pilot)
        await pilot.press("down", "down", "down", "space")
        assert wizard(pilot).session.draft.value("adapter.lokr_full_matrix") is False
        assert "full matrix is on" not in shown(pilot, "adapter.rank")


async def test_advice_is_followed_by_one_key_on_its_field_and_taken_back_by_another(
    ready_draft: Callable[..., Draft],
) -> None:
    ready_draft(step="adapter", field="adapter.alpha", adapter__alpha="1")
    async with make_app().run_test(size=SIZE) as pilot:
        await settle(pilot)
        assert "F: Set alpha to 64" in shown(pilot, "adapter.alpha")
        assert "would learn little" in help_text(pilot)
        assert "F  Set alpha to 64" in help_text(pilot)
        await pilot.press("F")
        draft = wizard(pilot).session.draft
        assert draft.value("adapter.alpha") == 64
        assert "F  Set alpha" not in help_text(pilot)
        await pilot.press("u")
        assert draft.value("adapter.alpha") == 1
        await pilot.press("ctrl+underscore")
        assert draft.value("adapter.alpha") == 64


async def test_a_number_out_of_bounds_is_put_at_the_bound_by_the_same_key(ready_draft: Callable[..., Draft]) -> None:
    ready_draft(step="adapter", field="adapter.rank", adapter__rank="9999")
    async with make_app().run_test(size=SIZE) as pilot:
        await settle(pilot)
        assert "Set it to 512" in help_text(pilot)
        await pilot.press("F")
        assert wizard(pilot).session.draft.value("adapter.rank") == 512


async def test_nobody_judges_half_a_number(ready_draft: Callable[..., Draft]) -> None:
    ready_draft(step="adapter", field="adapter.alpha")
    async with make_app().run_test(size=SIZE) as pilot:
        await settle(pilot)
        before = help_text(pilot)
        await pilot.press("1")
        assert "Set alpha" not in shown(pilot, "adapter.alpha")
        assert help_text(pilot) == before
        await pilot.press("down", "up")
        assert "Set alpha" in shown(pilot, "adapter.alpha")


async def test_vim_keys_work_where_no_text_is_typed(ready_draft: Callable[..., Draft]) -> None:
    ready_draft(step="adapter", field="adapter.kind")
    async with make_app().run_test(size=SIZE) as pilot:
        await settle(pilot)
        await pilot.press("l")
        assert wizard(pilot).session.draft.value("adapter.kind") == "dora"
        await pilot.press("h", "j")
        assert wizard(pilot).session.draft.value("adapter.kind") == "lora"
        assert focused(pilot) == "adapter.rank"
        await pilot.press("G")
        assert focused(pilot) == "adapter.mlp"
        await pilot.press("g", "k")
        assert focused(pilot) == "adapter.kind"


async def test_a_preset_is_taken_back_like_any_edit(ready_draft: Callable[..., Draft]) -> None:
    ready_draft(step="adapter", field="adapter.rank")
    async with make_app().run_test(size=SIZE) as pilot:
        await settle(pilot)
        session = wizard(pilot).session
        session.draft.apply_layer(Layer("preset small", {"adapter.rank": 4}))
        session.changed()
        await pilot.press("u")
        assert (session.draft.base_name, session.draft.value("adapter.rank")) == ("preset vram_12gb", 32)
        assert any("Taken back: the preset" in notice.message for notice in pilot.app._notifications)
        await pilot.press("ctrl+underscore")
        assert session.draft.value("adapter.rank") == 4


async def test_the_same_key_as_in_the_songs_notes_what_name_txt_holds(
    ready_draft: Callable[..., Draft], home: Path
) -> None:
    ready_draft(step="data", field="data.crop_seconds")
    async with make_app().run_test(size=SIZE) as pilot:
        await settle(pilot)
        await pilot.press("ctrl+t")
        await settle(pilot)
        assert wizard(pilot).session.draft.value("data.txt_role") == "caption"
        assert own_file.read(home / "songs").txt_role == "caption"
        await pilot.press("ctrl+t", "ctrl+t")
        await settle(pilot)
        assert own_file.read(home / "songs").txt_role is None


async def test_two_wizards_on_one_draft_lose_nothing_and_say_so(
    ready_draft: Callable[..., Draft], machine: SimpleNamespace
) -> None:
    stored = ready_draft(step="adapter", field="adapter.rank")
    async with make_app().run_test(size=SIZE) as pilot:
        await settle(pilot)
        other = drafts.load(stored.id)
        other.set("adapter.rank", "7")
        drafts.save(other, 2.0)
        await pilot.press("8", "escape")
        await until(pilot, lambda: len(drafts.list_drafts()) == 2, "the copy")
        assert any("another window" in notice.message for notice in pilot.app._notifications)
        assert sorted(drafts.load(item.id).value("adapter.rank") for item in drafts.list_drafts()) == [7, 8]
