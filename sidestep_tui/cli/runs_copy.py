"""`runs duplicate` and `runs build-on`: drafts that come from a run, to be finished in the wizard."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sidestep_tui.cli import options, render
from sidestep_tui.core import text
from sidestep_tui.core.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from sidestep_tui.schema.draft import Draft


@click.command()
@options.run_argument()
def duplicate(run: str) -> int:
    """Make a draft with the settings of RUN; the wizard opens it. To repeat it at once: train RUN/run.toml."""
    from sidestep_tui.launch import offspring

    return _keep(offspring.draft_of_run(options.find_run(run)))


@click.command("build-on")
@options.run_argument()
@click.option("--adapter", "which", metavar="WHICH", help="final, best, or a step; the final one without it.")
def build_on(run: str, which: str | None) -> int:
    """Make a draft of a run that begins with an adapter of RUN, with the kind, targets, ranks and scale that fit it."""
    from sidestep_tui.launch import offspring

    run_dir = options.find_run(run)
    found = {source.label.removeprefix("step ").replace(",", ""): source.path for source in offspring.sources(run_dir)}
    if not found:
        raise UsageError(f"{run_dir.name} has no adapter yet.", "", "Save a checkpoint first.")
    wanted = which or next(iter(found))
    if wanted not in found:
        raise UsageError(f"{run_dir.name} has no adapter '{wanted}'.", f"There are {text.listing(list(found), 8)}.", "")
    return _keep(offspring.draft_on_adapter(run_dir, Path(found[wanted])))


def _keep(draft: Draft) -> int:
    from sidestep_tui.schema import drafts

    drafts.save(draft, time.time())
    render.data(draft.id)
    render.say(f"A draft: {drafts.title(draft)}. `sidestep-tui` lists it after the runs.")
    return int(ExitCode.DONE)
