"""Settings of the dataset and how songs become crops."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sidestep_tui.schema.meta import Group, Meta


class DataSettings(Group):
    """Which songs to learn from, and how they are read."""

    path: Annotated[str, Meta("songs", path="dataset")] = ""
    """Folder with the songs (wav, flac, ogg, mp3, opus) and their captions and lyrics beside them."""

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

    cache: Annotated[str, Meta("cache", level="expert", path="directory")] = ""
    """Directory of encoded songs. Empty keeps them in the user cache, shared by all runs; entries are keyed by
    content."""
