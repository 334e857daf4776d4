"""Completing the path of a folder, or of a file of some kind, as a shell does."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_MOST_LOOKED_AT = 2000


@dataclass(frozen=True, slots=True)
class Completion:
    """The text as far as it is unambiguous, and what it could become; folders end in a slash."""

    text: str
    candidates: tuple[str, ...]


def complete_path(typed: str, *, takes_zips: bool = False) -> Completion:
    """Complete the last part of `typed` to the folders that exist; text that fits nothing stays as it is."""
    return complete_file(typed, (".zip",) if takes_zips else ())


def complete_file(typed: str, suffixes: Sequence[str]) -> Completion:
    """Complete the last part of `typed` to the folders that exist, and the files that end in one of `suffixes`."""
    head, _, stem = typed.rpartition("/")
    base = Path(f"{head}/" if "/" in typed else ".").expanduser()
    names = _places(base, stem, tuple(suffixes))
    if not names:
        return Completion(typed, ())
    prefix = f"{head}/" if "/" in typed else ""
    common = _common_start(names)
    return Completion(f"{prefix}{common}" if len(common) >= len(stem) else typed, tuple(names))


def _common_start(names: list[str]) -> str:
    """What all names begin with; the first and the last of a sorted list decide."""
    first, last = names[0], names[-1]
    length = next((index for index, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return first[:length]


def _places(base: Path, stem: str, suffixes: tuple[str, ...]) -> list[str]:
    names = []
    try:
        with os.scandir(base) as entries:
            for count, entry in enumerate(entries):
                if count >= _MOST_LOOKED_AT:
                    break
                hidden = entry.name.startswith(".") and not stem.startswith(".")
                if not entry.name.startswith(stem) or hidden:
                    continue
                if entry.is_dir():
                    names.append(f"{entry.name}/")
                elif entry.name.lower().endswith(suffixes) and entry.is_file():
                    names.append(entry.name)
    except OSError:
        return []
    return sorted(names)
