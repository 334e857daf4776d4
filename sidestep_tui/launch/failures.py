"""Why an engine ended before it began, as an error that carries the engine's own exit code."""

from __future__ import annotations

import signal

from sidestep_tui.core.errors import DivergedError, ExitCode, OutOfMemoryError, RunError, SidestepError
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


_KINDS: dict[int, type[SidestepError]] = {
    int(ExitCode.OUT_OF_MEMORY): OutOfMemoryError,
    int(ExitCode.DIVERGED): DivergedError,
    int(ExitCode.REFUSED): RunError,
    int(ExitCode.STOPPED): EngineStopped,
}


def early_death(run_dir: RunDir, returncode: int, event: Event | None = None) -> SidestepError:
    """The error for an engine that ended before it started its session; `event` is its own `error`, if it wrote one."""
    returncode = real_exit_code(run_dir, returncode)
    kind = OutOfMemoryError if returncode in KILLED else _KINDS.get(returncode, EngineBug)
    if event is not None and event.get("title"):
        return kind(str(event["title"]), str(event.get("msg", "")), str(event.get("hint", "")))
    death = explain_death(run_dir, returncode)
    words = [death.cause]
    if death.log_tail:
        words += ["Its last words:", *(f"  {line}" for line in death.log_tail)]
    return kind("The engine did not start.", "\n".join(words), f"The whole output is in {run_dir.log}.")
