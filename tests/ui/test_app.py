"""The shell: places, quitting, crashes, keys, the terminal's limits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from textual.binding import Binding
from textual.css.query import NoMatches

from sidestep_tui.core import env
from sidestep_tui.core.errors import ExitCode, SettingsError
from sidestep_tui.protocol import inbox, registry
from sidestep_tui.schema.draft import Draft
from sidestep_tui.ui import app as app_module
from sidestep_tui.ui import keymap
from sidestep_tui.ui.dialogs.confirm import Choose, Confirm
from sidestep_tui.ui.dialogs.typed import TypeWord
from sidestep_tui.ui.screens.wizard.screen import WizardScreen
from sidestep_tui.ui.songs_place import SongsPlace
from tests.ui.conftest import make_app

SIZE = (80, 24)


async def test_it_opens_the_wizard_when_there_are_no_runs(machine: SimpleNamespace) -> None:
    async with make_app("auto").run_test(size=SIZE) as pilot:
        await pilot.pause()
        assert pilot.app.current_mode == "wizard"


async def test_function_keys_go_between_the_places(machine: SimpleNamespace) -> None:
    async with make_app("wizard").run_test(size=SIZE) as pilot:
        await pilot.pause()
        await pilot.press("f2")
        assert pilot.app.current_mode == "runs"
        await pilot.press("f3")
        assert pilot.app.current_mode == "wizard"


async def test_a_letter_jumps_to_any_field(ready_draft: Callable[..., Draft]) -> None:
    ready_draft(step="adapter", field="adapter.kind")
    async with make_app().run_test(size=SIZE) as pilot:
        await pilot.pause()
        screen = pilot.app.screen
        await pilot.press("ctrl+o")
        await pilot.pause()
        assert len(pilot.app.screen.children) == 7
        await pilot.press("d")
        await pilot.pause()
        assert pilot.app.screen is screen
        assert pilot.app.focused is screen.query_one("#row-adapter-rank")
        await pilot.press("ctrl+o", "escape")
        await pilot.pause()
        assert pilot.app.focused is screen.query_one("#row-adapter-rank")


async def test_opening_another_run_replaces_the_dashboard(machine: SimpleNamespace, home: Path) -> None:
    from sidestep_tui.protocol.rundir import RunDir
    from sidestep_tui.ui.screens.dashboard.screen import DashboardScreen

    paths = [RunDir.create(home, name).path for name in ("first", "second")]
    app = make_app("runs")
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        for path in (*paths, paths[0]):
            app.open_run(path)
            await pilot.pause()
            screen = app.screen
            assert isinstance(screen, DashboardScreen)
            assert app.current_run == path
        await pilot.press("f3")
        await pilot.pause()
        assert app.current_mode == "wizard"
        await pilot.press("f4")
        await pilot.pause()
        assert app.screen is screen


async def test_quit_is_at_once_when_nothing_trains(machine: SimpleNamespace) -> None:
    async with make_app("wizard").run_test(size=SIZE) as pilot:
        await pilot.pause()
        await pilot.press("ctrl+q")
        await pilot.app.workers.wait_for_complete()
    assert pilot.app.return_code == 0


@pytest.mark.parametrize(("key", "leaves", "orders"), [("enter", True, []), ("X", True, ["stop"]), ("n", False, [])])
async def test_quit_detaches_by_default_while_a_run_lives(
    machine: SimpleNamespace, home: Path, monkeypatch: pytest.MonkeyPatch, key: str, leaves: bool, orders: list[str]
) -> None:
    from sidestep_tui.protocol.rundir import RunDir

    run_dir = RunDir.create(home, "drums")
    run_dir.run_toml.touch()
    monkeypatch.setattr(registry, "living", lambda: [run_dir.path])
    sent: list[str] = []
    monkeypatch.setattr(inbox, "send", lambda run, name, by: sent.append(name))
    async with make_app("wizard").run_test(size=SIZE) as pilot:
        await pilot.pause()
        await pilot.press("ctrl+q", "ctrl+q")
        await pilot.pause()
        assert isinstance(pilot.app.screen, Choose)
        await pilot.press(key)
        await pilot.pause()
        assert sent == orders
        assert (pilot.app.return_code is not None and pilot.app._exit) == leaves


async def test_a_crash_leaves_a_traceback_in_a_file(machine: SimpleNamespace, tmp_path: Path) -> None:
    app = make_app("wizard")
    with pytest.raises(NoMatches):
        async with app.run_test(size=SIZE) as pilot:
            await pilot.pause()
            app.call_later(lambda: app.query_one("#nowhere"))
            await pilot.pause()
    assert app.return_code == ExitCode.BUG
    assert app.crash_log is not None
    assert "NoMatches" in app.crash_log.read_text()


async def test_a_tiny_window_shows_one_line_and_a_larger_one_everything_again(
    ready_draft: Callable[..., Draft],
) -> None:
    ready_draft(step="adapter")
    async with make_app().run_test(size=(59, 24)) as pilot:
        await pilot.pause()
        shown = [child for child in pilot.app.screen.children if child.display]
        assert [type(child).__name__ for child in shown] == ["TooSmall"]
        await pilot.resize_terminal(60, 18)
        await pilot.pause()
        assert pilot.app.screen.query_one("HelpPane").display


def test_a_terminal_that_cannot_place_text_is_refused_with_two_ways_out(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = env.terminal_facts({"TERM": "dumb"}, stdin_is_tty=True, stderr_is_tty=True, size=(80, 24))
    monkeypatch.setattr(env, "terminal_facts", lambda: facts)
    assert app_module.run() == ExitCode.USAGE
    said = capsys.readouterr().err
    assert "attach --plain" in said
    assert "--headless" in said
    assert app_module.run(songs=SongsPlace(Path("songs"))) == ExitCode.USAGE
    assert "dataset scan" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("variables", "stdin", "stderr", "usable"),
    [
        ({"TERM": "xterm-256color"}, True, True, True),
        ({"TERM": "xterm-256color"}, True, False, False),
        ({"TERM": "xterm-256color"}, False, True, False),
        ({"TERM": "dumb"}, True, True, False),
        ({}, True, True, False),
    ],
)
def test_the_terminal_is_judged_before_anything_is_drawn(
    variables: dict[str, str], stdin: bool, stderr: bool, usable: bool
) -> None:
    facts = env.terminal_facts(variables, stdin_is_tty=stdin, stderr_is_tty=stderr, size=(80, 24))
    assert facts.usable == usable
    assert bool(facts.hint) != usable


def test_the_environment_tells_ssh_tmux_colour_and_ascii() -> None:
    facts = env.terminal_facts(
        {"TERM": "tmux-256color", "SSH_CONNECTION": "1 2 3 4", "NO_COLOR": "1", "LANG": "C"},
        stdin_is_tty=True,
        stderr_is_tty=True,
        size=(80, 24),
    )
    assert (facts.over_ssh, facts.in_tmux, facts.no_color, facts.ascii_only) == (True, True, True, True)


# Dialogs


@pytest.mark.parametrize(("key", "answer"), [("enter", False), ("y", True), ("n", False), ("escape", False)])
async def test_a_confirmation_is_harmless_by_default(machine: SimpleNamespace, key: str, answer: bool) -> None:
    answers: list[bool | None] = []
    async with make_app().run_test(size=SIZE) as pilot:
        await pilot.pause()
        pilot.app.push_screen(Confirm("Delete", "All of it.", "Delete"), answers.append)
        await pilot.pause()
        await pilot.press(key)
        await pilot.pause()
    assert answers == [answer]


async def test_only_the_whole_word_counts(machine: SimpleNamespace) -> None:
    answers: list[bool | None] = []
    async with make_app().run_test(size=SIZE) as pilot:
        await pilot.pause()
        pilot.app.push_screen(TypeWord("Abort", "Nothing is saved.", "abort"), answers.append)
        await pilot.pause()
        await pilot.press("a", "b", "enter")
        await pilot.pause()
        assert answers == []
        await pilot.press("o", "r", "t", "enter")
        await pilot.pause()
    assert answers == [True]


# Keys


async def test_a_user_moves_keys_by_id(machine: SimpleNamespace, tmp_path: Path) -> None:
    config = tmp_path / "config" / "sidestep-tui" / "tui.toml"
    config.parent.mkdir(parents=True)
    config.write_text('theme = "nord"\n[keymap]\n"wizard.next" = "f12"\n')
    async with make_app().run_test(size=SIZE) as pilot:
        await pilot.pause()
        await pilot.press("f12")
        screen = pilot.app.screen
        assert isinstance(screen, WizardScreen)
        assert screen.pages.current == "data"
        assert pilot.app.theme == "nord"


async def test_a_broken_configuration_is_reported_and_survived(machine: SimpleNamespace, tmp_path: Path) -> None:
    config = tmp_path / "config" / "sidestep-tui" / "tui.toml"
    config.parent.mkdir(parents=True)
    config.write_text('thme = "nord"\n')
    async with make_app().run_test(size=SIZE) as pilot:
        await pilot.pause()
        (notice,) = pilot.app._notifications
        assert "Did you mean 'theme'" in notice.message


def test_configuration_of_the_wrong_type_names_the_entry(tmp_path: Path) -> None:
    (tmp_path / "tui.toml").write_text("mouse = 3\n")
    with pytest.raises(SettingsError, match="mouse"):
        keymap.load_config(tmp_path / "tui.toml")


# Palette


async def test_every_key_of_the_wizard_is_in_the_palette(ready_draft: Callable[..., Draft]) -> None:
    from sidestep_tui.ui.palette import ActionsProvider

    ready_draft(step="adapter")
    async with make_app().run_test(size=SIZE) as pilot:
        await pilot.pause()
        titles = [entry.title for entry in ActionsProvider(pilot.app.screen).entries()]
        for binding in WizardScreen.BINDINGS:
            assert isinstance(binding, Binding)
            assert any(title.startswith(binding.description) for title in titles), binding.description


async def test_the_palette_lists_actions_and_runs_without_a_mistake(ready_draft: Callable[..., Draft]) -> None:
    from sidestep_tui.ui.palette import ActionsProvider, RunsProvider, SettingsProvider

    ready_draft(step="adapter")
    async with make_app().run_test(size=SIZE) as pilot:
        await pilot.pause()
        for kind in (ActionsProvider, SettingsProvider, RunsProvider):
            provider = kind(pilot.app.screen)
            found = [hit async for hit in provider.search("rank")]
            listed = [hit async for hit in provider.discover()]
            assert found or kind is not SettingsProvider
            assert listed or kind is not ActionsProvider
