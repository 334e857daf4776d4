"""The filter of the runs: words, and conditions such as `state:failed kind:lora data:drums rank:>32`. Pure.

Every part narrows further; a part that begins with `-` excludes what it matches. A condition that is still being typed,
or is not understood, leaves everything and says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from sidestep_tui.core import text
from sidestep_tui.ui.query import understand
from sidestep_tui.ui.screens.runs.entries import Entry, haystack

Test = Callable[[Entry, float], bool]
"""Of a line, at a time (unix seconds)."""

_COMPARISON: Final = re.compile(r"(<=|>=|<|>|=)?([0-9]+(?:\.[0-9]*)?(?:e-?[0-9]+)?)([a-z]*)")
_UNITS: Final = {
    "": 1.0, "k": 1024.0, "m": 1024.0**2, "mib": 1024.0**2, "mb": 1024.0**2, "g": 1024.0**3, "gib": 1024.0**3,
    "gb": 1024.0**3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0,
}  # fmt: skip

_TEXTS: Final[dict[str, Callable[[Entry], str]]] = {
    "name": lambda entry: entry.title,
    "preset": lambda entry: entry.facts.preset or entry.title.rpartition(" · ")[2],
    "data": lambda entry: entry.facts.dataset_path,
    "model": lambda entry: f"{entry.facts.model}\n{entry.facts.variant}",
    "kind": lambda entry: entry.facts.kind,
    "folder": lambda entry: str(entry.path.parent) if entry.row else "",
}
_NUMBERS: Final[dict[str, Callable[[Entry, float], float | None]]] = {
    "rank": lambda entry, _: entry.facts.rank,
    "loss": lambda entry, _: entry.run.loss if entry.run else None,
    "best": lambda entry, _: entry.run.best_loss if entry.run else None,
    "step": lambda entry, _: entry.run.step if entry.run else None,
    "epoch": lambda entry, _: entry.run.epoch if entry.run else None,
    "size": lambda entry, _: entry.row.size if entry.row else None,
    "time": lambda entry, _: entry.row.seconds if entry.row else None,
    "age": lambda entry, now: max(now - entry.t, 0.0) if entry.t is not None else None,
}
_STATES: Final[dict[str, Callable[[Entry], bool]]] = {
    "alive": lambda entry: entry.is_alive,
    "over": lambda entry: entry.run is not None and not entry.is_alive,
    "failed": lambda entry: entry.row is not None and entry.condition.style == "bad",
    "draft": lambda entry: entry.kind == "draft",
    "away": lambda entry: entry.row is not None and not entry.row.reachable,
}
NAMES: Final = ("state", *_TEXTS, *_NUMBERS)


@dataclass(frozen=True, slots=True)
class Query:
    """A filter as typed, understood as far as it could be."""

    typed: str = ""
    tests: Sequence[Test] = ()
    problems: Sequence[str] = field(default_factory=tuple)
    """Sentences about the parts that are not understood."""

    def matches(self, entry: Entry, now: float) -> bool:
        """Whether a line is shown."""
        return all(test(entry, now) for test in self.tests)


def parse(typed: str) -> Query:
    """Understand what was typed."""
    return Query(typed.strip(), *understand(typed, _condition))


def _condition(name: str, value: str) -> Test:
    needle = value.casefold()
    if not name:
        return lambda entry, _: needle in haystack(entry)
    if name not in NAMES:
        raise ValueError(f"{name}: is no field. {text.did_you_mean(name, NAMES) or 'There are ' + ', '.join(NAMES)}")
    if not value:
        raise ValueError(f"{name}: is still without a value.")
    if name == "state":
        return _state(needle)
    if name in _TEXTS:
        read = _TEXTS[name]
        return lambda entry, _: needle in read(entry).casefold()
    return _number(name, needle)


def _state(needle: str) -> Test:
    """Part of the word that the list shows, or the beginning of one that stands for several."""
    groups = [test for name, test in _STATES.items() if name.startswith(needle)]
    plain = needle.replace("_", " ")

    def test(entry: Entry, _: float) -> bool:
        told = plain in entry.condition.word or bool(entry.run and needle in entry.run.status)
        return told or any(group(entry) for group in groups)

    return test


def _number(name: str, value: str) -> Test:
    """`0.2`, `<0.2`, `>=32`, `size:>1g`, `age:<2d`."""
    match = _COMPARISON.fullmatch(value)
    if match is None or match[3] not in _UNITS:
        examples = {"size": ">1g", "age": "<2d", "time": ">30min", "loss": "<0.2", "best": "<0.2"}
        example = examples.get(name, ">8")
        raise ValueError(f"{name}: wants a number, as in {name}:{example}.")
    sign, limit = match[1] or "=", float(match[2]) * _UNITS[match[3]]
    read = _NUMBERS[name]
    tests: dict[str, Callable[[float], bool]] = {
        "<": lambda number: number < limit,
        "<=": lambda number: number <= limit,
        ">": lambda number: number > limit,
        ">=": lambda number: number >= limit,
        "=": lambda number: abs(number - limit) <= abs(limit) * 5e-3,
    }
    holds = tests[sign]

    def test(entry: Entry, now: float) -> bool:
        number = read(entry, now)
        return number is not None and holds(number)

    return test
