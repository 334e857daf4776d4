"""What the terminal's own title says about a run, and the bell at its end."""

from __future__ import annotations

from textual.app import App

from sidestep_tui.ui.widgets.panels import View
from sidestep_tui.ui.widgets.status import LIVE_STATUSES, condition

_KEEP = "\x1b[22;0t"
_RESTORE = "\x1b[23;0t"


def title_for(view: View) -> str:
    """Condition, share done and name; made of what a title can hold."""
    state = view.state
    shown = condition(state.status, view.liveness)
    share = f" {100 * state.step // state.total_steps} %" if state.total_steps and view.live else ""
    text = f"{shown.label(ascii_only=view.ascii_only)}{share} · {view.name}"
    return "".join(character for character in text if character.isprintable())


def announce(app: App[object], view: View, before: str) -> str:
    """Set the title when it changed; ring once when a run that was watched alive is over. Returns the new title.

    The title carries no cell of the screen, so it goes past the compositor, straight to the driver.
    """
    title = title_for(view)
    if title == before:
        return before
    # 22 puts the terminal's own title on its stack; 23 takes it back when the dashboard is gone.
    _write(app, f"{'' if before else _KEEP}\x1b]0;{title}\x07")
    was_live = before.startswith(_LIVE_GLYPHS)
    if was_live and (view.state.is_over or not view.live):
        app.bell()
    return title


def restore_title(app: App[object]) -> None:
    """Give the terminal the title it had before the first `announce`."""
    _write(app, _RESTORE)


def _write(app: App[object], sequence: str) -> None:
    driver = app._driver
    if driver is not None and not app.is_headless:
        driver.write(sequence)


_LIVE_GLYPHS = tuple({condition(status, None).glyph for status in LIVE_STATUSES})
