"""From the files of a run to the event loop: the same reading for live, finished, crashed and diverged runs.

The reading happens on a worker thread; it never touches a widget. It fills a queue and posts one message that a
newer one replaces; the screen drains the queue when it handles the message. A reader that runs ahead waits.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from textual.message import Message

from sidestep_tui.protocol import bulk, snapshot
from sidestep_tui.protocol.events import Event
from sidestep_tui.protocol.liveness import Death, Liveness, explain_death, liveness
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.protocol.snapshot import Snapshot
from sidestep_tui.protocol.state import RunState
from sidestep_tui.protocol.tail import Tail

POLL_SECONDS = 0.25
"""How long the thread sleeps at most; leaving the screen never takes longer."""

_LIVENESS_SECONDS = 1.0
_MOST_WAITING = 20_000
_BLOCK_BYTES = 512 * 1024


class RunAdvanced(Message):
    """New events, or a new verdict on whether the engine lives, wait in the feed."""

    def can_replace(self, message: Message) -> bool:
        """Only the newest matters: the screen drains everything at once."""
        return isinstance(message, RunAdvanced)


@dataclass(slots=True)
class Batch:
    """What the screen takes from the feed in one go."""

    events: list[Event] = field(default_factory=list)
    restarted: bool = False
    """The journal was replaced: forget what was reduced before these events."""
    picture: RunState | None = None
    """The engine's own summary, given once, for a picture before the journal is read."""
    liveness: Liveness | None = None
    """The latest verdict; None before the first one."""
    death: Death | None = None
    """What is known about an engine that died, as long as it is dead."""
    heartbeat: float | None = None
    caught_up: bool = False
    """Whether the end of the journal has been seen."""


class Feed:
    """Reads one run directory; `run` belongs to a thread, everything else to the event loop."""

    def __init__(self, path: Path, notify: Callable[[], object], clock: Callable[[], float]) -> None:
        self.run_dir = RunDir(path)
        self._notify = notify
        self._clock = clock
        self._tail = Tail(self.run_dir.events, bulk=True)
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._events: deque[Event] = deque()
        self._waiting = 0
        self._restarted = False
        self._picture: RunState | None = None
        self._liveness: Liveness | None = None
        self._death: Death | None = None
        self._heartbeat: float | None = None
        self._caught_up = False

    def run(self, is_cancelled: Callable[[], bool]) -> None:
        """The thread: read, notify, sleep; returns soon after `is_cancelled` turns true."""
        self._look(snapshot.read(self.run_dir))
        checked = self._clock()
        while not is_cancelled():
            self.read_block()
            now = self._clock()
            if now - checked >= _LIVENESS_SECONDS:
                checked = now
                self._look(None)
            if self._tail.at_end or self._crowded():
                self._wake.wait(POLL_SECONDS)
                self._wake.clear()

    def read_block(self) -> int:
        """Read one block of the journal; returns how many lines it held."""
        if self._crowded():
            return 0
        restarts = self._tail.restarts
        events = self._tail.read(_BLOCK_BYTES)
        lines = sum(map(bulk.weight, events))
        with self._lock:
            if self._tail.restarts != restarts:
                self._events.clear()
                self._waiting = 0
                self._restarted = True
            self._events.extend(events)
            self._waiting += lines
            news = bool(events) or self._restarted or (self._tail.at_end and not self._caught_up)
            self._caught_up = self._caught_up or self._tail.at_end
        if news:
            self._notify()
        return lines

    def _crowded(self) -> bool:
        return self._waiting > _MOST_WAITING

    def _look(self, first: Snapshot | None) -> None:
        """Judge whether the engine lives; notify only when the verdict changed."""
        now = self._clock()
        verdict = liveness(self.run_dir, now)
        died = verdict is Liveness.DIED
        death = (self._death or explain_death(self.run_dir)) if died else None
        current = first or snapshot.read(self.run_dir)
        with self._lock:
            news = verdict != self._liveness or first is not None
            self._liveness = verdict
            self._death = death
            self._heartbeat = snapshot.heartbeat(current)
            self._picture = _picture(first) or self._picture
        if news:
            self._notify()

    def drain(self, most: int = 4_000) -> Batch:
        """Take what waits, about `most` lines at most; notifies again when more is left."""
        taken: list[Event] = []
        with self._lock:
            left = most
            while self._events and left > 0:
                event = self._events.popleft()
                taken.append(event)
                left -= bulk.weight(event)
            self._waiting = self._waiting - (most - left) if self._events else 0
            batch = Batch(
                taken,
                restarted=self._restarted,
                picture=self._picture,
                liveness=self._liveness,
                death=self._death,
                heartbeat=self._heartbeat,
                caught_up=self._caught_up and not self._events,
            )
            self._restarted = False
            self._picture = None
            more = bool(self._events)
        self._wake.set()
        if more:
            self._notify()
        return batch


def _picture(first: Snapshot | None) -> RunState | None:
    """The snapshot as a state that can be painted; None if it is of another version or damaged."""
    if first is None:
        return None
    try:
        state = snapshot.restore(first)
    except ValueError:
        return None
    counts = (state.step, state.total_steps, state.epoch, state.epochs)
    numbers = all(isinstance(value, int) for value in counts) and isinstance(state.metrics, dict)
    lists = isinstance(state.gpus, list) and isinstance(state.host, dict) and isinstance(state.status, str)
    return state if numbers and lists else None
