"""Asking the engine for a job that is no run: encoding, a probe, an export. In a process of its own, over a pipe.

The process ends with its asker: it notices when its standard input closes, whatever ended the asker.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, Any, Final, Literal

from sidestep_tui.core.errors import SidestepError
from sidestep_tui.launch import failures, spawn

MODULE: Final = "sidestep_tui.engine.job"
_LOOK_SECONDS: Final = 0.2
"""How long to listen before looking whether to stop."""
_PATIENCE_SECONDS: Final = 10.0
"""For a job that was asked to leave; it gives up what is at hand in half of that."""


@dataclass(frozen=True, slots=True)
class Said:
    """Progress (`what` is the phase, then `name` what is at hand) or a warning (`what` is its sentence)."""

    event: Literal["progress", "warning"]
    what: str
    done: int = 0
    total: int = 0
    name: str = ""
    code: str = ""
    hint: str = ""


Report = Callable[[Said], None]


@dataclass(frozen=True, slots=True)
class Job:
    """A kind of job, with what to say when its process ends without an answer."""

    do: str
    name: str
    if_killed: str
    hint: str = "`sidestep-tui doctor` checks the packages."


def ask(
    job: Job, request: Mapping[str, Any], report: Report, should_stop: Callable[[], bool] | None = None
) -> dict[str, Any]:
    """The answer to a request; `report` hears how it goes.

    Blocks, and looks at `should_stop` a few times a second. Raises what the job refused, EngineStopped when it was told
    to stop, and passes on what `report` raises (or Ctrl-C) once the job has ended.
    """
    with tempfile.TemporaryFile() as words, _child(words) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            child.stdin.write(json.dumps({"do": job.do, **request}).encode() + b"\n")
            child.stdin.flush()
        except BrokenPipeError:
            raise _death(job, child.wait(), words) from None
        for line in _lines(child.stdout, should_stop or (lambda: False)):
            message = json.loads(line)
            if message["event"] == "result":
                return {name: value for name, value in message.items() if name != "event"}
            if message["event"] == "error":
                raise failures.refusal(message["kind"], message["title"], message["message"], message["hint"])
            report(_said(message))
        raise _death(job, child.wait(), words)


def _said(message: dict[str, Any]) -> Said:
    if message["event"] == "progress":
        return Said("progress", message["phase"], message["done"], message["total"], message["detail"])
    return Said("warning", message["message"], code=message["code"], hint=message["hint"])


def _lines(source: IO[bytes], should_stop: Callable[[], bool]) -> Iterator[bytes]:
    """Whole lines as they come, until the other end closes."""
    buffer = b""
    with selectors.DefaultSelector() as selector:
        selector.register(source, selectors.EVENT_READ)
        while True:
            if should_stop():
                raise failures.EngineStopped("Stopped, as you asked.", "", "Start it again whenever you like.")
            if not selector.select(_LOOK_SECONDS):
                continue
            data = os.read(source.fileno(), 1 << 16)
            if not data:
                return
            *lines, buffer = (buffer + data).split(b"\n")
            yield from lines


@contextmanager
def _child(words: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """The job, in a session of its own so that Ctrl-C reaches the asker alone; it is gone at the end."""
    child = subprocess.Popen(
        spawn.python(MODULE),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=words,
        env=spawn.environment(),
        start_new_session=True,
    )
    try:
        yield child
    finally:
        try:
            _dismiss(child)
        finally:
            # Also when somebody presses Ctrl-C once more.
            child.kill()
            child.wait()
            if child.stdout is not None:
                child.stdout.close()


def _dismiss(child: subprocess.Popen[bytes]) -> None:
    """Ask the job to leave, and wait for it a while: it takes away what it has half written."""
    if child.stdin is not None:
        with suppress(BrokenPipeError):
            child.stdin.close()
    with suppress(subprocess.TimeoutExpired):
        child.wait(timeout=_PATIENCE_SECONDS)


def _death(job: Job, code: int, words: IO[bytes]) -> SidestepError:
    return failures.silent_death(job.name, code, words, if_killed=job.if_killed, hint=job.hint)
