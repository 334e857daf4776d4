"""The page of memory: judge by another GPU, climb the ladder, measure for real, and see what it all comes to."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import pytest
from textual.pilot import Pilot

from sidestep_tui.launch import forecast, measured, spawn
from sidestep_tui.schema.draft import Draft
from sidestep_tui.schema.pace import Measured
from sidestep_tui.ui.forms.rows import ActionRow, FieldRow
from sidestep_tui.ui.forms.session import FormSession
from sidestep_tui.ui.screens.wizard.memory import MemoryPage
from sidestep_tui.ui.screens.wizard.page import Note
from sidestep_tui.ui.screens.wizard.screen import WizardScreen
from tests.ui.conftest import GIB, GPU_12, make_app, settle
from tests.ui.watching import until

ANSWER = {
    "event": "result",
    "device": "cuda:0 (NVIDIA RTX 3060, bfloat16)",
    "recomputes": False,
    "peak": 7 * GIB,
    "peak_allocated": 6 * GIB,
    "estimated": 8 * GIB,
    "seconds_per_step": 0.5,
    "seconds_to_validate": 0.2,
    "seconds_to_save": 1.5,
    "difference": -0.125,
}
PHASE = {"event": "progress", "phase": "loading", "done": 0, "total": 0, "detail": ""}


def answering(monkeypatch: pytest.MonkeyPatch, *lines: dict[str, object], then: str = "") -> None:
    """Have the probe's process say these lines."""
    told = "\n".join(f"print(json.dumps({line!r}), flush=True)" for line in lines)
    program = f"import json, sys\nsys.stdin.readline()\n{told}\n{then}"
    monkeypatch.setattr(spawn, "python", lambda module: [sys.executable, "-c", program])


def page_of(pilot: Pilot[None]) -> MemoryPage:
    return pilot.app.screen.query_one(MemoryPage)


def verdict(pilot: Pilot[None]) -> str:
    return page_of(pilot).query_one("#verdict", Note).build().plain


def row(pilot: Pilot[None], name: str) -> ActionRow:
    return page_of(pilot).query_one(name, ActionRow)


def wizard(pilot: Pilot[None]) -> WizardScreen:
    screen = pilot.app.screen
    assert isinstance(screen, WizardScreen)
    return screen


def rung(pilot: Pilot[None], number: int) -> ActionRow:
    return list(page_of(pilot).query("#ladder ActionRow").results(ActionRow))[number]


async def press_on(pilot: Pilot[None], place: str | ActionRow, *keys: str) -> None:
    """Focus a row, then press."""
    (row(pilot, place) if isinstance(place, str) else place).focus()
    await pilot.press(*keys)
    await pilot.pause()


async def test_everything_goes_by_a_gpu_that_is_not_here_until_the_review(ready_draft: Callable[..., Draft]) -> None:
    ready_draft(step="memory")
    async with make_app().run_test(size=(80, 40)) as pilot:
        await settle(pilot)
        here = wizard(pilot).session.pace().total_seconds
        assert "of 12.0 GiB" in verdict(pilot)
        await press_on(pilot, "#judge", "right", "right", "right", "right")
        session = wizard(pilot).session
        assert session.device is not None
        assert session.device.name == "RTX 4090"
        assert "on RTX 4090: needs" in verdict(pilot)
        assert "of 24.0 GiB" in verdict(pilot)
        assert "as on RTX 4090" in pilot.app.screen.query_one("HelpPane").build().plain
        there = session.pace().total_seconds
        assert here is not None
        assert there is not None
        assert there < here / 3
        assert "its size" in row(pilot, "#profile-24").render().plain
        await press_on(pilot, "#probe", "enter")
        assert "not here to measure on" in page_of(pilot).query_one("#probed", Note).build().plain
        await pilot.press("f9")
        await settle(pilot)
        assert session.stand_in is None


async def test_a_rung_is_taken_by_enter_and_taken_back(ready_draft: Callable[..., Draft]) -> None:
    ready_draft(step="memory")
    async with make_app().run_test(size=(80, 40)) as pilot:
        await settle(pilot)
        session = wizard(pilot).session
        assert "●" in rung(pilot, 0).render().plain
        assert "grad checkpointing auto to on" in rung(pilot, 1).help_text
        await press_on(pilot, rung(pilot, 1), "enter")
        assert session.settings.memory.gradient_checkpointing == "on"
        assert "●" in rung(pilot, 1).render().plain
        assert "○" in rung(pilot, 0).render().plain
        assert "-30 %" in rung(pilot, 0).render().plain
        await pilot.press("ctrl+y")
        assert session.settings.memory.gradient_checkpointing == "auto"


async def test_a_run_that_has_ended_meanwhile_tells_how_fast_this_machine_is(
    ready_draft: Callable[..., Draft], monkeypatch: pytest.MonkeyPatch
) -> None:
    ready_draft(step="memory")
    async with make_app().run_test(size=(80, 40)) as pilot:
        await settle(pilot)
        session = wizard(pilot).session
        assert session.measured is None
        known = Measured("drums", 0.5, session.settings)
        monkeypatch.setattr(measured, "earlier", lambda device, shape: known)
        await pilot.press("f2")
        await settle(pilot)
        await pilot.press("f3")
        await until(pilot, lambda: session.measured is known, "the earlier run")
        assert session.pace().basis == "as measured in drums"


async def test_a_measurement_counts_as_long_as_what_it_depends_on_stays(
    ready_draft: Callable[..., Draft], monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, PHASE, ANSWER)
    ready_draft(step="memory")
    async with make_app().run_test(size=(80, 40)) as pilot:
        await settle(pilot)
        session = wizard(pilot).session
        await press_on(pilot, "#probe", "enter")
        await until(pilot, lambda: "took 7.7 of 12.0 GiB" in verdict(pilot), "the answer")
        assert "(8.3 estimated)" in verdict(pilot)
        assert "0.50 s, activations kept" in page_of(pilot).query_one("#probed", Note).build().plain
        assert session.pace().basis == "as measured in the probe"
        session.set("optim.lr", "3e-4")
        await pilot.pause()
        assert "took" in verdict(pilot), "the learning rate is nothing to memory"
        session.set("adapter.rank", "128")
        await pilot.pause()
        assert "needs" in verdict(pilot)
        session.undo()
        await pilot.pause()
        assert "took" in verdict(pilot)


async def test_a_measurement_is_stopped_by_the_key_that_began_it(
    ready_draft: Callable[..., Draft], monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, PHASE, then="sys.stdin.read()")
    ready_draft(step="memory")
    async with make_app().run_test(size=(80, 40)) as pilot:
        await settle(pilot)
        await pilot.press("m")
        await until(pilot, lambda: "loading the model" in row(pilot, "#probe").render().plain, "its first words")
        await pilot.press("enter")
        await until(pilot, lambda: "measure on the device" in row(pilot, "#probe").render().plain, "the end")
        assert page_of(pilot).query_one("#probed", Note).build().plain == ""


async def test_why_nothing_was_measured_is_said_there(
    ready_draft: Callable[..., Draft], monkeypatch: pytest.MonkeyPatch
) -> None:
    error = {
        "event": "error",
        "kind": "out_of_memory",
        "title": "It does not fit.",
        "message": "",
        "hint": "Take less.",
    }
    answering(monkeypatch, PHASE, error)
    ready_draft(step="memory")
    async with make_app().run_test(size=(80, 40)) as pilot:
        await settle(pilot)
        await press_on(pilot, "#probe", "enter")
        await until(pilot, lambda: wizard(pilot).outlook.problem is not None, "the refusal")
        await pilot.pause()
        assert "Take less." in page_of(pilot).query_one("#probed", Note).build().plain
        wizard(pilot).session.set("model.path", "nowhere")
        await settle(pilot)
        await until(pilot, lambda: wizard(pilot).session.model_problem is not None, "the missing model")
        await press_on(pilot, "#probe", "enter")
        assert "nowhere" in page_of(pilot).query_one("#probed", Note).build().plain


async def test_what_does_not_fit_is_answered_by_the_first_rung_that_does(
    ready_draft: Callable[..., Draft], machine: SimpleNamespace
) -> None:
    machine.gpus = [replace(GPU_12, free=7 * GIB)]
    ready_draft(step="memory", train__batch_size="2", memory__gradient_checkpointing="off")
    async with make_app().run_test(size=(80, 40)) as pilot:
        await settle(pilot)
        assert "fits when others leave" in verdict(pilot) or "does not fit" in verdict(pilot)
        proposed = [row for row in page_of(pilot).query("#ladder ActionRow") if "proposed" in row.render().plain]
        assert [row.render().plain.split()[1] for row in proposed] == ["recompute"]
        machine.gpus = [replace(GPU_12, free=2 * GIB)]
        wizard(pilot).session.machine_known(machine.gpus)
        await pilot.pause()
        assert "Nothing fits into 2.0 GiB" in page_of(pilot).query_one("#no-rung", Note).build().plain


async def test_a_disk_that_is_too_small_is_told_with_a_remedy(
    ready_draft: Callable[..., Draft], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=GIB, used=0, free=GIB // 2))
    ready_draft(step="memory", output__save_every_epochs="1", train__epochs="100")
    async with make_app().run_test(size=(80, 40)) as pilot:
        await settle(pilot)
        await until(pilot, lambda: wizard(pilot).session.free_disk is not None, "the disk")
        assert "too little" in page_of(pilot).query_one("#time-and-disk", Note).build().plain
        advice = wizard(pilot).session.advice_on("output.keep_last")
        assert advice is not None
        assert advice.fix


async def test_the_device_is_one_thing(ready_draft: Callable[..., Draft], machine: SimpleNamespace) -> None:
    """Lines to choose from, and the typed setting only where no line stands for its value."""

    def typed(pilot: Pilot[None]) -> FieldRow:
        found = page_of(pilot).row_of("memory.device")
        assert found is not None
        return found

    machine.gpus = [GPU_12, replace(GPU_12, index=1, uuid="GPU-1")]
    ready_draft(step="memory")
    async with make_app().run_test(size=(80, 40)) as pilot:
        await settle(pilot)
        await until(pilot, lambda: len(pilot.app.screen.query("#gpus ActionRow")) == 4, "the choices")
        assert not typed(pilot).display
        wizard(pilot).session.set("memory.device", "cuda:7")
        await pilot.pause()
        assert typed(pilot).display
        assert "no cuda:7 here" in verdict(pilot)
        await press_on(pilot, "#device-cuda-1", "enter")
        assert not typed(pilot).display


def test_the_frozen_base_follows_the_gpu_that_is_judged_by() -> None:
    """The large model does not fit into 8 GB in full, and goes back to full with this machine."""
    draft = Draft()
    draft.set("model.variant", "xl-base")
    session = FormSession(draft, lambda: None)
    session.machine_known([replace(GPU_12, total=24 * GIB, free=23 * GIB, name="NVIDIA GeForce RTX 3090")])
    assert session.settings.memory.base == "full"
    here = session.pace().seconds_per_step
    session.judge_by(forecast.stand_in("4060"))
    assert session.settings.memory.base == "int8"
    assert session.draft.origin("memory.base") == "hardware"
    there = session.pace().seconds_per_step
    assert here is not None
    assert there is not None
    assert there > 2 * here
    session.judge_by(None)
    assert session.settings.memory.base == "full"
