"""From step events to series: many steps at once, as columns. Pure.

Beside the metrics that a step reports, viewers need what a step adds up to: the time that training took, the samples
that were seen, when it was and in which epoch. They are series too, so that a resume supersedes them with the rest.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from itertools import accumulate, compress, islice
from operator import itemgetter, mul, ne
from typing import Any

from sidestep_tui.protocol.bulk import StepColumns
from sidestep_tui.protocol.events import Event
from sidestep_tui.protocol.fields import LARGEST, float_of
from sidestep_tui.protocol.series import Series, is_rising

STEP_METRICS = ("loss", "lr", "grad_norm", "samples_per_s")
"""What every step reports."""

ADDED_UP = ("elapsed", "samples", "t", "epoch")
"""Seconds of training and samples up to a step, when it was (unix seconds), and the epoch where it changed."""

MEMORY = "memory"
"""GiB in use on the fullest GPU, else by the engine itself; measured beside the steps."""

BAND = "band "
"""How the names of the losses by noise level begin; there are as many as the engine tells apart."""

_MOST_SERIES = 48
_GIB = 2.0**30
_FIELDS = ("step", "t", "epoch", "seconds", *STEP_METRICS)
_fields_of = itemgetter(*_FIELDS)


class Intake:
    """Steps that have not become curves yet: as many at once as possible, for each turn costs the same."""

    def __init__(self) -> None:
        self._steps: list[Event] = []
        self._columns: StepColumns | None = None
        self._memory_steps: list[int] = []
        self._memory: list[float] = []

    def add(self, events: Sequence[Event], steps: Sequence[Event], before: int) -> None:
        """Take in steps and gauges, `steps` being the former; `before` is the last step before them."""
        self._steps += steps
        if len(steps) < len(events):
            places, values = memory_points(events, before)
            self._memory_steps += places
            self._memory += values

    def add_columns(self, columns: StepColumns, series: Mapping[str, Series]) -> None:
        """Take in steps that a reader handed over as columns; `series` take what cannot wait for its turn."""
        for place, gauge in columns.gauges:
            used = _memory(gauge)
            if math.isfinite(used):
                self._memory_steps.append(int(columns.block["step"][place]))
                self._memory.append(used / _GIB)
        if self._columns is not None and not self._steps and columns.follows(self._columns):
            self._columns = StepColumns(columns.block, self._columns.start, columns.stop)
            return
        self.settle(series)
        self._columns = columns

    def settle(self, series: Mapping[str, Series]) -> None:
        """Add what was taken in to the curves."""
        if self._columns is not None:
            columns, self._columns = self._columns, None
            part = slice(columns.start, columns.stop)
            extend_columns(series, {name: column[part] for name, column in columns.block.items()})
        if self._steps:
            extend(series, self._steps)
            self._steps = []
        if self._memory:
            series[MEMORY].extend(self._memory_steps, self._memory)
            self._memory_steps, self._memory = [], []


def extend_columns(series: Mapping[str, Series], columns: Mapping[str, array[float]]) -> None:
    """Add steps that lie in columns; one that is not beyond the one before supersedes."""
    steps = columns["step"]
    falls = [n for n in range(1, len(steps)) if steps[n] <= steps[n - 1]] if not is_rising(steps) else []
    for start, stop in zip([0, *falls], [*falls, len(steps)], strict=True):
        part = columns if not falls else {name: column[start:stop] for name, column in columns.items()}
        _extend_with(series, part["step"], part, part["epoch"])


def parted(events: Sequence[Event]) -> tuple[Sequence[Event], Sequence[Event]]:
    """The steps with a sensible number, and the gauges."""
    gauges = [event for event in events if event["type"] == "gpu"]
    steps = [event for event in events if event["type"] == "step"] if gauges else events
    numbers = [event.get("step") for event in steps]
    if set(map(type, numbers)) <= {int} and (not numbers or (min(numbers) >= 0 and max(numbers) < LARGEST)):  # type: ignore[type-var, operator]
        return steps, gauges
    return [event for event in steps if type(event.get("step")) is int and 0 <= event["step"] < LARGEST], gauges


def extend(series: Mapping[str, Series], events: Sequence[Event]) -> None:
    """Add steps whose numbers are whole and not negative; a step that is not beyond the last one supersedes."""
    steps = array("d", [event["step"] for event in events])
    if is_rising(steps):
        _extend_rising(series, events, steps)
        return
    falls = [n for n in range(1, len(steps)) if steps[n] <= steps[n - 1]]
    for start, stop in zip([0, *falls], [*falls, len(steps)], strict=True):
        _extend_rising(series, events[start:stop], steps[start:stop])


def _extend_rising(series: Mapping[str, Series], events: Sequence[Event], steps: array[float]) -> None:
    """Add steps that rise among themselves."""
    try:
        columns = dict(zip(_FIELDS, zip(*map(_fields_of, events), strict=True), strict=True))
        floats = {name: array("d", columns[name]) for name in ("t", "seconds", *STEP_METRICS)}
    except (KeyError, TypeError, OverflowError):  # A value is missing or no number: look at each.
        _extend_gappy(series, events, steps)
        return
    _extend_with(series, steps, floats, columns["epoch"])


def _extend_with(
    series: Mapping[str, Series], steps: array[float], floats: Mapping[str, array[float]], epochs: Sequence[Any]
) -> None:
    _supersede(series, steps[0])
    for name in (*STEP_METRICS, "t"):
        series[name].extend(steps, floats[name], rising=True)
        if name != "t":
            series[name].prepare()
    _add_up(series, steps, floats["seconds"], floats["samples_per_s"])
    _note_epochs(series["epoch"], steps, epochs)


def _extend_gappy(series: Mapping[str, Series], events: Sequence[Event], steps: array[float]) -> None:
    """Leave out the points that are missing; time and samples stand still there."""
    _supersede(series, steps[0])
    for name in (*STEP_METRICS, "t"):
        pairs = [(x, float_of(event, name)) for x, event in zip(steps, events, strict=True) if name in event]
        series[name].extend([x for x, _ in pairs], [y for _, y in pairs], rising=True)
    seconds = [float_of(event, "seconds", 0.0) for event in events]
    rates = [float_of(event, "samples_per_s", 0.0) for event in events]
    _add_up(series, steps, seconds, rates)
    _note_epochs(series["epoch"], steps, [event.get("epoch") for event in events])


def _supersede(series: Mapping[str, Series], step: float) -> None:
    """Forget what was known of `step` and beyond."""
    for name in (*STEP_METRICS, *ADDED_UP):
        series[name].truncate_after(math.nextafter(step, -math.inf))


def _add_up(
    series: Mapping[str, Series], steps: array[float], seconds: Sequence[float], rates: Sequence[float]
) -> None:
    """Time and samples up to each step. What is not a duration or a count adds nothing."""
    for name, sums in (("elapsed", _sums(series["elapsed"], seconds)), ("samples", _samples(series, seconds, rates))):
        series[name].extend(steps, sums, rising=True)


def _sums(series: Series, values: Iterable[float]) -> array[float]:
    """What a series comes to with further amounts."""
    sums = accumulate(_amounts(list(values)), initial=series.last or 0.0)
    next(sums)
    return array("d", sums)


def _samples(series: Mapping[str, Series], seconds: Sequence[float], rates: Sequence[float]) -> array[float]:
    """Samples are whole: nearly always the same for each step, and then there is nothing to add up."""
    counts = list(map(mul, seconds, rates))
    most, before, total = max(counts), series["samples"].last or 0.0, sum(counts)
    if (
        total - total == 0.0
        and 0.5 < most < LARGEST
        and min(counts) > 0.99 * most
        and round(most) == round(min(counts))
    ):
        each, start = round(most), round(before)
        return array("d", range(start + each, start + each * len(counts) + 1, each))
    return _sums(series["samples"], map(round, _amounts(counts)))


def _amounts(values: Sequence[float]) -> Sequence[float]:
    """The values that add up; nothing for those that are none."""
    total = sum(values)
    if total - total == 0.0 and min(values) >= 0.0:
        return values
    return [value if 0.0 <= value < math.inf else 0.0 for value in values]


def _note_epochs(series: Series, steps: Sequence[float], epochs: Sequence[Any]) -> None:
    """Add the steps at which another epoch began."""
    starts = [0, *compress(range(1, len(epochs)), map(ne, islice(epochs, 1, None), epochs))]
    for place in starts:
        epoch = int(epochs[place]) if isinstance(epochs, array) else epochs[place]
        if type(epoch) is int and epoch != series.last and abs(epoch) < LARGEST:
            series.append(steps[place], epoch)


def add_bands(series: MutableMapping[str, Series], step: int, event: Event) -> None:
    """The loss of an epoch at each noise level, as curves of their own."""
    bands = event.get("by_band")
    if type(bands) is not dict:
        return
    for band in bands:
        name = f"{BAND}{band}"
        if name in series or len(series) < _MOST_SERIES:
            series.setdefault(name, Series(name)).append(step, float_of(bands, band))


def stretches(events: Sequence[Event]) -> Iterator[Sequence[Event]]:
    """Cut events into stretches: steps with the gauges between them, and everything else one by one.

    Gauges change nothing that a step says, so that thousands of steps can go in at once.
    """
    flowing = [event.get("type") in ("step", "gpu") for event in events]
    start, n = 0, len(events)
    while start < n:
        stop = start + 1
        while flowing[start] and stop < n and flowing[stop]:
            stop += 1
        yield events[start:stop]
        start = stop


def memory_points(events: Iterable[Event], step: int) -> tuple[list[int], list[float]]:
    """Memory at the steps that the gauges stood beside; `step` is the last one before `events`."""
    points: dict[int, float] = {}
    for event in events:
        if event["type"] == "gpu":
            used = _memory(event)
            if math.isfinite(used):
                points[step] = used / _GIB
        elif type(event.get("step")) is int:
            step = event["step"]
    return list(points), list(points.values())


def _memory(event: Event) -> float:
    gpus = event.get("gpus")
    used = [float_of(gpu, "mem_used") for gpu in gpus if type(gpu) is dict] if type(gpus) is list else []
    known = [value for value in used if value >= 0]
    return max(known) if known else float_of(event, "rss")
