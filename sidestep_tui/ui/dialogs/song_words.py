"""Two ways to change the words of many songs at once: a trigger tag, and find and replace. Both show what will come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from sidestep_tui.core import text
from sidestep_tui.dataset.captions import TagPosition
from sidestep_tui.ui.base import Dialog
from sidestep_tui.ui.dialogs.pick import Pick

POSITIONS: tuple[tuple[TagPosition, str], ...] = (
    ("prepend", "before"),
    ("append", "after"),
    ("replace", "instead"),
)
_ROOM = 54
"""Characters of a caption that fit beside the name of the place in 80 columns."""


class AskTag(Pick[tuple[str, TagPosition] | None]):
    """A tag and where it goes in the caption, or None."""

    DEFAULT_CSS = """
    AskTag > .dialog OptionList { height: 3; }
    """

    HINT: ClassVar[str] = "up and down choose the place, enter does it"
    PLACEHOLDER: ClassVar[str] = "a word of your own, such as zx_ember"

    def __init__(self, title: str, preview: Callable[[str, TagPosition], str], *, value: str = "") -> None:
        """`preview` shows a caption with a tag at a place."""
        super().__init__()
        self.TITLE_TEXT = title  # type: ignore[misc]
        self._preview = preview
        self._value = value

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one(Input).value = self._value

    def extras(self) -> Sequence[Static]:
        return (Static("The tag is written into the captions themselves.", markup=False, classes="hint"),)

    def options(self, query: str) -> Sequence[Option]:
        """The three places, each with the caption as it would read."""
        tag = query.strip()
        return [
            Option(
                Content.assemble((f"{label:<9}", "$muted"), self._preview(tag, position) if tag else ""), id=position
            )
            for position, label in POSITIONS
        ]

    def fill(self, query: str, *, highlighted: int = 0) -> None:
        """Typing the tag leaves the chosen place alone."""
        super().fill(query, highlighted=self.query_one(OptionList).highlighted or highlighted)

    def chosen(self, option_id: str) -> None:
        """Answer, once there is a tag."""
        tag = self.query_one(Input).value.strip()
        position = next((position for position, _ in POSITIONS if position == option_id), None)
        if tag and position:
            self.dismiss((tag, position))


class AskReplace(Dialog[tuple[str, str, str] | None]):
    """Field, what to find and what to put there, or None."""

    DEFAULT_CSS = """
    AskReplace > .dialog {
        & OptionList { height: auto; margin-top: 1; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "field(1)", "Next field", id="replace.next", show=False, priority=True),
        Binding("up", "field(-1)", "Previous field", id="replace.previous", show=False, priority=True),
    ]

    def __init__(self, title: str, fields: Sequence[tuple[str, str]], count: Callable[[str, str], int]) -> None:
        """`fields` are (name, label); `count` says how many songs have some words in a field."""
        super().__init__()
        self._title = title
        self._fields = list(fields)
        self._count = count

    def compose(self) -> ComposeResult:
        box = Vertical(classes="dialog")
        box.border_title = Content(self._title)
        box.border_subtitle = "up and down choose the field, enter goes on"
        with box:
            for name, placeholder in (("find", "find, exactly as it is written"), ("by", "put this there")):
                field = Input(placeholder=placeholder, compact=True, id=name)
                field.cursor_blink = False
                yield field
            listing = OptionList()
            listing.can_focus = False
            yield listing
            yield Static("esc cancels; everything can be undone", markup=False, classes="hint", id="problem")

    def on_mount(self) -> None:
        self._fill(0)
        self.query_one("#find", Input).focus()

    def _fill(self, highlighted: int) -> None:
        wanted = self.query_one("#find", Input).value
        listing = self.query_one(OptionList)
        listing.clear_options()
        listing.add_options([Option(self._line(name, label, wanted), id=name) for name, label in self._fields])
        listing.highlighted = highlighted

    def _line(self, name: str, label: str, wanted: str) -> Content:
        found = f"in {text.plural(self._count(name, wanted), 'song')}" if wanted else ""
        return Content.assemble(f"{label:<14}", (found, "$muted"))

    @on(Input.Changed, "#find")
    def _typed(self) -> None:
        self._fill(self.query_one(OptionList).highlighted or 0)

    def action_field(self, step: int) -> None:
        """Choose the field while typing."""
        listing = self.query_one(OptionList)
        listing.highlighted = max(0, min((listing.highlighted or 0) + step, len(self._fields) - 1))

    @on(Input.Submitted, "#find")
    def _find_given(self) -> None:
        self.query_one("#by", Input).focus()

    @on(Input.Submitted, "#by")
    def _submitted(self) -> None:
        name = self._fields[self.query_one(OptionList).highlighted or 0][0]
        wanted = self.query_one("#find", Input).value
        if not wanted or not self._count(name, wanted):
            line = self.query_one("#problem", Static)
            line.add_class("problem")
            line.update("No song has that there." if wanted else "Type what to find.")
            self.query_one("#find", Input).focus()
            return
        self.dismiss((name, wanted, self.query_one("#by", Input).value))
