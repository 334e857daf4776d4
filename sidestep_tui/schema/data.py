"""Settings of the dataset and how songs become crops."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sidestep_tui.schema.meta import Group, Meta


class DataSettings(Group):
    """Which songs to learn from, and how they are read."""

    path: Annotated[str, Meta("songs", path="dataset", empty_means="choose a folder of songs")] = ""
    """Folder, or a ZIP of one, with the songs (wav, flac, ogg, mp3, opus) and their captions and lyrics beside them."""

    crop_seconds: Annotated[
        float,
        Field(ge=0, le=600),
        Meta("crop", unit="s", step=10, costs=("memory", "time", "quality"), zero_means="whole songs"),
    ] = 60.0
    """Length of the random window that one training example hears. Shorter is faster and needs less memory but hides
    long structure; longer shows verses and drops in context. 0 trains on whole songs, one at a time."""

    max_duration: Annotated[
        float, Field(ge=10, le=600), Meta("longest song", level="advanced", unit="s", step=30, costs=("time", "disk"))
    ] = 240.0
    """Songs are cut after this many seconds before encoding."""

    tag: Annotated[str, Field(max_length=80), Meta("trigger tag", allowed="up to 80 characters")] = ""
    """A word of your own that every caption gets, so that you can call the style by name later. Leave empty for
    none."""

    tag_position: Annotated[Literal["prepend", "append", "replace"], Meta("tag position", level="advanced")] = "prepend"
    """Where the tag goes: before the caption (recommended), after it, or instead of it (which throws captions
    away)."""

    txt_role: Annotated[Literal["auto", "caption", "lyrics"], Meta("name.txt holds", level="advanced")] = "auto"
    """What a plain `name.txt` beside a song holds. `auto` looks at the content: line breaks and [Verse] tags are
    lyrics, a comma list is a caption."""

    language: Annotated[
        str,
        Field(pattern=r"^([a-z]{2,3}|unknown)$"),
        Meta("lyrics language", level="advanced", allowed="a code of two or three letters, or unknown"),
    ] = "unknown"
    """Language code of lyrics that do not name their own (en, ja, de, …); `unknown` suits instrumental music."""

    duration_text: Annotated[
        Literal["song", "crop"], Meta("duration in the prompt", level="expert", costs=("quality",))
    ] = "song"
    """Whether the prompt states the length of the whole song, as in generating one, or of the crop."""

    repeats: Annotated[int, Field(ge=1, le=1000), Meta("repeats", level="advanced", costs=("time",))] = 1
    """How often each song is visited in an epoch, each time with another crop. Raises steps per epoch for small
    sets."""

    loudness: Annotated[Literal["none", "peak", "lufs"], Meta("loudness", level="advanced")] = "none"
    """Whether songs are made equally loud before encoding: `peak` brings the highest sample to −1 dBFS, `lufs` the
    loudness to −14 LUFS as streaming services do, less where peaks would pass −1 dBFS. Mixed sources need it; an album
    mastered as one does not."""

    genre_ratio: Annotated[
        int,
        Field(ge=0, le=100),
        Meta("genre only", level="expert", unit="%", step=10, costs=("quality",)),
    ] = 0
    """Share of the songs that are described by their genre alone, so that the style also answers to short prompts.
    The makers of the model advise 0."""

    variants: Annotated[
        int,
        Field(ge=0, le=8),
        Meta("altered copies", level="advanced", costs=("time", "disk", "quality"), zero_means="none"),
    ] = 0
    """How many altered copies of each song are encoded beside it; each visit hears the song or one of them. Helps
    small sets against learning by heart, at the cost of some sound quality. BPM, key and length in the prompt follow
    the alteration."""

    pitch: Annotated[
        int, Field(ge=0, le=4), Meta("pitch change", level="expert", unit="semitones", zero_means="never")
    ] = 2
    """Altered copies are moved up or down by at most this many semitones."""

    stretch: Annotated[
        float, Field(ge=0, le=20), Meta("tempo change", level="expert", unit="%", step=5, zero_means="never")
    ] = 10.0
    """Altered copies are played slower or faster by at most this many percent, at the same pitch."""

    noise: Annotated[
        float, Field(ge=0, le=80), Meta("added noise", level="expert", unit="dB below", step=10, zero_means="none")
    ] = 0.0
    """White noise in altered copies, this many decibels below the music: 30 is audible, 60 is not."""

    validation: Annotated[
        int, Field(ge=0, le=50), Meta("held out", level="advanced", unit="%", step=5, zero_means="train on all songs")
    ] = 0
    """Share of the songs that are kept out of training and only measured, to see when learning turns into memorising.
    Whole songs are held out, with all their slices, copies and repeats. Needs about ten songs to mean anything."""

    cache: Annotated[str, Meta("cache", level="expert", path="directory", empty_means="the user's cache folder")] = ""
    """Directory of encoded songs. Empty keeps them in the user cache, shared by all runs; entries are keyed by
    content."""
