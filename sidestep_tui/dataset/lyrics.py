"""Lyrics as the model reads them: no timestamps, tidy blank lines, and a plain mark for instrumental music."""

from __future__ import annotations

import re
from typing import Final

from sidestep_tui.dataset import values

INSTRUMENTAL: Final = "[Instrumental]"

# [mm:ss], [mm:ss.xx], [h:mm:ss.xxx] at any place in a line; <…> is the word-level form of enhanced LRC.
_STAMP: Final = r"\[(?:\d{1,2}:)?\d{1,3}:\d{2}(?:[.:]\d{1,3})?\]|<\d{1,3}:\d{2}(?:[.:]\d{1,3})?>"
_TIMESTAMP: Final = re.compile(_STAMP)
# Together: a stamp may stand inside of a model's mark, and taking it out would complete the mark.
_STAMP_OR_MARK: Final = f"{_STAMP}|{values.MODEL_MARK}"
# [ar:…], [ti:…]: what LRC files say about themselves.
_LRC_HEADER: Final = re.compile(
    r"\[(?:ar|ti|al|au|by|re|ve|la|lr|id|offset|length|tool|encoding)\s*:[^\]]*\]", re.IGNORECASE
)
_SECTION: Final = re.compile(r"\s*\[[^\[\]\n]{1,80}\]\s*")
_INSTRUMENTAL_WORDS: Final = frozenset(
    {"instrumental", "inst", "instrumental only", "instrumental track", "no lyrics", "no vocals", "music only"}
)


def has_timestamps(text: str) -> bool:
    """Whether the text carries LRC timestamps."""
    return _TIMESTAMP.search(text) is not None


def is_section_tag(line: str) -> bool:
    """Whether a line is nothing but a structure tag such as `[Verse 1]`."""
    return _SECTION.fullmatch(line) is not None


def clean(text: str) -> str:
    """Remove LRC timestamps and headers, trailing spaces, and all but single blank lines between lines.

    In timed lyrics a blank line means nothing, so those go; a timestamp with no words after it is a pause and stays
    as one blank line.
    """
    plain = values.clean_text(text)
    timed = has_timestamps(plain)
    lines: list[str] = []
    for raw in plain.split("\n"):
        if timed and (not raw.strip() or _LRC_HEADER.fullmatch(raw.strip())):
            continue
        line = values.without(_STAMP_OR_MARK, raw).strip() if timed else raw.strip()
        if line or (lines and lines[-1]):
            lines.append(line)
    while lines and not lines[-1]:
        lines.pop()
    return "\n".join(lines)


def says_instrumental(text: str) -> bool:
    """Whether the lyrics only state that there are none: `[Instrumental]`, `(instrumental)`, `No lyrics.`"""
    bare = " ".join(re.sub(r"[\[\](){}*.!♪\-_]", " ", text).split()).casefold()
    return bare in _INSTRUMENTAL_WORDS


def has_words(text: str) -> bool:
    """Whether anything is sung: some line is neither blank nor a structure tag nor a statement that nothing is."""
    if says_instrumental(text):
        return False
    return any(line.strip() and not is_section_tag(line) for line in text.split("\n"))
