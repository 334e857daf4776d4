"""What the wizard offers before anything is typed: what was used last, then what lies at hand. Waits for the disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sidestep_tui.launch.models import FoundModel


def found_models() -> list[FoundModel]:
    """Checkpoints on this machine, the one used last first."""
    from sidestep_tui.launch import discover, nearby

    found: dict[Path, FoundModel] = {}
    for model in (*discover.find_models(), *discover.find_models(nearby.model_roots())):
        found.setdefault(model.path.resolve(), model)
    recent = {path.resolve(): place for place, path in enumerate(discover.recent_models())}
    return sorted(found.values(), key=lambda model: recent.get(model.path.resolve(), len(recent)))


def found_songs() -> list[Path]:
    """Folders of songs, those used before first."""
    from sidestep_tui.launch import discover, nearby

    each = {path.resolve(): path for path in (*discover.recent_datasets(), *nearby.song_folders())}
    return list(each.values())


def offers(models: list[FoundModel], songs: list[Path]) -> dict[str, str]:
    """What enter takes on a field that is empty."""
    offered: dict[str, str] = {}
    if models:
        offered["model.path"] = str(models[0].path)
    if songs:
        offered["data.path"] = str(songs[0])
    return offered
