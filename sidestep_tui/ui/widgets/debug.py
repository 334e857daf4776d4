"""The debug line: what goes to the terminal now, in the corner of whichever screen is shown."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from textual.screen import Screen
from textual.widgets import Static

from sidestep_tui.ui.base import SidestepScreen
from sidestep_tui.ui.display import ChangedCellsApp, Traffic
from sidestep_tui.ui.governor import Governor

_EVERY = 1.0
_LATE = 0.01


def line(before: Traffic, after: Traffic, *, seconds: float, late: float) -> str:
    """What happened between two counts."""
    frames = (after.frames - before.frames) / seconds
    parts = [f"{frames:.1f} frames/s", f"{max(after.bytes - before.bytes, 0) / seconds:,.0f} B/s"]
    parts.append(f"{late * 1000:.0f} ms late" if late >= _LATE else "on time")
    if after.held > before.held:
        parts.append(f"{after.held - before.held} held back")
    return "  ".join(parts)


def pace(governor: Governor) -> str:
    """How often a screen with a governor paints, and why not more often."""
    why = "frozen" if governor.frozen else "slow line" if governor.slowed else ""
    return f"paints at {1 / governor.interval:.2g}/s" + (f" ({why})" if why else "")


class DebugLine(Static):
    """Frames, bytes and lateness of the last second. What it writes itself is not counted."""

    DEFAULT_CSS = """
    DebugLine {
        layer: _toastrack;
        dock: right;
        width: auto;
        height: 1;
        padding: 0 1;
        background: $panel;
        color: $foreground;
    }
    """

    def __init__(self, governor: Governor | None) -> None:
        super().__init__("counting", markup=False)
        self._governor = governor
        self._own = Traffic()
        self._said = ""

    @property
    def _app(self) -> ChangedCellsApp:
        assert isinstance(self.app, ChangedCellsApp)
        return self.app

    def on_mount(self) -> None:
        self._mark()
        self.set_interval(_EVERY, self._tick)

    def _mark(self) -> None:
        self._before = replace(self._app.traffic)
        self._since = time.monotonic()
        self._own.frames = self._own.bytes = 0

    def _tick(self) -> None:
        app = self._app
        if not app.counts_bytes:
            self.remove()
            return
        seconds = time.monotonic() - self._since
        now, own = app.traffic, self._own
        seen = Traffic(now.frames - own.frames, now.held, now.bytes - own.bytes)
        said = line(self._before, seen, seconds=seconds, late=max(seconds - _EVERY, 0.0))
        if self._governor is not None:
            said += "  " + pace(self._governor)
        self._mark()
        if said == self._said or self.screen not in app.screen_stack:
            return
        self._said = said
        written = now.bytes

        def painted() -> None:
            own.frames += 1
            own.bytes += app.traffic.bytes - written

        self.update(said)
        app.when_painted(painted)


def toggle(app: ChangedCellsApp) -> None:
    """Begin to count and show, or stop; without the line nothing is counted and nothing is written."""
    app.count_bytes(on=not app.counts_bytes)
    if app.counts_bytes:
        show(app.screen)
    for screen in app.screen_stack:
        if not app.counts_bytes:
            screen.query(DebugLine).remove()


def show(screen: Screen[Any]) -> None:
    """Put the line on a screen that has none yet."""
    if not screen.query(DebugLine):
        screen.mount(DebugLine(screen.governor if isinstance(screen, SidestepScreen) else None))
