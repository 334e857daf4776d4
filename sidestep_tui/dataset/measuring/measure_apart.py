"""Measuring many songs in several processes; the task `measure` of `apart`.

Every process gets some hundred songs at most and is then replaced, which bounds its memory. When ours is killed, the
next thing they say has no reader, and they end. A song that breaks its process is named, and the others go on.
"""

from __future__ import annotations

import dataclasses
import os
import queue
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from sidestep_tui.core.errors import DataError
from sidestep_tui.dataset import apart, reading
from sidestep_tui.dataset.manifest import Manifest, scan
from sidestep_tui.dataset.measuring.measure import Measured, measure_file, remembered

TASK: Final = "measure"
PART: Final = "measure_part"
STARTING: Final = "starting"
"""What is reported until the first song is done."""
QUIET_SECONDS: Final = 300.0
"""What the first use on a machine may take: numba compiles librosa for 20 s on a good one (measured)."""
_MOST_WORKERS: Final = 4
_PART_SONGS: Final = 100
_WORTH_A_PROCESS: Final = 6
_HEARTBEAT_SECONDS: Final = 5.0
_STEPS: Final = 200
"""As in `apart_tasks`."""

Report = Callable[[str, int, int], None]
_Named = tuple[str, str]
"""Name and path of a song."""


def measure(given: dict[str, Any], report: Report) -> list[dict[str, Any]]:
    """Tempo and key of the songs called `names` (none: all) of a folder (`root`, `txt_role`, `language`) or of a
    `manifest` that the caller has; one dictionary of `Measured` each."""
    if "manifest" in given:
        found = Manifest.from_dict(given["manifest"])
    else:
        found = scan(
            given["root"], given["txt_role"], given["language"], lambda done, total: report("headers", done, total)
        )
    songs = reading.chosen(found, given["names"])
    measured = {song.name: known for song in songs if (known := remembered(song.name, song.audio)) is not None}
    left = [(song.name, str(song.audio)) for song in songs if song.name not in measured]
    measured |= _measure_apart(left, len(measured), report)
    return [dataclasses.asdict(measured[song.name]) for song in songs]


def measure_part(given: dict[str, Any], report: Report) -> list[dict[str, Any]]:
    """The same for `songs`, pairs of name and path, in this process."""
    results = []
    for done, (name, path) in enumerate(given["songs"]):
        report("songs", done, len(given["songs"]))
        results.append(dataclasses.asdict(measure_file(name, Path(path))))
    return results


def _measure_apart(songs: list[_Named], known: int, report: Report) -> dict[str, Measured]:
    """Spread songs over processes and report what they have done, at least every few seconds."""
    total = known + len(songs)
    # Starting to measure takes as long as measuring some songs.
    workers = min(_workers(), -(-len(songs) // _WORTH_A_PROCESS))
    size = max(1, min(_PART_SONGS, -(-len(songs) // max(1, workers))))
    parts: queue.SimpleQueue[list[_Named]] = queue.SimpleQueue()
    for first in range(0, len(songs), size):
        parts.put(songs[first : first + size])
    done: queue.SimpleQueue[Measured | BaseException | int] = queue.SimpleQueue()
    threads = [threading.Thread(target=_work, args=(parts, done), daemon=True) for _ in range(workers)]
    report(STARTING if songs else "songs", known, total)
    for thread in threads:
        thread.start()
    measured: dict[str, Measured] = {}
    seen = known
    while len(measured) < len(songs):
        try:
            item = done.get(timeout=_HEARTBEAT_SECONDS)
        except queue.Empty:
            # Steps are passed on by the hundredth or so: the last one again is a sign of life that is never left out.
            report("songs" if seen > known else STARTING, seen - seen % max(1, total // _STEPS), total)
            continue
        if isinstance(item, BaseException):
            raise item
        if isinstance(item, Measured):
            measured[item.name] = item
        else:
            seen = min(seen + item, total - 1)
            report("songs" if seen > known else STARTING, seen, total)
    report("songs", total, total)
    return measured


def _work(parts: queue.SimpleQueue[list[_Named]], done: queue.SimpleQueue[Measured | BaseException | int]) -> None:
    """Measure parts until there are none; everything found, and the number of songs begun since, goes to `done`."""
    try:
        while True:
            for item in _measure_part(parts.get_nowait(), done.put):
                done.put(item)
    except queue.Empty:
        return
    except BaseException as error:  # noqa: BLE001 (a thread's border: what happened is raised by whoever waits)
        done.put(error)


def _measure_part(songs: Sequence[_Named], say: Callable[[int], None]) -> list[Measured]:
    """One part; the song that a process breaks at is left out, and the rest is tried again."""
    results: list[Measured] = []
    left = list(songs)
    while left:
        begun = 0

        def progress(_doing: str, done: int, _total: int) -> None:
            nonlocal begun
            say(done - begun)
            begun = done

        try:
            plain = apart.call(PART, {"songs": left}, progress, quiet_seconds=QUIET_SECONDS)
        except DataError as error:
            finished, broken = left[:begun], left[begun]
            results += [remembered(name, Path(path)) or _unknown(name, error) for name, path in finished]
            results.append(_unknown(broken[0], error))
            left = left[begun + 1 :]
        else:
            results += [Measured(**item) for item in plain]
            left = []
    return results


def _unknown(name: str, error: DataError) -> Measured:
    return Measured(name, note=f"It could not be measured: {error.title[:1].lower()}{error.title[1:]}")


def _workers() -> int:
    """Processes to use: one for each core that we may use, up to four, since disks and memory are shared."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(_MOST_WORKERS, cores))
