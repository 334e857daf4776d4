"""`runs tidy`, `runs delete`, `runs forget`: free disk, never without a word that was typed."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sidestep_tui.cli import options, render
from sidestep_tui.core import paths, text
from sidestep_tui.core.errors import ExitCode, RunError, UsageError
from sidestep_tui.protocol import registry
from sidestep_tui.protocol.rundir import RunDir

if TYPE_CHECKING:
    from sidestep_tui.launch.tidy import TidyPlan

_CACHES = ("unpacked", "encoded")


@click.command()
@options.run_argument(required=False)
@click.option("--cache", "cache", type=click.Choice(_CACHES), help="A cache instead of a run.")
@click.option("--dry-run", is_flag=True, help="Only say what could go.")
@click.option("--yes-delete", "word", metavar="NAME", help="The run's name (or the cache's), instead of typing it.")
@options.json_option
def tidy(run: str | None, cache: str | None, dry_run: bool, word: str | None, as_json: bool) -> int:
    """Free disk: checkpoints of RUN that later ones supersede, or a cache.

    Stays: the newest checkpoint, the newest sound one, the best, those you asked for, renamed or put files into, and
    those that another run begins with. Without RUN and --cache: say what all runs and caches could give back.
    """
    from sidestep_tui.launch import tidy as plans
    from sidestep_tui.launch.ledger import Ledger

    rows, known = plans.everything(Ledger(), [paths.default_output_dir()])
    if run is None and cache is None:
        return _overview([Path(row.path) for row in rows if row.reachable and not row.is_alive], as_json=as_json)
    if run is not None and cache is not None:
        raise UsageError("RUN and --cache exclude each other.", "", "Name one of them.")
    if cache == "encoded":
        plan, name = plans.of_encoded(rows), cache
    elif cache is not None:
        plan, name = plans.of_caches(rows, known, now=time.time()), cache
    else:
        run_dir = options.find_run(run)
        plan, name = plans.of_run(run_dir, known), run_dir.name
    if as_json:
        render.data_json(_fields(plan))
    else:
        _show(plan)
    if dry_run or not plan.items:
        return int(ExitCode.DONE)
    _ask_for(name, word)
    render.say(f"{text.file_size(plans.carry_out(plan))} freed.")
    return int(ExitCode.DONE)


def _overview(places: list[Path], *, as_json: bool) -> int:
    """What every run and cache could give back; nothing is changed."""
    from sidestep_tui.launch import tidy as plans
    from sidestep_tui.launch.ledger import Ledger

    rows, known = plans.everything(Ledger(), [paths.default_output_dir()])
    found: list[tuple[str, int, int]] = []
    for path in places:
        try:
            plan = plans.of_run(RunDir(path), known)
        except RunError:
            continue
        if plan.items:
            found.append((path.name, len(plan.items), plan.bytes))
    caches = [("--cache unpacked", plans.of_caches(rows, known, now=time.time()))]
    if not any(row.is_alive for row in rows):
        caches.append(("--cache encoded", plans.of_encoded(rows)))
    found += [(name, len(plan.items), plan.bytes) for name, plan in caches if plan.items]
    if as_json:
        render.data_json([{"name": name, "items": count, "bytes": size} for name, count, size in found])
        return int(ExitCode.DONE)
    table = [[name, str(count), text.file_size(size)] for name, count, size in found]
    for line in render.table(table, ("RUN OR CACHE", "ITEMS", "COULD GO"), right=(1, 2)):
        render.data(line)
    render.say(
        "Nothing was changed. `sidestep-tui runs tidy RUN` asks for the run's name." if found else "All is tidy."
    )
    return int(ExitCode.DONE)


@click.command()
@options.run_argument()
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.option("--yes-delete", "word", metavar="NAME", help="The run's name, instead of typing it.")
def delete(run: str, dry_run: bool, word: str | None) -> int:
    """Delete RUN: settings, journal, checkpoints, adapters, samples. Asks for its name.

    Only files that sidestep-tui writes go, never through links; others stay, and are named. A run that is alive stays.
    """
    from sidestep_tui.launch import removal

    run_dir = options.find_run(run)
    plan = removal.plan(run_dir)
    render.say(f"{run_dir.path}\n{plan.sentence}")
    if dry_run:
        return int(ExitCode.DONE)
    _ask_for(run_dir.name, word)
    left = removal.delete(plan)
    render.say(f"{run_dir.name} is deleted.")
    for name in left:
        render.data(str(run_dir.path / name))
    return int(ExitCode.DONE)


@click.command()
@click.argument("run")
def forget(run: str) -> int:
    """Leave RUN, or all runs of a folder, out of the list; their files stay. For disks that will not come back."""
    path = paths.expand(run)
    known = registry.known()
    if path.resolve() in known.folders:
        registry.forget_folder(path)
        render.say(f"The runs in {path} are no longer listed, but for those started here.")
        return int(ExitCode.DONE)
    matches = [found for found in known.runs if run in (found.name, str(found)) or found == path.resolve()]
    if len(matches) != 1:
        what = "could be several runs" if matches else "is no remembered run or folder"
        raise RunError(f"'{run}' {what}.", text.listing([str(found) for found in matches]), "Give its path.")
    registry.forget(RunDir(matches[0]))
    render.say(f"{matches[0]} is no longer listed; its files stay.")
    return int(ExitCode.DONE)


def _show(plan: TidyPlan) -> None:
    rows = [["goes", text.file_size(item.bytes), paths.shorten(item.path), item.why] for item in plan.items]
    rows += [["stays", "", paths.shorten(kept.path), kept.why] for kept in plan.kept]
    for line in render.table(rows, right=(1,)):
        render.data(render.plain(line))
    if not plan.items:
        render.say("Nothing there could go.")


def _fields(plan: TidyPlan) -> dict[str, object]:
    return {
        "bytes": plan.bytes,
        "goes": [
            {"kind": item.kind, "path": str(item.path), "bytes": item.bytes, "why": item.why} for item in plan.items
        ],
        "stays": [{"path": str(kept.path), "why": kept.why} for kept in plan.kept],
    }


def _ask_for(name: str, word: str | None) -> None:
    """Raise unless the name was typed, on the command line or now."""
    if word is None and sys.stdin is not None and sys.stdin.isatty():
        word = click.prompt(f"Type {name} to delete this", default="", show_default=False, err=True)
    if word is None:
        raise UsageError(
            "Nothing was deleted.", "There is no terminal to type the name on.", f"Add --yes-delete {name}."
        )
    if word.strip() != name:
        raise UsageError(
            "Nothing was deleted.", f"'{word}' is not {name}.", f"Type {name}, or add --yes-delete {name}."
        )
