"""`dataset read`: the exact texts that the model reads of each song, and how much of its sound an epoch hears."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import Final

import click

from sidestep_tui.cli import options, quiet, render
from sidestep_tui.core import text
from sidestep_tui.dataset import manifest as manifests
from sidestep_tui.dataset import prompts, reading
from sidestep_tui.dataset.reading import Reading, ReadingSettings
from sidestep_tui.launch import models
from sidestep_tui.schema import layers, presets
from sidestep_tui.schema.data import DataSettings
from sidestep_tui.schema.settings import Settings

_NAME_WIDTH: Final = 36
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@click.command("read")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("songs", metavar="[SONG]...", nargs=-1)
@click.option("--model", metavar="DIR", help="The checkpoint whose tokenizer counts (model.path).")
@click.option("--preset", metavar="PRESET", help="Take the settings of this preset or run.toml.")
@options.set_option
@options.json_option
def read_songs(
    directory: Path,
    songs: tuple[str, ...],
    model: str | None,
    preset: str | None,
    assignments: tuple[str, ...],
    as_json: bool,
) -> None:
    """Show what the model reads of the songs in DIR: a table of all, or the whole text of each SONG that is named.

    The text is what the engine encodes, letter by letter. Tokens are counted by the checkpoint's own tokenizer, so
    they need one: without --model (or model.path in the preset) nothing is counted and nothing is shortened.
    """
    settings = _settings(model, preset, assignments)
    data = settings.data
    tokens = reading.tokens_of(_tokenizer(settings))
    with quiet.native_stderr():
        found = manifests.scan(directory, data.txt_role, data.language)
    readings = reading.read(found, _wanted(data), tokens, songs)
    if as_json:
        render.data_json({"root": str(found.root), "counted": tokens is not None, "songs": list(map(asdict, readings))})
        return
    if songs:
        for item in readings:
            _show(item)
    else:
        for line in _table(readings):
            render.data(line)
    for sentence in _remarks(readings):
        render.say(sentence)


def _settings(model: str | None, preset: str | None, assignments: tuple[str, ...]) -> Settings:
    typed = {"model.path": model} if model is not None else {}
    stack = presets.find(preset).layers() if preset is not None else []
    return layers.resolve([*stack, layers.command_line(assignments, typed)]).settings


def _tokenizer(settings: Settings) -> Path | None:
    chosen = settings.model
    return models.tokenizer_dir(chosen.path, chosen.variant, chosen.components) if chosen.path else None


def _wanted(data: DataSettings) -> ReadingSettings:
    return ReadingSettings(
        tag=data.tag,
        tag_position=data.tag_position,
        crop_seconds=data.crop_seconds,
        max_duration=data.max_duration,
        duration_text=data.duration_text,
        repeats=data.repeats,
        genre_ratio=data.genre_ratio,
        validation=data.validation,
    )


def _table(readings: list[Reading]) -> list[str]:
    rows = [
        [
            _short(item.name),
            _tokens(item.prompt_tokens),
            _tokens(item.lyrics_tokens),
            text.duration(item.seconds),
            text.thousands(item.frames),
            text.thousands(item.crop_frames),
            "held out" if item.held_out else str(item.crops_per_epoch),
            f"{item.coverage:.0%}",
            ", ".join(filter(None, ("by genre" if item.described_by == "genre" else "", _cuts(item)))),
        ]
        for item in readings
    ]
    headers = ("SONG", "PROMPT", "LYRICS", "LENGTH", "FRAMES", "CROP", "CROPS", "HEARD", "")
    return render.table(rows, headers, right=range(1, 8))


def _show(item: Reading) -> None:
    """One song whole: each text between rulers that say how long it is."""
    render.data(_ruler(f"{_plain(item.name)}: prompt, {_count(item.prompt_tokens, prompts.PROMPT_TOKENS)}"))
    render.data(_plain(item.prompt.removesuffix("\n")))
    render.data(_ruler(f"lyrics, {_count(item.lyrics_tokens, prompts.LYRIC_TOKENS)}"))
    render.data(_plain(item.lyrics_text.removesuffix(item.lyrics_left_out)))
    for what, words in (("lyrics", item.lyrics_left_out), ("caption", item.caption_left_out)):
        if words:
            render.data(_ruler(f"left out of the {what}"))
            render.data(_plain(words.strip()))
    render.data(_ruler("sound"))
    frames, crop = text.thousands(item.frames), text.thousands(item.crop_frames)
    if item.described_by == "genre":
        render.data("Described by its genre instead of its caption.")
    stated = f"{frames} latent frames ({text.duration(item.seconds)}), stated as {int(item.stated_seconds)} s."
    if item.held_out:
        render.data(f"{stated} Held out: it is measured, not trained on.")
    else:
        render.data(
            f"{stated} An epoch hears {text.plural(item.crops_per_epoch, 'crop')} of {crop} frames: "
            f"{item.coverage:.0%} of the song, each second {item.visits:.2f} times on average."
        )
    if cuts := _cuts(item):
        render.data(f"Left out: {cuts}.")
    render.data("")


def _ruler(label: str) -> str:
    return click.style(f"── {label} ".ljust(72, "─"), bold=True)


def _tokens(count: int | None) -> str:
    return "–" if count is None else text.thousands(count)


def _count(count: int | None, room: int) -> str:
    return "tokens not counted" if count is None else f"{text.thousands(count)} of {text.thousands(room)} tokens"


def _cuts(item: Reading) -> str:
    """What the model does not get of this song."""
    parts = []
    if item.caption_cut:
        parts.append(f"last {text.plural(item.caption_cut, 'character')} of the caption")
    if item.prompt_tokens_cut:
        parts.append(f"last {text.plural(item.prompt_tokens_cut, 'token')} of the prompt")
    if item.lyrics_tokens_cut:
        parts.append(f"last {text.plural(item.lyrics_tokens_cut, 'token')} of the lyrics")
    if item.problem:
        parts.append(f"the song, which {item.problem.removesuffix('.')}")
    return ", ".join(parts)


def _remarks(readings: list[Reading]) -> list[str]:
    crops = sum(item.crops_per_epoch for item in readings)
    cut = sum(bool(_cuts(item)) for item in readings)
    remarks = [f"{text.plural(len(readings), 'song')}, {text.plural(crops, 'crop')} in an epoch."]
    if cut:
        remarks.append(f"{text.plural(cut, 'song')} with something left out.")
    if readings and readings[0].prompt_tokens is None:
        remarks.append(
            "Tokens are not counted, and nothing is shortened: --model DIR names a checkpoint to count with."
        )
    return remarks


def _plain(words: str) -> str:
    """Names and texts may hold anything; a terminal must not obey them."""
    return _CONTROL.sub("?", words)


def _short(name: str) -> str:
    name = _plain(name)
    return name if len(name) <= _NAME_WIDTH else f"…{name[len(name) - _NAME_WIDTH + 1 :]}"
