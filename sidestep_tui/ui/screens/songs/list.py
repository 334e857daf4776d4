"""Which songs the table shows, in what order, which are marked, and where the bar stands. Pure: no widget, no files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from sidestep_tui.dataset.manifest import Song
from sidestep_tui.dataset.measuring.measure import Measured
from sidestep_tui.ui.screens.songs.facts import SongFacts, lyric_lines, states
from sidestep_tui.ui.screens.songs.query import Query, haystack_of, parse

SORTS: Final[Mapping[str, Callable[[SongFacts], Any]]] = {
    "name": lambda facts: facts.song.name.casefold(),
    "length": lambda facts: facts.song.duration,
    "bpm": lambda facts: facts.song.bpm or 0,
    "key": lambda facts: facts.song.keyscale,
    "lyrics": lambda facts: (states(facts.song, "lyrics"), lyric_lines(facts.song)),
    "caption": lambda facts: (states(facts.song, "caption"), facts.song.caption.casefold()),
    "language": lambda facts: facts.song.language,
    "genre": lambda facts: facts.song.genre.casefold(),
    "tag": lambda facts: facts.song.tag.casefold(),
    "edited": lambda facts: not facts.edited,
    "reviewed": lambda facts: facts.reviewed,
}
"""What the table can be sorted by. What is missing comes first, since that is what one looks for."""


class Listing:
    """The table's state. `facts_of` is asked for one song at a time and may look things up; it must not wait."""

    def __init__(self) -> None:
        self.query = Query()
        self.sort = "name"
        self.falling = False
        self.marks: set[str] = set()
        self.measured: dict[str, Measured] = {}
        self.top = 0
        self._songs: Sequence[Song] = ()
        self._edited: Callable[[str], frozenset[str]] = lambda _: frozenset()
        self._reviewed: Callable[[str], bool] = lambda _: False
        self._haystacks: dict[str, tuple[Song, str]] = {}
        self._shown: list[Song] | None = None
        self._current = ""
        self._at = 0
        self._anchor = ""

    # Songs

    @property
    def songs(self) -> Sequence[Song]:
        """All songs, filtered or not."""
        return self._songs

    def put(
        self,
        songs: Sequence[Song],
        edited: Callable[[str], frozenset[str]],
        reviewed: Callable[[str], bool],
    ) -> None:
        """Show these songs; marks and bar stay where their songs still are."""
        self._songs, self._edited, self._reviewed = songs, edited, reviewed
        names = {song.name for song in songs}
        self.marks &= names
        self.measured = {name: value for name, value in self.measured.items() if name in names}
        self._haystacks = {name: known for name, known in self._haystacks.items() if name in names}
        self._shown = None

    def facts(self, song: Song) -> SongFacts:
        """One song with what is known about it here."""
        name = song.name
        return SongFacts(song, self._edited(name), self._reviewed(name), name in self.marks, self.measured.get(name))

    def forget_order(self) -> None:
        """Filter and sort anew: what they depend on has changed."""
        self._shown = None

    @property
    def shown(self) -> list[Song]:
        """The songs that match the filter, in order."""
        if self._shown is None:
            self._shown = self._arranged()
        return self._shown

    def _arranged(self) -> list[Song]:
        found = [facts for song in self._songs if self._matches(facts := self.facts(song))]
        # Two passes of a stable sort: songs that are alike stay in the order of their names, whichever way it falls.
        found.sort(key=SORTS["name"])
        found.sort(key=SORTS[self.sort], reverse=self.falling)
        return [facts.song for facts in found]

    def _matches(self, facts: SongFacts) -> bool:
        return not self.query.conditions or self.query.matches(facts, self._haystack(facts.song))

    def _haystack(self, song: Song) -> str:
        known = self._haystacks.get(song.name)
        if known is None or known[0] is not song:
            known = self._haystacks[song.name] = (song, haystack_of(song))
        return known[1]

    # Filter and order

    def filter(self, typed: str) -> None:
        """Show what matches."""
        if typed.strip() != self.query.typed:
            self.query = parse(typed)
            self._shown = None

    def next_sort(self) -> None:
        """Sort by the next column."""
        names = list(SORTS)
        self.sort_by(names[(names.index(self.sort) + 1) % len(names)], falling=False)

    def sort_by(self, name: str, *, falling: bool) -> None:
        """Sort by a column, the smallest or the largest first."""
        self.sort, self.falling = name, falling
        self._shown = None

    # The bar

    @property
    def index(self) -> int:
        """Where the bar stands among the shown songs: its song, or where that was before it was filtered out."""
        shown = self.shown
        found = next((at for at, song in enumerate(shown) if song.name == self._current), None)
        self._at = max(0, min(self._at, len(shown) - 1)) if found is None else found
        return self._at

    @property
    def current(self) -> Song | None:
        """The song under the bar."""
        shown = self.shown
        return shown[self.index] if shown else None

    def move(self, by: int) -> None:
        """Move the bar, as far as there are songs."""
        shown = self.shown
        if shown:
            self._current = shown[max(0, min(self.index + by, len(shown) - 1))].name

    def go_to(self, name: str) -> None:
        """Put the bar on a song."""
        self._current = name

    def window(self, height: int) -> list[Song]:
        """The songs that fit in `height` rows, with the bar among them; moves as little as it can."""
        shown, at, height = self.shown, self.index, max(height, 1)
        if shown:
            self._current = shown[at].name
        self.top = min(max(self.top, at - height + 1, 0), at, max(len(shown) - height, 0))
        return shown[self.top : self.top + height]

    # Marks

    def mark(self) -> None:
        """Mark the song under the bar, or take its mark off; the bar goes on to the next."""
        song = self.current
        if song is None:
            return
        self._anchor = song.name
        self.marks ^= {song.name}
        self._marks_changed()
        self.move(1)

    def mark_range(self) -> None:
        """Mark everything from the song marked last to the bar."""
        shown, to = self.shown, self.index
        start = next((at for at, song in enumerate(shown) if song.name == self._anchor), to)
        self.marks |= {song.name for song in shown[min(start, to) : max(start, to) + 1]}
        self._anchor = shown[to].name if shown else ""
        self._marks_changed()

    def mark_shown(self) -> None:
        """Mark every song that the filter shows; if all of them are marked, none."""
        names = {song.name for song in self.shown}
        self.marks = self.marks - names if names <= self.marks else self.marks | names
        self._marks_changed()

    def unmark(self) -> None:
        """Take all marks off."""
        self.marks.clear()
        self._marks_changed()

    def _marks_changed(self) -> None:
        if "marked:" in self.query.typed:
            self._shown = None

    def targets(self) -> list[str]:
        """What an edit applies to: the marked songs, also those that the filter hides; else the one under the bar."""
        if self.marks:
            return [song.name for song in self._songs if song.name in self.marks]
        song = self.current
        return [song.name] if song is not None else []

    def not_measured(self, names: Iterable[str]) -> list[str]:
        """Those of `names` whose sound has not been looked at."""
        return [name for name in names if name not in self.measured]
