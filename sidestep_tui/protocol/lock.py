"""The one module that locks files: who holds a run directory, for life.

`flock` is released by the kernel however a process dies, so a free lock is proof of death. A viewer that
probes takes a shared lock for an instant; the engine therefore tries for a second before it gives up.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from sidestep_tui.core.errors import RunError
from sidestep_tui.protocol.rundir import RunDir

try:
    import fcntl
except ImportError:  # Windows: holders are told apart by process id alone.
    fcntl = None  # type: ignore[assignment]

_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}
_BUSY = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES}


def boot_id() -> str:
    """Names this boot of this machine; a process id means nothing beyond it."""
    source = Path("/proc/sys/kernel/random/boot_id")
    if source.is_file():
        return source.read_text(encoding="ascii").strip()
    return f"boot-{int(psutil.boot_time())}"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who wrote the lock file last: the process that holds the lock, or the one that died with it."""

    pid: int
    host: str
    boot_id: str
    session: str
    started: float

    @classmethod
    def of_this_process(cls, session: str, now: float) -> Holder:
        """This process as a holder."""
        return cls(os.getpid(), socket.gethostname(), boot_id(), session, now)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Holder:
        """Read back what `RunLock` wrote; raises ValueError if it is something else."""
        try:
            return cls(
                pid=int(value["pid"]),
                host=str(value["host"]),
                boot_id=str(value["boot_id"]),
                session=str(value["session"]),
                started=float(value["started"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError("not a lock holder") from error

    def to_json(self) -> dict[str, Any]:
        """What the lock file holds."""
        return {
            "pid": self.pid,
            "host": self.host,
            "boot_id": self.boot_id,
            "session": self.session,
            "started": self.started,
        }

    def is_alive_here(self) -> bool:
        """Whether the process still exists on this machine and this boot."""
        return self.host == socket.gethostname() and self.boot_id == boot_id() and psutil.pid_exists(self.pid)


def read_holder(run_dir: RunDir) -> Holder | None:
    """Who holds or last held the lock; None if nobody ever did, or the file is unreadable."""
    try:
        value = json.loads(run_dir.lock.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(value, dict):
        return None
    try:
        return Holder.from_json(value)
    except ValueError:
        return None


def _open(run_dir: RunDir) -> int:
    try:
        return os.open(run_dir.lock, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise RunError(
            f"The run {run_dir.name} cannot be written to.",
            f"{run_dir.lock}: {error.strerror}.",
            "Check that the directory is yours and on a disk that can be written to.",
        ) from error


class RunLock:
    """An exclusive claim on a run directory, held until `release` or the end of the process."""

    def __init__(self, run_dir: RunDir, session: str, *, now: float, patience: float = 1.0) -> None:
        self.run_dir = run_dir
        self.holder = Holder.of_this_process(session, now)
        self._fd: int | None = _open(run_dir)
        try:
            self._claim(patience)
            self._write_holder()
        except BaseException:
            os.close(self._fd)
            self._fd = None
            raise

    def _claim(self, patience: float) -> None:
        if self._fd is None:
            raise ValueError("the lock was released")
        deadline = time.monotonic() + patience
        while True:
            outcome = _try_flock(self._fd, exclusive=True)
            if outcome == "taken":
                return
            if outcome == "unsupported":
                other = read_holder(self.run_dir)
                if other is None or other.pid == os.getpid() or not other.is_alive_here():
                    return
            if time.monotonic() >= deadline:
                raise self._in_use()
            time.sleep(0.02)

    def _in_use(self) -> RunError:
        other = read_holder(self.run_dir)
        who = f"by process {other.pid} on {other.host}" if other else "by another process"
        return RunError(
            f"The run {self.run_dir.name} is in use.",
            f"{self.run_dir.path} is held {who}.",
            f"Watch it with `sidestep-tui attach {self.run_dir.path}`, or stop it with "
            f"`sidestep-tui stop {self.run_dir.path}` before starting it again.",
        )

    def _write_holder(self) -> None:
        if self._fd is None:
            raise ValueError("the lock was released")
        data = json.dumps(self.holder.to_json()).encode() + b"\n"
        # In place: a renamed file would be another file, with another lock.
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, data, 0)

    def release(self) -> None:
        """Give the directory back; the file stays and names the last holder."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> RunLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _try_flock(fd: int, *, exclusive: bool) -> str:
    """`taken`, `busy`, or `unsupported` (some network file systems)."""
    if fcntl is None:
        return "unsupported"
    try:
        fcntl.flock(fd, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _BUSY:
            return "busy"
        if error.errno in _NO_LOCKS:
            return "unsupported"
        raise
    return "taken"


def is_held(run_dir: RunDir) -> bool:
    """Whether an engine holds the run directory now. Never blocks, never changes the file."""
    try:
        fd = os.open(run_dir.lock, os.O_RDONLY)
    except OSError:
        return False
    try:
        outcome = _try_flock(fd, exclusive=False)
    finally:
        os.close(fd)
    if outcome == "unsupported":
        holder = read_holder(run_dir)
        return holder is not None and holder.is_alive_here()
    return outcome == "busy"


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold a lock file for a moment, around reading and rewriting a file that several processes share."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if fcntl is not None:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
        yield
    finally:
        os.close(fd)
