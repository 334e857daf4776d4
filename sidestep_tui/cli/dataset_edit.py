"""`dataset edit`: the songs of a folder in the terminal interface."""

from __future__ import annotations

from pathlib import Path

import click

from sidestep_tui.core import paths
from sidestep_tui.dataset import manifest as manifests
from sidestep_tui.dataset.sidecars import TxtSetting


@click.command("edit")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--model", metavar="DIR", help="The checkpoint whose tokenizer counts what the model reads.")
@click.option("--tag", default="", help="The trigger tag of the run, as data.tag.")
@click.option("--txt-role", type=click.Choice(["auto", "caption", "lyrics"]), default="auto", show_default=True)
@click.option("--language", default="unknown", show_default=True, help="For lyrics that do not name their own.")
def edit(directory: Path, model: str | None, tag: str, txt_role: TxtSetting, language: str) -> int:
    """Look at the songs of DIR and edit what is said about them: captions, lyrics, tempo, key and so on.

    A table with filter, sort and bulk edits, what the model reads of each song, doctor and slicer. Words are written
    into the sidecars that are there, after you have seen the changes, with a backup of every file that is replaced.
    """
    root = manifests.dataset_folder(directory)
    checkpoint = _checkpoint(model) if model else None
    # Deferred: the interface costs 150 ms to import, which a mistyped folder need not wait for.
    from sidestep_tui.ui import app
    from sidestep_tui.ui.songs_place import SongsPlace

    return app.run(songs=SongsPlace(root, txt_role=txt_role, language=language, tag=tag, model=checkpoint))


def _checkpoint(model: str) -> Path:
    """The checkpoint's folder; refused here rather than behind a key when it is none."""
    from sidestep_tui.launch import models

    models.tokenizer_dir(model)
    return paths.expand(model).absolute()
