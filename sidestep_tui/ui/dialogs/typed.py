"""Irreversible things ask for a word."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, Static

from sidestep_tui.ui.base import Dialog


class TypeWord(Dialog[bool]):
    """True only if the person typed `word` and pressed enter."""

    def __init__(self, title: str, body: str, word: str) -> None:
        super().__init__()
        self._title = title
        self._body = body
        self._word = word

    def compose(self) -> ComposeResult:
        box = Vertical(classes="dialog")
        box.border_title = Content(self._title)
        with box:
            yield Static(self._body, markup=False)
            field = Input(placeholder=self._word, compact=True, id="answer")
            field.cursor_blink = False
            yield field
            yield Static(f"type {self._word} and press enter, or esc", markup=False, classes="hint")

    def on_mount(self) -> None:
        self.query_one(Input).focus()

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        if event.value.strip() == self._word:
            self.dismiss(True)

    def action_dismiss_dialog(self) -> None:
        """Escape is no."""
        self.dismiss(False)
