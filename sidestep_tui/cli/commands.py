"""The subcommands of `sidestep-tui`, found by name and imported when they are called."""

from __future__ import annotations

import importlib
import os

import click

import sidestep_tui
from sidestep_tui.core import text

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
    "presets": ("sidestep_tui.cli.presets:presets", "List, check, import, export, compare, rename, copy presets."),
    "dataset": ("sidestep_tui.cli.dataset:dataset", "Look at a folder of songs."),
    "models": ("sidestep_tui.cli.models:models", "Find and check ACE-Step checkpoints."),
    "fit": ("sidestep_tui.cli.fit:fit", "Estimate the memory that a preset needs."),
    "adapter": ("sidestep_tui.cli.adapter:adapter", "Look into adapter files."),
    "doctor": ("sidestep_tui.cli.doctor:doctor", "Report the environment, for bug reports."),
    "keys": ("sidestep_tui.cli.keys:keys", "List every key of the interface, and check your keymap."),
    "serve": ("sidestep_tui.cli.serve:serve", "The interface in a web browser, on this machine only."),
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
@click.option("--theme", metavar="NAME", help="The interface's theme: sidestep, sidestep-light, ansi-dark, nord ….")
@click.option("--ascii", "ascii_only", is_flag=True, help="Only signs that every terminal and font has.")
@click.option("--no-mouse", is_flag=True, help="Leave the mouse to the terminal, as for selecting text.")
@click.option("--stock-display", is_flag=True, help="Write whole lines, which screen readers and recorders may prefer.")
@click.pass_context
def cli(ctx: click.Context, theme: str | None, ascii_only: bool, no_mouse: bool, stock_display: bool) -> int | None:
    """Teach ACE-Step 1.5 your own style.

    Without a command the terminal interface opens: runs, drafts, and the wizard for a new run.

    Exit codes: 0 done, 2 usage, 3 stopped by request, 4 settings or data refused, 5 out of memory, 6 diverged,
    70 a bug.
    """
    # Into the environment: whatever opens the interface finds them there, in this process or in one that it starts.
    session = {
        "SIDESTEP_THEME": theme,
        "SIDESTEP_ASCII": "1" if ascii_only else None,
        "SIDESTEP_MOUSE": "off" if no_mouse else None,
        "SIDESTEP_DISPLAY": "stock" if stock_display else None,
    }
    os.environ.update({name: value for name, value in session.items() if value})
    if ctx.invoked_subcommand is not None:
        return None
    from sidestep_tui.ui.app import run

    return run()
