"""`state.json`: the last known state in one small file, so that a viewer paints at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from types import NoneType
from typing import Any

from sidestep_tui.core import atomic
from sidestep_tui.protocol.events import VERSION, decode, encode
from sidestep_tui.protocol.facts import Best, Ended, Failure, Phase
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.protocol.state import RunState

Snapshot = dict[str, Any]

_PLAIN: dict[str, tuple[type, ...]] = {
    "seq": (int,),
    "session": (str,),
    "sessions": (int,),
    "status": (str,),
    "step": (int,),
    "total_steps": (int,),
    "epoch": (int,),
    "epochs": (int,),
    "steps_per_epoch": (int,),
    "metrics": (dict,),
    "gpus": (list,),
    "host": (dict,),
    "device": (str,),
    "engine": (str,),
    "adapter_parameters": (int, NoneType),
    "pid": (int, NoneType),
    "engine_host": (str,),
    "started": (int, float, NoneType),
    "session_started": (int, float, NoneType),
    "last_t": (int, float, NoneType),
}
"""What a snapshot takes over as it is, and of which types: a viewer must not trip over another program's file."""


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
        for name, types in _PLAIN.items():
            if name not in snapshot:
                continue
            if type(snapshot[name]) not in types:
                raise TypeError(name)
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


def is_covered(snapshot: Snapshot, run_dir: RunDir) -> bool:
    """Whether the journal is still as long as when the snapshot was taken."""
    offset = snapshot.get("journal_offset")
    try:
        return type(offset) is int and offset <= run_dir.events.stat().st_size
    except FileNotFoundError:
        return False


def heartbeat(snapshot: Snapshot | None) -> float | None:
    """When the engine last said that it is alive, in unix seconds."""
    value = snapshot.get("heartbeat") if snapshot else None
    return float(value) if isinstance(value, int | float) else None
