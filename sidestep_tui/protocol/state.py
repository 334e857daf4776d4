"""What a journal says about its run: a pure reducer from events to the state that viewers show.

No clock and no files. The same code serves live, finished and crashed runs. Events it does not know are
ignored, fields of the wrong kind count as missing: a viewer must never fall over a journal.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from sidestep_tui.core import text
from sidestep_tui.protocol import bulk, columns
from sidestep_tui.protocol.bulk import StepColumns
from sidestep_tui.protocol.columns import STEP_METRICS
from sidestep_tui.protocol.events import Event, unseen
from sidestep_tui.protocol.facts import (
    END_STATUS,
    PHASE_STATUS,
    AdapterInfo,
    Best,
    CheckpointInfo,
    CommandInfo,
    Ended,
    Failure,
    LogLine,
    Mark,
    Phase,
    Status,
)
from sidestep_tui.protocol.fields import float_of, int_of, seconds_of, text_of
from sidestep_tui.protocol.pace import PARTS, Anatomy, Pace
from sidestep_tui.protocol.series import Series
from sidestep_tui.protocol.songs import SongLosses
from sidestep_tui.protocol.stages import Stages

LOG_LINES = 1000
HOST_GAUGES = ("cpu", "ram_used", "ram_total", "rss", "disk_free", "disk_total")
SERIES = (*STEP_METRICS, *columns.ADDED_UP, columns.MEMORY, "epoch_loss", "smoothed")
_NEWEST = (*STEP_METRICS, *(f"{part}_s" for part in PARTS))


class RunState:
    """Everything a viewer shows, from the events applied so far.

    With `history=False` the series stay empty and only `metrics` is kept: for writers of snapshots.
    """

    def __init__(self, *, history: bool = True) -> None:
        self._history = history
        self.version = 0
        """Rises with every change: paint only when it moved."""
        self.seq = -1
        self.session = ""
        self.sessions = 0
        self.status: Status = "fresh"
        self.phase = Phase()
        self.step = 0
        self.total_steps = 0
        self.epoch = 0
        self.epochs = 0
        self.steps_per_epoch = 0
        self.series: dict[str, Series] = {name: Series(name) for name in SERIES}
        """By name; x is the step, for the epochs' losses too."""
        self.metrics: dict[str, float] = {}
        """The newest value of each series."""
        self.best: Best | None = None
        self.checkpoints: list[CheckpointInfo] = []
        self.adapters: list[AdapterInfo] = []
        self.samples: list[Event] = []
        self.evals: list[Event] = []
        self.warnings: deque[Event] = deque(maxlen=LOG_LINES)
        self.log: deque[LogLine] = deque(maxlen=LOG_LINES)
        self.log_count = 0
        """How many log lines there ever were; the deque keeps the newest."""
        self.gpus: list[dict[str, Any]] = []
        self.host: dict[str, Any] = {}
        self.commands: dict[str, CommandInfo] = {}
        self.error: Failure | None = None
        self.ended: Ended | None = None
        self.marks: list[Mark] = []
        self.device = ""
        self.engine = ""
        self.adapter_parameters: int | None = None
        self.pid: int | None = None
        self.engine_host = ""
        self.started: float | None = None
        """When the first session began."""
        self.session_started: float | None = None
        self.last_t: float | None = None
        """When the newest event was written."""
        self._bests: list[Best] = []
        self._intake = columns.Intake()
        self.pace = Pace()
        self.anatomy = Anatomy()
        self.songs = SongLosses()
        self.stages = Stages()

    @property
    def is_over(self) -> bool:
        """Whether the last session said that it ended."""
        return self.ended is not None

    @property
    def resumed_from(self) -> int | None:
        """The step the last resume went back to."""
        return next((mark.step for mark in reversed(self.marks) if mark.kind == "resume"), None)

    def apply(self, event: Event) -> None:
        """Take in one event."""
        self.apply_all((event,))

    def apply_all(self, events: Sequence[Event]) -> None:
        """Take in many events; runs of steps go in as columns. Events seen before are left out."""
        events, self.seq = unseen(events, self.seq)
        for stretch in columns.stretches(events):
            kind = stretch[0].get("type")
            if kind in ("step", "gpu"):
                self._apply_flow(stretch)
                continue
            if kind == "session_started":
                self._intake.settle(self.series)  # It may take back what the steps before it added.
            self._apply_other(stretch[0])
        self._intake.settle(self.series)
        if events:
            self.version += 1

    def _notice_session(self, event: Event) -> None:
        """A new session may have a lot to say, and may fail, before `session_started`."""
        session = event.get("session")
        if type(session) is not str or session == self.session:
            return
        self.session = session
        self.sessions += 1
        self.session_started = float_of(event, "t", 0.0)
        self.started = self.started if self.started is not None else self.session_started
        self.status = "starting"
        self.phase = Phase()
        self.ended = None
        self.error = None
        self.commands = {}
        self._new_stretch()

    def _apply_flow(self, events: Sequence[Event]) -> None:
        """Take in steps and the gauges between them: the newest at once, the curves when the batch is through."""
        steps, gauges = columns.parted(events)
        if self._history:
            self._intake.add(events, steps, self.step)
        if gauges and events[-1] is not gauges[-1]:
            self._apply_other(gauges[-1])
        if steps:
            self._apply_steps(steps)
        if gauges and events[-1] is gauges[-1]:
            self._apply_other(gauges[-1])

    def _apply_steps(self, events: Sequence[Event]) -> None:
        self._notice_session(events[0])
        newest = events[-1]
        self.metrics |= {name: float_of(newest, name) for name in _NEWEST if name in newest}
        self.step = newest["step"]
        self.epoch = int_of(newest, "epoch", self.epoch)
        self.pace.add(events)
        self.anatomy.add(events)
        self.last_t = self.pace.newest_t or self.last_t
        if self.status in ("starting", "encoding", "fresh", "paused"):
            self.status = "running"

    def _on_steps(self, event: Event) -> None:
        """Many steps at once, as a reader of a long journal hands them over."""
        block = event.get("columns")
        if not isinstance(block, StepColumns):
            return
        if self._history:
            self._intake.add_columns(block, self.series)
        for _, gauge in block.gauges[-1:]:
            self._on_gpu(gauge)
        self._apply_steps([block.newest()])
        self._new_stretch()  # Where its time went is told by the steps that come one by one.

    def _point(self, name: str, step: int, value: float) -> None:
        self.metrics[name] = value
        if self._history:
            self.series[name].append(step, value)

    def _apply_other(self, event: Event) -> None:
        kind = event.get("type")
        handler = _HANDLERS.get(kind) if type(kind) is str else None
        if handler is None:
            return
        t = float_of(event, "t")
        if math.isfinite(t):
            self.last_t = t
        self._notice_session(event)
        handler(self, event)

    def _say(self, event: Event, level: str, text: str) -> None:
        self.log.append(LogLine(float_of(event, "t", 0.0), level, text))
        self.log_count += 1

    def _on_session_started(self, event: Event) -> None:
        resumed = event.get("resumed_from")
        step = resumed if type(resumed) is int else 0
        self.pid = int_of(event, "pid") or None
        self.engine_host = text_of(event, "host")
        self.engine = text_of(event, "engine")
        self.device = text_of(event, "device")
        parameters = event.get("adapter_parameters")
        self.adapter_parameters = parameters if type(parameters) is int else self.adapter_parameters
        self.total_steps = int_of(event, "total_steps", self.total_steps)
        self.epochs = int_of(event, "epochs", self.epochs)
        self.steps_per_epoch = int_of(event, "steps_per_epoch", self.steps_per_epoch)
        if self.sessions > 1:
            self._go_back_to(step)
        if type(resumed) is int:
            self.marks.append(Mark(step, "resume"))
            self._say(event, "info", f"Resumed from step {step}.")
        else:
            self._say(event, "info", "Session started.")

    def _go_back_to(self, step: int) -> None:
        """What lies past `step` happened in a session whose work is superseded."""
        for series in self.series.values():
            series.truncate_after(step)
        self.checkpoints = [item for item in self.checkpoints if item.step <= step]
        self.marks = [mark for mark in self.marks if mark.step <= step and mark.kind != "best"]
        self.evals = [item for item in self.evals if int_of(item, "step") <= step]
        self.songs.go_back_to(step)
        self.stages.go_back_to(step)
        self._bests = [best for best in self._bests if best.step <= step]
        self.best = self._bests[-1] if self._bests else None
        if self.best is not None:
            self.marks.append(Mark(self.best.step, "best"))
        self.step = min(self.step, step)
        if self.steps_per_epoch:
            self.epoch = min(self.epoch, step // self.steps_per_epoch)
        self._new_stretch()

    def _on_phase(self, event: Event) -> None:
        name = text_of(event, "name")
        self.stages.add(event, self.step)
        if {name, self.phase.name} - {"training", "saving"}:
            self.pace.clear()  # A checkpoint belongs to the pace of training; anything else begins a new stretch.
        self.phase = Phase(name, int_of(event, "done"), int_of(event, "total"), text_of(event, "detail"))
        if name == "training" and self.phase.total:
            self.total_steps = self.phase.total
        status = PHASE_STATUS.get(name)
        if status is None or self.is_over:
            return
        if self.status == "stopping" and status != "saving":
            return
        if self.status in ("pausing", "paused") and status in ("running", "saving"):
            return
        self.status = status

    def _on_epoch(self, event: Event) -> None:
        self.epoch = int_of(event, "epoch", self.epoch)
        step = int_of(event, "step", self.step)
        loss = float_of(event, "loss")
        self._point("epoch_loss", step, loss)
        if type(event.get("smoothed_loss")) in (float, int):
            self._point("smoothed", step, float_of(event, "smoothed_loss"))
        self.songs.add(event, held_out=False)
        if self._history:
            columns.add_bands(self.series, step, event)
        self._say(event, "info", f"Epoch {self.epoch} done, loss {text.fixed(loss)}.")

    def _on_eval(self, event: Event) -> None:
        self.evals.append(event)
        self.songs.add(event, held_out=True)
        self.anatomy.hold(event, "measure", seconds_of(event, "seconds"))

    def _on_checkpoint(self, event: Event) -> None:
        info = CheckpointInfo.of(event)
        self.checkpoints = [item for item in self.checkpoints if item.path != info.path]
        self.checkpoints.append(info)
        self.anatomy.hold(event, "save", seconds_of(event, "held_seconds" if "held_seconds" in event else "seconds"))
        self.marks.append(Mark(info.step, "checkpoint"))
        self._say(event, "info", f"Checkpoint at step {info.step} ({info.reason}).")

    def _on_best(self, event: Event) -> None:
        self.best = Best.of(event)
        self._bests.append(self.best)
        self.marks = [mark for mark in self.marks if mark.kind != "best"]
        self.marks.append(Mark(self.best.step, "best"))
        said = f"Best loss of {self.best.whose} so far: {text.fixed(self.best.loss)} at step {self.best.step}."
        self._say(event, "info", said)

    def _on_sample(self, event: Event) -> None:
        self.samples.append(event)
        self._say(event, "info", f"Sample written: {text_of(event, 'path')}")

    def _on_gpu(self, event: Event) -> None:
        gpus = event.get("gpus")
        self.gpus = [gpu for gpu in gpus if type(gpu) is dict] if type(gpus) is list else []
        self.host = {key: event[key] for key in HOST_GAUGES if key in event}

    def _on_log(self, event: Event) -> None:
        self._say(event, text_of(event, "level") or "info", text_of(event, "msg"))

    def _on_warning(self, event: Event) -> None:
        self.warnings.append(event)
        self._say(event, "warning", " ".join(filter(None, (text_of(event, "msg"), text_of(event, "hint")))))

    def _on_command(self, event: Event) -> None:
        info = CommandInfo.of(event)
        self.commands[info.id] = info
        self._say(event, "info", f"Command {info.name} by {info.by}: {info.state}. {info.detail}".rstrip())
        if self.is_over:
            return
        if info.state == "received" and info.name in ("stop", "abort"):
            self.status = "stopping"
        elif info.state == "received" and info.name == "pause" and self.status == "running":
            self.status = "pausing"
        elif info.name in ("pause", "resume") and self.status == "pausing" and info.state != "received":
            self.status = "running"

    def _on_paused(self, event: Event) -> None:
        self.status = "paused"
        step = int_of(event, "step", self.step)
        self.marks.append(Mark(step, "pause"))
        self._say(event, "info", f"Paused at step {step}.")

    def _on_resumed(self, event: Event) -> None:
        if self.status in ("paused", "pausing"):
            self.status = "running"
        self._new_stretch()
        self._say(event, "info", f"Going on from step {int_of(event, 'step', self.step)}.")

    def _on_adapter(self, event: Event) -> None:
        info = AdapterInfo.of(event)
        self.adapters = [item for item in self.adapters if item.path != info.path]
        self.adapters.append(info)
        self._say(event, "info", f"Adapter ({info.kind}) written: {info.path}")

    def _on_error(self, event: Event) -> None:
        self.error = Failure.of(event)
        self._say(event, "error", " ".join(filter(None, (self.error.title, self.error.msg, self.error.hint))))

    def _on_session_ended(self, event: Event) -> None:
        reason = text_of(event, "reason")
        self.ended = Ended(reason, int_of(event, "code"), int_of(event, "step", self.step), float_of(event, "t", 0.0))
        self.status = END_STATUS.get(reason, "failed")
        self._say(event, "info", f"Session ended: {reason.replace('_', ' ')}.")

    def _new_stretch(self) -> None:
        self.pace.clear()
        self.anatomy.clear()

    def seconds_per_step(self) -> float | None:
        """The recent pace by the wall clock; None until two steps of this stretch are in."""
        return self.pace.seconds_per_step

    def eta_seconds(self, now: float) -> float | None:
        """How long the remaining steps will take at the recent pace; None when unknown or not running."""
        if self.status not in ("running", "pausing") or not self.total_steps:
            return None
        pace, newest = self.pace.seconds_per_step, self.pace.newest_t
        if pace is None or newest is None:
            return None
        waited = max(0.0, now - newest)
        return max(0.0, (self.total_steps - self.step) * pace - min(waited, pace))

    def elapsed_seconds(self, now: float) -> float | None:
        """How long the last session has been going, or went."""
        if self.session_started is None:
            return None
        end = self.ended.t if self.ended else now
        return max(0.0, end - self.session_started)

    @classmethod
    def from_events(cls, events: Iterable[Event]) -> RunState:
        """The state after `events`."""
        state = cls()
        state.apply_all(list(events))
        return state


_HANDLERS = {
    bulk.STEPS: RunState._on_steps,
    "session_started": RunState._on_session_started,
    "phase": RunState._on_phase,
    "epoch": RunState._on_epoch,
    "eval": RunState._on_eval,
    "checkpoint": RunState._on_checkpoint,
    "best": RunState._on_best,
    "sample": RunState._on_sample,
    "gpu": RunState._on_gpu,
    "log": RunState._on_log,
    "warning": RunState._on_warning,
    "command": RunState._on_command,
    "paused": RunState._on_paused,
    "resumed": RunState._on_resumed,
    "adapter": RunState._on_adapter,
    "error": RunState._on_error,
    "session_ended": RunState._on_session_ended,
}
