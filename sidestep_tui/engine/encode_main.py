"""`python -m sidestep_tui.engine.encode_main`: fill the cache of encoded songs, or say what that would take.

Standard input holds one line of JSON, `{"settings": …, "plan": false}`, and stays open: when it closes, whoever asked
is gone, and encoding ends at the next song, or in the middle of one after a few seconds. Standard output gets one JSON
object a line, `progress`, `warning`, then `result` or `error`; the exit code is that of the error.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any, Final, TextIO

from sidestep_tui.core import crashes
from sidestep_tui.core.errors import DiskFullError, ExitCode, OutOfMemoryError, SidestepError
from sidestep_tui.dataset import manifest
from sidestep_tui.engine import failures
from sidestep_tui.schema.settings import Settings

_GRACE_SECONDS: Final = 5.0
"""After this a song at hand is given up: one long song may take a processor ten minutes. Entries are never half."""


class _Channel:
    """Both directions to the process that asked."""

    def __init__(self, source: int, sink: TextIO) -> None:
        # A descriptor: a thread that waits in a buffered reader would break Python's exit.
        self._source, self._sink = source, sink
        self._asker_is_gone = threading.Event()

    def request(self) -> dict[str, Any]:
        """What to do; afterwards the end of the input is waited for."""
        line = bytearray()
        while not line.endswith(b"\n") and (data := os.read(self._source, 1 << 16)):
            line += data
        request: dict[str, Any] = json.loads(line)
        threading.Thread(target=self._wait_for_end, daemon=True).start()
        return request

    def should_stop(self) -> bool:
        return self._asker_is_gone.is_set()

    def progress(self, phase: str, done: int, total: int, detail: str) -> None:
        self.say("progress", phase=phase, done=done, total=total, detail=detail)

    def warning(self, code: str, message: str, hint: str = "") -> None:
        self.say("warning", code=code, message=message, hint=hint)

    def say(self, event: str, **fields: Any) -> None:
        try:
            self._sink.write(json.dumps({"event": event, **fields}) + "\n")
            self._sink.flush()
        except BrokenPipeError:
            self._asker_is_gone.set()

    def _wait_for_end(self) -> None:
        while os.read(self._source, 1 << 16):
            pass
        self._asker_is_gone.set()
        # A timer and no sleep: it may never be needed.
        timer = threading.Timer(_GRACE_SECONDS, os._exit, (int(ExitCode.STOPPED),))
        timer.daemon = True
        timer.start()


def main() -> int:
    """Do what standard input asks; returns the process's exit code."""
    # Libraries print to standard output as they like: lines of JSON keep a descriptor to themselves.
    sink = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    channel = _Channel(0, sink)
    try:
        request = channel.request()
        result = _carry_out(Settings.model_validate(request["settings"]), channel, plan=request["plan"])
    except Exception as error:  # noqa: BLE001 - the border: everything that goes wrong is said in words
        failure = _in_words(error)
        fields = {"kind": failure.kind, "title": failure.title, "message": failure.message, "hint": failure.hint}
        channel.say("error", **fields, code=int(failure.exit_code))
        return int(failure.exit_code)
    if channel.should_stop():
        return int(ExitCode.STOPPED)
    channel.say("result", **result)
    return int(ExitCode.DONE)


def _carry_out(settings: Settings, channel: _Channel, *, plan: bool) -> dict[str, Any]:
    """Plan or encode; plain values for JSON."""
    songs = manifest.scan(settings.data.path, settings.data.txt_role, settings.data.language)
    # 5 s and more (torch, diffusers): after the songs, so that a folder that cannot be used is refused at once.
    from sidestep_tui.engine import devices, encode, encode_plan, pieces, weights

    device = devices.choose(settings.memory)
    dtype = devices.for_encoding(devices.precision(settings.memory, device))
    devices.prepare(device)
    ckpt = weights.find_checkpoint(settings.model.path, settings.model.variant, settings.model.components)
    for skipped in songs.skipped:
        channel.warning("song_skipped", skipped.sentence)
    for sentence in songs.warnings:
        channel.warning("dataset", sentence)
    where = {"cache": str(pieces.cache_root(settings.data)), "device": devices.describe(device, dtype)}
    if plan:
        planned = encode_plan.plan(songs, ckpt, settings, dtype, channel.progress, channel.should_stop)
        return {**where, **planned.to_dict()}
    made = encode.encode_dataset(
        songs, ckpt, settings, device, dtype, channel.progress, channel.should_stop, channel.warning
    )
    return {
        **where,
        "songs": len(made.songs),
        "copies": sum(len(song.takes) for song in made.songs),
        "encoded": made.made,
        "skipped": [{"name": name, "reason": reason} for name, reason in made.skipped],
    }


def _in_words(error: Exception) -> SidestepError:
    """The error for people; what is a run's remedy becomes that of encoding."""
    known = failures.known(error)
    again = "What is encoded stays, and the next time continues from there."
    if known is None:
        path = crashes.write_log(error)
        return failures.EngineBug(
            "Encoding hit a bug.", f"{type(error).__name__}: {error}", f"Please report this with {path}."
        )
    if isinstance(known, OutOfMemoryError):
        return OutOfMemoryError(known.title, known.message, f"Close what else uses the device. {again}")
    if isinstance(known, DiskFullError):
        return DiskFullError(known.title, known.message, f"Free some space. {again}")
    return known


if __name__ == "__main__":
    sys.exit(main())
