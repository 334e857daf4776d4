"""Every key of every screen: it arrives, it means one thing, it is in help and palette, and it can be moved."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from textual.screen import ModalScreen
from textual.widgets import Static

from sidestep_tui.schema.draft import Draft
from sidestep_tui.ui.app import SidestepApp
from sidestep_tui.ui.base import Dialog
from sidestep_tui.ui.dialogs.confirm import Confirm
from sidestep_tui.ui.dialogs.help import Help, active_keys
from sidestep_tui.ui.dialogs.jump import Jump
from sidestep_tui.ui.everykey import Key, every_key, keymap_problems
from sidestep_tui.ui.keymap import key_problem
from sidestep_tui.ui.palette import ActionsProvider
from sidestep_tui.ui.widgets.debug import DebugLine
from tests.ui.conftest import make_app

SIZE = (80, 24)
KEYS = every_key()

# The prefixes of tmux and screen, what only the Kitty protocol can tell, and what terminals and systems keep.
NEVER_ARRIVE = {"ctrl+a", "ctrl+b", "ctrl+enter", "ctrl+space", "ctrl+tab", "ctrl+comma", "ctrl+full_stop", "f11"}

# Where a key has one meaning, its description says so with one of these words.
MEANINGS = {
    "question_mark": ("help", "close"),
    "f1": ("help", "close"),
    "slash": ("filter", "find", "search", "all settings"),
    "q": ("leave", "close", "back", "quit", "no", "cancel"),
    "escape": ("cancel", "clear", "back", "out", "leave", "close"),
    "j": ("down", "next"),
    "down": ("down", "next"),
    "k": ("up", "previous"),
    "up": ("up", "previous"),
    "g": ("first", "top", "oldest"),
    "G": ("last", "bottom", "newest"),
    "ctrl+d": ("page down",),
    "ctrl+u": ("page up",),
    "pagedown": ("down",),
    "pageup": ("up",),
    "N": ("previous", "new"),
    "right_square_bracket": ("next",),
    "left_square_bracket": ("previous", "back", "before"),
    "ctrl+s": ("save", "write", "keep"),
    "ctrl+y": ("undo",),
    "ctrl+l": ("redraw",),
    "f2": ("runs",),
    "f3": ("wizard",),
    "f4": ("dashboard",),
    "f6": ("settings",),
    "f10": ("songs",),
}


def name_of(key: Key) -> str:
    return f"{key.owner.__name__}.{key.binding.id}"


def test_every_key_has_an_id_and_words_so_that_help_and_palette_show_it() -> None:
    assert [name_of(key) for key in KEYS if not key.binding.id or not key.binding.description] == []


def test_every_key_arrives_through_a_plain_terminal() -> None:
    for key in KEYS:
        for pressed in key.keys:
            assert not key_problem(pressed), name_of(key)
            assert pressed not in NEVER_ARRIVE, name_of(key)
            assert not {"alt", "super", "hyper", "meta"} & set(pressed.split("+")), name_of(key)
            assert "ctrl+shift" not in pressed, name_of(key)


def test_no_two_keys_of_a_part_clash() -> None:
    taken: dict[tuple[type, str], set[str]] = defaultdict(set)
    for key in KEYS:
        for pressed in key.keys:
            taken[key.owner, pressed].add(str(key.binding.id))
    assert {place: ids for place, ids in taken.items() if len(ids) > 1} == {}


def test_no_screen_takes_a_key_that_works_everywhere() -> None:
    everywhere = {pressed for key in KEYS if key.owner is SidestepApp for pressed in key.keys}
    in_dialogs = {pressed for key in KEYS if key.owner is Dialog for pressed in key.keys} & everywhere
    for key in KEYS:
        # The jump and the help end by the key that opened them.
        if key.owner in (SidestepApp, Dialog, Help, Jump):
            continue
        kept = in_dialogs if issubclass(key.owner, ModalScreen) else everywhere
        assert not kept & set(key.keys), name_of(key)


def test_an_id_means_one_action() -> None:
    meant: dict[str, set[str]] = defaultdict(set)
    for key in KEYS:
        meant[str(key.binding.id)].add(key.binding.description)
    assert {name: words for name, words in meant.items() if len(words) > 1} == {}


@pytest.mark.parametrize("pressed", MEANINGS)
def test_a_key_means_the_same_everywhere(pressed: str) -> None:
    for key in KEYS:
        if pressed in key.keys:
            words = f"{key.binding.description} {key.binding.tooltip}".lower()
            assert any(word in words for word in MEANINGS[pressed]), f"{name_of(key)}: {words}"


async def test_what_works_now_is_in_help_and_palette(ready_draft: Callable[..., Draft]) -> None:
    ready_draft(step="adapter", field="adapter.rank")
    async with make_app().run_test(size=SIZE) as pilot:
        await pilot.pause()
        for place in ("f3", "f2"):
            await pilot.press(place)
            await pilot.pause()
            screen = pilot.app.screen
            helped = {words for _, words in active_keys(screen)}
            listed = " ".join(entry.title for entry in ActionsProvider(screen).entries())
            for active in screen.active_bindings.values():
                binding = active.binding
                if active.enabled and binding.id:
                    assert (binding.tooltip or binding.description) in helped
                    assert binding.description in listed


# A keymap of one's own


def test_a_keymap_is_checked_with_a_suggestion() -> None:
    problems = keymap_problems({"wizard.nxt": "f12", "app.quit": "ctrl+m", "app.jump": "nokey+"}, KEYS)
    assert "Did you mean 'wizard.next'" in problems[0]
    assert "ctrl+m" in problems[1]
    assert len(problems) == 3


def test_a_key_that_is_taken_is_reported_and_one_set_free_is_not() -> None:
    assert "wizard.next" in keymap_problems({"wizard.review": "f8"}, KEYS)[0]
    assert keymap_problems({"wizard.review": "f8", "wizard.next": "ctrl+n"}, KEYS) == []
    assert keymap_problems({"view.zoom": "f8"}, KEYS) == []


async def test_a_mistake_in_the_keymap_is_told_and_the_rest_of_it_works(
    machine: SimpleNamespace, tmp_path: Path
) -> None:
    config = tmp_path / "config" / "sidestep-tui" / "tui.toml"
    config.parent.mkdir(parents=True)
    config.write_text('[keymap]\n"app.hlp" = "f12"\n"app.help" = "f12"\n')
    async with make_app("runs").run_test(size=SIZE) as pilot:
        await pilot.press("f12")
        await pilot.pause()
        assert isinstance(pilot.app.screen, Help)
        assert "Did you mean 'app.help'" in " ".join(notice.message for notice in pilot.app._notifications)


async def test_an_unknown_theme_is_told(machine: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIDESTEP_THEME", "sidestp")
    monkeypatch.setenv("SIDESTEP_ASCII", "1")
    monkeypatch.setenv("SIDESTEP_DISPLAY", "stock")
    app = make_app("runs")
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        (notice,) = pilot.app._notifications
        assert "Did you mean 'sidestep'" in notice.message
        assert app.glyphs.focus == ">"
        assert app.facts.ascii_only
        assert not app.changed_cells_only


# Help and the debug line


async def test_dialogs_have_help_too_and_it_opens_once(machine: SimpleNamespace) -> None:
    async with make_app("runs").run_test(size=SIZE) as pilot:
        dialog = Confirm("Delete", "All of it.", "Delete")
        pilot.app.push_screen(dialog)
        await pilot.pause()
        await pilot.press("f1")
        await pilot.pause()
        assert isinstance(pilot.app.screen, Help)
        shown = str(pilot.app.screen.query(Static).last().content)
        assert "Yes" in shown
        await pilot.press("f1")
        await pilot.pause()
        assert pilot.app.screen is dialog
        assert isinstance(dialog, Dialog)


async def test_the_debug_line_follows_to_other_screens_and_goes(machine: SimpleNamespace) -> None:
    app = make_app("runs")
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("ctrl+g")
        await pilot.pause()
        assert len(app.screen.query(DebugLine)) == 1
        assert app.screen.query_one(DebugLine).region.y == 0
        await pilot.press("f3")
        await pilot.pause()
        assert len(app.screen.query(DebugLine)) == 1
        await pilot.press("ctrl+g")
        await pilot.pause()
        assert not app.screen.query(DebugLine)
        assert not app.counts_bytes
