"""What the doctor's screen asks threads and children to do: examine the folder, say what a fix writes, write it.

Workers post messages and never touch a widget. Sound is only opened by children.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from textual import on, work
from textual.message import Message
from textual.worker import Worker, get_current_worker

from sidestep_tui.core import crashes
from sidestep_tui.core.errors import SidestepError
from sidestep_tui.ui.base import SidestepScreen
from sidestep_tui.ui.screens.doctor.rows import as_parameters
from sidestep_tui.ui.songs_place import SongsPlace

if TYPE_CHECKING:
    from sidestep_tui.dataset.health.doctor import Report
    from sidestep_tui.dataset.health.doctor_findings import Fix

_QUIET_SECONDS: Final = 120.0
"""Silence after which a child is given up: comparing the words of thousands of songs says nothing for a while."""


@dataclass
class Advanced(Message):
    """How far the examination of a turn is; only the newest matters."""

    turn: int
    doing: str
    done: int
    total: int

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, Advanced)


@dataclass
class Examined(Message):
    """The folder has been examined."""

    turn: int
    report: Report
    preview: list[dict[str, Any]]


@dataclass
class Refused(Message):
    """The folder cannot be examined, and why."""

    turn: int
    problem: SidestepError


@dataclass
class Planned(Message):
    """What some fixes would write."""

    fixes: list[Fix]
    preview: list[dict[str, Any]]


@dataclass
class Repaired(Message):
    """What was written, and what is left to report."""

    report: Report
    preview: list[dict[str, Any]]
    written: list[dict[str, str]]


@dataclass
class RepairFailed(Message):
    """Nothing can be said of what was written, and why."""

    problem: SidestepError


class _StoppedError(Exception):
    """Nobody waits for the answer any more."""


class DoctorJobs(SidestepScreen):
    """The part of the screen that waits for the machine."""

    place: SongsPlace
    report: Report | None

    @work(thread=True, exclusive=True, exit_on_error=False, group="examine")
    def examine(self, turn: int) -> None:
        """Examine the folder in a child process; an answer to a question that was taken back is dropped."""
        # Deferred: the doctor's modules take 40 ms to import, and the app's first frame needs none of them.
        from sidestep_tui.dataset import apart
        from sidestep_tui.dataset.health.doctor import Report

        worker = get_current_worker()

        def progress(doing: str, done: int, total: int) -> None:
            if worker.is_cancelled:
                raise _StoppedError
            self.post_message(Advanced(turn, doing, done, total))

        try:
            parameters = {"root": str(self.place.root), "options": self._options()}
            answer = apart.call("doctor", parameters, progress, quiet_seconds=_QUIET_SECONDS)
        except _StoppedError:
            return
        except SidestepError as error:
            if not worker.is_cancelled:
                self.post_message(Refused(turn, error))
            return
        if not worker.is_cancelled:
            self.post_message(Examined(turn, Report.from_dict(answer["report"]), answer["preview"]))

    def _options(self) -> dict[str, Any]:
        from sidestep_tui.launch import models

        place = self.place
        return {
            "txt_role": place.txt_role,
            "language": place.language,
            "tag": place.tag,
            "tag_is_added": bool(place.tag),
            "tag_position": place.tag_position,
            "tokenizer": str(models.tokenizer_dir(str(place.model))) if place.model else "",
        }

    @work(thread=True, exclusive=True, exit_on_error=False, group="fixes")
    def plan_fixes(self, report: Report, fixes: Sequence[Fix]) -> None:
        """Work out what some fixes would write: that takes reading sidecars, which may lie on a slow disk."""
        from sidestep_tui.dataset import archives
        from sidestep_tui.dataset.health import doctor

        try:
            archives.refuse_edits(report.root)
        except SidestepError as error:
            self.post_message(RepairFailed(error))
            return
        plan = doctor.planned(report, chosen=fixes)
        self.post_message(Planned(list(fixes), doctor.preview(plan)))

    @work(thread=True, exclusive=True, exit_on_error=False, group="fixes")
    def carry_out(self, report: Report, fixes: Sequence[Fix], preview: Sequence[dict[str, Any]]) -> None:
        """Write what was shown, in a child process; a file that has changed since stays as it is."""
        from sidestep_tui.dataset import apart
        from sidestep_tui.dataset.health.doctor import Report

        parameters = {
            "report": report.to_dict(),
            "fixes": as_parameters(fixes),
            "agreed": {file["path"]: file["digest"] for file in preview},
        }
        try:
            answer = apart.call("doctor_fix", parameters, quiet_seconds=_QUIET_SECONDS)
        except SidestepError as error:
            self.post_message(RepairFailed(error))
            return
        self.post_message(Repaired(Report.from_dict(answer["report"]), answer["preview"], answer["written"]))

    @on(Worker.StateChanged)
    def _worker_ended(self, event: Worker.StateChanged) -> None:
        """A worker's border: a mistake in it is a sentence and a file, never the end of the app."""
        if event.state.name != "ERROR" or event.worker.error is None:
            return
        path = crashes.write_log(event.worker.error)
        words = f"{event.worker.error} (details in {path})"
        self.notify(words, title="That did not work", severity="error", timeout=15)
        self.job_broke()

    def job_broke(self) -> None:
        """A worker has ended without an answer."""
        raise NotImplementedError
