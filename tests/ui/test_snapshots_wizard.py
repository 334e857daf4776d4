"""Pictures of every page and dialog of the wizard, at home sizes and in every look."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from textual.app import App
from textual.pilot import Pilot

from sidestep_tui.launch import discover
from sidestep_tui.schema import drafts
from sidestep_tui.schema.draft import Draft
from sidestep_tui.ui.dialogs.confirm import Choose, Confirm, Tell
from sidestep_tui.ui.dialogs.typed import TypeWord
from sidestep_tui.ui.forms.panes import StepRail
from sidestep_tui.ui.forms.rows import ActionRow
from sidestep_tui.ui.screens.wizard.screen import fresh_draft
from sidestep_tui.ui.screens.wizard.steps import STEP_IDS
from tests.ui.conftest import GIB, GPU_12, make_app, settle

SnapCompare = Callable[..., bool]
SIZES = [pytest.param((80, 24), id="80x24"), pytest.param((120, 40), id="120x40")]


def after(*keys: str, then: Callable[[App[Any]], object] | None = None) -> Callable[[Pilot[Any]], Awaitable[None]]:
    """Settle, press keys one after the other, do something with the app, settle."""

    async def steps(pilot: Pilot[Any]) -> None:
        await settle(pilot)
        for key in keys:
            await pilot.press(key)
            await pilot.pause()
        if then is not None:
            then(pilot.app)
        await pilot.pause()

    return steps


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("step", STEP_IDS)
def test_page(snap_compare: SnapCompare, ready_draft: Callable[..., Draft], step: str, size: tuple[int, int]) -> None:
    ready_draft(step=step, adapter__rank="48", optim__lr="2e-4")
    assert snap_compare(make_app(), terminal_size=size, run_before=after())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("step", ["adapter", "optim"])
def test_page_of_the_expert(
    snap_compare: SnapCompare, ready_draft: Callable[..., Draft], step: str, size: tuple[int, int]
) -> None:
    ready_draft(step=step, level="expert")
    assert snap_compare(make_app(), terminal_size=size, run_before=after("end"))


def test_first_visit_without_anything(snap_compare: SnapCompare, machine: SimpleNamespace) -> None:
    machine.gpus = []
    assert snap_compare(make_app(), terminal_size=(80, 24), run_before=after())


@pytest.mark.parametrize("step", ["model", "data"])
def test_what_was_used_last_is_offered(snap_compare: SnapCompare, places: Path, step: str) -> None:
    discover.remember(model=places / "checkpoints" / "acestep-v15-turbo", dataset=places / "songs")
    draft = fresh_draft()
    draft.step = step
    drafts.save(draft, 1.0)
    assert snap_compare(make_app(), terminal_size=(80, 24), run_before=after())


@pytest.mark.parametrize("size", SIZES)
def test_what_has_no_effect_is_grey(
    snap_compare: SnapCompare, ready_draft: Callable[..., Draft], size: tuple[int, int]
) -> None:
    ready_draft(step="adapter", field="adapter.alpha", level="advanced", adapter__kind="lokr")
    assert snap_compare(make_app(), terminal_size=size, run_before=after())


def test_advice_is_shown_on_its_field(snap_compare: SnapCompare, ready_draft: Callable[..., Draft]) -> None:
    ready_draft(step="optim", field="optim.schedule", level="advanced", optim__optimizer="prodigy")
    assert snap_compare(make_app(), terminal_size=(80, 24), run_before=after())


def test_errors_are_shown_where_they_are(snap_compare: SnapCompare, ready_draft: Callable[..., Draft]) -> None:
    ready_draft(step="adapter", field="adapter.rank", adapter__rank="9999", adapter__dropout="lots")
    assert snap_compare(make_app(), terminal_size=(80, 24), run_before=after())


def test_wrong_folders_say_so(snap_compare: SnapCompare, ready_draft: Callable[..., Draft]) -> None:
    ready_draft(step="data", data__path="nowhere", model__path="checkpoints/vae")
    assert snap_compare(make_app(), terminal_size=(80, 24), run_before=after())


def test_folders_are_offered_while_typing(
    snap_compare: SnapCompare, ready_draft: Callable[..., Draft], home: Path
) -> None:
    for name in ("songs_live", "songs_studio"):
        (home / name).mkdir()
    ready_draft(step="data", field="data.path", data__path="so")
    assert snap_compare(make_app(), terminal_size=(80, 24), run_before=after())


def test_memory_without_a_gpu(
    snap_compare: SnapCompare, ready_draft: Callable[..., Draft], machine: SimpleNamespace
) -> None:
    machine.gpus = []
    ready_draft(step="memory")
    assert snap_compare(make_app(), terminal_size=(80, 24), run_before=after())


def test_memory_that_does_not_fit(
    snap_compare: SnapCompare, ready_draft: Callable[..., Draft], machine: SimpleNamespace
) -> None:
    small = GPU_12.__class__(1, "GPU-1", "NVIDIA GTX 1070", 8 * GIB, GIB, 7 * GIB, 0, 40, 10.0, 150.0)
    machine.gpus = [small]
    ready_draft(step="memory", train__batch_size="4", memory__gradient_checkpointing="false")
    focus_profile = after(then=lambda app: app.screen.query_one("#profile-8", ActionRow).focus())
    assert snap_compare(make_app(), terminal_size=(80, 24), run_before=focus_profile)


def test_review_with_trouble(snap_compare: SnapCompare, ready_draft: Callable[..., Draft]) -> None:
    ready_draft(step="review", data__path="nowhere", train__best_after="500", adapter__rank="256")
    assert snap_compare(make_app(), terminal_size=(120, 40), run_before=after("down", "down", "down", "down"))


def test_rail_in_focus(snap_compare: SnapCompare, ready_draft: Callable[..., Draft]) -> None:
    ready_draft(step="adapter")
    focus_rail = after(then=lambda app: app.screen.query_one(StepRail).focus())
    assert snap_compare(make_app(), terminal_size=(80, 24), run_before=focus_rail)


@pytest.mark.parametrize("size", [pytest.param((60, 18), id="60x18"), pytest.param((59, 18), id="59x18")])
def test_smallest_windows(snap_compare: SnapCompare, ready_draft: Callable[..., Draft], size: tuple[int, int]) -> None:
    ready_draft(step="adapter")
    assert snap_compare(make_app(), terminal_size=size, run_before=after())


# Looks


def test_ascii_only(snap_compare: SnapCompare, ready_draft: Callable[..., Draft]) -> None:
    ready_draft(step="memory")
    assert snap_compare(make_app(ascii_only=True), terminal_size=(80, 24), run_before=after())


# Dialogs


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("key", ["f1", "ctrl+s", "slash", "ctrl+o"], ids=["help", "save", "find", "jump"])
def test_dialog(snap_compare: SnapCompare, ready_draft: Callable[..., Draft], key: str, size: tuple[int, int]) -> None:
    ready_draft(step="adapter", field="adapter.rank")
    assert snap_compare(make_app(), terminal_size=size, run_before=after(key))


@pytest.mark.parametrize("size", SIZES)
def test_palette(snap_compare: SnapCompare, ready_draft: Callable[..., Draft], size: tuple[int, int]) -> None:
    ready_draft(step="adapter")
    assert snap_compare(make_app(), terminal_size=size, run_before=after("ctrl+p"))


_QUESTIONS = {
    "confirm": lambda: Confirm("Stop the run?", "It saves a checkpoint at step 4,213, then exits.", "Stop and save"),
    "choose": lambda: Choose(
        "Quit",
        "drums_v3 is training.",
        [("detach", "d", "Detach"), ("stop", "X", "Stop and save"), ("no", "n", "Cancel")],
    ),
    "tell": lambda: Tell("The engine ended at once.", "It ran out of memory.", "Choose a smaller profile."),
    "word": lambda: TypeWord("Abort the run?", "Everything since step 4,000 is lost.", "abort"),
}


@pytest.mark.parametrize("question", list(_QUESTIONS))
def test_question(snap_compare: SnapCompare, ready_draft: Callable[..., Draft], question: str) -> None:
    ready_draft(step="adapter")
    ask = after(then=lambda app: app.push_screen(_QUESTIONS[question]()))
    assert snap_compare(make_app(), terminal_size=(80, 24), run_before=ask)
