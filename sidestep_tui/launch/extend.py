"""Going on with a run under changed settings: more epochs, another learning rate. Its run.toml is the record of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from sidestep_tui.core import text
from sidestep_tui.core.errors import RunError, SettingsError
from sidestep_tui.protocol.lock import is_held
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.schema import run as run_file
from sidestep_tui.schema.layers import Layer, flat_values, resolve
from sidestep_tui.schema.run import RunFile

ORIGIN: Final = "resumed with"
_FIXED_GROUPS: Final = frozenset({"model", "data", "adapter"})
_FIXED: Final = frozenset({"optim.optimizer", "output.path", "output.name", "train.seed"})
"""What a checkpoint would not fit any more, or what names the run."""


def change(run_dir: RunDir, values: Mapping[str, Any]) -> RunFile:
    """Write other settings into the run.toml of a run that is over; the next session goes on with them.

    Raises RunError for what cannot change within a run, SettingsError for values that are none.
    """
    if is_held(run_dir):
        raise RunError(f"{run_dir.name} is alive.", "Its settings are in use.", "Stop it first.")
    fixed = [path for path in values if path in _FIXED or path.partition(".")[0] in _FIXED_GROUPS]
    if fixed:
        raise RunError(
            "A run cannot go on with another " + text.listing(fixed) + ".",
            "Its checkpoints would not fit.",
            f"Make a new run: `sidestep-tui train {run_dir.run_toml}` with these settings.",
        )
    current = run_file.read_run(run_dir.run_toml)
    before = flat_values(current.settings)
    resolved = resolve([Layer("run", before), Layer(ORIGIN, values)])
    changed = {path for path, value in resolved.values.items() if value != before[path]}
    origins = {**current.origins, **dict.fromkeys(sorted(changed), ORIGIN)}
    written = replace(current, settings=resolved.settings, origins=origins)
    if changed:
        run_file.write_run(run_dir.run_toml, written)
    return written


def check_epochs(run_dir: RunDir, answer: str) -> str:
    """Why a run cannot go on to so many epochs; empty if it can."""
    try:
        settings = run_file.read_run(run_dir.run_toml).settings
    except SettingsError as error:
        return error.title
    if not answer.strip().isdecimal() or int(answer) > 100_000:
        return "Type a whole number of epochs."
    if int(answer) <= settings.train.epochs:
        return f"It was told {settings.train.epochs} epochs: type more."
    if settings.train.max_steps:
        return f"It ends at its step limit of {settings.train.max_steps:,}: raise train.max_steps with `resume -s`."
    return ""
