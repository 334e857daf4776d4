"""Pictures of the VRAM page: its end with the ladder and a measurement, another GPU, small windows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from textual.pilot import Pilot

from sidestep_tui.core.nvml import GpuProcess
from sidestep_tui.schema.draft import Draft
from sidestep_tui.ui.forms.rows import ActionRow
from sidestep_tui.ui.screens.wizard.screen import WizardScreen
from tests.ui.conftest import GIB, GPU_12, make_app, settle
from tests.ui.test_memory_page import ANSWER, answering
from tests.ui.test_snapshots_wizard import SnapCompare, after
from tests.ui.watching import until

SIZES = [pytest.param((80, 24), id="80x24"), pytest.param((120, 40), id="120x40"), pytest.param((60, 18), id="60x18")]


def focusing(place: str) -> Callable[..., object]:
    return lambda app: app.screen.query_one(place, ActionRow).focus()


@pytest.mark.parametrize("size", SIZES)
def test_the_end_with_a_measurement(
    snap_compare: SnapCompare,
    ready_draft: Callable[..., Draft],
    monkeypatch: pytest.MonkeyPatch,
    size: tuple[int, int],
) -> None:
    answering(monkeypatch, ANSWER)
    ready_draft(step="memory", train__batch_size="2")

    async def steps(pilot: Pilot[Any]) -> None:
        await after(then=focusing("#probe"))(pilot)
        await pilot.press("enter")
        screen = pilot.app.screen
        assert isinstance(screen, WizardScreen)
        await until(pilot, lambda: bool(screen.outlook.found), "the answer")
        await settle(pilot)

    assert snap_compare(make_app(), terminal_size=size, run_before=steps)


@pytest.mark.parametrize("size", SIZES)
def test_judged_by_another_gpu(
    snap_compare: SnapCompare, ready_draft: Callable[..., Draft], machine: SimpleNamespace, size: tuple[int, int]
) -> None:
    """On a machine of two GPUs, one of which somebody else uses."""
    others = (GpuProcess(7, "comfyui", 6 * GIB, ours=False),)
    busy = replace(GPU_12, index=1, uuid="GPU-1", free=5 * GIB, used=7 * GIB, processes=others)
    machine.gpus = [GPU_12, busy]
    ready_draft(step="memory")

    async def steps(pilot: Pilot[Any]) -> None:
        await after(then=focusing("#judge"))(pilot)
        await after("right", "right")(pilot)

    assert snap_compare(make_app(), terminal_size=size, run_before=steps)


def test_a_busy_gpu(snap_compare: SnapCompare, ready_draft: Callable[..., Draft], machine: SimpleNamespace) -> None:
    """What others hold stands at the end of the bar, and says who they are."""
    others = (GpuProcess(7, "comfyui", 6 * GIB, ours=False),)
    machine.gpus = [replace(GPU_12, free=5 * GIB, used=7 * GIB, processes=others)]
    ready_draft(step="memory")
    assert snap_compare(make_app(), terminal_size=(80, 24), run_before=after(then=focusing("#profile-12")))
