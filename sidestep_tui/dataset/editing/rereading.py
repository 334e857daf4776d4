"""What the files of a folder would say about its songs if some of them were different, without writing there.

The same code reads as in a scan; files that would change are read from a temporary folder instead.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sidestep_tui.dataset.editing import own_file
from sidestep_tui.dataset.files import Folder, Tree, walk
from sidestep_tui.dataset.layouts import Found, Library
from sidestep_tui.dataset.manifest import Song
from sidestep_tui.dataset.merge import FolderRole, Merged, decide_roles, merge, with_role
from sidestep_tui.dataset.sidecars import TxtRole, TxtSetting


@dataclass(frozen=True, slots=True)
class Scene:
    """A folder as it was scanned."""

    root: Path
    songs: dict[str, Song]
    language: str
    txt_role: TxtSetting | None
    """What the scan was told; None where only its outcome is known."""
    shown_role: FolderRole

    def path_of(self, name: str) -> str:
        """Posix path of a song from the root."""
        return self.songs[name].audio.relative_to(self.root).as_posix()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was found about each song, by name; songs whose audio is gone are missing."""

    library: Library
    found: dict[str, list[Found]]
    """Best first; a plain `name.txt` under the field that it holds."""
    plain: frozenset[str]
    """The origins of plain `name.txt` files."""
    merged: dict[str, Merged]


class Rereader:
    """Reads the descriptions of a folder's songs again, as often as needed."""

    def __init__(self, scene: Scene) -> None:
        """`DataError` where the folder cannot be opened any more."""
        self.scene = scene
        self.tree = walk(scene.root)
        self._real_root = scene.root.resolve()
        self._places = {
            folder.where(name): (folder.relative, name) for folder in self.tree.folders for name in folder.files
        }
        self._links = {
            folder.where(name): path.resolve()
            for folder in self.tree.folders
            for name, path in folder.files.items()
            if path.is_symlink()
        }
        self._wanted: TxtSetting = self._role()

    def read(self, changed: Mapping[Path, bytes] | None = None) -> Snapshot:
        """The songs as described on disk, but for files (real paths) that would be `changed` or created."""
        if not changed:
            return self._described(self.tree, self._wanted)
        with tempfile.TemporaryDirectory(prefix="sidestep-") as scratch:
            copies: dict[Path, Path] = {}
            homes: dict[Path, Path] = {}
            for path, data in changed.items():
                if path.parent not in homes:
                    homes[path.parent] = Path(scratch) / str(len(homes))
                    homes[path.parent].mkdir()
                copies[path] = homes[path.parent]
                (copies[path] / path.name).write_bytes(data)
            return self._described(self._overlaid(copies, changed, Path(scratch)), self._wanted)

    def _overlaid(self, copies: Mapping[Path, Path], changed: Mapping[Path, bytes], scratch: Path) -> Tree:
        tree = Tree(self.tree.root)
        created: dict[Path, list[Path]] = {}
        for path in copies:
            created.setdefault(path.parent, []).append(path)
        for folder in self.tree.folders:
            copy = Folder(folder.path, folder.relative)
            home = self._real_root / folder.relative
            for name, path in folder.files.items():
                real = self._links.get(folder.where(name), home / name)
                if real not in copies:
                    copy.add(path)
                elif real.name == name:
                    copy.add(copies[real] / name)
                else:  # a link of another name
                    place = Path(tempfile.mkdtemp(dir=scratch)) / name
                    place.write_bytes(changed[real])
                    copy.add(place)
            for path in created.get(home, ()):
                if path.name not in folder.files:
                    copy.add(copies[path] / path.name)
            tree.add(copy)
        return tree

    def _described(self, tree: Tree, wanted: TxtSetting) -> Snapshot:
        library = Library.open(tree)
        folders = {folder.relative: folder for folder in tree.folders}
        raw: dict[str, list[Found]] = {}
        for name in self.scene.songs:
            place = self._places.get(self.scene.path_of(name))
            if place is not None:
                raw[name] = library.describe(folders[place[0]], place[1])
        fallback, _ = decide_roles(raw.values(), wanted)
        return Snapshot(
            library,
            {name: self._resolved(found, wanted, fallback) for name, found in raw.items()},
            frozenset(item.origin for found in raw.values() for item in found if item.plain),
            {
                name: merge(
                    self.scene.path_of(name), found, wanted=wanted, fallback=fallback, language=self.scene.language
                )
                for name, found in raw.items()
            },
        )

    def _resolved(self, found: list[Found], wanted: TxtSetting, fallback: TxtRole) -> list[Found]:
        return [with_role(item, found, wanted, fallback) for item in found]

    def _role(self) -> TxtSetting:
        """The role of plain texts as the scan has taken it."""
        scene = self.scene
        if scene.txt_role is not None and scene.txt_role != "auto":
            return scene.txt_role
        noted: TxtSetting = own_file.read(scene.root).txt_role or "auto"
        if scene.txt_role is None and (scene.shown_role == "caption" or scene.shown_role == "lyrics"):
            agrees = all(
                (merged.caption, merged.lyrics) == (scene.songs[name].caption, scene.songs[name].lyrics)
                for name, merged in self._described(self.tree, noted).merged.items()
            )
            return noted if agrees else scene.shown_role
        return noted
