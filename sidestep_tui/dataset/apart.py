"""Scanning in a process of its own, for whoever draws on a terminal.

Reading audio headers loads numpy, may stall on a sick network disk, and lets the mp3 decoder print straight to
standard error, which is the screen. A child process keeps all of that away and can be stopped at any moment.
`python -m sidestep_tui.dataset.apart ROOT TXT_ROLE LANGUAGE` prints one JSON object per line.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from sidestep_tui.core.errors import DataError
from sidestep_tui.dataset.manifest import Manifest, Progress, dataset_folder, scan
from sidestep_tui.dataset.sidecars import TxtSetting

QUIET_SECONDS: Final = 60.0
_MODULE: Final = "sidestep_tui.dataset.apart"
_REPORTS_PER_SCAN: Final = 200


def scan_apart(
    root: Path | str,
    txt_role: TxtSetting = "auto",
    language: str = "unknown",
    progress: Progress | None = None,
    *,
    quiet_seconds: float = QUIET_SECONDS,
) -> Manifest:
    """`manifest.scan` in a child process: same results, same `DataError`; call it from a worker thread.

    Raising from `progress` stops the scan. A child that says nothing for `quiet_seconds` is given up.
    """
    folder = dataset_folder(root)
    command = [sys.executable, "-P", "-m", _MODULE, str(folder), txt_role, language]
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=_environment()
    )
    try:
        for message in _messages(child, quiet_seconds):
            if "done" in message:
                if progress is not None:
                    progress(message["done"], message["total"])
            elif "error" in message:
                raise DataError(*message["error"])
            else:
                return Manifest.from_dict(message["manifest"])
    finally:
        child.kill()
        child.wait()
        if child.stdout is not None:
            child.stdout.close()
    raise DataError(
        "The scan of the folder ended unexpectedly.",
        f"Its process stopped with status {child.returncode}.",
        "A damaged audio file may have broken the decoder: try the folder in halves to find it.",
    )


def _messages(child: subprocess.Popen[bytes], quiet_seconds: float) -> Iterator[dict[str, Any]]:
    """The child's lines as objects, until it closes its output."""
    assert child.stdout is not None
    descriptor = child.stdout.fileno()
    buffer = b""
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
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                yield json.loads(line)


def _environment() -> dict[str, str]:
    """The caller's environment; a source tree that is not installed still finds itself."""
    package_parent = str(Path(__file__).resolve().parents[2])
    paths = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*paths, package_parent])}


def _say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def _report(done: int, total: int) -> None:
    """Pass on about `_REPORTS_PER_SCAN` steps, the first and the last among them."""
    if done == total or done % max(1, total // _REPORTS_PER_SCAN) == 0:
        _say({"done": done, "total": total})


def main(arguments: list[str]) -> int:
    """The child's side."""
    root, txt_role, language = arguments
    role: TxtSetting = "caption" if txt_role == "caption" else "lyrics" if txt_role == "lyrics" else "auto"
    try:
        _say({"manifest": scan(root, role, language, _report).to_dict()})
    except DataError as error:
        _say({"error": [error.title, error.message, error.hint]})
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
