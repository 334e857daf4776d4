"""Looking at songs in a process of its own, for whoever draws on a terminal.

Reading audio loads numpy, may stall on a sick network disk, and lets the mp3 decoder print straight to standard error,
which is the screen. A child process keeps all of that away and can be stopped at any moment. What it can do is listed
in `apart_tasks.TASKS`.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from sidestep_tui.core.errors import DataError
from sidestep_tui.dataset.manifest import Manifest, Progress, dataset_folder
from sidestep_tui.dataset.sidecars import TxtSetting

QUIET_SECONDS: Final = 60.0
_MODULE: Final = "sidestep_tui.dataset.apart_tasks"

Report = Callable[[str, int, int], None]
"""Called with what is being done, the number done and the number in all; raising from it stops the child."""


def call(
    task: str, parameters: dict[str, Any], report: Report | None = None, *, quiet_seconds: float = QUIET_SECONDS
) -> Any:
    """Run a task of `apart_tasks.TASKS` in a child process; returns its JSON value. Call it from a worker thread.

    A `DataError` of the task arrives as it was raised. A child that says nothing for `quiet_seconds` is given up.
    """
    command = [sys.executable, "-P", "-m", _MODULE, task]
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=_environment()
    )
    try:
        _hand_over(child, json.dumps(parameters).encode())
        for message in _messages(child, quiet_seconds):
            if "done" in message:
                if report is not None:
                    report(message["doing"], message["done"], message["total"])
            elif "error" in message:
                raise DataError(*message["error"])
            else:
                return message["result"]
    finally:
        child.kill()
        child.wait()
        if child.stdout is not None:
            child.stdout.close()
    raise DataError(
        "Looking at the songs ended unexpectedly.",
        f"Its process stopped with status {child.returncode}.",
        "A damaged audio file may have broken the decoder: try the folder in halves to find it.",
    )


def scan_apart(
    root: Path | str,
    txt_role: TxtSetting = "auto",
    language: str = "unknown",
    progress: Progress | None = None,
    *,
    quiet_seconds: float = QUIET_SECONDS,
) -> Manifest:
    """`manifest.scan` in a child process: same results, same `DataError`; call it from a worker thread."""
    parameters = {"root": str(dataset_folder(root)), "txt_role": txt_role, "language": language}
    report: Report | None = None
    if progress is not None:
        report = lambda _doing, done, total: progress(done, total)  # noqa: E731 (a def would hide the narrowing)
    return Manifest.from_dict(call("scan", parameters, report, quiet_seconds=quiet_seconds))


def _hand_over(child: subprocess.Popen[bytes], parameters: bytes) -> None:
    """Give the child its parameters; one that died at once has said why elsewhere."""
    assert child.stdin is not None
    try:
        child.stdin.write(parameters)
        child.stdin.close()
    except BrokenPipeError:
        return


def _messages(child: subprocess.Popen[bytes], quiet_seconds: float) -> Iterator[dict[str, Any]]:
    """The child's lines as objects, until it closes its output."""
    assert child.stdout is not None
    descriptor = child.stdout.fileno()
    buffer = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while True:
            if not selector.select(quiet_seconds):
                raise DataError(
                    "The folder does not answer.",
                    f"Nothing could be read for {quiet_seconds:.0f} seconds.",
                    "Check the disk or the network share it is on.",
                )
            data = os.read(descriptor, 1 << 16)
            if not data:
                return
            buffer += data
            if b"\n" in data:
                *lines, rest = buffer.split(b"\n")
                buffer = bytearray(rest)
                for line in lines:
                    yield json.loads(line)


def _environment() -> dict[str, str]:
    """The caller's environment; a source tree that is not installed still finds itself."""
    package_parent = str(Path(__file__).resolve().parents[2])
    paths = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*paths, package_parent])}
