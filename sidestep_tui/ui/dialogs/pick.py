"""A list that is narrowed by typing. Every printable key is text: none acts on the screen behind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from sidestep_tui.ui.base import Dialog, ResultT


class Pick(Dialog[ResultT]):
    """A field to type in, and the options that match. What is chosen is up to `chosen`."""

    DEFAULT_CSS = """
    Pick > .dialog {
        width: 90; padding: 0 1;
        & Input { margin-bottom: 1; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "highlight(1)", "Next", id="pick.next", show=False, priority=True),
        Binding("up", "highlight(-1)", "Previous", id="pick.previous", show=False, priority=True),
        Binding("pagedown", "highlight(10)", "Ten down", id="pick.page_down", show=False, priority=True),
        Binding("pageup", "highlight(-10)", "Ten up", id="pick.page_up", show=False, priority=True),
    ]

    TITLE_TEXT: ClassVar[str]
    HINT: ClassVar[str]
    PLACEHOLDER: ClassVar[str]

    at_first = 0
    """The option highlighted before anything is typed."""
    _query = ""

    def options(self, query: str) -> Sequence[Option]:
        """The options that match what is typed, the best first."""
        raise NotImplementedError

    def chosen(self, option_id: str) -> None:
        """Enter was pressed on an option."""
        raise NotImplementedError

    def extras(self) -> Sequence[Widget]:
        """What stands below the list."""
        return ()

    def compose(self) -> ComposeResult:
        box = Vertical(classes="dialog")
        box.border_title = Content(self.TITLE_TEXT)
        box.border_subtitle = self.HINT
        with box:
            field = Input(placeholder=self.PLACEHOLDER, compact=True)
            field.cursor_blink = False
            yield field
            listing = OptionList()
            listing.can_focus = False
            yield listing
            yield from self.extras()

    def on_mount(self) -> None:
        self.fill("", highlighted=self.at_first)
        self.query_one(Input).focus()

    def fill(self, query: str, *, highlighted: int = 0) -> None:
        """Show the options that match."""
        self._query = query
        listing = self.query_one(OptionList)
        listing.clear_options()
        listing.add_options(self.options(query))
        listing.highlighted = highlighted if listing.option_count else None

    def action_highlight(self, step: int) -> None:
        """Move in the list while typing."""
        listing = self.query_one(OptionList)
        if listing.option_count:
            listing.highlighted = max(0, min((listing.highlighted or 0) + step, listing.option_count - 1))

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        if event.value != self._query:
            self.fill(event.value)

    @on(Input.Submitted)
    def _submitted(self) -> None:
        listing = self.query_one(OptionList)
        if listing.highlighted is not None:
            self.chosen(str(listing.get_option_at_index(listing.highlighted).id))

    @on(OptionList.OptionSelected)
    def _clicked(self, event: OptionList.OptionSelected) -> None:
        self.chosen(str(event.option.id))


def words_in(query: str, *texts: str) -> bool:
    """Whether every word of a query is in one of the texts."""
    haystack = " ".join(texts).casefold()
    return all(word in haystack for word in query.casefold().split())
