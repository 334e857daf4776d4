"""Finding sound files that were cut short in copying, which libsndfile reads without complaint as shorter songs.

Wav says in its header how many bytes follow; the last Ogg page says how long it is. Flac and mp3 need no look here:
their decoders notice.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO, Final

# What programs write when they stream wav and cannot know the length: no promise, so nothing is missing.
_UNKNOWN_LENGTH: Final = 0x7FFFF000
_MOST_CHUNKS: Final = 64
# The largest Ogg page: 27 bytes of header, 255 lengths, 255 segments of 255 bytes.
_LARGEST_PAGE: Final = 27 + 255 + 255 * 255


def missing_bytes(path: Path) -> int:
    """How many bytes the file promises beyond its end; 0 for a whole file and for formats without such a promise."""
    with path.open("rb") as handle:
        size = os.fstat(handle.fileno()).st_size
        start = handle.read(12)
        if start[:4] == b"RIFF" and start[8:12] == b"WAVE":
            return _missing_in_wav(handle, size)
        if start[:4] == b"OggS":
            handle.seek(max(0, size - 2 * _LARGEST_PAGE))
            return _missing_in_ogg(handle.read())
    return 0


def _missing_in_wav(handle: BinaryIO, size: int) -> int:
    """Walk the chunks to the one with the samples."""
    position = 12
    for _ in range(_MOST_CHUNKS):
        handle.seek(position)
        head = handle.read(8)
        if len(head) < 8:
            return 0
        (length,) = struct.unpack("<I", head[4:])
        if head[:4] == b"data":
            return max(0, position + 8 + length - size) if length < _UNKNOWN_LENGTH else 0
        position += 8 + length + length % 2
    return 0


def _missing_in_ogg(tail: bytes) -> int:
    """The part of the last page that is not there. A torn header counts as one byte at least."""
    at = tail.rfind(b"OggS")
    if at < 0:
        return 0
    page = tail[at:]
    if len(page) < 27 or len(page) < 27 + page[26]:
        return 1
    whole = 27 + page[26] + sum(page[27 : 27 + page[26]])
    return max(0, whole - len(page))
