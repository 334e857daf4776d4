"""`presets`: the shipped ones, the user's own, and those of other trainers."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import click

from sidestep_tui.cli import options, render
from sidestep_tui.cli.presets_check import check
from sidestep_tui.cli.presets_keep import delete, duplicate, export, import_preset, rename
from sidestep_tui.core import paths
from sidestep_tui.schema import importers, layers, preset_check
from sidestep_tui.schema import presets as store
from sidestep_tui.schema.fields import fields_by_path
from sidestep_tui.schema.inert import inert
from sidestep_tui.schema.presets import Preset
from sidestep_tui.schema.values import format_value

_HEADINGS = {"user": "Your own", "project": "This folder's (presets/)"}


@click.group()
def presets() -> None:
    """List, check, import, export, compare, rename, copy presets.

    A name is looked for in ./presets, among your own, and among the product's; a path is taken as it is.
    """


for _command in (check, import_preset, export, rename, duplicate, delete):
    presets.add_command(_command)


@presets.command(name="list")
@options.json_option
def list_presets(as_json: bool) -> None:
    """List every preset by group: the product's first, then your own, then those of this folder."""
    found = store.list_presets()
    if as_json:
        render.data_json([_fields(preset) for preset in found])
        return
    width = max(len(preset.name) for preset in found)
    for heading, group in itertools.groupby(found, key=_heading):
        render.data(heading)
        for preset in group:
            mark = " (passed over for another of its name)" if preset.hidden else ""
            render.data(f"  {preset.name:<{width}}  {render.plain(preset.description)}{mark}".rstrip())
    for name in {preset.name: None for preset in found if preset.hides}:
        options.say_whom_it_hides(name)
    for path, error in store.broken_presets():
        render.say(f"{click.style('Warning:', fg='yellow')} {paths.shorten(path)} cannot be used. {error.title}")


@presets.command()
def browse() -> int:
    """Look through them in the terminal interface, compare, save, import."""
    # Deferred: the interface costs 150 ms to import.
    from sidestep_tui.ui import app

    return app.run(start="presets")


@presets.command()
@options.preset_argument
@click.option("--resolved", is_flag=True, help="Every setting with its value and origin, not only what differs.")
@options.json_option
def show(preset: str, resolved: bool, as_json: bool) -> None:
    """Print PRESET as it is written, or with --resolved what it amounts to; settings without effect are marked."""
    found = store.find(preset)
    outcome = layers.resolve(found.layers())
    idle = inert(outcome.settings)
    if as_json:
        value = _fields(found) | {"inert": {path: why for path, why in idle.items() if path in found.values}}
        if resolved:
            value |= {"settings": outcome.values, "origins": outcome.origins, "inert": idle}
        render.data_json(value)
        return
    if not resolved:
        click.echo(found.path.read_text(encoding="utf-8"), nl=False)
        for path in found.own:
            if path in idle:
                render.say(f"No effect: {path}: {idle[path]}.")
        return
    if found.provenance.source:
        render.say(f"From {found.provenance.source}.")
    specs = fields_by_path()
    rows = [
        [
            path,
            format_value(specs[path], value),
            outcome.origins[path],
            f"no effect: {idle[path]}" if path in idle else "",
        ]
        for path, value in outcome.values.items()
    ]
    for line in render.table(rows):
        render.data(line)


@presets.command()
@click.argument("first", metavar="PRESET")
@click.argument("second", metavar="[OTHER]", required=False)
@options.json_option
def diff(first: str, second: str | None, as_json: bool) -> None:
    """Compare PRESET with OTHER, or with the defaults: what differs, setting by setting.

    Either may be a name, a file, a run, or a preset of another trainer.
    """
    left = layers.resolve(_layers(first)).values
    right = layers.resolve(_layers(second) if second else []).values
    changed = [path for path in left if left[path] != right[path]]
    other = second or "default"
    if as_json:
        render.data_json({path: {first: left[path], other: right[path]} for path in changed})
        return
    specs = fields_by_path()
    rows = [[path, format_value(specs[path], left[path]), format_value(specs[path], right[path])] for path in changed]
    if not rows:
        render.say("They are the same.")
        return
    for line in render.table(rows, ("SETTING", first, other)):
        render.data(line)


def _layers(reference: str) -> list[layers.Layer]:
    """The layers of a preset, or of another trainer's file, which is translated on the way."""
    if not preset_check.is_foreign(reference):
        return store.find(reference).layers()
    report = importers.import_preset(Path(paths.expand(reference)))
    render.say(f"{reference} is translated: {report.summary}.")
    return [layers.Layer(f"import {report.name}", report.values)]


def _heading(preset: Preset) -> str:
    return _HEADINGS.get(preset.source) or preset.group or "Others"


def _fields(preset: Preset) -> dict[str, Any]:
    return {
        "name": preset.name,
        "source": preset.source,
        "group": preset.group,
        "path": str(preset.path),
        "description": preset.description,
        "extends": preset.extends,
        "requires": dict(preset.requires),
        "provenance": preset.provenance.as_table(),
        "hides": list(preset.hides),
        "hidden": preset.hidden,
        "values": dict(preset.values),
    }
