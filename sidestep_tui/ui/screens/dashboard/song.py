"""From a song in the table of a run to its words in the editor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sidestep_tui.core import paths
from sidestep_tui.core.errors import DataError
from sidestep_tui.protocol.rundir import RunDir

if TYPE_CHECKING:
    from sidestep_tui.ui.songs_place import SongsPlace


def songs_of_run(run_dir: RunDir) -> SongsPlace:
    """The folder that a run trains on, read as the run reads it. Raises SidestepError where that cannot be told."""
    # Schema and dataset take 100 ms and more to load, and the dashboard does without them.
    from sidestep_tui.schema.run import read_run
    from sidestep_tui.ui.songs_place import SongsPlace

    data = read_run(run_dir.run_toml).settings.data
    root = paths.expand(data.path).absolute() if data.path else Path()
    if not data.path or not root.is_dir():
        raise DataError(
            "The songs of this run are not here.",
            f"{paths.shorten(root)} is no folder." if data.path else "The run names no folder of songs.",
            "They may be on another machine, or have been moved.",
        )
    return SongsPlace.of(data)
