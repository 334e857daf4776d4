"""Where descriptions of a song are looked for, and which wins.

To teach the product another layout, write a function from `Place` to what it found and put it into `LAYOUTS`, where
its position is its precedence. Per field the first layout that says something usable wins:

1. `name.caption.txt`, `name.lyrics.txt`, `name.lrc`: one file for one field, what a person edits by hand
2. `name_prompt.txt`, `name_lyrics.txt`
3. `name.txt`: `<TAGGED>` fields, `key: value` lines, or a plain caption or plain lyrics
4. `name.json`: an object with any of the fields
5. `../annotations/name.json`, for songs in a folder called `audio`
6. CSV tables and dataset JSONs in the song's folder and those above it, nearest first, then by name
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final

from sidestep_tui.core import text as wording
from sidestep_tui.dataset import sidecars, tagged
from sidestep_tui.dataset.dataset_json import read_dataset_json
from sidestep_tui.dataset.files import Folder, Tree, UnreadableTextError, name_key, read_text
from sidestep_tui.dataset.probe import AUDIO_SUFFIXES
from sidestep_tui.dataset.tables import SongNames, Table, keys_of, read_table


@dataclass(frozen=True, slots=True)
class Found:
    """What one source says about a song."""

    origin: str
    """Posix path of the source from the root, as shown to people."""
    fields: sidecars.Fields = field(default_factory=dict)
    plain: str = ""
    """Text of a `name.txt` whose role is still to be decided, for the folder as a whole."""


@dataclass(slots=True)
class Library:
    """A walked folder with its tables read, ready to be asked about songs."""

    tree: Tree
    tables: list[Table] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    stems: dict[str, set[str]] = field(default_factory=dict)
    """Keys of the song stems in each folder, so that a sidecar is never given to two songs."""
    spellings: dict[str, set[str]] = field(default_factory=dict)
    """The same as they are spelled: songs may differ in letter case alone."""
    _tables_by_key: dict[str, list[int]] = field(default_factory=dict)

    @classmethod
    def open(cls, tree: Tree) -> Library:
        """Read all tables of `tree`."""
        library = cls(tree)
        songs = []
        for folder in tree.folders:
            for name in folder.files:
                stem, suffix = _split(name)
                if suffix in AUDIO_SUFFIXES:
                    songs.append(folder.where(name))
                    library.stems.setdefault(folder.relative, set()).add(name_key(stem))
                    library.spellings.setdefault(folder.relative, set()).add(stem)
        library._read_tables(SongNames.of(tree.root.as_posix(), songs))
        return library

    def _read_tables(self, songs: SongNames) -> None:
        for folder in self.tree.folders:
            for name in sorted(folder.files):
                stem, suffix = _split(name)
                table: Table | None = None
                try:
                    if suffix in (".csv", ".tsv"):
                        table = read_table(folder, name, songs)
                    elif suffix == ".json" and not self._is_sidecar(folder, stem):
                        table = read_dataset_json(folder, name, songs)
                except UnreadableTextError as error:
                    self.warnings.append(f"{folder.where(name)} {error}; it was not used.")
                if table is not None:
                    self.tables.append(table)
        self.tables.sort(key=lambda table: (-table.folder.count("/") - bool(table.folder), table.origin))
        for number, table in enumerate(self.tables):
            for key in table.keys:
                self._tables_by_key.setdefault(key, []).append(number)

    def _is_sidecar(self, folder: Folder, stem: str) -> bool:
        """Whether a JSON file belongs to one song."""
        path = PurePosixPath(folder.relative)
        home = (path.parent / "audio").as_posix() if path.name == "annotations" else folder.relative
        return any(name_key(stem) in self.stems.get(place, ()) for place in {folder.relative, home})

    def tables_for(self, song: str) -> list[Table]:
        """The tables that may mean a song, given its posix path from the root, best first."""
        numbers = {number for key in keys_of(song) for number in self._tables_by_key.get(key, ())}
        return [self.tables[number] for number in sorted(numbers)]

    def describe(self, folder: Folder, name: str) -> list[Found]:
        """All that the layouts know about the song `name` in `folder`, best first."""
        place = Place(self, folder, name, _split(name)[0])
        return [found for layout in LAYOUTS for found in layout(place)]

    def table_warnings(self) -> list[str]:
        """A sentence for each table with rows that no song has asked for."""
        sentences = []
        for table in self.tables:
            unused = table.unused()
            if table.outside:
                names = _listing(table.outside)
                rows = wording.plural(len(table.outside), table.noun)
                verb = "names a file" if len(table.outside) == 1 else "name files"
                sentences.append(f"{table.origin}: {rows} {verb} outside of the folder; not used ({names}).")
            if unused:
                rows = wording.plural(len(unused), table.noun)
                verb = "matches" if len(unused) == 1 else "match"
                sentences.append(f"{table.origin}: {rows} {verb} no song beside it ({_listing(unused)}).")
        return sentences


@dataclass(frozen=True, slots=True)
class Place:
    """A song's surroundings."""

    library: Library
    folder: Folder
    name: str
    stem: str

    @property
    def song(self) -> str:
        """Posix path of the song from the root."""
        return self.folder.where(self.name)

    def read(self, ending: str, *, folder: Folder | None = None) -> tuple[str, str] | None:
        """Origin and text of the sidecar `stem + ending`; None if there is none, or it says nothing, or is no text.

        A file that is the closest sidecar of another song (`a_prompt.txt` beside `a_prompt.mp3`) is that song's.
        """
        home = folder or self.folder
        path = home.find(self.stem + ending)
        if path is None:
            return None
        spelled = path.name[: -len(ending)]
        if spelled != self.stem and spelled in self.library.spellings.get(self.folder.relative, ()):
            return None
        own_stem = name_key(_split(path.name)[0])
        if own_stem != name_key(self.stem) and own_stem in self.library.stems.get(self.folder.relative, ()):
            return None
        origin = home.where(path.name)
        try:
            text = read_text(path)
        except UnreadableTextError as error:
            self.warn(f"{origin} {error}; it was not used.")
            return None
        return (origin, text) if text.strip() else None

    def warn(self, sentence: str) -> None:
        """Note trouble; the manifest says it once, however many songs share the file."""
        self.library.warnings.append(sentence)


def _single_fields(place: Place) -> Iterator[Found]:
    for ending, name in ((".caption.txt", "caption"), (".lyrics.txt", "lyrics"), (".lrc", "lyrics")):
        found = place.read(ending)
        if found:
            yield Found(found[0], {name: found[1]})


def _prompt_and_lyrics(place: Place) -> Iterator[Found]:
    for ending, name in (("_prompt.txt", "caption"), ("_lyrics.txt", "lyrics")):
        found = place.read(ending)
        if found:
            yield Found(found[0], {name: found[1]})


def _text(place: Place) -> Iterator[Found]:
    found = place.read(".txt")
    if found is None:
        return
    origin, text = found
    if tagged.is_tagged(text):
        yield Found(origin, tagged.parse(text))
    elif sidecars.is_key_value(text):
        yield Found(origin, sidecars.parse_key_value(text))
    else:
        yield Found(origin, plain=text)


def _json(place: Place) -> Iterator[Found]:
    yield from _json_in(place, place.folder)


def _annotations(place: Place) -> Iterator[Found]:
    path = PurePosixPath(place.folder.relative)
    if path.name != "audio":
        return
    folder = place.library.tree.folder((path.parent / "annotations").as_posix().removeprefix("./"))
    if folder is not None:
        yield from _json_in(place, folder)


def _json_in(place: Place, folder: Folder) -> Iterator[Found]:
    found = place.read(".json", folder=folder)
    if found is None:
        return
    origin, text = found
    try:
        yield Found(origin, sidecars.parse_json(text))
    except UnreadableTextError as error:
        place.warn(f"{origin} {error}; it was not used.")


def _tables(place: Place) -> Iterator[Found]:
    for table in place.library.tables_for(place.song):
        for row in table.rows_for(place.song):
            yield Found(table.origin, row.fields)


LAYOUTS: Final[tuple[Callable[[Place], Iterator[Found]], ...]] = (
    _single_fields,
    _prompt_and_lyrics,
    _text,
    _json,
    _annotations,
    _tables,
)
"""All layouts, in the order in which they win."""


def _listing(names: list[str]) -> str:
    """A few file names, each short enough for a sentence."""
    return wording.listing([name[:80] for name in names])


def _split(name: str) -> tuple[str, str]:
    """Stem and lower-case suffix of a file name."""
    path = PurePosixPath(name)
    return path.stem, path.suffix.lower()
