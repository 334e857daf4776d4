"""One preset file as read: its values, what it is for, what it asks of the machine, and where its numbers come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sidestep_tui.core import paths, text
from sidestep_tui.core.errors import SettingsError
from sidestep_tui.schema import codec
from sidestep_tui.schema.codec import Document
from sidestep_tui.schema.layers import Layer
from sidestep_tui.schema.problems import Problem, refuse
from sidestep_tui.schema.run import is_run, run_values

Source = Literal["shipped", "user", "project", "file"]

# What a preset may say it needs of the machine, all in GiB.
REQUIREMENTS = ("vram_gib", "ram_gib", "disk_gib")
HEAD_KEYS = ("schema_version", "description", "group", "extends", "requires", "provenance")
"""What a preset may say beside its settings."""
FOREIGN_SUFFIXES = (".json", ".yaml", ".yml", ".txt", ".md", ".py", ".sh")


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where the numbers of a preset come from. `changed` gives a reason for each setting that is not as in the source,
    `left_out` one for each of the source's own keys that is not here."""

    source: str = ""
    changed: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.source or self.changed or self.left_out)

    def as_table(self) -> dict[str, Any]:
        """As it is written to a file, without what is empty."""
        table = {"source": self.source, "changed": dict(self.changed), "left_out": dict(self.left_out)}
        return {key: value for key, value in table.items() if value}


@dataclass(frozen=True, slots=True)
class Preset:
    """A preset as read. `values` includes those of the preset it extends; `own` only what its file sets.

    `hides` says in which places a preset of the same name is passed over for this one, `hidden` that this one is.
    """

    name: str
    path: Path
    source: Source
    description: str
    values: Mapping[str, Any]
    requires: Mapping[str, float]
    extends: str
    own: Mapping[str, Any]
    is_run: bool = False
    group: str = ""
    provenance: Provenance = Provenance()
    hides: tuple[Source, ...] = ()
    hidden: bool = False

    @property
    def is_own(self) -> bool:
        """Whether it is the user's to rename and delete: from the configuration directory, or the project's."""
        return self.source in ("user", "project")

    @property
    def layer_name(self) -> str:
        """The origin shown for its values: `preset vram_12gb`, `run drums_v3`."""
        return f"{'run' if self.is_run else 'preset'} {self.name}"

    def layers(self) -> list[Layer]:
        """Its layers, lowest first: the preset that it extends, then its own values."""
        own = Layer(self.layer_name, self.own)
        if not self.extends:
            return [own]
        inherited = {path: value for path, value in self.values.items() if path not in self.own}
        return [Layer(f"preset {self.extends}", inherited), own]


def read_alone(path: Path, source: Source) -> Preset:
    """A preset without what it extends; a SettingsError lists every problem in the file with its line."""
    if path.is_dir() and (path / "run.toml").is_file():
        path = path / "run.toml"
    if path.suffix.lower() in FOREIGN_SUFFIXES:
        raise SettingsError(
            f"{paths.shorten(path)} is not a preset of sidestep-tui.",
            "Presets of other programs are translated once, with a report of every key.",
            f"Import it: sidestep-tui presets import {path}",
        )
    document = codec.read_document(path)
    if is_run(document):
        return _run_preset(document)
    codec.check_version(document.data.get("schema_version", codec.SCHEMA_VERSION), document.source)
    problems: list[Problem] = []
    description = _head_text(document, "description", problems)
    group = _head_text(document, "group", problems)
    extends = _head_text(document, "extends", problems)
    requires = _requirements(document, problems)
    provenance = _provenance(document, problems)
    own, bad = codec.document_values(document, ignore=HEAD_KEYS)
    problems.extend(bad)
    refuse(
        sorted(problems, key=lambda problem: problem.line),
        source=document.source,
        hint="Correct the file and try again.",
    )
    return Preset(path.stem, path, source, description, own, requires, extends, own, group=group, provenance=provenance)


def _run_preset(document: Document) -> Preset:
    about = document.data["run"]
    codec.check_version(about.get("schema_version", codec.SCHEMA_VERSION), document.source)
    values = run_values(document)
    name = str(about.get("name") or document.path.parent.name)
    description = f"The settings of the run {name}."
    return Preset(name, document.path, "file", description, values, {}, "", values, is_run=True)


def _head_text(document: Document, key: str, problems: list[Problem]) -> str:
    value = document.data.get(key, "")
    if isinstance(value, str):
        return value
    problems.append(Problem(key, f"{key} must be text, not {value!r}.", line=document.line_of(key)))
    return ""


def _requirements(document: Document, problems: list[Problem]) -> dict[str, float]:
    table = document.data.get("requires", {})
    if not isinstance(table, dict):
        sentence = "requires must be a [requires] table."
        problems.append(Problem("requires", sentence, line=document.line_of("requires")))
        return {}
    needs: dict[str, float] = {}
    for key, value in table.items():
        path = f"requires.{key}"
        if key not in REQUIREMENTS:
            hint = text.did_you_mean(key, REQUIREMENTS) or f"There are {text.listing(REQUIREMENTS)}."
            sentence = f"There is no requirement '{key}'. {hint}"
        elif isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e6:
            sentence = f"{path} must be a number of GiB above 0, not {value!r}."
        else:
            needs[key] = float(value)
            continue
        problems.append(Problem(path, sentence, line=document.line_of(path)))
    return needs


def _provenance(document: Document, problems: list[Problem]) -> Provenance:
    table = document.data.get("provenance", {})
    known = ("source", "changed", "left_out")
    if not isinstance(table, dict):
        sentence = "provenance must be a [provenance] table."
        problems.append(Problem("provenance", sentence, line=document.line_of("provenance")))
        return Provenance()
    for key, value in table.items():
        path = f"provenance.{key}"
        if key not in known:
            hint = text.did_you_mean(key, known) or f"There are {text.listing(known)}."
            problems.append(
                Problem(path, f"There is nothing '{key}' in [provenance]. {hint}", line=_line(document, key))
            )
        elif key == "source" and not isinstance(value, str):
            problems.append(Problem(path, f"{path} must be text, not {value!r}.", line=_line(document, key)))
        elif key != "source" and not (
            isinstance(value, dict) and all(isinstance(reason, str) for reason in value.values())
        ):
            sentence = f"{path} must be a [{path}] table with a reason for each key."
            problems.append(Problem(path, sentence, line=_line(document, key)))
    if any(problem.path.startswith("provenance.") for problem in problems):
        return Provenance()
    return Provenance(table.get("source", ""), table.get("changed", {}), table.get("left_out", {}))


def _line(document: Document, key: str) -> int:
    return document.line_of(f"provenance.{key}") or document.line_of("provenance")
