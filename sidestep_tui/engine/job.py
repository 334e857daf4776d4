"""`python -m sidestep_tui.engine.job`: what takes torch and is no run; encoding, a probe, adapter files.

Standard input holds one line of JSON, `{"do": "encode", …}`, and stays open: when it closes, whoever asked is gone.
Standard output gets one JSON object a line: `progress`, `warning`, then `result` or `error`. The exit code is that of
the error.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TextIO

from sidestep_tui.core import crashes
from sidestep_tui.core.errors import ExitCode, SidestepError
from sidestep_tui.engine import failures
from sidestep_tui.schema.model_shape import ModelShape
from sidestep_tui.schema.settings import Settings

Request = Mapping[str, Any]
Answer = dict[str, Any]

_GRACE_SECONDS: Final = 5.0
"""After this what is at hand is given up: one long song may take a processor ten minutes. Files are never half."""
_STOPS_BY_ITSELF: Final = ("encode", "plan")
"""Jobs that look whether to stop; others are interrupted, and clean up."""


class Channel:
    """Both directions to the process that asked."""

    def __init__(self, source: int, sink: TextIO) -> None:
        # A descriptor: a thread that waits in a buffered reader would break Python's exit.
        self._source, self._sink = source, sink
        self._asker_is_gone = threading.Event()

    def request(self) -> Request:
        """What to do; afterwards the end of the input is waited for."""
        line = bytearray()
        while not line.endswith(b"\n") and (data := os.read(self._source, 1 << 16)):
            line += data
        request: Request = json.loads(line)
        interrupts = request["do"] not in _STOPS_BY_ITSELF
        threading.Thread(target=self._wait_for_end, args=(interrupts,), daemon=True).start()
        return request

    def should_stop(self) -> bool:
        return self._asker_is_gone.is_set()

    def progress(self, phase: str, done: int = 0, total: int = 0, detail: str = "") -> None:
        self.say("progress", phase=phase, done=done, total=total, detail=detail)

    def warning(self, code: str, message: str, hint: str = "") -> None:
        self.say("warning", code=code, message=message, hint=hint)

    def say(self, event: str, **fields: Any) -> None:
        try:
            self._sink.write(json.dumps({"event": event, **fields}) + "\n")
            self._sink.flush()
        except BrokenPipeError:
            self._asker_is_gone.set()

    def _wait_for_end(self, interrupts: bool) -> None:
        while os.read(self._source, 1 << 16):
            pass
        self._asker_is_gone.set()
        if interrupts:
            # A signal wakes the thread from what it waits for.
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        # A timer and no sleep: it may never be needed.
        timer = threading.Timer(_GRACE_SECONDS, os._exit, (int(ExitCode.STOPPED),))
        timer.daemon = True
        timer.start()


def main() -> int:
    """Do what standard input asks; returns the process's exit code."""
    # Libraries print to standard output as they like: lines of JSON keep a descriptor to themselves.
    sink = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    channel = Channel(0, sink)
    # A shell has its background jobs ignore this.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        request = channel.request()
        answer = JOBS[request["do"]](request, channel)
    except KeyboardInterrupt:
        return int(ExitCode.STOPPED)
    except Exception as error:  # noqa: BLE001 - the border: everything that goes wrong is said in words
        failure = failures.known(error) or _bug(error)
        fields = {"kind": failure.kind, "title": failure.title, "message": failure.message, "hint": failure.hint}
        channel.say("error", **fields, code=int(failure.exit_code))
        return int(failure.exit_code)
    if channel.should_stop():
        return int(ExitCode.STOPPED)
    channel.say("result", **answer)
    return int(ExitCode.DONE)


def _bug(error: Exception) -> SidestepError:
    path = crashes.write_log(error)
    said = f"{type(error).__name__}: {error}"
    return failures.EngineBug("The engine hit a bug.", said, f"Please report this with {path}.")


# Imports are late: torch and the model's code take seconds, and what cannot be done is to be refused at once.


def _encode(request: Request, channel: Channel) -> Answer:
    from sidestep_tui.engine import encode_job

    settings = Settings.model_validate(request["settings"])
    return encode_job.carry_out(settings, channel, plan=request["do"] == "plan")


def _probe(request: Request, channel: Channel) -> Answer:
    from sidestep_tui.engine import probe

    shape = ModelShape(**request["shape"])
    measured = probe.measure(Settings.model_validate(request["settings"]), shape, channel.progress)
    return {**dataclasses.asdict(measured), "difference": measured.difference}


def _export(request: Request, channel: Channel) -> Answer:
    from sidestep_tui.engine import export_files

    places = [Path(request[name]) if request[name] else None for name in ("output", "model")]
    return export_files.export(Path(request["path"]), request["to"], *places)


def _effect(request: Request, channel: Channel) -> Answer:
    from sidestep_tui.engine import effect_job

    settings = Settings.model_validate(request["settings"])
    return effect_job.measure(Path(request["path"]), settings, request["source"], channel.progress)


JOBS: Final[Mapping[str, Callable[[Request, Channel], Answer]]] = {
    "encode": _encode,
    "plan": _encode,
    "probe": _probe,
    "export": _export,
    "effect": _effect,
}


if __name__ == "__main__":
    sys.exit(main())
