"""The last line of a screen: the keys that work now. One widget of one line, painted only when it changes.

Textual's footer mounts a widget per key and makes them all anew whenever the focus moves: 16 ms of a slow core per
key press, a fifth of what a screen's test costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from textual.binding import ActiveBinding
from textual.content import Content
from textual.events import Click
from textual.screen import Screen
from textual.widget import Widget

from sidestep_tui.ui.theme import glyphs_of


@dataclass(frozen=True, slots=True)
class Key:
    """A binding as it is shown: `key` as Textual calls it, `display` as people do."""

    key: str
    display: str
    description: str
    enabled: bool = True

    @property
    def width(self) -> int:
        return len(self.display) + 1 + len(self.description)


def fitting(keys: Sequence[Key], width: int) -> tuple[Key, ...]:
    """The keys that fit into a line, none of them cut: later ones go first, but never the help."""
    kept = list(keys)
    while kept and sum(key.width + 1 for key in kept) + 1 > width:
        going = next((key for key in reversed(kept) if key.description != "Help"), kept[-1])
        kept.remove(going)
    return tuple(kept)


class KeyBar(Widget):
    """Keys of the focused widget, its screen and the app; with `palette`, the palette's at the right."""

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    KeyBar { dock: bottom; height: 1; color: $footer-foreground; background: $footer-background; }
    """

    def __init__(self, *, palette: bool = False) -> None:
        super().__init__()
        self._palette = palette
        self._keys: tuple[Key, ...] = ()
        self._corner: Key | None = None
        self._places: list[tuple[range, Key]] = []

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._look_again)

    def _look_again(self, screen: Screen[Any]) -> None:
        """The bindings may have changed; the line is painted only if they have."""
        if self.is_attached and screen is self.screen and self.app.app_focus:
            self.call_after_refresh(self._look)

    def _look(self) -> None:
        if not self.is_attached:  # the screen has been closed meanwhile
            return
        active = self.screen.active_bindings
        first: dict[str, ActiveBinding] = {}
        for entry in active.values():
            if entry.binding.show:
                first.setdefault(entry.binding.action, entry)
        keys = tuple(
            Key(binding.key, self.app.get_key_display(binding), binding.description, enabled)
            for _, binding, enabled, _ in first.values()
        )
        corner = active.get(self.app.COMMAND_PALETTE_BINDING) if self._palette else None
        shown = (
            Key(corner.binding.key, self.app.get_key_display(corner.binding), corner.binding.description)
            if corner
            else None
        )
        if (keys, shown) != (self._keys, self._corner):
            self._keys, self._corner = keys, shown
            self.refresh()

    def render(self) -> Content:
        width = self.size.width
        taken = self._corner.width + 1 if self._corner else 0
        keys = fitting(self._keys, width - taken)
        parts: list[Content | tuple[str, str] | str] = []
        self._places = []
        at = 0
        for key in keys:
            parts += [" ", *_styled(key)]
            self._places.append((range(at + 1, at + 1 + key.width), key))
            at += 1 + key.width
        if self._corner and at + taken <= width:
            parts += [" " * (width - taken - at), (glyphs_of(self.app).rule, "$foreground 20%")]
            parts += _styled(self._corner)
            self._places.append((range(width - taken + 1, width), self._corner))
        return Content.assemble(*parts)

    def on_click(self, event: Click) -> None:
        """A click on a key presses it."""
        for place, key in self._places:
            if event.x in place:
                if key.enabled:
                    self.app.simulate_key(key.key)
                else:
                    self.app.bell()


def _styled(key: Key) -> list[tuple[str, str]]:
    dim = "" if key.enabled else " dim"
    return [
        (key.display, "bold $footer-key-foreground" + dim),
        (f" {key.description}", "$footer-description-foreground" + dim),
    ]
