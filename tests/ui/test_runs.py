"""The list of runs: what it says, how it is walked, and what its keys do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from sidestep_tui.core.errors import RunError
from sidestep_tui.engine.fake_history import FakeRun
from sidestep_tui.protocol import registry
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.schema import drafts
from sidestep_tui.ui.dialogs.confirm import Tell
from sidestep_tui.ui.dialogs.text import AskText
from sidestep_tui.ui.screens.dashboard.screen import DashboardScreen
from sidestep_tui.ui.screens.runs.columns import age
from sidestep_tui.ui.screens.runs.screen import RunsScreen
from sidestep_tui.ui.screens.wizard.screen import fresh_draft
from sidestep_tui.ui.widgets.rows import Rows
from tests.ui.watching import NOW, SIZE, app_on, make_run, until, utc

__all__ = ["make_run", "utc"]
pytestmark = pytest.mark.usefixtures("utc")
MakeRun = Callable[..., FakeRun]


@pytest.fixture
def some_runs(make_run: MakeRun) -> dict[str, FakeRun]:
    """One run of each kind that differs in the list, all registered."""
    runs = {}
    for scenario in ("live", "crashed", "diverged", "finished"):
        runs[scenario] = make_run(scenario, f"run_{scenario}", steps=400)
        registry.register(runs[scenario].run_dir)
    return runs


async def listed(pilot: Pilot[Any]) -> RunsScreen:
    screen = pilot.app.screen
    assert isinstance(screen, RunsScreen)
    await until(pilot, lambda: screen.looked, "the list")
    await pilot.pause()
    return screen


def lines(screen: RunsScreen) -> list[str]:
    return screen.query_one("#runs", Rows).plain.splitlines()


async def test_each_run_is_told_in_a_word_and_numbers(some_runs: dict[str, FakeRun]) -> None:
    async with app_on(None).run_test(size=SIZE) as pilot:
        screen = await listed(pilot)
        shown = "\n".join(lines(screen))
        for words in ("● training", "✕ died", "✕ diverged", "✓ finished", "248/400", "400/400", "NaN", "lora 64"):
            assert words in shown
        assert lines(screen)[0].startswith("  ● training")
        assert "4 runs, 1 alive" in screen.query_one("#heading", Rows).plain


async def test_columns_stand_under_their_names(some_runs: dict[str, FakeRun]) -> None:
    async with app_on(None).run_test(size=(80, 24)) as pilot:
        screen = await listed(pilot)
        title = screen.query_one("#heading", Rows).plain.splitlines()[-1]
        for line in lines(screen):
            assert line.index("run_") == title.index("name")
            assert line.index("/400") + 4 == title.index("step") + 4
            assert len(line) <= 80


async def test_enter_opens_the_run_under_the_bar(some_runs: dict[str, FakeRun]) -> None:
    async with app_on(None).run_test(size=SIZE) as pilot:
        screen = await listed(pilot)
        await pilot.press("G")
        assert screen.selected is not None
        wanted = screen.selected.key
        assert wanted == screen.listing.shown[-1].key
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, DashboardScreen), "the dashboard")
        assert isinstance(pilot.app.screen, DashboardScreen)
        assert str(pilot.app.screen.run_dir.path) == wanted


async def test_the_bar_stays_on_its_run_when_the_list_changes(some_runs: dict[str, FakeRun], make_run: MakeRun) -> None:
    async with app_on(None).run_test(size=SIZE) as pilot:
        screen = await listed(pilot)
        await pilot.press("j", "j")
        assert screen.selected is not None
        key = screen.selected.key
        registry.register(make_run("paused", "another").run_dir)
        await pilot.press("r")
        await until(pilot, lambda: len(screen.listing.entries) == 5, "the new run")
        assert screen.selected is not None
        assert screen.selected.key == key


async def test_a_list_longer_than_the_screen_scrolls(make_run: MakeRun) -> None:
    for number in range(30):
        registry.register(make_run("finished", f"run_{number:02d}", steps=3).run_dir)
    async with app_on(None).run_test(size=(80, 24)) as pilot:
        screen = await listed(pilot)
        first = screen.listing.shown[0].title
        await pilot.press("G")
        shown = "\n".join(lines(screen))
        assert screen.listing.shown[-1].title in shown
        assert first not in shown
        await pilot.press("g")
        assert first in "\n".join(lines(screen))


async def test_the_filter_narrows_and_escape_clears_it(some_runs: dict[str, FakeRun]) -> None:
    async with app_on(None).run_test(size=SIZE) as pilot:
        screen = await listed(pilot)
        await pilot.press("slash", *"diver", "enter")
        await pilot.pause()
        assert [entry.title for entry in screen.listing.shown] == ["run_diverged"]
        assert len(lines(screen)) == 1
        await pilot.press("escape")
        await pilot.pause()
        assert len(lines(screen)) == 4
        await pilot.press("slash", *"no such run", "enter")
        await pilot.pause()
        assert "Nothing matches" in "\n".join(lines(screen))


async def test_a_run_is_opened_by_its_path(make_run: MakeRun) -> None:
    run = make_run("finished", steps=40)
    async with app_on(None).run_test(size=SIZE) as pilot:
        await listed(pilot)
        await pilot.press("o")
        await until(pilot, lambda: isinstance(pilot.app.screen, AskText), "the question")
        await pilot.press(*"nowhere", "enter")
        assert isinstance(pilot.app.screen, AskText)
        for _ in "nowhere":
            await pilot.press("backspace")
        await pilot.press(*str(run.path), "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, DashboardScreen), "the dashboard")
        await until(pilot, lambda: [item.name for item in registry.known_runs()] == ["drums_v3"], "the run in the list")


async def test_resume_is_for_runs_that_are_over(
    some_runs: dict[str, FakeRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    resumed: list[RunDir] = []
    monkeypatch.setattr("sidestep_tui.launch.start.resume", resumed.append)
    async with app_on(None).run_test(size=SIZE) as pilot:
        screen = await listed(pilot)
        possible = {}
        for entry in screen.listing.shown:
            screen.listing.current_key = entry.key
            possible[entry.title] = screen.check_action("resume", ())
        assert possible == {"run_live": None, "run_crashed": True, "run_diverged": True, "run_finished": True}
        screen.listing.current_key = str(some_runs["crashed"].path.resolve())
        await pilot.press("R")
        await until(pilot, lambda: isinstance(pilot.app.screen, DashboardScreen), "the dashboard")
        assert [run.path.name for run in resumed] == ["run_crashed"]


async def test_a_resume_that_fails_says_why(some_runs: dict[str, FakeRun], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(run_dir: RunDir) -> None:
        raise RunError("The model is gone.", "There is no folder /models.", "Put it back.")

    monkeypatch.setattr("sidestep_tui.launch.start.resume", refuse)
    async with app_on(None).run_test(size=SIZE) as pilot:
        screen = await listed(pilot)
        screen.listing.current_key = str(some_runs["crashed"].path.resolve())
        await pilot.press("R")
        await until(pilot, lambda: isinstance(pilot.app.screen, Tell), "the explanation")


async def test_drafts_are_listed_after_the_runs_and_open_in_the_wizard(some_runs: dict[str, FakeRun]) -> None:
    draft = fresh_draft("vram_12gb")
    draft.set("output.name", "half_done")
    drafts.save(draft, NOW - 7200)
    async with app_on(None).run_test(size=SIZE) as pilot:
        screen = await listed(pilot)
        assert "draft" in lines(screen)[-1]
        assert "half_done" in lines(screen)[-1]
        assert "2 h ago" in lines(screen)[-1]
        await pilot.press("G", "enter")
        await until(pilot, lambda: pilot.app.current_mode == "wizard", "the wizard")


async def test_an_empty_list_explains_the_first_step() -> None:
    async with app_on(None).run_test(size=(80, 24)) as pilot:
        screen = await listed(pilot)
        shown = "\n".join(lines(screen))
        assert "No runs yet." in shown
        assert "sidestep-tui demo" in shown
        assert "…" not in shown
        await pilot.press("n")
        await until(pilot, lambda: pilot.app.current_mode == "wizard", "the wizard")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "just now"), (59, "just now"), (60, "1 m ago"), (7199, "1 h ago"), (86400 * 3, "3 d ago"), (-5, "just now")],
)
def test_ages_have_one_unit(seconds: float, words: str) -> None:
    assert age(NOW - seconds, NOW) == words


def test_an_unknown_age_is_a_dash(tmp_path: Path) -> None:
    assert age(None, NOW) == "–"
