"""What is wrong with settings: one sentence each, gathered so that a person hears of all of them at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sidestep_tui.core import text
from sidestep_tui.core.errors import SettingsError
from sidestep_tui.schema.fields import FieldSpec, fields_by_path, group_names


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong. `path` is the setting (or the unknown key), `line` counts from 1, 0 where there is no file."""

    path: str
    sentence: str
    origin: str = ""
    line: int = 0

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line else ""
        origin = f" ({self.origin})" if self.origin else ""
        return f"{place}{self.sentence}{origin}"


class SettingsProblems(SettingsError):
    """Several problems in one refusal; `problems` keeps them apart for forms and `--json`."""

    def __init__(self, title: str, problems: Sequence[Problem], hint: str = "") -> None:
        super().__init__(title, "\n".join(str(problem) for problem in problems), hint)
        self.problems = tuple(problems)


def refuse(problems: Iterable[Problem], *, source: str = "", hint: str = "") -> None:
    """Raise when there is anything to say; `source` names the file."""
    found = list(problems)
    if not found:
        return
    what = text.plural(len(found), "problem")
    title = f"{source} cannot be used: {what}." if source else f"The settings cannot be used: {what}."
    raise SettingsProblems(title, found, hint)


def unknown_key(key: str) -> str:
    """The sentence for a setting or group that does not exist."""
    in_other_group = [path for path, spec in fields_by_path().items() if spec.name == key.rpartition(".")[2]]
    if in_other_group:
        return f"There is no setting '{key}'. Did you mean '{in_other_group[0]}'?"
    kind, candidates = "setting", [*fields_by_path()]
    if "." not in key:
        kind, candidates = "group of settings", [*group_names(), *fields_by_path()]
    return " ".join(filter(None, (f"There is no {kind} '{key}'.", text.did_you_mean(key, candidates))))


def known_field(path: str) -> FieldSpec:
    """The FieldSpec of `path`; a SettingsError with the nearest name when there is none."""
    spec = fields_by_path().get(path)
    if spec is None:
        raise SettingsError(unknown_key(path), "", "The wizard's table of all settings (F6) and the README list them.")
    return spec
