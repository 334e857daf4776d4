"""Feeding a run's numbers to a metric sink, live or later, each of them once.

A reader of the journal in a process of its own: the engine knows nothing of it. How far it got stands in `feed.json`
beside the sink's files. A sink whose files can be cut back (TensorBoard) is cut back to that mark after a crash; one
that cannot be asked (W&B, trackio) gets a block announced before it is sent, and a block that was announced but never
confirmed is not sent again.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Protocol, get_args

from sidestep_tui.core import atomic
from sidestep_tui.core.errors import RunError, SettingsError
from sidestep_tui.launch.sinks import Point, Survey, point_of
from sidestep_tui.protocol.lock import RunLock
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.protocol.tail import Tail
from sidestep_tui.schema.run import read_run

SinkName = Literal["tensorboard", "wandb", "trackio"]
SINKS: Final[tuple[str, ...]] = get_args(SinkName)
FORMAT: Final = 1
BLOCK_BYTES: Final = 128 * 1024
"""Journal that is sent at a time, about 600 steps: what a crash can cost a sink that cannot be asked."""
_SENT_GROUPS: Final = ("adapter", "optim", "train", "memory", "speed")
_STATE_FILE: Final = "feed.json"


class Sink(Protocol):
    """Where points go."""

    can_cut_back: bool
    """Whether `open` removes what was written after the last mark."""

    def open(self, about: About, mark: Mapping[str, Any]) -> None:
        """Begin, or go on from what `mark` of an earlier session returned (empty the first time)."""

    def send(self, point: Point) -> None:
        """Take one point."""

    def go_back(self, step: int) -> None:
        """What was sent beyond `step` is superseded."""

    def mark(self) -> dict[str, Any]:
        """Have everything written, and say what to remember."""

    def close(self) -> None:
        """End; raises whatever kept points from being written."""


@dataclass(frozen=True, slots=True)
class About:
    """What a sink is told of the run. `config` holds numbers, choices and switches: no paths, prompts or tags."""

    name: str
    id: str
    directory: Path
    project: str
    config: dict[str, Any]


@dataclass(slots=True)
class Progress:
    """How far a feed got; the contents of feed.json."""

    sink: str
    id: str
    head: str = ""
    """SHA-256 of the journal's first line: which journal this is."""
    offset: int = 0
    seq: int = -1
    step: int = -1
    """The highest step sent that is not superseded."""
    points: int = 0
    announced: list[int] | None = None
    """(offset, seq, step) at the end of the block being sent."""
    mark: dict[str, Any] = field(default_factory=dict)
    format: int = FORMAT


def read_progress(path: Path) -> Progress | None:
    """What feed.json says; None before the first. Raises RunError when it says something else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        progress = Progress(**value)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise RunError(
            "It is not known what was sent already.", f"{path} cannot be read: {error}.", "Name another --dir."
        ) from error
    numbers = [progress.offset, progress.seq, progress.step, *(progress.announced or (0, 0, 0))]
    if progress.format != FORMAT or len(numbers) != 6 or not all(type(number) is int for number in numbers):
        raise RunError(
            "It is not known what was sent already.", f"{path} is of another version.", "Name another --dir."
        )
    return progress


def config_of(run_dir: RunDir) -> dict[str, Any]:
    """The settings that describe the training, flat: `optim.lr` → 1e-4. Empty where run.toml cannot be read."""
    try:
        settings = read_run(run_dir.run_toml).settings.model_dump(mode="json")
    except (OSError, SettingsError):
        return {}
    return {
        f"{group}.{name}": value
        for group in _SENT_GROUPS
        for name, value in settings.get(group, {}).items()
        if isinstance(value, bool | int | float) or (isinstance(value, str) and value.isidentifier())
    }


class Feed:
    """One sink being fed from one run. A context manager: leaving it closes the sink and keeps the mark."""

    def __init__(
        self, run_dir: RunDir, name: str, sink: Sink, directory: Path, *, project: str, say: Callable[[str], None]
    ) -> None:
        self.run_dir = run_dir
        self.sent = 0
        """Points of this session."""
        self._sink = sink
        self._say = say
        self._directory = directory
        self._survey = Survey()
        self._lock = self._claim()
        try:
            known = read_progress(directory / _STATE_FILE)
            self.progress = known or Progress(name, uuid.uuid4().hex[:12])
            self._refuse_other(name)
            self._resume_announced()
            self._tail = Tail(run_dir.events, self.progress.offset)
            self._look_back()
            about = About(run_dir.name, self.progress.id, directory, project, config_of(run_dir))
            sink.open(about, self.progress.mark)
            # Until this is written, a crash leaves files that no mark knows.
            self._remember()
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> Feed:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._sink.close()
        finally:
            self._lock.release()

    def _claim(self) -> RunLock:
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(
                f"{self._directory} cannot be made.", f"{error.strerror or error}.", "Name another --dir."
            ) from error
        try:
            return RunLock(RunDir(self._directory), "feed", now=time.time(), patience=0.2)
        except RunError as error:
            raise RunError(
                "Another process feeds this sink.", f"{self._directory} is in use.", "Let it go on, or end it first."
            ) from error

    def _refuse_other(self, name: str) -> None:
        progress = self.progress
        if progress.sink != name:
            raise RunError(f"{self._directory} belongs to {progress.sink}.", "", "Name another --dir.")
        size = _size(self.run_dir.events)
        if progress.head and (size < progress.offset or _head(self.run_dir.events) != progress.head):
            raise RunError(
                "This sink was fed from another journal.",
                f"{self._directory} holds what another run, or an earlier one of this name, said.",
                "Name another --dir.",
            )

    def _resume_announced(self) -> None:
        announced = self.progress.announced
        if announced is None:
            return
        self.progress.announced = None
        if self._sink.can_cut_back:
            return
        self._say(
            f"The last feed ended while it sent steps {self.progress.step + 1} to {announced[2]}: "
            f"they are not sent again, and some may be missing in {self.progress.sink}."
        )
        self.progress.offset, self.progress.seq, self.progress.step = announced

    def _look_back(self) -> None:
        """Learn which sessions and steps came before the mark, and what the whole journal supersedes."""
        past = Tail(self.run_dir.events)
        while True:
            for event in past.read():
                self._survey.note(event)
            if past.at_end:
                return

    def pump(self, is_over: Callable[[], bool] = lambda: False) -> int:
        """Send what the journal holds by now, or until `is_over` between two blocks; returns the number of points.

        Raises RunError if the journal became shorter.
        """
        before = self.sent
        while not is_over():
            if _size(self.run_dir.events) < self._tail.offset:
                raise RunError("The journal became shorter.", f"{self.run_dir.events} was replaced.", "")
            start = self._tail.offset
            events = self._tail.read(BLOCK_BYTES)
            if self._tail.offset > start:
                self._send_block(events)
            if self._tail.at_end:
                break
        return self.sent - before

    def _send_block(self, events: list[dict[str, Any]]) -> None:
        for event in events:
            self._survey.note(event)
        returns = dict(self._survey.returns)
        superseded = self._survey.superseded()
        progress = self.progress
        seq, step = progress.seq, progress.step
        todo: list[Point | int] = []
        for event in events:
            number = event.get("seq")
            if type(number) is not int or number <= seq:
                continue
            seq = number
            back = returns.get(seq)
            if back is not None and step > back:
                step = back
                todo.append(back)
            point = point_of(event)
            if point is not None and point.values and point not in superseded:
                step = max(step, point.step)
                todo.append(point)
        progress.head = progress.head or _head(self.run_dir.events)
        if todo:
            if not self._sink.can_cut_back:
                progress.announced = [self._tail.offset, seq, step]
                self._write()
            self._hand_over(todo)
            progress.announced = None
        progress.offset, progress.seq, progress.step = self._tail.offset, seq, step
        self._remember()

    def _hand_over(self, todo: list[Point | int]) -> None:
        for item in todo:
            if isinstance(item, Point):
                self._sink.send(item)
                self.sent += 1
                self.progress.points += 1
            else:
                self._sink.go_back(item)

    def _remember(self) -> None:
        self.progress.mark = self._sink.mark()
        self._write()

    def _write(self) -> None:
        atomic.write_json(self._directory / _STATE_FILE, asdict(self.progress), durable=False)


def sink_name(metric: str) -> str:
    """`loss` → `train/loss`, `epoch_loss` → `epoch/loss`: sinks group by what stands before the slash."""
    if "/" in metric:
        return metric
    if metric.startswith("epoch_"):
        return f"epoch/{metric.removeprefix('epoch_')}"
    return f"epoch/{metric}" if metric == "smoothed" else f"train/{metric}"


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def _head(path: Path) -> str:
    try:
        with path.open("rb") as handle:
            return hashlib.sha256(handle.readline()).hexdigest()
    except FileNotFoundError:
        return ""
