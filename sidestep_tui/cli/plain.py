"""A run as lines of text, one per event: for pipes, logs, screen readers and terminals that cannot place text.

Steps are thinned out by the events' own clock, so that a live run and a replayed journal read the same.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sidestep_tui.core import text
from sidestep_tui.protocol import anatomy
from sidestep_tui.protocol.alerts import AlertBook
from sidestep_tui.protocol.events import Event
from sidestep_tui.protocol.facts import Best
from sidestep_tui.protocol.heldout import HeldOut
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.protocol.state import RunState

_SECONDS_BETWEEN_STEPS = 1.0
_SECONDS_OF_SILENCE = 30.0
_SECONDS_BETWEEN_PROGRESS = 2.0
_INDENT = " " * 10
_SONGS_TOLD = 5


class PlainViewer:
    """Turns events into lines and hands them to `write`."""

    def __init__(self, run_dir: RunDir, write: Callable[[str], None]) -> None:
        self.state = RunState()
        self._run_dir = run_dir
        self._write = write
        self._last_step_t = -math.inf
        self._last_percent = -1
        self._last_progress_t = -math.inf
        self._last_phase = ""
        self._last_held_out = ("none yet", -math.inf)
        self._has_trained = False
        self._unsaid_step: Event | None = None
        self._alerts = AlertBook()

    def show(self, events: Sequence[Event]) -> None:
        """Write what is worth a line."""
        for event in events:
            before = self.state.phase.name
            self.state.apply(event)
            handler = _LINES.get(str(event.get("type")))
            if handler is not None:
                handler(self, event, before)

    def catch_up(self, events: Sequence[Event]) -> None:
        """Take in a history without a line for each of its events, then say where it stands."""
        self.state.apply_all(events)
        state = self.state
        if state.session_started is None:
            return
        self._header()
        where = f"{state.status.replace('_', ' ')} at step {self._of(state.step, state.total_steps)}"
        loss = state.series["loss"].last
        if loss is not None:
            where += f", loss {text.number(loss)}"
        if state.best is not None:
            where += f", best loss of {state.best.whose} {text.number(state.best.loss)} in epoch {state.best.epoch}"
        self._line({"t": state.last_t}, where)
        if (held := HeldOut.of(state.evals)) is not None:
            self._write(f"{_INDENT}held out: loss {held.sentence}")
        self._time_and_songs()
        for info in state.checkpoints[-3:]:
            self._write(f"{_INDENT}checkpoint {info.path} ({info.reason})")
        if state.error is not None:
            self._error_lines(state.error.title, state.error.msg, state.error.hint)
        for adapter in state.adapters:
            self._write(f"{_INDENT}{adapter.kind} adapter: {self._absolute(adapter.path)}")

    def _time_and_songs(self) -> None:
        """Where the time goes, and which songs stand out."""
        state = self.state
        if state.anatomy.steps >= anatomy.FEWEST_STEPS:
            on_gpu = bool(state.gpus) or state.device.startswith("cuda")
            self._write(f"{_INDENT}time: {anatomy.told_in_a_line(state.anatomy.shares(), on_gpu=on_gpu)}")
        for song in [song for song in state.songs.table() if song.hint][:_SONGS_TOLD]:
            self._write(f"{_INDENT}song {song.name}: {song.ratio:.2f} × the usual loss, {song.hint}")

    def final_adapter(self) -> Path | None:
        """The final adapter of the session, if it has one."""
        finals = [item for item in self.state.adapters if item.kind == "final"]
        return self._absolute(finals[-1].path) if finals else None

    def _absolute(self, path: str) -> Path:
        return (self._run_dir.path / path).resolve()

    def _line(self, event: Event, message: str) -> None:
        t = event.get("t")
        clock = time.strftime("%H:%M:%S", time.localtime(t)) if isinstance(t, (int, float)) else "--:--:--"
        self._write(f"{clock}  {message}")

    @staticmethod
    def _of(done: int, total: int) -> str:
        return f"{text.thousands(done)}/{text.thousands(total)}" if total else text.thousands(done)

    def _header(self) -> None:
        state = self.state
        facts = [self._run_dir.name]
        if state.device:
            facts.append(f"on {state.device}")
        if state.adapter_parameters:
            facts.append(f"{text.count(state.adapter_parameters)} parameters")
        if state.total_steps:
            facts.append(f"{text.plural(state.total_steps, 'step')} in {text.plural(state.epochs, 'epoch')}")
        if state.pid:
            facts.append(f"process {state.pid}")
        self._write(", ".join(facts))

    # One handler per event type: (event, name of the phase before it).

    def _session(self, event: Event, _: str) -> None:
        self._last_step_t = self._last_progress_t = -math.inf
        self._last_percent = -1
        self._has_trained = False
        self._last_phase = ""
        self._header()
        resumed = event.get("resumed_from")
        if isinstance(resumed, int):
            self._line(event, f"resumed from step {text.thousands(resumed)}")

    def _phase(self, event: Event, before: str) -> None:
        phase = self.state.phase
        t = _time(event)
        is_new = phase.name != before
        if phase.name == "training" and self._has_trained:
            return  # Back from saving: the next step says so.
        self._has_trained = self._has_trained or phase.name == "training"
        complete = phase.total > 0 and phase.done >= phase.total
        if not is_new and not complete and t - self._last_progress_t < _SECONDS_BETWEEN_PROGRESS:
            return
        words = [phase.name.replace("_", " ")]
        if phase.total > 1:
            words.append(self._of(phase.done, phase.total))
        if phase.detail:
            words.append(phase.detail)
        message = "  ".join(words)
        if message != self._last_phase:
            self._last_progress_t, self._last_phase = t, message
            self._line(event, message)

    def _step(self, event: Event, _: str) -> None:
        state = self.state
        loss = event.get("loss")
        total = state.total_steps
        percent = 100 * state.step // total if total else -1
        waited = _time(event) - self._last_step_t
        is_last = bool(total) and state.step >= total
        is_odd = isinstance(loss, float) and not math.isfinite(loss)
        due = waited >= _SECONDS_BETWEEN_STEPS and (percent != self._last_percent or waited >= _SECONDS_OF_SILENCE)
        self._unsaid_step = event
        if due or is_last or is_odd:
            self._say_step(event, percent)

    def _say_step(self, event: Event, percent: int) -> None:
        self._last_step_t = _time(event)
        self._last_percent = percent
        self._unsaid_step = None
        state = self.state
        words = [f"step {self._of(state.step, state.total_steps)}"]
        if state.epochs:
            words.append(f"epoch {self._of(state.epoch, state.epochs)}")
        for name, key, digits in (("loss", "loss", 4), ("lr", "lr", 3), ("grad", "grad_norm", 3)):
            if isinstance(event.get(key), (int, float)):
                words.append(f"{name} {text.number(float(event[key]), digits)}")
        rate = event.get("samples_per_s")
        if isinstance(rate, (int, float)) and math.isfinite(rate):
            words.append(f"{text.number(float(rate), 3)} samples/s")
        eta = state.eta_seconds(_time(event))
        if eta is not None and state.step < state.total_steps:
            words.append(f"{text.duration(eta)} left")
        self._line(event, "  ".join(words))

    def _eval(self, event: Event, _: str) -> None:
        held = HeldOut.of(self.state.evals)
        if held is None or event.get("loss") is None:
            return
        state = self.state
        is_last = bool(state.total_steps) and event.get("step") == state.total_steps
        waited = _time(event) - self._last_held_out[1]
        if waited >= _SECONDS_BETWEEN_STEPS or held.verdict != self._last_held_out[0] or is_last:
            self._last_held_out = (held.verdict, _time(event))
            self._line(event, f"held out: loss {held.sentence}, {text.plural(held.songs, 'song')}")

    def _checkpoint(self, event: Event, _: str) -> None:
        facts = [str(event.get("reason", ""))]
        if isinstance(event.get("bytes"), int):
            facts.append(text.file_size(event["bytes"]))
        if isinstance(event.get("seconds"), (int, float)):
            facts.append(f"{event['seconds']:.1f} s")
            if isinstance(event.get("held_seconds"), (int, float)):
                facts.append(f"training waited {event['held_seconds']:.1f} s")
        self._line(event, f"checkpoint {event.get('path', '')} ({', '.join(filter(None, facts))})")

    def _best(self, event: Event, _: str) -> None:
        best = Best.of(event)
        self._line(event, f"best so far: loss of {best.whose} {text.number(best.loss)} in epoch {best.epoch}")

    def _log(self, event: Event, _: str) -> None:
        level = str(event.get("level", "info"))
        if level != "debug":
            self._line(event, f"{'' if level == 'info' else level + ': '}{event.get('msg', '')}")

    def _warning(self, event: Event, _: str) -> None:
        self._line(event, f"warning: {event.get('msg', '')} {event.get('hint', '')}".rstrip())

    def _command(self, event: Event, _: str) -> None:
        detail = f": {event['detail']}" if event.get("detail") else ""
        self._line(event, f"{event.get('name', '')} {event.get('state', '')}, asked by {event.get('by', '')}{detail}")

    def _gauges(self, event: Event, _: str) -> None:
        for alert in self._alerts.look(self.state, None):
            if not alert.key.startswith("engine:"):  # Those are lines of their own.
                self._line(event, f"alert: {alert.sentence}")

    def _paused(self, event: Event, _: str) -> None:
        self._line(event, f"paused at step {text.thousands(self.state.step)}")

    def _resumed(self, event: Event, _: str) -> None:
        self._line(event, "going on")

    def _adapter(self, event: Event, _: str) -> None:
        kind, tensors = event.get("kind", ""), event.get("tensors")
        # The best one is written while training goes on; both are reloaded and compared at the end.
        proof = ", verified" if kind == "final" else ""
        count = f" ({text.plural(tensors, 'tensor')}{proof})" if isinstance(tensors, int) else ""
        self._line(event, f"{kind} adapter written{count}: {event.get('path', '')}")

    def _error(self, event: Event, _: str) -> None:
        title, msg, hint = (str(event.get(key) or "") for key in ("title", "msg", "hint"))
        self._line(event, f"error: {title}")
        self._error_lines("", msg, hint)

    def _error_lines(self, *parts: str) -> None:
        for part in parts:
            for line in part.splitlines():
                self._write(f"{_INDENT}{line}")

    def _ended(self, event: Event, _: str) -> None:
        if self._unsaid_step is not None:
            total = self.state.total_steps
            self._say_step(self._unsaid_step, 100 * self.state.step // total if total else -1)
        state = self.state
        reason = str(event.get("reason", "ended")).replace("_", " ")
        elapsed = state.elapsed_seconds(_time(event))
        words = f"{reason} at step {self._of(state.step, state.total_steps)}"
        if elapsed is not None:
            words += f" after {text.duration(elapsed)}"
        if state.best is not None:
            words += f"; best loss of {state.best.whose} {text.number(state.best.loss)} in epoch {state.best.epoch}"
        self._line(event, words)
        self._time_and_songs()


def _time(event: Event) -> float:
    t = event.get("t")
    return float(t) if isinstance(t, (int, float)) else 0.0


_LINES: dict[str, Callable[[PlainViewer, Event, str], Any]] = {
    "session_started": PlainViewer._session,
    "phase": PlainViewer._phase,
    "step": PlainViewer._step,
    "eval": PlainViewer._eval,
    "checkpoint": PlainViewer._checkpoint,
    "best": PlainViewer._best,
    "log": PlainViewer._log,
    "warning": PlainViewer._warning,
    "command": PlainViewer._command,
    "gpu": PlainViewer._gauges,
    "paused": PlainViewer._paused,
    "resumed": PlainViewer._resumed,
    "adapter": PlainViewer._adapter,
    "error": PlainViewer._error,
    "session_ended": PlainViewer._ended,
}
