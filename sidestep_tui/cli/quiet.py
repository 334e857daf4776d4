"""Silence for native libraries that write to the terminal past Python."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def native_stderr() -> Iterator[None]:
    """Send what is written to file descriptor 2 nowhere; print nothing of your own meanwhile.

    The mp3 decoder in libsndfile has its own opinions on damaged files and no switch to keep them to itself; what is
    wrong with a file is said by us, with its name and a remedy.
    """
    try:
        saved = os.dup(2)
    except OSError:  # closed: nothing to keep quiet
        yield
        return
    sys.stderr.flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
