"""`state.json`: the last known state in one small file, so that a viewer paints at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sidestep_tui.core import atomic
from sidestep_tui.protocol.events import VERSION, decode, encode
from sidestep_tui.protocol.facts import Best, Ended, Failure, Phase
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.protocol.state import RunState

Snapshot = dict[str, Any]

_PLAIN = (
    "seq",
    "session",
    "sessions",
    "status",
    "step",
    "total_steps",
    "epoch",
    "epochs",
    "steps_per_epoch",
    "metrics",
    "gpus",
    "host",
    "device",
    "engine",
    "adapter_parameters",
    "pid",
    "engine_host",
    "started",
    "session_started",
    "last_t",
)


def describe(state: RunState, *, heartbeat: float, journal_offset: int) -> Snapshot:
    """A run's state as a snapshot: everything but the curves and the log."""
    snapshot: Snapshot = {"v": VERSION, "heartbeat": heartbeat, "journal_offset": journal_offset}
    snapshot |= {name: getattr(state, name) for name in _PLAIN}
    snapshot["phase"] = asdict(state.phase)
    for name, value in (("best", state.best), ("ended", state.ended), ("error", state.error)):
        snapshot[name] = asdict(value) if value is not None else None
    snapshot["seconds_per_step"] = state.seconds_per_step()
    return snapshot


def restore(snapshot: Snapshot) -> RunState:
    """A state to paint before the journal is read; raises ValueError if the snapshot is not one of ours.

    It is for showing only: the state to keep is built from the journal.
    """
    state = RunState(history=False)
    try:
        for name in _PLAIN:
            if name in snapshot:
                setattr(state, name, snapshot[name])
        state.phase = Phase(**snapshot.get("phase") or {})
        state.best = Best(**snapshot["best"]) if snapshot.get("best") else None
        state.ended = Ended(**snapshot["ended"]) if snapshot.get("ended") else None
        state.error = Failure(**snapshot["error"]) if snapshot.get("error") else None
    except (TypeError, AttributeError) as error:
        raise ValueError("state.json is of another version") from error
    return state


def write(run_dir: RunDir, snapshot: Mapping[str, Any]) -> None:
    """Replace the snapshot. Not synced to disk: the journal is the truth, this is rewritten every second."""
    atomic.write_bytes(run_dir.state, encode(snapshot), durable=False)


def read(run_dir: RunDir) -> Snapshot | None:
    """The last snapshot; None if there is none or it cannot be read."""
    try:
        return decode(run_dir.state.read_bytes())
    except (OSError, ValueError):
        return None


def heartbeat(snapshot: Snapshot | None) -> float | None:
    """When the engine last said that it is alive, in unix seconds."""
    value = snapshot.get("heartbeat") if snapshot else None
    return float(value) if isinstance(value, int | float) else None
