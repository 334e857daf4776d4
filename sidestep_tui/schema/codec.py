"""Settings files: TOML in with file, line and key in every refusal, TOML out with its comments."""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Collection, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from sidestep_tui.core import atomic, paths, text
from sidestep_tui.core.errors import SettingsError
from sidestep_tui.schema.fields import fields_by_path, group_names
from sidestep_tui.schema.layers import check_values
from sidestep_tui.schema.problems import Problem, refuse, unknown_key

SCHEMA_VERSION = 1
# A settings file is a page of text; anything near this size is something else.
LARGEST_FILE = 1024 * 1024
_MOST_HINTS = 200
_UNQUOTED = str.maketrans("", "", "\"' ")


@dataclass(frozen=True, slots=True)
class Document:
    """A TOML file as read: the parsed `data` and the `text`, from which lines are named."""

    path: Path
    text: str
    data: dict[str, Any]

    @property
    def source(self) -> str:
        """How messages name the file."""
        return paths.shorten(self.path)

    def line_of(self, path: str) -> int:
        """The line (from 1) that sets dotted `path`, or 0 where it cannot be found."""
        return line_of(self.text, path)


def read_text(path: Path) -> str:
    """The text of a settings file; a SettingsError says why there is none."""
    shown = paths.shorten(path)
    try:
        if path.is_dir():
            raise SettingsError(f"{shown} is a directory.", "A settings file was expected.", "Name the file inside it.")
        with path.open("rb") as handle:
            data = handle.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        raise SettingsError(f"There is no file {shown}.", "", "Check the path.") from None
    except OSError as error:
        raise SettingsError(f"{shown} cannot be read.", f"{error.strerror}.", "Check its permissions.") from error
    return decoded(data, shown)


def decoded(data: bytes, shown: str) -> str:
    """The text in the bytes of a settings file; a SettingsError says why there is none."""
    if len(data) > LARGEST_FILE:
        limit = text.file_size(LARGEST_FILE)
        raise SettingsError(f"{shown} is too large for a settings file.", f"The limit is {limit}.", "Check the path.")
    if b"\0" in data and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise SettingsError(f"{shown} is not a text file.", "It holds binary data.", "Check the path.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        reason = f"Line {line} is not UTF-8."
        raise SettingsError(f"{shown} is not a text file.", reason, "Save it as UTF-8.") from error


def read_document(path: Path) -> Document:
    """Read and parse a TOML file; a SettingsError names file and line of a mistake."""
    content = read_text(path)
    try:
        return Document(path, content, tomllib.loads(content))
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(
            f"{paths.shorten(path)} is not valid TOML.",
            f"{error}.",
            "Text needs quotation marks, and each group of settings its [header] once.",
        ) from error
    except RecursionError as error:
        raise SettingsError(f"{paths.shorten(path)} is nested too deeply.", "", "Check the path.") from error


def read_toml(path: Path) -> dict[str, Any]:
    """The content of a TOML file as plain values."""
    return read_document(path).data


def check_version(version: Any, source: str) -> None:
    """Refuse a file that a newer release wrote, or one whose version is no version."""
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise SettingsError(
            f"{source} has an unusable schema_version.",
            f"It must be a whole number from 1 to {SCHEMA_VERSION}, not {version!r}.",
            f"Write schema_version = {SCHEMA_VERSION}.",
        )
    if version > SCHEMA_VERSION:
        raise SettingsError(
            f"{source} was written for a newer release.",
            f"Its schema_version is {version}; this release reads versions up to {SCHEMA_VERSION}.",
            "Update sidestep-tui, or save the settings again with this release.",
        )


def flatten(mapping: Mapping[str, Any], *, ignore: Collection[str] = ()) -> dict[str, Any]:
    """`{"adapter": {"rank": 8}}` as `{"adapter.rank": 8}`, values as they are.

    Raises a SettingsError listing every unknown group and setting; top-level keys in `ignore` are skipped.
    """
    values, problems = _flatten(mapping, ignore)
    refuse(problems)
    return values


def read_values(document: Document, *, ignore: Collection[str] = ()) -> dict[str, Any]:
    """The settings in a document, checked; a SettingsError lists every problem with its line."""
    values, problems = document_values(document, ignore=ignore)
    refuse(problems, source=document.source, hint="Correct the file and try again.")
    return values


def document_values(document: Document, *, ignore: Collection[str] = ()) -> tuple[dict[str, Any], list[Problem]]:
    """The usable settings of a document, and a Problem with its line for everything else in it."""
    raw, problems = _flatten(document.data, ignore)
    values, bad = check_values(raw)
    problems.extend(bad)
    located = [replace(problem, line=document.line_of(problem.path)) for problem in problems]
    return values, sorted(located, key=lambda problem: problem.line)


def unflatten(values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """`{"adapter.rank": 8}` as `{"adapter": {"rank": 8}}`, groups and settings in the order of the models."""
    nested: dict[str, dict[str, Any]] = {}
    for path in fields_by_path():
        if path in values:
            group, _, name = path.partition(".")
            nested.setdefault(group, {})[name] = values[path]
    return nested


def write_preset(path: Path, values: Mapping[str, Any], *, comment: str = "", **head: Any) -> None:
    """Write a sparse preset; `comment` and `head` as in `preset_text`."""
    atomic.write_text(path, preset_text(values, comment=comment, **head))


def preset_text(
    values: Mapping[str, Any],
    *,
    comment: str = "",
    description: str = "",
    extends: str = "",
    requires: Mapping[str, float] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> str:
    """A sparse preset as TOML. `comment` becomes the header, each line behind a #."""
    head: dict[str, Any] = {"schema_version": SCHEMA_VERSION}
    if description:
        head["description"] = description
    if extends:
        head["extends"] = extends
    tables: dict[str, Mapping[str, Any]] = {"provenance": provenance} if provenance else {}
    tables |= {"requires": requires} if requires else {}
    return toml_text({**tables, **unflatten(values)}, head=head, comment=comment)


def revised_text(content: str, values: Mapping[str, Any], *, head: Mapping[str, Any] | None = None) -> str:
    """The preset `content` with just the settings `values`, and its comments and layout where they can stay.

    `head` gives new values to keys beside the settings (`description`, `requires`); an empty one removes the key. What
    is as it was keeps its spelling.
    """
    # tomlkit costs 55 ms to import and only writers need it.
    import tomlkit

    document = tomlkit.parse(content)
    for key, value in (head or {}).items():
        if not value:
            document.pop(key, None)
        elif document.unwrap().get(key) != value:
            document[key] = _plain(value)
    wanted = unflatten(values)
    for group in [name for name in document if name in group_names()]:
        _revise_table(document, group, wanted.pop(group, {}))
    for group, table in wanted.items():
        document[group] = {name: _plain(value) for name, value in table.items()}
    revised = tomlkit.dumps(document)
    # Tables that are written in several pieces can go wrong in tomlkit; settings matter more than layout.
    return revised if _says(revised, values) else _rewritten(document.unwrap(), values, content)


def _says(content: str, values: Mapping[str, Any]) -> bool:
    try:
        data = tomllib.loads(content)
    except tomllib.TOMLDecodeError:
        return False
    found = {f"{group}.{name}": value for group in group_names() for name, value in data.get(group, {}).items()}
    return found == {path: _plain(value) for path, value in values.items()}


def _rewritten(data: Mapping[str, Any], values: Mapping[str, Any], content: str) -> str:
    """A preset written anew, with the comment on top of `content`."""
    comment = "\n".join(line.removeprefix("#").strip() for line in _first_comment(content))
    known = ("description", "extends", "requires", "provenance")
    return preset_text(values, comment=comment, **{key: data[key] for key in known if key in data})


def _first_comment(content: str) -> list[str]:
    return list(itertools.takewhile(lambda line: line.startswith("#"), content.splitlines()))


def _revise_table(document: Any, group: str, wanted: Mapping[str, Any]) -> None:
    table = document[group]
    if not wanted or not isinstance(table, MutableMapping):
        del document[group]
        if wanted:
            document[group] = {name: _plain(value) for name, value in wanted.items()}
        return
    for name in [name for name in table if name not in wanted]:
        del table[name]
    for name, value in wanted.items():
        if name not in table or table[name] != _plain(value):
            table[name] = _plain(value)


def toml_text(
    tables: Mapping[str, Mapping[str, Any]], *, head: Mapping[str, Any] | None = None, comment: str = ""
) -> str:
    """TOML with a comment on top, then the `head` keys, then one table after the other."""
    # tomlkit costs 55 ms to import and only writers need it.
    import tomlkit

    document = tomlkit.document()
    for line in comment.splitlines():
        printable = "".join(char for char in line if char.isprintable()).strip()
        document.add(tomlkit.comment(printable) if printable else tomlkit.nl())
    if comment:
        document.add(tomlkit.nl())
    for key, value in (head or {}).items():
        document.add(key, tomlkit.item(_plain(value)))
    for name, content in tables.items():
        table = tomlkit.table()
        for key, value in content.items():
            table.add(tomlkit.key(key), tomlkit.item(_plain(value)))
        document.add(name, table)
    return tomlkit.dumps(document)


def line_of(content: str, path: str) -> int:
    """The line (from 1) of `content` that sets dotted `path`, or that opens the group it names, or 0."""
    tables, keys = _lines_by_path(content)
    group, _, name = path.partition(".")
    found = [tables.get(path, 0), keys.get(path, 0), keys.get(group, 0) if name else 0]
    return min(filter(None, found), default=tables.get(group, 0))


@lru_cache(maxsize=2)
def _lines_by_path(content: str) -> tuple[dict[str, int], dict[str, int]]:
    """The first lines of headers and of keys, by dotted path.

    tomllib keeps no positions; a scan for headers and keys is enough to point a person at the place.
    """
    tables: dict[str, int] = {}
    keys: dict[str, int] = {}
    table = ""
    for number, line in enumerate(content.splitlines(), start=1):
        header = re.match(r"\s*\[\[?\s*([^\]]+?)\s*\]", line)
        if header:
            table = header.group(1).translate(_UNQUOTED)
            tables.setdefault(table, number)
            continue
        key = re.match(r"\s*([A-Za-z0-9_.\"' -]+?)\s*=", line)
        if key is not None:
            bare = key.group(1).translate(_UNQUOTED)
            keys.setdefault(f"{table}.{bare}" if table else bare, number)
    return tables, keys


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _flatten(mapping: Mapping[str, Any], ignore: Iterable[str]) -> tuple[dict[str, Any], list[Problem]]:
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    skipped = set(ignore)

    def unknown(key: str) -> None:
        # Looking for the nearest name takes a millisecond, and a file may hold a hundred thousand that are none.
        hint = len(problems) < _MOST_HINTS
        problems.append(Problem(key, unknown_key(key) if hint else f"There is no setting '{key}'."))

    for group, content in mapping.items():
        if group in skipped:
            continue
        if group not in group_names():
            unknown(group)
        elif not isinstance(content, Mapping):
            problems.append(Problem(group, f"{group} is a group of settings and must be a [{group}] table."))
        else:
            for name, value in content.items():
                path = f"{group}.{name}"
                if path in fields_by_path():
                    values[path] = value
                else:
                    unknown(path)
    return values, problems
