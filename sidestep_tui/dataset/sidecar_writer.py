"""Working out which sidecars hold edited fields, and writing them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from sidestep_tui.core.errors import DataError
from sidestep_tui.dataset.edit_plan import FieldChange, FileChange, SavePlan, SaveReport
from sidestep_tui.dataset.manifest import Song
from sidestep_tui.dataset.merge import FolderRole
from sidestep_tui.dataset.own_file import OwnFile
from sidestep_tui.dataset.sidecars import TxtSetting

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Scene:
    """The folder as the edits know it."""

    root: Path
    songs: dict[str, Song]
    language: str
    txt_role: TxtSetting | None
    shown_role: FolderRole
    own: OwnFile


@dataclass(frozen=True, slots=True)
class Wanted:
    """Edits to be saved: canonical text by song and field, and review marks by song."""

    edits: dict[str, dict[str, str]]
    marks: dict[str, str]
    changes: dict[Key, FieldChange]


@dataclass(slots=True)
class Draft:
    """A plan, and what is needed to carry it out."""

    scene: Scene
    plan: SavePlan = field(default_factory=SavePlan)


def draft(scene: Scene, wanted: Wanted) -> Draft:
    """Work out all files; nothing is written."""
    raise DataError("Saving is not possible yet.")


def write(draft: Draft) -> tuple[SaveReport, list[FileChange], set[Key]]:
    """Write the planned files; returns what to tell, the files written, and the edits that failed."""
    raise DataError("Saving is not possible yet.")


def swap(root: Path, files: list[FileChange]) -> tuple[list[FileChange], list[str]]:
    """Take written files back; returns what would write them again, and sentences about those that stay."""
    raise DataError("Saving is not possible yet.")


def read_again(scene: Scene) -> dict[str, Song]:
    """The songs as their files describe them now."""
    return scene.songs
