"""The memory page offers the GPUs that are there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

from sidestep_tui.schema.draft import Draft
from sidestep_tui.ui.forms.rows import ActionRow
from sidestep_tui.ui.screens.wizard.page import RowList
from sidestep_tui.ui.screens.wizard.screen import WizardScreen
from tests.ui.conftest import GPU_12, make_app, settle
from tests.ui.watching import until


async def test_several_gpus_are_offered_by_name_and_together(
    ready_draft: Callable[..., Draft], machine: SimpleNamespace
) -> None:
    machine.gpus = [GPU_12, replace(GPU_12, index=1, uuid="GPU-1", name="NVIDIA A100", free=GPU_12.free // 2)]
    ready_draft(step="memory")
    async with make_app().run_test(size=(80, 40)) as pilot:
        await settle(pilot)
        screen = pilot.app.screen
        assert isinstance(screen, WizardScreen)
        session = screen.session
        await until(pilot, lambda: len(screen.query("#gpus ActionRow")) == 4, "four choices")
        await until(pilot, lambda: session.training_songs is not None, "the songs")
        rows = list(screen.query_one("#gpus", RowList).query(ActionRow))
        said = [row.render().plain for row in rows]
        for words, line in zip(("auto", "NVIDIA RTX 3060", "NVIDIA A100", "all 2 GPUs"), said, strict=True):
            assert words in line
        rows[2].focus()
        await pilot.press("enter")
        assert session.settings.memory.device == "cuda:1"
        steps = session.rule_facts().steps_per_epoch
        rows[3].focus()
        await pilot.press("enter")
        assert session.settings.memory.device == "all"
        assert session.processes == 2
        assert session.device is not None
        assert session.device.index == 1, "the fuller of the two decides what fits"
        assert steps is not None
        assert session.rule_facts().steps_per_epoch == -(-steps // 2)


async def test_one_gpu_is_no_choice(ready_draft: Callable[..., Draft]) -> None:
    ready_draft(step="memory")
    async with make_app().run_test(size=(80, 40)) as pilot:
        await settle(pilot)
        assert len(pilot.app.screen.query("#gpus ActionRow")) == 0
