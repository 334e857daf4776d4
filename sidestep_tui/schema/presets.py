"""Presets: short TOML files that hold only what differs from the defaults.

Shipped ones lie beside the package, the user's own in the configuration directory, and any path will do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from sidestep_tui.core import paths, text
from sidestep_tui.core.errors import SettingsError
from sidestep_tui.schema import codec
from sidestep_tui.schema.codec import Document
from sidestep_tui.schema.layers import Layer, check_values
from sidestep_tui.schema.problems import Problem, refuse
from sidestep_tui.schema.run import is_run, run_values

Source = Literal["shipped", "user", "file"]

# What a preset may say it needs of the machine, all in GiB.
REQUIREMENTS = ("vram_gib", "ram_gib", "disk_gib")
_HEAD = ("schema_version", "description", "extends", "requires")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_DEFAULT_NAME = "recommended"


@dataclass(frozen=True, slots=True)
class Preset:
    """A preset as read. `values` includes those of the preset it extends; `own` only what its file sets."""

    name: str
    path: Path
    source: Source
    description: str
    values: Mapping[str, Any]
    requires: Mapping[str, float]
    extends: str
    own: Mapping[str, Any]
    is_run: bool = False

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


def find(name_or_path: str | Path) -> Preset:
    """The preset of that name (the user's own first), or at that path; a run.toml or a run directory counts as one."""
    wanted = str(name_or_path)
    if (
        isinstance(name_or_path, Path)
        or "/" in wanted
        or "\\" in wanted
        or wanted.endswith((".toml", ".json", ".yaml", ".yml"))
    ):
        return read(paths.expand(wanted), source="file")
    named = _named(wanted)
    if named is not None:
        return read(named[0], source=named[1])
    if (Path(wanted) / "run.toml").is_file():
        return read(Path(wanted), source="file")
    raise _unknown(wanted)


def read(path: Path, *, source: Source = "file") -> Preset:
    """Read one preset file; a SettingsError lists every problem in it with its line."""
    preset = _read_alone(path, source)
    return _extended(preset) if preset.extends else preset


def _read_alone(path: Path, source: Source) -> Preset:
    """A preset without what it extends."""
    if path.is_dir() and (path / "run.toml").is_file():
        path = path / "run.toml"
    if path.suffix.lower() in (".json", ".yaml", ".yml"):
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
    extends = _head_text(document, "extends", problems)
    requires = _requirements(document, problems)
    own, bad = codec.document_values(document, ignore=_HEAD)
    problems.extend(bad)
    refuse(
        sorted(problems, key=lambda problem: problem.line),
        source=document.source,
        hint="Correct the file and try again.",
    )
    return Preset(path.stem, path, source, description, own, requires, extends, own)


def list_presets() -> list[Preset]:
    """Every preset that can be used: the shipped ones with the recommended one first, then the user's own."""
    return [preset for preset, _, _ in _scan() if preset is not None]


def broken_presets() -> list[tuple[Path, SettingsError]]:
    """Preset files that cannot be used, with the reason."""
    return [(path, error) for _, path, error in _scan() if error is not None]


def markdown_table() -> str:
    """The README's table of the shipped presets."""
    rows = [f"| `{preset.name}` | {preset.description} |" for preset in list_presets() if preset.source == "shipped"]
    return "\n".join(["| preset | for |", "|---|---|", *rows]) + "\n"


def save_user(
    name: str,
    values: Mapping[str, Any],
    comment: str = "",
    overwrite: bool = False,
    *,
    description: str = "",
    extends: str = "",
    requires: Mapping[str, float] | None = None,
) -> Preset:
    """Save a preset of the user's own; refuses a taken name unless `overwrite`, and values that are out of bounds."""
    if not _NAME.fullmatch(name):
        raise SettingsError(
            f"'{name}' cannot be the name of a preset.",
            "Names have 1 to 64 letters, digits, dots, dashes and underscores, and start with a letter or digit.",
            f"How about '{safe_name(name)}'?",
        )
    if (paths.shipped_presets_dir() / f"{name}.toml").is_file():
        raise SettingsError(
            f"'{name}' is a preset of the product.",
            "A preset of your own under that name would hide it.",
            f"Choose another name, for example '{name}_mine'.",
        )
    path = paths.user_presets_dir() / f"{name}.toml"
    if path.exists() and not overwrite:
        raise SettingsError(f"There is a preset '{name}' already.", "", "Choose another name, or overwrite it.")
    good, problems = check_values(values)
    refuse(problems)
    codec.write_preset(path, good, comment=comment, description=description, extends=extends, requires=requires)
    return read(path, source="user")


def delete_user(name: str) -> None:
    """Delete a preset of the user's own."""
    preset = find(name)
    if preset.source != "user":
        raise SettingsError(f"'{name}' is not a preset of your own.", "", "Only your own presets can be deleted.")
    preset.path.unlink()


def safe_name(text: str) -> str:
    """A form of `text` that can be the name of a preset."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("._-")[:64] or "my_preset"


def _places() -> tuple[tuple[Path, Source], ...]:
    return (paths.user_presets_dir(), "user"), (paths.shipped_presets_dir(), "shipped")


def _scan() -> list[tuple[Preset | None, Path, SettingsError | None]]:
    found: list[tuple[Preset | None, Path, SettingsError | None]] = []
    for directory, source in reversed(_places()):
        for path in sorted(directory.glob("*.toml"), key=_list_order):
            try:
                found.append((read(path, source=source), path, None))
            except SettingsError as error:
                found.append((None, path, error))
    return found


def _list_order(path: Path) -> tuple[bool, str]:
    """The recommended preset first, then by name with numbers in their order (vram_8gb before vram_12gb)."""
    return path.stem != _DEFAULT_NAME, re.sub(r"\d+", lambda digits: digits[0].zfill(8), path.stem)


def _run_preset(document: Document) -> Preset:
    about = document.data["run"]
    codec.check_version(about.get("schema_version", codec.SCHEMA_VERSION), document.source)
    values = run_values(document)
    name = str(about.get("name") or document.path.parent.name)
    description = f"The settings of the run {name}."
    return Preset(name, document.path, "file", description, values, {}, "", values, is_run=True)


def _extended(preset: Preset) -> Preset:
    where = f"{paths.shorten(preset.path)} says so in 'extends'."
    if preset.extends == preset.name:
        raise SettingsError(f"The preset '{preset.name}' extends itself.", where, "Name another preset, or none.")
    found = _named(preset.extends)
    if found is None:
        unknown = _unknown(preset.extends)
        raise SettingsError(unknown.title, where, unknown.hint)
    base = _read_alone(*found)
    if base.extends:
        raise SettingsError(
            f"The preset '{preset.name}' extends '{base.name}', which extends another.",
            "Presets are extended one level deep, so that it stays plain where a value comes from.",
            f"Extend '{base.extends}' instead.",
        )
    return replace(preset, values={**base.values, **preset.own}, requires={**base.requires, **preset.requires})


def _named(name: str) -> tuple[Path, Source] | None:
    """The file of the preset of that name, the user's own first."""
    for directory, source in _places():
        if _NAME.fullmatch(name) and (directory / f"{name}.toml").is_file():
            return directory / f"{name}.toml", source
    return None


def _unknown(name: str) -> SettingsError:
    names = [
        path.stem for directory, _ in reversed(_places()) for path in sorted(directory.glob("*.toml"), key=_list_order)
    ]
    hint = text.did_you_mean(name, names) or f"There are {text.listing(names, most=20)}."
    return SettingsError(f"There is no preset '{name}'.", "", hint)


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
