"""Which songs are held out of training, so that what is measured on them was never heard. Pure.

What shares sound stays together: slices of one song, the same audio under two names, one song in two formats. Groups
are held out whole. The order in which they are is that of a hash of their names: it depends on no seed, a larger share
keeps what a smaller one held out, and another song in the folder moves at most the border.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from sidestep_tui.core import text
from sidestep_tui.core.errors import DataError
from sidestep_tui.dataset.manifest import Song

ENOUGH: Final = 10
"""Independent songs below which a held-out loss says little."""

_NUMBERED: Final = re.compile(r"(?P<stem>.*[^\d\s_.(\-])[\s_.\-]*\(?(?P<number>\d{1,5})\)?")
_TOLERANCE_SECONDS: Final = 0.001


@dataclass(frozen=True, slots=True)
class Split:
    """Names of the songs on both sides, in the order of the dataset."""

    training: tuple[str, ...]
    held_out: tuple[str, ...]
    groups: int
    """How many independent songs there are."""

    @property
    def advice(self) -> str:
        """A sentence where the held-out songs are too few to judge by; empty otherwise."""
        if not self.held_out or self.groups >= ENOUGH:
            return ""
        return (
            f"{text.plural(self.groups, 'independent song')}: what is held out says little about the others, and each "
            f"is missed in training. From about {ENOUGH} songs on it helps."
        )


def split(songs: Sequence[Song], percent: int, contents: Mapping[str, str] | None = None) -> Split:
    """Hold out about `percent` of `songs`: at least one group, never all; `contents` holds hashes of audio by name.

    DataError when all songs belong together, so that none can be held out.
    """
    names = tuple(song.name for song in songs)
    if not percent:
        return Split(names, (), len(songs))
    groups = _in_order(groups_of(songs, contents))
    if len(groups) < 2:
        raise _inseparable(songs)
    held = {name for group in groups[: _count(groups, percent)] for name in group}
    return Split(
        training=tuple(name for name in names if name not in held),
        held_out=tuple(name for name in names if name in held),
        groups=len(groups),
    )


def groups_of(songs: Sequence[Song], contents: Mapping[str, str] | None = None) -> list[tuple[str, ...]]:
    """Names of songs that share sound, each group sorted; every song is in exactly one."""
    roots = {song.name: song.name for song in songs}

    def root(name: str) -> str:
        while roots[name] != name:
            roots[name] = roots[roots[name]]
            name = roots[name]
        return name

    for alike in _alike(songs, contents or {}):
        for name in alike[1:]:
            # The smallest name leads, whatever the order in which members meet.
            first, second = sorted((root(alike[0]), root(name)))
            roots[second] = first
    members: dict[str, list[str]] = defaultdict(list)
    for song in songs:
        members[root(song.name)].append(song.name)
    return [tuple(sorted(names)) for names in members.values()]


def _alike(songs: Sequence[Song], contents: Mapping[str, str]) -> Iterable[list[str]]:
    """Lists of songs that belong together, each for one reason."""
    by_source = _gather(songs, lambda song: song.source or None)
    yield from by_source
    # A whole song beside its own slices.
    sources = {song.source: song.name for song in songs if song.source}
    for song in songs:
        if (place := _place(song)) in sources:
            yield [sources[place], song.name]
    yield from _gather(songs, lambda song: contents.get(song.name))
    yield from _gather(songs, lambda song: PurePosixPath(_place(song)).with_suffix(""))
    yield from _numbered([song for song in songs if not song.source])


def _place(song: Song) -> str:
    """The path as slicing writes it down: folder of the name, name of the file."""
    return (PurePosixPath(song.name).parent / song.audio.name).as_posix()


def _gather(songs: Iterable[Song], key: Callable[[Song], Hashable | None]) -> list[list[str]]:
    """Names of songs with the same key, where there are several."""
    found: dict[Hashable, list[str]] = defaultdict(list)
    for song in songs:
        if (value := key(song)) is not None:
            found[value].append(song.name)
    return [names for names in found.values() if len(names) > 1]


def _numbered(songs: Iterable[Song]) -> Iterable[list[str]]:
    """Runs of slices that another tool cut: `song_1`, `song_2`, … without a gap, all of one length but the last.

    Numbers alone prove nothing, since tracks of an album have them too; equal lengths to the millisecond do.
    """
    families: dict[tuple[object, ...], dict[int, Song]] = defaultdict(dict)
    for song in songs:
        path = PurePosixPath(_place(song))
        if match := _NUMBERED.fullmatch(path.stem):
            key = (path.parent, match["stem"], path.suffix, song.sample_rate, song.channels)
            families[key][int(match["number"])] = song
    for family in families.values():
        numbers = sorted(family)
        lengths = [family[number].duration for number in numbers]
        whole, last = lengths[:-1], lengths[-1]
        if len(numbers) < 2 or numbers != list(range(numbers[0], numbers[0] + len(numbers))) or numbers[0] > 1:
            continue
        equal = max(whole) - min(whole) <= _TOLERANCE_SECONDS and last <= whole[0] + _TOLERANCE_SECONDS
        if equal and (len(whole) > 1 or whole[0] - last <= _TOLERANCE_SECONDS):
            yield [family[number].name for number in numbers]


def _in_order(groups: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Groups in the order in which they are held out; those that hold a large part of all songs come last."""
    large = max(sum(map(len, groups)) / 4, 1)

    def rank(group: tuple[str, ...]) -> tuple[int, bytes]:
        return (len(group) if len(group) > large else 0, hashlib.sha256(group[0].encode()).digest())

    return sorted(groups, key=rank)


def _count(groups: list[tuple[str, ...]], percent: int) -> int:
    """How many groups from the first come nearest to the share; at least one is left on either side."""
    wanted = sum(map(len, groups)) * percent / 100
    best, held = 1, 0
    distance = float("inf")
    for count, group in enumerate(groups[:-1], start=1):
        held += len(group)
        if abs(held - wanted) < distance:
            best, distance = count, abs(held - wanted)
    return best


def _inseparable(songs: Sequence[Song]) -> DataError:
    if len(songs) < 2:
        return DataError(
            "No song can be held out.", "There is only one.", "Set data.validation to 0, or add other songs."
        )
    sources = Counter(song.source for song in songs if song.source)
    of = f" of {next(iter(sources))}" if len(sources) == 1 else ""
    return DataError(
        "No song can be held out.",
        f"All {len(songs)} are slices or copies{of}: what is measured would have been heard in training.",
        "Set data.validation to 0, or add other songs. Files that are no slices of one song should not be numbered "
        "like some.",
    )


def training_count(songs: Sequence[Song], percent: int) -> int:
    """How many songs are trained on, for estimates; all of them where none can be held out, which is refused later."""
    try:
        return len(split(songs, percent).training)
    except DataError:
        return len(songs)
