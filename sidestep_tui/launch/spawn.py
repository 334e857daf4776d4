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
LAUNCHER_MODULE = "torch.distributed.run"

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


def engine_command(run_dir: Path, module: str = ENGINE_MODULE, *, processes: int = 1) -> list[str]:
    """The command line of an engine for `run_dir`; several processes are started and looked after by torchrun."""
    if processes == 1:
        return [*python(module), str(run_dir)]
    number = str(processes)
    return [*python(LAUNCHER_MODULE), "--standalone", "--nproc-per-node", number, "-m", module, str(run_dir)]


def spawn(
    run_dir: Path, module: str = ENGINE_MODULE, *, processes: int = 1, visible: str = ""
) -> subprocess.Popen[bytes]:
    """Start an engine in its own session: no terminal, no pipe, output appended to the run's engine.log.

    Of several processes the launcher is returned: it passes signals on, and when it is killed the engine stops and
    saves. `visible` limits the GPUs that they see.
    """
    absolute = run_dir.resolve()
    command = engine_command(absolute, module, processes=processes)
    env = environment()
    if processes > 1:
        # The launcher's own children look for modules in the working directory unless they are told not to.
        env["PYTHONSAFEPATH"] = "1"
    if visible:
        env["CUDA_VISIBLE_DEVICES"] = visible
    try:
        with (absolute / "engine.log").open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=env,
                close_fds=True,
            )
    except OSError as error:
        raise RunError(
            "The engine's process cannot be started.",
            f"{error.filename or command[0]}: {error.strerror}.",
            "`sidestep-tui doctor` shows which Python is used and where files can be written.",
        ) from error
