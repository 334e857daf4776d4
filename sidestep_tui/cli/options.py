"""Options and arguments that several commands share, and how RUN is understood."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from sidestep_tui.cli import render
from sidestep_tui.core import paths, text
from sidestep_tui.core.errors import RunError
from sidestep_tui.launch.ledger import Ledger
from sidestep_tui.protocol.registry import RunSummary
from sidestep_tui.protocol.rundir import RunDir

_Command = TypeVar("_Command", bound=Callable[..., Any])

set_option = click.option(
    "-s", "--set", "assignments", metavar="PATH=VALUE", multiple=True, help="Any setting: -s optim.lr=5e-5."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON to standard output.")


def run_argument(*, required: bool = True) -> Callable[[_Command], _Command]:
    """RUN: a path, a name, or the beginning of one."""
    return click.argument("run", required=required, shell_complete=_complete_runs)


def preset_argument(function: _Command) -> _Command:
    """PRESET: a name or a path; a run.toml or a run's directory counts as one."""
    return click.argument("preset", shell_complete=complete_presets, callback=_preset_named)(function)


def say_whom_it_hides(name: str) -> None:
    """Say so when a preset of this folder, or of one's own, stands in front of another one of its name."""
    from sidestep_tui.schema import presets

    note = presets.hiding_note(name)
    if note:
        render.say(f"Note: {render.plain(note)}")


def _preset_named(ctx: click.Context, parameter: click.Parameter, name: str) -> str:
    say_whom_it_hides(name)
    return name


def known_runs() -> list[RunSummary]:
    """Remembered runs, those in remembered folders and in `./runs`: living ones first, then the newest."""
    rows = Ledger().look([paths.default_output_dir()], now=time.time())
    return [row.summary for row in rows if row.summary is not None and row.reachable]


def find_run(reference: str | None) -> RunDir:
    """The run that `reference` means; without one the newest, a living one first."""
    if reference is None:
        return _newest()
    if not reference:
        raise RunError("No run is named.", "RUN is empty.", "`sidestep-tui runs` lists the known ones.")
    path = paths.expand(reference)
    if path.exists() and ("/" in reference or (path / "run.toml").is_file() or path.is_file()):
        return RunDir.open(path)
    runs = known_runs()
    exact = [run for run in runs if run.name == reference]
    matches = exact or [run for run in runs if run.name.startswith(reference)]
    if len(matches) == 1:
        return RunDir.open(Path(matches[0].path))
    if matches:
        raise RunError(
            f"'{reference}' could be {len(matches)} runs.",
            text.listing([paths.shorten(run.path) for run in matches]) + ".",
            "Give more of the name, or the path.",
        )
    if path.exists():
        return RunDir.open(path)
    names = [run.name for run in runs]
    hint = text.did_you_mean(reference, names) or "`sidestep-tui runs` lists the known ones."
    raise RunError(f"There is no run '{reference}'.", "It is neither a path nor the beginning of a known name.", hint)


def _newest() -> RunDir:
    runs = known_runs()
    if not runs:
        raise RunError(
            "There are no runs yet.", "", "Start one with `sidestep-tui train PRESET`, or try `sidestep-tui demo`."
        )
    living = [run for run in runs if run.is_alive]
    return RunDir.open(Path((living or runs)[0].path))


def _complete_runs(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(run.name, help=run.status) for run in known_runs() if run.name.startswith(incomplete)]


def complete_presets(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of presets that begin as typed, with what they are for."""
    from sidestep_tui.schema import presets

    found = presets.list_presets()
    return [CompletionItem(item.name, help=item.description) for item in found if item.name.startswith(incomplete)]
