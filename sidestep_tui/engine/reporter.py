"""The engine's voice: every event of a session, the snapshot, the heartbeat and the machine's gauges.

A step costs one line in the journal and no sync; checkpoints and the end are synced. Two daemon threads do
the rest: one rewrites `state.json` every second, which is the heartbeat, one samples the machine.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import sidestep_tui
from sidestep_tui.core import nvml
from sidestep_tui.core.errors import DiskFullError, RunError, SidestepError
from sidestep_tui.protocol import snapshot
from sidestep_tui.protocol.events import Event
from sidestep_tui.protocol.journal import Journal
from sidestep_tui.protocol.lock import boot_id
from sidestep_tui.protocol.registry import glance
from sidestep_tui.protocol.rundir import RunDir

_RESERVE_BYTES = 64 * 1024
_PHASE_INTERVAL = 0.1


def _murmur(text: str) -> None:
    """To engine.log, as a last resort; that may lie on the same full disk."""
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)


class Reporter:
    """Writes one session of a run. Safe to call from several threads; `close` it, or use it as a context.

    Raises DiskFullError when an event cannot be written. `error` and `ended` then fall back on a
    little room held in reserve, so that a run that ends for lack of space can still say so.
    """

    def __init__(
        self,
        run_dir: RunDir,
        session: str,
        *,
        clock: Callable[[], float] = time.time,
        heartbeat_seconds: float = 1.0,
        sample_seconds: float = 2.0,
        gpus: Callable[[], list[nvml.Gpu]] = nvml.gpus,
        host: Callable[[], nvml.HostStats] = nvml.host,
        disk: Callable[[Path], nvml.Disk | None] = nvml.disk,
    ) -> None:
        self.run_dir = run_dir
        self.session = session
        self.journal = Journal(run_dir, session, clock)
        self._clock = clock
        self._heartbeat_seconds = heartbeat_seconds
        self._sample_seconds = sample_seconds
        self._gpus = gpus
        self._host = host
        self._disk = disk
        self._lock = threading.RLock()
        self._state = glance(run_dir)
        self._last_phase: tuple[str, float] = ("", 0.0)
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []
        self._reserve = run_dir.path / ".reserve"
        self._make_reserve()
        self.began = clock()
        """When this session began; commands sent before it were meant for another."""
        self._run_thread(self._beat, "heartbeat")

    def __enter__(self) -> Reporter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # What the engine says.

    def started(
        self,
        *,
        total_steps: int,
        epochs: int,
        steps_per_epoch: int,
        device: str,
        resumed_from: int | None = None,
        adapter_parameters: int | None = None,
        engine: Literal["train", "fake"] = "train",
        **more: Any,
    ) -> None:
        """The session begins. Sampling of the machine starts here."""
        self._emit(
            "session_started",
            pid=os.getpid(),
            host=socket.gethostname(),
            boot_id=boot_id(),
            product_version=sidestep_tui.__version__,
            resumed_from=resumed_from,
            device=device,
            adapter_parameters=adapter_parameters,
            total_steps=total_steps,
            epochs=epochs,
            steps_per_epoch=steps_per_epoch,
            engine=engine,
            **more,
        )
        if self.journal.repaired_bytes:
            self.warning(
                "journal_repaired",
                f"The journal ended in half a line, which was cut off ({self.journal.repaired_bytes} bytes).",
                "The session before was killed while writing it; no whole event is lost.",
            )
        self.write_snapshot()
        if self._sample_seconds > 0:
            self._run_thread(self._sample_machine, "gauges")

    def phase(self, name: str, done: int = 0, total: int = 0, detail: str | None = None) -> None:
        """What the engine does now. May be called for every item: at most ten events a second are written."""
        now = time.monotonic()
        last_name, last_time = self._last_phase
        if name == last_name and done < total and now - last_time < _PHASE_INTERVAL:
            return
        self._last_phase = (name, now)
        extra = {} if detail is None else {"detail": detail}
        self._emit("phase", name=name, done=done, total=total, **extra)
        if name != last_name:
            self.write_snapshot()

    def step(
        self,
        *,
        step: int,
        epoch: int,
        loss: float,
        lr: float,
        grad_norm: float,
        samples_per_s: float,
        seconds: float,
        data_s: float | None = None,
        forward_s: float | None = None,
        backward_s: float | None = None,
        optimizer_s: float | None = None,
        **more: Any,
    ) -> None:
        """One optimiser step is done; how long its parts took is told where it is known."""
        parts = {"data_s": data_s, "forward_s": forward_s, "backward_s": backward_s, "optimizer_s": optimizer_s}
        more |= {name: round(value, 6) for name, value in parts.items() if value is not None}
        self._emit(
            "step",
            step=step,
            epoch=epoch,
            loss=loss,
            lr=lr,
            grad_norm=grad_norm,
            samples_per_s=samples_per_s,
            seconds=seconds,
            **more,
        )

    def epoch(
        self, *, epoch: int, step: int, loss: float, smoothed_loss: float | None, seconds: float, **more: Any
    ) -> None:
        """One pass over the songs is done."""
        self._emit("epoch", epoch=epoch, step=step, loss=loss, smoothed_loss=smoothed_loss, seconds=seconds, **more)

    def eval(self, *, step: int, **more: Any) -> None:
        """A measurement beside the training loss."""
        self._emit("eval", step=step, **more)

    def checkpoint(
        self,
        *,
        path: Path | str,
        step: int,
        epoch: int,
        reason: Literal["schedule", "requested", "stop", "final", "best"],
        seconds: float,
        bytes: int,
        **more: Any,
    ) -> None:
        """A checkpoint was published. `path` is told relative to the run."""
        where = self._relative(path)
        self._emit(
            "checkpoint", path=where, step=step, epoch=epoch, reason=reason, seconds=seconds, bytes=bytes, **more
        )
        self.journal.sync()

    def best(self, *, step: int, epoch: int, loss: float, **more: Any) -> None:
        """A new best; `by` tells by whose loss. After a resume, say again what it was."""
        self._emit("best", step=step, epoch=epoch, loss=loss, **more)

    def adapter(self, *, path: Path | str, kind: Literal["final", "best"], tensors: int, **more: Any) -> None:
        """An adapter was exported and verified."""
        self._emit("adapter", path=self._relative(path), kind=kind, tensors=tensors, **more)
        self.journal.sync()

    def sample(self, *, path: Path | str, prompt: str, **more: Any) -> None:
        """Audio was made to listen to."""
        self._emit("sample", path=self._relative(path), prompt=prompt, **more)

    def log(self, msg: str, level: Literal["debug", "info", "warning", "error"] = "info") -> None:
        """One line for the log."""
        self._emit("log", level=level, msg=msg)

    def warning(self, code: str, msg: str, hint: str = "") -> None:
        """Something to know that stops nothing."""
        self._emit("warning", code=code, msg=msg, hint=hint)

    def command(
        self, id: str, name: str, state: Literal["received", "done", "refused"], by: str, detail: str = ""
    ) -> None:
        """How far an order has got."""
        extra = {"detail": detail} if detail else {}
        self._emit("command", id=id, name=name, state=state, by=by, **extra)

    def paused(self, step: int) -> None:
        """Training holds."""
        self._emit("paused", step=step)
        self.write_snapshot()

    def resumed(self, step: int) -> None:
        """Training goes on."""
        self._emit("resumed", step=step)
        self.write_snapshot()

    def error(self, error: SidestepError, traceback_path: Path | str | None = None) -> None:
        """What made the session fail, in words for people."""
        path = None if traceback_path is None else self._relative(traceback_path)
        self._emit_at_all_costs(
            "error",
            kind=error.kind,
            title=error.title,
            msg=error.message,
            hint=error.hint,
            traceback_path=path,
        )

    def ended(self, reason: str, code: int, step: int) -> None:
        """The session is over; nothing but `close` may follow."""
        self._closing.set()  # No gauge reading after the goodbye.
        self._emit_at_all_costs("session_ended", reason=reason, code=int(code), step=step)
        try:
            self.journal.sync()
        except DiskFullError as full:
            _murmur(str(full))
        self.write_snapshot()

    def close(self) -> None:
        """Stop the threads, leave a last snapshot and close the journal."""
        self._closing.set()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(timeout=5.0)
        with self._lock:
            if self.journal.is_open:
                self.write_snapshot()
                try:
                    self.journal.close()
                except DiskFullError as full:
                    _murmur(str(full))
        self._reserve.unlink(missing_ok=True)

    def refuse_elsewhere(self) -> None:
        """Raise RunError once the run's directory was moved or deleted: half a run at each place helps nobody."""
        if not self.journal.is_in_place():
            raise RunError(
                "The run's directory was moved or deleted.",
                f"The journal is no longer at {self.journal.path}.",
                "Move the directory only while the run rests, then resume it at its new place.",
            )

    # How it is written down.

    def _emit(self, type: str, **fields: Any) -> Event:
        with self._lock:
            event = self.journal.append(type, **fields)
            self._state.apply(event)
        return event

    def _emit_at_all_costs(self, type: str, **fields: Any) -> None:
        """Write an event that must not be lost: on a full disk, give up the reserve for it."""
        try:
            self._emit(type, **fields)
        except DiskFullError:
            self._reserve.unlink(missing_ok=True)
            try:
                self._emit(type, **fields)
            except DiskFullError as full:
                _murmur(f"{type} could not be written to the journal: {fields} ({full})")

    def _relative(self, path: Path | str) -> str:
        """Paths inside the run are told relative to it, so that a run can be moved."""
        absolute = Path(path).absolute()
        home = self.run_dir.path.absolute()
        return absolute.relative_to(home).as_posix() if absolute.is_relative_to(home) else str(path)

    def write_snapshot(self) -> None:
        """Rewrite `state.json` now. A full disk is no reason to stop: the journal will say so."""
        if not self.journal.is_in_place():
            return
        with self._lock:
            picture = snapshot.describe(self._state, heartbeat=self._clock(), journal_offset=self.journal.offset)
            try:
                snapshot.write(self.run_dir, picture)
            except (DiskFullError, OSError) as error:
                _murmur(f"state.json could not be written: {error}")

    def _make_reserve(self) -> None:
        try:
            self._reserve.write_bytes(os.urandom(_RESERVE_BYTES))
        except OSError:
            self._reserve.unlink(missing_ok=True)

    # The threads.

    def _run_thread(self, body: Callable[[], None], name: str) -> None:
        thread = threading.Thread(target=body, name=f"reporter-{name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _beat(self) -> None:
        while not self._closing.wait(self._heartbeat_seconds):
            self.write_snapshot()

    def _sample_machine(self) -> None:
        while not self._closing.is_set():
            try:
                self._gauges()
            except DiskFullError:
                return  # The next event of the engine itself meets the same wall and reports it.
            self._closing.wait(self._sample_seconds)

    def _gauges(self) -> None:
        gpus = [gpu.event() for gpu in self._gpus()]
        host = self._host()
        disk = self._disk(self.run_dir.path)
        room = {} if disk is None else {"disk_free": disk.free, "disk_total": disk.total}
        with self._lock:
            if not self._closing.is_set():
                self._emit(
                    "gpu",
                    gpus=gpus,
                    cpu=host.cpu,
                    ram_used=host.ram_used,
                    ram_total=host.ram_total,
                    rss=host.rss,
                    **room,
                )
