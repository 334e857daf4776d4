"""Songs and checkpoints that lie at hand, for somebody who has not used any yet."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path, PurePath

from sidestep_tui.dataset.probe import AUDIO_SUFFIXES

_MOST_FOLDERS = 200
_MOST_ENTRIES = 200
_ENOUGH = 2
"""Songs that make a folder one of songs; one file alone may be anything."""


def song_folders(most: int = 5) -> list[Path]:
    """Folders with songs in them: the working directory, what lies in it, the home's music and what lies in that.

    Looks at few entries of few folders: it is asked whenever the wizard opens, on slow network homes too.
    """
    return list(islice((path for path in _candidates() if _has_songs(path)), most))


def model_roots() -> list[Path]:
    """Folders outside the working directory where checkpoints usually are, as far as they exist."""
    home = Path.home()
    parents = (Path("..").absolute(), home, home / "models")
    usual = [parent / name for parent in parents for name in ("checkpoints", "ACE-Step-1.5/checkpoints")]
    hub = home / ".cache" / "huggingface" / "hub"
    usual += sorted(hub.glob("models--ACE-Step--*/snapshots/*"))
    return [path for path in usual if path.is_dir()]


def _candidates() -> Iterator[Path]:
    here = Path.cwd()
    music = Path.home() / "Music"
    seen: set[Path] = set()
    for path in (here, *_folders_in(here), music, *_folders_in(music)):
        if path not in seen:
            seen.add(path)
            yield path


def _folders_in(parent: Path) -> list[Path]:
    try:
        with os.scandir(parent) as entries:
            found = [
                Path(entry.path)
                for entry in islice(entries, _MOST_ENTRIES)
                if entry.is_dir() and not entry.name.startswith(".")
            ]
    except OSError:
        return []
    return sorted(found)[:_MOST_FOLDERS]


def _has_songs(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            songs = (entry for entry in islice(entries, _MOST_ENTRIES) if _is_song(entry))
            return len(list(islice(songs, _ENOUGH))) == _ENOUGH
    except OSError:
        return False


def _is_song(entry: os.DirEntry[str]) -> bool:
    return PurePath(entry.name).suffix.lower() in AUDIO_SUFFIXES
