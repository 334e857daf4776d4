"""`models`: which checkpoints there are, and whether they are whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sidestep_tui.cli import options, render
from sidestep_tui.core import paths, text
from sidestep_tui.core.errors import ExitCode
from sidestep_tui.launch import discover
from sidestep_tui.launch import models as checkpoints
from sidestep_tui.launch.models import FileCheck, FoundModel


@click.group()
def models() -> None:
    """Find and check ACE-Step checkpoints."""


@models.command(name="list")
@click.argument("roots", metavar="[DIR]...", nargs=-1, type=click.Path(path_type=Path))
@options.json_option
def list_models(roots: tuple[Path, ...], as_json: bool) -> None:
    """List the checkpoints in DIRs; without one, in ./checkpoints, ./ACE-Step-1.5/checkpoints and those used before."""
    found = discover.find_models(roots or None)
    if as_json:
        render.data_json([_fields(model) for model in found])
        return
    if not found:
        places = text.listing([str(root) for root in (roots or discover.USUAL_ROOTS)])
        render.say(f"There are no checkpoints in {places}. A checkpoint is a folder named acestep-v15-… .")
        return
    rows = [
        [model.name, model.variant, model.layout, f"{text.count(model.shape.parameters)}", paths.shorten(model.path)]
        for model in found
    ]
    for line in render.table(rows, ("NAME", "VARIANT", "LAYOUT", "DECODER", "PATH"), right=(3,)):
        render.data(line)


@models.command()
@click.argument("directory", metavar="DIR")
@click.option("--components", metavar="DIR", default="", help="Where vae and the text encoder are, if elsewhere.")
@options.json_option
def check(directory: str, components: str, as_json: bool) -> int:
    """Check every file that training needs from the checkpoint in DIR: there, whole, and of its announced length."""
    model = checkpoints.locate(directory)
    found = list(checkpoints.check_files(model, components))
    broken = [item for item in found if item.problem is not None]
    if as_json:
        render.data_json({**_fields(model), "whole": not broken, "files": [_file_fields(item) for item in found]})
    else:
        render.data(f"{model.name}: {model.variant}, {model.layout} layout, {paths.shorten(model.path)}")
        for item in found:
            mark = "ok      " if item.problem is None else "MISSING " if not item.path.exists() else "BROKEN  "
            render.data(f"{mark}{item.role}: {paths.shorten(item.path)} {item.detail}".rstrip())
            if item.problem is not None:
                render.say(f"  {item.problem}")
    return int(ExitCode.REFUSED if broken else ExitCode.DONE)


def _fields(model: FoundModel) -> dict[str, Any]:
    return {
        "name": model.name,
        "path": str(model.path),
        "variant": model.variant,
        "layout": model.layout,
        "size": model.size_name,
        "decoder_parameters": model.shape.parameters,
    }


def _file_fields(item: FileCheck) -> dict[str, Any]:
    problem = str(item.problem) if item.problem is not None else None
    return {"role": item.role, "path": str(item.path), "problem": problem, "detail": item.detail}
