"""A plan: everything a run will be started with, resolved from preset, options and the machine."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sidestep_tui.core import paths
from sidestep_tui.core.errors import ModelError, SettingsError
from sidestep_tui.core.ids import slug
from sidestep_tui.launch import hardware, models
from sidestep_tui.schema import layers, presets
from sidestep_tui.schema.layers import Layer, Resolved
from sidestep_tui.schema.presets import Preset

_PATH_SETTINGS = ("model.path", "model.components", "data.path", "data.cache", "adapter.start_from", "output.path")


@dataclass(frozen=True, slots=True)
class Plan:
    """What will run: `resolved` has every setting and its origin, `run_name` names the run's directory."""

    resolved: Resolved
    preset: str
    run_name: str
    extra: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Tables for run.toml beyond the settings."""
    requires: Mapping[str, float] = field(default_factory=dict)
    """What the preset says it needs of the machine, in GiB."""

    @property
    def output(self) -> Path:
        """The folder that receives the run."""
        return Path(self.resolved.settings.output.path)


def from_preset(
    preset_name: str,
    *,
    model: str | None = None,
    dataset: str | None = None,
    output: str | None = None,
    name: str | None = None,
    assignments: Sequence[str] = (),
    now: datetime.datetime | None = None,
) -> Plan:
    """Resolve PRESET (or a run.toml) and what was typed beside it. Raises SettingsError with every problem."""
    preset = presets.find(preset_name)
    typed = {
        path: value
        for path, value in (
            ("model.path", model),
            ("data.path", dataset),
            ("output.path", output),
            ("output.name", name),
        )
        if value is not None
    }
    return from_layers([*preset.layers(), layers.command_line(assignments, typed)], preset=preset, now=now)


def from_layers(stack: Sequence[Layer], *, preset: Preset | None = None, now: datetime.datetime | None = None) -> Plan:
    """Resolve layers (lowest first), with what the machine suggests below them and every path made absolute."""
    first = layers.resolve(stack)
    machine = hardware.layer(first.settings)
    resolved = _with_absolute_paths(layers.resolve([machine, *stack]) if machine.values else first)
    label = preset.name if preset is not None else ""
    requires = preset.requires if preset is not None else {}
    return Plan(resolved, label, run_name(resolved, preset, now or datetime.datetime.now()), requires=requires)


def from_resolved(resolved: Resolved, *, preset: str = "", now: datetime.datetime | None = None) -> Plan:
    """A plan from settings that were resolved elsewhere: the wizard's draft."""
    absolute = _with_absolute_paths(resolved)
    settings = absolute.settings
    chosen = settings.output.name or default_name(preset, settings.data.path, now or datetime.datetime.now())
    return Plan(absolute, preset, chosen)


def run_name(resolved: Resolved, preset: Preset | None, now: datetime.datetime) -> str:
    """The name asked for, or one from preset, dataset and date; a repeated run keeps its name's stem."""
    asked = resolved.settings.output.name
    if asked:
        return asked
    return default_name(preset.name if preset else "", resolved.settings.data.path, now)


def default_name(preset: str, dataset: str, now: datetime.datetime) -> str:
    """`drums-vram_12gb-1121`: the dataset's folder, the preset, month and day."""
    parts = [Path(dataset).name if dataset else "", preset, now.strftime("%m%d")]
    return slug("-".join(slug(part, fallback="x") for part in parts if part))


def _with_absolute_paths(resolved: Resolved) -> Resolved:
    """The engine, a resume and a repetition may run from another directory than this one."""
    values = resolved.values
    for path in _PATH_SETTINGS:
        _refuse_unknown_home(path, values[path])
    changed = {
        path: str(paths.expand(values[path]).resolve())
        for path in _PATH_SETTINGS
        if values[path] and path != "model.path"
    }
    if values["model.path"]:
        # Not resolved through links: the folder's name may be what says which variant it is.
        changed["model.path"] = str(paths.expand(values["model.path"]).absolute())
    again = layers.resolve(
        [Layer(resolved.origins[path], {path: value}) for path, value in {**values, **changed}.items()]
    )
    return Resolved(again.settings, dict(resolved.origins))


def _refuse_unknown_home(path: str, value: str) -> None:
    """`~anna/songs` means the home of a user; without that user a run would make a folder of that very name."""
    if value.startswith("~") and str(paths.expand(value)) == value:
        user = value.split("/")[0][1:]
        raise SettingsError(
            f"{path} begins with a home that is not known.",
            f"There is no user '{user}' here." if user else "HOME is not set.",
            f"Write the path out, or ./{value} for a folder of that name.",
        )


def chosen_model(plan: Plan) -> models.FoundModel | None:
    """The checkpoint of the plan, or None while there is none."""
    settings = plan.resolved.settings.model
    try:
        return models.locate(settings.path, settings.variant)
    except ModelError:
        return None
