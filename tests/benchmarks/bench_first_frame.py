"""Time from spawn to the first frame on a pty, beside the smallest Textual app in the same run. By hand:

    python tests/benchmarks/bench_first_frame.py [ROUNDS]

"frame" is the title with rail and footer; "form" is the wizard's first field, ready for typing.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import statistics
import struct
import sys
import tempfile
import termios
import time
from collections.abc import Mapping, Sequence

TRIVIAL = """
from textual.app import App
from textual.widgets import Static

class Trivial(App):
    def compose(self):
        yield Static("painted")

Trivial().run()
"""


def milliseconds_until(needle: bytes, command: Sequence[str], env: Mapping[str, str]) -> float:
    """Spawn a command on an 80x24 pty and wait until it has written `needle`."""
    started = time.perf_counter()
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(command[0], list(command), dict(env))
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    seen = b""
    try:
        while needle not in seen:
            ready, _, _ = select.select([terminal], [], [], 10)
            if not ready:
                raise TimeoutError(f"{command[-1]} did not show {needle!r}")
            seen += os.read(terminal, 65536)
        return (time.perf_counter() - started) * 1000
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)


def main(rounds: int) -> None:
    """Print medians over interleaved rounds, so that a busy machine slows all of them alike."""
    ours = [sys.executable, "-m", "sidestep_tui"]
    cases = {
        "trivial app": (b"painted", [sys.executable, "-c", TRIVIAL]),
        "frame": (b"sidestep", ours),
        "form": (b"GiB", ours),
    }
    times: dict[str, list[float]] = {name: [] for name in cases}
    with tempfile.TemporaryDirectory() as home:
        places = {f"XDG_{name}_HOME": home for name in ("CONFIG", "STATE", "CACHE", "DATA")}
        env = {**os.environ, **places, "HOME": home, "TERM": "xterm-256color"}
        for _ in range(rounds + 1):  # the first round warms the caches
            for name, (needle, command) in cases.items():
                times[name].append(milliseconds_until(needle, command, env))
    medians = {name: statistics.median(values[1:]) for name, values in times.items()}
    for name, median in medians.items():
        ratio = median / medians["trivial app"]
        print(f"{name:12} {median:5.0f} ms  (best {min(times[name][1:]):.0f})  {ratio:.2f} x trivial")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
