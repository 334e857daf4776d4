"""Jumping: a letter on everything that can have the focus; typing it goes there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.geometry import Offset
from textual.screen import ModalScreen, Screen
from textual.widget import Widget
from textual.widgets import Static

LETTERS = "asdfjklghqwertyuiopzxcvbnm"


class Jump(ModalScreen[Widget | None]):
    """The widget whose letter was typed, or None for any other key."""

    DEFAULT_CSS = """
    Jump { background: transparent; }
    Jump > Static {
        position: absolute;
        width: 3;
        height: 1;
        background: $background;
        color: $warning;
        text-style: bold reverse;  /* readable, too, where both are the terminal's own */
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+o", "cancel", "Cancel", id="jump.cancel", show=False),
    ]

    def __init__(self, targets: Sequence[tuple[Widget, Offset]]) -> None:
        super().__init__()
        self._targets = dict(zip(LETTERS, targets, strict=False))

    def compose(self) -> ComposeResult:
        for letter, (_, offset) in self._targets.items():
            label = Static(f" {letter} ", markup=False)
            label.styles.offset = offset
            yield label

    def on_key(self, event: events.Key) -> None:
        """A letter goes there; anything else ends it."""
        if event.key in ("escape", "ctrl+o"):
            return
        event.stop()
        target = self._targets.get(event.character or "")
        self.dismiss(target[0] if target else None)

    def action_cancel(self) -> None:
        """Stay where we were."""
        self.dismiss(None)


def targets_of(screen: Screen[object]) -> list[tuple[Widget, Offset]]:
    """What can have the focus and is in view, from top to bottom, with the place of its letter."""
    found = []
    for widget in screen.focus_chain:
        region = widget.region.intersection(
            widget.parent.region if isinstance(widget.parent, Widget) else widget.region
        )
        if region.area > 0:
            found.append((widget, region.offset))
    return sorted(found, key=lambda target: (target[1].y, target[1].x))
