"""What the songs screen asks threads and children to do: scan, measure, count, read and write files.

Workers post messages and never touch a widget. Each is exclusive in its group. Sound is only opened by children.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from textual import on, work
from textual.message import Message
from textual.worker import Worker, WorkerCancelled, WorkerFailed, get_current_worker

from sidestep_tui.core import crashes
from sidestep_tui.core.errors import DataError, SidestepError
from sidestep_tui.dataset.measuring.measure import Measured
from sidestep_tui.ui.base import SidestepScreen
from sidestep_tui.ui.songs_place import SongsPlace

if TYPE_CHECKING:
    from sidestep_tui.dataset.editing.edits import EditSession
    from sidestep_tui.dataset.manifest import Manifest, Song

ResultT = TypeVar("ResultT")

MEASURED_AT_ONCE: Final = 48
"""Songs that one child measures: few enough that results keep coming, enough that its start does not matter."""


@dataclass
class Advanced(Message):
    """How far something is; only the newest matters."""

    words: str

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, Advanced)


@dataclass
class Scanned(Message):
    """The folder has been looked at; a session for its songs is ready."""

    manifest: Manifest
    session: EditSession


@dataclass
class ScanFailed(Message):
    """The folder cannot be used, and why."""

    problem: SidestepError


@dataclass
class SongsMeasured(Message):
    """Tempo and key of some songs as heard, by name; `is_last` when nothing is left to measure."""

    heard: dict[str, Measured]
    is_last: bool


@dataclass
class SongRead(Message):
    """What the model reads of a song, counted; or why it could not be counted."""

    name: str
    reading: dict[str, Any] | None
    problem: SidestepError | None = None


@dataclass
class JobFailed(Message):
    """Something could not be done, and why."""

    problem: SidestepError


class _Superseded(Exception):
    """The worker's question has been asked anew, or nobody waits for the answer."""


class SongsJobs(SidestepScreen):
    """The part of the songs screen that waits for the machine."""

    place: SongsPlace

    def _progress(self, verb: str, *, before: int = 0, total: int | None = None) -> Callable[[str, int, int], None]:
        """A progress callback that tells the screen, and ends the work when it is not wanted any more."""
        worker = get_current_worker()

        def report(_doing: str, done: int, all_of_them: int) -> None:
            if worker.is_cancelled:
                raise _Superseded
            self.post_message(Advanced(f"{verb} {before + done} of {total or all_of_them}"))

        return report

    def _answer(self, message: Message) -> None:
        if not get_current_worker().is_cancelled:
            self.post_message(message)

    # Scan

    @work(thread=True, group="scan", exclusive=True, exit_on_error=False)
    def scan(self, place: SongsPlace) -> None:
        """Look at the folder, in a child."""
        from sidestep_tui.dataset import apart
        from sidestep_tui.dataset.editing.edits import EditSession

        report = self._progress("reading headers")
        try:
            found = apart.scan_apart(
                place.root, place.txt_role, place.language, lambda done, total: report("", done, total)
            )
            session = EditSession(found, txt_role=place.txt_role, language=place.language)
        except _Superseded:
            return
        except SidestepError as error:
            self._answer(ScanFailed(error))
            return
        self._answer(Scanned(found, session))

    # Measure

    @work(thread=True, group="measure", exclusive=True, exit_on_error=False)
    def measure(self, manifest: Manifest, songs: Sequence[Song]) -> None:
        """Estimate tempo and key of songs by their sound, in children, a few songs at a time."""
        from sidestep_tui.dataset import apart
        from sidestep_tui.dataset.measuring import measure_apart

        worker = get_current_worker()
        for start in range(0, len(songs), MEASURED_AT_ONCE):
            some = songs[start : start + MEASURED_AT_ONCE]
            report = self._progress("listening", before=start, total=len(songs))
            part = replace(manifest, songs=tuple(some), skipped=(), warnings=())
            try:
                given = {"manifest": part.to_dict(), "names": []}
                heard = apart.call(measure_apart.TASK, given, report, quiet_seconds=measure_apart.QUIET_SECONDS)
            except _Superseded:
                return
            except SidestepError as error:
                self._answer(JobFailed(error))
                return
            if worker.is_cancelled:
                return
            found = {item["name"]: Measured(**item) for item in heard}
            self.post_message(SongsMeasured(found, start + len(some) >= len(songs)))

    # Read

    @work(thread=True, group="read", exclusive=True, exit_on_error=False)
    def read_song(self, manifest: Manifest, song: Song, place: SongsPlace) -> None:
        """Count the tokens of what the model reads of a song, in a child: the tokenizer stays out of this process.

        `manifest` has all songs as they are edited: shares, such as that of held-out songs, are shares of all.
        """
        from sidestep_tui.dataset import apart
        from sidestep_tui.launch import models

        assert place.model is not None
        try:
            given = {
                "manifest": replace(manifest, skipped=(), warnings=()).to_dict(),
                "tokenizer": str(models.tokenizer_dir(str(place.model))),
                "settings": asdict(reading_settings(place)),
                "names": [song.name],
            }
            (reading,) = apart.call("read", given)
        except SidestepError as error:
            self._answer(SongRead(song.name, None, error))
            return
        self._answer(SongRead(song.name, reading))

    # Files

    async def on_thread(self, function: Callable[[], ResultT]) -> ResultT | None:
        """Let a thread read or write files; None where it failed, which has been told then."""
        worker = self.run_worker(function, thread=True, group="files", exit_on_error=False)
        try:
            return await worker.wait()
        except (WorkerFailed, WorkerCancelled):
            return None

    @on(Worker.StateChanged)
    def _worker_ended(self, event: Worker.StateChanged) -> None:
        """A worker's border: a mistake in it is a sentence and a file, never the end of the screen."""
        if event.state.name != "ERROR" or event.worker.error is None:
            return
        error = event.worker.error
        if isinstance(error, SidestepError):
            self.post_message(JobFailed(error))
            return
        path = crashes.write_log(error)
        self.post_message(JobFailed(DataError("That did not work.", f"{error}", f"The details are in {path}.")))


def reading_settings(place: SongsPlace) -> Any:
    """The settings that decide what the model reads, as `dataset.reading` wants them."""
    from sidestep_tui.dataset.reading import ReadingSettings

    return ReadingSettings(
        tag=place.tag,
        tag_position=place.tag_position,
        crop_seconds=place.crop_seconds,
        max_duration=place.max_duration,
        duration_text=place.duration_text,
        repeats=place.repeats,
        genre_ratio=place.genre_ratio,
        validation=place.validation,
    )
