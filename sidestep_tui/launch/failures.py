"""Why an engine ended as it did, as an error that carries its exit code: runs, and jobs that answer on a pipe."""

from __future__ import annotations

import signal
from typing import IO

from sidestep_tui.core.errors import (
    AdapterError,
    DataError,
    DiskFullError,
    DivergedError,
    ExitCode,
    ModelError,
    OutOfMemoryError,
    RunError,
    SettingsError,
    SidestepError,
)
from sidestep_tui.protocol.events import Event
from sidestep_tui.protocol.liveness import explain_death, real_exit_code
from sidestep_tui.protocol.rundir import RunDir

KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)


class EngineBug(SidestepError):
    """The engine ended in a way that nobody planned for."""

    exit_code = ExitCode.BUG
    kind = "bug"


class EngineStopped(SidestepError):
    """The engine ended because somebody asked it to."""

    exit_code = ExitCode.STOPPED
    kind = "stopped"


_BY_CODE: dict[int, type[SidestepError]] = {
    int(ExitCode.OUT_OF_MEMORY): OutOfMemoryError,
    int(ExitCode.DIVERGED): DivergedError,
    int(ExitCode.REFUSED): RunError,
    int(ExitCode.STOPPED): EngineStopped,
}
_BY_KIND: dict[str, type[SidestepError]] = {
    kind.kind: kind
    for kind in (
        AdapterError,
        DataError,
        DiskFullError,
        DivergedError,
        ModelError,
        OutOfMemoryError,
        RunError,
        SettingsError,
        EngineBug,
    )
}
_LAST_WORDS = 8
"""Lines of a job's output that are shown when it ended without an answer."""


def refusal(kind: str, title: str, message: str, hint: str) -> SidestepError:
    """The error that a job of the engine put into words."""
    return _BY_KIND.get(kind, RunError)(title, message, hint)


def silent_death(job: str, code: int, output: IO[bytes], *, if_killed: str, hint: str) -> SidestepError:
    """The error for a `job` that ended without an answer; the hints are for one that was killed, and for any other."""
    if code in KILLED:
        return OutOfMemoryError(f"{job} was killed.", "The system most likely ran out of memory.", if_killed)
    output.seek(0)
    tail = output.read().decode("utf-8", "replace").strip().splitlines()[-_LAST_WORDS:]
    said = "\n".join([f"Its process stopped with status {code}.", *tail])
    return EngineBug(f"{job} ended unexpectedly.", said, hint)


def early_death(run_dir: RunDir, returncode: int, event: Event | None = None) -> SidestepError:
    """The error for an engine that ended before it started its session; `event` is its own `error`, if it wrote one."""
    returncode = real_exit_code(run_dir, returncode)
    kind = OutOfMemoryError if returncode in KILLED else _BY_CODE.get(returncode, EngineBug)
    if event is not None and event.get("title"):
        return kind(str(event["title"]), str(event.get("msg", "")), str(event.get("hint", "")))
    death = explain_death(run_dir, returncode)
    words = [death.cause]
    if death.log_tail:
        words += ["Its last words:", *(f"  {line}" for line in death.log_tail)]
    return kind("The engine did not start.", "\n".join(words), f"The whole output is in {run_dir.log}.")
