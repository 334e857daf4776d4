"""Which entries of a ZIP may become files, and under which names."""

from __future__ import annotations

import contextlib
import re
import stat
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final, Literal

from sidestep_tui.core import text as wording
from sidestep_tui.dataset.files import IGNORED_FOLDERS, LARGEST_TABLE, RUN_MARKS, name_key, printable
from sidestep_tui.dataset.probe import AUDIO_SUFFIXES, OTHER_AUDIO_SUFFIXES

Code = Literal[
    "bad_name", "link_outside", "not_a_file", "encrypted", "duplicate", "bomb", "archive", "other_format", "damaged"
]

_TEXT_SUFFIXES: Final = frozenset({".txt", ".json", ".lrc", ".csv", ".tsv"})
_ARCHIVE_SUFFIXES: Final = frozenset({".zip", ".rar", ".7z", ".tar", ".gz", ".tgz", ".bz2", ".xz"})
_PACKINGS: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2})
_ENCRYPTED: Final = 0x1 | 0x40
_IN_UTF8: Final = 0x800
_LONGEST_PART: Final = 255
_LONGEST_NAME: Final = 1000
_DEEPEST: Final = 32
_MOST_GROWTH: Final = 200
_SMALL: Final = 64 << 20
_DRIVE: Final = re.compile(r"[A-Za-z]:")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class Entry:
    """A file to unpack."""

    info: zipfile.ZipInfo
    name: str
    """Posix path beneath the folder; safe."""


@dataclass(frozen=True, slots=True)
class LeftOutEntry:
    """An entry that is not unpacked, and why."""

    name: str
    """For people: it may name anything, and must not be used as a path."""
    code: str
    reason: str
    """Continues a sentence that begins with the name; without a full stop."""

    @property
    def sentence(self) -> str:
        """Name and reason."""
        return f"{self.name} {self.reason}."


def sort_out(infos: Iterable[zipfile.ZipInfo]) -> tuple[list[Entry], list[LeftOutEntry]]:
    """The entries to unpack, and those that a person should know are not.

    Folders, hidden files, what operating systems drop and files of no use to a scan are passed over in silence.
    """
    left_out: list[LeftOutEntry] = []
    named = [(info, name_of(info)) for info in infos if not info.filename.endswith("/")]
    runs = _run_folders(name for _, name in named)
    candidates: list[Entry] = []
    for info, name in named:
        problem = _name_problem(info, name)
        if problem is None:
            parts = [part for part in name.split("/") if part not in ("", ".")]
            if _is_passed_over(parts, runs):
                continue
            name = "/".join(parts)
            problem = _content_problem(info, name)
        if problem is None:
            candidates.append(Entry(info, name))
        elif problem[0] != "other_format" or PurePosixPath(name).suffix.lower() in OTHER_AUDIO_SUFFIXES:
            left_out.append(LeftOutEntry(_shown(name), *problem))
    entries, doubles = _without_doubles(candidates)
    return entries, left_out + doubles


_KNOWN_SUFFIXES: Final = AUDIO_SUFFIXES | OTHER_AUDIO_SUFFIXES | _TEXT_SUFFIXES | _ARCHIVE_SUFFIXES


def name_of(info: zipfile.ZipInfo) -> str:
    """The name of an entry with forward slashes; names of old packers that are UTF-8 without saying so are read."""
    name = info.filename if "\x00" not in info.orig_filename else info.orig_filename
    if not info.flag_bits & _IN_UTF8:
        with contextlib.suppress(UnicodeError):  # then it is what it says: of the DOS character set
            name = name.encode("cp437").decode("utf-8")
    return name.replace("\\", "/")


def _name_problem(info: zipfile.ZipInfo, name: str) -> tuple[Code, str] | None:
    """Why nothing may be written under that name."""
    parts = name.split("/")
    if not name.strip("/. ") or _CONTROL.search(name) or printable(name) != name:
        return "bad_name", "has a name that is no valid file name"
    if name.startswith("/") or any(map(_DRIVE.match, parts)):
        return "link_outside", "has an absolute name and would lie outside of the folder"
    if ".." in parts:
        return "link_outside", "would lie outside of the folder"
    if len(name) > _LONGEST_NAME or len(parts) > _DEEPEST or any(len(part.encode()) > _LONGEST_PART for part in parts):
        return "bad_name", "has a name that is too long"
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind == stat.S_IFLNK:
        return "link_outside", "is a link, which is not followed"
    return ("not_a_file", "is not a regular file") if kind not in (0, stat.S_IFREG) else None


def _content_problem(info: zipfile.ZipInfo, name: str) -> tuple[Code, str] | None:
    """Why an entry with a good name is not unpacked."""
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in _ARCHIVE_SUFFIXES:
        return "archive", "is an archive in the ZIP, which is not opened"
    if suffix in OTHER_AUDIO_SUFFIXES:
        return "other_format", f"is a {suffix} file, which is not read; convert it to wav or flac"
    if suffix not in AUDIO_SUFFIXES | _TEXT_SUFFIXES:
        return "other_format", "is no song and no text about one"
    if info.flag_bits & _ENCRYPTED:
        return "encrypted", "is encrypted"
    if info.compress_type not in _PACKINGS:
        return "damaged", f"is packed in a way that is not read (method {info.compress_type})"
    if suffix in _TEXT_SUFFIXES and info.file_size > LARGEST_TABLE:
        return "bomb", f"is too large for what it should hold ({wording.file_size(info.file_size)})"
    if info.file_size > max(_SMALL, _MOST_GROWTH * info.compress_size):
        return "bomb", f"would grow to {wording.file_size(info.file_size)}, as no music does"
    return None


def _is_passed_over(parts: list[str], runs: set[str]) -> bool:
    """Whether a scan of the unpacked folder would not look at the file."""
    if any(part.startswith(".") or part in IGNORED_FOLDERS for part in parts):
        return True
    if any("/".join(parts[:depth]) in runs for depth in range(1, len(parts))):
        return True
    return PurePosixPath(parts[-1]).suffix.lower() not in _KNOWN_SUFFIXES


def _run_folders(names: Iterable[str]) -> set[str]:
    """Folders that are runs of ours: their samples are not songs to learn from."""
    marks: dict[str, set[str]] = {}
    for name in names:
        home, _, last = name.rpartition("/")
        if home and last in RUN_MARKS:
            marks.setdefault(home, set()).add(last)
    return {home for home, found in marks.items() if found >= RUN_MARKS}


def _without_doubles(candidates: list[Entry]) -> tuple[list[Entry], list[LeftOutEntry]]:
    """One entry for each name: of equal ones the last, which is how an archive is updated; of alike ones the first."""
    last = {entry.name: entry for entry in candidates}
    left_out = [
        LeftOutEntry(_shown(entry.name), "duplicate", "is in the ZIP more than once; the last was taken")
        for entry in candidates
        if last[entry.name] is not entry
    ]
    kept: dict[str, Entry] = {}
    folders = {name_key(parent.as_posix()) for name in last for parent in PurePosixPath(name).parents}
    for entry in last.values():
        key = name_key(entry.name)
        if key in kept:
            reason = f"differs from {kept[key].name} only in letter case or accents"
            left_out.append(LeftOutEntry(_shown(entry.name), "duplicate", reason))
        elif key in folders:
            left_out.append(LeftOutEntry(_shown(entry.name), "duplicate", "is a file and a folder at once"))
        else:
            kept[key] = entry
    return list(kept.values()), left_out


def _shown(name: str) -> str:
    """A name for people, whatever it holds."""
    shown = _CONTROL.sub("?", printable(name))
    return shown if len(shown) <= 120 else f"…{shown[-119:]}"
