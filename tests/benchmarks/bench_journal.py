"""How long a viewer takes to attach to a run of a day: 430,000 steps with gauges, epochs and checkpoints, 150 MB.

Run it by hand: `python tests/benchmarks/bench_journal.py`. The budgets: a picture from `state.json` within 300 ms,
the whole history within two seconds, and 100 MB of memory for it.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from sidestep_tui.engine.fake_curves import Curves, FakePlan
from sidestep_tui.protocol import snapshot
from sidestep_tui.protocol.events import encode
from sidestep_tui.protocol.journal import Journal
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.protocol.state import RunState
from sidestep_tui.protocol.tail import Tail
from sidestep_tui.ui.feed import Feed

STEPS = 430_000
PER_EPOCH = 100


def write_day(run_dir: RunDir) -> int:
    """The journal of a day, and the summary that the engine left; returns the size of the journal."""
    curves = Curves(FakePlan(steps=STEPS, step_seconds=0.2))
    fields = [curves.step_fields(step) for step in range(1, 5_001)]
    gauge: dict[str, Any] = {"gpus": [gpu.event() for gpu in curves.gpus(3)], "cpu": 14.0, "rss": 4 << 30}
    seq = 0
    with run_dir.events.open("wb") as handle:

        def say(kind: str, at: int, **more: Any) -> None:
            nonlocal seq
            head = {"v": 1, "seq": seq, "t": round(1.79e9 + at * 0.2, 3), "session": "a1b2c3d4", "type": kind}
            handle.write(encode({**head, **more}))
            seq += 1

        for step in range(1, STEPS + 1):
            epoch = (step - 1) // PER_EPOCH + 1
            say("step", step, **{**fields[step % 5_000], "step": step, "epoch": epoch})
            if step % 10 == 0:
                say("gpu", step, **gauge)
            if step % PER_EPOCH == 0:
                bands = {"by_band": {"0.00-0.25": 0.7, "0.25-0.50": 0.5, "0.50-0.75": 0.4, "0.75-1.00": 0.6}}
                say("epoch", step, epoch=epoch, step=step, loss=0.5, smoothed_loss=0.5, seconds=20.0, **bands)
    state = RunState(history=False)
    state.step = state.total_steps = STEPS
    size = run_dir.events.stat().st_size
    snapshot.write(run_dir, snapshot.describe(state, heartbeat=1.79e9, journal_offset=size))
    return size


def attach(run_dir: RunDir) -> tuple[float, float, RunState]:
    """Seconds until there is a picture, and until the whole history is in; the loop and the reader as in the app."""
    news, done = threading.Event(), threading.Event()
    feed = Feed(run_dir.path, news.set, time.time)
    state, picture = RunState(), 0.0
    start = time.perf_counter()
    reader = threading.Thread(target=feed.run, args=(done.is_set,))
    reader.start()
    while True:
        news.wait()
        news.clear()
        batch = feed.drain()
        picture = picture or (time.perf_counter() - start if batch.picture else 0.0)
        state.apply_all(batch.events)
        if batch.caught_up:
            break
    whole = time.perf_counter() - start
    done.set()
    reader.join()
    return picture, whole, state


def memory() -> float:
    """The most this process has used, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def main() -> None:
    """Measure attaching, reading, drawing and writing."""
    with tempfile.TemporaryDirectory() as folder:
        run_dir = RunDir.create(Path(folder), "day")
        size = write_day(run_dir)
        before = memory()
        cpu = time.process_time()
        picture, whole, state = attach(run_dir)
        cpu = time.process_time() - cpu
        print(f"{state.step:,} steps, {size / 1e6:.0f} MB: picture {picture * 1e3:.0f} ms, whole history {whole:.2f} s")
        print(f"  of one core {cpu:.2f} s; memory {before:.0f} -> {memory():.0f} MB")
        tail, reading = Tail(run_dir.events, bulk=True), time.process_time()
        while not tail.at_end:
            tail.read()
        print(f"  reading alone {time.process_time() - reading:.2f} s of one core")
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
