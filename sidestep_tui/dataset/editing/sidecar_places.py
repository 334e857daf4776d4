"""Where an edited value belongs: where it stands already, else where its writer keeps such values."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final, Literal

from sidestep_tui.dataset import tagged, values
from sidestep_tui.dataset.editing.rereading import Rereader, Snapshot
from sidestep_tui.dataset.files import Folder, UnreadableTextError, name_key, read_text
from sidestep_tui.dataset.lyrics import has_timestamps

Form = Literal["plain", "lines", "tagged", "json", "table", "samples"]
_SINGLE: Final = {
    "caption": (".caption.txt", "_prompt.txt"),
    "lyrics": (".lyrics.txt", "_lyrics.txt"),
}
_PARTNER: Final = {
    ".caption.txt": ".lyrics.txt",
    "_prompt.txt": "_lyrics.txt",
    ".lyrics.txt": ".caption.txt",
    "_lyrics.txt": "_prompt.txt",
}
_ANNOTATIONS: Final = "annotations"
_DEFAULT: Final = {"caption": ".caption.txt", "lyrics": ".lyrics.txt"}
_CONTAINERS: Final = ("lines", "tagged", ".json", _ANNOTATIONS)


@dataclass(frozen=True, slots=True)
class Spot:
    """A file that may take a value; `form` is how it is written where it is new or empty."""

    origin: str
    form: Form


@dataclass(slots=True)
class Habits:
    """How the songs of a folder are described: which kind of sidecar holds a field, how often."""

    reader: Rereader
    snapshot: Snapshot
    _counts: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)
    _text_kinds: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, merged in self.snapshot.merged.items():
            path = self.reader.scene.path_of(name)
            folder = PurePosixPath(path).parent.as_posix()
            for item, origin in merged.origins.items():
                if origin not in sources(self.snapshot, name, item):
                    continue
                kind = self._kind(origin, path)
                for place in {folder, ""}:
                    self._counts.setdefault((place, item), Counter())[kind] += 1

    def spot(self, name: str, origin: str) -> Spot:
        """A file that describes a song already."""
        return _Beside(self.reader, self.snapshot, self.reader.scene.path_of(name)).spot(origin)

    def kinds(self, path: str, item: str) -> list[str]:
        """The kinds of sidecar that hold a field, the most usual in the song's folder first."""
        folder = PurePosixPath(path).parent.as_posix()
        for place in (folder, ""):
            usual = [kind for kind, _ in self._counts.get((place, item), Counter()).most_common()]
            if usual:
                return usual
        if item in _SINGLE:
            other = "lyrics" if item == "caption" else "caption"
            return [_PARTNER[kind] for kind in self._known(folder, [other]) if kind in _PARTNER]
        fields = [field for place, field in self._counts if place in (folder, "")]
        return [kind for kind in self._known(folder, fields) if kind in _CONTAINERS]

    def _known(self, folder: str, items: list[str]) -> list[str]:
        total: Counter[str] = Counter()
        for item in dict.fromkeys(items):
            total.update(self._counts.get((folder, item), Counter()) or self._counts.get(("", item), Counter()))
        return [kind for kind, _ in total.most_common()]

    def _kind(self, origin: str, path: str) -> str:
        """The kind of a sidecar: how its name ends after the song's, or what it is."""
        file = PurePosixPath(origin)
        stem = name_key(PurePosixPath(path).stem)
        name = name_key(file.name)
        if not name.startswith(stem):
            return "table"
        if file.parent != PurePosixPath(path).parent:
            return _ANNOTATIONS if file.parent.name == _ANNOTATIONS else "table"
        ending = name[len(stem) :]
        if ending != ".txt":
            return ending if ending in (*_PARTNER, ".lrc", ".json") else "table"
        if origin in self.snapshot.plain:
            return "plain"
        folder = file.parent.as_posix()
        if folder not in self._text_kinds:  # all of a folder are taken to be alike
            self._text_kinds[folder] = text_form(self.reader, origin)
        return self._text_kinds[folder]


def text_form(reader: Rereader, origin: str) -> Form:
    """How a `name.txt` with several fields is written."""
    try:
        return "tagged" if tagged.is_tagged(read_text(reader.scene.root / origin)) else "lines"
    except UnreadableTextError:
        return "lines"


def sources(snapshot: Snapshot, name: str, item: str) -> list[str]:
    """The files that say something of a field of a song, usable or not, best first."""
    found = [item_found.origin for item_found in snapshot.found.get(name, ()) if _says(item_found.fields.get(item))]
    return list(dict.fromkeys(found))


def spots(habits: Habits, name: str, item: str) -> list[Spot]:
    """The files that may take a value, best first: where it is, what is there, what its writer would create."""
    snapshot = habits.snapshot
    path = habits.reader.scene.path_of(name)
    said = sources(snapshot, name, item)
    used = snapshot.merged[name].origins.get(item)
    stands = [used] if used in said else said[:1]
    beside = _Beside(habits.reader, snapshot, path)
    found = [] if any(beside.is_timed(origin) for origin in stands) else [beside.spot(origin) for origin in stands]
    usual = habits.kinds(path, item)
    there = sorted(beside.existing(item), key=lambda pair: usual.index(pair[0]) if pair[0] in usual else len(usual))
    found += [spot for _, spot in there]
    annotated = [_ANNOTATIONS] if item not in _SINGLE else []
    for kind in dict.fromkeys([*usual, *annotated, _DEFAULT.get(item, ".json"), ".json"]):
        spot = beside.new(kind)
        if spot is not None:
            found.append(spot)
    first_of: dict[str, Spot] = {}
    for spot in found:
        first_of.setdefault(spot.origin, spot)
    return list(first_of.values())


@dataclass(frozen=True, slots=True)
class _Beside:
    """The files around a song."""

    reader: Rereader
    snapshot: Snapshot
    path: str

    def spot(self, origin: str) -> Spot:
        """A file that is there."""
        file = PurePosixPath(origin)
        suffix = file.suffix.lower()
        is_own = name_key(file.stem) == name_key(PurePosixPath(self.path).stem)
        if suffix in (".csv", ".tsv"):
            return Spot(origin, "table")
        if suffix == ".json":
            return Spot(origin, "json" if is_own else "samples")
        if suffix == ".txt" and is_own and origin not in self.snapshot.plain:
            return Spot(origin, text_form(self.reader, origin))
        return Spot(origin, "plain")

    def is_timed(self, origin: str) -> bool:
        """Whether the lyrics there carry time stamps that players need, in the form made for them."""
        try:
            return origin.lower().endswith(".lrc") and has_timestamps(read_text(self.reader.scene.root / origin))
        except UnreadableTextError:
            return False

    def existing(self, item: str) -> list[tuple[str, Spot]]:
        """Files that describe the song and have room for the field, with their kinds."""
        found: list[tuple[str, Spot]] = []
        for kind in (*_SINGLE.get(item, ()), ".txt", ".json", _ANNOTATIONS):
            spot = self._there(kind)
            if spot is not None and not (kind == ".txt" and spot.form == "plain"):
                found.append((spot.form if kind == ".txt" else kind, spot))
        for table in self.snapshot.library.tables_for(self.path):
            if table.rows_for(self.path):
                found.append(("table", self.spot(table.origin)))
        return found

    def new(self, kind: str) -> Spot | None:
        """A file of some kind that is not there yet."""
        form: Form = "json" if kind in (".json", _ANNOTATIONS) else "plain"
        if kind in ("lines", "tagged"):
            form = "lines" if kind == "lines" else "tagged"
        elif kind in ("table", ".lrc"):
            return None
        ending = ".txt" if kind in ("lines", "tagged", "plain") else ".json" if kind == _ANNOTATIONS else kind
        folder = self._folder(kind)
        stem = PurePosixPath(self.path).stem
        if folder is None or folder.find(stem + ending) is not None:
            return None
        return Spot(folder.where(stem + ending), form)

    def _there(self, kind: str) -> Spot | None:
        folder = self._folder(kind)
        stem = PurePosixPath(self.path).stem
        path = folder.find(stem + (".json" if kind == _ANNOTATIONS else kind)) if folder else None
        if folder is None or path is None:
            return None
        owner = name_key(path.stem)
        if owner != name_key(stem) and owner in self.snapshot.library.stems.get(folder.relative, ()):
            return None
        origin = folder.where(path.name)
        return self.spot(origin)

    def _folder(self, kind: str) -> Folder | None:
        home = PurePosixPath(self.path).parent
        if kind == _ANNOTATIONS:
            if home.name != "audio":
                return None
            home = home.parent / _ANNOTATIONS
        return self.reader.tree.folder("" if home.as_posix() == "." else home.as_posix())


def _says(value: object) -> bool:
    return not values.is_blank(value)
