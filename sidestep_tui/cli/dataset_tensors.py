"""`dataset tensors`: what another trainer's tensor files are worth, and the way back to songs."""

from __future__ import annotations

import os
import re
import shutil
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click

from sidestep_tui.cli import options, render
from sidestep_tui.core import paths, text
from sidestep_tui.core.errors import ExitCode
from sidestep_tui.dataset.tensor_defects import DEFECTS
from sidestep_tui.launch import recover, tensors
from sidestep_tui.launch.tensors import Progress, Report, TensorFile

_MOST_SHOWN: Final = 5
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@click.command("tensors")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--audio",
    metavar="DIR",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Another folder where the songs may be; may be repeated.",
)
@click.option(
    "--recover",
    "out",
    metavar="OUT",
    type=click.Path(path_type=Path),
    help="Write a folder of songs with sidecars from those whose audio is found, to be encoded anew.",
)
@click.option("--copy", is_flag=True, help="Copy audio instead of linking it.")
@click.option(
    "--adopt",
    "target",
    metavar="OUT",
    type=click.Path(path_type=Path),
    help="Write a folder that can be trained on from the tensors as they are, with most of their defects.",
)
@options.json_option
def tensors_of_others(
    directory: Path, audio: tuple[Path, ...], out: Path | None, copy: bool, target: Path | None, as_json: bool
) -> int:
    """Look at the .pt files in DIR that Side-Step or ACE-Step's own trainer wrote.

    Says what they hold, what is known to be wrong with them, and whether their songs are still there. Files are read
    without running anything that is in them; DIR is never changed.
    """
    with _progress() as progress:
        report = tensors.inspect(directory, audio, progress)
    plain: dict[str, Any] = report.to_dict()
    if not as_json:
        _show(report)
    if out is not None:
        plain["recovered"] = _recover(report, out, copy=copy, talk=not as_json)
    if target is not None:
        plain["adopted"] = _adopt(report, target, talk=not as_json)
    if out is None and target is None and not as_json:
        _offer(report)
    if as_json:
        render.data_json(plain)
    return int(ExitCode.DONE if report.songs else ExitCode.REFUSED)


@contextmanager
def _progress() -> Iterator[Progress | None]:
    """A line on the terminal that counts files; None where standard error is none."""
    if not os.isatty(2):
        yield None
        return

    def say(done: int, total: int, _name: str) -> None:
        click.echo(f"\rReading tensors: {done + 1:,} of {total:,} ", err=True, nl=False)

    yield say
    click.echo("\r" + " " * 40 + "\r", err=True, nl=False)


def _show(report: Report) -> None:
    width = max(40, min(100, shutil.get_terminal_size((80, 24)).columns))
    songs = report.songs
    for file in [file for file in report.files if file.problem][:_MOST_SHOWN]:
        render.say(f"{click.style('Refused:', fg='yellow')} {_plain(file.path)} {_plain(file.problem)}.")
    hidden = len(report.files) - len(songs) - _MOST_SHOWN
    if hidden > 0:
        render.say(f"  and {hidden:,} more (--json lists all)")
    if songs:
        rows = [_row(file) for file in songs[: _MOST_SHOWN * 4]]
        for line in render.table(rows, ("SONG", "LENGTH", "TOKENS", "WIDTH", "AUDIO"), right=(1, 2, 3)):
            render.data(line)
        if len(songs) > len(rows):
            render.data(f"and {len(songs) - len(rows):,} more (--json lists all)")
        render.data("")
    for code, count in report.counts().most_common():
        kind = DEFECTS.get(code)
        if kind is None:
            continue
        share = "every song" if count == len(songs) else text.plural(count, "song")
        render.data(f"{click.style(kind.title, bold=True)} ({share})  [{code}]")
        for line in textwrap.wrap(kind.why, width - 4):
            render.data(f"    {line}")
        for file in [file for file in songs if file.defects.get(code)][:3]:
            render.data(f"    {_short(file.name)}: {_plain(file.defects[code])}")
    seconds = sum(file.seconds for file in songs)
    made_for = f", made for {_plain(report.variant)}" if report.variant else ""
    render.say(f"{text.plural(len(songs), 'song')}, {text.duration(seconds)}{made_for}.")


def _row(file: TensorFile) -> list[str]:
    tokens = f"{file.real_tokens} of {file.tokens}" if file.real_tokens != file.tokens else str(file.tokens or "–")
    audio = _plain(paths.shorten(file.audio)) if file.audio else "not found"
    return [_short(file.name), text.duration(file.seconds), tokens, str(file.width or "–"), audio]


def _offer(report: Report) -> None:
    found = sum(1 for file in report.songs if file.audio)
    missing = len(report.songs) - found
    if found:
        render.say(
            f"The audio of {text.plural(found, 'song')} is there: --recover OUT makes a folder of songs from it, to be "
            "encoded anew without these defects."
        )
    if missing:
        render.say(f"The audio of {text.plural(missing, 'song')} was not found: --audio DIR names a folder to search.")
        render.say("Without audio, --adopt OUT makes a folder to train on from the tensors, with most defects.")


def _recover(report: Report, out: Path, *, copy: bool, talk: bool) -> dict[str, Any]:
    songs, left = recover.plan(report, out)
    written = list(recover.write(songs, copy=copy))
    if talk:
        for file, why in left[: _MOST_SHOWN * 4]:
            if not file.problem:
                render.say(f"{click.style('Left out:', fg='yellow')} {_short(file.name)} {_plain(why)}.")
        where = _plain(paths.shorten(paths.expand(out).absolute()))
        render.say(f"{text.plural(len(written), 'song')} with sidecars in {where}.")
        if written:
            render.say(f"Look it over with `sidestep-tui dataset doctor {where}`, then train on it as on any folder.")
    return {
        "songs": [{"name": song.name, "audio": str(song.audio), "source": str(song.source)} for song in written],
        "left_out": [{"path": file.path, "reason": why} for file, why in left],
    }


def _adopt(report: Report, target: Path, *, talk: bool) -> dict[str, Any]:
    with _progress() as progress:
        result = tensors.adopt(report, target, progress)
    if talk:
        for item in result["left_out"][: _MOST_SHOWN * 4]:
            render.say(f"{click.style('Left out:', fg='yellow')} {_plain(item['path'])} {_plain(item['reason'])}.")
        where = _plain(paths.shorten(paths.expand(target).absolute()))
        render.say(f"{text.plural(len(result['songs']), 'song')} as tensors in {where}: give it as the dataset.")
    return result


def _plain(words: str) -> str:
    """Words of a stranger's file without what would move the cursor."""
    return _CONTROL.sub("?", words)


def _short(name: str, width: int = 32) -> str:
    shown = _plain(name)
    return shown if len(shown) <= width else "…" + shown[1 - width :]
