"""`runs`: what is running, what has ended, what died; and their numbers for other tools."""

from __future__ import annotations

import time

import click

from sidestep_tui.cli import options, render
from sidestep_tui.cli.runs_export import export
from sidestep_tui.cli.runs_feed import feed
from sidestep_tui.core import paths, text
from sidestep_tui.protocol.registry import RunSummary


@click.group(invoke_without_command=True)
@options.json_option
@click.pass_context
def runs(ctx: click.Context, as_json: bool) -> None:
    """List the known runs, living ones first: those started on this account and those in ./runs.

    With a command: hand the numbers of one run to other tools.
    """
    if ctx.invoked_subcommand is None:
        _list(as_json=as_json)


runs.add_command(export)
runs.add_command(feed)


def _list(*, as_json: bool) -> None:
    found = options.known_runs()
    if as_json:
        render.data_json([_fields(run) for run in found])
        return
    if not found:
        render.say("There are no runs yet. Start one with `sidestep-tui train PRESET`, or try `sidestep-tui demo`.")
        return
    rows = [
        [
            run.name,
            run.status.replace("_", " "),
            f"{text.thousands(run.step)}/{text.thousands(run.total_steps)}" if run.total_steps else "–",
            text.number(run.loss) if run.loss is not None else "–",
            time.strftime("%Y-%m-%d %H:%M", time.localtime(run.started)) if run.started else "–",
            paths.shorten(run.path),
        ]
        for run in found
    ]
    for line in render.table(rows, ("NAME", "STATUS", "STEP", "LOSS", "STARTED", "PATH"), right=(2, 3)):
        render.data(line)


def _fields(run: RunSummary) -> dict[str, object]:
    return {
        "name": run.name,
        "path": str(run.path),
        "status": run.status,
        "liveness": str(run.liveness),
        "step": run.step,
        "total_steps": run.total_steps,
        "epoch": run.epoch,
        "epochs": run.epochs,
        "loss": run.loss,
        "best_loss": run.best_loss,
        "started": run.started,
        "ended": run.ended,
        "reason": run.reason,
    }
