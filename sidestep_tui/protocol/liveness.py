"""Whether a run's engine is alive, and what killed one that is not.

Derived from the lock, the journal and the heartbeat, never from a stored "running" flag.
"""

from __future__ import annotations

import re
import shutil
import signal
from dataclasses import dataclass
from enum import StrEnum

from sidestep_tui.protocol import snapshot
from sidestep_tui.protocol.journal import last_event, last_events
from sidestep_tui.protocol.lock import Holder, boot_id, is_held, read_holder
from sidestep_tui.protocol.rundir import RunDir, checkpoint_step

_LAST_WORDS_BYTES = 16 * 1024
_EXIT_CODE = re.compile(r"^ *exitcode *: (-?\d+) \(pid", re.MULTILINE)

STALE_AFTER = 30.0
"""Seconds without a heartbeat after which a living engine counts as hung."""


class Liveness(StrEnum):
    """What the files of a run say about its engine."""

    FRESH = "fresh"
    """No engine has begun here."""
    RUNNING = "running"
    """The lock is held and the heartbeat is young."""
    STALE = "stale"
    """The lock is held, but nothing has been heard for a while: busy beyond measure, or hung."""
    ENDED = "ended"
    """The last session said goodbye."""
    DIED = "died"
    """The lock is free, yet the last session never said that it ended."""

    @property
    def is_alive(self) -> bool:
        """Whether an engine holds the run."""
        return self in (Liveness.RUNNING, Liveness.STALE)


def heartbeat_age(run_dir: RunDir, now: float) -> float | None:
    """Seconds since the engine last said that it is alive; None if it never did."""
    beat = snapshot.heartbeat(snapshot.read(run_dir))
    holder = read_holder(run_dir)
    if holder is not None and (beat is None or beat < holder.started):
        beat = holder.started  # The snapshot is an earlier session's: count from when this one began.
    return None if beat is None else max(0.0, now - beat)


def liveness(run_dir: RunDir, now: float) -> Liveness:
    """The state of the run's engine at `now` (unix seconds)."""
    if is_held(run_dir):
        age = heartbeat_age(run_dir, now)
        return Liveness.STALE if age is not None and age > STALE_AFTER else Liveness.RUNNING
    ended = _last_session_ended(run_dir)
    if ended is None:
        return Liveness.DIED if read_holder(run_dir) is not None else Liveness.FRESH
    return Liveness.ENDED if ended else Liveness.DIED


def _last_session_ended(run_dir: RunDir) -> bool | None:
    """Whether the newest session in the journal ended; None if the journal has no event."""
    newest = last_event(run_dir.events)
    if newest is None:
        return None
    if newest.get("type") == "session_ended":
        holder = read_holder(run_dir)
        # A session that took the lock and died before its first event left another's goodbye as the last line.
        return holder is None or holder.session == newest.get("session")
    # A straggling thread may write a line or two after the goodbye of its own session.
    return any(
        event.get("type") == "session_ended" and event.get("session") == newest.get("session")
        for event in last_events(run_dir.events)
    )


@dataclass(frozen=True, slots=True)
class Death:
    """What is known about an engine that died."""

    cause: str
    """One sentence."""
    hint: str
    """What to do about it."""
    log_tail: tuple[str, ...]
    """The last lines of engine.log."""
    resume_step: int | None
    """The step that a resume would continue from; None if it would start over."""


def explain_death(run_dir: RunDir, exit_code: int | None = None, *, log_lines: int = 12) -> Death:
    """Why the engine died, as far as its exit code and its log can tell.

    `exit_code` is the process's own (negative for a signal) or a shell's (128 + signal), where known.
    """
    tail = tail_of_log(run_dir, log_lines)
    exit_code = None if exit_code is None else real_exit_code(run_dir, exit_code)
    latest = run_dir.latest_checkpoint()
    step = checkpoint_step(latest) if latest else None
    cause, hint = _cause(exit_code, "\n".join(tail), read_holder(run_dir), is_full=_is_full(run_dir))
    resume = f"Resume it from step {step}." if step is not None else "Start it again: it had saved no checkpoint."
    return Death(cause, f"{hint} {resume}".strip(), tail, step)


def real_exit_code(run_dir: RunDir, code: int) -> int:
    """The engine's own exit code behind that of its process.

    torchrun ends with 1 whatever happened to the processes it started. The goodbye in the journal says what did, or
    else the last thing that torchrun logs.
    """
    if code != 1:
        return code
    newest, holder = last_event(run_dir.events), read_holder(run_dir)
    if newest is not None and newest.get("type") == "session_ended":
        said = newest.get("code")
        if isinstance(said, int) and (holder is None or holder.session == newest.get("session")):
            return said
    told = _EXIT_CODE.findall("\n".join(tail_of_log(run_dir, 40)))
    return int(told[-1]) if told else code


def _is_full(run_dir: RunDir) -> bool:
    """Whether the run's disk cannot even take an engine's last words."""
    try:
        return shutil.disk_usage(run_dir.path).free < _LAST_WORDS_BYTES
    except OSError:
        return False


def _cause(exit_code: int | None, log: str, holder: Holder | None, *, is_full: bool) -> tuple[str, str]:
    number = None
    if exit_code is not None:
        number = -exit_code if exit_code < 0 else exit_code - 128 if exit_code > 128 else None
    less_memory = "Free memory on the machine, or choose a smaller memory profile."
    if number == signal.SIGKILL:
        return "The engine was killed from outside, probably because the machine ran out of memory (exit code 137).", (
            less_memory
        )
    if number is not None:
        return f"The engine was ended by {_signal_name(number)}.", ""
    if "out of memory" in log.lower():
        return "The engine ran out of memory.", less_memory
    if "MemoryError" in log:
        return "The engine ran out of main memory.", less_memory
    if "Segmentation fault" in log or "Fatal Python error" in log:
        return "The engine crashed inside a native library.", "The last lines of engine.log name the place."
    if is_full:
        return "The disk that holds the run is full; the engine could not even write why it ended.", "Free some space."
    if exit_code is not None and exit_code != 0:
        return f"The engine ended with exit code {exit_code} and no goodbye.", "engine.log has the details."
    if holder is not None and _rebooted_since(holder):
        return "The machine restarted while the run was going.", ""
    return (
        "The engine vanished without a word: it was killed (kill -9, a full main memory) or the machine lost power.",
        "",
    )


def _rebooted_since(holder: Holder) -> bool:
    here = Holder.of_this_process("", 0.0)
    return holder.host == here.host and holder.boot_id != boot_id()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def tail_of_log(run_dir: RunDir, lines: int = 12) -> tuple[str, ...]:
    """The last lines of engine.log, without the blank ones."""
    try:
        with run_dir.log.open("rb") as handle:
            size = handle.seek(0, 2)
            handle.seek(max(0, size - 64 * 1024))
            text = handle.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ()
    # A progress bar rewrites its line: what counts is what it last said.
    shown = [line.rsplit("\r", 1)[-1].rstrip() for line in text.split("\n")]
    return tuple(line for line in shown if line.strip())[-lines:]
