"""Completing the path of a folder as a shell does."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_MOST_LOOKED_AT = 2000


@dataclass(frozen=True, slots=True)
class Completion:
    """The text as far as it is unambiguous, and the folders that it could become."""

    text: str
    candidates: tuple[str, ...]


def complete_path(typed: str) -> Completion:
    """Complete the last part of `typed` to the folders that exist; text that fits nothing stays as it is."""
    head, _, stem = typed.rpartition("/")
    base = Path(f"{head}/" if "/" in typed else ".").expanduser()
    names = _folders(base, stem)
    if not names:
        return Completion(typed, ())
    prefix = f"{head}/" if "/" in typed else ""
    common = _common_start(names)
    text = f"{prefix}{common}/" if len(names) == 1 else f"{prefix}{common}"
    return Completion(text if len(common) >= len(stem) else typed, tuple(names))


def _common_start(names: list[str]) -> str:
    """What all names begin with; the first and the last of a sorted list decide."""
    first, last = names[0], names[-1]
    length = next((index for index, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return first[:length]


def _folders(base: Path, stem: str) -> list[str]:
    names = []
    try:
        with os.scandir(base) as entries:
            for count, entry in enumerate(entries):
                if count >= _MOST_LOOKED_AT:
                    break
                hidden = entry.name.startswith(".") and not stem.startswith(".")
                if entry.name.startswith(stem) and not hidden and entry.is_dir():
                    names.append(entry.name)
    except OSError:
        return []
    return sorted(names)
