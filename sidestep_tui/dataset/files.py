"""Looking through a folder without leaving it, hanging or falling over; and reading the text files in it."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sidestep_tui.core import text as wording
from sidestep_tui.core.errors import DataError
from sidestep_tui.dataset.values import clean_text

LARGEST_TEXT: Final = 1 << 20
LARGEST_TABLE: Final = 32 << 20
MOST_ENTRIES: Final = 200_000

# A directory with these files is a run of ours; its samples are not songs to learn from.
_RUN_MARKS: Final = frozenset({"run.toml", "events.jsonl"})
_IGNORED_FOLDERS: Final = frozenset({"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information"})


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


@dataclass(slots=True)
class Tree:
    """Everything that a walk has found, and what it had to leave out."""

    root: Path
    folders: list[Folder] = field(default_factory=list)
    left_out: list[tuple[Path, str]] = field(default_factory=list)
    """Entries that are no plain files or folders within the root, with the reason (see `Skipped.reason`)."""
    warnings: list[str] = field(default_factory=list)

    def folder(self, relative: str) -> Folder | None:
        """The folder at a relative posix path."""
        return next((folder for folder in self.folders if folder.relative == relative), None)


def walk(root: Path) -> Tree:
    """List all folders beneath `root`, breadth first and sorted.

    Hidden files and folders, run directories and the droppings of operating systems are left alone. Links to folders
    are not followed; links to files only when they stay within `root`.
    """
    tree = Tree(root)
    boundary = os.path.realpath(root)
    waiting = [(root, "")]
    seen = 0
    while waiting:
        path, relative = waiting.pop(0)
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
        if relative and {entry.name for entry in entries} >= _RUN_MARKS:
            continue
        seen += len(entries)
        if seen > MOST_ENTRIES:
            raise DataError(
                f"{printable(str(root))} holds more than {wording.thousands(MOST_ENTRIES)} files.",
                "That looks like a whole disk rather than a folder of songs.",
                "Choose the folder with the songs themselves.",
            )
        waiting += [(Path(entry.path), folder.where(entry.name)) for entry in _visit(entries, folder, tree, boundary)]
        tree.folders.append(folder)
    return tree


def _visit(entries: list[os.DirEntry[str]], folder: Folder, tree: Tree, boundary: str) -> Iterator[os.DirEntry[str]]:
    """Put the files among `entries` into `folder` and yield the directories to go on with."""
    for entry in entries:
        if entry.name.startswith(".") or entry.name in _IGNORED_FOLDERS:
            continue
        path = Path(entry.path)
        if printable(entry.name) != entry.name:
            shown = Path(printable(folder.where(entry.name)))
            tree.left_out.append((shown, "has a name that is not valid UTF-8 text; rename it"))
            continue
        try:
            if entry.is_symlink():
                problem = _link_problem(path, boundary)
                if problem:
                    tree.left_out.append((Path(folder.where(entry.name)), problem))
                else:
                    folder.add(path)
            elif entry.is_dir(follow_symlinks=False):
                yield entry
            elif entry.is_file(follow_symlinks=False):
                folder.add(path)
            else:
                tree.left_out.append((Path(folder.where(entry.name)), "is not a regular file"))
        except OSError as error:
            tree.left_out.append((Path(folder.where(entry.name)), f"cannot be read ({error.strerror or error})"))


def _link_problem(path: Path, boundary: str) -> str:
    """Why a symbolic link is not taken, or an empty string."""
    try:
        target = os.path.realpath(path, strict=True)
        mode = os.stat(target).st_mode  # noqa: PTH116 (of the resolved string, once)
    except OSError as error:
        return f"is a link that leads nowhere ({error.strerror or error})"
    if stat.S_ISDIR(mode):
        return "is a link to a folder, which is not followed"
    if not stat.S_ISREG(mode):
        return "is not a regular file"
    if os.path.commonpath([target, boundary]) != boundary:
        return "is a link that leads out of the folder; copy the file instead"
    return ""


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
