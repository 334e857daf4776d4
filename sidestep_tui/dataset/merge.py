"""From all that was found about a song to one description: the first usable value of each field, and its origin."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Literal

from sidestep_tui.dataset import lyrics, sidecars, values
from sidestep_tui.dataset.layouts import Found

FolderRole = Literal["caption", "lyrics", "mixed", "none"]
FILE_NAME: Final = "file name"
SETTING: Final = "setting"
NO_LYRICS: Final = "no lyrics found"


def _lyrics(value: object) -> str:
    return lyrics.clean(values.text(value, joint="\n"))


_READERS: Final[dict[str, Callable[[object], object]]] = {
    "caption": values.line,
    "lyrics": _lyrics,
    "language": values.language,
    "bpm": values.bpm,
    "keyscale": values.keyscale,
    "timesignature": values.timesignature,
    "genre": values.line,
    "instrumental": values.flag,
    "tag": values.line,
    "repeats": values.repeats,
    "source": values.line,
}
# Fields whose sources are measured by different tools, so that a disagreement is worth a sentence.
_COMPARED: Final = ("bpm", "keyscale", "timesignature", "language")


@dataclass(slots=True)
class Merged:
    """A song's description with canonical values."""

    caption: str = ""
    lyrics: str = ""
    language: str = values.UNKNOWN_LANGUAGE
    bpm: int | None = None
    keyscale: str = ""
    timesignature: str = ""
    genre: str = ""
    instrumental: bool = False
    tag: str = ""
    repeats: int = 1
    source: str = ""
    origins: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def decide_roles(songs: Iterable[list[Found]], wanted: sidecars.TxtSetting) -> tuple[sidecars.TxtRole, FolderRole]:
    """What an undecided `name.txt` holds in this folder, and the role to show for the folder as a whole.

    `wanted` is the setting; on `auto` the files that are clear vote for those that are not (a caption when even).
    """
    plain = [found.plain for song in songs for found in song if found.plain]
    if wanted != "auto":
        return wanted, wanted if plain else "none"
    votes = [role for role in map(sidecars.txt_role, plain) if role is not None]
    fallback: sidecars.TxtRole = "lyrics" if votes.count("lyrics") > votes.count("caption") else "caption"
    if not plain:
        return fallback, "none"
    seen = set(votes) or {fallback}
    return fallback, "mixed" if len(seen) > 1 else seen.pop()


def merge(
    song: str, found: list[Found], *, wanted: sidecars.TxtSetting, fallback: sidecars.TxtRole, language: str
) -> Merged:
    """Combine what was found about `song` (its posix path), best first; name what could not be used.

    `wanted` and `fallback` decide about a plain `name.txt` as in `decide_roles`; `language` is that of lyrics which do
    not name their own.
    """
    merged = Merged(language=language)
    chosen: dict[str, object] = {}
    for source in [with_role(item, found, wanted, fallback) for item in found]:
        for name, raw in source.fields.items():
            _take(name, raw, source.origin, chosen, merged)
    for name, value in chosen.items():
        setattr(merged, name, value)
    if "language" not in chosen and language != values.UNKNOWN_LANGUAGE:
        merged.origins["language"] = SETTING
    if not merged.caption:
        merged.caption = words_of(song)
        merged.origins["caption"] = FILE_NAME
    _settle_vocals(song, merged)
    return merged


def words_of(song: str) -> str:
    """A file name as words: `01_Night-Drive (final).wav` → `01 Night Drive (final)`."""
    stem = song.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    return " ".join(re.sub(r"[_\-.+]+", " ", values.clean_text(stem)).split()) or "untitled"


def with_role(item: Found, found: list[Found], wanted: sidecars.TxtSetting, fallback: sidecars.TxtRole) -> Found:
    """`item` with its plain text, if any, under the field that it holds."""
    if not item.plain:
        return item
    role: sidecars.TxtRole
    if wanted != "auto":
        role = wanted
    else:
        role = sidecars.txt_role(item.plain) or _by_company(found) or fallback
    return Found(item.origin, {role: item.plain, **item.fields})


def _by_company(found: list[Found]) -> sidecars.TxtRole | None:
    """What an unclear `name.txt` must be, given what other files of the song already hold."""
    held = {name for item in found for name, value in item.fields.items() if not values.is_blank(value)}
    if "caption" in held and "lyrics" not in held:
        return "lyrics"
    return "caption" if "lyrics" in held and "caption" not in held else None


def _take(name: str, raw: object, origin: str, chosen: dict[str, object], merged: Merged) -> None:
    """Use a value if its field is still open; say so if it is unusable or contradicts the one in use."""
    if values.is_blank(raw):
        return
    try:
        value = _READERS[name](raw)
    except ValueError as error:
        merged.warnings.append(f"{origin}: {name} '{_shown(raw)}' {error}; it was not used.")
        return
    if isinstance(value, str) and values.is_blank(value):
        return
    if name not in chosen:
        chosen[name] = value
        merged.origins[name] = origin
    elif name in _COMPARED and chosen[name] != value:
        first = merged.origins[name]
        merged.warnings.append(f"{origin}: {name} {value} contradicts {chosen[name]} in {first}, which is used.")


def _settle_vocals(song: str, merged: Merged) -> None:
    """Make lyrics and the instrumental flag agree: nothing sung reads `[Instrumental]`, in no language."""
    sung = lyrics.has_words(merged.lyrics)
    stated = "instrumental" in merged.origins
    if stated and merged.instrumental and sung:
        source = merged.origins["lyrics"]
        merged.warnings.append(
            f"{song}: {merged.origins['instrumental']} says instrumental; lyrics of {source} unused."
        )
        merged.lyrics = ""
    elif stated and not merged.instrumental and not sung:
        merged.warnings.append(
            f"{song}: {merged.origins['instrumental']} says there are vocals, but no lyrics were found."
        )
        return
    elif not stated:
        merged.instrumental = not sung
        if not sung:
            merged.origins["instrumental"] = merged.origins.get("lyrics", NO_LYRICS)
    if merged.instrumental:
        if not merged.lyrics or lyrics.says_instrumental(merged.lyrics):
            merged.origins["lyrics"] = merged.origins["instrumental"]
            merged.lyrics = lyrics.INSTRUMENTAL
        merged.language = values.UNKNOWN_LANGUAGE
        merged.origins.pop("language", None)


def _shown(raw: object) -> str:
    """A raw value short enough for a sentence."""
    if isinstance(raw, (list, tuple, dict)):
        return "a list" if isinstance(raw, (list, tuple)) else "an object"
    flat = " ".join(values.clean_text(str(raw)[:200]).split())
    return flat if len(flat) <= 40 else flat[:39] + "…"
