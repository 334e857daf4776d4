"""CSV tables that describe many songs at once: analyser exports, caption lists, `metadata.csv`."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final

from sidestep_tui.core import text as wording
from sidestep_tui.dataset.files import LARGEST_TABLE, Folder, UnreadableTextError, name_key, read_text
from sidestep_tui.dataset.probe import AUDIO_SUFFIXES, OTHER_AUDIO_SUFFIXES
from sidestep_tui.dataset.sidecars import Fields, canonical, field_of, squeeze

_FILE_COLUMNS: Final = ("filename", "file", "audiofile", "audiopath", "audio", "path", "filepath", "track")
_DELIMITERS: Final = (",", ";", "\t", "|")
_AUDIO_FOLDER: Final = "audio"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table: which file it means, and what it says of it."""

    file: str
    fields: Fields


@dataclass(slots=True)
class Table:
    """The rows of one CSV file, found by the file they mean."""

    origin: str
    folder: str
    """The folder of the table, which its file names are relative to."""
    rows: list[Row]
    _by_file: dict[str, list[int]] = field(default_factory=dict)
    _by_stem: dict[str, list[int]] = field(default_factory=dict)
    _used: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        for index, row in enumerate(self.rows):
            key = name_key(row.file)
            self._by_file.setdefault(key, []).append(index)
            self._by_stem.setdefault(_stem(key), []).append(index)

    def rows_for(self, song: str) -> list[Row]:
        """The rows that mean a song, given its posix path from the root; exact names before bare stems.

        A name without folders means a file beside the table, or in `audio/` beside it. Never one further away: two
        songs of one name in two folders must not share a row.
        """
        path = PurePosixPath(song)
        base = PurePosixPath(self.folder)
        if self.folder and not path.is_relative_to(base):
            return []
        within = path.relative_to(base).as_posix()
        wanted = [within]
        if within.startswith(f"{_AUDIO_FOLDER}/") and within.count("/") == 1:
            wanted.append(path.name)
        for name in wanted:
            key = name_key(name)
            found = self._by_file.get(key) or self._by_stem.get(_stem(key), [])
            if found:
                self._used.update(found)
                return [self.rows[index] for index in found]
        return []

    def unused(self) -> list[str]:
        """The file names of rows that no song has asked for."""
        return [row.file for index, row in enumerate(self.rows) if index not in self._used]


def read_table(folder: Folder, name: str) -> Table:
    """Read a CSV file; `UnreadableTextError` where it is none, or has no column that names files."""
    text = read_text(folder.files[name], limit=LARGEST_TABLE)
    return Table(folder.where(name), folder.relative, parse(text))


def parse(text: str) -> list[Row]:
    """The rows of a CSV text with a header line, whichever delimiter it uses."""
    header_line = next((line for line in text.split("\n") if line.strip()), "")
    delimiter = _delimiter(header_line)
    try:
        records = [record for record in csv.reader(io.StringIO(text), delimiter=delimiter) if any(record)]
    except csv.Error as error:
        raise UnreadableTextError(f"is not a readable table ({error})") from error
    if not records:
        raise UnreadableTextError("is empty")
    header = [cell.strip() for cell in records[0]]
    squeezed = [squeeze(cell) for cell in header]
    file_column = next((squeezed.index(name) for name in _FILE_COLUMNS if name in squeezed), None)
    if file_column is None:
        raise UnreadableTextError(f"has no column that names files (filename or File; found {_columns(header)})")
    rows = []
    for record in records[1:]:
        file = _file_name(record[file_column]) if file_column < len(record) else ""
        if file:
            rows.append(Row(file, canonical(dict(zip(header, record, strict=False)))))
    return rows


def _delimiter(header: str) -> str:
    """The delimiter that makes the header name the most columns we know, a file column before all."""

    def known(delimiter: str) -> int:
        cells = [cell.strip().strip('"') for cell in header.split(delimiter)]
        files = sum(2 for cell in cells if squeeze(cell) in _FILE_COLUMNS)
        return files + sum(1 for cell in cells if field_of(cell) is not None)

    return max(_DELIMITERS, key=lambda delimiter: (known(delimiter), -_DELIMITERS.index(delimiter)))


def _columns(header: list[str]) -> str:
    return wording.listing([cell[:30] for cell in header if cell] or ["nothing"])


def _file_name(cell: str) -> str:
    """A file name as a relative posix path; of an absolute path (it names another machine) the last part."""
    name = cell.strip().strip('"').replace("\\", "/")
    if name.startswith(("/", "~")) or name[1:3] == ":/":
        return name.rsplit("/", 1)[-1]
    return name.removeprefix("./")


def _stem(name: str) -> str:
    """A name without its audio suffix; other dots belong to the name."""
    suffix = PurePosixPath(name).suffix.lower()
    return name[: -len(suffix)] if suffix in AUDIO_SUFFIXES | OTHER_AUDIO_SUFFIXES else name
