"""Measuring what a run needs, in a process of its own that is gone afterwards with all that it held."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import tempfile
from collections.abc import Callable
from typing import IO, Any, Final

from sidestep_tui.core.errors import SidestepError
from sidestep_tui.launch import failures, spawn
from sidestep_tui.schema.model_shape import ModelShape
from sidestep_tui.schema.settings import Settings

MODULE: Final = "sidestep_tui.engine.probe"

Event = dict[str, Any]


def measure(settings: Settings, shape: ModelShape, report: Callable[[Event], None]) -> Event:
    """What the probe found (engine/probe.py, `Measured`); `report` hears of its phases and steps.

    Blocks. Raises what the probe refused, or OutOfMemoryError with the rung that would fit.
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
                return _listen(child, request, report, words)
            finally:
                child.kill()


def _listen(
    child: subprocess.Popen[bytes], request: dict[str, Any], report: Callable[[Event], None], words: IO[bytes]
) -> Event:
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write(json.dumps(request).encode() + b"\n")
        child.stdin.close()
    except BrokenPipeError:
        raise _death(child.wait(), words) from None
    for line in child.stdout:
        event: Event = json.loads(line)
        if event["type"] == "result":
            return event
        if event["type"] == "error":
            raise failures.refusal(event["kind"], event["title"], event["message"], event["hint"])
        report(event)
    raise _death(child.wait(), words)


def _death(code: int, words: IO[bytes]) -> SidestepError:
    return failures.silent_death(
        "The probe",
        code,
        words,
        if_killed="`sidestep-tui fit` without --probe shows what needs less.",
        hint="`sidestep-tui doctor` checks the packages.",
    )
