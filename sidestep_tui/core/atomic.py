"""Files and directories that appear whole or not at all.

Every writer in the product goes through here: a reader never sees half a file, and a full disk or a kill
leaves the previous version in place.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sidestep_tui.core.errors import DiskFullError

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""How a file system says that a file may not grow: full, over quota, over the largest size that it allows."""


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn "no space left" into a sentence that names the file; other errors pass through."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM:
            raise DiskFullError(
                "The disk is full.",
                f"{path} could not be written; its previous version is intact.",
                "Free some space (old checkpoints are the usual suspects), then resume the run.",
            ) from error
        raise


def fsync_dir(directory: Path) -> None:
    """Make a rename inside `directory` durable (a no-op where directories cannot be synced)."""
    if os.name == "nt":
        return
    fd = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(fd)
    except OSError as error:
        # Some network file systems refuse to sync a directory; the rename itself has happened.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(fd)


def write_bytes(path: Path, data: bytes, *, mode: int = 0o644, durable: bool = True) -> None:
    """Write `data` to a temporary file beside `path`, sync it, and rename it into place.

    `durable=False` skips the syncs: for snapshots that are rewritten every second.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with disk_errors(path):
        fd, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        try:
            with os.fdopen(fd, "wb") as handle:
                handle.write(data)
                handle.flush()
                if durable:
                    os.fsync(handle.fileno())
            Path(temporary).chmod(mode)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        if durable:
            fsync_dir(path.parent)


def write_text(path: Path, text: str, *, mode: int = 0o644, durable: bool = True) -> None:
    """`write_bytes` for UTF-8 text."""
    write_bytes(path, text.encode("utf-8"), mode=mode, durable=durable)


def write_json(path: Path, value: Any, *, mode: int = 0o644, durable: bool = True, indent: int | None = 2) -> None:
    """`write_bytes` for a JSON value; ends with a newline."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    write_text(path, text + "\n", mode=mode, durable=durable)


@contextmanager
def publish_dir(target: Path) -> Iterator[Path]:
    """Yield a scratch directory beside `target`; sync its files and rename it into place on success.

    An existing `target` is never merged into: the rename fails if it is a non-empty directory. The parent is made if
    need be, but not the parent's parent: a run whose directory was moved away is not begun a second time.
    """
    target.parent.mkdir(exist_ok=True)
    with disk_errors(target):
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent))
        try:
            scratch.chmod(0o755)
            yield scratch
            for path in scratch.rglob("*"):
                if path.is_file():
                    fd = os.open(path, os.O_RDONLY)
                    try:
                        os.fsync(fd)
                    finally:
                        os.close(fd)
                elif path.is_dir():
                    fsync_dir(path)
            fsync_dir(scratch)
            scratch.rename(target)
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise
        fsync_dir(target.parent)
