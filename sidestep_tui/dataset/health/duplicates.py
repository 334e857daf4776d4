"""Songs that count twice: files with the same bytes, and the same music in another form."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sidestep_tui.dataset.health.doctor_findings import Finding
from sidestep_tui.dataset.health.listening import Heard, Print
from sidestep_tui.dataset.manifest import Manifest, Song

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_LEAST_BITS: Final = 64
_LEAST_SHARE: Final = 0.3
_MOST_ERRORS: Final = 0.1
_SAME_LENGTH: Final = 2.0
"""Seconds by which copies may differ in length."""


def duplicate_findings(manifest: Manifest, heard: Mapping[str, Heard]) -> Iterator[Finding]:
    """Files with the same bytes, and songs that sound the same; each group once."""
    copies: set[str] = set()
    for first, *others in _same_bytes(manifest.songs, heard):
        copies.update(others)
        for other in others:
            yield Finding("duplicate", other, f"is the same file as {first}.")
    marks = {name: item.mark for name, item in heard.items() if name not in copies}
    for name, other in same_music(marks):
        first, second = sorted((name, other))
        yield Finding("near_duplicate", second, f"sounds like {first}.")


def same_music(marks: Mapping[str, Print]) -> Iterator[tuple[str, str]]:
    """Pairs of songs that are the same music: gain, format and sample rate do not count. Each song is found once.

    Only songs of about the same length are compared, and all that have it at once: 2,000 slices of 30 s take 0.2 s
    (`tests/benchmarks/bench_dataset.py`), less than a hundredth of what listening to them takes.
    """
    order = sorted((mark.seconds, name) for name, mark in marks.items() if _clear_bits(mark) >= _LEAST_BITS)
    lengths = [seconds for seconds, _ in order]
    claimed = [False] * len(order)
    start = 0
    while start < len(order):
        # Songs that lie within this many seconds of each other, and all that any of them may be a copy of.
        stop = bisect_right(lengths, lengths[start] + _SAME_LENGTH)
        reach = bisect_right(lengths, lengths[stop - 1] + _SAME_LENGTH)
        matrix = _Matrix([marks[name] for _, name in order[start:reach]])
        for at in range(start, stop):
            if claimed[at]:
                continue
            end = bisect_right(lengths, lengths[at] + _SAME_LENGTH)
            for found in matrix.alike(at - start, end - start):
                if not claimed[start + found]:
                    claimed[start + found] = True
                    yield order[at][1], order[start + found][1]
        start = stop


class _Matrix:
    """Fingerprints as rows of 64-bit words, so that one is compared with many in a few array operations."""

    def __init__(self, marks: Sequence[Print]) -> None:
        import numpy as np

        width = -(-max(len(mark.bits) for mark in marks) // 8) * 8

        def words(parts: Iterator[bytes]) -> NDArray[np.uint64]:
            padded = b"".join(part.ljust(width, b"\0") for part in parts)
            return np.frombuffer(padded, np.uint64).reshape(len(marks), -1)

        self.bits = words(mark.bits for mark in marks)
        self.clear = words(mark.clear for mark in marks)
        self.counts = np.bitwise_count(self.clear).sum(axis=1, dtype=np.int64)

    def alike(self, row: int, end: int) -> list[int]:
        """The rows after `row` and before `end` that are the same music."""
        import numpy as np

        rest = slice(row + 1, end)
        clear = self.clear[rest] & self.clear[row]
        sizes = np.bitwise_count(clear).sum(axis=1, dtype=np.int64)
        clear &= self.bits[rest] ^ self.bits[row]
        errors = np.bitwise_count(clear).sum(axis=1, dtype=np.int64)
        enough = (sizes >= _LEAST_BITS) & (sizes >= _LEAST_SHARE * np.maximum(self.counts[rest], self.counts[row]))
        found: list[int] = (np.flatnonzero(enough & (errors < _MOST_ERRORS * sizes)) + row + 1).tolist()
        return found


def _clear_bits(mark: Print) -> int:
    return int.from_bytes(mark.clear, "little").bit_count()


def _same_bytes(songs: Sequence[Song], heard: Mapping[str, Heard]) -> Iterator[list[str]]:
    """Groups of songs with equal files; only files of equal size that sound equal are read once more."""
    alike: dict[tuple[int, Heard], list[Song]] = defaultdict(list)
    for song in songs:
        if song.name in heard:
            alike[song.size, heard[song.name]].append(song)
    for group in alike.values():
        if len(group) < 2:
            continue
        digests: dict[bytes, list[str]] = defaultdict(list)
        for song in group:
            digest = _digest(song.audio)
            if digest is not None:
                digests[digest].append(song.name)
        yield from (sorted(names) for names in digests.values() if len(names) > 1)


def _digest(path: Path) -> bytes | None:
    """SHA-256 of a file; None where it has become unreadable meanwhile."""
    try:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").digest()
    except OSError:
        return None
