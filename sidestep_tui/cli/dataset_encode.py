"""`dataset encode`: the songs as the model wants them, made before a run needs them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from sidestep_tui.cli import options, render
from sidestep_tui.core import text
from sidestep_tui.core.errors import ExitCode, SettingsError
from sidestep_tui.launch import encode as encoder
from sidestep_tui.launch import models
from sidestep_tui.launch import plan as plans
from sidestep_tui.launch.encode import Said
from sidestep_tui.schema import layers, rules
from sidestep_tui.schema.settings import Settings

_PHASES: Final = {
    "planning": "Looking at songs",
    "encoding_audio": "Encoding audio",
    "encoding_text": "Encoding words",
    "encoding_conditions": "Encoding conditions",
}
_LINES_PER_PHASE: Final = 10


@click.command("encode")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--model", metavar="DIR", help="The ACE-Step 1.5 checkpoint (model.path).")
@click.option("--preset", metavar="NAME", help="Take the settings of this preset, TOML file or run.")
@options.set_option
@click.option("--plan", "wants_plan", is_flag=True, help="Say what would be encoded and why; load no model.")
@options.json_option
def encode_songs(
    directory: Path,
    model: str | None,
    preset: str | None,
    assignments: tuple[str, ...],
    wants_plan: bool,
    as_json: bool,
) -> int:
    """Encode the songs of DIR into the cache, so that a run with the same settings starts at once.

    Only what is missing is encoded: an edited caption costs its words alone, another model its conditions. It can be
    stopped at any time and continues the next time. Settings of `data` and `model` count, and `memory.device` and
    `memory.precision`.
    """
    settings = _settings(directory, model, preset, assignments)
    say = _progress()
    try:
        if wants_plan:
            result = encoder.plan(settings, say)
        else:
            result = encoder.encode(settings, say)
    except KeyboardInterrupt:
        render.say("Stopped. What is encoded stays; the same command continues.")
        return int(ExitCode.STOPPED)
    if as_json:
        render.data_json(result)
    elif wants_plan:
        _show_plan(result)
    else:
        _show(result)
    return int(ExitCode.DONE)


def _settings(directory: Path, model: str | None, preset: str | None, assignments: tuple[str, ...]) -> Settings:
    """What a run with these arguments would have; refuses what can be refused before torch is loaded."""
    if preset is not None:
        plan = plans.from_preset(preset, model=model, dataset=str(directory), assignments=assignments)
    else:
        typed = {"data.path": str(directory), **({"model.path": model} if model is not None else {})}
        plan = plans.from_layers([layers.command_line(assignments, typed)])
    settings = plan.resolved.settings
    models.locate(settings.model.path, settings.model.variant)
    for advice in rules.check(settings):
        if advice.severity == "error" and advice.path.startswith("data."):
            raise SettingsError(advice.sentence, "", f"{advice.fix_label}." if advice.fix_label else "")
    return settings


def _progress() -> Callable[[Said], None]:
    """Progress on standard error: one line that changes on a terminal, a line now and then elsewhere."""
    terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    last = ("", -1)

    def say(said: Said) -> None:
        nonlocal last
        if said.event == "warning":
            _clear(terminal=terminal)
            render.say(f"{click.style('Warning:', fg='yellow')} {said.what} {said.hint}".rstrip())
            return
        tenth = said.done * _LINES_PER_PHASE // said.total if said.total else 0
        line = f"{_PHASES.get(said.what, said.what)}: {said.done:,} of {said.total:,}"
        if terminal:
            _clear(terminal=terminal)
            if said.done < said.total:
                click.echo(f"{line} {_short(said.name)}", err=True, nl=False)
        elif (said.what, tenth) != last:
            render.say(line)
        last = (said.what, tenth)

    return say


def _clear(*, terminal: bool) -> None:
    if terminal:
        click.echo("\r\x1b[2K", err=True, nl=False)


def _show(result: dict[str, Any]) -> None:
    for skipped in result["skipped"]:
        render.say(f"{click.style('Skipped:', fg='yellow')} {skipped['name']}: {skipped['reason']}")
    made = result["encoded"]
    songs = text.plural(result["songs"], "song")
    if result["copies"]:
        songs += f" and {text.plural(result['copies'], 'altered copy', 'altered copies')}"
    parts = [
        text.plural(made["latents"], "piece of audio", "pieces of audio"),
        text.plural(made["text"], "text"),
        text.plural(made["conditions"], "condition"),
    ]
    what = f"encoded {text.listing(parts)}" if any(made.values()) else "nothing had to be encoded"
    render.data(f"{songs} in {result['cache']}: {what}.")


def _show_plan(result: dict[str, Any]) -> None:
    rows = [
        [song["name"], *_cells(song), song["problem"] or ", ".join(song["reasons"])]
        for song in result["songs"]
        if song["latents"] or song["conditions"] or song["problem"]
    ]
    if rows:
        for line in render.table(rows, ("SONG", "AUDIO", "TEXTS", "CONDITIONS", "WHY"), right=(1, 2, 3)):
            render.data(line)
    if not result["latents"] and not result["conditions"]:
        render.data(f"Nothing to encode: {text.plural(len(result['songs']), 'song')} in {result['cache']}.")
        return
    parts = [
        f"{text.plural(result['latents'], 'piece of audio', 'pieces of audio')} ({text.duration(result['seconds'])})",
        text.plural(result["texts"], "text"),
        text.plural(result["conditions"], "condition"),
    ]
    render.data(f"To encode: {text.listing(parts)}; about {text.file_size(result['bytes'])} in {result['cache']}.")


def _cells(song: dict[str, Any]) -> list[str]:
    audio = text.duration(song["seconds"]) if song["latents"] else "–"
    return [audio, str(song["texts"] or "–"), str(song["conditions"] or "–")]


def _short(name: str, width: int = 40) -> str:
    printable = "".join(sign if sign.isprintable() else "?" for sign in name)
    return printable if len(printable) <= width else f"…{printable[1 - width :]}"
