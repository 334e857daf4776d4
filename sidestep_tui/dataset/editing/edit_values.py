"""The fields of a song as text that a person types, and back: checked, and in the form that a later scan gives.

Pure: songs in, songs and words out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final, get_args

from sidestep_tui.core import text as wording
from sidestep_tui.core.errors import DataError
from sidestep_tui.dataset import lyrics, values
from sidestep_tui.dataset.captions import TagPosition
from sidestep_tui.dataset.editing.fixes_slots import has_word
from sidestep_tui.dataset.layouts import Found
from sidestep_tui.dataset.manifest import Song
from sidestep_tui.dataset.merge import FILE_NAME, NO_LYRICS, SETTING, Merged, merge

FIELDS: Final = (
    "caption",
    "lyrics",
    "bpm",
    "keyscale",
    "timesignature",
    "language",
    "genre",
    "tag",
    "instrumental",
    "repeats",
)
"""What can be edited, in the order in which it is shown."""
EDITED: Final = "edited"
"""Origin of a value that is not saved yet."""
_NO_FILE: Final = frozenset({FILE_NAME, SETTING, NO_LYRICS})
_MOST_LAYERS: Final = 8

_READERS: Final[dict[str, Callable[[str], object]]] = {
    "caption": values.line,
    "lyrics": lambda text: lyrics.clean(values.text(text)),
    "bpm": values.bpm,
    "keyscale": values.keyscale,
    "timesignature": values.timesignature,
    "language": values.language,
    "genre": values.line,
    "tag": values.line,
    "instrumental": values.flag,
    "repeats": values.repeats,
}
ALLOWED: Final = {
    "caption": "Any words on one line.",
    "lyrics": "Any lines of text.",
    "bpm": f"A number from {values.BPM_RANGE[0]} to {values.BPM_RANGE[1]}; empty for unknown.",
    "keyscale": "A key such as E minor or F# major; empty for unknown.",
    "timesignature": f"One of {', '.join(values.TIME_SIGNATURES)} (beats in a bar); empty for unknown.",
    "language": "A code such as en, ja or de; empty for unknown.",
    "genre": "Any words on one line.",
    "tag": "A word; empty for none of the song's own.",
    "instrumental": "yes or no; empty to go by the lyrics.",
    "repeats": f"A whole number from 1 to {values.MOST_REPEATS}.",
}
"""What each field takes, for people."""


def canonical(field: str, value: str) -> str:
    """`value` as a scan would give it back, as text; empty where it says nothing. `DataError` says what is allowed."""
    check_field(field)
    if values.is_blank(value):
        return ""
    for _ in range(_MOST_LAYERS):
        try:
            read = _READERS[field](value)
        except ValueError as error:
            raise DataError(f"{field} '{_short(value)}' {error}.", hint=ALLOWED[field]) from error
        again = as_text(read)
        if again == value or values.is_blank(again):
            return "" if values.is_blank(again) else again
        value = again
    raise DataError(f"This {field} cannot be stored as it is.", "It hides marks within marks.", ALLOWED[field])


def check_field(field: str) -> None:
    """Refuse the name of anything that cannot be edited."""
    if field not in FIELDS:
        hint = wording.did_you_mean(field, FIELDS) or f"There are {wording.listing(FIELDS, most=len(FIELDS))}."
        raise DataError(f"There is no field '{_short(field)}' to edit.", hint=hint)


def as_text(value: object) -> str:
    """A value of `Song` as text that a person would type."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None or value == values.UNKNOWN_LANGUAGE else str(value)


def as_value(field: str, text: str) -> str | int | bool:
    """The value that canonical text stands for."""
    if field == "instrumental":
        return text == "yes"
    return int(text) if field in ("bpm", "repeats") else text


def is_stated(song: Song, field: str) -> bool:
    """Whether a file says it, rather than the file name, a setting, or the lack of lyrics."""
    return field in song.origins and song.origins[field] not in _NO_FILE


def shown(song: Song, field: str) -> str:
    """What the song's files say of a field, as text; empty where they are silent."""
    check_field(field)
    if field in ("instrumental", "repeats") or is_stated(song, field):
        return as_text(getattr(song, field))
    return ""


def is_settled(song: Song, field: str, value: str) -> bool:
    """Whether setting the field to `value` would change nothing; that nothing is sung may still need saying."""
    return value == shown(song, field) and song.origins.get(field) != NO_LYRICS


def with_edits(song: Song, root: Path, edits: Mapping[str, str], language: str) -> Song:
    """The song as it will be once `edits` (canonical text by field) are saved; `language` is the folder's setting."""
    if not edits:
        return song
    known = [
        Found(song.origins[field], {field: getattr(song, field)})
        for field in FIELDS
        if is_stated(song, field) and field not in edits
    ]
    edited = Found(EDITED, {field: as_value(field, text) for field, text in edits.items() if text})
    path = song.audio.relative_to(root).as_posix()
    return with_words(song, merge(path, [edited, *known], wanted="auto", fallback="caption", language=language))


def with_words(song: Song, merged: Merged) -> Song:
    """The song with another description."""
    return replace(
        song,
        caption=merged.caption,
        lyrics=merged.lyrics,
        language=merged.language,
        bpm=merged.bpm,
        keyscale=merged.keyscale,
        timesignature=merged.timesignature,
        genre=merged.genre,
        instrumental=merged.instrumental,
        tag=merged.tag,
        repeats=merged.repeats,
        origins=merged.origins,
    )


def implied(song: Song, field: str, value: str) -> dict[str, str]:
    """What else has to change so that lyrics and the instrumental flag agree afterwards."""
    if field == "lyrics":
        sung = lyrics.has_words(value)
        if sung and song.instrumental:
            return {"instrumental": "no"}
        if lyrics.says_instrumental(value) and not song.instrumental and is_stated(song, "instrumental"):
            return {"instrumental": "yes"}
    if field == "instrumental":
        if value == "yes" and lyrics.has_words(song.lyrics):
            return {"lyrics": lyrics.INSTRUMENTAL}
        if value == "no" and lyrics.says_instrumental(song.lyrics):
            return {"lyrics": ""}
    return {}


def with_tag(caption: str, tag: str, position: TagPosition) -> str:
    """The caption with the trigger tag in its place.

    A tag that stands elsewhere between commas is moved; one within a phrase stays, so that it is never said twice.
    """
    if position not in get_args(TagPosition):
        raise DataError(f"A tag cannot be put '{_short(position)}'.", hint="prepend, append or replace.")
    if position == "replace" or not caption:
        return tag
    parts = [part.strip() for part in caption.split(",")]
    others = [part for part in parts if part.casefold() != tag.casefold()]
    if len(others) == len(parts) and has_word(caption, tag):
        return caption
    at_its_place = parts[0 if position == "prepend" else -1].casefold() == tag.casefold()
    if at_its_place and len(others) == len(parts) - 1:
        # Only the spelling of the tag may change: the spaces around other commas are the writer's own.
        rest = caption[len(parts[0]) :] if position == "prepend" else caption[: len(caption) - len(parts[-1])]
        return tag + rest if position == "prepend" else rest + tag
    if len(others) == len(parts):
        return f"{tag}, {caption}" if position == "prepend" else f"{caption}, {tag}"
    return ", ".join([tag, *others] if position == "prepend" else [*others, tag])


def _short(value: str) -> str:
    flat = " ".join(values.clean_text(value[:200]).split())
    return flat if len(flat) <= 40 else flat[:39] + "…"
