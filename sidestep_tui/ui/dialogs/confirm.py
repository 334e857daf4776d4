"""Questions with two or three answers. The harmless one has the focus."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button, Static

from sidestep_tui.ui.base import Dialog


class Confirm(Dialog[bool]):
    """`await app.push_screen_wait(Confirm(…))` is True only if the person said so."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes", id="dialog.yes"),
        Binding("n,q", "answer(False)", "No", id="dialog.no"),
    ]

    def __init__(self, title: str, body: str, yes_label: str, *, cancel_label: str = "Cancel") -> None:
        super().__init__()
        self._title = title
        self._body = body
        self._yes_label = yes_label
        self._cancel_label = cancel_label

    def compose(self) -> ComposeResult:
        box = Vertical(classes="dialog")
        box.border_title = Content(self._title)
        with box:
            yield Static(self._body, markup=False)
            with Horizontal(classes="buttons"):
                yield Button(f"{self._yes_label} (y)", id="yes", compact=True)
                yield Button(f"{self._cancel_label} (n)", id="cancel", compact=True)

    def on_mount(self) -> None:
        self.query_one("#cancel").focus()

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")

    def action_answer(self, answer: bool) -> None:
        """Answer by key."""
        self.dismiss(answer)

    def action_dismiss_dialog(self) -> None:
        """Escape is no."""
        self.dismiss(False)


class Choose(Dialog[str | None]):
    """One of several answers, each with a key; the first has the focus and should be the harmless one."""

    def __init__(self, title: str, body: str, answers: list[tuple[str, str, str]]) -> None:
        """`answers` are (name, key, label) triples."""
        super().__init__()
        self._title = title
        self._body = body
        self._answers = answers
        for name, key, label in answers:
            self._bindings.bind(key, f"choose('{name}')", label)

    def compose(self) -> ComposeResult:
        box = Vertical(classes="dialog")
        box.border_title = Content(self._title)
        with box:
            yield Static(self._body, markup=False)
            with Horizontal(classes="buttons"):
                for name, key, label in self._answers:
                    yield Button(f"{label} ({key})", id=name, compact=True)

    def on_mount(self) -> None:
        self.query(Button).first().focus()

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id)

    def action_choose(self, name: str) -> None:
        """Answer by key."""
        self.dismiss(name)


class Tell(Dialog[None]):
    """What happened, why, and what to do about it; any of enter, escape and q closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,q,space", "dismiss_dialog", "Close", id="dialog.close"),
    ]

    def __init__(self, title: str, message: str, hint: str = "") -> None:
        super().__init__()
        self._title = title
        self._message = message
        self._hint = hint

    def compose(self) -> ComposeResult:
        box = Vertical(classes="dialog")
        box.border_title = Content(self._title.rstrip("."))
        box.can_focus = False
        with box:
            if self._message:
                yield Static(self._message, markup=False)
            if self._hint:
                yield Static(self._hint, markup=False, classes="hint")
            with Horizontal(classes="buttons"):
                yield Button("Close (enter)", id="close", compact=True)

    @on(Button.Pressed)
    def _pressed(self) -> None:
        self.dismiss(None)
