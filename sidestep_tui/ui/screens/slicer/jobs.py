"""What the slicer asks of child processes: the songs, their outlines, their cuts, and the slicing itself.

Workers post messages and never touch a widget. Outlines and cuts are asked for a moment after the last key, and an
answer to a question that nobody asks any more is dropped.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from textual import on, work
from textual.message import Message
from textual.timer import Timer
from textual.worker import Worker, get_current_worker

from sidestep_tui.core import crashes
from sidestep_tui.core.errors import SidestepError
from sidestep_tui.dataset import apart
from sidestep_tui.dataset.cutting.slices import Wish
from sidestep_tui.dataset.cutting.waveform import Peaks
from sidestep_tui.dataset.manifest import Manifest, Song
from sidestep_tui.ui.base import SidestepScreen
from sidestep_tui.ui.songs_place import SongsPlace

ASK_DELAY: Final = 0.25
_KEPT: Final = 16


@dataclass
class SongsFound(Message):
    """The songs of the folder, or why there are none."""

    manifest: Manifest | None
    problem: SidestepError | None = None


@dataclass
class Outlined(Message):
    """The outline of a song, or why there is none."""

    song: str
    peaks: Peaks | None
    problem: SidestepError | None = None


@dataclass
class Planned(Message):
    """The cuts of a song for one wish, or why there are none."""

    song: str
    wish: Wish
    plan: dict[str, Any] | None
    problem: SidestepError | None = None


@dataclass
class Advanced(Message):
    """How far a job is; only the newest matters."""

    job: str
    doing: str
    done: int
    total: int

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, Advanced) and message.job == self.job


@dataclass
class Sliced(Message):
    """The slicing has ended, one way or another."""

    result: dict[str, Any] | None
    problem: SidestepError | None = None


class _Superseded(Exception):
    """Nobody waits for the worker's answer any more."""


class SlicerJobs(SidestepScreen):
    """The part of the slicer that waits for child processes."""

    place: SongsPlace

    def repaint(self) -> None:
        """Hand over everything."""
        raise NotImplementedError

    def begin_jobs(self) -> None:
        """Look into the folder."""
        self.outlines: dict[str, Outlined] = {}
        self.plans: dict[tuple[str, Wish], Planned] = {}
        self.stopping = False
        self.slicing: Advanced | None = None
        """How far the slicing under way is."""
        self._stop_file: Path | None = None
        """There once the slicing is to stop."""
        self._ask_timer: Timer | None = None
        self._asked_outline = ""
        self._asked_plan: tuple[str, Wish] | None = None
        self._scan()

    @work(thread=True, group="songs", exclusive=True, exit_on_error=False)
    def _scan(self) -> None:
        place = self.place
        try:
            found = apart.scan_apart(place.root, place.txt_role, place.language, self._steps("songs"))
        except _Superseded:
            return
        except SidestepError as error:
            self.post_message(SongsFound(None, error))
            return
        self.post_message(SongsFound(found))

    def _steps(self, job: str) -> Callable[[int, int], None]:
        report = self._report(job)
        return lambda done, total: report("", done, total)

    def _report(self, job: str) -> apart.Report:
        """Pass on progress; stop the child once its answer is no longer wanted."""
        worker = get_current_worker()

        def report(doing: str, done: int, total: int) -> None:
            if worker.is_cancelled:
                raise _Superseded
            self.post_message(Advanced(job, doing, done, total))

        return report

    # One song

    def ask_about(self, song: Song, wish: Wish | None, *, at_once: bool = False) -> None:
        """Find the outline of a song and its cuts, unless both are known; without a wish only the outline."""
        if self._ask_timer is not None:
            self._ask_timer.stop()

        def ask() -> None:
            # What is under way already is not begun again.
            if song.name not in self.outlines and self._asked_outline != song.name:
                self._asked_outline = song.name
                self._outline(song)
            if wish is not None and (song.name, wish) not in self.plans and self._asked_plan != (song.name, wish):
                self._asked_plan = song.name, wish
                self._plan(song, wish)

        if at_once:
            ask()
        else:
            self._ask_timer = self.set_timer(ASK_DELAY, ask)

    @work(thread=True, group="outline", exclusive=True, exit_on_error=False)
    def _outline(self, song: Song) -> None:
        try:
            plain = apart.call("peaks", {"audio": str(song.audio)}, self._report("outline"))
        except _Superseded:
            return
        except SidestepError as error:
            self.post_message(Outlined(song.name, None, error))
            return
        self.post_message(Outlined(song.name, Peaks.from_dict(plain)))

    @work(thread=True, group="plan", exclusive=True, exit_on_error=False)
    def _plan(self, song: Song, wish: Wish) -> None:
        given = {"song": {**asdict(song), "audio": str(song.audio)}, "wish": wish.to_dict()}
        try:
            plan = apart.call("slice_plan", given, self._report("plan"))
        except _Superseded:
            return
        except SidestepError as error:
            self.post_message(Planned(song.name, wish, None, error))
            return
        self.post_message(Planned(song.name, wish, plan))

    def keep_outline(self, message: Outlined) -> None:
        """Remember an outline, and forget the oldest."""
        self._asked_outline = ""
        self.outlines[message.song] = message
        while len(self.outlines) > _KEPT:
            del self.outlines[next(iter(self.outlines))]

    def keep_plan(self, message: Planned) -> None:
        """Remember cuts, and forget the oldest."""
        self._asked_plan = None
        self.plans[message.song, message.wish] = message
        while len(self.plans) > 2 * _KEPT:
            del self.plans[next(iter(self.plans))]

    # Slicing

    @property
    def is_slicing(self) -> bool:
        """Whether a slicing is under way."""
        return self._stop_file is not None

    def begin_slicing(self, destination: Path, wish: Wish, *, resume: bool) -> None:
        """Slice all songs in a child process."""
        self._stop_file = Path(tempfile.gettempdir()) / f"sidestep-slicer-{secrets.token_hex(8)}"
        self.slicing, self.stopping = Advanced("slices", "", 0, 1), False
        self._slice(destination, wish, self._stop_file, resume=resume)

    def stop_slicing(self) -> None:
        """Ask the child to stop; it finishes or drops the slice under way."""
        if self._stop_file is not None:
            self.stopping = True
            self._stop_file.touch()

    @work(thread=True, group="slices", exclusive=True, exit_on_error=False)
    def _slice(self, destination: Path, wish: Wish, stop: Path, *, resume: bool) -> None:
        worker = get_current_worker()

        def report(doing: str, done: int, total: int) -> None:
            # A child that is killed may leave half a file behind, under a name of its own; one that is asked does not.
            if worker.is_cancelled:
                stop.touch()
            self.post_message(Advanced("slices", doing, done, total))

        place = self.place
        given = {
            "root": str(place.root),
            "txt_role": place.txt_role,
            "language": place.language,
            "destination": str(destination),
            "wish": wish.to_dict(),
            "resume": resume,
            "stop": str(stop),
        }
        try:
            self.post_message(Sliced(apart.call("slice", given, report)))
        except SidestepError as error:
            self.post_message(Sliced(None, error))
        finally:
            stop.unlink(missing_ok=True)

    def end_slicing(self) -> None:
        """The child has ended."""
        self._stop_file = None
        self.slicing = None

    @on(Worker.StateChanged)
    def _worker_ended(self, event: Worker.StateChanged) -> None:
        """A worker's border: a mistake in it is a sentence and a file, never the end of the screen."""
        if event.state.name != "ERROR" or event.worker.error is None:
            return
        path = crashes.write_log(event.worker.error)
        if event.worker.group == "slices":
            self.end_slicing()
        self.repaint()
        self.notify(
            f"{event.worker.error} (details in {path})", title="That did not work", severity="error", timeout=15
        )
