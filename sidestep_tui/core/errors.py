"""The one error type people see, and the exit codes that scripts rely on."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Process exit codes; part of the command-line contract."""

    DONE = 0
    USAGE = 2
    STOPPED = 3
    REFUSED = 4
    OUT_OF_MEMORY = 5
    DIVERGED = 6
    BUG = 70


class SidestepError(Exception):
    """Something a person can act on: what happened, why, and what to do about it.

    Raise it where the remedy is known; borders (CLI main, engine main, app hook) print it without a traceback.
    """

    exit_code: ExitCode = ExitCode.REFUSED
    kind: str = "refused"

    def __init__(self, title: str, message: str = "", hint: str = "") -> None:
        super().__init__(title)
        self.title = title
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return " ".join(part for part in (self.title, self.message, self.hint) if part)


class UsageError(SidestepError):
    """The command line itself is wrong."""

    exit_code = ExitCode.USAGE
    kind = "usage"


class SettingsError(SidestepError):
    """A setting, preset or run file is unknown, malformed or out of bounds."""

    kind = "settings"


class DataError(SidestepError):
    """Songs, sidecars or the encoded cache cannot be used."""

    kind = "data"


class ModelError(SidestepError):
    """A checkpoint is missing, partial, or of another shape than its configuration says."""

    kind = "model"


class AdapterError(SidestepError):
    """An adapter matches nothing, does not fit the model, or would load incompletely."""

    kind = "adapter"


class RunError(SidestepError):
    """A run directory is in use, missing, or not what it should be."""

    kind = "run"


class DiskFullError(SidestepError):
    """The disk has no room for what had to be written; what was there before is intact."""

    kind = "disk_full"


class OutOfMemoryError(SidestepError):
    """The device has no room for the next step."""

    exit_code = ExitCode.OUT_OF_MEMORY
    kind = "out_of_memory"


class DivergedError(SidestepError):
    """The loss or the gradients stopped being finite."""

    exit_code = ExitCode.DIVERGED
    kind = "diverged"
