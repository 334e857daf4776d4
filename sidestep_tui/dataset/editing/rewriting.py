"""Changing text files that people made: only within the folder, never over someone else's change, with a backup."""

from __future__ import annotations

import os
import stat
from itertools import count
from pathlib import Path

from sidestep_tui.core import atomic
from sidestep_tui.dataset.files import LARGEST_TABLE
from sidestep_tui.dataset.probe import AUDIO_SUFFIXES, OTHER_AUDIO_SUFFIXES


class RefusedError(Exception):
    """A file that must not be written; the message follows its name."""


def target(root: Path, origin: str) -> tuple[Path, int]:
    """The file that `origin` (a posix path from the root) means, behind links, and its permissions.

    `RefusedError` for anything but a writable text file within the folder.
    """
    path = (root / origin).resolve(strict=True)
    if not path.is_relative_to(root.resolve()):
        raise RefusedError("lies outside the folder")
    status = path.stat()
    if not stat.S_ISREG(status.st_mode) or path.suffix.lower() in AUDIO_SUFFIXES | OTHER_AUDIO_SUFFIXES:
        raise RefusedError("is not a text file")
    if status.st_size > LARGEST_TABLE:
        raise RefusedError("is too large")
    if not os.access(path, os.W_OK) or not status.st_mode & 0o222:
        raise RefusedError("is write-protected")
    return path, stat.S_IMODE(status.st_mode)


def overwrite(path: Path, before: bytes, after: bytes, mode: int, *, keep_backup: bool = True) -> str:
    """Replace the contents of a file that still reads `before`; returns the name of the backup."""
    if path.read_bytes() != before:
        raise RefusedError("has changed meanwhile")
    backup = back_up(path, before) if keep_backup and before else ""
    atomic.write_bytes(path, after, mode=mode)
    return backup


def create(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file that is not there yet."""
    if os.path.lexists(path):
        raise RefusedError("has appeared meanwhile")
    atomic.write_bytes(path, data, mode=mode)


def remove(path: Path, data: bytes) -> None:
    """Take away a file that was created with `data` and has not changed since."""
    if path.is_symlink() or path.read_bytes() != data:
        raise RefusedError("has changed meanwhile")
    path.unlink()
    atomic.fsync_dir(path.parent)


def back_up(path: Path, data: bytes) -> str:
    """Keep `data`, which `path` holds, as `name.bak`, or `name.bak2` and so on; an existing backup is never touched.

    Where the file system can, the backup is the old file itself: that costs nothing and is on the disk already.
    """
    for number in count(1):
        backup = path.with_name(f"{path.name}.bak{number if number > 1 else ''}")
        if os.path.lexists(backup):
            continue
        try:
            if not _linked(path, backup):
                _copied(data, backup)
        except FileExistsError:
            continue
        return backup.name
    raise AssertionError("count() never ends")


def _linked(path: Path, backup: Path) -> bool:
    """Give the old file the backup's name too; not where it has other names, through which it could still change."""
    if path.stat().st_nlink > 1:
        return False
    try:
        os.link(path, backup)
    except FileExistsError:
        raise
    except OSError:
        return False
    return True


def _copied(data: bytes, backup: Path) -> None:
    with backup.open("xb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())


def reason(error: Exception) -> str:
    """Why a file could not be written; follows its name."""
    if isinstance(error, OSError):
        return f"cannot be written ({error.strerror or error})"
    return str(error)
