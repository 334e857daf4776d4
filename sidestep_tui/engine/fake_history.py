"""Whole histories of pretended runs: as events, and as run directories that viewers open like any other."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import sidestep_tui
from sidestep_tui.core import atomic
from sidestep_tui.engine.fake_curves import Curves, FakePlan
from sidestep_tui.protocol import snapshot
from sidestep_tui.protocol.events import VERSION, Event, encode
from sidestep_tui.protocol.lock import RunLock
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.protocol.state import RunState
from sidestep_tui.schema.run import RunFile
from sidestep_tui.schema.run import write_run as write_run_toml
from sidestep_tui.schema.settings import Settings

SCENARIOS = (
    "starting",
    "encoding",
    "live",
    "paused",
    "stopping",
    "resumed",
    "finished",
    "stopped",
    "crashed",
    "diverged",
    "failed",
    "out_of_memory",
)
ALIVE = frozenset({"starting", "encoding", "live", "paused", "stopping", "resumed"})
"""Scenarios in which the engine still holds the run."""

_GAUGES_EVERY = 2.0


class _Story:
    """Writes events along a made-up clock."""

    def __init__(self, plan: FakePlan, t0: float) -> None:
        self.plan = plan
        self.curves = Curves(plan)
        self.events: list[Event] = []
        self.t = t0
        self.session = ""
        self.best: float = math.inf
        self._next_gauges = t0
        self._ticks = 0

    def say(self, type: str, after: float = 0.0, **fields: Any) -> None:
        self.t += after
        head = {"v": VERSION, "seq": len(self.events), "t": round(self.t, 3), "session": self.session, "type": type}
        self.events.append({**head, **fields})

    def begin(self, session: str, resumed_from: int | None = None) -> None:
        self.session = session
        self.say(
            "session_started",
            pid=4213,
            host="studio",
            boot_id="00000000-0000-0000-0000-000000000000",
            product_version=sidestep_tui.__version__,
            resumed_from=resumed_from,
            device="cuda:0" if self.plan.gpus else "cpu",
            adapter_parameters=44_040_192,
            total_steps=self.plan.steps,
            epochs=self.plan.epochs,
            steps_per_epoch=self.plan.steps_per_epoch,
            engine="fake",
        )
        self.gauges()
        self.say("phase", 0.5, name="loading", done=0, total=1, detail="decoder")

    def gauges(self) -> None:
        while self._next_gauges <= self.t:
            gpus = [gpu.event() for gpu in self.curves.gpus(self._ticks)]
            host, disk = self.curves.host(self._ticks), self.curves.disk(self._ticks)
            self.say(
                "gpu",
                gpus=gpus,
                cpu=host.cpu,
                ram_used=host.ram_used,
                ram_total=host.ram_total,
                rss=host.rss,
                disk_free=disk.free,
                disk_total=disk.total,
            )
            self._ticks += 1
            self._next_gauges += _GAUGES_EVERY

    def encode(self, upto: int | None = None) -> None:
        self.say("phase", 1.5, name="loading", done=1, total=1)
        for name in ("encoding_audio", "encoding_text", "encoding_conditions"):
            for done in range(self.plan.songs + 1):
                if name == "encoding_audio" and upto is not None and done > upto:
                    return
                extra = {"detail": f"song_{done:02d}.flac"} if done else {}
                self.say("phase", 0.4, name=name, done=done, total=self.plan.songs, **extra)
                self.gauges()

    def train(self, first: int, last: int) -> None:
        if first == 1:
            self.measure(0)
        self.say("phase", 0.5, name="training", done=first - 1, total=self.plan.steps)
        for step in range(first, last + 1):
            fields = self.curves.step_fields(step)
            self.say("step", fields["seconds"], **fields)
            self.gauges()
            if step % self.plan.steps_per_epoch == 0 or step == self.plan.steps:
                self.end_epoch(step)
            if step % self.plan.save_every == 0 and step < self.plan.steps:
                self.checkpoint(step, "schedule")

    def end_epoch(self, step: int) -> None:
        epoch = self.curves.epoch_of(step)
        loss, smoothed = self.curves.epoch_loss(epoch), self.curves.smoothed_loss(epoch)
        seconds = round(self.plan.step_seconds * self.plan.steps_per_epoch, 3)
        more: dict[str, Any] = self.curves.breakdown(epoch)
        self.say("epoch", epoch=epoch, step=step, loss=loss, smoothed_loss=smoothed, seconds=seconds, **more)
        if smoothed is not None and smoothed < self.best:
            self.best = smoothed
            self.say("best", step=step, epoch=epoch, loss=smoothed)
        self.measure(step)

    def measure(self, step: int) -> None:
        if self.plan.held_out:
            self.say("eval", self.curves.measuring_seconds, **self.curves.held_out_fields(step))

    def checkpoint(self, step: int, reason: str) -> None:
        self.say(
            "checkpoint",
            0.8,
            path=f"checkpoints/step_{step:06d}",
            step=step,
            epoch=self.curves.epoch_of(step),
            reason=reason,
            seconds=0.8,
            bytes=356_000_000,
        )

    def command(self, name: str, state: str) -> None:
        self.say("command", 0.1, id=f"{name}-1", name=name, state=state, by="tui")

    def end(self, reason: str, code: int, step: int) -> None:
        self.say("session_ended", 0.2, reason=reason, code=code, step=step)

    def failure(self, kind: str, title: str, msg: str, hint: str) -> None:
        self.say("error", kind=kind, title=title, msg=msg, hint=hint, traceback_path=None)


def history(
    steps: int = 400,
    *,
    scenario: str = "finished",
    at: int | None = None,
    t0: float = 1_790_000_000.0,
    step_seconds: float = 0.42,
    **plan: Any,
) -> list[Event]:
    """The journal of a pretended run, the same for the same arguments.

    `at` is the step that the story has got to (62 % of the way if it is not told); `plan` takes the fields
    of `FakePlan`.
    """
    if scenario not in SCENARIOS:
        raise ValueError(f"no scenario {scenario!r}; there are {', '.join(SCENARIOS)}")
    here = max(1, round(steps * 0.62)) if at is None else at
    full = FakePlan(steps=steps, step_seconds=step_seconds, **plan)
    if scenario == "diverged":
        full = replace(full, nan_at=max(1, here - 2))
    story = _Story(full, t0)
    story.begin("a1b2c3d4")
    if scenario == "starting":
        return story.events
    if scenario == "encoding":
        story.encode(upto=full.songs // 2)
        return story.events
    story.encode()
    story.train(1, steps if scenario == "finished" else here)
    _close(story, scenario, here)
    return story.events


def _close(story: _Story, scenario: str, here: int) -> None:
    """How the story goes on from step `here`."""
    if scenario == "paused":
        story.command("pause", "received")
        story.say("paused", step=here)
        story.command("pause", "done")
    elif scenario == "stopping":
        story.command("stop", "received")
    elif scenario == "stopped":
        story.command("stop", "received")
        story.say("phase", name="saving", done=0, total=1)
        story.checkpoint(here, "stop")
        story.command("stop", "done")
        story.end("stopped", 3, here)
    elif scenario == "resumed":
        back = here - here % story.plan.save_every
        story.t += 600.0
        story.begin("e5f6a7b8", resumed_from=back)
        story.train(back + 1, min(story.plan.steps, here + story.plan.steps_per_epoch))
    elif scenario == "finished":
        _finish(story)
    elif scenario != "live" and scenario != "crashed":
        _fail(story, scenario, here)


def _finish(story: _Story) -> None:
    steps = story.plan.steps
    story.say("phase", name="saving", done=0, total=1)
    story.checkpoint(steps, "final")
    for done, kind in enumerate(("final", "best")):
        story.say("phase", 0.3, name="exporting", done=done, total=2, detail=kind)
        story.say("adapter", 0.5, path=f"adapter/{kind}", kind=kind, tensors=384)
    story.say("phase", 0.5, name="verifying", done=1, total=1)
    story.end("finished", 0, steps)


def _fail(story: _Story, scenario: str, here: int) -> None:
    if scenario == "diverged":
        story.failure(
            "diverged",
            "The loss stopped being a number.",
            f"Three steps in a row, the last was step {here}.",
            "Resume from the last checkpoint with a lower learning rate.",
        )
        story.end("diverged", 6, here)
    elif scenario == "out_of_memory":
        story.failure(
            "out_of_memory",
            "The GPU ran out of memory.",
            f"At step {here}, with a crop of 60 s and batch 1.",
            "Choose a smaller memory profile, a shorter crop, or turn on gradient checkpointing.",
        )
        story.end("out_of_memory", 5, here)
    else:
        story.failure("bug", "The engine hit a bug.", f"At step {here}.", "The traceback has the details.")
        story.end("failed", 70, here)


@dataclass(slots=True)
class FakeRun:
    """A run directory made by `write_run`; `release` lets go of the lock of a living one."""

    run_dir: RunDir
    events: list[Event]
    lock: RunLock | None

    @property
    def path(self) -> Path:
        """The directory."""
        return self.run_dir.path

    def release(self) -> None:
        """The engine is gone: without a goodbye in the journal the run now counts as died."""
        if self.lock is not None:
            self.lock.release()
            self.lock = None

    def __enter__(self) -> FakeRun:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def write_run(run_dir: Path | RunDir, scenario: str = "live", *, now: float | None = None, **options: Any) -> FakeRun:
    """Fill a directory with a pretended run whose last event happened at `now` (the present if not told).

    `options` are those of `history`. Living scenarios hold the lock from this process until `release`.
    """
    run = run_dir if isinstance(run_dir, RunDir) else RunDir(run_dir)
    moment = time.time() if now is None else now
    length = history(scenario=scenario, t0=0.0, **options)[-1]["t"]
    events = history(scenario=scenario, t0=round(moment - length, 3), **options)
    for folder in (run.inbox, run.checkpoints):
        folder.mkdir(parents=True, exist_ok=True)
    lines = b"".join(encode(event) for event in events)
    torn = b'{"v":1,"seq":' if scenario == "crashed" else b""
    run.events.write_bytes(lines + torn)
    session = events[-1]["session"]
    state = RunState(history=False)
    state.apply_all(events)
    snapshot.write(run, snapshot.describe(state, heartbeat=moment, journal_offset=len(lines)))
    _write_files(run, events, options)
    lock = RunLock(run, session, now=state.session_started or moment)
    if scenario in ALIVE:
        return FakeRun(run, events, lock)
    lock.release()
    return FakeRun(run, events, None)


def _write_files(run: RunDir, events: list[Event], options: dict[str, Any]) -> None:
    """What else lies in a run directory: settings, log, checkpoints and adapters."""
    known = asdict(FakePlan())
    plan = {key: value for key, value in options.items() if key in known and value is not None}
    write_run_toml(
        run.run_toml,
        RunFile(
            name=run.name,
            settings=Settings(),
            preset="recommended",
            created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(events[0]["t"])),
            product_version=sidestep_tui.__version__,
            extra={"fake": plan} if plan else {},
        ),
    )
    atomic.write_text(run.log, "The fake engine has nothing to say here.\n")
    for event in events:
        if event["type"] == "checkpoint":
            folder = run.path / event["path"]
            folder.mkdir(parents=True, exist_ok=True)
            state = {"step": event["step"], "best": None}
            (folder / "fake_state.json").write_text(json.dumps(state), encoding="utf-8")
        elif event["type"] == "adapter":
            (run.path / event["path"]).mkdir(parents=True, exist_ok=True)
