"""The line of keys: whole entries only, painted when it changes, pressed by a click too."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.widgets import Button

from sidestep_tui.ui.widgets.keybar import Key, KeyBar, fitting

KEYS = [Key("n", "^n", "Next"), Key("s", "^s", "Save"), Key("f1", "f1", "Help"), Key("x", "x", "Export the run")]


def test_later_keys_go_first_and_help_stays() -> None:
    assert fitting(KEYS, 80) == tuple(KEYS)
    assert [key.description for key in fitting(KEYS, 30)] == ["Next", "Save", "Help"]
    assert [key.description for key in fitting(KEYS, 17)] == ["Next", "Help"]
    assert [key.description for key in fitting(KEYS, 9)] == ["Help"]
    assert fitting(KEYS, 3) == ()


@given(st.lists(st.text("ab", max_size=9), max_size=9), st.integers(0, 60))
def test_what_is_shown_fits(words: list[str], width: int) -> None:
    keys = fitting([Key("k", "k", word) for word in words], width)
    assert sum(key.width + 1 for key in keys) + 1 <= width or not keys


class _Keys(App[None]):
    BINDINGS = [
        Binding("a", "press('a')", "Add"),
        Binding("d", "press('d')", "Drop"),
        Binding("h", "press('h')", "Hidden", show=False),
    ]
    may_drop = False

    def __init__(self) -> None:
        super().__init__()
        self.pressed: list[str] = []

    def compose(self) -> ComposeResult:
        yield Button("one")
        yield Button("two")
        yield KeyBar(palette=True)

    def action_press(self, key: str) -> None:
        self.pressed.append(key)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return self.may_drop or None if parameters == ("d",) else True


def _line(app: App[Any]) -> str:
    return app.query_one(KeyBar).render_line(0).text


async def test_it_shows_what_works_now_and_a_click_presses_it() -> None:
    app = _Keys()
    async with app.run_test(size=(40, 5)) as pilot:
        await pilot.pause()
        line = _line(app)
        assert line.startswith(" a Add d Drop")
        assert line.endswith("▏^p palette")
        assert "Hidden" not in line
        await pilot.click(KeyBar, offset=(3, 0))
        await pilot.click(KeyBar, offset=(9, 0))
        assert app.pressed == ["a"]
        app.may_drop = True
        app.screen.refresh_bindings()
        await pilot.pause()
        await pilot.click(KeyBar, offset=(9, 0))
        await pilot.pause()
        assert app.pressed == ["a", "d"]


async def test_a_moved_focus_that_changes_no_key_paints_nothing() -> None:
    app = _Keys()
    async with app.run_test(size=(40, 5)) as pilot:
        await pilot.pause()
        bar = app.query_one(KeyBar)
        shown = []
        bar.render = lambda paint=bar.render: shown.append(1) or paint()  # type: ignore[method-assign,misc]
        await pilot.press("tab")
        await pilot.pause()
        assert app.focused is not None
        assert not shown
