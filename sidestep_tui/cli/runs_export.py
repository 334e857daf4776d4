"""`runs export`: the numbers of a run as a file for other tools."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import cast

import click

from sidestep_tui.cli import options, render
from sidestep_tui.core import text
from sidestep_tui.core.errors import UsageError
from sidestep_tui.launch import sinks_export
from sidestep_tui.launch.sinks_export import FORMATS, Format


@click.command()
@options.run_argument()
@click.option("--to", "format_name", type=click.Choice(FORMATS), default="csv", show_default=True, help="The format.")
@click.argument("out", required=False)
@click.option("--metrics", metavar="NAMES", default="", help="Only these, commas between them: loss,lr,eval/*.")
def export(run: str, format_name: str, out: str | None, metrics: str) -> None:
    """Write the metrics of RUN to OUT, a row a step; without OUT to NAME.csv here, `-` is standard output.

    What a resumed run redid is left out. Nothing is ever overwritten. The run may be live: what it has measured by now
    is written.
    """
    run_dir = options.find_run(run)
    chosen = cast(Format, format_name)
    if out == "-":
        if chosen == "parquet":
            raise UsageError("Parquet cannot be written to standard output.", "", "Name a file.")
        sinks_export.write(run_dir, chosen, sys.stdout.buffer, metrics)
        sys.stdout.buffer.flush()
        return
    path = Path(out).expanduser() if out else sinks_export.default_path(run_dir, chosen)
    count = sinks_export.export(run_dir, chosen, path, metrics)
    render.say(f"{text.plural(count, 'row')} of {run_dir.name}.")
    render.data(str(path))
