"""The journal: the only truth about a run, written one whole line at a time."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sidestep_tui.core.atomic import NO_ROOM
from sidestep_tui.core.errors import DiskFullError
from sidestep_tui.protocol.events import VERSION, Event, decode, encode, is_complete
from sidestep_tui.protocol.rundir import RunDir

_BLOCK = 64 * 1024


class Journal:
    """Appends events to `events.jsonl`: one `os.write` a line, numbered on from what is already there.

    Opening repairs a line that a dead session left unfinished: a whole event that only lacks its newline
    gets one, anything less is cut off. Safe to call from several threads; order in the file is order of `seq`.
    """

    def __init__(self, run_dir: RunDir, session: str, clock: Callable[[], float]) -> None:
        self.path = run_dir.events
        self.session = session
        self.repaired_bytes = 0
        """How much of a torn line was cut off when this session began."""
        self._clock = clock
        self._lock = threading.Lock()
        self._fd: int | None = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            self._repair(self._fd)
            last = last_event(self.path)
        except BaseException:
            os.close(self._fd)
            self._fd = None
            raise
        seq = last.get("seq") if last else None
        self._seq = seq if type(seq) is int else -1
        self._size = os.fstat(self._fd).st_size

    @property
    def seq(self) -> int:
        """The number of the last event written, by any session; -1 before the first."""
        return self._seq

    @property
    def offset(self) -> int:
        """How many bytes of whole lines the file holds."""
        return self._size

    @property
    def is_open(self) -> bool:
        """Whether `append` still works."""
        return self._fd is not None

    def is_in_place(self) -> bool:
        """Whether the open file still lies at its path; false once its directory was moved or deleted."""
        with self._lock:
            if self._fd is None:
                return True
            try:
                own, there = os.fstat(self._fd), self.path.stat()
            except (FileNotFoundError, NotADirectoryError):
                return False
            except OSError:
                # A disk that does not answer is no proof; whoever writes next will hear of it.
                return True
            # Some network mounts number a file anew at every look; only this journal grows in step with itself.
            return os.path.samestat(own, there) or own.st_size == there.st_size

    def _repair(self, fd: int) -> None:
        size = os.fstat(fd).st_size
        start = _start_of_torn_line(fd, size)
        if start == size:
            return
        if is_complete(os.pread(fd, size - start, start)):
            self._write(fd, b"\n", size)
            return
        os.ftruncate(fd, start)
        self.repaired_bytes = size - start

    def append(self, type: str, **fields: Any) -> Event:
        """Write one event and return it as written; raises DiskFullError with the journal intact."""
        with self._lock:
            if self._fd is None:
                raise RuntimeError("the journal is closed")
            event: Event = {
                "v": VERSION,
                "seq": self._seq + 1,
                "t": self._clock(),
                "session": self.session,
                "type": type,
                **fields,
            }
            line = encode(event)
            self._write(self._fd, line, self._size)
            self._seq += 1
            self._size += len(line)
            return event

    def _write(self, fd: int, line: bytes, size: int) -> None:
        try:
            written = os.write(fd, line)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            raise self._full() from error
        if written != len(line):
            os.ftruncate(fd, size)
            raise self._full()

    def _full(self) -> DiskFullError:
        return DiskFullError(
            "The disk is full.",
            f"The journal {self.path} could not grow; everything written so far is intact.",
            "Free some space (old checkpoints are the usual suspects), then resume the run.",
        )

    def sync(self) -> None:
        """Make everything written so far survive a power cut; for checkpoints and the end, not for steps."""
        with self._lock:
            if self._fd is not None:
                self._sync(self._fd)

    def close(self) -> None:
        """Sync and stop writing."""
        with self._lock:
            if self._fd is None:
                return
            fd, self._fd = self._fd, None
            try:
                self._sync(fd)
            finally:
                os.close(fd)

    def _sync(self, fd: int) -> None:
        try:
            os.fsync(fd)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            raise self._full() from error


def _start_of_torn_line(fd: int, size: int) -> int:
    """Where the bytes after the last newline begin; `size` if the file ends with one."""
    end = size
    while end > 0:
        begin = max(0, end - _BLOCK)
        newline = os.pread(fd, end - begin, begin).rfind(b"\n")
        if newline >= 0:
            return begin + newline + 1
        end = begin
    return 0


def last_events(path: Path, limit_bytes: int = _BLOCK) -> list[Event]:
    """The events in the last `limit_bytes` of a journal, oldest first; unreadable lines are left out."""
    try:
        with path.open("rb") as handle:
            size = handle.seek(0, os.SEEK_END)
            begin = max(0, size - limit_bytes)
            handle.seek(begin)
            data = handle.read(size - begin)
    except FileNotFoundError:
        return []
    lines = data.split(b"\n")[:-1]
    if begin > 0:
        lines = lines[1:]
    events: list[Event] = []
    for line in lines:
        try:
            events.append(decode(line))
        except ValueError:
            continue
    return events


def last_event(path: Path) -> Event | None:
    """The newest whole event that has a number; looks back as far as it must."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return None
    limit = _BLOCK
    while True:
        for event in reversed(last_events(path, limit)):
            if type(event.get("seq")) is int:
                return event
        if limit >= size:
            return None
        limit *= 8
