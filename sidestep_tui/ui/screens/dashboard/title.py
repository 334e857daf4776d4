"""What the terminal's own title says about a run, and the bell at its end."""

from __future__ import annotations

from dataclasses import dataclass

from textual.app import App

from sidestep_tui.ui.widgets.panels import View
from sidestep_tui.ui.widgets.status import condition

_KEEP = "\x1b[22;0t"
_RESTORE = "\x1b[23;0t"


def title_for(view: View) -> str:
    """Condition, share done and name; made of what a title can hold."""
    state = view.state
    shown = condition(state.status, view.liveness)
    share = f" {100 * state.step // state.total_steps} %" if state.step and state.total_steps and view.live else ""
    text = f"{shown.label(ascii_only=view.ascii_only)}{share} · {view.name}"
    return "".join(character for character in text if character.isprintable())


def has_title(term: str) -> bool:
    """Whether a terminal of this kind has a title; the others would print what is meant for one."""
    return not term.startswith(("linux", "vt", "dumb", "cons"))


@dataclass(frozen=True, slots=True)
class Announced:
    """What was said last: the title, and whether the run was going on."""

    title: str = ""
    live: bool = False


def announce(app: App[object], view: View, before: Announced, *, term: str = "") -> Announced:
    """Set the title when it changed; ring once when a run that was watched alive is over. Returns what was said.

    The title carries no cell of the screen, so it goes past the compositor, straight to the driver.
    """
    now = Announced(title_for(view), view.live and not view.state.is_over)
    if now.title != before.title and has_title(term):
        # 22 puts the terminal's own title on its stack; 23 takes it back when the dashboard is gone.
        _write(app, f"{'' if before.title else _KEEP}\x1b]0;{now.title}\x07")
    if before.live and not now.live:
        app.bell()
    return now


def restore_title(app: App[object], *, term: str = "") -> None:
    """Give the terminal the title it had before the first `announce`."""
    if has_title(term):
        _write(app, _RESTORE)


def _write(app: App[object], sequence: str) -> None:
    driver = app._driver
    if driver is not None and not app.is_headless:
        driver.write(sequence)
