"""`presets`: the shipped ones, the user's own, and those of other trainers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sidestep_tui.cli import options, render
from sidestep_tui.core import paths, text
from sidestep_tui.core.errors import ExitCode, SettingsError
from sidestep_tui.core.ids import slug
from sidestep_tui.schema import codec, importers, layers, rules
from sidestep_tui.schema import presets as store
from sidestep_tui.schema.fields import fields_by_path
from sidestep_tui.schema.presets import Preset
from sidestep_tui.schema.values import format_value


@click.group()
def presets() -> None:
    """List, show, check, import, export, compare, delete presets."""


@presets.command(name="list")
@options.json_option
def list_presets(as_json: bool) -> None:
    """List every preset: the product's first, then your own."""
    found = store.list_presets()
    if as_json:
        render.data_json([_fields(preset) for preset in found])
        return
    rows = [[preset.name, preset.source, preset.description] for preset in found]
    for line in render.table(rows, ("NAME", "SOURCE", "FOR")):
        render.data(line)
    for path, error in store.broken_presets():
        render.say(f"{click.style('Warning:', fg='yellow')} {paths.shorten(path)} cannot be used. {error.title}")


@presets.command()
@options.preset_argument
@click.option("--resolved", is_flag=True, help="Every setting with its value and origin, not only what differs.")
@options.json_option
def show(preset: str, resolved: bool, as_json: bool) -> None:
    """Print PRESET as it is written, or with --resolved what it amounts to."""
    found = store.find(preset)
    outcome = layers.resolve(found.layers())
    if as_json:
        value = _fields(found)
        if resolved:
            value |= {"settings": outcome.values, "origins": outcome.origins}
        render.data_json(value)
        return
    if not resolved:
        click.echo(found.path.read_text(encoding="utf-8"), nl=False)
        return
    specs = fields_by_path()
    rows = [[path, format_value(specs[path], value), outcome.origins[path]] for path, value in outcome.values.items()]
    for line in render.table(rows):
        render.data(line)


@presets.command()
@options.preset_argument
@options.json_option
def check(preset: str, as_json: bool) -> int:
    """Check PRESET: unknown settings, values out of bounds, and what contradicts itself. Exits with 4 on errors."""
    found = store.find(preset)
    advice = rules.check(layers.resolve(found.layers()).settings)
    if as_json:
        entries = [
            {"severity": item.severity, "path": item.path, "sentence": item.sentence, "fix": dict(item.fix or {})}
            for item in advice
        ]
        render.data_json({"preset": found.name, "advice": entries})
    else:
        for item in advice:
            fix = f" {item.fix_label}?" if item.fix_label else ""
            render.data(f"{item.severity}: {item.path}: {item.sentence}{fix}")
        if not advice:
            render.data(f"{found.name} is in order: {text.plural(len(found.values), 'setting')}.")
    return int(ExitCode.REFUSED if any(item.severity == "error" for item in advice) else ExitCode.DONE)


@presets.command(name="import")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--name", metavar="NAME", help="What to call it here; without it, the name in the file.")
@click.option("--overwrite", is_flag=True, help="Replace a preset of yours that has the name.")
@options.json_option
def import_preset(file: Path, name: str | None, overwrite: bool, as_json: bool) -> None:
    """Translate a preset of another trainer (Side-Step, ace-lora-trainer, ACE-Step) and keep it as your own.

    Every key of the file is reported: taken, translated, or refused and why.
    """
    report = importers.import_preset(file)
    chosen = name or slug(report.name, fallback="imported")
    saved = store.save_user(
        chosen,
        report.values,
        comment=f"Imported from {file.name} ({report.source_format}).",
        overwrite=overwrite,
        description=report.description,
    )
    if as_json:
        rows = [{"key": row.key, "verdict": row.verdict, "detail": row.detail} for row in report.rows]
        render.data_json({"name": saved.name, "path": str(saved.path), "format": report.source_format, "keys": rows})
        return
    for line in render.table([[row.verdict, row.key, row.detail] for row in report.rows]):
        render.data(line)
    render.say(f"Saved as '{saved.name}' in {paths.shorten(saved.path)}.")


@presets.command()
@options.preset_argument
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
def export(preset: str, file: Path, overwrite: bool) -> None:
    """Write PRESET to FILE, on its own: with the values of the preset that it extends."""
    found = store.find(preset)
    if file.exists() and not overwrite:
        raise SettingsError(f"{file} exists already.", "", "Choose another file, or pass --overwrite.")
    codec.write_preset(
        file,
        found.values,
        comment=f"Exported from the preset '{found.name}'.",
        description=found.description,
        requires=found.requires,
    )
    render.data(str(file))


@presets.command()
@click.argument("first", metavar="PRESET")
@click.argument("second", metavar="[OTHER]", required=False)
@options.json_option
def diff(first: str, second: str | None, as_json: bool) -> None:
    """Compare PRESET with OTHER, or with the defaults: what differs, setting by setting."""
    left = layers.resolve(store.find(first).layers()).values
    right = layers.resolve(store.find(second).layers() if second else []).values
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


@presets.command()
@click.argument("name")
def delete(name: str) -> None:
    """Delete a preset of your own."""
    store.delete_user(name)
    render.say(f"Deleted '{name}'.")


def _fields(preset: Preset) -> dict[str, Any]:
    return {
        "name": preset.name,
        "source": preset.source,
        "path": str(preset.path),
        "description": preset.description,
        "extends": preset.extends,
        "requires": dict(preset.requires),
        "values": dict(preset.values),
    }
