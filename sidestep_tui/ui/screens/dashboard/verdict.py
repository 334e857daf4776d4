"""Why a run is over, what is kept, and the key that goes on from there. Pure."""

from __future__ import annotations

import textwrap

from sidestep_tui.core import text
from sidestep_tui.protocol.liveness import Death
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.ui.widgets.panels import View
from sidestep_tui.ui.widgets.rows import Row, row

_UNPLANNED = ("failed", "diverged", "out_of_memory", "refused")


def resumable(view: View) -> bool:
    """Whether going on from the newest checkpoint makes sense."""
    return not view.live and view.state.status not in ("finished", "fresh")


def verdict_rows(view: View, death: Death | None, run_dir: RunDir, width: int) -> list[Row]:
    """The explanation of an end that was not the planned one; empty for runs that go on or are done."""
    state = view.state
    if death is not None:
        going_on = f"Resume it from step {death.resume_step}."  # The key row says it again.
        return _told(death.cause, death.hint.removesuffix(going_on), view, width, "bad", death)
    if view.live or state.ended is None:
        return []
    if state.error is not None and state.status in _UNPLANNED:
        told = " ".join(part for part in (state.error.title, state.error.msg) if part)
        where = f"Traceback: {state.error.traceback_path}" if state.error.traceback_path else ""
        return _told(told, " ".join(part for part in (state.error.hint, where) if part), view, width, "bad")
    if state.status in _UNPLANNED:
        return _told(f"The run ended: {state.status.replace('_', ' ')}.", f"See {run_dir.log}.", view, width, "bad")
    if state.status in ("stopped", "aborted"):
        return _told(f"The run was {state.status} at step {text.thousands(state.ended.step)}.", "", view, width, "warn")
    return []


def _told(what: str, hint: str, view: View, width: int, style: str, death: Death | None = None) -> list[Row]:
    rows = [row((line, style)) for line in textwrap.wrap(what, width)[:3]]
    rows += [row(line) for line in textwrap.wrap(hint, width)[:2]]
    if not view.readonly and resumable(view):
        last = view.state.checkpoints[-1].step if view.state.checkpoints else None
        step = death.resume_step if death else last
        words = f" resume from step {text.thousands(step)}" if step is not None else " start again from the beginning"
        rows.append(row(("R", "accent"), words, ("   ! ", "accent"), "shell in the run's folder",
                        ("   y ", "accent"), "copy its path"))  # fmt: skip
    return rows


def log_tail_rows(death: Death) -> list[Row]:
    """The last lines of the engine's raw output, below the journal's own."""
    if not death.log_tail:
        return []
    return [row(("engine.log, last lines", "muted")), *(row(("  " + line, "warn")) for line in death.log_tail)]
