"""The table of all settings: found by words, edited in place, and one with the wizard."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from sidestep_tui.schema.draft import Draft
from sidestep_tui.schema.fields import all_fields
from sidestep_tui.ui.forms.session import FormSession
from sidestep_tui.ui.screens.settings.listing import Listing, matching
from sidestep_tui.ui.screens.settings.screen import SettingsScreen
from sidestep_tui.ui.screens.wizard.screen import WizardScreen
from tests.ui.conftest import make_app, settle
from tests.ui.test_forms import session_on


@pytest.fixture
def session() -> FormSession:
    return session_on()[0]


def found(query: str, session: FormSession) -> list[str]:
    return [spec.path for spec in matching(query, session)]


def test_a_setting_is_found_by_name_before_meaning(session: FormSession) -> None:
    assert found("learning rate", session)[0] == "optim.lr"
    assert "adapter.alpha" in found("learning rate", session)
    assert found("", session) == [spec.path for spec in all_fields()]
    assert found("nonsense word", session) == []


def test_settings_are_found_by_how_they_stand(session: FormSession) -> None:
    session.set("adapter.rank", "7")
    session.set("train.epochs", "many")
    assert found("from:yours", session) == ["adapter.rank", "train.epochs"]
    assert found("is:wrong", session) == ["train.epochs"]
    assert set(found("is:grey", session)) >= {"adapter.lokr_factor", "data.noise"}
    assert set(found("group:optim level:basic", session)) >= {"optim.lr", "optim.optimizer"}
    assert not {path for path in found("group:optim", session) if not path.startswith("optim.")}
    assert "adapter.rank" in found("is:changed rank", session)


def test_the_window_follows_the_bar_and_keeps_the_title_of_the_first(session: FormSession) -> None:
    listing = Listing()
    listing.show(matching("", session))
    assert (listing.lines[0].group, listing.bar, listing.window(10)) == ("model", 1, range(10))
    listing.move(8)
    before = listing.window(10)
    assert before[-1] == listing.bar
    listing.move(-2)
    assert listing.window(10) == before
    listing.move(-1000)
    assert listing.window(10) == range(10)
    listing.move(1000)
    assert listing.window(10)[-1] == len(listing.lines) - 1 == listing.bar


def test_the_bar_stays_on_its_setting_while_it_is_shown(session: FormSession) -> None:
    listing = Listing()
    listing.show(matching("", session))
    assert listing.go_to("adapter.rank")
    listing.show(matching("group:adapter", session))
    assert listing.spec is not None
    assert listing.spec.path == "adapter.rank"
    listing.show(matching("group:optim", session))
    assert listing.spec.path.startswith("optim.")
    listing.show([])
    assert (listing.spec, listing.bar, list(listing.window(5))) == (None, -1, [])


async def open_table(pilot: Pilot[Any]) -> SettingsScreen:
    await settle(pilot)
    await pilot.press("f6")
    await settle(pilot)
    screen = pilot.app.screen
    assert isinstance(screen, SettingsScreen)
    return screen


def under_bar(screen: SettingsScreen) -> str:
    spec = screen.listing.spec
    assert spec is not None
    if screen.bar.display:
        assert screen.bar.spec is spec
        assert (
            screen.table.build()
            .plain.splitlines()[screen.bar.region.y - screen.table.region.y]
            .startswith(f"▸ {spec.meta.label}")
        )
    return spec.path


async def test_a_setting_is_found_changed_and_taken_back_in_place(
    ready_draft: Callable[..., Draft], machine: SimpleNamespace
) -> None:
    ready_draft(step="adapter", field="adapter.rank")
    async with make_app().run_test(size=(80, 24)) as pilot:
        screen = await open_table(pilot)
        assert under_bar(screen) == "adapter.rank"
        await pilot.press(*"beta 2")
        assert under_bar(screen) == "optim.beta2"
        await pilot.press("enter", *"0.95")
        await pilot.pause()
        assert screen.session.draft.value("optim.beta2") == 0.95
        await pilot.press("down", "u")
        await pilot.pause()
        assert under_bar(screen) == "optim.beta2"
        assert screen.session.draft.origin("optim.beta2") != "yours"
        await pilot.press("up")
        assert isinstance(screen.focused, Input)
        await pilot.press("down", "escape")
        await settle(pilot)
        assert isinstance(pilot.app.screen, WizardScreen)
        assert pilot.app.screen.focused.id == "row-optim-beta2"  # type: ignore[union-attr]


async def test_every_kind_of_setting_takes_its_keys(
    ready_draft: Callable[..., Draft], machine: SimpleNamespace
) -> None:
    ready_draft()
    async with make_app().run_test(size=(120, 40)) as pilot:
        screen = await open_table(pilot)
        for path, keys, expected in (
            ("adapter.kind", ("right",), "dora"),
            ("adapter.mlp", ("space",), "false"),
            ("train.epochs", ("plus",), "150"),
            ("data.tag", tuple("u/q"), "u/q"),
            ("adapter.dropout", tuple("0.3"), "0.3"),
            ("adapter.dropout", ("ctrl+r",), screen.session.draft.text("adapter.dropout")),
        ):
            screen.listing.go_to(path)
            screen._to_the_rows()
            await pilot.pause()
            before = screen.session.draft.text(path)
            await pilot.press(*keys)
            await pilot.pause()
            text = screen.session.draft.text(path)
            assert text == expected or (path in ("adapter.mlp", "train.epochs") and text != before), path


async def test_words_that_find_nothing_say_so_and_leaving_them_keeps_the_place(
    ready_draft: Callable[..., Draft], machine: SimpleNamespace
) -> None:
    ready_draft(step="optim", field="optim.lr")
    async with make_app().run_test(size=(60, 18)) as pilot:
        screen = await open_table(pilot)
        await pilot.press(*"zzz", "enter")
        await pilot.pause()
        assert "No setting" in screen.table.build().plain
        assert isinstance(screen.focused, Input)
        await pilot.press("escape")
        await settle(pilot)
        assert pilot.app.screen.focused.id == "row-optim-lr"  # type: ignore[union-attr]
