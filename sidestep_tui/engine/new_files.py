"""Files that get their name when they are whole, and never one that is taken."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sidestep_tui.core import atomic
from sidestep_tui.core.errors import AdapterError

_NO_LINKS: Final = frozenset({errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK})
"""How file systems say that they have no hard links."""


def publish_new(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a file beside `path` and give it that name, whole; AdapterError if the name is taken."""
    refuse_taken(path)
    with atomic.disk_errors(path):
        fd, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=f".tmp{path.suffix}", dir=path.parent)
        os.close(fd)
        temporary = Path(name)
        try:
            write(temporary)
            temporary.chmod(0o644)
            fd = os.open(temporary, os.O_RDONLY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
            _name(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        atomic.fsync_dir(path.parent)


def _name(temporary: Path, path: Path) -> None:
    """Give the finished file its name; a link, unlike a rename, never takes the place of what is there by now."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        refuse_taken(path)
        raise
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        refuse_taken(path)
        temporary.rename(path)


def refuse_taken(path: Path) -> None:
    """Raise AdapterError if something has this name already: nothing is ever overwritten."""
    if path.exists() or path.is_symlink():
        raise AdapterError(
            "There is something of that name already.",
            f"{path} stays as it is; nothing was written.",
            "Choose another name with --output.",
        )
