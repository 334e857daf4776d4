"""Whether a file can be trained with, whoever wrote it: every fault with its key, its reason and its fix."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sidestep_tui.core import paths
from sidestep_tui.core.errors import SettingsError
from sidestep_tui.schema import importers, presets, rules
from sidestep_tui.schema.fields import fields_by_path
from sidestep_tui.schema.importers import ImportReport
from sidestep_tui.schema.layers import Layer, resolve
from sidestep_tui.schema.problems import Problem, SettingsProblems

Weight = Literal["error", "warning", "advice", "note"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to say about a file. A note is a key that has no counterpart here; only errors refuse the file."""

    weight: Weight
    key: str
    reason: str
    fix: str = ""
    line: int = 0
    values: Mapping[str, Any] = field(default_factory=dict)
    """The settings that follow the fix, where it is one of settings."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found. `name` is how the file was asked for, `values` what could be used of it."""

    name: str
    format: str
    findings: tuple[Finding, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_refused(self) -> bool:
        """Whether anything in it cannot be."""
        return any(finding.weight == "error" for finding in self.findings)


def is_foreign(reference: str) -> bool:
    """Whether a path means another trainer's file, to be translated: anything but TOML, or a folder without a run."""
    path = paths.expand(reference)
    if path.is_dir():
        return not (path / "run.toml").is_file()
    named = "/" not in reference and not path.suffix
    return not named and path.is_file() and path.suffix.lower() != ".toml"


def check(reference: str) -> Checked:
    """Check a preset by name, or any file: a preset, a run.toml, or what another trainer or a guide wrote.

    Raises a SettingsError where there is nothing to check: no such preset, no such file.
    """
    if is_foreign(reference):
        return _foreign(reference)
    try:
        preset = presets.find(reference)
    except SettingsProblems as error:
        return Checked(reference, "preset", tuple(_faults(error.problems)))
    except SettingsError as error:
        if not paths.expand(reference).is_file():
            raise
        return Checked(reference, "preset", (Finding("error", "", _sentence(error), error.hint),))
    kind = "run" if preset.is_run else "preset"
    return Checked(reference, kind, tuple(_advice(preset.layers())), preset.values)


def check_report(report: ImportReport, name: str = "") -> Checked:
    """What is to be said about a file that was translated already."""
    wrong = [Finding("error", row.key, row.detail, row.fix) for row in report.wrong]
    notes = [Finding("note", row.key, row.detail) for row in report.refused if not row.wrong]
    findings = (*wrong, *_advice([Layer("import", report.values)]), *notes)
    return Checked(name or report.name, report.source_format, findings, report.values)


def _foreign(reference: str) -> Checked:
    path = paths.expand(reference)
    try:
        return check_report(importers.import_preset(Path(path)), reference)
    except SettingsError as error:
        return Checked(reference, "unknown", (Finding("error", "", _sentence(error), error.hint),))


def _faults(problems: Iterable[Problem]) -> Iterable[Finding]:
    for problem in problems:
        spec = fields_by_path().get(problem.path)
        example = f"Write {spec.write(spec.default)}, for example." if spec and spec.write(spec.default) else ""
        yield Finding(
            "error", problem.path, problem.sentence, example or "Correct its name, or remove it.", problem.line
        )


def _advice(layers: Iterable[Layer]) -> Iterable[Finding]:
    for item in rules.check(resolve(layers).settings):
        label = f"{item.fix_label}: " if item.fix_label else ""
        told = ", ".join(f"{path} = {fields_by_path()[path].write(value)}" for path, value in (item.fix or {}).items())
        yield Finding(item.severity, item.path, item.sentence, f"{label}{told}", values=dict(item.fix or {}))


def _sentence(error: SettingsError) -> str:
    return " ".join(filter(None, (error.title, *error.message.splitlines())))
