"""Looking through a folder without leaving it, hanging or falling over; and reading the text files in it."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from sidestep_tui.core import text as wording
from sidestep_tui.core.errors import DataError
from sidestep_tui.dataset.values import clean_text

LARGEST_TEXT: Final = 1 << 20
LARGEST_TABLE: Final = 32 << 20
MOST_ENTRIES: Final = 200_000
OWN_FILE: Final = "sidestep-dataset.json"
"""What the product notes about a folder (see `own_file`); it describes no song."""

# A directory with these files is a run of ours; its samples are not songs to learn from.
RUN_MARKS: Final = frozenset({"run.toml", "events.jsonl"})
IGNORED_FOLDERS: Final = frozenset({"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information"})


LeftOutCode = Literal["bad_name", "denied", "not_a_file", "link_broken", "link_folder", "link_outside"]
"""Why an entry of a folder is not taken; the doctor and scripts go by it."""


def printable(name: str) -> str:
    """A file name that can be shown and stored even where its bytes are no valid text."""
    return name.encode("utf-8", "replace").decode("utf-8")


def name_key(name: str) -> str:
    """What two spellings of a file name have in common: letter case and composed accents do not count."""
    return unicodedata.normalize("NFC", name).casefold()


@dataclass(slots=True)
class Folder:
    """The files of one directory, by name."""

    path: Path
    relative: str
    """Posix path from the root of the scan; empty for the root itself."""
    files: dict[str, Path] = field(default_factory=dict)
    _by_key: dict[str, list[str]] = field(default_factory=dict)

    def add(self, path: Path) -> None:
        """Take a file into the listing."""
        self.files[path.name] = path
        self._by_key.setdefault(name_key(path.name), []).append(path.name)

    def find(self, name: str) -> Path | None:
        """The file of that name; if there is none, the only one that differs in case or accents alone."""
        if name in self.files:
            return self.files[name]
        alike = self._by_key.get(name_key(name), [])
        return self.files[alike[0]] if len(alike) == 1 else None

    def where(self, name: str) -> str:
        """The relative posix path of `name` in this folder."""
        return f"{self.relative}/{name}" if self.relative else name


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An entry of a folder that is not taken."""

    path: Path
    """Relative to the root."""
    code: LeftOutCode
    reason: str
    """Continues a sentence that begins with the path; without a full stop."""


@dataclass(slots=True)
class Tree:
    """Everything that a walk has found, and what it had to leave out."""

    root: Path
    folders: list[Folder] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    """Entries that are no plain files or folders within the root."""
    warnings: list[str] = field(default_factory=list)
    _by_path: dict[str, Folder] = field(default_factory=dict)

    def add(self, folder: Folder) -> None:
        """Take a folder into the tree."""
        self.folders.append(folder)
        self._by_path[folder.relative] = folder

    def folder(self, relative: str) -> Folder | None:
        """The folder at a relative posix path."""
        return self._by_path.get(relative)


def walk(root: Path) -> Tree:
    """List all folders beneath `root`, breadth first and sorted.

    Hidden files and folders, run directories and the droppings of operating systems are left alone. Links to folders
    are not followed; links to files only when they stay within `root`.
    """
    tree = Tree(root)
    boundary = os.path.realpath(root)
    waiting = deque([(root, "")])
    seen = 0
    while waiting:
        path, relative = waiting.popleft()
        folder = Folder(path, relative)
        try:
            with os.scandir(path) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            if not relative:
                raise DataError(
                    f"The folder {printable(str(root))} cannot be opened.",
                    f"{error.strerror or error}.",
                    "Check that you may read it.",
                ) from error
            tree.warnings.append(f"{printable(relative)}: the folder cannot be opened ({error.strerror or error}).")
            continue
        if relative and {entry.name for entry in entries} >= RUN_MARKS:
            continue
        seen += len(entries)
        if seen > MOST_ENTRIES:
            raise DataError(
                f"{printable(str(root))} holds more than {wording.thousands(MOST_ENTRIES)} files.",
                "That looks like a whole disk rather than a folder of songs.",
                "Choose the folder with the songs themselves.",
            )
        waiting += [(Path(entry.path), folder.where(entry.name)) for entry in _visit(entries, folder, tree, boundary)]
        tree.add(folder)
    return tree


def _visit(entries: list[os.DirEntry[str]], folder: Folder, tree: Tree, boundary: str) -> Iterator[os.DirEntry[str]]:
    """Put the files among `entries` into `folder` and yield the directories to go on with."""
    for entry in entries:
        if entry.name.startswith(".") or entry.name in IGNORED_FOLDERS or entry.name == OWN_FILE:
            continue
        path = Path(entry.path)
        if printable(entry.name) != entry.name:
            shown = Path(printable(folder.where(entry.name)))
            tree.left_out.append(LeftOut(shown, "bad_name", "has a name that is not valid UTF-8 text; rename it"))
            continue
        relative = Path(folder.where(entry.name))
        try:
            if entry.is_symlink():
                problem = _link_problem(path, boundary)
                if problem:
                    tree.left_out.append(LeftOut(relative, *problem))
                else:
                    folder.add(path)
            elif entry.is_dir(follow_symlinks=False):
                yield entry
            elif entry.is_file(follow_symlinks=False):
                folder.add(path)
            else:
                tree.left_out.append(LeftOut(relative, "not_a_file", "is not a regular file"))
        except OSError as error:
            tree.left_out.append(LeftOut(relative, "denied", f"cannot be read ({error.strerror or error})"))


def _link_problem(path: Path, boundary: str) -> tuple[LeftOutCode, str] | None:
    """Why a symbolic link is not taken."""
    try:
        target = os.path.realpath(path, strict=True)
        mode = os.stat(target).st_mode  # noqa: PTH116 (of the resolved string, once)
    except OSError as error:
        return "link_broken", f"is a link that leads nowhere ({error.strerror or error})"
    if stat.S_ISDIR(mode):
        return "link_folder", "is a link to a folder, which is not followed"
    if not stat.S_ISREG(mode):
        return "not_a_file", "is not a regular file"
    if os.path.commonpath([target, boundary]) != boundary:
        return "link_outside", "is a link that leads out of the folder; copy the file instead"
    return None


class UnreadableTextError(Exception):
    """A sidecar that cannot be used; the message says why and follows the name of the file."""


def read_text(path: Path, *, limit: int = LARGEST_TEXT) -> str:
    """The text of a sidecar: UTF-8 (with or without mark) or UTF-16 with its mark; newlines made plain."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableTextError("is not a regular file")
        if status.st_size > limit:
            raise UnreadableTextError(
                f"is too large for what it should hold ({wording.file_size(status.st_size)}, "
                f"at most {wording.file_size(limit)})"
            )
        with path.open("rb") as handle:
            data = handle.read(limit + 1)
    except OSError as error:
        raise UnreadableTextError(f"cannot be read ({error.strerror or error})") from error
    return decode_text(data)


def decode_text(data: bytes) -> str:
    """Bytes of a text file as text; `UnreadableTextError` where they are none."""
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        decoded = data.decode(encoding)
    except UnicodeDecodeError as error:
        name = "UTF-16" if encoding == "utf-16" else "UTF-8"
        raise UnreadableTextError(f"is not valid {name} text (byte {error.start}); save it as UTF-8") from error
    if "\x00" in decoded:
        raise UnreadableTextError("is not text (it holds NUL bytes); save it as UTF-8")
    return clean_text(decoded)
