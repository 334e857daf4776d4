"""`dataset convert` and `dataset unpack`: what is known about songs in another layout, and a ZIP as a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sidestep_tui.cli import options, quiet, render
from sidestep_tui.core import paths, text
from sidestep_tui.core.errors import UsageError
from sidestep_tui.dataset import archives, converting
from sidestep_tui.dataset import manifest as manifests


def _layouts() -> str:
    return "\n\n\b\n" + "\n".join(f"{name:<14}{what}" for name, what in converting.LAYOUTS.items())


@click.command(
    help="Write all that is known about the songs of DIR, or of a ZIP, into the new folder OUT.\n\n"
    "DIR is not changed. Scanning OUT gives the same captions, lyrics, tempo, key, tags and repeats; what was only "
    f"guessed is not written. Layouts:{_layouts()}",
    short_help="Write captions, lyrics and metadata in another layout.",
)
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path))
@click.option("--to", "layout", type=click.Choice(list(converting.LAYOUTS)), required=True, help="The layout.")
@click.option("--copy", "copies", is_flag=True, help="Copy the songs too.")
@click.option("--link", "links", is_flag=True, help="Put the songs there too as hard links, which take no room.")
@click.option("--txt-role", type=click.Choice(["auto", "caption", "lyrics"]), default="auto", show_default=True)
@click.option("--language", default="unknown", show_default=True, help="For lyrics that do not name their own.")
@options.json_option
def convert(
    directory: Path,
    target: Path,
    layout: Any,
    copies: bool,
    links: bool,
    txt_role: Any,
    language: str,
    as_json: bool,
) -> None:
    """Write a folder's words in another layout."""
    if copies and links:
        raise UsageError("--copy and --link exclude each other.", hint="Choose one, or neither for the texts alone.")
    with quiet.native_stderr():
        found = manifests.scan(directory, txt_role, language)
    audio: converting.Audio = "copy" if copies else "link" if links else "none"
    written = converting.convert(found, paths.expand(target).absolute(), layout, audio=audio)
    if as_json:
        render.data_json(
            {
                "folder": str(written.folder),
                "layout": layout,
                "files": list(written.files),
                "songs": written.songs,
                "skipped": [{"path": str(item.path), "reason": item.reason} for item in found.skipped],
            }
        )
        return
    for skipped in found.skipped:
        render.say(f"{click.style('Skipped:', fg='yellow')} {render.plain(f'{skipped.path}: {skipped.reason}')}")
    for warning in found.warnings:
        render.say(f"{click.style('Warning:', fg='yellow')} {render.plain(warning)}")
    songs = f" and {text.plural(written.songs, 'song')}" if written.songs else ""
    render.say(f"{text.plural(len(written.files), 'text file')}{songs} written to {paths.shorten(written.folder)}.")
    if not written.songs:
        render.say("The songs themselves stay where they are: put the texts beside them, or use --link or --copy.")


@click.command()
@click.argument("archive", metavar="ZIP", type=click.Path(path_type=Path))
@click.argument("target", metavar="DIR", type=click.Path(path_type=Path))
@options.json_option
def unpack(archive: Path, target: Path, as_json: bool) -> None:
    """Make a new folder DIR of the songs and texts in a ZIP, to edit them there.

    Nothing is overwritten. Entries that are unsafe, damaged or no songs are left out and named.
    """
    done = archives.unpack(paths.expand(archive).absolute(), paths.expand(target).absolute())
    if as_json:
        render.data_json(
            {
                "folder": str(done.folder),
                "files": done.files,
                "bytes": done.bytes,
                "left_out": [
                    {"name": item.name, "code": item.code, "reason": f"{item.reason}."} for item in done.left_out
                ],
            }
        )
        return
    for item in done.left_out:
        render.say(f"{click.style('Left out:', fg='yellow')} {item.sentence}")
    render.say(
        f"{text.plural(done.files, 'file')}, {text.file_size(done.bytes)}, unpacked to {paths.shorten(done.folder)}."
    )
