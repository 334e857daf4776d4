"""Pictures of the browser of presets and of its questions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from sidestep_tui.core import paths
from sidestep_tui.schema import presets
from sidestep_tui.schema.draft import Draft
from tests.ui.conftest import make_app, settle

SnapCompare = Callable[..., bool]
SIZES = [pytest.param((80, 24), id="80x24"), pytest.param((120, 40), id="120x40"), pytest.param((60, 18), id="60x18")]


@pytest.fixture
def draft(ready_draft: Callable[..., Draft]) -> Draft:
    """A draft with two edits, and presets of one's own, of which one is broken."""
    presets.save("drums_12gb", {"adapter.rank": 24, "optim.lr": 2e-4}, "When: dry drums.", description="Dry drums.")
    (paths.user_presets_dir() / "odd.toml").write_text('[adapter]\nrank = "many"\n\n[optim]\nlearning_rat = 1e-4\n')
    return ready_draft(step="adapter", adapter__rank="48", train__epochs="60")


def after(*keys: str, answer: str = "") -> Callable[[Pilot[Any]], Awaitable[None]]:
    """Open the browser, press keys one by one, and answer the question that comes of it."""

    async def steps(pilot: Pilot[Any]) -> None:
        await settle(pilot)
        await pilot.press("ctrl+f")
        await settle(pilot)
        for key in keys:
            await pilot.press(key)
            await pilot.pause()
        if answer:
            pilot.app.screen.query_one(Input).value = answer
            await pilot.press("enter")
        await pilot.pause()
        await pilot.pause()

    return steps


@pytest.mark.parametrize("size", SIZES)
def test_list(snap_compare: SnapCompare, draft: Draft, size: tuple[int, int]) -> None:
    assert snap_compare(make_app(), terminal_size=size, run_before=after("down"))


@pytest.mark.parametrize("size", SIZES)
def test_reading(snap_compare: SnapCompare, draft: Draft, size: tuple[int, int]) -> None:
    assert snap_compare(make_app(), terminal_size=size, run_before=after("down", "l"))


@pytest.mark.parametrize(
    ("keys", "answer"),
    [
        pytest.param(("g", "down"), "", id="broken"),
        pytest.param(("slash", *"adamw8"), "", id="filter"),
        pytest.param(("slash", *"nothing"), "", id="nothing-found"),
        pytest.param(("down", "enter"), "", id="keep-edits"),
        pytest.param(("s",), "", id="save"),
        pytest.param(("g", "D"), "", id="delete"),
        pytest.param(("g", "down", "v"), "", id="check"),
        pytest.param(("i",), "old.json", id="import"),
    ],
)
def test_question(snap_compare: SnapCompare, draft: Draft, home: Path, keys: tuple[str, ...], answer: str) -> None:
    (home / "old.json").write_text('{"rank": 24, "alpha": "x", "learning_rate": 5e-5, "no_such_key": 1}')
    assert snap_compare(make_app(), terminal_size=(80, 24), run_before=after(*keys, answer=answer))


def test_ascii_only(snap_compare: SnapCompare, draft: Draft) -> None:
    assert snap_compare(make_app(ascii_only=True), terminal_size=(80, 24), run_before=after("down"))
