"""Commands to a running engine: one small JSON file each, published by rename.

Works before torch is imported, from a shell script, in a container and on a network home.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sidestep_tui.core import atomic
from sidestep_tui.core.errors import UsageError
from sidestep_tui.core.ids import short_id
from sidestep_tui.core.text import did_you_mean
from sidestep_tui.protocol.rundir import RunDir

COMMANDS = ("stop", "abort", "pause", "resume", "checkpoint", "sample")

_LARGEST = 64 * 1024


@dataclass(frozen=True, slots=True)
class Command:
    """One order to the engine; `problem` says why a file in the inbox was none."""

    id: str
    name: str
    by: str
    t: float
    args: dict[str, Any] = field(default_factory=dict)
    problem: str = ""


def send(run_dir: RunDir, name: str, by: str, **args: Any) -> str:
    """Put a command into the inbox and return its id, by which the journal will acknowledge it."""
    if name not in COMMANDS:
        raise UsageError(
            f"There is no command '{name}'.",
            f"An engine understands {', '.join(COMMANDS)}.",
            did_you_mean(name, COMMANDS),
        )
    command_id = short_id()
    now = time.time_ns()
    payload = {"id": command_id, "name": name, "by": by, "t": now / 1e9, "args": args}
    atomic.write_json(run_dir.inbox / f"{now:020d}-{command_id}.json", payload, indent=None)
    return command_id


class Inbox:
    """The engine's side: takes each command once, oldest first."""

    def __init__(self, run_dir: RunDir) -> None:
        self.path = run_dir.inbox

    def take(self) -> list[Command]:
        """Remove and return what lies in the inbox. A file that is no command comes back with its `problem`."""
        try:
            names = sorted(entry.name for entry in self.path.iterdir() if entry.is_file())
        except FileNotFoundError:
            return []
        commands = []
        for name in names:
            if not name.endswith(".json") or name.startswith("."):
                continue
            path = self.path / name
            command = _read(path)
            if command is None:
                continue
            path.unlink(missing_ok=True)
            commands.append(command)
        return commands


def _read(path: Path) -> Command | None:
    try:
        with path.open("rb") as handle:
            data = handle.read(_LARGEST + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        return _unreadable(path, f"it cannot be read ({error.strerror})")
    if len(data) > _LARGEST:
        return _unreadable(path, "it is larger than a command can be")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return _unreadable(path, "it is not JSON")
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return _unreadable(path, "it has no name")
    args = value.get("args")
    sent = value.get("t")
    return Command(
        id=str(value.get("id") or path.stem)[:64],
        name=value["name"][:64],
        by=str(value.get("by") or "unknown")[:64],
        t=float(sent) if isinstance(sent, int | float) else path_time(path),
        args=args if isinstance(args, dict) else {},
        problem="" if value["name"] in COMMANDS else f"there is no command '{value['name'][:64]}'",
    )


def path_time(path: Path) -> float:
    """When the file was written; now, if it is gone already."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return time.time()


def _unreadable(path: Path, problem: str) -> Command:
    return Command(id=path.stem[:64], name="unreadable", by="unknown", t=path_time(path), problem=problem)
