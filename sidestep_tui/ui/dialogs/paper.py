"""A page to read, longer than the screen if need be; it may ask for a yes at its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Button, Static

from sidestep_tui.ui.base import Dialog


class Paper(Dialog[bool]):
    """True only if a `yes_label` was given and chosen. Otherwise enter closes, like escape and q."""

    DEFAULT_CSS = """
    Paper > .dialog {
        width: 94%; height: 90%;
        & VerticalScroll { height: 1fr; scrollbar-size-vertical: 1; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "scroll_text(1)", "Down", id="paper.down", show=False),
        Binding("k,up", "scroll_text(-1)", "Up", id="paper.up", show=False),
        Binding("ctrl+d,pagedown,space", "scroll_text(12)", "Page down", id="paper.page_down", show=False),
        Binding("ctrl+u,pageup", "scroll_text(-12)", "Page up", id="paper.page_up", show=False),
        Binding("g,home", "scroll_text(-99999)", "First line", id="paper.first", show=False),
        Binding("G,end", "scroll_text(99999)", "Last line", id="paper.last", show=False),
        Binding("right_square_bracket", "turn(1)", "Next", id="paper.next", show=False, tooltip="The next one"),
        Binding(
            "left_square_bracket", "turn(-1)", "Previous", id="paper.previous", show=False, tooltip="The one before"
        ),
        Binding("q,n", "dismiss_dialog", "Close", id="dialog.close", show=False),
    ]

    def __init__(
        self, title: str, content: Content, *, yes_label: str = "", turn: Callable[[int], None] | None = None
    ) -> None:
        """`turn` is called to go to the next (1) or former (-1) of several pages."""
        super().__init__()
        self._turn = turn
        self._title = title
        self._content = content
        self._yes_label = yes_label

    def compose(self) -> ComposeResult:
        box = Vertical(classes="dialog")
        box.border_title = Content(self._title)
        box.border_subtitle = Content("[ ] other songs") if self._turn else None
        with box:
            with VerticalScroll(can_focus=False):
                yield Static(self._content, id="page")
            with Horizontal(classes="buttons"):
                if self._yes_label:
                    yield Button(f"{self._yes_label} (enter)", id="yes", compact=True)
                yield Button("Cancel (esc)" if self._yes_label else "Close (enter)", id="cancel", compact=True)

    def on_mount(self) -> None:
        self.query(Button).first().focus()

    def show(self, title: str, content: Content) -> None:
        """Put other text on the page: something more is known, or the page was turned."""
        self._title, self._content = title, content
        if self.is_mounted:
            self.query_one(".dialog").border_title = Content(title)
            self.query_one("#page", Static).update(content)

    @property
    def plain(self) -> str:
        """The text of the page."""
        return self._content.plain

    def action_scroll_text(self, lines: int) -> None:
        """Scroll by lines."""
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only some papers have several pages."""
        if action == "turn":
            return self._turn is not None
        return super().check_action(action, parameters)

    def action_turn(self, step: int) -> None:
        """Another page."""
        if self._turn is not None:
            self._turn(step)

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")

    def action_dismiss_dialog(self) -> None:
        """Escape is no."""
        self.dismiss(False)
