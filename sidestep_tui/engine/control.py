"""The engine's ears: commands from the inbox and signals, turned into orders for the next safe point.

A thread looks into the inbox four times a second and acknowledges what it finds. The engine asks `poll` where
it can afford to act. Signal handlers only queue a number: they run inside whatever the main thread was doing,
so they must take no lock.
"""

from __future__ import annotations

import queue
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType, TracebackType

from sidestep_tui.core.errors import DiskFullError
from sidestep_tui.engine.reporter import Reporter
from sidestep_tui.protocol.inbox import Command, Inbox
from sidestep_tui.protocol.rundir import RunDir

LOOK_EVERY = 0.25
"""Seconds between looks into the inbox."""

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_CLOSE = 0

TRAINING_COMMANDS = frozenset({"stop", "abort", "pause", "resume", "checkpoint"})
"""What a training engine carries out."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What the engine should do at this safe point."""

    stop: bool = False
    """Save and exit."""
    abort: bool = False
    """Exit without saving."""
    paused: bool = False
    """Hold: call `wait_while_paused`."""
    checkpoint: tuple[Command, ...] = ()
    """Save now, once for all of these, then `done` each."""
    sample: tuple[Command, ...] = ()
    """Make audio for each, then `done`."""

    @property
    def leave(self) -> bool:
        """Whether the loop should end here."""
        return self.stop or self.abort


class Control:
    """Takes orders for one session. Use it as a context around the work, inside the reporter's.

    `accepts` names the commands that this engine carries out; others are refused in the journal.
    """

    def __init__(
        self,
        run_dir: RunDir,
        reporter: Reporter,
        *,
        accepts: frozenset[str] = TRAINING_COMMANDS,
        signals: bool = True,
        look_every: float = LOOK_EVERY,
    ) -> None:
        self._inbox = Inbox(run_dir)
        self._reporter = reporter
        self._accepts = accepts
        self._signals = signals
        self._look_every = look_every
        self._queue: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._stop = False
        self._abort = False
        self._pause_wanted = False
        self._is_paused = False
        self._seen: set[str] = set()
        self._open: dict[str, Command] = {}
        self._checkpoints: list[Command] = []
        self._samples: list[Command] = []
        self._signal_count = 0
        self._finished = False
        self._old_handlers: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}
        self._thread = threading.Thread(target=self._listen, name="control", daemon=True)

    def __enter__(self) -> Control:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Refuse what an earlier session left in the inbox, and begin to listen."""
        for command in self._inbox.take():
            if command.t < self._reporter.began:
                self._acknowledge(command, "refused", "it was sent before this session began")
            else:
                self._take(command)
        if self._signals:
            self._catch_signals()
        self._thread.start()

    def close(self) -> None:
        """Stop listening and give the signals back."""
        if self._thread.is_alive():
            self._queue.put(_CLOSE)
            self._thread.join(timeout=5.0)
        for number, handler in self._old_handlers.items():
            signal.signal(number, handler)
        self._old_handlers.clear()

    # What the engine asks.

    def poll(self) -> Orders:
        """The orders for this safe point; checkpoint and sample requests are handed out once.

        Raises RunError when the run's directory is gone from its place, as all waiting and asking below does.
        """
        self._reporter.refuse_elsewhere()
        with self._changed:
            return self._hand_out()

    def should_stop(self) -> bool:
        """Whether to leave: for long work outside the training loop."""
        self._reporter.refuse_elsewhere()
        return self._stop or self._abort

    def should_abort(self) -> bool:
        """Whether to leave without saving."""
        return self._abort

    def wait_while_paused(self, step: int) -> Orders:
        """Hold until there is something to do: resumed, stopped, or an order to carry out while holding.

        Returns the orders like `poll`. If they still say `paused`, carry out the rest and call again.
        """
        with self._changed:
            if not self._pause_wanted or self._stop or self._abort:
                return self._hand_out()
            if not self._is_paused:
                self._is_paused = True
                self._tell(lambda: self._reporter.paused(step))
                self._finish_all("pause")
            self._changed.wait_for(self._has_work)
            self._reporter.refuse_elsewhere()
            if not self._pause_wanted:
                self._is_paused = False
                self._tell(lambda: self._reporter.resumed(step))
                self._finish_all("resume")
            return self._hand_out()

    def done(self, command: Command | str, detail: str = "") -> None:
        """Acknowledge that an order was carried out."""
        self._close_command(command, "done", detail)

    def refused(self, command: Command | str, detail: str) -> None:
        """Acknowledge that an order cannot be carried out, and why."""
        self._close_command(command, "refused", detail)

    def finish(self) -> None:
        """Acknowledge everything still open; call it right before `Reporter.ended`."""
        with self._changed:
            self._finished = True
            for command in list(self._open.values()):
                if command.name in ("stop", "abort"):
                    self._close_command(command, "done", "")
                else:
                    self._close_command(command, "refused", "the session ended first")
            for command in self._inbox.take():
                if command.id not in self._seen:
                    self._acknowledge(command, "refused", "the session ended first")

    # What happens inside.

    def _hand_out(self) -> Orders:
        orders = Orders(
            stop=self._stop,
            abort=self._abort,
            paused=self._pause_wanted,
            checkpoint=tuple(self._checkpoints),
            sample=tuple(self._samples),
        )
        self._checkpoints.clear()
        self._samples.clear()
        return orders

    def _has_work(self) -> bool:
        orders = not self._pause_wanted or self._stop or self._abort or self._checkpoints or self._samples
        return bool(orders) or not self._reporter.journal.is_in_place()

    def _listen(self) -> None:
        while True:
            try:
                number = self._queue.get(timeout=self._look_every)
            except queue.Empty:
                self._look()
                continue
            if number == _CLOSE:
                return
            self._on_signal(number)

    def _look(self) -> None:
        with self._changed:
            if self._finished:
                return
            for command in self._inbox.take():
                self._take(command)
            self._changed.notify_all()

    def _take(self, command: Command) -> None:
        """Receive one command; the same one twice counts once."""
        with self._changed:
            if command.id in self._seen:
                return
            self._seen.add(command.id)
            if command.problem:
                self._acknowledge(command, "refused", command.problem)
                return
            if command.name not in self._accepts:
                self._acknowledge(command, "refused", "this engine does not do that")
                return
            self._open[command.id] = command
            self._acknowledge(command, "received", "")
            self._obey(command)

    def _obey(self, command: Command) -> None:
        if command.name == "stop":
            self._stop = True
        elif command.name == "abort":
            self._abort = True
        elif command.name == "checkpoint":
            self._checkpoints.append(command)
        elif command.name == "sample":
            self._samples.append(command)
        elif command.name == "pause":
            self._pause_wanted = True
            if self._is_paused:
                self._close_command(command, "done", "it was paused already")
        elif command.name == "resume":
            was_wanted, self._pause_wanted = self._pause_wanted, False
            for other in [item for item in self._open.values() if item.name == "pause"]:
                self._close_command(other, "refused", "a resume came before the pause took hold")
            if not self._is_paused:
                detail = "the pause had not taken hold yet" if was_wanted else "it was not paused"
                self._close_command(command, "done", detail)

    def _finish_all(self, name: str) -> None:
        for command in [item for item in self._open.values() if item.name == name]:
            self._close_command(command, "done", "")

    def _close_command(self, command: Command | str, state: str, detail: str) -> None:
        with self._changed:
            known = self._open.pop(command if isinstance(command, str) else command.id, None)
            if known is not None:
                self._acknowledge(known, state, detail)

    def _acknowledge(self, command: Command, state: str, detail: str) -> None:
        self._tell(lambda: self._reporter.command(command.id, command.name, state, command.by, detail))  # type: ignore[arg-type]

    def _tell(self, say: Callable[[], None]) -> None:
        """An order holds even when the disk is too full to acknowledge it; the engine will report that."""
        try:
            say()
        except DiskFullError as error:
            with suppress(OSError):
                print(f"An order could not be acknowledged: {error}", file=sys.stderr, flush=True)

    # Signals.

    def _catch_signals(self) -> None:
        for number in _STOP_SIGNALS:
            self._old_handlers[number] = signal.signal(number, self._handle)
        if hasattr(signal, "SIGHUP"):
            # The terminal went away; training has nothing to do with terminals.
            self._old_handlers[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._signal_count += 1
        if self._signal_count > 2:
            # Asked three times: the engine is stuck. Let the next one end the process.
            signal.signal(number, signal.SIG_DFL)
        self._queue.put(number)

    def _on_signal(self, number: int) -> None:
        name = signal.Signals(number).name
        with self._changed:
            if self._finished:
                return
            order = "abort" if self._stop else "stop"
            command = Command(id=f"{name.lower()}-{len(self._seen)}", name=order, by=name, t=self._reporter.began)
            self._take(command)
            self._changed.notify_all()
