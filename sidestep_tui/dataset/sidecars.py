"""Reading one sidecar: from text or JSON to named fields, under the names that any tool gives them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Final, Literal

from sidestep_tui.dataset import lyrics, values
from sidestep_tui.dataset.files import UnreadableTextError

TxtRole = Literal["caption", "lyrics"]
TxtSetting = Literal["auto", "caption", "lyrics"]
Fields = dict[str, object]
"""Raw values by our field names; `merge` makes them canonical."""

# Every spelling of a field that a tool writes, best first. Compared without case, spaces, dashes and underscores.
ALIASES: Final[dict[str, tuple[str, ...]]] = {
    "caption": ("caption", "prompt", "description"),
    "lyrics": ("lyrics", "formatted_lyrics", "raw_lyrics"),
    "language": ("language", "vocal_language", "lang"),
    "bpm": ("bpm", "tempo"),
    "keyscale": ("keyscale", "key", "scale", "musical_key"),
    "timesignature": ("timesignature", "signature", "sig", "meter"),
    "genre": ("genre", "genres"),
    "instrumental": ("is_instrumental", "instrumental"),
    "tag": ("custom_tag", "trigger", "trigger_word", "activation_tag"),
    "repeats": ("repeat", "repeats"),
    "tags": ("tags",),
    "prompt_override": ("prompt_override",),
}
# Known to other tools and deliberately not ours: measured from the audio, or of no use to training.
_IGNORED: Final = frozenset({"duration", "filename", "labeled", "id", "audiopath"})
_SLICED: Final = frozenset({"sourcestart", "sourcestartsample"})


def squeeze(name: str) -> str:
    """`Time Signature`, `time_signature` → `timesignature`."""
    return re.sub(r"[\s_\-]+", "", name).casefold()


_SQUEEZED: Final = {name: tuple(squeeze(alias) for alias in aliases) for name, aliases in ALIASES.items()}
_FIELD_OF: Final = {alias: name for name, aliases in _SQUEEZED.items() for alias in aliases}
_KEY_LINE: Final = re.compile(r"\s*([A-Za-z][A-Za-z _\-]{0,30}?)\s*:(?:[ \t]+(.*)|)")


def field_of(name: str) -> str | None:
    """Our name for a key or column of another tool."""
    return _FIELD_OF.get(squeeze(name))


def is_key(name: str) -> bool:
    """Whether a name in front of a value is one that tools write, be it of use to us or not."""
    squeezed = squeeze(name)
    return squeezed in _FIELD_OF or squeezed in _IGNORED


def is_read(name: str) -> bool:
    """Whether `canonical` looks at a key or column of that name."""
    squeezed = squeeze(name)
    return squeezed in _FIELD_OF or squeezed in _SLICED or squeezed == "source"


def canonical(raw: Mapping[str, object]) -> Fields:
    """Fields by our names. Of two spellings of one field the better one that says something wins."""
    by_key = {squeeze(name): value for name, value in raw.items()}
    fields: Fields = {}
    for name, aliases in _SQUEEZED.items():
        spoken = (by_key[alias] for alias in aliases if alias in by_key)
        value = next((value for value in spoken if not values.is_blank(value)), None)
        if value is not None:
            fields[name] = value
    tags = fields.pop("tags", None)
    if "caption" not in fields and tags is not None:
        fields["caption"] = tags
    override = fields.pop("prompt_override", None)
    if isinstance(override, str) and override.strip().casefold() == "genre" and "genre" in fields:
        fields["caption"] = fields["genre"]
    # Other tools call many things a source; where a slice was cut is written together with its start.
    if not _SLICED.isdisjoint(by_key) and not values.is_blank(by_key.get("source")):
        fields["source"] = by_key["source"]
    return fields


def load_json(text: str) -> object:
    """A JSON text as plain values; `UnreadableTextError` where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        where = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        raise UnreadableTextError(f"is not valid JSON{where}") from error


def parse_json(text: str) -> Fields:
    """The fields of a JSON sidecar; `UnreadableTextError` where it is no JSON object."""
    value = load_json(text)
    if not isinstance(value, dict):
        raise UnreadableTextError("does not hold a JSON object with fields such as caption and bpm")
    return canonical(value)


def is_key_value(text: str) -> bool:
    """Whether a text sidecar is made of `key: value` lines: its first line names a field that we know."""
    first = next((line for line in text.split("\n") if line.strip()), "")
    match = _KEY_LINE.fullmatch(first)
    return match is not None and is_key(match.group(1))


def key_value_spans(text: str) -> dict[str, tuple[int, int]]:
    """Where the value of each `key: value` line stands, by squeezed key; continued values reach to their last line.

    `lyrics:` comes last and takes everything after it. A line that is no `key: value` with a key that tools write
    continues the value before it. Where a slice was cut is such a key only in the text of a slice.
    """
    keys = [(match, squeeze(match.group(1))) if match else (None, "") for match in _key_lines(text)]
    is_slice = any(key in _SLICED for _, key in keys)
    spans: dict[str, tuple[int, int]] = {}
    current, at = "", 0
    for line, (match, key) in zip(text.split("\n"), keys, strict=True):
        if match and (is_key(key) or (is_slice and is_read(key))):
            current = key
            start = at + (match.start(2) if match.group(2) is not None else len(line))
            spans[key] = (start, at + len(line))
            if field_of(key) == "lyrics":
                spans[key] = (start, len(text))
                break
        elif current and line.strip():
            spans[current] = (spans[current][0], at + len(line))
        at += len(line) + 1
    return spans


def _key_lines(text: str) -> Iterator[re.Match[str] | None]:
    for line in text.split("\n"):
        yield _KEY_LINE.fullmatch(line)


def parse_key_value(text: str) -> Fields:
    """The fields of a `key: value` sidecar; all but the lyrics on one line."""
    raw: dict[str, str] = {}
    for key, (start, end) in key_value_spans(text).items():
        value = text[start:end]
        parts = [part.strip() for part in value.split("\n")]
        raw[key] = value if field_of(key) == "lyrics" else " ".join(filter(None, parts))
    return canonical(raw)


def txt_role(text: str) -> TxtRole | None:
    """Whether a plain text looks like a caption or like lyrics; None when it could be either.

    Structure tags, timestamps and many short lines are lyrics; one line, or lines full of commas or prose, a caption.
    """
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if not lines:
        return None
    if lyrics.has_timestamps(text) or lyrics.says_instrumental(text) or any(map(lyrics.is_section_tag, lines)):
        return "lyrics"
    if len(lines) == 1:
        return "caption"
    mean_length = sum(map(len, lines)) / len(lines)
    mean_commas = sum(line.count(",") for line in lines) / len(lines)
    if mean_commas >= 2 or mean_length > 90:
        return "caption"
    return "lyrics" if len(lines) >= 4 else None
