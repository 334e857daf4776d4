"""How much room there is for what a run writes."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from sidestep_tui.core import paths
from sidestep_tui.schema.disk_maths import DiskNeeds
from sidestep_tui.schema.settings import Settings


@dataclass(frozen=True, slots=True)
class DiskRoom:
    """The file systems of the run and of the encoded songs; `output` and `cache` are what exists of their folders."""

    output: Path
    free: int
    cache: Path
    cache_free: int
    cache_is_writable: bool
    is_shared: bool
    """Whether both lie on one file system."""

    def holds(self, needs: DiskNeeds) -> bool:
        """Whether there is room for a run and for its songs."""
        if self.is_shared:
            return needs.total <= self.free
        return needs.run <= self.free and needs.cache <= self.cache_free


def room(settings: Settings) -> DiskRoom:
    """Asks the file systems, which may take a while where one is far away."""
    output = paths.existing_ancestor(paths.expand(settings.output.path))
    cache = paths.existing_ancestor(paths.expand(settings.data.cache) if settings.data.cache else paths.cache_place())
    return DiskRoom(
        output=output,
        free=shutil.disk_usage(output).free,
        cache=cache,
        cache_free=shutil.disk_usage(cache).free,
        cache_is_writable=cache.is_dir() and os.access(cache, os.W_OK | os.X_OK),
        is_shared=cache.stat().st_dev == output.stat().st_dev,
    )
