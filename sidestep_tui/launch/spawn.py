"""Starts engines as processes of their own, so that they outlive whoever started them.

The one module with platform code for detaching; everything else speaks to an engine through its run directory.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from sidestep_tui.core.errors import RunError

ENGINE_MODULE = "sidestep_tui.engine"

_ENGINE_ENVIRONMENT = {
    # Lines reach engine.log when they are written, not when a buffer fills.
    "PYTHONUNBUFFERED": "1",
    # The tokenizer's own thread pool warns after every fork and wins nothing on single prompts.
    "TOKENIZERS_PARALLELISM": "false",
    # Training reads local files only; a library that looks for updates would hang behind a firewall.
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
}


def interpreter() -> str:
    """The Python that runs engines: the one that runs this process."""
    return sys.executable or "python3"


def environment() -> dict[str, str]:
    """The caller's environment with what every engine process needs."""
    merged = dict(os.environ)
    merged.update(_ENGINE_ENVIRONMENT)
    source_tree = Path(__file__).resolve().parents[2]
    paths = [part for part in merged.get("PYTHONPATH", "").split(os.pathsep) if part]
    if (source_tree / "pyproject.toml").is_file() and str(source_tree) not in paths:
        # A source tree that is not installed still finds itself, whatever the working directory.
        merged["PYTHONPATH"] = os.pathsep.join([*paths, str(source_tree)])
    return merged


def python(module: str) -> list[str]:
    """The beginning of a command line that runs `module`; files in the working directory never stand in for it."""
    return [interpreter(), "-P", "-m", module]


def engine_command(run_dir: Path, module: str = ENGINE_MODULE) -> list[str]:
    """The command line of an engine for `run_dir`."""
    return [*python(module), str(run_dir)]


def spawn(run_dir: Path, module: str = ENGINE_MODULE) -> subprocess.Popen[bytes]:
    """Start an engine in its own session: no terminal, no pipe, output appended to the run's engine.log."""
    absolute = run_dir.resolve()
    command = engine_command(absolute, module)
    try:
        with (absolute / "engine.log").open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=environment(),
                close_fds=True,
            )
    except OSError as error:
        raise RunError(
            "The engine's process cannot be started.",
            f"{error.filename or command[0]}: {error.strerror}.",
            "`sidestep-tui doctor` shows which Python is used and where files can be written.",
        ) from error
