"""A terminal for tests: runs a program on a pseudo-terminal, counts its bytes, renders its screen with pyte.

with Terminal([sys.executable, "-m", "…"], columns=80, rows=24) as terminal:
    terminal.wait_for("Model")
    terminal.send(DOWN, ENTER)
    assert terminal.quiet_bytes(seconds=2) == 0
"""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import psutil
import pyte

ENTER, ESC, TAB, BACKSPACE = "\r", "\x1b", "\t", "\x7f"
UP, DOWN, RIGHT, LEFT = "\x1b[A", "\x1b[B", "\x1b[C", "\x1b[D"
F1, F2, F3, F4 = "\x1bOP", "\x1bOQ", "\x1bOR", "\x1bOS"
F5, F6, F7, F8, F9, F10 = "\x1b[15~", "\x1b[17~", "\x1b[18~", "\x1b[19~", "\x1b[20~", "\x1b[21~"


def ctrl(letter: str) -> str:
    """The byte that control and a letter send."""
    return chr(ord(letter.upper()) - 64)


class Terminal:
    """A program on a pseudo-terminal of a given size.

    `stderr_to` sends standard error elsewhere than the terminal. `environment` is added to a clean environment in
    which HOME, the XDG directories and the working directory all lie in `cwd`.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        columns: int = 120,
        rows: int = 40,
        environment: Mapping[str, str] | None = None,
        term: str = "xterm-256color",
        stderr_to: int | None = None,
    ) -> None:
        self.columns, self.rows = columns, rows
        self.received = 0
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.Stream(self._screen)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._master, slave = pty.openpty()
        self._resize(columns, rows)
        env = {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "TERM": term,
            "HOME": str(cwd),
            "XDG_CONFIG_HOME": str(cwd / ".config"),
            "XDG_STATE_HOME": str(cwd / ".state"),
            "XDG_CACHE_HOME": str(cwd / ".cache"),
            "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
            **(environment or {}),
        }

        def take_terminal() -> None:
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            list(argv),
            stdin=slave,
            stdout=slave,
            stderr=slave if stderr_to is None else stderr_to,
            cwd=cwd,
            env=env,
            preexec_fn=take_terminal,
        )
        os.close(slave)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def resize(self, columns: int, rows: int) -> None:
        """Change the size of the window, as dragging its corner does."""
        self.columns, self.rows = columns, rows
        self._screen.resize(rows, columns)
        self._resize(columns, rows)
        self.process.send_signal(signal.SIGWINCH)

    def send(self, *keys: str) -> None:
        """Type keys: plain text, or the constants of this module."""
        for key in keys:
            os.write(self._master, key.encode())

    def read(self, timeout: float = 0.05, *, most: int = 65536) -> bytes:
        """What the program wrote within `timeout`, at most 64 KiB; also fed to the screen and counted."""
        if self._master < 0 or not select.select([self._master], [], [], timeout)[0]:
            return b""
        try:
            data = os.read(self._master, most)
        except OSError:  # Linux answers EIO when the other side has closed.
            return b""
        self.received += len(data)
        # pyte reads the private forms of keyboard-protocol sequences as text styles, so they are not shown to it.
        self._stream.feed(_without_private_sgr(self._decoder.decode(data)))
        return data

    def read_for(self, seconds: float) -> bytes:
        """Everything that arrives within `seconds`."""
        deadline = time.monotonic() + seconds
        parts = []
        while (left := deadline - time.monotonic()) > 0:
            parts.append(self.read(min(left, 0.1)))
        return b"".join(parts)

    def quiet_bytes(self, seconds: float) -> int:
        """How many bytes arrive within `seconds` while nothing is typed."""
        return len(self.read_for(seconds))

    def settle(self, quiet: float = 0.4, timeout: float = 15) -> None:
        """Read until nothing has arrived for `quiet` seconds and the program rests (a busy machine is silent too)."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if not self.read(quiet) and all(self._rests() for _ in range(3)):
                return

    def _rests(self) -> bool:
        """Whether the program wrote nothing for a moment and waits for something, instead of for a processor."""
        if self.read(0.02):
            return False
        try:
            return psutil.Process(self.process.pid).status() != psutil.STATUS_RUNNING
        except psutil.NoSuchProcess:
            return True

    def wait_until(self, condition: Callable[[], bool], *, timeout: float = 20, what: str = "the condition") -> None:
        """Read until `condition` holds; fails with the screen as it is."""
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"{what} did not come about; the screen shows:\n{self.text}")
            if not self.read(0.1) and self.process.poll() is not None and not condition():
                raise AssertionError(f"the program ended ({self.process.returncode}) before {what}:\n{self.text}")

    def wait_for(self, text: str, *, timeout: float = 20) -> None:
        """Read until the screen shows `text`."""
        self.wait_until(lambda: text in self.text, timeout=timeout, what=f"{text!r}")

    @property
    def lines(self) -> list[str]:
        """The rows of the screen, without trailing blanks."""
        return [line.rstrip() for line in self._screen.display]

    @property
    def text(self) -> str:
        """The screen as one string."""
        return "\n".join(self.lines)

    def hang_up(self) -> None:
        """Close the terminal, as a dropped SSH connection does: the kernel sends SIGHUP."""
        if self._master >= 0:
            os.close(self._master)
            self._master = -1

    def wait(self, timeout: float = 20) -> int:
        """The exit status of the program; goes on reading, so that it never blocks on a full pipe."""
        deadline = time.monotonic() + timeout
        while self.process.poll() is None:
            if time.monotonic() > deadline:
                raise AssertionError(f"the program did not end; the screen shows:\n{self.text}")
            if not self.read(0.1) and self._master < 0:
                time.sleep(0.05)
        while self.read(0.05):
            pass
        return self.process.returncode

    def close(self) -> None:
        """End the program if it still runs, and let go of the terminal."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.hang_up()


def _without_private_sgr(text: str) -> str:
    for mark in ("\x1b[>", "\x1b[<", "\x1b[="):
        while (start := text.find(mark)) >= 0:
            end = start + len(mark)
            while end < len(text) and (text[end].isdigit() or text[end] == ";"):
                end += 1
            text = text[:start] + text[end + 1 :]
    return text
