"""Reading captions, lyrics and metadata with the model's eyes. Pure: it takes what the scan has found."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sidestep_tui.core import text as wording
from sidestep_tui.dataset import captions, lyrics, prompts, sidecars, values
from sidestep_tui.dataset.captions import TagPosition
from sidestep_tui.dataset.editing import fixes
from sidestep_tui.dataset.editing.fixes_slots import has_word
from sidestep_tui.dataset.health.doctor_findings import Finding, Fix
from sidestep_tui.dataset.layouts import Found
from sidestep_tui.dataset.manifest import Manifest, Song
from sidestep_tui.dataset.merge import FILE_NAME, NO_LYRICS
from sidestep_tui.dataset.prompts import LYRIC_TOKENS, PROMPT_TOKENS, Tokens

CAPTION_TOKENS: Final = 190
"""Of the prompt's 256 tokens the rest is instruction and metadata (ACESTEP_FACTS.md §3.3)."""
_LYRICS_FRAME: Final = 16
_LONGEST: Final = 240.0
"""Seconds of a song that are trained on by default; the prompt states as many, and longer ones take no more tokens."""
_MOSTLY: Final = 0.6
_LEAST_ELEMENTS: Final = 2
_MANY_SONGS: Final = 50
_MUCH_AUDIO: Final = 3600.0
_LEAST_SONGS: Final = 3

_CHECKED: Final[dict[str, tuple[str, Callable[[object], object]]]] = {
    "bpm": ("bad_bpm", values.bpm),
    "keyscale": ("bad_key", values.keyscale),
    "timesignature": ("bad_time_signature", values.timesignature),
    "language": ("bad_language", values.language),
    "instrumental": ("bad_value", values.flag),
    "repeats": ("bad_value", values.repeats),
}
_SPELLED: Final = {"bpm": "bpm_spelling", "keyscale": "key_spelling", "timesignature": "time_signature_spelling"}
_NAMES: Final = {"keyscale": "key", "timesignature": "time signature", "bpm": "BPM"}
_TEXTS: Final = ("caption", "lyrics", "genre", "tag")
_PIECE: Final = re.compile(r"[A-Za-z]+|\d|[^\W\d_]|[^\w\s]|_")
_BPM_WORD: Final = re.compile(r"\b\d{2,3}(?:[.,]\d+)?\s*bpm\b", re.IGNORECASE)
_KEY_WORD: Final = re.compile(
    r"(?<!\w)[A-G](?:#|b|♯|♭|[ -]?sharp|[ -]?flat)?[ -]?(?:major|minor|maj|min)\b", re.IGNORECASE
)
_QUALITY: Final = re.compile(
    r"\b(?:quality|mix|master(?:ed|ing)?|studio|clean|professional|production)\b", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Described:
    """A song with all that its sidecars say, unmerged."""

    song: Song
    path: str
    """Posix path of the audio from the root."""
    sources: tuple[Found, ...]


@dataclass(frozen=True, slots=True)
class Reader:
    """How the model comes to read a description: the tag put into captions, and who counts tokens."""

    tag: str = ""
    tag_position: TagPosition = "prepend"
    tokens: Tokens | None = None
    """None estimates."""


def reader(tag: str, tag_position: TagPosition, tokenizer: str) -> Reader:
    """A reader with the tokenizer of a directory, or none; `ModelError` where it cannot be read."""
    return Reader(tag, tag_position, Tokens(Path(tokenizer)) if tokenizer else None)


def about_tokens(text: str) -> int:
    """About how many tokens a text takes: six letters, one digit, sign or letter of another script each."""
    return sum(-(-len(piece) // 6) for piece in _PIECE.findall(text))


def song_findings(described: Described, model: Reader) -> Iterator[Finding]:
    """What concerns one song alone."""
    yield from _missing(described.song)
    yield from _estimated(described.song, model) if model.tokens is None else _counted(described.song, model)
    for source in described.sources:
        for name, raw in _fields(source, described.song).items():
            yield from _value(described, source.origin, name, raw)


def _fields(source: Found, song: Song) -> sidecars.Fields:
    """The fields of a source; a plain text under the role that it has."""
    if not source.plain:
        return source.fields
    role = next((name for name in ("caption", "lyrics") if song.origins.get(name) == source.origin), None)
    return {role or sidecars.txt_role(source.plain) or "caption": source.plain, **source.fields}


def _missing(song: Song) -> Iterator[Finding]:
    if song.origins.get("caption") == FILE_NAME:
        yield Finding("missing_caption", song.name, "has no caption.")
    if song.instrumental:
        if song.origins.get("lyrics", NO_LYRICS) == NO_LYRICS:
            yield Finding("missing_lyrics", song.name, "has no lyrics and does not say that it is instrumental.")
    elif not lyrics.has_words(song.lyrics):
        yield Finding("vocals_without_lyrics", song.name, "says that there are vocals, but has no lyrics.")
    elif song.language == values.UNKNOWN_LANGUAGE:
        yield Finding("missing_language", song.name, "has lyrics that name no language.")
    if song.bpm is None:
        yield Finding("missing_bpm", song.name, "has no BPM.")
    if not song.keyscale:
        yield Finding("missing_key", song.name, "has no key.")


def _estimated(song: Song, model: Reader) -> Iterator[Finding]:
    count = about_tokens(captions.tagged(song.caption, song.tag or model.tag, model.tag_position))
    if count > CAPTION_TOKENS:
        sentence = f"has a caption of about {count} tokens; about {CAPTION_TOKENS} fit (estimated)."
        yield Finding("long_caption", song.name, sentence)
    count = about_tokens(song.lyrics)
    if count > LYRIC_TOKENS - _LYRICS_FRAME:
        sentence = f"has lyrics of about {count:,} tokens; {LYRIC_TOKENS:,} fit (estimated)."
        yield Finding("long_lyrics", song.name, sentence)


def _counted(song: Song, model: Reader) -> Iterator[Finding]:
    """With the model's own tokenizer, on the very texts that are encoded."""
    tokens, seconds = model.tokens, min(song.duration, _LONGEST)
    assert tokens is not None
    prompt = captions.prompt(song, tag=model.tag, tag_position=model.tag_position, seconds=seconds)
    texts = prompts.texts_for(song, tokens, tag=model.tag, tag_position=model.tag_position, seconds=seconds)
    if prompt != texts.prompt:
        sentence = (
            f"has a prompt of {tokens.count(prompt)} tokens; {PROMPT_TOKENS} fit,"
            f" so the last {wording.plural(texts.caption_cut, 'character')} of its caption are not read."
        )
        yield Finding("long_caption", song.name, sentence)
    if tokens.count(texts.prompt) > PROMPT_TOKENS:
        sentence = f"has a tag so long that BPM and key fall off the prompt's {PROMPT_TOKENS} tokens."
        yield Finding("long_caption", song.name, sentence)
    if texts.lyric_tokens_cut:
        count = LYRIC_TOKENS + texts.lyric_tokens_cut
        sentence = f"has lyrics of {count:,} tokens; the last {texts.lyric_tokens_cut:,} are not read."
        yield Finding("long_lyrics", song.name, sentence)


def _value(described: Described, origin: str, name: str, raw: object) -> Iterator[Finding]:
    """Malformed, misspelt or garbled values of one source."""
    song = described.song.name

    def fix(code: str) -> Fix:
        return Fix(code, origin, described.path, name)

    if values.is_blank(raw):
        return
    if name in _CHECKED:
        code, reader = _CHECKED[name]
        label = _NAMES.get(name, name)
        try:
            reader(raw)
        except ValueError as error:
            yield Finding(code, song, f"{label} {_quoted(raw)} {error} ({origin}).")
            return
        code = _SPELLED.get(name, "")
        if code and isinstance(raw, str):
            better = fixes.transform(code, raw)
            if better != raw:
                yield Finding(
                    code, song, f"{label} {_quoted(raw)} would better be {_quoted(better)} ({origin}).", fix(code)
                )
    elif name in _TEXTS and isinstance(raw, str):
        repaired = fixes.repair_mojibake(raw)
        if repaired != raw:
            sample = _difference(raw, repaired)
            yield Finding("mojibake", song, f"{name} is garbled: {sample} ({origin}).", fix("mojibake"))
        # Time stamps are what an .lrc file is for.
        if name == "lyrics" and lyrics.has_timestamps(raw) and not origin.lower().endswith(".lrc"):
            stamps = fix("lrc_stamps") if fixes.remove_stamps(raw) != raw else None
            yield Finding("lrc_stamps", song, f"has time stamps in its lyrics ({origin}).", stamps)


def folder_findings(
    songs: Sequence[Described], manifest: Manifest, tag: str, *, tag_is_added: bool = False
) -> Iterator[Finding]:
    """What shows only when songs are compared; `tag_is_added` where training puts the tag into every caption."""
    own = [item for item in songs if item.song.origins.get("caption") != FILE_NAME]
    yield from _same_captions(own)
    for finding in _tags(own, tag):
        if not (tag_is_added and tag and finding.code == "tag_missing"):
            yield finding
    yield from _style(own)
    yield from _sidecar_trouble(manifest, songs)
    yield from _amount(manifest)


def _same_captions(songs: Iterable[Described]) -> Iterator[Finding]:
    groups: dict[str, list[str]] = defaultdict(list)
    for item in songs:
        groups[" ".join(item.song.caption.casefold().split())].append(item.song.name)
    for names in groups.values():
        if len(names) > 1:
            yield Finding("same_caption", names[0], f"has the same caption as {wording.listing(names[1:], most=3)}.")


def _tags(songs: Sequence[Described], tag: str) -> Iterator[Finding]:
    own = Counter(item.song.tag for item in songs if item.song.tag)
    if not tag and own:
        tag = own.most_common(1)[0][0]
    if tag:
        for item in songs:
            yield from _tag(item, tag)
        return
    begin, share = _common_beginning(songs)
    if not begin or share == 1:
        return
    is_trigger = _looks_made_up(begin)
    for item in songs:
        if is_trigger:
            yield from _tag(item, begin)
        elif not item.song.caption.casefold().startswith(begin.casefold()):
            yield Finding("anchor_missing", item.song.name, f"does not begin with {begin!r} like most captions here.")


def _tag(item: Described, tag: str) -> Iterator[Finding]:
    song = item.song
    if song.tag:
        if song.tag != tag:
            yield Finding("tag_inconsistent", song.name, f"has the tag {_quoted(song.tag)}, not {_quoted(tag)}.")
    elif not has_word(song.caption, tag):
        fix = Fix("tag_missing", song.origins.get("caption", ""), item.path, "caption", tag)
        yield Finding("tag_missing", song.name, f"does not have the tag {_quoted(tag)} in its caption.", fix)
    elif tag not in song.caption:
        yield Finding("tag_inconsistent", song.name, f"spells the tag {_quoted(tag)} in other letters.")
    elif not song.caption.startswith(tag):
        yield Finding("tag_position", song.name, f"has the tag {_quoted(tag)}, but not in front.")


def _common_beginning(songs: Sequence[Described]) -> tuple[str, float]:
    """The words before the first comma, or a made-up first word, that most captions begin with; and their share."""
    if len(songs) < _LEAST_SONGS:
        return "", 0.0
    for pieces in (
        [item.song.caption.split(",")[0].strip() for item in songs if "," in item.song.caption],
        [word for item in songs if _looks_made_up(word := re.split(r"[\s,]", item.song.caption, maxsplit=1)[0])],
    ):
        if not pieces:
            continue
        begin, _ = Counter(pieces).most_common(1)[0]
        count = sum(item.song.caption.casefold().startswith(begin.casefold()) for item in songs)
        if begin and count >= _LEAST_SONGS and count / len(songs) >= _MOSTLY:
            return begin, count / len(songs)
    return "", 0.0


def _looks_made_up(word: str) -> bool:
    """Whether a word is a trigger rather than language: `ZX_MyArtist`, `sks01`; not `psytrance track` or `90s`."""
    if " " in word or not word or word[0].isdigit():
        return False
    return "_" in word or any(char.isdigit() for char in word) or bool(re.search(r"[a-z][A-Z]", word))


def _style(songs: Sequence[Described]) -> Iterator[Finding]:
    """The psytrance guide's plan: a common beginning, BPM and key, elements of the song, words on quality at the end.

    Where most captions name both BPM and key, those that lack what most have are named; elsewhere the plan is
    mentioned once.
    """
    texts = [item.song.caption for item in songs]
    if not texts:
        return
    complete = sum(bool(_BPM_WORD.search(text) and _KEY_WORD.search(text)) for text in texts)
    with_elements = sum(_elements(text) >= _LEAST_ELEMENTS for text in texts)
    with_quality = sum(map(_ends_in_quality, texts))
    most = _MOSTLY * len(texts)
    if len(texts) < _LEAST_SONGS or complete < most:
        alike = Counter(text.split(",")[0].strip().casefold() for text in texts).most_common(1)[0][1]
        sentence = (
            f"Of {wording.plural(len(texts), 'caption')} {alike if alike > 1 else 0} begin alike, {complete} name BPM"
            f" and key, {with_elements} list elements, {with_quality} end in words on quality."
        )
        if min(alike, complete, with_elements, with_quality) < len(texts):
            yield Finding("caption_plan", "", sentence)
        return
    for item in songs:
        caption = item.song.caption
        lacks = [name for name, found in (("BPM", _BPM_WORD), ("key", _KEY_WORD)) if not found.search(caption)]
        if with_elements >= most and _elements(caption) < _LEAST_ELEMENTS:
            lacks.append("elements of the song")
        if with_quality >= most and not _ends_in_quality(caption):
            lacks.append("words on quality at the end")
        if lacks:
            yield Finding("caption_style", item.song.name, f"has a caption without {wording.listing(lacks)}.")


def _elements(caption: str) -> int:
    """How many things a caption lists between its beginning and its end, BPM, key and quality aside."""
    said = caption.split(",")[1:]
    return sum(not any(known.search(piece) for known in (_BPM_WORD, _KEY_WORD, _QUALITY)) for piece in said)


def _ends_in_quality(caption: str) -> bool:
    return _QUALITY.search(caption.rsplit(",", 1)[-1]) is not None


def _sidecar_trouble(manifest: Manifest, songs: Sequence[Described]) -> Iterator[Finding]:
    """Warnings of the scan, but for those on values, which are reported by song."""
    said = {f"{source.origin}: {name} '" for item in songs for source in item.sources for name in _CHECKED}
    for warning in manifest.warnings:
        start = warning.split("'", 1)[0] + "'"
        if start not in said:
            yield Finding("sidecar", "", warning)


def _amount(manifest: Manifest) -> Iterator[Finding]:
    """Too few songs and too little audio, by the words of each guide: they contradict each other, so none forbids."""
    count = len(manifest.songs)
    if not count:
        left_out = len(manifest.skipped)
        files = f"{wording.plural(left_out, 'file')} left out" if left_out else "there is no audio file"
        yield Finding("no_songs", "", f"No song can be used: {files}.")
        return
    if count < _MANY_SONGS:
        yield Finding(
            "few_songs",
            "",
            f"{wording.plural(count, 'song')}. 5 to 10 good ones beat 50 mixed ones (Turbo Trainer guide); ACE-Step's"
            " own tutorial takes 13; the ace-lora-trainer guide has epochs for 1 to 50 and more; the Custom Models"
            " guide wants at least 50, better 200, never fewer than 20.",
        )
    if manifest.seconds < _MUCH_AUDIO:
        yield Finding(
            "little_audio",
            "",
            f"{wording.duration(manifest.seconds)} of audio. 5 to 10 songs of 2 to 4 minutes do (Turbo Trainer guide);"
            " the psytrance guide's steps mean about 3 hours in slices of 30 s; the Custom Models guide wants at"
            " least 1 hour, better 5.",
        )


def _quoted(raw: object) -> str:
    flat = " ".join(values.clean_text(str(raw)[:200]).split())
    return f"'{flat if len(flat) <= 40 else flat[:39] + '…'}'"


def _difference(before: str, after: str) -> str:
    """The first word that was repaired, before and after."""
    for old, new in zip(before.split(), after.split(), strict=False):
        if old != new:
            return f"{_quoted(old)} should be {_quoted(new)}"
    return "letters of another encoding"
