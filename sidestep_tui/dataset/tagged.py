"""Text in which each field stands behind its name in angle brackets: `<CAPTION>…<LYRICS>…<BPM>…`."""

from __future__ import annotations

import re
from typing import Final

from sidestep_tui.dataset import sidecars

_TAG: Final = re.compile(r"<(/?)[ \t]*([A-Za-z][A-Za-z _\-]{0,30}?)[ \t]*>")


def is_tagged(text: str) -> bool:
    """Whether a text sidecar is of this form: it begins with the tag of a field that we know."""
    match = _TAG.match(text.lstrip())
    return match is not None and not match.group(1) and sidecars.is_key(match.group(2))


def spans(text: str) -> dict[str, tuple[int, int]]:
    """Where the value of each field stands, by squeezed name; the first where a field is named twice.

    A value ends at its closing tag; without one, at the next opening tag of another field. Brackets around anything
    else (`<3`, `<guitar solo>`) belong to the value.
    """
    tags = [match for match in _TAG.finditer(text) if sidecars.is_key(match.group(2))]
    ends: dict[str, list[int]] = {}
    for number in range(len(tags) - 1, -1, -1):
        if tags[number].group(1):
            ends.setdefault(sidecars.squeeze(tags[number].group(2)), []).append(number)
    found: dict[str, tuple[int, int]] = {}
    number = 0
    while number < len(tags):
        opening = tags[number]
        name = sidecars.squeeze(opening.group(2))
        number += 1
        if opening.group(1):
            continue
        closing = ends.get(name, [])
        while closing and closing[-1] < number:
            closing.pop()
        if closing:
            stop = closing[-1]
        else:
            stop = next((at for at in range(number, len(tags)) if not tags[at].group(1)), len(tags))
        found.setdefault(name, (opening.end(), tags[stop].start() if stop < len(tags) else len(text)))
        number = stop
    return found


def parse(text: str) -> sidecars.Fields:
    """The fields of a tagged text."""
    return sidecars.canonical({name: text[start:end].strip() for name, (start, end) in spans(text).items()})
