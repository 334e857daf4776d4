"""The list of runs: what it says, how it is walked, and what its keys do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from sidestep_tui.core import paths
from sidestep_tui.core.errors import RunError
from sidestep_tui.engine.fake_history import FakeRun
from sidestep_tui.protocol import registry
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.schema import drafts, presets
from sidestep_tui.schema.draft import Draft
from sidestep_tui.schema.run import read_run
from sidestep_tui.ui.dialogs.confirm import Tell
from sidestep_tui.ui.dialogs.one_of import OneOf
from sidestep_tui.ui.dialogs.text import AskText
from sidestep_tui.ui.dialogs.typed import TypeWord
from sidestep_tui.ui.screens.compare.screen import CompareScreen
from sidestep_tui.ui.screens.dashboard.screen import DashboardScreen
from sidestep_tui.ui.screens.runs.columns import Order, age
from sidestep_tui.ui.screens.runs.entries import entry_of_run
from sidestep_tui.ui.screens.runs.screen import RunsListed, RunsScreen
from sidestep_tui.ui.widgets.rows import Rows
from tests.ui.watching import NOW, SIZE, Watch, app_on, make_run, on_another_device, until, utc

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
        pilot.app.screen.query_one(Input).value = str(run.path)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, DashboardScreen), "the dashboard")
        await until(pilot, lambda: [item.name for item in registry.known_runs()] == ["drums_v3"], "the run in the list")


async def test_resume_is_for_runs_that_are_over(some_runs: dict[str, FakeRun], monkeypatch: pytest.MonkeyPatch) -> None:
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
    draft = Draft(presets.find("vram_12gb").layers())
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


# Order, marks and folders


async def test_sorting_is_said_and_turned(some_runs: dict[str, FakeRun]) -> None:
    async with app_on(None).run_test(size=SIZE) as pilot:
        screen = await listed(pilot)
        await pilot.press("s", "s")
        assert [entry.title for entry in screen.listing.shown] == sorted(
            some_runs[key].run_dir.name for key in some_runs
        )
        assert "name▴" in screen.query_one("#heading", Rows).plain
        await pilot.press(">")
        assert "name▾" in screen.query_one("#heading", Rows).plain
        assert screen.listing.shown[0].title == "run_live"


async def test_the_order_comes_back_in_the_next_session(some_runs: dict[str, FakeRun]) -> None:
    for keys in (("s", "s", "greater_than_sign"), ()):
        async with app_on(None).run_test(size=SIZE) as pilot:
            screen = await listed(pilot)
            await pilot.press(*keys)
            await pilot.app.workers.wait_for_complete()
            assert screen.listing.order == Order("name", falling=True)
    (paths.state_dir() / "runs-order.json").write_text('{"by": "nonsense", "falling": 3}')
    async with app_on(None).run_test(size=SIZE) as pilot:
        assert (await listed(pilot)).listing.order == Order()


async def test_only_visible_rows_are_painted(make_run: MakeRun) -> None:
    """The list hands over as many rows as the window has, however many runs there are."""
    summaries = [make_run("finished", "one", steps=3)]
    registry.register(summaries[0].run_dir)
    async with app_on(None).run_test(size=(80, 24)) as pilot:
        screen = await listed(pilot)
        (row,) = [entry.row for entry in screen.listing.entries]
        assert row is not None
        many = [replace(row, path=row.path.parent / f"run_{number:04d}") for number in range(1000)]
        screen.post_message(RunsListed([entry_of_run(item) for item in many]))
        await until(pilot, lambda: len(screen.listing.entries) == 1000, "the long list")
        rows = screen.query_one("#runs", Rows)
        before = rows.repainted_rows
        await pilot.press("j")
        assert len(rows.rows) == rows.size.height
        assert rows.repainted_rows - before == 2
        await pilot.press("G")
        assert rows.repainted_rows - before <= 2 + rows.size.height


async def test_two_marked_runs_are_compared(some_runs: dict[str, FakeRun]) -> None:
    async with app_on(None).run_test(size=SIZE) as pilot:
        screen = await listed(pilot)
        assert screen.check_action("compare", ()) is None
        await pilot.press("space")
        assert "1 marked" in screen.query_one("#heading", Rows).plain
        assert screen.check_action("compare", ()) is True
        await pilot.press("space", "equals_sign")
        await until(pilot, lambda: isinstance(pilot.app.screen, CompareScreen), "the comparison")
        compared = pilot.app.screen
        assert isinstance(compared, CompareScreen)
        await until(pilot, lambda: len(compared.sides) == 2, "both journals")
        await pilot.pause()
        plain = compared.query_one("#heading", Rows).plain
        assert [line[:3] for line in plain.splitlines()[2:]] == [" a ", " b "]
        await pilot.press("h", "x")
        assert compared.view_of_curves.across == "samples"
        await pilot.press("h")
        assert "sample" in compared.query_one("#at-cursor", Rows).plain
        await pilot.press("escape")
        assert pilot.app.screen is compared
        await pilot.press("escape")
        await until(pilot, lambda: pilot.app.screen is screen, "the list")
        assert len(screen.listing.marks) == 2


async def test_a_folder_of_runs_is_listed_from_then_on(make_run: MakeRun, tmp_path: Path) -> None:
    for name in ("one", "two"):
        make_run("finished", name, steps=3)
    async with app_on(None).run_test(size=SIZE) as pilot:
        screen = await listed(pilot)
        await pilot.press("o")
        await until(pilot, lambda: isinstance(pilot.app.screen, AskText), "the question")
        pilot.app.screen.query_one(Input).value = str(tmp_path / "runs")
        await pilot.press("enter")
        await until(pilot, lambda: len(screen.listing.entries) == 2, "the folder's runs")
        assert "2 runs of ~/runs" in screen.query_one("#heading", Rows).plain
    assert registry.known().folders == (tmp_path / "runs",)


async def test_a_run_that_ends_while_one_watches_is_told(make_run: MakeRun) -> None:
    run = make_run("live", "night", steps=40)
    registry.register(run.run_dir)
    watch = Watch()
    async with app_on(None, watch=watch).run_test(size=SIZE) as pilot:
        screen = await listed(pilot)
        run.release()
        await pilot.press("r")
        await until(pilot, lambda: bool(screen.notice), "the notice")
        assert "night: the engine died" in screen.query_one("#heading", Rows).plain
        assert watch.rings == 1


# Deeds


async def test_a_run_is_duplicated_into_the_wizard(some_runs: dict[str, FakeRun]) -> None:
    async with app_on(None).run_test(size=SIZE) as pilot:
        screen = await listed(pilot)
        screen.listing.current_key = str(some_runs["finished"].path.resolve())
        await pilot.press("d")
        await until(pilot, lambda: pilot.app.current_mode == "wizard", "the wizard")
    (summary,) = drafts.list_drafts()
    draft = drafts.load(summary.id)
    assert draft.base_name == "run run_finished"
    assert draft.value("output.name") == "run_finished-2"


async def test_a_run_goes_only_after_its_name(some_runs: dict[str, FakeRun]) -> None:
    doomed = some_runs["diverged"].path
    (doomed / "notes.md").write_text("mine")
    async with app_on(None).run_test(size=SIZE) as pilot:
        screen = await listed(pilot)
        screen.listing.current_key = str(doomed.resolve())
        await pilot.press("D")
        await until(pilot, lambda: isinstance(pilot.app.screen, TypeWord), "the question")
        await pilot.press(*"run_diverge", "enter")
        assert isinstance(pilot.app.screen, TypeWord)
        assert (doomed / "run.toml").is_file()
        await pilot.press("d", "enter")
        await until(pilot, lambda: len(screen.listing.entries) == 3, "the shorter list")
        assert [path.name for path in doomed.iterdir()] == ["notes.md"]
        assert "1 file that we did not write" in screen.query_one("#heading", Rows).plain
        screen.listing.current_key = str(some_runs["live"].path.resolve())
        assert screen.check_action("delete", ()) is None


async def test_a_draft_is_deleted_after_a_word(some_runs: dict[str, FakeRun]) -> None:
    drafts.save(Draft(presets.find("vram_12gb").layers()), NOW)
    async with app_on(None).run_test(size=SIZE) as pilot:
        screen = await listed(pilot)
        await pilot.press("G", "D")
        await until(pilot, lambda: isinstance(pilot.app.screen, TypeWord), "the question")
        await pilot.press("escape")
        assert len(drafts.list_drafts()) == 1
        await until(pilot, lambda: pilot.app.screen is screen, "the list")
        await pilot.press("D")
        await until(pilot, lambda: isinstance(pilot.app.screen, TypeWord), "the question")
        await pilot.press(*"delete", "enter")
        await until(pilot, lambda: len(screen.listing.entries) == 4, "the shorter list")
    assert drafts.list_drafts() == []


async def test_checkpoints_are_tidied_after_the_name(some_runs: dict[str, FakeRun]) -> None:
    run = some_runs["finished"].run_dir
    before = run.published_checkpoints()
    async with app_on(None).run_test(size=SIZE) as pilot:
        screen = await listed(pilot)
        screen.listing.current_key = str(run.path.resolve())
        await pilot.press("T")
        await until(pilot, lambda: isinstance(pilot.app.screen, OneOf), "what to tidy")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, TypeWord), "the question")
        assert run.published_checkpoints() == before
        await pilot.press(*"run_finished", "enter")
        await until(pilot, lambda: "freed" in screen.query_one("#heading", Rows).plain, "the sentence")
    assert run.published_checkpoints() == before[-1:]
    assert len(before) > 1


async def test_a_finished_run_asks_for_more_epochs(
    some_runs: dict[str, FakeRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    resumed: list[str] = []
    monkeypatch.setattr("sidestep_tui.launch.start.resume", lambda run_dir: resumed.append(run_dir.name))
    async with app_on(None).run_test(size=SIZE) as pilot:
        screen = await listed(pilot)
        run = some_runs["finished"].run_dir
        screen.listing.current_key = str(run.path.resolve())
        await pilot.press("R")
        await until(pilot, lambda: isinstance(pilot.app.screen, AskText), "the question")
        await pilot.press(*"7", "enter")
        assert isinstance(pilot.app.screen, AskText)
        await pilot.press(*"00", "enter")
        await until(pilot, lambda: resumed == ["run_finished"], "the resume")
    assert read_run(run.run_toml).settings.train.epochs == 700


async def test_a_run_that_cannot_be_reached_is_only_forgotten(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("finished", "far", steps=3)
    registry.register(run.run_dir)
    (tmp_path / "runs").rename(tmp_path / "unplugged")
    on_another_device()
    async with app_on(None).run_test(size=SIZE) as pilot:
        screen = await listed(pilot)
        assert "not reachable" in lines(screen)[0]
        assert screen.check_action("open", ()) is None
        await pilot.press("D")
        await until(pilot, lambda: isinstance(pilot.app.screen, TypeWord), "the question")
        await pilot.press(*"forget", "enter")
        await until(pilot, lambda: not screen.listing.entries, "the empty list")
    assert (tmp_path / "unplugged" / "far" / "run.toml").is_file()


async def test_a_viewer_that_only_looks_has_no_keys_that_change_runs(some_runs: dict[str, FakeRun]) -> None:
    app = app_on(None)
    app._modes["runs"] = lambda: RunsScreen(clock=lambda: NOW, readonly=True)
    async with app.run_test(size=SIZE) as pilot:
        screen = await listed(pilot)
        for action in ("resume", "tidy", "delete"):
            assert screen.check_action(action, ()) is False
        assert screen.check_action("open", ()) is True


async def test_a_click_selects_and_a_double_click_opens(some_runs: dict[str, FakeRun]) -> None:
    async with app_on(None).run_test(size=SIZE) as pilot:
        screen = await listed(pilot)
        await pilot.click("#runs", offset=(5, 2))
        assert screen.selected is screen.listing.shown[2]
        await pilot.click("#runs", offset=(5, 20))
        assert screen.selected is screen.listing.shown[2]
        await pilot.click("#runs", offset=(5, 1), times=2)
        await until(pilot, lambda: isinstance(pilot.app.screen, DashboardScreen), "the dashboard")
        assert pilot.app.current_run == screen.listing.shown[1].path
