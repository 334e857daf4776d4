"""Normalising what people and tools write into the values the model was trained on.

Each reader takes whatever a sidecar held (text, number, list) and returns the one canonical form, or raises
`ValueError` with half a sentence that can follow "bpm 'fast'". Pure: no files, no clock.
"""

from __future__ import annotations

import math
import re
from typing import Final

BPM_RANGE: Final = (30, 300)
TIME_SIGNATURES: Final = ("2", "3", "4", "6")
MOST_REPEATS: Final = 1000
UNKNOWN_LANGUAGE: Final = "unknown"

# The codes that the model's own application accepts (ACESTEP_FACTS.md §3.2).
LANGUAGES: Final = frozenset(
    "ar az bg bn ca cs da de el en es fa fi fr he hi hr ht hu id is it ja ko la lt ms ne nl no pa pl pt ro ru sa sk "
    "sr sv sw ta te th tl tr uk ur vi yue zh unknown".split()
)
_LANGUAGE_NAMES: Final = {
    "arabic": "ar",
    "bengali": "bn",
    "cantonese": "yue",
    "chinese": "zh",
    "mandarin": "zh",
    "czech": "cs",
    "danish": "da",
    "dutch": "nl",
    "english": "en",
    "finnish": "fi",
    "french": "fr",
    "german": "de",
    "deutsch": "de",
    "greek": "el",
    "hebrew": "he",
    "hindi": "hi",
    "hungarian": "hu",
    "indonesian": "id",
    "italian": "it",
    "japanese": "ja",
    "jp": "ja",
    "korean": "ko",
    "kr": "ko",
    "latin": "la",
    "norwegian": "no",
    "nb": "no",
    "persian": "fa",
    "polish": "pl",
    "portuguese": "pt",
    "romanian": "ro",
    "russian": "ru",
    "spanish": "es",
    "swedish": "sv",
    "thai": "th",
    "turkish": "tr",
    "ukrainian": "uk",
    "vietnamese": "vi",
    "cn": "zh",
}

_BLANK: Final = frozenset({"", "n/a", "na", "none", "null", "nan", "unknown", "undefined", "-", "–", "?"})
_NUMBER: Final = re.compile(r"([0-9]{1,9}(?:[.,][0-9]{1,9})?)\s*(?:bpm|x)?", re.IGNORECASE)
_KEY: Final = re.compile(r"([A-Ga-g])[\s_-]*(#|♯|b|♭|sharp|flat)?[\s_-]*(major|maj|minor|min|m)?", re.IGNORECASE)
_METER: Final = re.compile(r"([0-9]{1,2})(?:\.0+)?(?:\s*/\s*(2|4|8|16))?")
_TRUE: Final = frozenset({"true", "yes", "y", "1", "on", "instrumental"})
_FALSE: Final = frozenset({"false", "no", "n", "0", "off", "vocal", "vocals"})
# Marks of language models, such as captioners leave behind: in a prompt they would end the text early.
MODEL_MARK: Final = r"<\|[A-Za-z_]{1,40}\|>"
_LONGEST_MARK: Final = 50
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def is_blank(value: object) -> bool:
    """Whether a sidecar said nothing: null, empty, a lone dash, `N/A` and the like."""
    if value is None:
        return True
    if isinstance(value, float):
        return math.isnan(value)
    if isinstance(value, str):
        return value.strip().casefold() in _BLANK
    return isinstance(value, (list, tuple, dict)) and not value


def clean_text(text: str) -> str:
    """Text that can be stored and shown anywhere: plain newlines, no control characters, no lone surrogates.

    Marks such as `<|endoftext|>` go too: the tokenizer would obey them.
    """
    plain = text.replace("\r\n", "\n").replace("\r", "\n").replace("\u2028", "\n").replace("\ufeff", "")
    return without(MODEL_MARK, _CONTROL.sub("", plain)).encode("utf-8", "replace").decode("utf-8")


def without(mark: str, text: str) -> str:
    """`text` without what the pattern `mark` matches, which ends in `]` or `>` and is no longer than 50 characters.

    Nothing is left that looks like a mark: not even where taking one out makes another of what stood around it.
    Linear, however deep such marks are nested.
    """
    once = re.sub(mark, "", text)
    if len(once) == len(text) or re.search(mark, once) is None:
        return once
    at_end = re.compile(rf"(?:{mark})\Z")
    kept: list[str] = []
    for char in text:
        kept.append(char)
        if char in "]>" and (match := at_end.search("".join(kept[-_LONGEST_MARK:]))):
            del kept[-len(match.group()) :]
    return "".join(kept)


def text(value: object, *, joint: str = ", ") -> str:
    """A string, a number or a list of them as stripped text; lists are joined with `joint`."""
    if isinstance(value, (list, tuple)):
        if any(isinstance(item, (list, tuple)) for item in value):
            raise ValueError("is a list of lists")
        return joint.join(part for part in (text(item) for item in value if not is_blank(item)) if part)
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError("is not text")
    return clean_text(str(value)).strip()


def line(value: object) -> str:
    """Text on one line: inner line breaks and runs of spaces become one space."""
    return " ".join(text(value).split())


def bpm(value: object) -> int:
    """`142`, `"142.4"`, `"142 BPM"` → 142."""
    low, high = BPM_RANGE
    number = _number(value)
    beats = round(number)
    if not low <= beats <= high:
        raise ValueError(f"is outside {low}–{high} beats per minute")
    return beats


def repeats(value: object) -> int:
    """How often a song is visited in an epoch: `3`, `"3"`, `"3x"`."""
    number = _number(value)
    if number != int(number) or not 1 <= number <= MOST_REPEATS:
        raise ValueError(f"is not a whole number from 1 to {MOST_REPEATS}")
    return int(number)


def keyscale(value: object) -> str:
    """`E Minor`, `e minor`, `Em`, `F♯ maj` → `E minor`, `E minor`, `E minor`, `F# major`; a bare note is major."""
    match = _KEY.fullmatch(line(value))
    if match is None:
        raise ValueError("is not a key such as 'E minor' or 'F# major'")
    note, accidental, mode = match.groups()
    sign = {"#": "#", "♯": "#", "sharp": "#", "b": "b", "♭": "b", "flat": "b"}[accidental.lower()] if accidental else ""
    minor = mode is not None and (mode == "m" or mode.lower().startswith("min"))
    return f"{note.upper()}{sign} {'minor' if minor else 'major'}"


def timesignature(value: object) -> str:
    """`4`, `"4/4"`, `"6/8"` → the beats alone, as the model reads them: `4`, `4`, `6`."""
    match = _METER.fullmatch(line(value))
    if match is None or match.group(1) not in TIME_SIGNATURES:
        raise ValueError(f"is not one of {', '.join(TIME_SIGNATURES)} (beats in a bar)")
    return match.group(1)


def language(value: object) -> str:
    """`en`, `EN-us`, `English` → `en`; only codes that the model knows."""
    word = line(value).casefold()
    code = re.split(r"[-_ ]", word, maxsplit=1)[0]
    for candidate in (word, _LANGUAGE_NAMES.get(word, ""), code, _LANGUAGE_NAMES.get(code, "")):
        if candidate in LANGUAGES:
            return candidate
    raise ValueError("is not a language code that the model knows (en, ja, de, …)")


def flag(value: object) -> bool:
    """`true`, `"yes"`, `1` → True."""
    if isinstance(value, bool):
        return value
    word = line(value).casefold()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError("is neither true nor false")


def _number(value: object) -> float:
    """A finite, unsigned number from a number or from text with a decimal point or comma."""
    if isinstance(value, bool):
        raise ValueError("is not a number")
    if isinstance(value, (int, float)):
        if abs(value) > 10**9 or not math.isfinite(value):
            raise ValueError("is not a usable number")
        return float(value)
    match = _NUMBER.fullmatch(line(value))
    if match is None:
        raise ValueError("is not a number")
    return float(match.group(1).replace(",", "."))
