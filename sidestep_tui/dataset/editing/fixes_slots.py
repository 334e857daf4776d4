"""Where in the text of a sidecar each value stands, so that it can be replaced and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final, Literal

from sidestep_tui.dataset import dataset_json, sidecars, tables, tagged
from sidestep_tui.dataset.files import UnreadableTextError, decode_text, name_key

Form = Literal["plain", "json", "cell"]
_MARKS: Final = ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"), (b"\xef\xbb\xbf", "utf-8"), (b"", "utf-8"))
_SPACE: Final = re.compile(r"[ \t\n\r]*")
_TEXT_KEY: Final = ""
"""The field of a file that holds one text and nothing else."""


class NotFixableError(Exception):
    """A value that cannot be replaced without changing more; the message follows the name of the file."""


@dataclass(frozen=True, slots=True)
class Slot:
    """The place of a value."""

    start: int
    end: int
    value: str
    form: Form = "plain"
    delimiter: str = ""
    is_escaped: bool = False
    """How the value is written: JSON with escapes for all that is not ASCII, or a cell in quotes."""
    is_single_line: bool = False

    def written(self, value: str) -> str:
        """`value` as it stands in the file."""
        if self.form == "json":
            return json.dumps(value, ensure_ascii=self.is_escaped)
        if self.form == "cell" and (self.is_escaped or re.search(rf'["\n\r{re.escape(self.delimiter)}]', value)):
            return '"' + value.replace('"', '""') + '"'
        return value


@dataclass(frozen=True, slots=True)
class Slots:
    """All values of a file that can be replaced, by song and field."""

    text: str
    by_field: Mapping[tuple[str, str], Slot]

    def slot(self, song: str, field: str) -> Slot:
        """Where the value of `field` of the song stands."""
        for key in ((song, field), (song, _TEXT_KEY)):
            if key in self.by_field:
                return self.by_field[key]
        raise NotFixableError(f"holds its {field} in a form that cannot be replaced without loss")

    def rest(self, without: Iterable[Slot]) -> str:
        """The text outside of some slots."""
        kept, at = [], 0
        for slot in sorted(set(without), key=lambda slot: slot.start):
            kept.append(self.text[at : slot.start])
            at = slot.end
        return "\0".join([*kept, self.text[at:]])


@dataclass(frozen=True, slots=True)
class Member:
    """A key of a JSON object, and where it and its value stand."""

    key: str
    key_start: int
    start: int
    end: int
    value: object


def decode_exactly(data: bytes) -> tuple[bytes, str, str]:
    """The mark at the beginning, the encoding and the text of a file, line ends as they are."""
    mark, encoding = next(known for known in _MARKS if data.startswith(known[0]))
    try:
        return mark, encoding, data[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        raise NotFixableError("is not valid text") from error


def decode(data: bytes) -> tuple[str, Callable[[str], bytes]]:
    """Text with plain newlines, and the way back; `NotFixableError` where that would not give the same bytes."""
    mark, encoding, raw = decode_exactly(data)
    newline = "\r\n" if "\r\n" in raw else "\n"

    def encode(text: str) -> bytes:
        return mark + text.replace("\n", newline).encode(encoding)

    text = raw.replace("\r\n", "\n")
    if encode(text) != data:
        raise NotFixableError("mixes line endings")
    return text, encode


def read(text: str, origin: str, songs: set[str]) -> Slots:
    """Find the values of `songs` (posix paths from the root) in the text of the sidecar `origin`."""
    path = PurePosixPath(origin)
    found: dict[tuple[str, str], Slot] = {}
    try:
        decode_text(text.encode("utf-8"))
        if path.suffix.lower() in (".csv", ".tsv"):
            found = dict(_table(text, path, songs))
        elif path.suffix.lower() == ".json" and (rows := dataset_json.parse(text)):
            found = dict(_samples(text, path, songs, rows))
        else:
            for song in songs:
                fields = _sidecar(text, path, song)
                found.update({(song, name): slot for name, slot in fields.items()})
    except UnreadableTextError as error:
        raise NotFixableError(str(error)) from error
    return Slots(text, found)


def splice(text: str, replacements: Mapping[Slot, str]) -> str:
    """The text with the values of some slots replaced."""
    for slot in sorted(replacements, key=lambda slot: slot.start, reverse=True):
        text = text[: slot.start] + slot.written(replacements[slot]) + text[slot.end :]
    return text


def has_word(text: str, word: str) -> bool:
    """Whether `word` stands in the text on its own, in any letter case."""
    return bool(word) and re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) is not None


def _sidecar(text: str, path: PurePosixPath, song: str) -> dict[str, Slot]:
    if path.suffix.lower() == ".json":
        return _by_field(_json_values(text), lambda: sidecars.parse_json(text))
    is_own = name_key(path.stem) == name_key(PurePosixPath(song).stem)
    if is_own and path.suffix.lower() == ".txt" and tagged.is_tagged(text):
        found = {key: Slot(start, end, text[start:end]) for key, (start, end) in tagged.spans(text).items()}
        return _by_field(found, lambda: tagged.parse(text))
    if is_own and path.suffix.lower() == ".txt" and sidecars.is_key_value(text):
        return _by_field(_key_values(text), lambda: sidecars.parse_key_value(text))
    return {_TEXT_KEY: Slot(0, len(text), text)}


def _by_field(found: Mapping[str, Slot | None], parse: Callable[[], sidecars.Fields]) -> dict[str, Slot]:
    """Slots by our field names, as far as the product's own reader sees the same value in the same place."""
    truth = parse()
    fields = {}
    for name, value in truth.items():
        for alias in (*sidecars.ALIASES.get(name, ()), *(("tags",) if name == "caption" else ())):
            slot = found.get(sidecars.squeeze(alias))
            if slot is not None and isinstance(value, str) and slot.value.split() == value.split():
                fields[name] = slot
                break
    return fields


def json_members(text: str, at: int = 0) -> list[Member]:
    """The members of the JSON object at a place, in their order."""
    decoder = json.JSONDecoder()
    members: list[Member] = []
    at = _after_space(text, at)
    if text[at : at + 1] != "{":
        raise NotFixableError("does not hold a JSON object")
    at += 1
    try:
        while text[at := _after_space(text, at)] != "}":
            key_start = at
            key, at = decoder.raw_decode(text, at)
            start = _after_space(text, _after_space(text, at) + 1)
            value, at = decoder.raw_decode(text, start)
            members.append(Member(key, key_start, start, at, value))
            at = _after_space(text, at)
            at += text[at] == ","
    except (ValueError, IndexError, RecursionError) as error:
        raise NotFixableError("is not plain JSON") from error
    return members


def json_items(text: str, at: int) -> list[tuple[int, int]]:
    """Where the items of the JSON list at a place begin and end."""
    decoder = json.JSONDecoder()
    items: list[tuple[int, int]] = []
    at = _after_space(text, at) + 1
    try:
        while text[at := _after_space(text, at)] != "]":
            _, end = decoder.raw_decode(text, at)
            items.append((at, end))
            at = _after_space(text, end)
            at += text[at] == ","
    except (ValueError, IndexError, RecursionError) as error:
        raise NotFixableError("is not plain JSON") from error
    return items


def sample_starts(text: str) -> list[int]:
    """Where the samples of a dataset JSON begin that name a file, in the order of `dataset_json.parse`."""
    at = _after_space(text, 0)
    if text[at : at + 1] == "{":
        at = next(member.start for member in reversed(json_members(text)) if member.key == "samples")
    starts = []
    for start, end in json_items(text, at):
        try:
            if text[start] == "{" and dataset_json.parse(f"[{text[start:end]}]"):
                starts.append(start)
        except UnreadableTextError as error:
            raise NotFixableError(str(error)) from error
    return starts


def _json_values(text: str, at: int = 0) -> dict[str, Slot | None]:
    """The strings of the JSON object at a place, by squeezed key; None for other values."""
    found: dict[str, Slot | None] = {}
    for member in json_members(text, at):
        ascii_only = text[member.start : member.end].isascii() and "\\u" in text
        found[sidecars.squeeze(member.key)] = (
            Slot(member.start, member.end, member.value, "json", is_escaped=ascii_only)
            if isinstance(member.value, str)
            else None
        )
    return found


def _after_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _key_values(text: str) -> dict[str, Slot | None]:
    """The values of `key: value` lines by squeezed key; continued values reach to their last line."""
    return {
        key: Slot(
            start,
            end,
            text[start:end],
            is_single_line=sidecars.field_of(key) != "lyrics" and "\n" not in text[start:end],
        )
        for key, (start, end) in sidecars.key_value_spans(text).items()
    }


def _samples(
    text: str, path: PurePosixPath, songs: set[str], rows: list[tables.Row]
) -> Iterator[tuple[tuple[str, str], Slot]]:
    """The values of the samples that mean `songs`."""
    folder = path.parent.as_posix()
    table = tables.Table(path.as_posix(), "" if folder == "." else folder, rows, tables.SongNames.of("", songs))
    starts = sample_starts(text)
    if len(starts) != len(rows):
        raise NotFixableError("holds samples that cannot be told apart with certainty")
    numbers = {id(row): number for number, row in enumerate(rows)}
    for song in sorted(songs):
        for row in table.rows_for(song)[:1]:
            found = _json_values(text, starts[numbers[id(row)]])
            for name, slot in _by_field(found, lambda row=row: row.fields).items():  # type: ignore[misc]
                yield (song, name), slot


def _table(text: str, path: PurePosixPath, songs: set[str]) -> Iterator[tuple[tuple[str, str], Slot]]:
    """The cells of the rows that mean `songs`."""
    folder = path.parent.as_posix()
    names = tables.SongNames.of("", songs)
    table = tables.Table(path.as_posix(), "" if folder == "." else folder, tables.parse(text), names)
    header, records = table_cells(text, table)
    numbers = {id(row): number for number, row in enumerate(table.rows)}
    for song in sorted(songs):
        for row in table.rows_for(song):
            record = records[numbers[id(row)]]
            cells: dict[str, Slot | None] = {
                sidecars.squeeze(name.value.strip()): cell for name, cell in zip(header, record, strict=False)
            }
            for name, slot in _by_field(cells, lambda row=row: row.fields).items():  # type: ignore[misc]
                yield (song, name), slot
            break  # the first row that means the song; later ones only fill gaps


def table_cells(text: str, table: tables.Table) -> tuple[list[Slot], list[list[Slot]]]:
    """Header and rows as cells with their places, read just as `tables.parse` reads them."""
    for delimiter in (",", ";", "\t", "|"):
        rows = [row for row in _cells(text, delimiter) if any(cell.value for cell in row)]
        if not rows:
            continue
        header, records = rows[0], rows[1:]
        kept: list[list[Slot]] = []
        names = [cell.value.strip() for cell in header]
        for record in records:
            fields = sidecars.canonical(dict(zip(names, (cell.value for cell in record), strict=False)))
            if len(kept) < len(table.rows) and fields == table.rows[len(kept)].fields:
                file = table.rows[len(kept)].file.rsplit("/", 1)[-1]
                if any(file in cell.value for cell in record):
                    kept.append(record)
        if len(kept) == len(table.rows) and len(header) > 1:
            return header, kept
    raise NotFixableError("is a table whose cells cannot be told apart with certainty")


def _cells(text: str, delimiter: str) -> Iterator[list[Slot]]:
    """Tokenise a CSV text as the csv module does, keeping places."""
    pattern = re.compile(rf'"((?:[^"]|"")*)"(?={re.escape(delimiter)}|\n|\Z)|([^\n{re.escape(delimiter)}]*)')
    row: list[Slot] = []
    at = 0
    while at <= len(text):
        match = pattern.match(text, at)
        assert match is not None
        quoted = match.group(1)
        value = quoted.replace('""', '"') if quoted is not None else match.group(2)
        row.append(Slot(at, match.end(), value, "cell", delimiter, is_escaped=quoted is not None))
        at = match.end()
        if at >= len(text) or text[at] == "\n":
            yield row
            row = []
        at += 1
