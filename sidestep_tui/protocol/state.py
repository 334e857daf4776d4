"""What a journal says about its run: a pure reducer from events to the state that viewers show.

No clock and no files. The same code serves live, finished and crashed runs. Events it does not know are
ignored, fields of the wrong kind count as missing: a viewer must never fall over a journal.
"""

from __future__ import annotations

import math
from array import array
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice
from operator import gt
from typing import Any

from sidestep_tui.core import text
from sidestep_tui.protocol.events import Event
from sidestep_tui.protocol.facts import (
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
from sidestep_tui.protocol.series import Series, is_rising

LOG_LINES = 1000
STEP_METRICS = ("loss", "lr", "grad_norm", "samples_per_s")
SERIES = (*STEP_METRICS, "epoch_loss", "smoothed")

_PHASE_STATUS: dict[str, Status] = {
    "loading": "starting",
    "encoding_audio": "encoding",
    "encoding_text": "encoding",
    "encoding_conditions": "encoding",
    "validating": "running",
    "training": "running",
    "saving": "saving",
    "exporting": "saving",
    "verifying": "saving",
}
_END_STATUS: dict[str, Status] = {
    "finished": "finished",
    "early_stop": "finished",
    "stopped": "stopped",
    "aborted": "aborted",
    "failed": "failed",
    "diverged": "diverged",
    "out_of_memory": "out_of_memory",
    "refused": "refused",
}
_RATE_WINDOW = 64
_LARGEST = 2**53
"""Whole numbers up to here survive as floats; anything larger in a journal is damage."""


def _text(event: Event, key: str) -> str:
    value = event.get(key)
    return value if type(value) is str else ""


def _int(event: Event, key: str, default: int = 0) -> int:
    value = event.get(key)
    return value if type(value) is int and -_LARGEST < value < _LARGEST else default


def _float(event: Event, key: str, default: float = math.nan) -> float:
    value = event.get(key)
    if type(value) is int:
        return float(value) if -_LARGEST < value < _LARGEST else default
    return value if type(value) is float else default


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
        self._pace: deque[tuple[float, int]] = deque(maxlen=_RATE_WINDOW)

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
        events = self._unseen(events)
        start = 0
        n = len(events)
        while start < n:
            if events[start].get("type") != "step":
                self._apply_other(events[start])
                start += 1
                continue
            stop = start + 1
            while stop < n and events[stop].get("type") == "step":
                stop += 1
            self._apply_steps(events[start:stop])
            start = stop
        if n:
            self.version += 1

    def _notice_session(self, event: Event) -> None:
        """A new session may have a lot to say, and may fail, before `session_started`."""
        session = event.get("session")
        if type(session) is not str or session == self.session:
            return
        self.session = session
        self.sessions += 1
        self.session_started = _float(event, "t", 0.0)
        self.started = self.started if self.started is not None else self.session_started
        self.status = "starting"
        self.phase = Phase()
        self.ended = None
        self.error = None
        self.commands = {}
        self._pace.clear()

    def _unseen(self, events: Sequence[Event]) -> Sequence[Event]:
        """Drop events whose number was seen already; a journal may be read twice."""
        seqs = [event.get("seq") for event in events]
        if set(map(type, seqs)) == {int}:
            if seqs[0] > self.seq and all(map(gt, islice(seqs, 1, None), seqs)):  # type: ignore[operator, arg-type]
                self.seq = seqs[-1]  # type: ignore[assignment]
                return events
        fresh = []
        for event, seq in zip(events, seqs, strict=True):
            if type(seq) is int:
                if seq <= self.seq:
                    continue
                self.seq = seq
            fresh.append(event)
        return fresh

    def _apply_steps(self, events: Sequence[Event]) -> None:
        events = [event for event in events if type(event.get("step")) is int and 0 <= event["step"] < _LARGEST]
        if not events:
            return
        self._notice_session(events[0])
        if self._history:
            self._extend_series(events)
        newest = events[-1]
        for name in STEP_METRICS:
            if name in newest:
                self.metrics[name] = _float(newest, name)
        self.step = newest["step"]
        self.epoch = _int(newest, "epoch", self.epoch)
        for event in events[-_RATE_WINDOW:]:
            t = _float(event, "t")
            if math.isfinite(t):
                self._pace.append((t, event["step"]))
                self.last_t = t
        if self.status in ("starting", "encoding", "fresh", "paused"):
            self.status = "running"

    def _extend_series(self, events: Sequence[Event]) -> None:
        steps = array("d", [event["step"] for event in events])
        rising = is_rising(steps)
        for name in STEP_METRICS:
            values: list[Any] = [event.get(name) for event in events]
            series = self.series[name]
            try:
                series.extend(steps, array("d", values), rising=rising)
            except (TypeError, OverflowError):  # A value is missing or no number: leave out those points.
                pairs = [(x, _float(event, name)) for x, event in zip(steps, events, strict=True) if name in event]
                series.extend([x for x, _ in pairs], [y for _, y in pairs])

    def _point(self, name: str, step: int, value: float) -> None:
        self.metrics[name] = value
        if self._history:
            self.series[name].append(step, value)

    def _apply_other(self, event: Event) -> None:
        kind = event.get("type")
        handler = _HANDLERS.get(kind) if type(kind) is str else None
        if handler is None:
            return
        t = _float(event, "t")
        if math.isfinite(t):
            self.last_t = t
        self._notice_session(event)
        handler(self, event)

    def _say(self, event: Event, level: str, text: str) -> None:
        self.log.append(LogLine(_float(event, "t", 0.0), level, text))
        self.log_count += 1

    def _on_session_started(self, event: Event) -> None:
        resumed = event.get("resumed_from")
        step = resumed if type(resumed) is int else 0
        self.pid = _int(event, "pid") or None
        self.engine_host = _text(event, "host")
        self.engine = _text(event, "engine")
        self.device = _text(event, "device")
        parameters = event.get("adapter_parameters")
        self.adapter_parameters = parameters if type(parameters) is int else self.adapter_parameters
        self.total_steps = _int(event, "total_steps", self.total_steps)
        self.epochs = _int(event, "epochs", self.epochs)
        self.steps_per_epoch = _int(event, "steps_per_epoch", self.steps_per_epoch)
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
        self.evals = [item for item in self.evals if _int(item, "step") <= step]
        self._bests = [best for best in self._bests if best.step <= step]
        self.best = self._bests[-1] if self._bests else None
        if self.best is not None:
            self.marks.append(Mark(self.best.step, "best"))
        self.step = min(self.step, step)
        if self.steps_per_epoch:
            self.epoch = min(self.epoch, step // self.steps_per_epoch)
        self._pace.clear()

    def _on_phase(self, event: Event) -> None:
        name = _text(event, "name")
        if {name, self.phase.name} - {"training", "saving"}:
            self._pace.clear()  # A checkpoint belongs to the pace of training; anything else begins a new stretch.
        self.phase = Phase(name, _int(event, "done"), _int(event, "total"), _text(event, "detail"))
        if name == "training" and self.phase.total:
            self.total_steps = self.phase.total
        status = _PHASE_STATUS.get(name)
        if status is None or self.is_over:
            return
        if self.status == "stopping" and status != "saving":
            return
        if self.status in ("pausing", "paused") and status == "running":
            return
        self.status = status

    def _on_epoch(self, event: Event) -> None:
        self.epoch = _int(event, "epoch", self.epoch)
        step = _int(event, "step", self.step)
        loss = _float(event, "loss")
        self._point("epoch_loss", step, loss)
        if type(event.get("smoothed_loss")) in (float, int):
            self._point("smoothed", step, _float(event, "smoothed_loss"))
        self._say(event, "info", f"Epoch {self.epoch} done, loss {text.fixed(loss)}.")

    def _on_eval(self, event: Event) -> None:
        self.evals.append(event)

    def _on_checkpoint(self, event: Event) -> None:
        info = CheckpointInfo(
            path=_text(event, "path"),
            step=_int(event, "step"),
            epoch=_int(event, "epoch"),
            reason=_text(event, "reason"),
            seconds=_float(event, "seconds", 0.0),
            bytes=_int(event, "bytes"),
            t=_float(event, "t", 0.0),
        )
        self.checkpoints = [item for item in self.checkpoints if item.path != info.path]
        self.checkpoints.append(info)
        self.marks.append(Mark(info.step, "checkpoint"))
        self._say(event, "info", f"Checkpoint at step {info.step} ({info.reason}).")

    def _on_best(self, event: Event) -> None:
        by = _text(event, "by") or "training"
        self.best = Best(_int(event, "step"), _int(event, "epoch"), _float(event, "loss"), by)
        self._bests.append(self.best)
        self.marks = [mark for mark in self.marks if mark.kind != "best"]
        self.marks.append(Mark(self.best.step, "best"))
        whose = " by held-out songs" if by == "held_out" else ""
        self._say(event, "info", f"Best so far{whose}: {text.fixed(self.best.loss)} at step {self.best.step}.")

    def _on_sample(self, event: Event) -> None:
        self.samples.append(event)
        self._say(event, "info", f"Sample written: {_text(event, 'path')}")

    def _on_gpu(self, event: Event) -> None:
        gpus = event.get("gpus")
        self.gpus = [gpu for gpu in gpus if type(gpu) is dict] if type(gpus) is list else []
        self.host = {key: event[key] for key in ("cpu", "ram_used", "ram_total", "rss") if key in event}

    def _on_log(self, event: Event) -> None:
        self._say(event, _text(event, "level") or "info", _text(event, "msg"))

    def _on_warning(self, event: Event) -> None:
        self.warnings.append(event)
        self._say(event, "warning", " ".join(filter(None, (_text(event, "msg"), _text(event, "hint")))))

    def _on_command(self, event: Event) -> None:
        info = CommandInfo(
            id=_text(event, "id"),
            name=_text(event, "name"),
            state=_text(event, "state"),
            by=_text(event, "by"),
            detail=_text(event, "detail"),
            t=_float(event, "t", 0.0),
        )
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
        step = _int(event, "step", self.step)
        self.marks.append(Mark(step, "pause"))
        self._say(event, "info", f"Paused at step {step}.")

    def _on_resumed(self, event: Event) -> None:
        if self.status in ("paused", "pausing"):
            self.status = "running"
        self._pace.clear()
        self._say(event, "info", f"Going on from step {_int(event, 'step', self.step)}.")

    def _on_adapter(self, event: Event) -> None:
        info = AdapterInfo(_text(event, "path"), _text(event, "kind"), _int(event, "tensors"), _float(event, "t", 0.0))
        self.adapters = [item for item in self.adapters if item.path != info.path]
        self.adapters.append(info)
        self._say(event, "info", f"Adapter ({info.kind}) written: {info.path}")

    def _on_error(self, event: Event) -> None:
        self.error = Failure(
            kind=_text(event, "kind"),
            title=_text(event, "title"),
            msg=_text(event, "msg"),
            hint=_text(event, "hint"),
            traceback_path=_text(event, "traceback_path"),
        )
        self._say(event, "error", " ".join(filter(None, (self.error.title, self.error.msg, self.error.hint))))

    def _on_session_ended(self, event: Event) -> None:
        reason = _text(event, "reason")
        self.ended = Ended(reason, _int(event, "code"), _int(event, "step", self.step), _float(event, "t", 0.0))
        self.status = _END_STATUS.get(reason, "failed")
        self._say(event, "info", f"Session ended: {reason.replace('_', ' ')}.")

    def seconds_per_step(self) -> float | None:
        """The recent pace by the wall clock; None until two steps of this stretch are in."""
        if len(self._pace) < 2:
            return None
        (t0, step0), (t1, step1) = self._pace[0], self._pace[-1]
        if step1 <= step0 or t1 < t0:
            return None
        return (t1 - t0) / (step1 - step0)

    def eta_seconds(self, now: float) -> float | None:
        """How long the remaining steps will take at the recent pace; None when unknown or not running."""
        if self.status not in ("running", "pausing") or not self.total_steps:
            return None
        pace = self.seconds_per_step()
        if pace is None:
            return None
        waited = max(0.0, now - self._pace[-1][0])
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
