"""run.toml: the fully resolved settings of one run and where each came from; a preset that repeats the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sidestep_tui.core import atomic
from sidestep_tui.core.errors import SettingsError
from sidestep_tui.schema.codec import (
    SCHEMA_VERSION,
    Document,
    check_version,
    read_document,
    read_values,
    toml_text,
    unflatten,
)
from sidestep_tui.schema.fields import group_names
from sidestep_tui.schema.layers import Layer, flat_values, resolve
from sidestep_tui.schema.settings import Settings

_COMMENT = """\
A run of sidestep-tui: every setting it was started with, and where each came from.
Repeat it with: sidestep-tui train run.toml"""
_OWN_TABLES = ("run", "origins", "versions", "fingerprints")


@dataclass(frozen=True, slots=True)
class RunFile:
    """What run.toml holds. `extra` keeps tables that are none of ours ([fake]) through a rewrite."""

    name: str
    settings: Settings
    origins: Mapping[str, str] = field(default_factory=dict)
    preset: str = ""
    job: str = "train"
    created: str = ""
    product_version: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def write_run(path: Path, run: RunFile) -> None:
    """Write run.toml whole or not at all."""
    about = {
        "name": run.name,
        "job": run.job,
        "preset": run.preset,
        "created": run.created,
        "product_version": run.product_version,
        "schema_version": SCHEMA_VERSION,
    }
    tables: dict[str, Mapping[str, Any]] = {
        "run": about,
        **unflatten(flat_values(run.settings)),
        "origins": run.origins,
        "versions": run.versions,
        "fingerprints": run.fingerprints,
        **run.extra,
    }
    atomic.write_text(path, toml_text(tables, comment=_COMMENT))


def read_run(path: Path) -> RunFile:
    """Read run.toml; settings that it lacks take their defaults, a SettingsError lists what cannot be used."""
    document = read_document(path)
    if not is_run(document):
        raise SettingsError(
            f"{document.source} is not a run file.",
            "It has no [run] table.",
            "Name the run.toml of a run, or train with it as a preset.",
        )
    about = _table(document, "run")
    check_version(about.get("schema_version", SCHEMA_VERSION), document.source)
    resolved = resolve([Layer(f"run {about.get('name', path.parent.name)}", run_values(document))])
    return RunFile(
        name=str(about.get("name", path.parent.name)),
        settings=resolved.settings,
        origins=_texts(document, "origins"),
        preset=str(about.get("preset", "")),
        job=str(about.get("job", "train")),
        created=str(about.get("created", "")),
        product_version=str(about.get("product_version", "")),
        versions=_texts(document, "versions"),
        fingerprints=_texts(document, "fingerprints"),
        extra={name: value for name, value in document.data.items() if name in _foreign(document)},
    )


def is_run(document: Document) -> bool:
    """Whether a TOML document is a run file rather than a preset."""
    return isinstance(document.data.get("run"), dict)


def run_values(document: Document) -> dict[str, Any]:
    """The settings in a run file, checked; its other tables are left alone."""
    return read_values(document, ignore=(*_OWN_TABLES, *_foreign(document)))


def _foreign(document: Document) -> list[str]:
    known = (*_OWN_TABLES, *group_names())
    return [name for name, value in document.data.items() if name not in known and isinstance(value, dict)]


def _table(document: Document, name: str) -> dict[str, Any]:
    value = document.data.get(name, {})
    if not isinstance(value, dict):
        raise SettingsError(f"{document.source} is damaged.", f"[{name}] is not a table.", "Restore the file.")
    return value


def _texts(document: Document, name: str) -> dict[str, str]:
    return {key: str(value) for key, value in _table(document, name).items()}
