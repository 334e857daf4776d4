"""`demo`: the whole path, from nothing to a verified adapter, in about a minute on a CPU."""

from __future__ import annotations

from pathlib import Path

import click

from sidestep_tui.cli import options, render, train
from sidestep_tui.core import paths
from sidestep_tui.launch import demo as demos
from sidestep_tui.launch import preflight


@click.command()
@click.option("--headless", is_flag=True, help="Print progress instead of opening the dashboard.")
@click.option(
    "--dir",
    "directory",
    metavar="DIR",
    default="sidestep-demo",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Where model, songs and runs go.",
)
@options.json_option
def demo(headless: bool, directory: Path, as_json: bool) -> int:
    """Write a tiny ACE-Step checkpoint and a handful of songs, then encode, train, export, reload and verify.

    The adapter is real in every respect but size; its path is the last line on standard output.
    """
    place = demos.claim(directory)
    if not place.is_complete:
        render.say(f"Writing a tiny model and some songs to {paths.shorten(place.path)} …")
        demos.write_files(place)
    plan = demos.demo_plan(place)
    train.refuse_failed(list(preflight.checks(plan.resolved)))
    return train.begin(plan, headless=headless, detach=False, as_json=as_json)
