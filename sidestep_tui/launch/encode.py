"""Filling the cache of encoded songs outside of a run, or asking what that would take: in a process of its own.

The process ends with its asker: it notices when its standard input closes, whatever ended the asker. What it has
encoded by then stays.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, Final, Literal

from sidestep_tui.core.errors import SidestepError
from sidestep_tui.launch import failures, spawn
from sidestep_tui.schema.settings import Settings

MODULE: Final = "sidestep_tui.engine.encode_main"
_PATIENCE_SECONDS: Final = 10.0
"""For an encoder that was asked to leave; it gives up the song at hand in half of that."""


@dataclass(frozen=True, slots=True)
class Said:
    """Progress (`what` is the phase, then `name` the song at hand) or a warning (`what` is its sentence)."""

    event: Literal["progress", "warning"]
    what: str
    done: int = 0
    total: int = 0
    name: str = ""
    code: str = ""
    hint: str = ""


Report = Callable[[Said], None]


def encode(settings: Settings, report: Report) -> dict[str, Any]:
    """Encode what is missing; returns counts: songs, copies, encoded (by kind), skipped, cache, device.

    Blocks. Raises what the encoder refused, and passes on what `report` raises (or Ctrl-C) once the encoder has ended.
    """
    return _ask(settings, report, plan=False)


def plan(settings: Settings, report: Report) -> dict[str, Any]:
    """What `encode` would do: songs with reasons, latents, seconds, texts, conditions, bytes; no model is loaded."""
    return _ask(settings, report, plan=True)


def _ask(settings: Settings, report: Report, *, plan: bool) -> dict[str, Any]:
    request = {"settings": settings.model_dump(mode="json"), "plan": plan}
    with tempfile.TemporaryFile() as words, _child(words) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            child.stdin.write(json.dumps(request).encode() + b"\n")
            child.stdin.flush()
        except BrokenPipeError:
            raise _death(child.wait(), words) from None
        for line in child.stdout:
            message = json.loads(line)
            if message["event"] == "result":
                return {name: value for name, value in message.items() if name != "event"}
            if message["event"] == "error":
                raise failures.refusal(message["kind"], message["title"], message["message"], message["hint"])
            report(_said(message))
        raise _death(child.wait(), words)


def _said(message: dict[str, Any]) -> Said:
    if message["event"] == "progress":
        return Said("progress", message["phase"], message["done"], message["total"], message["detail"])
    return Said("warning", message["message"], code=message["code"], hint=message["hint"])


@contextmanager
def _child(words: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """The encoder, in a session of its own so that Ctrl-C reaches the asker alone; it is gone at the end."""
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
    """Ask the encoder to leave, and wait for it a while."""
    if child.stdin is not None:
        try:
            child.stdin.close()
        except BrokenPipeError:
            return
    try:
        child.wait(timeout=_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        return


def _death(code: int, words: IO[bytes]) -> SidestepError:
    return failures.silent_death(
        "Encoding",
        code,
        words,
        if_killed="Close what else uses memory. What is encoded stays, and the next time continues from there.",
        hint="What is encoded stays. `sidestep-tui doctor` checks the packages.",
    )
