"""From step events to series: many steps at once, as columns. Pure.

Beside the metrics that a step reports, viewers need what a step adds up to: the time that training took, the samples
that were seen, when it was and in which epoch. They are series too, so that a resume supersedes them with the rest.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from itertools import accumulate
from operator import itemgetter, mul
from typing import Any

from sidestep_tui.protocol.events import Event
from sidestep_tui.protocol.fields import float_of
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
    for name in (*STEP_METRICS, *ADDED_UP):
        series[name].truncate_after(math.nextafter(steps[0], -math.inf))
    try:
        columns = dict(zip(_FIELDS, zip(*map(_fields_of, events), strict=True), strict=True))
        floats = {name: array("d", columns[name]) for name in ("t", "seconds", *STEP_METRICS)}
    except (KeyError, TypeError, OverflowError):  # A value is missing or no number: look at each.
        _extend_gappy(series, events, steps)
        return
    for name in STEP_METRICS:
        series[name].extend(steps, floats[name], rising=True)
    series["t"].extend(steps, floats["t"], rising=True)
    _add_up(series, steps, floats["seconds"], floats["samples_per_s"])
    _note_epochs(series["epoch"], steps, columns["epoch"])


def _extend_gappy(series: Mapping[str, Series], events: Sequence[Event], steps: array[float]) -> None:
    """Leave out the points that are missing; time and samples stand still there."""
    for name in (*STEP_METRICS, "t"):
        pairs = [(x, float_of(event, name)) for x, event in zip(steps, events, strict=True) if name in event]
        series[name].extend([x for x, _ in pairs], [y for _, y in pairs], rising=True)
    seconds = [float_of(event, "seconds", 0.0) for event in events]
    rates = [float_of(event, "samples_per_s", 0.0) for event in events]
    _add_up(series, steps, seconds, rates)
    _note_epochs(series["epoch"], steps, [event.get("epoch") for event in events])


def _add_up(
    series: Mapping[str, Series], steps: array[float], seconds: Sequence[float], rates: Sequence[float]
) -> None:
    """Time and samples up to each step. What is not a duration or a count adds nothing."""
    counts: Iterable[float] = map(mul, seconds, rates)
    total = sum(seconds)
    if not (total - total == 0.0 and min(seconds) >= 0.0):
        seconds = [value if 0.0 <= value < math.inf else 0.0 for value in seconds]
    amounts = [value if 0.0 <= value < math.inf else 0.0 for value in counts]
    for name, column in (("elapsed", seconds), ("samples", list(map(round, amounts)))):
        sums = accumulate(column, initial=series[name].last or 0.0)
        next(sums)
        series[name].extend(steps, array("d", sums), rising=True)


def _note_epochs(series: Series, steps: Sequence[float], epochs: Iterable[Any]) -> None:
    now = series.last
    for step, epoch in zip(steps, epochs, strict=True):
        if epoch != now and type(epoch) is int:
            now = epoch
            series.append(step, epoch)


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
