"""A question answered with a paragraph or a page."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button, Static, TextArea

from sidestep_tui.ui.base import Dialog


class _Area(TextArea):
    """A text area in which enter may mean that the text is done."""

    one_line = False

    async def _on_key(self, event: events.Key) -> None:
        if self.one_line and event.key == "enter":
            event.stop()
            event.prevent_default()
            await self.run_action("screen.accept")
            return
        await super()._on_key(event)


class AskLongText(Dialog[str | None]):
    """Text of any length, or None. With `one_line`, long lines wrap and enter accepts.

    Leaving with changed text asks for a second escape, so that a page of lyrics is not lost to one key.
    """

    DEFAULT_CSS = """
    AskLongText > .dialog {
        width: 94%; height: 90%;
        & TextArea { height: 1fr; margin-top: 1; border: none; padding: 0 1; background: $panel; }
        & .hint { margin-top: 0; }
        & .buttons { margin-top: 0; }
    }
    AskLongText.-one-line > .dialog { width: 90; height: 14; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "accept", "Keep", id="text.accept", priority=True, tooltip="Keep the text"),
    ]

    def __init__(
        self,
        title: str,
        body: str,
        value: str,
        *,
        one_line: bool = False,
        describe: Callable[[str], str] | None = None,
    ) -> None:
        """`describe` says something about the text as it is, below it."""
        super().__init__(classes="-one-line" if one_line else None)
        self._title = title
        self._body = body
        self._value = value
        self._one_line = one_line
        self._describe = describe or _size
        self._leaving = False

    def compose(self) -> ComposeResult:
        box = Vertical(classes="dialog")
        box.border_title = Content(self._title)
        with box:
            yield Static(self._body, markup=False)
            area = _Area(self._value, soft_wrap=True, highlight_cursor_line=False, compact=True, id="answer")
            area.one_line = self._one_line
            area.cursor_blink = False
            yield area
            yield Static("", markup=False, classes="hint", id="about")
            with Horizontal(classes="buttons"):
                yield Button("Keep (enter)" if self._one_line else "Keep (ctrl+s)", id="keep", compact=True)
                yield Button("Cancel (esc)", id="cancel", compact=True)

    def on_mount(self) -> None:
        area = self.query_one(_Area)
        area.move_cursor(area.document.end)
        area.focus()
        self._tell()

    @property
    def text(self) -> str:
        """What is typed; on one line where that is asked for."""
        typed = self.query_one(_Area).text
        return " ".join(typed.split()) if self._one_line else typed

    @on(TextArea.Changed)
    def _changed(self) -> None:
        self._leaving = False
        self._tell()

    def _tell(self) -> None:
        line = self.query_one("#about", Static)
        line.set_class(self._leaving, "problem")
        line.update("Press esc again to throw the changes away." if self._leaving else self._describe(self.text))

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss(self.text if event.button.id == "keep" else None)

    def action_accept(self) -> None:
        """Answer with the text."""
        self.dismiss(self.text)

    def action_dismiss_dialog(self) -> None:
        """Escape keeps the old text; if the text was changed, only the second one."""
        if self._leaving or self.text.rstrip() == self._value.rstrip():
            self.dismiss(None)
            return
        self._leaving = True
        self._tell()


def _size(typed: str) -> str:
    lines = len(typed.splitlines())
    return f"{len(typed)} characters" + (f" on {lines} lines" if lines > 1 else "")
