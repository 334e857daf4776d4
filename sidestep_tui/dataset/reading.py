"""What the model reads of each song, and how much of its sound an epoch hears: the texts, counted, and the crops.

The same functions make these texts for the engine (`prompts`), so what is shown here is what is encoded. Lengths
follow from the header: 25 latent frames a second of 48 kHz sound, a rest shorter than a frame left out
(ACESTEP_FACTS.md §3.1).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from sidestep_tui.core import text
from sidestep_tui.core.errors import DataError
from sidestep_tui.dataset import captions, prompts, split
from sidestep_tui.dataset.captions import TagPosition
from sidestep_tui.dataset.manifest import Manifest, Song
from sidestep_tui.dataset.prompts import DurationText, Texts, Tokens

FRAMES_PER_SECOND: Final = 25
_RATE: Final = 48_000
_HOP: Final = _RATE // FRAMES_PER_SECOND
_PATCH: Final = 2
"""Latent frames per model token; crops are whole tokens."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class ReadingSettings:
    """The settings of `data` that decide what is read, under their names there."""

    tag: str = ""
    tag_position: TagPosition = "prepend"
    crop_seconds: float = 60.0
    max_duration: float = 240.0
    duration_text: DurationText = "song"
    repeats: int = 1
    genre_ratio: int = 0
    validation: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """One song as the model meets it. Counts of tokens are None where no tokenizer was there to count."""

    name: str
    described_by: Literal["caption", "genre"]
    """Which words of the song stand under `# Caption`."""
    prompt: str
    """The exact text, after shortening; without a tokenizer nothing is shortened."""
    prompt_tokens: int | None
    """Tokens of it that are read, the closing one included."""
    prompt_tokens_cut: int | None
    """Tokens beyond the room even without a caption: the last lines of the prompt are lost."""
    lyrics_text: str
    """The exact text, `lyrics_left_out` included."""
    lyrics_tokens: int | None
    lyrics_tokens_cut: int | None
    caption_cut: int | None
    """Characters of the caption that are left out."""
    caption_left_out: str
    """These characters, or those of the genre; without a tokenizer empty, as the next."""
    lyrics_left_out: str
    """The end of `lyrics_text` that is not read."""
    frames: int
    """Latent frames of the song."""
    seconds: float
    """Its length as trained."""
    stated_seconds: float
    """Its length as the prompt says it, there in whole seconds."""
    crop_frames: int
    """Latent frames of one visit."""
    crops_per_epoch: int
    coverage: float
    """Share of the song that an epoch is expected to hear, from 0 to 1."""
    visits: float
    """How often an epoch is expected to hear each second of it, on average."""
    problem: str = ""
    """Why the song is not trained on; continues a sentence that begins with its name."""
    held_out: bool = False
    """Whether it is kept out of training to be measured."""


def read(
    manifest: Manifest,
    settings: ReadingSettings,
    tokens: Tokens | None,
    names: Collection[str] | None = None,
    progress: Progress | None = None,
) -> list[Reading]:
    """What the model reads of the songs called `names` (None: of all), in the manifest's order.

    `DataError` for a name that is no song's.
    """
    songs = chosen(replace(manifest, songs=prompts.as_read(manifest.songs, settings.genre_ratio)), names)
    by_caption = {song.name: song.caption for song in manifest.songs}
    held_out = _held_out(manifest, settings.validation)
    readings = []
    for done, song in enumerate(songs):
        if progress is not None:
            progress(done, len(songs))
        reading = _read_song(song, settings, tokens)
        if song.caption != by_caption[song.name]:
            reading = replace(reading, described_by="genre")
        if song.name in held_out:
            reading = replace(reading, crops_per_epoch=0, coverage=0.0, visits=0.0, held_out=True)
        readings.append(reading)
    if progress is not None:
        progress(len(songs), len(songs))
    return readings


def chosen(manifest: Manifest, names: Collection[str] | None) -> list[Song]:
    """The songs called `names` (None or none given: all), in the manifest's order; `DataError` for an unknown name."""
    if not names:
        return list(manifest.songs)
    known = {song.name for song in manifest.songs}
    for name in names:
        if name not in known:
            hint = text.did_you_mean(name, known) or "`sidestep-tui dataset scan DIR` lists the songs by name."
            raise DataError(f"There is no song '{name}' in this folder.", "", hint)
    wanted = set(names)
    return [song for song in manifest.songs if song.name in wanted]


def tokens_of(tokenizer_dir: Path | str | None) -> Tokens | None:
    """The tokenizer of a directory, or None for none."""
    return Tokens(Path(tokenizer_dir)) if tokenizer_dir else None


def latent_frames(song: Song, max_duration: float) -> int:
    """Latent frames of a song by its header: resampled to 48 kHz, cut to `max_duration` seconds, in whole frames."""
    samples = round(song.duration * song.sample_rate)
    resampled = -(-samples * _RATE // song.sample_rate) if song.sample_rate else 0
    return min(resampled, int(max_duration * _RATE)) // _HOP


def crop_frames(seconds: float) -> int:
    """Latent frames of a crop of so many seconds, whole model tokens; 0 for whole songs."""
    return max(round(seconds * FRAMES_PER_SECOND) // _PATCH * _PATCH, _PATCH) if seconds > 0 else 0


@functools.lru_cache(maxsize=4096)
def expected_coverage(frames: int, crop: int, visits: int) -> float:
    """Share of `frames` that `visits` independent random crops of `crop` frames are expected to hear, from 0 to 1.

    A crop may start at each of S = frames - crop + 1 places, so frame i is in one of them with probability
    p(i) = min(i + 1, frames - i, crop, S) / S: the ends of a song are heard less than its middle. After n visits it
    was heard with probability 1 - (1 - p)^n.
    """
    if frames <= 0 or crop <= 0 or visits <= 0:
        return 0.0
    crop = min(crop, frames)
    starts = frames - crop + 1
    top = min(crop, starts)
    missed = 2 * sum((1 - step / starts) ** visits for step in range(1, top))
    missed += (frames - 2 * (top - 1)) * (1 - top / starts) ** visits
    return 1 - missed / frames


def _held_out(manifest: Manifest, percent: int) -> frozenset[str]:
    """Names of the songs that are kept out of training; none where they cannot be parted, which preflight refuses."""
    try:
        return frozenset(split.split(manifest.songs, percent).held_out)
    except DataError:
        return frozenset()


def _read_song(song: Song, settings: ReadingSettings, tokens: Tokens | None) -> Reading:
    stated = prompts.stated_seconds(song.duration, settings.max_duration, settings.crop_seconds, settings.duration_text)
    texts = _texts(song, settings, tokens, stated)
    frames = latent_frames(song, settings.max_duration)
    whole = frames // _PATCH * _PATCH
    wanted = crop_frames(settings.crop_seconds)
    crop = min(wanted, whole) if wanted else whole
    too_short = frames < FRAMES_PER_SECOND
    crops = 0 if too_short else song.repeats * settings.repeats
    prompt_tokens = tokens.count(texts.prompt) if tokens else None
    lyrics_tokens = tokens.count(texts.lyrics) if tokens else None
    return Reading(
        name=song.name,
        described_by="caption",
        prompt=texts.prompt,
        prompt_tokens=_at_most(prompt_tokens, prompts.PROMPT_TOKENS),
        prompt_tokens_cut=_beyond(prompt_tokens, prompts.PROMPT_TOKENS),
        lyrics_text=texts.lyrics,
        lyrics_tokens=_at_most(lyrics_tokens, prompts.LYRIC_TOKENS),
        lyrics_tokens_cut=_beyond(lyrics_tokens, prompts.LYRIC_TOKENS),
        caption_cut=texts.caption_cut if tokens else None,
        caption_left_out=song.caption[len(song.caption) - texts.caption_cut :],
        lyrics_left_out=_not_read(texts.lyrics, tokens) if texts.lyric_tokens_cut else "",
        frames=frames,
        seconds=frames / FRAMES_PER_SECOND,
        stated_seconds=stated,
        crop_frames=crop,
        crops_per_epoch=crops,
        coverage=expected_coverage(frames, crop, crops),
        visits=crops * crop / frames if frames else 0.0,
        problem="is shorter than one second and is left out." if too_short else "",
    )


def _texts(song: Song, settings: ReadingSettings, tokens: Tokens | None, seconds: float) -> Texts:
    """What the engine encodes; whole where nothing can count."""
    if tokens is not None:
        return prompts.texts_for(song, tokens, tag=settings.tag, tag_position=settings.tag_position, seconds=seconds)
    prompt = captions.prompt(song, tag=settings.tag, tag_position=settings.tag_position, seconds=seconds)
    return Texts(prompt, captions.lyrics_text(song))


def _not_read(lyrics: str, tokens: Tokens | None) -> str:
    return lyrics[tokens.reach(lyrics, prompts.LYRIC_TOKENS) :] if tokens is not None else ""


def _at_most(count: int | None, room: int) -> int | None:
    return None if count is None else min(count, room)


def _beyond(count: int | None, room: int) -> int | None:
    return None if count is None else max(0, count - room)
