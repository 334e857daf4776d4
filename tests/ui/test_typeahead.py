"""Keys that arrive in one piece do what they would do one by one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from textual import events
from textual.widgets import Input

from sidestep_tui.schema.draft import Draft
from sidestep_tui.ui.screens.wizard.screen import WizardScreen
from tests.ui.conftest import make_app

NAMED = {"\r": "enter", "\t": "tab", "\x0e": "ctrl+n", "\x10": "ctrl+p", "+": "plus", " ": "space"}


def burst(app: object, keys: list[str]) -> None:
    """Post keys as the driver does, without waiting for any of them."""
    for key in keys:
        name = NAMED.get(key, key)
        app.post_message(events.Key(name, key if len(key) == 1 else None))  # type: ignore[attr-defined]


async def until(pilot: object, condition: Callable[[], bool]) -> None:
    """Let the app work until something holds; its own test timeout ends a wait in vain."""
    for _ in range(200):
        if condition():
            return
        await pilot.pause(0.02)  # type: ignore[attr-defined]
    raise AssertionError("it never came about")


async def test_values_of_several_fields_typed_at_once_do_not_mix(ready_draft: Callable[..., Draft]) -> None:
    ready_draft(step="adapter", field="adapter.rank")
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        burst(app, ["1", "6", "\r", "3", "2", "\r", "0", ".", "2", "\r"])
        screen = app.screen
        assert isinstance(screen, WizardScreen)
        draft = screen.session.draft
        await until(pilot, lambda: draft.field == "adapter.attention")
        assert (draft.value("adapter.rank"), draft.value("adapter.alpha")) == (16, 32)
        assert draft.value("adapter.dropout") == 0.2


async def test_a_move_and_a_bump_at_once_hit_the_same_field(ready_draft: Callable[..., Draft]) -> None:
    ready_draft(step="adapter", field="adapter.kind")
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        burst(app, ["down", "+"])
        screen = app.screen
        assert isinstance(screen, WizardScreen)
        await until(pilot, lambda: screen.session.draft.value("adapter.rank") == 64)


async def test_keys_after_a_new_page_go_to_the_new_page(ready_draft: Callable[..., Draft]) -> None:
    ready_draft(step="data", field="data.path")
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        burst(app, ["\x0e", "down", "7", "\x0e", "down", "1"])
        screen = app.screen
        assert isinstance(screen, WizardScreen)
        draft = screen.session.draft
        await until(pilot, lambda: draft.text("optim.lr") == "1")
        assert draft.value("adapter.rank") == 7
        assert draft.text("data.path") == "songs"


@pytest.mark.parametrize("key", ["\x10", "/"])
async def test_what_is_typed_after_opening_a_search_goes_into_it(ready_draft: Callable[..., Draft], key: str) -> None:
    ready_draft(step="adapter", field="adapter.kind")
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        burst(app, ["slash" if key == "/" else key, *"warm"])
        await until(pilot, lambda: bool(app.screen.query(Input)) and app.screen.query_one(Input).value == "warm")


async def test_a_key_whose_widget_vanishes_does_not_block_the_next(ready_draft: Callable[..., Draft]) -> None:
    ready_draft(step="adapter", field="adapter.rank")
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        burst(app, ["f1", "escape", "escape", "f3", "f2"])
        await until(pilot, lambda: app.current_mode == "runs")
