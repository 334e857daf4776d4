"""Long stretches of a journal, read as columns: no value becomes an object before it lies in an array.

A viewer that attaches to a run of a day reads half a million lines. Steps look alike, so that their fields can be cut
out of a whole block at once, without a dictionary for each. Whatever does not look alike is read the usual way; the
curves are the same.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress, repeat
from operator import contains, not_
from typing import Any

from pydantic_core import from_json

from sidestep_tui.protocol.events import Event, decode_lines
from sidestep_tui.protocol.fields import LARGEST

STEPS = "steps"
"""The type of an event that stands for many steps. Readers make it; it is never written."""

COLUMNS = ("step", "t", "epoch", "seconds", "loss", "lr", "grad_norm", "samples_per_s")

_WHOLE = ("step", "epoch")
_STEP = b'"type":"step","step":'
_FEWEST = 64
_GAUGE = b'"type":"gpu"'
_USED = re.compile(rb'"mem_used":(\d{1,20})').findall
_GROUP = 8


@dataclass(frozen=True, slots=True)
class StepColumns:
    """Steps `start` to `stop` of a block, one array for each field, with the gauges between them."""

    block: Mapping[str, array[float]]
    start: int
    stop: int
    gauges: tuple[tuple[int, Event], ...] = ()
    """Each with the place in the block of the step before it; one of `start` to `stop`, but not the last."""

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
    return len(columns) + len(columns.gauges) if isinstance(columns, StepColumns) else 1


def read(data: bytes, *, thin: bool = False) -> tuple[list[Event], int]:
    """The events of whole lines, with all steps between two other events as one; and how many lines were no events.

    With `thin` most of the gauges between the steps are left out: see `thinned`.
    """
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    flags = list(map(contains, lines, repeat(_STEP)))
    places = compress(range(len(lines)), map(not_, flags))
    others = [(place - number, lines[place]) for number, place in enumerate(places)]
    others = thinned(others) if thin else others
    block = _columns(list(compress(lines, flags))) if sum(flags) >= _FEWEST else None
    events, bad = decode_lines(b"\n".join([line for _, line in others])) if block else ([], 1)
    if block is None or bad or len(events) != len(others):
        return decode_lines(data)
    try:
        return _woven(*block, [(stop, event) for (stop, _), event in zip(others, events, strict=True)]), 0
    except (ValueError, TypeError):
        return decode_lines(data)


def _woven(
    heads: tuple[Sequence[bytes], Sequence[bytes]],
    columns: Mapping[str, array[float]],
    others: Sequence[tuple[int, Event]],
) -> list[Event]:
    """Steps and other events in order, the latter with how many steps come before each; gauges cut nothing.

    Raises ValueError if a session ends without a word, or a number of an event is none.
    """
    sessions, seqs = heads
    one = sessions.count(sessions[0]) == len(sessions)
    events: list[Event] = []
    gauges: list[tuple[int, Event]] = []
    start = 0
    for stop, other in [*others, (len(sessions), None)]:
        if other is not None and other.get("type") == "gpu" and stop > start:
            gauges.append((stop - 1, other))
            continue
        if stop > start:
            within = tuple(gauge for gauge in gauges if gauge[0] < stop - 1)
            seq, session = _value(b"seq", seqs[stop - 1]), _value(b"session", sessions[stop - 1])
            alike = (one or len(set(sessions[start:stop])) == 1) and all(
                gauge.get("session") == session for _, gauge in within
            )
            if not alike or type(seq) is not int or type(session) is not str:
                raise ValueError("steps that need a look at each")
            newest = {"seq": seq, "t": columns["t"][stop - 1], "session": session}
            events.append({**newest, "type": STEPS, "columns": StepColumns(columns, start, stop, within)})
            events += [gauge for _, gauge in gauges[len(within) :]]
            gauges = []
            start = stop
        if other is not None:
            events.append(other)
    return events


def _value(name: bytes, cell: bytes) -> Any:
    return from_json(cell.removeprefix(b'"%s":' % name).rstrip(b"}"))  # Which fails on another key.


def _columns(
    lines: Sequence[bytes],
) -> tuple[tuple[Sequence[bytes], Sequence[bytes]], dict[str, array[float]]] | None:
    """Cells of sessions and numbers, and the columns, of lines of steps; None unless all of them are cut alike."""
    whole = b",".join(lines)
    if whole.count(b"}") != len(lines) or b"[" in whole or b"\\" in whole:
        return None
    flat = whole.split(b",")
    width, rest = divmod(len(flat), len(lines))
    places = {field.partition(b":")[0]: place for place, field in enumerate(flat[:width])}
    try:
        types = flat[places[b'"type"'] :: width]
        if rest or types.count(types[0]) != len(types):
            return None
        columns = {name: array("d", _numbers(flat, places, width, name)) for name in COLUMNS}
        return (flat[places[b'"session"'] :: width], flat[places[b'"seq"'] :: width]), columns
    except (KeyError, ValueError, TypeError, OverflowError):
        return None


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
    numbers: list[Any] = from_json(
        b"[%s]" % values
    )  # Which fails on a cell with another key, or with a part of a text.
    if len(numbers) != len(column):
        raise ValueError(name)
    if name in _WHOLE and not (set(map(type, numbers)) == {int} and 0 <= min(numbers) <= max(numbers) < LARGEST):
        raise ValueError(name)
    return numbers


def thinned(lines: Sequence[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """One of every few gauges: the one of the fullest GPU, and the newest of them all; and every other line."""
    gauges = [place for place, (_, line) in enumerate(lines) if _GAUGE in line]
    if len(gauges) < 2 * _GROUP:
        return list(lines)
    kept = {gauges[-1]}
    for start in range(0, len(gauges), _GROUP):
        kept.add(_fullest(lines, gauges[start : start + _GROUP]))
    dropped = set(gauges) - kept
    return [line for place, line in enumerate(lines) if place not in dropped]


def _fullest(lines: Sequence[tuple[int, bytes]], gauges: Sequence[int]) -> int:
    """The gauge, of a few, that tells the most bytes in use on one GPU; the first of them if none tells any."""
    most = max(map(int, _USED(b"".join([lines[place][1] for place in gauges]))), default=None)
    told = b'"mem_used":%d' % most if most is not None else b""  # No other number begins with these digits.
    return next((place for place in gauges if told in lines[place][1]), gauges[0])
