"""What all screens share: the guard for tiny windows, the common keys, the shape of help."""

from __future__ import annotations

from typing import ClassVar, TypeVar

from textual import events, on
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

from sidestep_tui.core.env import MIN_COLUMNS, MIN_ROWS
from sidestep_tui.ui.display import ChangedCellsApp
from sidestep_tui.ui.governor import Governor
from sidestep_tui.ui.theme import Glyphs, glyphs_of

ResultT = TypeVar("ResultT")


class TooSmall(Static):
    """The one line that a window below the minimum shows instead of a screen."""

    DEFAULT_CSS = """
    TooSmall { display: none; height: 1fr; width: 1fr; content-align: center middle; text-align: center; }
    """

    def __init__(self) -> None:
        super().__init__(f"Enlarge to {MIN_COLUMNS}x{MIN_ROWS}, or use sidestep-tui attach --plain")


class SidestepScreen(Screen[None]):
    """A place in the app. Help is the text in `HELP` of the focused widget or of its nearest ancestor."""

    HORIZONTAL_BREAKPOINTS = [(0, "-tiny"), (MIN_COLUMNS, "-narrow"), (76, "-normal"), (100, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-flat"), (MIN_ROWS, "-short"), (22, "-medium"), (30, "-tall")]

    DEFAULT_CSS = """
    SidestepScreen.-tiny, SidestepScreen.-flat {
        & > * { display: none; }
        & > TooSmall { display: block; }
    }
    """

    governor: Governor | None = None
    """What decides when this screen paints, if it paints by itself."""

    @property
    def glyphs(self) -> Glyphs:
        """The signs this terminal can show."""
        return glyphs_of(self.app)

    def on_mount(self) -> None:
        self.mount(TooSmall())

    @on(events.ScreenResume)
    def _go_on_counting(self) -> None:
        if isinstance(self.app, ChangedCellsApp) and self.app.counts_bytes:
            from sidestep_tui.ui.widgets import debug

            debug.show(self)


class Dialog(ModalScreen[ResultT]):
    """A small window over a screen. Escape always means the harmless answer."""

    DEFAULT_CSS = """
    Dialog {
        align: center middle;
        background: $background 60%;
        & > .dialog {
            width: 72;
            max-width: 94%;
            height: auto;
            max-height: 90%;
            background: $surface;
            border: round $primary;
            border-title-color: $primary;
            border-title-style: bold;
            padding: 1 2;
        }
        & .buttons { height: 1; margin-top: 1; align-horizontal: right; }
        & Button { margin-left: 2; min-width: 10; }
        & Input { margin-top: 1; }
        & .hint { color: $muted; margin-top: 1; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss_dialog", "Cancel", id="dialog.cancel"),
        Binding("left,up", "app.focus_previous", "Previous", id="dialog.previous", show=False),
        Binding("right,down", "app.focus_next", "Next", id="dialog.next", show=False),
        # The app's own bindings end at a modal screen; these go on.
        Binding("f1,question_mark", "app.help", "Help", id="app.help", show=False, tooltip="Help for these keys"),
        Binding("ctrl+l", "app.redraw", "Redraw", id="app.redraw", show=False, tooltip="Paint the whole screen again"),
        Binding("ctrl+z", "app.suspend_process", "Suspend", id="app.suspend", show=False, tooltip="To the shell"),
    ]

    def action_dismiss_dialog(self) -> None:
        """Close with the harmless answer."""
        self.dismiss(None)
