"""The filter of the songs screen: words, and conditions such as `missing:bpm` or `bpm:>120`. Pure.

Every part narrows further; a part that begins with `-` excludes what it matches. A condition that is still being typed,
or is not understood, leaves everything and says so, so that the table does not flicker while one types.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from sidestep_tui.core import text
from sidestep_tui.dataset.manifest import Song
from sidestep_tui.ui.query import understand
from sidestep_tui.ui.screens.songs.facts import SongFacts, is_sung, missing, states

Condition = Callable[[SongFacts, str], bool]
"""Of a song and its text in lower case."""

_COMPARISON: Final = re.compile(r"(<=|>=|<|>|=)?([0-9:.]+)(?:-([0-9:.]+))?")

_FIELDS: Final = {
    "caption": "caption",
    "lyrics": "lyrics",
    "bpm": "bpm",
    "tempo": "bpm",
    "key": "keyscale",
    "keyscale": "keyscale",
    "signature": "timesignature",
    "time": "timesignature",
    "timesignature": "timesignature",
    "language": "language",
    "genre": "genre",
    "tag": "tag",
    "instrumental": "instrumental",
    "repeats": "repeats",
}
_NUMBERS: Final[dict[str, Callable[[Song], float | None]]] = {
    "bpm": lambda song: song.bpm,
    "tempo": lambda song: song.bpm,
    "length": lambda song: song.duration,
    "repeats": lambda song: song.repeats,
    "signature": lambda song: float(song.timesignature) if song.timesignature.isdigit() else None,
    "time": lambda song: float(song.timesignature) if song.timesignature.isdigit() else None,
}
_TEXTS: Final[dict[str, Callable[[Song], str]]] = {
    "name": lambda song: song.name,
    "caption": lambda song: song.caption,
    "lyrics": lambda song: song.lyrics if is_sung(song) else "",
    "key": lambda song: song.keyscale,
    "genre": lambda song: song.genre,
    "tag": lambda song: song.tag,
    "from": lambda song: " ".join(song.origins.values()),
}
_FLAGS: Final[dict[str, Callable[[SongFacts], bool]]] = {
    "reviewed": lambda facts: facts.reviewed,
    "edited": lambda facts: bool(facts.edited),
    "marked": lambda facts: facts.marked,
    "instrumental": lambda facts: facts.song.instrumental,
    "measured": lambda facts: facts.measured is not None,
}
_NAMES: Final = (*_NUMBERS, *_TEXTS, *_FLAGS, "lang", "language", "missing", "has")


@dataclass(frozen=True, slots=True)
class Query:
    """A filter as typed, understood as far as it could be."""

    typed: str = ""
    conditions: Sequence[Condition] = ()
    problems: Sequence[str] = field(default_factory=tuple)
    """Sentences about the parts that are not understood."""

    def __bool__(self) -> bool:
        return bool(self.typed)

    def matches(self, facts: SongFacts, haystack: str) -> bool:
        """Whether a song is shown; `haystack` is what `haystack_of` made of it."""
        return all(condition(facts, haystack) for condition in self.conditions)


def haystack_of(song: Song) -> str:
    """Everything said about a song, in lower case, for words without a field."""
    parts = (song.name, song.caption, song.lyrics, song.genre, song.tag, song.keyscale, song.language)
    return "\n".join(parts).casefold()


def parse(typed: str) -> Query:
    """Understand what was typed into the filter."""
    return Query(typed.strip(), *understand(typed, _condition))


def _condition(name: str, value: str) -> Condition:
    if not name:
        return _word(value)
    if name not in _NAMES:
        # A colon in ordinary words: a caption may say "mood: dark".
        return _word(f"{name}:{value}")
    if name in ("missing", "has"):
        return _states(value, wanted=name == "has")
    if not value:
        raise ValueError(f"{name}: is still without a value.")
    if name in ("lang", "language"):
        return lambda facts, _: facts.song.language.startswith(value.casefold())
    if name in _FLAGS:
        return _flag(name, value)
    if name in _NUMBERS:
        return _number(name, value)
    read, needle = _TEXTS[name], value.casefold()
    return lambda facts, _: needle in read(facts.song).casefold()


def _word(value: str) -> Condition:
    needle = value.casefold()
    return lambda _, haystack: needle in haystack


def _states(value: str, *, wanted: bool) -> Condition:
    """`missing:` alone is any of the words that every song should have."""
    if not value:
        return (lambda facts, _: not missing(facts.song)) if wanted else (lambda facts, _: bool(missing(facts.song)))
    known = [name for name in _FIELDS if name.startswith(value.casefold())]
    if not known:
        raise ValueError(f"'{value}' is no field. {text.did_you_mean(value, _FIELDS)}".rstrip())
    name = _FIELDS[known[0]]
    return lambda facts, _: states(facts.song, name) is wanted


def _flag(name: str, value: str) -> Condition:
    word = value.casefold()
    wanted = {"y": True, "n": False}.get(word[:1])
    if wanted is None or word not in ("yes", "no", "y", "n", "ye"):
        raise ValueError(f"{name}: is yes or no.")
    read = _FLAGS[name]
    return lambda facts, _: read(facts) is wanted


def _number(name: str, value: str) -> Condition:
    """`120`, `>120`, `<=90`, `100-120`; lengths also as `3:20`."""
    match = _COMPARISON.fullmatch(value)
    if match is None:
        raise ValueError(f"{name}: wants a number, as in {name}:>{'3:00' if name == 'length' else '120'}.")
    sign, first, last = match.groups()
    low = _value(first)
    read = _NUMBERS[name]
    if last:
        high = _value(last)
        return _where(read, lambda number: low <= number <= high)
    tests: dict[str, Callable[[float], bool]] = {
        "<": lambda number: number < low,
        "<=": lambda number: number <= low,
        ">": lambda number: number > low,
        ">=": lambda number: number >= low,
        "=": lambda number: round(number) == round(low),
    }
    return _where(read, tests[sign or "="])


def _where(read: Callable[[Song], float | None], test: Callable[[float], bool]) -> Condition:
    def condition(facts: SongFacts, _: str) -> bool:
        number = read(facts.song)
        return number is not None and test(number)

    return condition


def _value(digits: str) -> float:
    """`90`, `3:20` (minutes and seconds)."""
    try:
        total = 0.0
        for part in digits.split(":"):
            total = total * 60 + float(part or 0)
        return total
    except ValueError:
        raise ValueError(f"'{digits}' is no number.") from None
