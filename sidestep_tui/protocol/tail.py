"""Reading a journal as it grows."""

from __future__ import annotations

import os
from pathlib import Path

from sidestep_tui.protocol import bulk
from sidestep_tui.protocol.events import Event, decode_lines

DEFAULT_LIMIT = 1 << 20
"""One block of a journal: about 5,000 steps, a few milliseconds to parse."""


class Tail:
    """Hands out the events added since the last read, in blocks.

    A line without its newline is left in the file until it has one. A missing file reads as empty. A file
    that became shorter was replaced: reading starts over and `restarts` counts up, so that a viewer can
    begin a new `RunState`.
    """

    def __init__(self, path: Path, offset: int = 0, *, bulk: bool = False) -> None:
        self.path = path
        self.bulk = bulk
        """Whether what lies far before the end may come as columns, with few gauges: see `protocol.bulk`."""
        self.offset = offset
        """The byte after the last line handed out; always the start of a line."""
        self.skipped = 0
        """How many lines were not events."""
        self.restarts = 0
        """How often the file was found shorter than what had been read."""
        self.at_end = False
        """Whether the last read reached the end of the file."""
        self._left = 0

    def read(self, limit_bytes: int = DEFAULT_LIMIT) -> list[Event]:
        """The next events, at most about `limit_bytes` of journal; an empty list when there is nothing yet."""
        try:
            fd = os.open(self.path, os.O_RDONLY)
        except FileNotFoundError:
            self.at_end = True
            return []
        try:
            data = self._whole_lines(fd, limit_bytes)
        finally:
            os.close(fd)
        self.offset += len(data)
        far = self.bulk and self._left > limit_bytes
        events, bad = bulk.read(data, thin=True) if far else decode_lines(data)
        self.skipped += bad
        return events

    def _whole_lines(self, fd: int, limit_bytes: int) -> bytes:
        size = os.fstat(fd).st_size
        if size < self.offset:
            self.offset = 0
            self.restarts += 1
        wanted = max(1, limit_bytes)
        while True:
            data = os.pread(fd, wanted, self.offset)
            end = data.rfind(b"\n") + 1
            self._left = size - self.offset - len(data)
            self.at_end = self._left <= 0
            if end or len(data) < wanted:
                return data[:end]
            wanted *= 2  # One line longer than the block: take a larger one.

    def read_all(self) -> list[Event]:
        """Everything up to the end of the file. For tests and small journals; viewers read in blocks."""
        events = self.read()
        while not self.at_end:
            events += self.read()
        return events
