"""Tables that describe many songs at once: analyser exports, caption lists, `metadata.csv`.

A dataset JSON is such a table too (see `dataset_json`).
"""

from __future__ import annotations

import csv
import io
import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from sidestep_tui.core import text as wording
from sidestep_tui.dataset import sidecars
from sidestep_tui.dataset.files import LARGEST_TABLE, Folder, UnreadableTextError, name_key, read_text
from sidestep_tui.dataset.probe import AUDIO_SUFFIXES, OTHER_AUDIO_SUFFIXES
from sidestep_tui.dataset.sidecars import Fields, canonical, field_of, squeeze

FILE_COLUMNS: Final = ("filename", "file", "audiofile", "audiopath", "audio", "path", "filepath", "track")
MOST_COLUMNS: Final = 10_000
_LONGEST_HEADER: Final = 1 << 20
_LONGEST_PATH: Final = 4096
_DEEPEST: Final = 32
_DELIMITERS: Final = (",", ";", "\t", "|")
_SOUND: Final = AUDIO_SUFFIXES | OTHER_AUDIO_SUFFIXES
_AUDIO_FOLDER: Final = "audio"
_DRIVE: Final = re.compile(r"[A-Za-z]:[/\\]")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table: which file it means, and what it says of it."""

    file: str
    """A posix path relative to the table; of an absolute path the last part."""
    fields: Fields
    far: str = ""
    """The whole path where it is absolute: of another machine, as a rule."""


@dataclass(frozen=True, slots=True)
class SongNames:
    """Which songs exist, so that absolute paths of another machine can be brought home."""

    root: str = ""
    """Absolute posix path of the dataset."""
    keys: frozenset[str] = frozenset()

    @classmethod
    def of(cls, root: str, songs: Iterable[str]) -> SongNames:
        """From posix paths relative to the root."""
        keys = {name_key(song) for song in songs}
        return cls(root, frozenset(keys | {_stem(key) for key in keys}))

    def __contains__(self, path: str) -> bool:
        key = name_key(path)
        return key in self.keys or _stem(key) in self.keys


@dataclass(slots=True)
class Table:
    """The rows of one file, found by the song they mean."""

    origin: str
    folder: str
    """The folder of the table, which its file names are relative to."""
    rows: list[Row]
    songs: SongNames = field(default_factory=SongNames)
    noun: str = "row"
    outside: list[str] = field(default_factory=list)
    """File names that lead out of the dataset."""
    _paths: dict[int, str] = field(default_factory=dict)
    _by_path: dict[str, list[int]] = field(default_factory=dict)
    _by_stem: dict[str, list[int]] = field(default_factory=dict)
    _used: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        for index, path in self._places():
            self._paths[index] = path
            key = name_key(path)
            self._by_path.setdefault(key, []).append(index)
            self._by_stem.setdefault(_stem(key), []).append(index)

    @property
    def keys(self) -> Iterable[str]:
        """What `keys_of` a song must share with this table for a row to mean it."""
        return self._by_stem

    def rows_for(self, song: str) -> list[Row]:
        """The rows that mean a song, given its posix path from the root; exact names before bare stems.

        A name without folders means a file beside the table, or in `audio/` beside it. Never one further away: two
        songs of one name in two folders must not share a row.
        """
        wanted = [song]
        home, _, name = song.rpartition("/")
        beside = f"{self.folder}/{name}" if self.folder else name
        if home == _join(self.folder, _AUDIO_FOLDER) and beside not in self.songs:
            wanted.append(beside)
        for path in wanted:
            key = name_key(path)
            alike = self._by_path.get(key, [])
            found = [index for index in alike if self._paths[index] == path] or alike or self._by_stem.get(_stem(key))
            if found:
                self._used.update(found)
                return [self.rows[index] for index in found]
        return []

    def unused(self) -> list[str]:
        """The file names of rows that no song has asked for."""
        return [
            row.file
            for index, row in enumerate(self.rows)
            if index not in self._used and (row.far or row.file not in self.outside)
        ]

    def _places(self) -> Iterable[tuple[int, str]]:
        """The path from the root that each row means; rows that mean nothing in this dataset are left out."""
        far: list[tuple[int, Row]] = []
        for index, row in enumerate(self.rows):
            path = self._known(row) if row.far else _join(self.folder, row.file)
            if path:
                yield index, path
            elif row.far:
                far.append((index, row))
            else:
                self.outside.append(row.file)
        yield from self._by_name(far)

    def _known(self, row: Row) -> str | None:
        """Where a song lies that an absolute path names: by the path itself, or by as many of its folders as fit."""
        root = self.songs.root
        if root and row.far.startswith(f"{root}/"):
            return _join("", row.far[len(root) + 1 :])
        parts = [part for part in row.far.split("/") if part][-_DEEPEST:]
        for first in range(len(parts) - 1):
            for base in dict.fromkeys((self.folder, "")):
                path = _join(base, "/".join(parts[first:]))
                if path and path in self.songs:
                    return path
        return None

    def _by_name(self, rows: list[tuple[int, Row]]) -> Iterable[tuple[int, str]]:
        """Absolute paths by their last part alone. Of several folders with that name only the top one is meant."""
        homes: dict[str, set[str]] = {}
        for _, row in rows:
            homes.setdefault(_stem(name_key(row.file)), set()).add(posixpath.dirname(row.far))
        top = _common({home for found in homes.values() for home in found})
        for index, row in rows:
            home = posixpath.dirname(row.far)
            path = _join(self.folder, row.file)
            if path and (len(homes[_stem(name_key(row.file))]) == 1 or home == top):
                yield index, path


def keys_of(song: str) -> list[str]:
    """What a table that may mean a song has among its `keys`."""
    home, _, name = song.rpartition("/")
    keys = [_stem(name_key(song))]
    above, _, last = home.rpartition("/")
    if last == _AUDIO_FOLDER:
        keys.append(_stem(name_key(f"{above}/{name}" if above else name)))
    return keys


def read_table(folder: Folder, name: str, songs: SongNames) -> Table:
    """Read a CSV file; `UnreadableTextError` where it is none, or has no column that names files."""
    text = read_text(folder.files[name], limit=LARGEST_TABLE)
    return Table(folder.where(name), folder.relative, parse(text), songs)


def parse(text: str) -> list[Row]:
    """The rows of a CSV text with a header line, whichever delimiter it uses."""
    header_line = next((line for line in text.split("\n") if line.strip()), "")
    if len(header_line) > _LONGEST_HEADER:
        raise UnreadableTextError("is not a readable table (its first line is longer than any header)")
    delimiter = _delimiter(header_line)
    records = csv.reader(io.StringIO(text), delimiter=delimiter)
    try:
        header = next((record for record in records if any(record)), None)
        if header is None:
            raise UnreadableTextError("is empty")
        if len(header) > MOST_COLUMNS:
            raise UnreadableTextError(f"is not a readable table (it has {wording.plural(len(header), 'column')})")
        return list(_rows([cell.strip() for cell in header], records))
    except csv.Error as error:
        raise UnreadableTextError(f"is not a readable table ({error})") from error


def _rows(header: list[str], records: Iterable[list[str]]) -> Iterable[Row]:
    """Rows that name a file, with the columns that are read."""
    squeezed = [squeeze(cell) for cell in header]
    file_column = next((squeezed.index(name) for name in FILE_COLUMNS if name in squeezed), None)
    if file_column is None:
        raise UnreadableTextError(f"has no column that names files (filename or File; found {_columns(header)})")
    columns = [(index, name) for index, name in enumerate(header) if sidecars.is_read(name)]
    for record in records:
        file, far = file_name(record[file_column]) if file_column < len(record) else ("", "")
        if file:
            fields = canonical({name: record[index] for index, name in columns if index < len(record)})
            yield Row(file, fields, far)


def _delimiter(header: str) -> str:
    """The delimiter that makes the header name the most columns we know, a file column before all."""

    def known(delimiter: str) -> int:
        cells = [cell.strip().strip('"') for cell in header.split(delimiter, MOST_COLUMNS)]
        files = sum(2 for cell in cells if squeeze(cell) in FILE_COLUMNS)
        return files + sum(1 for cell in cells if field_of(cell) is not None)

    return max(_DELIMITERS, key=lambda delimiter: (known(delimiter), -_DELIMITERS.index(delimiter)))


def _columns(header: list[str]) -> str:
    return wording.listing([cell[:30] for cell in header if cell] or ["nothing"])


def file_name(cell: str) -> tuple[str, str]:
    """A file name as a relative posix path; of an absolute path the last part, and the whole of it."""
    name = cell.strip()
    if len(name) > 1 and name[0] == name[-1] == '"':
        name = name[1:-1].strip()
    name = name.removeprefix("file://")
    if "/" not in name or _DRIVE.match(name):
        name = name.replace("\\", "/")
    if not name or len(name) > _LONGEST_PATH:
        return "", ""
    if name.startswith(("/", "~/")) or _DRIVE.match(name):
        far = posixpath.normpath(name)
        return posixpath.basename(far), far
    return posixpath.normpath(name), ""


def _join(folder: str, path: str) -> str | None:
    """The path from the root that `path` means in `folder`; None where it leads out."""
    joined = posixpath.normpath(f"{folder}/{path}" if folder else path)
    return None if joined.startswith(("/", "..")) and (joined[0] == "/" or joined[2:3] in ("", "/")) else joined


def _common(folders: set[str]) -> str:
    """The folder that holds all of some folders, or is one of them."""
    if not folders:
        return ""
    first, last = min(parts := [folder.split("/") for folder in folders]), max(parts)
    same = 0
    while same < min(len(first), len(last)) and first[same] == last[same]:
        same += 1
    return "/".join(first[:same])


def _stem(name: str) -> str:
    """A name without its audio suffix; other dots belong to the name."""
    stem, dot, suffix = name.rpartition(".")
    is_sound = f"{dot}{suffix.lower()}" in _SOUND and stem and not stem.endswith("/")
    return stem if is_sound else name
