"""How long a viewer takes to read the journal of a day: 430,000 steps, about 85 MB.

Run it by hand: `python tests/benchmarks/bench_journal.py`. The budget is two seconds of one core.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from sidestep_tui.engine.fake_curves import Curves, FakePlan
from sidestep_tui.protocol.events import encode
from sidestep_tui.protocol.journal import Journal
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.protocol.state import RunState
from sidestep_tui.protocol.tail import Tail

STEPS = 430_000


def write_journal(path: Path) -> int:
    """A journal of steps; returns its size."""
    curves = Curves(FakePlan(steps=STEPS, step_seconds=0.2))
    fields = [curves.step_fields(step) for step in range(1, 5_001)]
    with path.open("wb") as handle:
        for step in range(STEPS):
            head = {"v": 1, "seq": step, "t": 1.79e9 + step * 0.2, "session": "a1b2c3d4", "type": "step"}
            handle.write(encode({**head, **fields[step % 5_000], "step": step + 1, "epoch": step // 100 + 1}))
    return path.stat().st_size


def main() -> None:
    """Measure reading, drawing and writing."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.jsonl"
        size = write_journal(path)
        tail, state = Tail(path), RunState()
        reading = reducing = 0.0
        while True:
            start = time.process_time()
            events = tail.read()
            middle = time.process_time()
            state.apply_all(events)
            reading += middle - start
            reducing += time.process_time() - middle
            if not events:
                break
        print(f"{state.step:,} steps, {size / 1e6:.0f} MB: read {reading:.2f} s, reduce {reducing:.2f} s")
        loss = state.series["loss"]
        for label in ("first", "next"):
            start = time.process_time()
            loss.window(0, STEPS, 232)
            print(f"{label} window of 232 buckets: {(time.process_time() - start) * 1e3:.1f} ms")
        journal = Journal(RunDir.create(folder, "bench"), "a", time.time)
        fields = Curves(FakePlan()).step_fields(7)
        start = time.process_time()
        for _ in range(20_000):
            journal.append("step", **fields)
        print(f"append: {(time.process_time() - start) / 20_000 * 1e6:.1f} µs an event")


if __name__ == "__main__":
    main()
