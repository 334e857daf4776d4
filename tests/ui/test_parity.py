"""What the display of changed cells shows is what Textual's own path shows: whole apps, both streams replayed."""

from __future__ import annotations

import random
from typing import Any

import pytest
from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Checkbox, DataTable, Input, Label, ProgressBar, Sparkline, Static

from sidestep_tui.ui.display import ChangedCellsApp
from tests.ui.parity import watched

WORDS = [
    "loss 0.1423",
    "漢字",
    "日本語の歌",
    "🎵",
    "é",
    "e\u0301tude",
    "한국어",
    "⣿⡇⠁",
    "│",
    "—",
    "[b]bold[/b]",
    "[red on blue]x",
]


def _text(wild: random.Random) -> str:
    return " ".join(wild.choices(WORDS, k=wild.randint(1, 6)))


class _Window(ModalScreen[None]):
    """Translucent, so that everything below it changes colour."""

    DEFAULT_CSS = "_Window { align: center middle; background: $background 60%; } _Window Static { width: 20; }"

    def compose(self) -> ComposeResult:
        yield Static("日本 asks [u]you[/u]")


class _Zoo(ChangedCellsApp):
    """Widgets of many kinds in a random order."""

    CSS = "Horizontal { height: auto; } Static { border: round $primary; height: auto; } Input { width: 20; }"

    def __init__(self, wild: random.Random) -> None:
        super().__init__()
        self._wild = wild

    def compose(self) -> ComposeResult:
        wild = self._wild
        with VerticalScroll():
            for _ in range(5):
                with Horizontal():
                    for _ in range(wild.randint(1, 3)):
                        yield self._some()
        yield Label("日" * 200, id="long")

    def _some(self) -> Any:
        wild = self._wild
        data = [wild.random() for _ in range(9)]
        kinds = [
            lambda: Static(_text(wild)),
            lambda: Label(_text(wild)),
            lambda: Input(_text(wild).replace("[", "("), compact=True),
            lambda: Checkbox(_text(wild)),
            lambda: Button(_text(wild)),
            lambda: Sparkline(data),
            lambda: ProgressBar(total=9),
            lambda: DataTable(),
        ]
        return wild.choice(kinds)()

    def on_mount(self) -> None:
        for table in self.query(DataTable):
            table.add_columns("名前", "loss")
            table.add_row("🎵 song", "0.1")


@pytest.mark.parametrize("seed", range(2))
async def test_random_widgets_resized_scrolled_changed_and_covered(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    wild = random.Random(seed)
    with watched(monkeypatch) as parity:
        app = _Zoo(wild)
        async with app.run_test(size=(61, 20)) as pilot:
            for number in range(9):
                if number == 5:
                    await pilot.resize_terminal(wild.randint(25, 90), wild.randint(8, 26))
                for static in app.screen.query(Static):
                    if wild.random() < 0.3:
                        static.update(_text(wild))
                await pilot.press(wild.choice(["tab", "down", "x", "pagedown", "space", "backspace"]))
                if number in (3, 7):
                    await app.push_screen(_Window())
                elif number in (4, 8) and isinstance(app.screen, _Window):
                    app.pop_screen()
                await pilot.pause()
                assert parity.differences() == []
        assert parity.updates > 9
