"""Where descriptions of a song are looked for, and which wins.

To teach the product another layout, write a function from `Place` to what it found and put it into `LAYOUTS`, where
its position is its precedence. Per field the first layout that says something usable wins:

1. `name.caption.txt`, `name.lyrics.txt`, `name.lrc`: one file for one field, what a person edits by hand
2. `name_prompt.txt`, `name_lyrics.txt`
3. `name.txt`: `key: value` lines, or a plain caption or plain lyrics
4. `name.json`: an object with any of the fields
5. `../annotations/name.json`, for songs in a folder called `audio`
6. CSV tables in the song's folder and those above it, nearest first, then by name
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final

from sidestep_tui.core import text as wording
from sidestep_tui.dataset import sidecars
from sidestep_tui.dataset.files import Folder, Tree, UnreadableTextError, name_key, read_text
from sidestep_tui.dataset.probe import AUDIO_SUFFIXES
from sidestep_tui.dataset.tables import Table, read_table


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
    tables: list[Table]
    warnings: list[str]
    stems: dict[str, set[str]]
    """Keys of the song stems in each folder, so that a sidecar is never given to two songs."""

    @classmethod
    def open(cls, tree: Tree) -> Library:
        """Read all tables of `tree`."""
        tables: list[Table] = []
        warnings: list[str] = []
        stems: dict[str, set[str]] = {}
        for folder in tree.folders:
            for name in sorted(folder.files):
                stem, suffix = _split(name)
                if suffix in AUDIO_SUFFIXES:
                    stems.setdefault(folder.relative, set()).add(name_key(stem))
                elif suffix in (".csv", ".tsv"):
                    try:
                        tables.append(read_table(folder, name))
                    except UnreadableTextError as error:
                        warnings.append(f"{folder.where(name)} {error}; it was not used.")
        tables.sort(key=lambda table: (-table.folder.count("/") - bool(table.folder), table.origin))
        return cls(tree, tables, warnings, stems)

    def describe(self, folder: Folder, name: str) -> list[Found]:
        """All that the layouts know about the song `name` in `folder`, best first."""
        place = Place(self, folder, name, _split(name)[0])
        return [found for layout in LAYOUTS for found in layout(place)]

    def table_warnings(self) -> list[str]:
        """A sentence for each table with rows that no song has asked for."""
        sentences = []
        for table in self.tables:
            unused = table.unused()
            if unused:
                rows = wording.plural(len(unused), "row")
                verb = "matches" if len(unused) == 1 else "match"
                sentences.append(f"{table.origin}: {rows} {verb} no song beside it ({wording.listing(unused)}).")
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
    if sidecars.is_key_value(text):
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
    for table in place.library.tables:
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


def _split(name: str) -> tuple[str, str]:
    """Stem and lower-case suffix of a file name."""
    path = PurePosixPath(name)
    return path.stem, path.suffix.lower()
