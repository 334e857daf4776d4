"""Long stretches of a journal, read as columns: no value becomes an object before it lies in an array.

A viewer that attaches to a run of a day reads half a million lines. Steps look alike, so that their fields can be cut
out of a whole block at once, without a dictionary for each. Whatever does not look alike is read the usual way; the
curves are the same.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

from pydantic_core import from_json

from sidestep_tui.protocol.events import Event, decode_lines
from sidestep_tui.protocol.fields import LARGEST

STEPS = "steps"
"""The type of an event that stands for many steps. Readers make it; it is never written."""

COLUMNS = ("seq", "step", "t", "epoch", "seconds", "loss", "lr", "grad_norm", "samples_per_s")

_WHOLE = ("seq", "step", "epoch")
_STEP = b'"type":"step","step":'
_FEWEST = 64
_GAUGE = b'"type":"gpu"'
_USED = b'"mem_used":'
_GROUP = 8


@dataclass(frozen=True, slots=True)
class StepColumns:
    """Steps `start` to `stop` of a block, one array for each field."""

    block: Mapping[str, array[float]]
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def follows(self, other: StepColumns) -> bool:
        """Whether it goes on where the other ends, with a later step."""
        steps = self.block["step"]
        return self.block is other.block and self.start == other.stop and steps[self.start] > steps[self.start - 1]

    def newest(self) -> Event:
        """The last of the steps as an event."""
        values: dict[str, Any] = {name: column[self.stop - 1] for name, column in self.block.items()}
        return {**values, "type": "step", "step": int(values["step"]), "epoch": int(values["epoch"])}


def weight(event: Event) -> int:
    """How many lines of the journal an event stands for."""
    columns = event.get("columns")
    return len(columns) if isinstance(columns, StepColumns) else 1


def read(data: bytes) -> tuple[list[Event], int]:
    """The events of whole lines, with all steps between two other events as one; and how many lines were no events."""
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    flags = [_STEP in line for line in lines]
    block = _columns(list(compress(lines, flags))) if sum(flags) >= _FEWEST else None
    others, bad = decode_lines(b"\n".join(compress(lines, (not flag for flag in flags)))) if block else ([], 1)
    if block is None or bad or len(others) != len(flags) - sum(flags):
        return decode_lines(data)
    sessions, columns = block
    seqs = columns["seq"]
    events: list[Event] = []
    start = 0
    places = [place for place, flag in enumerate(flags) if not flag]
    for number, place in enumerate([*places, len(flags)]):
        stop = place - number
        if stop > start:
            if len(of := set(sessions[start:stop])) != 1:
                return decode_lines(data)
            session = of.pop()
            part = StepColumns(columns, start, stop)
            newest = {"seq": int(seqs[stop - 1]), "t": columns["t"][stop - 1], "session": session}
            events.append({**newest, "type": STEPS, "columns": part})
            start = stop
        if number < len(others):
            events.append(others[number])
    return events, 0


def _columns(lines: Sequence[bytes]) -> tuple[list[str], dict[str, array[float]]] | None:
    """Sessions and columns of lines of steps; None unless all of them are cut alike."""
    whole = b",".join(lines)
    if whole.count(b"}") != len(lines) or b"[" in whole or b"\\" in whole:
        return None
    flat = whole.split(b",")
    width, rest = divmod(len(flat), len(lines))
    places = {field.partition(b":")[0]: place for place, field in enumerate(flat[:width])}
    try:
        if rest or len(set(flat[places[b'"type"'] :: width])) != 1:
            return None
        cells = flat[places[b'"session"'] :: width]
        names = {cell: from_json(cell.partition(b":")[2]) for cell in set(cells)}
        columns = {name: array("d", _numbers(flat, places, width, name)) for name in COLUMNS}
    except (KeyError, ValueError, TypeError, OverflowError):
        return None
    if set(map(type, names.values())) != {str}:
        return None
    return [names[cell] for cell in cells], columns


def _numbers(flat: Sequence[bytes], places: Mapping[bytes, int], width: int, name: str) -> list[Any]:
    """One field of all lines; raises ValueError if it is not there in each of them, or not a number."""
    key = b'"%s"' % name.encode()
    column = flat[places[key] :: width]
    values = b",".join(column).replace(key + b":", b"")
    if values.endswith(b"}"):
        values = values.replace(b"}", b"")
    if b'"' in values:
        for known in (b"NaN", b"Infinity", b"-Infinity"):
            values = values.replace(b'"%s"' % known, known)
    numbers = from_json(b"[%s]" % values)  # Which fails on a cell with another key, or with a part of a text.
    if len(numbers) != len(column):
        raise ValueError(name)
    if name in _WHOLE and not (set(map(type, numbers)) == {int} and 0 <= min(numbers) <= max(numbers) < LARGEST):
        raise ValueError(name)
    return list(numbers)


def thinned(data: bytes) -> bytes:
    """Whole lines, with one of every few gauges: the one of the fullest GPU, and the newest of them all."""
    gauges: list[tuple[int, int]] = []
    place = data.find(_GAUGE)
    while place >= 0:
        end = data.find(b"\n", place) + 1 or len(data)
        gauges.append((data.rfind(b"\n", 0, place) + 1, end))
        place = data.find(_GAUGE, end)
    if len(gauges) < 2 * _GROUP:
        return data
    kept = {gauges[-1]}
    for start in range(0, len(gauges), _GROUP):
        kept.add(max(gauges[start : start + _GROUP], key=lambda line: _fullest(data, *line)))
    parts, begin = [], 0
    for line in gauges:
        if line not in kept:
            parts.append(data[begin : line[0]])
            begin = line[1]
    return b"".join((*parts, data[begin:]))


def _fullest(data: bytes, start: int, end: int) -> tuple[int, bytes]:
    """Bytes in use on the fullest GPU of a gauge, as digits that compare by their number."""
    fullest = (0, b"")
    place = data.find(_USED, start, end)
    while place >= 0:
        begin = place + len(_USED)
        digits = data[begin : begin + 20].partition(b",")[0].partition(b"}")[0]
        fullest = max(fullest, (len(digits), digits))
        place = data.find(_USED, begin, end)
    return fullest
