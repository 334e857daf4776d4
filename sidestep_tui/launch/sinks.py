"""The numbers of a run, read from its journal in blocks: what exports write and what metric sinks are fed with.

A run that was resumed, or that went back to an earlier step by itself, has steps in its journal that a later part
supersedes. They are left out as viewers leave them out: a curve never forks.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from sidestep_tui.core import text
from sidestep_tui.core.errors import RunError, UsageError
from sidestep_tui.protocol.events import Event
from sidestep_tui.protocol.tail import DEFAULT_LIMIT, Tail

_ENVELOPE: Final = frozenset({"v", "seq", "t", "session", "type", "step", "epoch"})
_EPOCH_NAMES: Final = {"loss": "epoch_loss", "smoothed_loss": "smoothed", "seconds": "epoch_seconds"}
_SONGS: Final = "/by_song/"


@dataclass(frozen=True, slots=True)
class Point:
    """What one event measured: values by metric name, at a step. `t` is in seconds since 1970."""

    seq: int
    step: int
    epoch: int | None
    t: float
    session: str
    values: dict[str, float]


def point_of(event: Event) -> Point | None:
    """The numbers of a `step`, `epoch` or `eval` event; None for any other, or one without a step.

    Steps keep their names (`loss`), epochs get `epoch_loss`, `smoothed` and `epoch_seconds`, measurements on held-out
    songs `eval/…`. Tables have one more level (`epoch/by_band/…`, `eval/by_level/0.250`).
    """
    kind, seq, step = event.get("type"), event.get("seq"), event.get("step")
    if kind not in ("step", "epoch", "eval") or type(seq) is not int or type(step) is not int:
        return None
    values: dict[str, float] = {}
    for key, value in event.items():
        if key in _ENVELOPE:
            continue
        _gather(values, _name(kind, key, value), value)
    epoch, t = event.get("epoch"), event.get("t")
    return Point(
        seq,
        step,
        epoch if type(epoch) is int else None,
        float(t) if isinstance(t, int | float) else float("nan"),
        str(event.get("session", "")),
        values,
    )


def _name(kind: str, key: str, value: object) -> str:
    if kind == "step":
        return key
    if kind == "eval" or isinstance(value, Mapping | list):
        return f"{kind}/{key}"
    return _EPOCH_NAMES.get(key, f"epoch_{key}")


def names_a_song(metric: str) -> bool:
    """Whether the metric's name tells what a song is called: such metrics do not go to services."""
    return _SONGS in f"/{metric}"


def _gather(values: dict[str, float], name: str, value: object) -> None:
    """Numbers at any depth; text, truth values and nothing are no measurements."""
    if type(value) is float or (type(value) is int and abs(value) < 2**53):
        values[name] = value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            _gather(values, f"{name}/{key}", item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _gather(values, f"{name}/{index}", item)


@dataclass(slots=True)
class Survey:
    """One look over a journal: its metrics in order of appearance, and where it went back to an earlier step."""

    end: int = 0
    """How many bytes were looked at; always whole lines."""
    metrics: dict[str, int] = field(default_factory=dict)
    """How many points each metric has, superseded ones included."""
    returns: list[tuple[int, int]] = field(default_factory=list)
    """(seq, step): what came before `seq` and lies beyond `step` is superseded."""
    _last_seq: int = -1
    _session: str | None = None
    _last_step: int | None = None

    def note(self, event: Event) -> int | None:
        """Take in the next event; returns the step that the run went back to with it, if it did (-1: the start)."""
        seq = event.get("seq")
        if type(seq) is not int or seq <= self._last_seq:
            return None
        self._last_seq = seq
        back: int | None = None
        kind, step = event.get("type"), event.get("step")
        if kind == "session_started":
            resumed = event.get("resumed_from")
            if self._session is not None:
                back = resumed if type(resumed) is int else -1
            self._session = str(event.get("session"))
            self._last_step = None
        elif kind == "step" and type(step) is int:
            if self._last_step is not None and step <= self._last_step:
                back = step - 1
            self._last_step = step
        if back is not None:
            self.returns.append((seq, back))
        return back

    def superseded(self) -> Superseded:
        """A test for points, from the returns found so far."""
        return Superseded(self.returns)


class Superseded:
    """Says whether a later part of the run redid a point."""

    def __init__(self, returns: Iterable[tuple[int, int]]) -> None:
        pairs = list(returns)
        self._seqs = [seq for seq, _ in pairs]
        self._lowest: list[int] = []
        for _, step in reversed(pairs):
            self._lowest.append(step if not self._lowest else min(step, self._lowest[-1]))
        self._lowest.reverse()

    def __contains__(self, point: Point) -> bool:
        later = bisect_right(self._seqs, point.seq)
        return later < len(self._lowest) and point.step > self._lowest[later]


def blocks(tail: Tail, end: int, limit_bytes: int = DEFAULT_LIMIT) -> Iterator[list[Event]]:
    """The events from `tail.offset` up to byte `end`, a block at a time."""
    while tail.offset < end:
        before = tail.offset
        yield tail.read(min(limit_bytes, end - before))
        if tail.offset <= before:
            raise RunError(
                "The journal changed while it was read.", f"{tail.path} became shorter.", "Run the command again."
            )


def survey(path: Path) -> Survey:
    """Look over the journal at `path`; RunError when there is none, or it has no numbers yet."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise RunError(
            "The run has no journal.", f"{path}: {error.strerror}.", "Start it with `sidestep-tui resume`."
        ) from error
    found = Survey()
    tail = Tail(path)
    while tail.offset < size:
        events = tail.read()
        for event in events:
            found.note(event)
            point = point_of(event)
            for name in point.values if point is not None else ():
                found.metrics[name] = found.metrics.get(name, 0) + 1
        if tail.at_end:
            break
    found.end = tail.offset
    return found


def choose(known: Collection[str], wanted: str) -> list[str]:
    """The metrics that `wanted` names: commas between them, `eval/*` for many. All for an empty text.

    Raises UsageError for a name that the run does not have.
    """
    patterns = [item.strip() for item in wanted.split(",") if item.strip()]
    if not patterns:
        return list(known)
    chosen: dict[str, None] = {}
    for pattern in patterns:
        hits = [name for name in known if name == pattern or fnmatchcase(name, pattern)]
        if not hits:
            hint = text.did_you_mean(pattern, known) or f"It has {text.listing(sorted(known), most=12)}."
            raise UsageError(f"The run has no metric '{pattern}'.", "", hint)
        chosen |= dict.fromkeys(hits)
    return list(chosen)


def rows(path: Path, found: Survey, metrics: Collection[str]) -> Iterator[dict[str, Any]]:
    """One row a step (`step`, `epoch`, `t`, `session`, then metrics), in the order of the journal.

    What a step, the end of its epoch and a measurement at it say stands in one row, with the time of the first.
    """
    wanted = frozenset(metrics)
    superseded = found.superseded()
    row: dict[str, Any] | None = None
    last_seq = -1
    for events in blocks(Tail(path), found.end):
        for event in events:
            point = point_of(event)
            if point is None or point.seq <= last_seq:
                continue
            last_seq = point.seq
            if point in superseded:
                continue
            values = {name: value for name, value in point.values.items() if name in wanted}
            if not values:
                continue
            if row is not None and (row["step"], row["session"]) == (point.step, point.session):
                row.update(values)
                continue
            if row is not None:
                yield row
            row = {"step": point.step, "epoch": point.epoch, "t": point.t, "session": point.session, **values}
    if row is not None:
        yield row
