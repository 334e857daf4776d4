"""What the product itself notes about a folder of songs: who has been reviewed, and what `name.txt` holds.

`sidestep-dataset.json` at the root is written only when a person asks for it. Keys of other versions are kept, and a
file that cannot be understood is set aside under a backup name before another takes its place.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sidestep_tui.core.errors import DataError
from sidestep_tui.dataset import archives
from sidestep_tui.dataset.editing import rewriting
from sidestep_tui.dataset.files import OWN_FILE, UnreadableTextError, read_text
from sidestep_tui.dataset.sidecars import TxtRole

if TYPE_CHECKING:  # manifest asks this module for the role
    from sidestep_tui.dataset.manifest import Song

_REVIEWED: Final = "reviewed"
_ROLE: Final = "txt_role"
_WORDS: Final = (
    "caption",
    "lyrics",
    "language",
    "bpm",
    "keyscale",
    "timesignature",
    "genre",
    "tag",
    "instrumental",
)
_ROLES: Final[dict[object, TxtRole]] = {"caption": "caption", "lyrics": "lyrics"}


@dataclass(frozen=True, slots=True)
class OwnFile:
    """The file as it was read."""

    raw: dict[str, Any] = field(default_factory=dict)
    """Everything in it, ours or not."""
    data: bytes | None = None
    """Its bytes; None where there is no such file."""
    problem: str = ""
    """Why it could not be understood; continues a sentence that begins with its name."""

    @property
    def txt_role(self) -> TxtRole | None:
        """What a person said that plain `name.txt` files hold here."""
        role = self.raw.get(_ROLE)
        return _ROLES.get(role) if isinstance(role, str) else None

    @property
    def reviewed(self) -> dict[str, str]:
        """The digest of the words that a person has seen, by song."""
        marks = self.raw.get(_REVIEWED)
        if not isinstance(marks, dict):
            return {}
        return {name: mark for name, mark in marks.items() if isinstance(mark, str)}

    def with_role(self, role: TxtRole | None) -> dict[str, Any]:
        """The contents with another role; None leaves it to the files again."""
        rest = {key: value for key, value in self.raw.items() if key != _ROLE}
        return rest if role is None else {**rest, _ROLE: role}

    def with_marks(self, marks: dict[str, str]) -> dict[str, Any]:
        """The contents with some review marks set, or taken away where the mark is empty."""
        present = self.raw.get(_REVIEWED)
        known: dict[str, Any] = dict(present) if isinstance(present, dict) else {}
        known.update(marks)
        return {**self.raw, _REVIEWED: {name: mark for name, mark in sorted(known.items()) if mark != ""}}


def digest(song: Song) -> str:
    """What identifies the words about a song: changing one of them makes another digest."""
    words = json.dumps([getattr(song, name) for name in _WORDS], ensure_ascii=True)
    return hashlib.sha256(words.encode()).hexdigest()[:32]


def read(root: Path) -> OwnFile:
    """The file of a folder; never raises, since songs can be used without it."""
    path = root / OWN_FILE
    if not os.path.lexists(path):
        return OwnFile()
    try:
        if not path.resolve(strict=True).is_relative_to(root.resolve()):
            return OwnFile(problem="is a link that leads out of the folder")
        text = read_text(path)
        data = path.read_bytes()
    except (OSError, UnreadableTextError) as error:
        return OwnFile(problem=str(error), data=_bytes_of(path))
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return OwnFile(problem="is not valid JSON", data=data)
    if not isinstance(value, dict):
        return OwnFile(problem="does not hold a JSON object", data=data)
    if not isinstance(value.get(_REVIEWED, {}), dict):
        return OwnFile(raw=value, problem="holds its review marks in another form", data=data)
    return OwnFile(raw=value, data=data)


def write(root: Path, before: OwnFile, contents: dict[str, Any]) -> tuple[bytes, str]:
    """Write `contents` over what `read` gave; returns the bytes, and the name under which a damaged file was kept.

    `OSError` and `rewriting.RefusedError` where that cannot be.
    """
    data = encoded(contents)
    return data, put(root, before.data, data, damaged=bool(before.problem))


def encoded(contents: dict[str, Any]) -> bytes:
    """The file's bytes."""
    return (json.dumps(contents, ensure_ascii=False, indent=2) + "\n").encode("utf-8", "replace")


def put(root: Path, before: bytes | None, after: bytes, *, damaged: bool) -> str:
    """Replace the file's bytes; a backup is made (and named) only of a damaged one, the rest is our own to change."""
    path = root / OWN_FILE
    if before is None:
        rewriting.create(path, after)
        return ""
    target, mode = rewriting.target(root, OWN_FILE)
    return rewriting.overwrite(target, before, after, mode, keep_backup=damaged)


def save_role(root: Path, role: TxtRole | None) -> str:
    """Note for the folder what plain `name.txt` files hold (None: find out again); returns what to tell the person.

    `DataError` where the file cannot be written.
    """
    archives.refuse_edits(root)
    before = read(root)
    if before.txt_role == role and not before.problem:
        return ""
    try:
        _, backup = write(root, before, before.with_role(role))
    except (OSError, rewriting.RefusedError) as error:
        raise DataError(
            f"The role of name.txt could not be noted in {OWN_FILE}.",
            f"{OWN_FILE} {rewriting.reason(error)}.",
            "Check that you may write into the folder; until then the role can be set for the run alone.",
        ) from error
    return f"{OWN_FILE} {before.problem}; it was kept as {backup}." if backup else ""


def _bytes_of(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
