"""Measuring what a run needs, in a process of its own that is gone afterwards with all that it held."""

from __future__ import annotations

import dataclasses
import json
import os
import selectors
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from typing import IO, Any, Final

from sidestep_tui.core.errors import SidestepError
from sidestep_tui.launch import failures, spawn
from sidestep_tui.schema.model_shape import ModelShape
from sidestep_tui.schema.settings import Settings

MODULE: Final = "sidestep_tui.engine.probe"

_LOOK_SECONDS = 0.2
"""How long to listen before looking whether to stop."""

Event = dict[str, Any]


def measure(
    settings: Settings,
    shape: ModelShape,
    report: Callable[[Event], None],
    should_stop: Callable[[], bool] = lambda: False,
) -> Event:
    """What the probe found (engine/probe.py, `Measured`); `report` hears of its phases and steps.

    Blocks, and looks at `should_stop` a few times a second. Raises what the probe refused, OutOfMemoryError with the
    rung that would fit, or EngineStopped when it was told to stop.
    """
    request = {"settings": settings.model_dump(mode="json"), "shape": dataclasses.asdict(shape)}
    with tempfile.TemporaryFile() as words:
        child = subprocess.Popen(
            spawn.python(MODULE),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=words,
            env=spawn.environment(),
        )
        with child:
            try:
                return _listen(child, request, report, words, should_stop)
            finally:
                child.kill()


def _listen(
    child: subprocess.Popen[bytes],
    request: dict[str, Any],
    report: Callable[[Event], None],
    words: IO[bytes],
    should_stop: Callable[[], bool],
) -> Event:
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write(json.dumps(request).encode() + b"\n")
        child.stdin.close()
    except BrokenPipeError:
        raise _death(child.wait(), words) from None
    for line in _lines(child.stdout, should_stop):
        event: Event = json.loads(line)
        if event["type"] == "result":
            return event
        if event["type"] == "error":
            raise failures.refusal(event["kind"], event["title"], event["message"], event["hint"])
        report(event)
    raise _death(child.wait(), words)


def _lines(source: IO[bytes], should_stop: Callable[[], bool]) -> Iterator[bytes]:
    """Whole lines as they come, until the other end closes."""
    buffer = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(source, selectors.EVENT_READ)
        while True:
            if should_stop():
                raise failures.EngineStopped("The measurement was stopped.", "", "Start it again whenever you like.")
            if not selector.select(_LOOK_SECONDS):
                continue
            data = os.read(source.fileno(), 1 << 16)
            if not data:
                return
            buffer += data
            *lines, rest = buffer.split(b"\n")
            buffer = bytearray(rest)
            yield from map(bytes, lines)


def _death(code: int, words: IO[bytes]) -> SidestepError:
    return failures.silent_death(
        "The probe",
        code,
        words,
        if_killed="`sidestep-tui fit` without --probe shows what needs less.",
        hint="`sidestep-tui doctor` checks the packages.",
    )
