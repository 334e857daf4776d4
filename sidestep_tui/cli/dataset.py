"""`dataset`: what a folder of songs looks like to training."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any, Final

import click

from sidestep_tui.cli import options, quiet, render
from sidestep_tui.cli.dataset_convert import convert, unpack
from sidestep_tui.cli.dataset_doctor import doctor
from sidestep_tui.cli.dataset_edit import edit
from sidestep_tui.cli.dataset_encode import encode_songs
from sidestep_tui.cli.dataset_measure import measure_songs
from sidestep_tui.cli.dataset_read import read_songs
from sidestep_tui.cli.dataset_set import set_fields
from sidestep_tui.cli.dataset_slice import slice_songs
from sidestep_tui.cli.dataset_tensors import tensors_of_others
from sidestep_tui.core import text
from sidestep_tui.dataset import manifest as manifests
from sidestep_tui.dataset.manifest import Manifest, Song
from sidestep_tui.dataset.merge import FILE_NAME, NO_LYRICS, SETTING

_ROLES: Final = {
    "caption": " Plain name.txt files hold captions (--txt-role lyrics reads them as lyrics).",
    "lyrics": " Plain name.txt files hold lyrics (--txt-role caption reads them as captions).",
    "mixed": " Plain name.txt files hold captions or lyrics, decided file by file (--txt-role decides for all).",
}


@click.group()
def dataset() -> None:
    """Songs: look at them, check, edit, measure, slice and encode them."""


dataset.add_command(doctor)


dataset.add_command(edit)


dataset.add_command(encode_songs)


dataset.add_command(measure_songs)


dataset.add_command(read_songs)


dataset.add_command(set_fields)


dataset.add_command(slice_songs)


dataset.add_command(tensors_of_others)


dataset.add_command(convert)


dataset.add_command(unpack)


@dataset.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--txt-role", type=click.Choice(["auto", "caption", "lyrics"]), default="auto", show_default=True)
@click.option("--language", default="unknown", show_default=True, help="For lyrics that do not name their own.")
@options.json_option
def scan(directory: Path, txt_role: Any, language: str, as_json: bool) -> None:
    """List the songs of DIR, or of a ZIP, with caption, lyrics, tempo and key, and where each was found.

    DIR may use any layout, or several: sidecars (.txt, .caption.txt, .lyrics.txt, .lrc, .json, _prompt.txt,
    _lyrics.txt), annotations beside audio, CSV tables, the dataset JSON of other trainers.
    """
    with quiet.native_stderr():
        found = manifests.scan(directory, txt_role, language, may_be_tensors=True)
    if as_json:
        render.data_json(_fields(found))
        return
    rows = [
        [
            song.name,
            text.duration(song.duration),
            str(song.bpm or "–"),
            song.keyscale or "–",
            _lyrics(song),
            _short(_sources(song), 32),
            _short(song.caption),
        ]
        for song in found.songs
    ]
    for line in render.table(rows, ("SONG", "LENGTH", "BPM", "KEY", "LYRICS", "FROM", "CAPTION"), right=(1, 2)):
        render.data(render.plain(line))
    for skipped in found.skipped:
        render.say(f"{click.style('Skipped:', fg='yellow')} {render.plain(f'{skipped.path}: {skipped.reason}')}")
    for warning in found.warnings:
        render.say(f"{click.style('Warning:', fg='yellow')} {render.plain(warning)}")
    role = _ROLES.get(found.txt_role, "")
    render.say(f"{text.plural(len(found.songs), 'song')}, {text.duration(found.seconds)}.{role}")


def _sources(song: Song) -> str:
    """The files that describe a song, or that only its name does."""
    files = [origin for origin in song.origins.values() if origin not in (FILE_NAME, SETTING, NO_LYRICS)]
    return ", ".join(dict.fromkeys(PurePosixPath(origin).name for origin in files)) or FILE_NAME


def _lyrics(song: Song) -> str:
    if song.instrumental:
        return "instrumental"
    lines = len([line for line in song.lyrics.splitlines() if line.strip()])
    return f"{text.plural(lines, 'line')}, {song.language}" if lines else "–"


def _short(caption: str, width: int = 60) -> str:
    one_line = " ".join(caption.split())
    return one_line if len(one_line) <= width else one_line[: width - 1] + "…"


def _fields(found: Manifest) -> dict[str, Any]:
    return {
        "root": str(found.root),
        "seconds": found.seconds,
        "txt_role": found.txt_role,
        "songs": [{**asdict(song), "audio": str(song.audio)} for song in found.songs],
        "skipped": [{"path": item.path.as_posix(), "reason": item.reason, "code": item.code} for item in found.skipped],
        "warnings": list(found.warnings),
    }
