"""The settings of the slicer as a list with one row in focus, into which numbers are typed."""

from __future__ import annotations

from textual import events
from textual.message import Message

from sidestep_tui.ui.screens.slicer.form import Form
from sidestep_tui.ui.widgets.rows import Rows

_DIGITS = frozenset("0123456789.,")


class SettingsList(Rows, can_focus=True):
    """The settings; digits go straight into the row in focus. What it shows and changes is in the form."""

    class Typed(Message):
        """The row in focus reads differently now."""

    def __init__(self, form: Form, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.form = form
        self.is_open = True
        """Whether anything may be changed now."""

    def check_consume_key(self, key: str, character: str | None) -> bool:
        """Digits are text where a number is."""
        return self.is_open and character is not None and character in _DIGITS and self.form.current.is_number

    async def _on_key(self, event: events.Key) -> None:
        typed = self.form.typed
        if self.check_consume_key(event.key, event.character):
            self.form.type((typed or "") + (event.character or ""))
        elif typed is not None and event.key == "backspace":
            self.form.type(typed[:-1])
        elif typed is not None and event.key in ("enter", "escape"):
            self.form.settle(keep=event.key == "enter")
        else:
            return
        event.stop()
        event.prevent_default()
        self.post_message(self.Typed())
