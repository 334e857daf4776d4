"""Presets: short TOML files that hold only what differs from the defaults.

A name is looked for in `presets/` of the working directory, among the user's own in the configuration directory, and
among the shipped ones beside the package; any path will do. Nobody's preset passes for another one silently: each
says which others of its name it hides.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal

from sidestep_tui.core import atomic, paths, text
from sidestep_tui.core.errors import SettingsError
from sidestep_tui.schema import codec
from sidestep_tui.schema.codec import Document
from sidestep_tui.schema.draft import PERSONAL
from sidestep_tui.schema.fields import fields_by_path
from sidestep_tui.schema.layers import check_values
from sidestep_tui.schema.preset_file import (
    FOREIGN_SUFFIXES,
    HEAD_KEYS,
    REQUIREMENTS,
    Preset,
    Provenance,
    Source,
    read_alone,
)
from sidestep_tui.schema.problems import refuse

__all__ = ["PLACES", "REQUIREMENTS", "Place", "Preset", "Provenance", "Source"]

Place = Literal["user", "project"]
"""Where a preset of one's own may be kept."""
PLACES: Final = {
    "shipped": "the product's",
    "user": "your own",
    "project": "of this folder's presets/",
    "file": "a file",
}
"""What each source is called in a sentence."""
GROUPS: Final = (
    "Recommended",
    "ace-lora-trainer, by GPU",
    "Turbo Trainer guide",
    "Custom models page",
    "ACE-Step tutorial",
)
"""The order in which groups of shipped presets are shown; others follow by name."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_DEFAULT_NAME = "recommended"
# A layer below the preset may suggest these, so that a value equal to the default still says something.
_SUGGESTED_BY_HARDWARE = frozenset({"memory.base"})


# Finding


def find(name_or_path: str | Path) -> Preset:
    """The preset of that name (the project's first, then the user's own), or at that path; a run counts as one."""
    wanted = str(name_or_path)
    if (
        isinstance(name_or_path, Path)
        or "/" in wanted
        or "\\" in wanted
        or wanted.endswith((".toml", *FOREIGN_SUFFIXES))
    ):
        return read(paths.expand(wanted), source="file")
    found = _named(wanted)
    if found:
        path, source = found[0]
        return replace(read(path, source=source), hides=tuple(hidden for _, hidden in found[1:]))
    if (Path(wanted) / "run.toml").is_file():
        return read(Path(wanted), source="file")
    raise _unknown(wanted)


def read(path: Path, *, source: Source = "file") -> Preset:
    """Read one preset file; a SettingsError lists every problem in it with its line."""
    preset = read_alone(path, source)
    return _extended(preset) if preset.extends else preset


def list_presets() -> list[Preset]:
    """Every preset there is: the shipped ones by group with the recommended one first, then the user's, the project's.

    One that is passed over for another of its name is in the list too, and says so.
    """
    found = [preset for preset, _, _ in _scan() if preset is not None]
    rank: dict[Source, int] = {source: index for index, (_, source) in enumerate(places())}
    listed = []
    for preset in found:
        others = [other.source for other in found if other.name == preset.name and other.source != preset.source]
        hides = tuple(sorted((other for other in others if rank[other] > rank[preset.source]), key=rank.__getitem__))
        listed.append(replace(preset, hides=hides, hidden=len(hides) < len(others)))
    return listed


def broken_presets() -> list[tuple[Path, SettingsError]]:
    """Preset files that cannot be used, with the reason."""
    return [(path, error) for _, path, error in _scan() if error is not None]


def hiding_note(name: str) -> str:
    """What to say when the preset of that name stands in front of others; empty where there is nothing to say."""
    found = _named(name)
    if len(found) < 2:
        return ""
    others = text.listing([PLACES[source] for _, source in found[1:]])
    return f"'{name}' is {paths.shorten(found[0][0])}; it hides the one of that name that is {others}."


def markdown_table() -> str:
    """The README's table of the shipped presets, a line for each group above its own."""
    lines = ["| preset | for |", "|---|---|"]
    shipped = (preset for preset in list_presets() if preset.source == "shipped")
    for group, presets in itertools.groupby(shipped, key=lambda preset: preset.group):
        lines.append(f"| **{group}** | |")
        lines.extend(f"| `{preset.name}` | {preset.description} |" for preset in presets)
    return "\n".join(lines) + "\n"


def places() -> tuple[tuple[Path, Source], ...]:
    """Where presets are looked for by name, first to last."""
    user, shipped = paths.user_presets_dir(), paths.shipped_presets_dir()
    project = Path("presets")
    # In the source tree of the product both are one folder.
    own_project = project.is_dir() and project.resolve() not in (user.resolve(), shipped.resolve())
    first: tuple[tuple[Path, Source], ...] = ((project, "project"),) if own_project else ()
    return (*first, (user, "user"), (shipped, "shipped"))


# Keeping


def save(
    name: str,
    values: Mapping[str, Any],
    comment: str = "",
    overwrite: bool = False,
    *,
    description: str = "",
    extends: str = "",
    requires: Mapping[str, float] | None = None,
    provenance: Provenance | None = None,
    place: Place = "user",
) -> Preset:
    """Save a preset of the user's own, with only what differs from the defaults, or from the preset it extends.

    Refuses a taken name unless `overwrite`, and values that are out of bounds. What is overwritten keeps its comments,
    and its description and provenance unless others are given.
    """
    path = _free_path(name, place, overwrite=overwrite)
    if extends:
        _refuse_if_extended(name, path)
    good, problems = check_values(values)
    refuse(problems)
    head = {
        "description": description,
        "extends": extends,
        "requires": dict(requires or {}),
        "provenance": provenance.as_table() if provenance else {},
    }
    kept = differing(good, extends=extends)
    document = _existing(path)
    if document is None:
        codec.write_preset(path, kept, comment=comment, **head)
    else:
        said = {key: good[key] for key in codec.document_values(document, ignore=HEAD_KEYS)[0] if key in good}
        given = {key: value for key, value in head.items() if value or key == "extends"}
        atomic.write_text(path, codec.revised_text(document.text, {**said, **kept}, head=given))
    return read(path, source=place)


def rename(preset: str | Preset, new: str) -> Preset:
    """Give a preset of one's own another name, in the same place; presets of one's own that extend it follow."""
    found = _own(preset, "renamed")
    path = _free_path(new, _place_of(found), overwrite=False)
    followers = _extending(found)
    content = _about_name(found.path.read_text(encoding="utf-8"), found.name, new)
    atomic.write_text(path, content)
    for follower in followers:
        text_now = follower.path.read_text(encoding="utf-8")
        atomic.write_text(follower.path, codec.revised_text(text_now, follower.own, head={"extends": new}))
    found.path.unlink()
    return read(path, source=found.source)


def duplicate(preset: str | Preset, new: str, *, place: Place = "user") -> Preset:
    """A copy of any preset under a name of one's own, comments included; of a run, its recipe."""
    found = preset if isinstance(preset, Preset) else find(preset)
    path = _free_path(new, place, overwrite=False)
    if found.is_run:
        return save(new, recipe(found.values), f"The recipe of the run {found.name}.", place=place)
    content = _about_name(found.path.read_text(encoding="utf-8"), found.name, new)
    atomic.write_text(path, codec.revised_text(content, found.own, head={"group": ""}))
    return read(path, source=place)


def delete(preset: str | Preset) -> Path:
    """Delete a preset of one's own and return where it was; refused while others extend it."""
    found = _own(preset, "deleted")
    followers = _extending(found)
    if followers:
        names = text.listing([f"'{follower.name}'" for follower in followers])
        raise SettingsError(
            f"'{found.name}' cannot be deleted: {names} {'extends' if len(followers) == 1 else 'extend'} it.",
            "Without it they would lose their settings.",
            "Export them first, which writes everything out, or delete them too.",
        )
    found.path.unlink()
    return found.path


def export(preset: str | Preset, path: Path, *, overwrite: bool = False) -> Path:
    """Write a preset to a file that stands on its own: with the values of the one it extends, and its comments."""
    found = preset if isinstance(preset, Preset) else find(preset)
    target = paths.expand(path)
    if target.is_dir():
        target = target / f"{safe_name(found.name)}.toml"
    if target.suffix.lower() != ".toml":
        raise SettingsError(
            f"{paths.shorten(target)} does not end in .toml.", "Presets are TOML files.", f"Try {target.stem}.toml."
        )
    if target.exists() and not overwrite:
        raise SettingsError(
            f"{paths.shorten(target)} exists already.", "", "Choose another file, or overwrite it (--overwrite)."
        )
    atomic.write_text(target, export_text(found))
    return target


def export_text(preset: Preset) -> str:
    """What `export` writes."""
    if preset.is_run:
        comment = f"The recipe of the run {preset.name}."
        return codec.preset_text(differing(recipe(preset.values)), comment=comment, description=preset.description)
    content = preset.path.read_text(encoding="utf-8")
    head = {"extends": "", "group": "", "requires": dict(preset.requires)}
    return codec.revised_text(content, preset.values, head=head)


def recipe(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values without what belongs to a person, songs or a machine rather than to a recipe."""
    return {path: value for path, value in values.items() if path not in PERSONAL}


def differing(values: Mapping[str, Any], *, extends: str = "") -> dict[str, Any]:
    """Those of `values` that are not what would be without them: the defaults, or the preset that is extended."""
    base = find(extends).values if extends else {}
    fields = fields_by_path()
    return {
        path: value
        for path, value in values.items()
        if value != base.get(path, fields[path].default) or (path in _SUGGESTED_BY_HARDWARE and path not in base)
    }


def safe_name(words: str) -> str:
    """A form of `words` that can be the name of a preset."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", words).strip("._-")[:64] or "my_preset"


def name_problem(name: str, *, place: Place = "user") -> str:
    """Why a preset of one's own cannot be called that, or an empty string: for forms that ask while one types."""
    try:
        _free_path(name, place, overwrite=False)
    except SettingsError as error:
        return error.title
    return ""


# Inside


def _free_path(name: str, place: Place, *, overwrite: bool) -> Path:
    """Where a preset of that name would be kept; a SettingsError says why it cannot have the name."""
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
    project = Path("presets")
    if place == "project" and project.resolve() == paths.shipped_presets_dir().resolve():
        raise SettingsError("This folder's presets/ is the product's.", "", "Keep it among your own.")
    for directory, source in places():
        path = directory / f"{name}.toml"
        if source == place and overwrite:
            continue
        if path.exists():
            where = "" if source == place else f"It is {PLACES[source]}, in {paths.shorten(path)}."
            raise SettingsError(f"There is a preset '{name}' already.", where, "Choose another name, or overwrite it.")
    return (project if place == "project" else paths.user_presets_dir()) / f"{name}.toml"


def _place_of(preset: Preset) -> Place:
    return "project" if preset.source == "project" else "user"


def _own(preset: str | Preset, verb: str) -> Preset:
    found = preset if isinstance(preset, Preset) else find(preset)
    if not found.is_own:
        raise SettingsError(f"'{found.name}' is not a preset of your own.", "", f"Only your own presets can be {verb}.")
    return found


def _extending(preset: Preset) -> list[Preset]:
    """Presets of one's own that take their values from `preset`."""
    if preset.hidden:
        return []
    others = (other for other in list_presets() if other.is_own and other.extends == preset.name)
    return [other for other in others if other.path != preset.path]


def _refuse_if_extended(name: str, path: Path) -> None:
    """One level deep: what others extend cannot extend another."""
    others = [other.name for other in list_presets() if other.is_own and other.extends == name and other.path != path]
    if others:
        raise SettingsError(
            f"'{name}' cannot extend another preset: {text.listing(others)} would stand on two.",
            "Presets are extended one level deep.",
            "Save it by itself, or under another name.",
        )


def _about_name(content: str, old: str, new: str) -> str:
    """A preset's text under another name: the command in its comment follows."""
    return re.sub(rf"(?m)^(# Run: .*\btrain ){re.escape(old)}(?=\s|$)", rf"\g<1>{new}", content)


def _existing(path: Path) -> Document | None:
    """The file that may be revised; None where there is none, or none that is TOML."""
    try:
        return codec.read_document(path) if path.exists() else None
    except SettingsError:
        return None


def _scan() -> list[tuple[Preset | None, Path, SettingsError | None]]:
    found: list[tuple[Preset | None, Path, SettingsError | None]] = []
    order: tuple[Source, ...] = ("shipped", "user", "project")
    for directory, source in sorted(places(), key=lambda place: order.index(place[1])):
        here: list[tuple[Preset | None, Path, SettingsError | None]] = []
        for path in sorted(directory.glob("*.toml"), key=_list_order):
            if path.exists() and not path.is_file():
                continue  # reading a pipe would wait for a writer
            try:
                here.append((read(path, source=source), path, None))
            except SettingsError as error:
                here.append((None, path, error))
        found.extend(sorted(here, key=lambda item: _group_order(item[0].group if item[0] else "")))
    return found


def _group_order(group: str) -> tuple[int, str]:
    return (GROUPS.index(group) if group in GROUPS else len(GROUPS), group)


def _list_order(path: Path) -> tuple[bool, str]:
    """The recommended preset first, then by name with numbers in their order (vram_8gb before vram_12gb)."""
    return path.stem != _DEFAULT_NAME, re.sub(r"\d+", lambda digits: digits[0].zfill(8), path.stem)


def _extended(preset: Preset) -> Preset:
    where = f"{paths.shorten(preset.path)} says so in 'extends'."
    if preset.extends == preset.name:
        raise SettingsError(f"The preset '{preset.name}' extends itself.", where, "Name another preset, or none.")
    # What the product ships stays what it is, whatever others call theirs.
    found = _named(preset.extends, only=("shipped",) if preset.source == "shipped" else None)
    if not found:
        unknown = _unknown(preset.extends)
        raise SettingsError(unknown.title, where, unknown.hint)
    base = read_alone(*found[0])
    if base.extends:
        raise SettingsError(
            f"The preset '{preset.name}' extends '{base.name}', which extends another.",
            "Presets are extended one level deep, so that it stays plain where a value comes from.",
            f"Extend '{base.extends}' instead.",
        )
    return replace(preset, values={**base.values, **preset.own}, requires={**base.requires, **preset.requires})


def _named(name: str, *, only: Iterable[Source] | None = None) -> list[tuple[Path, Source]]:
    """The files of the presets of that name, the one that counts first."""
    if not _NAME.fullmatch(name):
        return []
    wanted = set(only) if only is not None else {"project", "user", "shipped"}
    candidates = [(directory / f"{name}.toml", source) for directory, source in places() if source in wanted]
    return [(path, source) for path, source in candidates if path.is_file()]


def _unknown(name: str) -> SettingsError:
    names = [path.stem for directory, _ in places() for path in directory.glob("*.toml")]
    hint = text.did_you_mean(name, names) or "`sidestep-tui presets list` shows those that there are."
    return SettingsError(f"There is no preset '{name}'.", "", hint)
