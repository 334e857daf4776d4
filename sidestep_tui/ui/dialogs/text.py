"""Questions answered by typing."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, Static

from sidestep_tui.ui.base import Dialog


class AskText(Dialog[str | None]):
    """One line of text, or None. `check` returns what is wrong with an answer, or an empty string."""

    BINDINGS: ClassVar[list[BindingType]] = []

    def __init__(
        self, title: str, body: str, *, value: str = "", check: Callable[[str], str] | None = None, hint: str = ""
    ) -> None:
        super().__init__()
        self._title = title
        self._body = body
        self._value = value
        self._check = check
        self._hint = hint or "enter accepts, esc cancels"

    def compose(self) -> ComposeResult:
        box = Vertical(classes="dialog")
        box.border_title = Content(self._title)
        with box:
            yield Static(self._body, markup=False)
            field = Input(self._value, compact=True, id="answer")
            field.cursor_blink = False
            yield field
            yield Static(self._hint, markup=False, classes="hint", id="problem")

    def on_mount(self) -> None:
        self.query_one(Input).focus()

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        self._show(self._check(event.value) if self._check and event.value else "")

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        problem = self._check(event.value) if self._check else ""
        if problem:
            self._show(problem)
        else:
            self.dismiss(event.value)

    def _show(self, problem: str) -> None:
        line = self.query_one("#problem", Static)
        line.set_class(bool(problem), "problem")
        line.update(problem or self._hint)
