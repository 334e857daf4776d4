"""The `sidestep-tui` command: finds the subcommand, and is the border where every error becomes a sentence.

Subcommands are imported when they are called: the bare command must show the interface within 400 ms.
"""

from __future__ import annotations

import errno
import importlib
import io
import os
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

import sidestep_tui
from sidestep_tui.cli import render
from sidestep_tui.core import atomic, paths, text
from sidestep_tui.core.errors import ExitCode, SidestepError

_INTERRUPTED = 130
_BROKEN_PIPE = 1  # as click has it
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)

COMMANDS: dict[str, tuple[str, str]] = {
    "train": ("sidestep_tui.cli.train:train", "Train an adapter from a preset or a run.toml."),
    "resume": ("sidestep_tui.cli.train:resume", "Continue a run from its newest checkpoint, or after a pause."),
    "attach": ("sidestep_tui.cli.train:attach", "Watch a run, live or finished."),
    "runs": ("sidestep_tui.cli.runs:runs", "List the known runs."),
    "stop": ("sidestep_tui.cli.steer:stop", "Finish the step, save, and end the run."),
    "pause": ("sidestep_tui.cli.steer:pause", "Hold a run after its current step."),
    "checkpoint": ("sidestep_tui.cli.steer:checkpoint", "Save a checkpoint now."),
    "abort": ("sidestep_tui.cli.steer:abort", "End a run without saving."),
    "demo": ("sidestep_tui.cli.demo:demo", "The whole path on a tiny model and songs that it makes itself."),
    "presets": ("sidestep_tui.cli.presets:presets", "List, show, check, import, export, compare, delete presets."),
    "dataset": ("sidestep_tui.cli.dataset:dataset", "Look at a folder of songs."),
    "models": ("sidestep_tui.cli.models:models", "Find and check ACE-Step checkpoints."),
    "fit": ("sidestep_tui.cli.fit:fit", "Estimate the memory that a preset needs."),
    "adapter": ("sidestep_tui.cli.adapter:adapter", "Look into adapter files."),
    "doctor": ("sidestep_tui.cli.doctor:doctor", "Report the environment, for bug reports."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are used, and which suggests the nearest name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table: what people do first comes first."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module."""
        if cmd_name not in COMMANDS:
            return None
        module_name, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = vars(importlib.import_module(module_name))[attribute]
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Refuse an unknown command with the nearest one."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            hint = text.did_you_mean(name, COMMANDS)
            raise click.UsageError(f"There is no command '{name}'. {hint}".rstrip(), ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(sidestep_tui.__version__, prog_name="sidestep-tui")
@click.pass_context
def cli(ctx: click.Context) -> int | None:
    """Teach ACE-Step 1.5 your own style.

    Without a command the terminal interface opens: runs, drafts, and the wizard for a new run.

    Exit codes: 0 done, 2 usage, 3 stopped by request, 4 settings or data refused, 5 out of memory, 6 diverged,
    70 a bug.
    """
    if ctx.invoked_subcommand is not None:
        return None
    from sidestep_tui.ui.app import run

    return run()


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code. The command line's border: nothing escapes it as a traceback."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in arguments
    _open_closed_streams()
    _never_fail_to_print()
    try:
        result: Any = cli.main(args=arguments, prog_name="sidestep-tui", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else int(ExitCode.DONE)
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except click.ClickException as wrong:
        wrong.show()
        return int(ExitCode.USAGE)
    except SidestepError as error:
        render.show_error(error, as_json=as_json)
        return int(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return _INTERRUPTED
    except BrokenPipeError:
        render.mute_stdout()
        return _BROKEN_PIPE
    except OSError as error:
        refusal = _of_the_system(error)
        if refusal is None:
            _tell_of_bug(error)
            return int(ExitCode.BUG)
        render.show_error(refusal, as_json=as_json and error.errno not in _NO_ROOM)
        return int(refusal.exit_code)
    except Exception as error:  # noqa: BLE001 (the named border of the command line)
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


def _open_closed_streams() -> None:
    """Give `>&-` a sink: the next file opened would otherwise get the closed stream's number, and our prints."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))


def _never_fail_to_print() -> None:
    """A terminal or pipe that cannot show a character gets a question mark instead of ending the program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _tell_of_bug(error: BaseException) -> None:
    try:
        path = write_crash_log(error)
    except (OSError, SidestepError):
        traceback.print_exception(error)  # nowhere to keep it
        return
    render.say(f"Something went wrong that should not have: {error!r}. The details are in {path}.")


def write_crash_log(error: BaseException) -> Path:
    """Keep the traceback where a bug report can find it."""
    path = paths.state_dir() / time.strftime(f"crash-%Y%m%d-%H%M%S-{os.getpid()}.log")
    atomic.write_text(path, "".join(traceback.format_exception(error)), durable=False)
    return path


if __name__ == "__main__":
    sys.exit(main())
