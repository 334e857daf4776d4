"""A filter as people type it: words, `name:value`, quotes, and a minus before what is to be left out. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, TypeVar

ItemT = TypeVar("ItemT")
AboutT = TypeVar("AboutT")

_PART: Final = re.compile(r'(-?)(?:([A-Za-z]+):)?(?:"([^"]*)"?|(\S*))')


def understand(
    typed: str, condition: Callable[[str, str], Callable[[ItemT, AboutT], bool]]
) -> tuple[tuple[Callable[[ItemT, AboutT], bool], ...], tuple[str, ...]]:
    """The tests that all must hold, and a sentence about each part that is not understood.

    `condition` makes a test of a name in lower case, empty for a plain word, and what follows it; it says in a
    ValueError why it cannot.
    """
    tests: list[Callable[[ItemT, AboutT], bool]] = []
    problems: list[str] = []
    for minus, name, quoted, bare in _PART.findall(typed):
        value = quoted or bare
        if not name and not value:
            continue
        try:
            test = condition(name.casefold(), value)
        except ValueError as error:
            problems.append(str(error))
            continue
        tests.append(_not(test) if minus else test)
    return tuple(tests), tuple(problems)


def _not(test: Callable[[ItemT, AboutT], bool]) -> Callable[[ItemT, AboutT], bool]:
    return lambda item, about: not test(item, about)
