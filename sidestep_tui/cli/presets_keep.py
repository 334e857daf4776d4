"""`presets import`, `export`, `rename`, `duplicate` and `delete`: keeping presets of one's own."""

from __future__ import annotations

import shutil
import sys
import textwrap
from pathlib import Path
from typing import Any, get_args

import click

from sidestep_tui.cli import options, render
from sidestep_tui.core import atomic, paths
from sidestep_tui.core.errors import ExitCode, SettingsError, UsageError
from sidestep_tui.core.ids import slug
from sidestep_tui.schema import codec, export_side_step, importers, layers
from sidestep_tui.schema import presets as store
from sidestep_tui.schema.fields import fields_by_path
from sidestep_tui.schema.import_report import Verdict
from sidestep_tui.schema.importers import ImportReport
from sidestep_tui.schema.presets import Place
from sidestep_tui.schema.values import format_value

_WIDEST_KEY = 28
_NARROWEST_DETAIL = 20

_here = click.option("--here", is_flag=True, help="Keep it in ./presets, with this project, not among your own.")


@click.command(name="import")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True))
@click.option("--name", metavar="NAME", help="What to call it here; without it, the name in the file.")
@click.option("--overwrite", is_flag=True, help="Replace a preset of yours that has the name.")
@click.option("--dry-run", is_flag=True, help="Report what would become of every key; keep nothing.")
@click.option("--strict", is_flag=True, help="Keep nothing of a file in which any value is wrong.")
@_here
@options.json_option
def import_preset(
    files: tuple[Path, ...], name: str | None, overwrite: bool, dry_run: bool, strict: bool, here: bool, as_json: bool
) -> int:
    """Translate presets of other trainers and keep them as your own.

    FILE is a preset of Side-Step or ace-lora-trainer (JSON), a training YAML, the adapter_config.json of peft, a
    run.toml, or any text with settings: a Python dict, command-line flags, `key = value` lines, the list of a guide.
    With - it is read from standard input. Every key is reported: taken, translated, or refused and why.

    All presets of Side-Step: sidestep-tui presets import ~/.config/sidestep/presets/*.json
    """
    if name and len(files) > 1:
        raise UsageError("--name is for one file.", f"There are {len(files)}.", "Import them one by one, or unnamed.")
    made, failed = list[dict[str, Any]](), 0
    for file in files:
        try:
            report = _read(file)
            if not as_json:
                _show(report, title=str(file) if len(files) > 1 else "")
            _refuse_wrong(report, strict=strict)
            chosen = name or slug(report.own_name, fallback="imported")
            kept = None if dry_run else _keep(report, chosen, file, overwrite=overwrite, place=_place(here=here))
        except SettingsError as error:
            if len(files) == 1:
                raise
            render.show_error(error, as_json=False)
            failed += 1
            continue
        about = {"name": chosen, "path": str(kept) if kept else None, "format": report.source_format}
        made.append(about | {"keys": [row._asdict() for row in report.rows], "values": report.values})
    if as_json:
        render.data_json(made[0] if len(files) == 1 else made)
    return int(ExitCode.REFUSED if failed else ExitCode.DONE)


def _show(report: ImportReport, *, title: str) -> None:
    if title:
        render.data(render.plain(title))
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    for line in _report_lines(report, width):
        render.data(line)
    render.say(f"{report.source_format}: {report.summary}.")


def _report_lines(report: ImportReport, width: int) -> list[str]:
    """A line for each key, the refused ones last, where a terminal still shows them; wrapped to `width` unless it is 0.

    A key that is longer than most (the lines of a text) has its detail below it.
    """
    order = get_args(Verdict)
    rows = sorted(report.rows, key=lambda row: order.index(row.verdict))
    column = min(max(len(row.key) for row in rows), _WIDEST_KEY)
    indent = " " * (len("translated") + 2 + column + 2)
    lines = []
    for row in rows:
        start = f"{row.verdict:<{len('translated')}}  {render.plain(row.key):<{column}}  "
        detail = render.plain(row.detail)
        if len(row.key) > column:
            lines.append(start.rstrip())
            start = indent
        room = width - len(indent)
        parts = textwrap.wrap(detail, room) if room >= _NARROWEST_DETAIL else [detail]
        lines.extend(f"{start if index == 0 else indent}{part}" for index, part in enumerate(parts))
    return lines


def _keep(report: ImportReport, name: str, file: Path, *, overwrite: bool, place: Place) -> Path:
    source = "standard input" if str(file) == "-" else file.name
    if report.is_ours_as_it_is and not overwrite:
        saved = store.duplicate(store.read(paths.expand(file)), name, place=place)
    else:
        saved = store.save(
            name,
            report.values,
            f"Imported from {source} ({report.source_format}).",
            overwrite,
            description=report.description or f"From {source}.",
            provenance=report.provenance(source),
            place=place,
        )
    render.say(f"Saved as '{saved.name}' in {paths.shorten(saved.path)}.")
    return saved.path


@click.command()
@options.preset_argument
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
def export(preset: str, file: Path, overwrite: bool) -> None:
    """Write PRESET to FILE, on its own: with the values of the preset that it extends, and with its comments.

    A FILE that ends in .json becomes a preset of Side-Step, as far as that has words for it. With - it goes to
    standard output.
    """
    found = store.find(preset)
    if str(file) == "-":
        click.echo(store.export_text(found), nl=False)
    elif file.suffix.lower() == ".json":
        _export_side_step(found, paths.expand(file), overwrite=overwrite)
        render.data(str(file))
    else:
        render.data(str(store.export(found, file, overwrite=overwrite)))


@click.command()
@options.preset_argument
@click.argument("new", metavar="NEW")
def rename(preset: str, new: str) -> None:
    """Call a preset of your own NEW; presets of yours that extend it follow."""
    renamed = store.rename(preset, new)
    render.say(f"'{preset}' is called '{renamed.name}' now, in {paths.shorten(renamed.path)}.")


@click.command()
@options.preset_argument
@click.argument("new", metavar="NEW")
@options.set_option
@_here
def duplicate(preset: str, new: str, assignments: tuple[str, ...], here: bool) -> None:
    """Make a copy of PRESET, or of a run's settings, under the name NEW: with -s, other values on the way."""
    typed = layers.command_line(assignments).values
    copy = store.duplicate(preset, new, place=_place(here=here))
    if typed:
        values = {**copy.own, **typed}
        copy = store.save(new, values, overwrite=True, extends=copy.extends, place=_place(here=here))
    render.say(f"'{copy.name}' is a copy of '{preset}', in {paths.shorten(copy.path)}.")


@click.command()
@options.preset_argument
@click.option("--yes", is_flag=True, help="Do not ask for the name to be typed.")
def delete(preset: str, yes: bool) -> None:
    """Delete a preset of your own, after its name was typed once more."""
    found = store.find(preset)
    if not yes and found.is_own:
        if not sys.stdin.isatty():
            raise SettingsError(
                f"'{found.name}' is not deleted without a word.", "There is no terminal to ask on.", "Pass --yes."
            )
        typed = click.prompt(f"This deletes {paths.shorten(found.path)}. Type its name", default="", show_default=False)
        if typed.strip() != found.name:
            render.say("Nothing was deleted.")
            return
    path = store.delete(found)
    render.say(f"Deleted {paths.shorten(path)}.")


def _read(file: Path) -> ImportReport:
    if str(file) != "-":
        return importers.import_preset(paths.expand(file))
    content = codec.decoded(sys.stdin.buffer.read(codec.LARGEST_FILE + 1), "Standard input")
    return importers.import_text(content, shown="Standard input")


def _refuse_wrong(report: ImportReport, *, strict: bool) -> None:
    """Say which values are wrong; with --strict, keep nothing."""
    for row in report.wrong:
        render.say(f"{click.style('Wrong:', fg='red')} {render.plain(f'{row.key}: {row.detail} {row.fix}')}")
    if report.wrong and strict:
        keys = ", ".join(row.key for row in report.wrong)
        raise SettingsError("Nothing was kept.", f"Wrong values: {keys}.", "Correct them, or leave out --strict.")


def _export_side_step(preset: store.Preset, path: Path, *, overwrite: bool) -> None:
    if path.exists() and not overwrite:
        raise SettingsError(f"{path} exists already.", "", "Choose another file, or pass --overwrite.")
    values = layers.resolve(preset.layers()).values
    made = export_side_step.export(values, name=preset.name, description=preset.description)
    atomic.write_text(path, made.text())
    specs = fields_by_path()
    for key, value in made.left_out.items():
        render.say(f"Left out, Side-Step has no word for it: {key} = {format_value(specs[key], value)}")


def _place(*, here: bool) -> Place:
    return "project" if here else "user"
