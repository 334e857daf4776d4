"""Putting a value into the text of a sidecar: what to cut out and what to write there, for each form of sidecar.

A `Splice` is all that changes; the text around it, the order of keys and their spelling stay as their writer left them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from sidestep_tui.dataset import dataset_json, sidecars, tables, tagged, values
from sidestep_tui.dataset.editing.fixes_slots import (
    Member,
    NotFixableError,
    Slot,
    json_members,
    sample_starts,
    table_cells,
)

# How each field is called where it is new.
JSON_NAMES: Final = {
    "caption": "caption",
    "lyrics": "lyrics",
    "bpm": "bpm",
    "keyscale": "keyscale",
    "timesignature": "timesignature",
    "language": "language",
    "genre": "genre",
    "tag": "custom_tag",
    "instrumental": "is_instrumental",
    "repeats": "repeat",
}
LINE_NAMES: Final = {
    "caption": "caption",
    "genre": "genre",
    "bpm": "bpm",
    "keyscale": "key",
    "timesignature": "signature",
    "language": "language",
    "instrumental": "is_instrumental",
    "tag": "custom_tag",
    "repeats": "repeat",
    "lyrics": "lyrics",
}
"""In the order in which other tools write the lines; lyrics take all that follows them."""
_ORDER: Final = list(LINE_NAMES)
_YES_NO: Final = (("true", "false"), ("yes", "no"), ("y", "n"), ("1", "0"), ("on", "off"))


@dataclass(frozen=True, slots=True)
class Splice:
    """A part of a text and what takes its place."""

    start: int
    end: int
    new: str


def spliced(text: str, splices: Iterable[Splice]) -> str:
    """The text with all splices carried out."""
    for splice in sorted(splices, key=lambda item: (item.start, item.end), reverse=True):
        text = text[: splice.start] + splice.new + text[splice.end :]
    return text


def in_plain(text: str, value: str) -> list[Splice]:
    """A file that holds one value and nothing else; spaces and line ends around it stay, unless it becomes empty."""
    core = text.strip()
    if not value or not core:
        return [Splice(0, len(text), f"{value}\n" if value else "")]
    start = text.index(core)
    return [Splice(start, start + len(core), value)]


def in_json(text: str, field: str, value: str) -> list[Splice]:
    """A JSON object with fields of one song; a text that is empty becomes one."""
    if not text.strip():
        new = f'{{\n  "{JSON_NAMES[field]}": {_json_value(field, value, None, text)}\n}}\n' if value else ""
        return [Splice(0, len(text), new)]
    return _in_object(text, len(text) - len(text.lstrip()), field, value)


def _in_object(text: str, at: int, field: str, value: str) -> list[Splice]:
    members = json_members(text, at)
    if not value:
        names = _names(field, clearing=True)
        return _without(members, {member.key for member in members if sidecars.squeeze(member.key) in names})
    known = {sidecars.squeeze(member.key): member for member in members}
    name = _used(field, {key: member.value for key, member in known.items()})
    if name is not None:
        found = known[name]
        return [Splice(found.start, found.end, _json_value(field, value, found.value, text))]
    written = _json_value(field, value, None, text)
    if not members:
        return [Splice(at + 1, at + 1, f'"{JSON_NAMES[field]}": {written}')]
    return [_appended(text, at, members, JSON_NAMES[field], written)]


def in_lines(text: str, field: str, value: str) -> list[Splice]:
    """A text of `key: value` lines."""
    spans = sidecars.key_value_spans(text)
    if not value:
        return _without_lines(text, spans, field)
    key = _used(field, {key: text[start:end] for key, (start, end) in spans.items()})
    if key is None:
        return [_new_line(text, spans, field, value)]
    start, end = spans[key]
    old = text[start:end]
    core = old.strip()
    if core:
        start += old.index(core)
        return [Splice(start, start + len(core), _as_word(field, value, core))]
    if field == "lyrics":
        return [Splice(start, end, f"\n{value}\n")]
    gap = " " if text[start - 1] == ":" else ""
    return [Splice(start, end, gap + _as_word(field, value, ""))]


def in_tagged(text: str, field: str, value: str) -> list[Splice]:
    """A text of `<TAG>value` parts."""
    spans = tagged.spans(text)
    if not value:
        return [_whole_tag(text, *spans[key]) for key in _names(field, clearing=True) if key in spans]
    key = _used(field, {key: text[start:end] for key, (start, end) in spans.items()})
    if key is not None:
        start, end = spans[key]
        old = text[start:end]
        core = old.strip()
        start += old.index(core) if core else 0
        return [Splice(start, start + len(core), _as_word(field, value, core))]
    name = LINE_NAMES[field]
    name = name.upper() if text.lstrip()[1:2].isupper() else name
    closing = f"</{name}>" if "</" in text else ""
    gap = "" if text.endswith("\n") else "\n"
    return [Splice(len(text), len(text), f"{gap}<{name}>{_as_word(field, value, '')}{closing}\n")]


Wanted = Mapping[tuple[str, str], str]
"""Values by song (posix path from the root) and field."""
Failed = dict[tuple[str, str], NotFixableError]


def in_table(text: str, origin: str, wanted: Wanted, names: tables.SongNames) -> tuple[list[Splice], Failed]:
    """The cells of a CSV table; also says for which values it has none."""
    table = tables.Table(origin, _folder_of(origin), tables.parse(text), names)
    header, records = table_cells(text, table)
    columns = {sidecars.squeeze(cell.value.strip()): index for index, cell in enumerate(header)}
    numbers = {id(row): number for number, row in enumerate(table.rows)}
    splices: list[Splice] = []
    failed: Failed = {}
    for (song, field), value in wanted.items():
        rows = [records[numbers[id(row)]] for row in table.rows_for(song)]
        try:
            splices += _cleared(rows, columns, field) if not value else [_cell(rows, columns, field, value)]
        except NotFixableError as error:
            failed[song, field] = error
    return list(dict.fromkeys(splices)), failed


def in_dataset_json(text: str, origin: str, wanted: Wanted, names: tables.SongNames) -> tuple[list[Splice], Failed]:
    """The samples of a JSON file that describes many songs; also says for which values it has none."""
    rows = dataset_json.parse(text) or []
    table = tables.Table(origin, _folder_of(origin), rows, names)
    starts = sample_starts(text)
    if len(starts) != len(rows):
        raise NotFixableError("holds samples that cannot be told apart with certainty")
    numbers = {id(row): number for number, row in enumerate(rows)}
    splices: list[Splice] = []
    failed: Failed = {}
    for (song, field), value in wanted.items():
        places = [starts[numbers[id(row)]] for row in table.rows_for(song)]
        try:
            if not places:
                raise NotFixableError("has no sample for the song")
            for at in places if not value else places[:1]:
                splices += _in_object(text, at, field, value)
        except NotFixableError as error:
            failed[song, field] = error
    return list(dict.fromkeys(splices)), failed


def _folder_of(origin: str) -> str:
    folder = PurePosixPath(origin).parent.as_posix()
    return "" if folder == "." else folder


def _cleared(rows: list[list[Slot]], columns: Mapping[str, int], field: str) -> list[Splice]:
    cells = [
        row[columns[key]]
        for row in rows
        for key in _names(field, clearing=True)
        if key in columns and columns[key] < len(row)
    ]
    return [Splice(cell.start, cell.end, "") for cell in cells if cell.value]


def _cell(rows: list[list[Slot]], columns: Mapping[str, int], field: str, value: str) -> Splice:
    """The cell that a scan reads the field from, or the first one that could hold it."""
    if not rows:
        raise NotFixableError("has no row for the song")
    first: tuple[list[Slot], str] | None = None
    for row in rows:
        cells = {key: row[index].value for key, index in columns.items() if index < len(row)}
        key = _used(field, cells)
        if key is not None and not values.is_blank(cells[key]):
            first = (row, key)
            break
        if first is None and key is not None:
            first = (row, key)
    if first is not None:
        cell = first[0][columns[first[1]]]
        return Splice(cell.start, cell.end, cell.written(_as_word(field, value, cell.value)))
    names = [key for key in _names(field) if key in columns]
    if not names:
        raise NotFixableError(f"has no column for {field}")
    row = rows[0]
    missing = columns[names[0]] - len(row) + 1
    last = row[-1]
    blank = Slot(last.end, last.end, "", "cell", last.delimiter)
    return Splice(last.end, last.end, last.delimiter * missing + blank.written(_as_word(field, value, "")))


def _names(field: str, *, clearing: bool = False) -> list[str]:
    """The squeezed names of a field, best first; tags stand for a caption where there is none."""
    names = [sidecars.squeeze(alias) for alias in sidecars.ALIASES[field]]
    return [*names, "tags"] if field == "caption" and clearing else names


def _used(field: str, said: Mapping[str, object]) -> str | None:
    """The name that a scan takes the value from; if none says anything, the best that is there."""
    names = [name for name in _names(field) if name in said]
    spoken = [name for name in names if not values.is_blank(said[name])]
    tags = said.get("tags")
    if field == "caption" and not spoken and isinstance(tags, str) and not values.is_blank(tags):
        return "tags"
    return next(iter([*spoken, *names]), None)


def _json_value(field: str, value: str, old: object, text: str) -> str:
    """The value as JSON, of the kind that stood there before."""
    plain: object = value
    if field in ("bpm", "repeats") and not isinstance(old, str):
        plain = int(value)
    elif field == "timesignature" and isinstance(old, int) and not isinstance(old, bool):
        plain = int(value)
    elif field == "instrumental":
        plain = _as_word(field, value, old) if isinstance(old, str) else value == "yes"
    return json.dumps(plain, ensure_ascii=text.isascii() and "\\u" in text)


def _as_word(field: str, value: str, old: str) -> str:
    """The value as text; yes and no in the words of the writer."""
    if field != "instrumental":
        return value
    word = old.strip().casefold()
    yes, no = next((pair for pair in _YES_NO if word in pair), _YES_NO[0])
    said = yes if value == "yes" else no
    if old.strip().isupper():
        return said.upper()
    return said.capitalize() if old.strip().istitle() else said


def _without(members: list[Member], keys: set[str]) -> list[Splice]:
    """Cut some members out of an object, each with the comma that it needs no more."""
    kept = [member for member in members if member.key not in keys]
    if not kept:
        return [Splice(members[0].key_start, members[-1].end, "")] if members else []
    splices: list[Splice] = []
    before: Member | None = None
    for member in members:
        if member.key not in keys:
            if before is None and splices:
                # Everything so far goes: up to where this one begins.
                splices = [Splice(members[0].key_start, member.key_start, "")]
            before = member
        elif before is None:
            splices.append(Splice(member.key_start, member.end, ""))
        else:
            previous = members[members.index(member) - 1]
            splices.append(Splice(previous.end, member.end, ""))
    return splices


def _appended(text: str, at: int, members: list[Member], name: str, value: str) -> Splice:
    """Another member at the end of an object, set out like the one before."""
    last = members[-1]
    gap = text[text.rindex('"', last.key_start, last.start) + 1 : last.start]
    before = text[at + 1 : last.key_start] if len(members) == 1 else text[members[-2].end : last.key_start]
    lead = before[len(before.rstrip()) :]
    if len(members) == 1 and "\n" not in lead:
        lead = " "
    return Splice(last.end, last.end, f',{lead}"{name}"{gap}{value}')


def _without_lines(text: str, spans: Mapping[str, tuple[int, int]], field: str) -> list[Splice]:
    gone = [spans[name] for name in _names(field, clearing=True) if name in spans]
    splices = [Splice(text.rfind("\n", 0, start) + 1, min(end + 1, len(text)), "") for start, end in gone]
    rest = spliced(text, splices)
    if splices and any(name in sidecars.key_value_spans(rest) for name in _names(field, clearing=True)):
        # The key stood there more than once.
        return [Splice(0, len(text), spliced(rest, in_lines(rest, field, "")))]
    return splices


def _new_line(text: str, spans: Mapping[str, tuple[int, int]], field: str, value: str) -> Splice:
    """A line for a field that has none, after those that other tools write before it."""
    name = LINE_NAMES[field]
    if field == "lyrics":
        gap = "" if not text or text.endswith("\n") else "\n"
        return Splice(len(text), len(text), f"{gap}{name}:\n{value}\n")
    written = f"{name}: {_as_word(field, value, '')}"
    earlier = [
        end
        for key, (_, end) in spans.items()
        if (known := sidecars.field_of(key)) in _ORDER and _ORDER.index(known) < _ORDER.index(field)
    ]
    if earlier:
        return Splice(max(earlier), max(earlier), f"\n{written}")
    return Splice(0, 0, f"{written}\n")


def _whole_tag(text: str, start: int, end: int) -> Splice:
    """A value with the tags around it, and the line end after them where they have a line of their own."""
    opening = text.rindex("<", 0, start)
    closing = re.compile(r"</[^<>\n]{1,40}>").match(text, end)
    end = closing.end() if closing else end
    if text[opening - 1 : opening] in ("", "\n") and text[end : end + 1] == "\n":
        end += 1
    return Splice(opening, end, "")
