"""Which of several processes of one run this is, as `torchrun` and `accelerate launch` say it; without torch.

The first process alone writes the run's directory and hears commands. The others compute what it computes on other
songs, write what they have to say to a log of their own, and end when it ends.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sidestep_tui.core.errors import UsageError
from sidestep_tui.engine.control import Control, Orders
from sidestep_tui.engine.reporter import Reporter
from sidestep_tui.protocol.lock import is_held
from sidestep_tui.protocol.rundir import RunDir

_TOLD = {"log": "msg", "warning": "msg", "error": "msg"}
"""Events that a later process writes to its log, and the field that says what."""
_LINGER_SECONDS = 20.0
_LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class World:
    """This process among `size` of them: `rank` counts all, `local_rank` those of this machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @classmethod
    def of_environment(cls, env: Mapping[str, str]) -> World:
        """What RANK, WORLD_SIZE, LOCAL_RANK and LOCAL_WORLD_SIZE say; one process where they are not set.

        Raises UsageError when they contradict each other.
        """
        if "WORLD_SIZE" not in env:
            return cls()
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        try:
            rank, size = int(env["RANK"]), int(env["WORLD_SIZE"])
            world = cls(rank, size, int(env.get("LOCAL_RANK", rank)), int(env.get("LOCAL_WORLD_SIZE", size)))
        except (KeyError, ValueError) as error:
            said = ", ".join(f"{name}={env[name]}" for name in names if name in env)
            raise UsageError(
                "The environment does not say which process this is.",
                f"WORLD_SIZE is set, but the rest cannot be read: {said}.",
                "Start the engine with torchrun, accelerate launch or sidestep-tui, or unset WORLD_SIZE.",
            ) from error
        if not 0 <= world.rank < world.size:
            raise UsageError("The environment contradicts itself.", f"RANK={world.rank} of WORLD_SIZE={world.size}.")
        return world

    @property
    def is_first(self) -> bool:
        """Whether this process writes the run's directory."""
        return self.rank == 0


def redirect_output(run_dir: RunDir, world: World) -> None:
    """Send what this process and its libraries print to `engine.rank1.log`, …: engine.log is the first one's."""
    log = os.open(run_dir.path / f"engine.rank{world.rank}.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)


def linger(run_dir: RunDir, seconds: float = _LINGER_SECONDS) -> None:
    """Wait until the first process has let go of the run: a launcher ends all as soon as one ends in trouble."""
    deadline = time.monotonic() + seconds
    while is_held(run_dir) and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)


class SilentJournal:
    """Stands where a journal would be."""

    repaired_bytes = 0

    def sync(self) -> None:
        """Nothing was written."""

    def is_in_place(self) -> bool:
        """The first process looks after that."""
        return True


class LaterReporter(Reporter):
    """The voice of a later process: warnings and errors go to its log, nothing goes to the run's directory."""

    def __init__(self, run_dir: RunDir, session: str) -> None:  # nothing of the base's is needed
        self.run_dir = run_dir
        self.session = session
        self.journal: Any = SilentJournal()
        self.began = time.time()

    def started(self, *, device: str, **fields: Any) -> None:
        """The device is what differs."""
        print(f"Computing on {device}.", file=sys.stderr, flush=True)

    def phase(self, name: str, done: int = 0, total: int = 0, detail: str | None = None) -> None:
        """The first process says it."""

    def ended(self, reason: str, code: int, step: int) -> None:
        """A last line for the log."""
        print(f"Ended at step {step}: {reason}.", file=sys.stderr, flush=True)

    def write_snapshot(self) -> None:
        """The first process does."""

    def refuse_elsewhere(self) -> None:
        """The first process does."""

    def close(self) -> None:
        """Nothing is open."""

    def _emit(self, type: str, **fields: Any) -> Any:
        if type in _TOLD:
            print(f"{type}: {fields.get('title', '')} {fields[_TOLD[type]]}", file=sys.stderr, flush=True)


class LaterControl(Control):
    """The ears of a later process: deaf, since the first one hears for all."""

    def start(self) -> None:
        """A launcher passes every signal to all processes; the first one's answer counts."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            self._old_handlers[number] = signal.signal(number, signal.SIG_IGN)

    def poll(self) -> Orders:
        """None: `distributed.from_first` brings those of the first process."""
        return Orders()

    def should_stop(self) -> bool:
        """Never by itself."""
        return False

    def finish(self) -> None:
        """Nothing is open."""
