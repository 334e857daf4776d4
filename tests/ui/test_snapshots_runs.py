"""Pictures of the list of runs, its questions, and runs side by side, at every size that matters."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from sidestep_tui.core import env
from sidestep_tui.engine.fake_history import FakeRun
from sidestep_tui.launch import ledger, tidy
from sidestep_tui.protocol import registry
from sidestep_tui.schema import drafts, presets
from sidestep_tui.schema import run as run_file
from sidestep_tui.schema.draft import Draft
from sidestep_tui.schema.layers import Layer, flat_values, resolve
from sidestep_tui.ui.dialogs.one_of import OneOf
from sidestep_tui.ui.dialogs.typed import TypeWord
from sidestep_tui.ui.screens.compare.screen import CompareScreen
from sidestep_tui.ui.screens.runs.screen import RunsScreen
from tests.ui.watching import NOW, app_on, make_run, on_another_device, until, utc

__all__ = ["make_run", "utc"]
pytestmark = pytest.mark.usefixtures("utc")
MakeRun = Callable[..., FakeRun]
Steps = Callable[[Pilot[Any]], Awaitable[None]]
by_size = pytest.mark.parametrize(
    "size",
    [pytest.param((80, 24), id="80x24"), pytest.param((120, 40), id="120x40"), pytest.param((60, 18), id="60x18")],
)

RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "night_take": ("live", {"data.path": "/songs/night", "adapter.rank": 32, "model.path": "/m/acestep-v15-turbo"}),
    "drums_v4": (
        "paused",
        {"data.path": "/songs/drums", "adapter.rank": 128, "adapter.alpha": 256.0, "optim.lr": 5e-5},
    ),
    "drums_v3": ("finished", {"data.path": "/songs/drums", "optim.lr": 1e-4}),
    "bass_lokr": ("crashed", {"data.path": "/songs/bass", "adapter.kind": "lokr"}),
    "voices": ("diverged", {"data.path": "/songs/voices", "adapter.kind": "dora", "adapter.rank": 16}),
    "piano": ("stopped", {"data.path": "/songs/piano"}),
}


@pytest.fixture
def some_runs(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> dict[str, FakeRun]:
    """A run of each kind and a draft; sizes on disk that do not depend on this machine's name."""
    for module in (ledger, tidy):
        monkeypatch.setattr(module, "size_of", lambda path: (len(path.name) * 37 + 11) << 20)
    made = {}
    for place, (name, (scenario, values)) in enumerate(RUNS.items()):
        run = make_run(scenario, name, steps=400 + 300 * place, held_out=3 if name.startswith("drums") else 0)
        frozen = run_file.read_run(run.run_dir.run_toml)
        settings = resolve([Layer("all", flat_values(frozen.settings)), Layer("own", values)]).settings
        run_file.write_run(run.run_dir.run_toml, replace(frozen, settings=settings))
        registry.register(run.run_dir)
        made[name] = run
    draft = Draft(presets.find("vram_12gb").layers())
    draft.set("output.name", "half_done")
    drafts.save(draft, NOW - 7200)
    return made


async def listed(pilot: Pilot[Any]) -> RunsScreen:
    screen = pilot.app.screen
    assert isinstance(screen, RunsScreen)
    await until(
        pilot, lambda: screen.looked and all(e.row is None or e.row.size for e in screen.listing.entries), "sizes"
    )
    await pilot.pause()
    return screen


@by_size
def test_runs(snap_compare: Any, some_runs: dict[str, FakeRun], size: tuple[int, int]) -> None:
    async def look(pilot: Pilot[Any]) -> None:
        await listed(pilot)
        await pilot.press("j", "space", "space")
        await pilot.pause()

    assert snap_compare(app_on(None), terminal_size=size, run_before=look)


@by_size
def test_no_runs_yet(snap_compare: Any, size: tuple[int, int]) -> None:
    async def look(pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: pilot.app.screen.looked, "the list")  # type: ignore[attr-defined]
        await pilot.pause()

    assert snap_compare(app_on(None), terminal_size=size, run_before=look)


def test_a_wide_list_sorted_and_filtered(snap_compare: Any, some_runs: dict[str, FakeRun]) -> None:
    async def look(pilot: Pilot[Any]) -> None:
        await listed(pilot)
        await pilot.press("s", "s", "slash", *"-state:draft rank:>8 size:>1x")
        await pilot.pause()

    assert snap_compare(app_on(None), terminal_size=(200, 20), run_before=look)


def test_runs_in_ascii_with_one_that_is_away(snap_compare: Any, some_runs: dict[str, FakeRun], tmp_path: Path) -> None:
    registry.remember_folder(tmp_path / "runs")
    facts = env.terminal_facts({"TERM": "xterm", "LANG": "C"}, stdin_is_tty=True, stderr_is_tty=True, size=(100, 20))

    async def look(pilot: Pilot[Any]) -> None:
        screen = await listed(pilot)
        (tmp_path / "disk").mkdir()
        far = some_runs["piano"].path.rename(tmp_path / "disk" / "far")
        registry.register(registry.RunDir(far))
        far.rename(tmp_path / "unplugged")
        on_another_device()
        await pilot.press("r")
        await until(pilot, lambda: any(e.title == "far" for e in screen.listing.entries), "the one that is away")
        await pilot.press("greater_than_sign")
        await pilot.pause()

    assert snap_compare(app_on(None, facts=facts), terminal_size=(100, 20), run_before=look)


def typing(pilot: Pilot[Any]) -> bool:
    """Whether the question is there as a whole: the focus comes last."""
    return isinstance(pilot.app.focused, Input)


def asking(run: str, key: str, *, through: bool = False) -> Steps:
    """The question that a key asks about a run; `through` the first line of what it offers."""

    async def ask(pilot: Pilot[Any]) -> None:
        screen = await listed(pilot)
        screen.listing.current_key = next(e.key for e in screen.listing.entries if e.title == run)
        screen.repaint()
        await pilot.press(key)
        if through:
            await until(pilot, lambda: isinstance(pilot.app.screen, OneOf) and typing(pilot), "the choice")
            await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, TypeWord) and typing(pilot), "the question")
        await pilot.pause()
        await pilot.pause()

    return ask


def test_deleting_asks(snap_compare: Any, some_runs: dict[str, FakeRun]) -> None:
    (some_runs["drums_v3"].path / "notes.md").write_text("mine")
    (some_runs["drums_v3"].path / "run.lock").write_text("{}")
    assert snap_compare(app_on(None), terminal_size=(80, 24), run_before=asking("drums_v3", "D"))


def test_tidying_asks(snap_compare: Any, some_runs: dict[str, FakeRun]) -> None:
    assert snap_compare(app_on(None), terminal_size=(80, 24), run_before=asking("drums_v3", "T", through=True))


def comparing(*keys: str, runs: int = 2) -> Steps:
    """The first runs that have steps, side by side."""

    async def look(pilot: Pilot[Any]) -> None:
        screen = await listed(pilot)
        names = ["drums_v3", "drums_v4", "bass_lokr", "voices"][:runs]
        screen.listing.marks = [next(e.key for e in screen.listing.entries if e.title == name) for name in names]
        await pilot.press("equals_sign")
        await until(pilot, lambda: isinstance(pilot.app.screen, CompareScreen), "the comparison")
        compared = pilot.app.screen
        assert isinstance(compared, CompareScreen)
        await until(pilot, lambda: len(compared.sides) == runs, "the journals")
        await pilot.pause()
        await pilot.press(*keys)
        await pilot.pause()

    return look


@by_size
def test_two_runs_side_by_side(snap_compare: Any, some_runs: dict[str, FakeRun], size: tuple[int, int]) -> None:
    assert snap_compare(app_on(None), terminal_size=size, run_before=comparing())


def test_four_runs_by_minutes_with_a_cursor(snap_compare: Any, some_runs: dict[str, FakeRun]) -> None:
    keys = ("x", "x", "h", "H", "H", "H", "H", "H", "H")
    assert snap_compare(app_on(None), terminal_size=(120, 40), run_before=comparing(*keys, runs=4))


def test_held_out_losses_side_by_side(snap_compare: Any, some_runs: dict[str, FakeRun]) -> None:
    assert snap_compare(app_on(None), terminal_size=(100, 30), run_before=comparing("]", "end", runs=2))


def test_side_by_side_in_ascii(snap_compare: Any, some_runs: dict[str, FakeRun]) -> None:
    facts = env.terminal_facts({"TERM": "xterm", "LANG": "C"}, stdin_is_tty=True, stderr_is_tty=True, size=(80, 24))
    assert snap_compare(app_on(None, facts=facts), terminal_size=(80, 24), run_before=comparing("s", runs=3))
