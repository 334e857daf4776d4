"""`state.json`: the last known state in one small file, so that a viewer paints at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sidestep_tui.core import atomic
from sidestep_tui.protocol.events import decode, encode
from sidestep_tui.protocol.rundir import RunDir

Snapshot = dict[str, Any]


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
