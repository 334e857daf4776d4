"""Pictures of the dashboard and the list of runs, in the two sizes that every screen is made for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from textual.pilot import Pilot

from sidestep_tui.core import env
from sidestep_tui.engine.fake_history import FakeRun
from sidestep_tui.ui.dialogs.confirm import Confirm
from sidestep_tui.ui.widgets.rows import Rows
from tests.ui.watching import SIZE, app_on, make_run, settled, until, utc

__all__ = ["make_run", "utc"]
pytestmark = pytest.mark.usefixtures("utc")

SIZES = [(80, 24), (120, 40)]
by_size = pytest.mark.parametrize("size", SIZES, ids=["80x24", "120x40"])
MakeRun = Callable[..., FakeRun]


async def read(pilot: Pilot[Any]) -> None:
    """Wait until the journal has been read and painted."""
    await settled(pilot)


@by_size
@pytest.mark.parametrize("scenario", ["live", "finished", "crashed", "diverged", "encoding", "paused"])
def test_dashboard(snap_compare: Any, make_run: MakeRun, scenario: str, size: tuple[int, int]) -> None:
    run = make_run(scenario, steps=2000)
    assert snap_compare(app_on(run.path), terminal_size=size, run_before=read)


@by_size
def test_dashboard_with_held_out_songs(snap_compare: Any, make_run: MakeRun, size: tuple[int, int]) -> None:
    run = make_run("finished", steps=2000, steps_per_epoch=100, held_out=2)
    assert snap_compare(app_on(run.path), terminal_size=size, run_before=read)


def test_dashboard_of_a_resumed_run_on_two_gpus(snap_compare: Any, make_run: MakeRun) -> None:
    run = make_run("resumed", steps=2000, gpus=2)
    assert snap_compare(app_on(run.path), terminal_size=(180, 50), run_before=read)


def test_dashboard_with_cursor_and_filter(snap_compare: Any, make_run: MakeRun) -> None:
    async def look(pilot: Pilot[Any]) -> None:
        await settled(pilot)
        await pilot.press("h", "h", "h", "slash", *"best")
        await pilot.pause()

    assert snap_compare(app_on(make_run("live", steps=2000).path), terminal_size=SIZE, run_before=look)


@by_size
@pytest.mark.parametrize("key", ["3", "6", "7"], ids=["machine", "songs", "time"])
def test_page(snap_compare: Any, make_run: MakeRun, key: str, size: tuple[int, int]) -> None:
    async def look(pilot: Pilot[Any]) -> None:
        screen = await settled(pilot)
        await pilot.press(key, *("z" if key == "3" and size == SIZE else ""))
        await until(pilot, lambda: screen.has_class("-zoom"), "the page")
        await pilot.pause()

    run = make_run("live", steps=2000, gpus=4, held_out=2, songs=14)
    assert snap_compare(app_on(run.path), terminal_size=size, run_before=look)


@by_size
def test_alerts(snap_compare: Any, make_run: MakeRun, size: tuple[int, int]) -> None:
    run = make_run("live", steps=2000, gpu_gib=23.0, disk_gib=1.0, gpu_heat=86)
    assert snap_compare(app_on(run.path), terminal_size=size, run_before=read)


@by_size
def test_information(snap_compare: Any, make_run: MakeRun, size: tuple[int, int]) -> None:
    async def look(pilot: Pilot[Any]) -> None:
        await settled(pilot)
        await pilot.press("i")
        await until(pilot, lambda: bool(pilot.app.screen.query_one("#settings", Rows).rows), "the page")
        await pilot.pause()

    assert snap_compare(app_on(make_run("finished", held_out=2).path), terminal_size=size, run_before=look)


def test_dashboard_in_ascii(snap_compare: Any, make_run: MakeRun) -> None:
    facts = env.terminal_facts({"TERM": "xterm", "LANG": "C"}, stdin_is_tty=True, stderr_is_tty=True, size=SIZE)
    assert snap_compare(app_on(make_run("live", steps=2000).path, facts=facts), terminal_size=SIZE, run_before=read)


def test_question_over_the_dashboard(snap_compare: Any, make_run: MakeRun) -> None:
    async def ask(pilot: Pilot[Any]) -> None:
        await settled(pilot)
        await pilot.press("X")
        await until(pilot, lambda: isinstance(pilot.app.screen, Confirm), "the question")
        await pilot.pause()

    assert snap_compare(app_on(make_run("live", steps=2000).path), terminal_size=(80, 24), run_before=ask)
