"""What saving edits would do and what it did, file by file, as plain values to show."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from sidestep_tui.dataset.files import UnreadableTextError, decode_text


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field of one song before and after, as text; `reviewed` is among the fields."""

    song: str
    field: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class FileChange:
    """A file that saving writes."""

    path: Path
    """The file itself, behind links."""
    origin: str
    """Posix path from the root, as shown to people."""
    before: bytes | None
    """None where the file is created."""
    after: bytes
    mode: int = 0o644
    changes: tuple[FieldChange, ...] = ()
    keeps_backup: bool = True

    @property
    def is_new(self) -> bool:
        """Whether the file is created."""
        return self.before is None

    def diff(self) -> list[str]:
        """The lines that change: `-` before, `+` after, with a line of surroundings; no line ends."""
        before, after = (_lines(data) for data in (self.before or b"", self.after))
        return list(difflib.unified_diff(before, after, n=1, lineterm=""))[2:]


@dataclass(frozen=True, slots=True)
class Problem:
    """An edit that cannot be saved."""

    song: str
    field: str
    reason: str
    """A sentence that names the file."""


@dataclass(frozen=True, slots=True)
class SavePlan:
    """What saving would do; nothing has been written."""

    files: tuple[FileChange, ...] = ()
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    """Sentences about what else follows from the edits."""


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file that was written."""

    origin: str
    backup: str = ""
    """Name of the backup beside it; empty where nothing was replaced."""
    is_new: bool = False


@dataclass(frozen=True, slots=True)
class SaveReport:
    """What saving did."""

    written: tuple[WrittenFile, ...] = ()
    problems: tuple[str, ...] = ()
    """A sentence for each file or edit that could not be saved; all else is."""
    notes: tuple[str, ...] = ()


def _lines(data: bytes) -> list[str]:
    try:
        return decode_text(data).removesuffix("\n").split("\n") if data else []
    except UnreadableTextError:
        return ["(not text)"]
