"""Where each value comes from: sparse layers, lowest first, resolved into one frozen Settings with origins.

The order, lowest first: default, hardware, preset (below it the preset that it extends), base run, command line
(only what was typed), yours. A layer is a name and the values it sets; nothing else knows about precedence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from sidestep_tui.core.errors import SettingsError
from sidestep_tui.schema.fields import all_fields, fields_by_path, group_names
from sidestep_tui.schema.problems import Problem, known_field, refuse, unknown_key
from sidestep_tui.schema.settings import Settings
from sidestep_tui.schema.values import check_value, format_value, parse_value

__all__ = [
    "COMMAND_LINE",
    "DEFAULT",
    "HARDWARE",
    "YOURS",
    "Layer",
    "Resolved",
    "check_values",
    "command_line",
    "defaults",
    "flat_values",
    "format_value",
    "parse_value",
    "resolve",
]

DEFAULT = "default"
HARDWARE = "hardware"
COMMAND_LINE = "command line"
YOURS = "yours"


@dataclass(frozen=True, slots=True)
class Layer:
    """Values by dotted path; `name` is shown as their origin: "hardware", "preset vram_12gb", "run drums_v3"."""

    name: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Resolved:
    """The settings of a run, and for every path the name of the layer that decided it."""

    settings: Settings
    origins: dict[str, str]

    def value(self, path: str) -> Any:
        """One value by dotted path."""
        spec = known_field(path)
        return getattr(getattr(self.settings, spec.group), spec.name)

    @property
    def values(self) -> dict[str, Any]:
        """Every value by dotted path."""
        return flat_values(self.settings)


def defaults() -> Layer:
    """The lowest layer: every setting's default."""
    return Layer(DEFAULT, {spec.path: spec.default for spec in all_fields()})


def flat_values(settings: Settings) -> dict[str, Any]:
    """Every value of `settings` by dotted path, in the order of the models."""
    return {spec.path: getattr(getattr(settings, spec.group), spec.name) for spec in all_fields()}


def check_values(values: Mapping[str, Any], *, origin: str = "") -> tuple[dict[str, Any], list[Problem]]:
    """The values in their settings' own types, and a Problem for each that is unknown or out of bounds."""
    good: dict[str, Any] = {}
    problems: list[Problem] = []
    for path, raw in values.items():
        spec = fields_by_path().get(path)
        if spec is None:
            problems.append(Problem(path, unknown_key(path), origin))
            continue
        try:
            good[path] = check_value(spec, raw)
        except SettingsError as error:
            problems.append(Problem(path, error.title, origin))
    return good, problems


def resolve(layers: Iterable[Layer]) -> Resolved:
    """Lay `layers` (lowest first) over the defaults.

    Raises a SettingsError that lists every problem of every layer, even of values that a higher layer replaces: a
    layer that cannot be used is worth knowing about.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    problems: list[Problem] = []
    for layer in (defaults(), *layers):
        good, bad = check_values(layer.values, origin="" if layer.name == DEFAULT else layer.name)
        problems.extend(bad)
        values.update(good)
        origins.update(dict.fromkeys(good, layer.name))
    refuse(problems)
    return Resolved(_settings(values), origins)


def command_line(assignments: Sequence[str], extra: Mapping[str, str] | None = None) -> Layer:
    """The layer of `-s path=value` arguments; `extra` holds typed options that have their own name (`--model`).

    Raises a SettingsError that lists every argument that cannot be used.
    """
    problems: list[Problem] = []
    typed = dict(extra or {})
    for assignment in assignments:
        path, sign, value = assignment.partition("=")
        if not sign:
            problems.append(Problem(path, f"'{assignment}' is not of the form path=value."))
            continue
        typed[path.strip()] = value
    values: dict[str, Any] = {}
    for path, value in typed.items():
        try:
            values[path] = parse_value(known_field(path), value)
        except SettingsError as error:
            problems.append(Problem(path, error.title))
    if len(problems) == 1:
        raise SettingsError(problems[0].sentence, "", "Give settings as -s adapter.rank=32 -s optim.lr=1e-4.")
    refuse(problems, source="The command line", hint="Give settings as -s adapter.rank=32 -s optim.lr=1e-4.")
    return Layer(COMMAND_LINE, values)


def _settings(values: Mapping[str, Any]) -> Settings:
    nested: dict[str, dict[str, Any]] = {group: {} for group in group_names()}
    for path, value in values.items():
        group, _, name = path.partition(".")
        nested[group][name] = value
    try:
        return Settings.model_validate(nested)
    except ValidationError as error:
        # The checks above are stricter than pydantic; this is the net below them, should they ever part.
        refuse(Problem(".".join(map(str, item["loc"])), item["msg"]) for item in error.errors())
        raise
