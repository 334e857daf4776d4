"""How soon a key is obeyed while a run is live on a slow line. By hand:

    python tests/benchmarks/bench_slow_line.py [BYTES_PER_SECOND] [LATENCY_SECONDS] [KEYS]

Measured from the key press until the order lies in the run's inbox.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sidestep_tui.protocol.rundir import RunDir
from tests.budget.terminal import Terminal

ATTACH = (
    "import sys; from pathlib import Path; from sidestep_tui.ui.app import run; sys.exit(run(run=Path(sys.argv[1])))"
)
PATIENCE = 60.0
SLICE = 0.02


class SlowLine:
    """A terminal that is read at so many bytes a second, and to which keys come late."""

    def __init__(self, terminal: Terminal, rate: float, latency: float) -> None:
        self.terminal, self.rate, self.latency = terminal, rate, latency
        self._budget = 0.0
        self._last = time.monotonic()
        self._keys: deque[tuple[float, str]] = deque()

    def press(self, key: str) -> None:
        """Send a key; it arrives after the latency."""
        self._keys.append((time.monotonic() + self.latency, key))

    def pump(self) -> None:
        """Let the line do what it can in a moment."""
        now = time.monotonic()
        self._budget = min(self._budget + (now - self._last) * self.rate, self.rate * 0.25)
        self._last = now
        while self._keys and self._keys[0][0] <= now:
            self.terminal.send(self._keys.popleft()[1])
        if self._budget >= 1:
            self._budget -= len(self.terminal.read(0.001, most=int(self._budget)))
        time.sleep(SLICE)


def orders(run_dir: RunDir) -> int:
    """Commands that were ever given."""
    return run_dir.events.read_bytes().count(b'"received"') + len(list(run_dir.inbox.glob("*.json")))


def measure(line: SlowLine, run_dir: RunDir, keys: int) -> list[float]:
    """Ask for checkpoints, one after the other."""
    obeyed = []
    for _ in range(keys):
        pause = time.monotonic() + 1.5
        while time.monotonic() < pause:
            line.pump()
        before = orders(run_dir)
        pressed = time.monotonic()
        line.press("c")
        while orders(run_dir) == before:
            assert time.monotonic() < pressed + PATIENCE, "the key was not obeyed"
            line.pump()
        obeyed.append(time.monotonic() - pressed)
    return obeyed


def main(rate: float, latency: float, keys: int) -> None:
    """Print medians and the worst."""
    with tempfile.TemporaryDirectory() as home:
        run_dir = RunDir.create(Path(home) / "runs", "drums")
        plan = {"steps": 1_000_000, "step_seconds": 0.1, "songs": 1, "steps_per_epoch": 100}
        env = {**os.environ, "SIDESTEP_FAKE": json.dumps(plan)}
        engine = subprocess.Popen(
            [sys.executable, "-m", "sidestep_tui.engine.fake", str(run_dir.path)], env=env, stdout=subprocess.DEVNULL
        )
        run_dir.run_toml.write_text('[run]\nname = "drums"\n')
        try:
            with Terminal([sys.executable, "-c", ATTACH, str(run_dir.path)], cwd=run_dir.path.parent) as terminal:
                line = SlowLine(terminal, rate, latency)
                while "● training" not in terminal.text:
                    line.pump()
                obeyed = measure(line, run_dir, keys)
        finally:
            engine.kill()
            engine.wait()
    print(f"obeyed: median {statistics.median(obeyed) * 1000:.0f} ms, worst {max(obeyed) * 1000:.0f} ms")


if __name__ == "__main__":
    numbers = [float(word) for word in sys.argv[1:]]
    main(*(numbers[:2] + [8000.0, 0.0][len(numbers[:2]) :]), keys=int(numbers[2]) if len(numbers) > 2 else 5)
