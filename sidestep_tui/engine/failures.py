"""What went wrong, in words: any exception becomes a reason, an exit code, a sentence and a remedy."""

from __future__ import annotations

import errno
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from sidestep_tui.core import atomic
from sidestep_tui.core.errors import DiskFullError, ExitCode, OutOfMemoryError, RunError, SidestepError

_MEMORY_SIGNS = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
    "invalid buffer size",  # MPS, for a single tensor above its limit
)
_DISK_TROUBLE = {
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENODEV,
    errno.ESTALE,
    errno.ENAMETOOLONG,
}
_REASONS = {
    ExitCode.OUT_OF_MEMORY: "out_of_memory",
    ExitCode.DIVERGED: "diverged",
    ExitCode.REFUSED: "refused",
    ExitCode.USAGE: "refused",
    ExitCode.STOPPED: "stopped",
}


class StopRequested(Exception):
    """Somebody asked for the end; `saves` says that what was learnt is to be kept."""

    def __init__(self, *, saves: bool) -> None:
        super().__init__("stop" if saves else "abort")
        self.saves = saves


class EngineBug(SidestepError):
    """Nobody's settings are to blame."""

    exit_code = ExitCode.BUG
    kind = "bug"


@dataclass(frozen=True, slots=True)
class Failure:
    """An error in words, and how it ends the session."""

    reason: str
    error: SidestepError
    traceback_path: Path | None = None

    @property
    def code(self) -> ExitCode:
        """The exit code of the process."""
        return self.error.exit_code


def describe(error: BaseException, run_dir: Path) -> Failure:
    """Put `error` into words. Only a bug leaves a traceback, in a file of its own."""
    explained = known(error)
    if explained is not None:
        reason = "failed" if isinstance(explained, DiskFullError) else _REASONS.get(explained.exit_code, "failed")
        return Failure(reason, explained)
    path: Path | None = None
    try:
        file = run_dir / f"engine-traceback-{time.strftime('%Y%m%d-%H%M%S')}.txt"
        atomic.write_text(file, "".join(traceback.format_exception(error)))
    except (OSError, DiskFullError):
        # The sentence still reaches the journal; the disk that refuses the traceback is the lesser news.
        traceback.print_exception(error)
    else:
        path = file
    bug = EngineBug(
        "The engine hit a bug.",
        f"{type(error).__name__}: {error}",
        f"The newest checkpoint is intact. Please report this with {path.name if path else 'engine.log'}.",
    )
    return Failure("failed", bug, path)


def known(error: BaseException) -> SidestepError | None:
    """The error as one that people can act on, or None if it is a bug."""
    if isinstance(error, SidestepError):
        return error
    if is_out_of_memory(error):
        return OutOfMemoryError(
            "Memory ran out.",
            str(error).strip().split("\n", 1)[0],
            "Switch gradient checkpointing on, use a smaller batch or a shorter crop, or close what else uses the "
            "device. A resumed run continues from the newest checkpoint.",
        )
    if isinstance(error, OSError) and error.errno in atomic.NO_ROOM:
        return DiskFullError(
            "The disk is full.",
            f"{error.filename or 'A file'} could not be written.",
            "Free some space (old checkpoints are the usual suspects), then resume the run.",
        )
    if isinstance(error, OSError) and error.errno in _DISK_TROUBLE and error.filename:
        return RunError(
            f"{error.filename} cannot be used.",
            f"{error.strerror}.",
            "Check the disk and its permissions, then resume the run.",
        )
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether host or device memory ran out, however the library at hand says so."""
    if isinstance(error, MemoryError):
        return True
    # torch.OutOfMemoryError is a RuntimeError; importing torch here to ask for it would hide why torch is missing.
    message = str(error).lower()
    is_named = type(error).__name__ == "OutOfMemoryError"
    return isinstance(error, RuntimeError) and (is_named or any(sign in message for sign in _MEMORY_SIGNS))
