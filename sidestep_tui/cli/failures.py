"""What becomes of an error at the command line's border: sentences, an exit code, and a file for a mistake of ours."""

from __future__ import annotations

import errno
import traceback
from pathlib import Path

import click

from sidestep_tui.cli import render
from sidestep_tui.core import crashes
from sidestep_tui.core.errors import ExitCode, SidestepError

_INTERRUPTED = 130
_BROKEN_PIPE = 1  # as click has it
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def explain(error: BaseException, *, as_json: bool) -> int:
    """Say what went wrong where people and scripts look for it; the exit code that it means."""
    match error:
        case click.exceptions.Exit():
            return error.exit_code
        case click.ClickException():
            error.show()
            return int(ExitCode.USAGE)
        case SidestepError():
            render.show_error(error, as_json=as_json)
            return int(error.exit_code)
        case KeyboardInterrupt() | click.Abort():
            return _INTERRUPTED
        case BrokenPipeError():
            render.mute_stdout()
            return _BROKEN_PIPE
        case OSError() if (refusal := _of_the_system(error)) is not None:
            render.show_error(refusal, as_json=as_json and error.errno not in _NO_ROOM)
            return int(refusal.exit_code)
    _tell_of_bug(error)
    return int(ExitCode.BUG)


def _of_the_system(error: OSError) -> SidestepError | None:
    """What the operating system refused, in words: a full disk is no bug. None for what nobody can act on."""
    why = error.strerror or str(error)
    if error.filename:
        return SidestepError(f"{error.filename} cannot be used: {why}.", "", "Check the path and its permissions.")
    if error.errno in _NO_ROOM:
        render.mute_stdout()
        return SidestepError("The output could not be written.", f"{why}.", "Free some space where it goes.")
    if not _is_somewhere():
        return SidestepError("The working directory is gone.", f"{why}.", "Change into a directory that exists.")
    return None


def _is_somewhere() -> bool:
    try:
        return Path.cwd().is_dir()
    except FileNotFoundError:
        return False


def _tell_of_bug(error: BaseException) -> None:
    try:
        path = crashes.write_log(error)
    except (OSError, SidestepError):
        traceback.print_exception(error)  # nowhere to keep it
        return
    render.say(f"Something went wrong that should not have: {error!r}. The details are in {path}.")
