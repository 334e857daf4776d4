"""What the wizard asks the machine, in threads: GPUs, checkpoints, songs, preflight, and the start of a run.

Workers post messages and never touch a widget. Each is exclusive in its group, so that an answer to an old question is
dropped when a newer one was asked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual import on, work
from textual.events import ScreenResume
from textual.message import Message
from textual.timer import Timer
from textual.worker import Worker, get_current_worker

from sidestep_tui.core import crashes, ids
from sidestep_tui.core.errors import SidestepError
from sidestep_tui.ui.base import SidestepScreen
from sidestep_tui.ui.dialogs.confirm import Tell
from sidestep_tui.ui.messages import RunStarted

if TYPE_CHECKING:
    from sidestep_tui.core.nvml import Gpu
    from sidestep_tui.dataset.manifest import Manifest
    from sidestep_tui.launch.models import FoundModel
    from sidestep_tui.launch.preflight import Check
    from sidestep_tui.schema.layers import Resolved
    from sidestep_tui.schema.settings import Settings
    from sidestep_tui.ui.app import SidestepApp
    from sidestep_tui.ui.forms.session import FormSession
    from sidestep_tui.ui.screens.wizard.page import Page
    from sidestep_tui.ui.songs_place import SongsPlace

_ASK_DELAY = 0.3


@dataclass
class MachineKnown(Message):
    """GPUs, checkpoints and folders of songs, those used before first."""

    gpus: list[Gpu]
    models: list[FoundModel]
    datasets: list[Path]


@dataclass
class ModelLocated(Message):
    """What `model.path` means: a checkpoint, a problem, or nothing while it is empty."""

    model: FoundModel | None
    problem: SidestepError | None


@dataclass
class DatasetScanned(Message):
    """What `data.path` holds, or why it cannot be used."""

    manifest: Manifest | None
    problem: SidestepError | None


@dataclass
class ScanAdvanced(Message):
    """How far the scan is; only the newest matters."""

    done: int
    total: int

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, ScanAdvanced)


@dataclass
class Checked(Message):
    """The answers of the preflight."""

    checks: list[Check]


@dataclass
class StartFailed(Message):
    """The run did not start, and why."""

    problem: SidestepError


@dataclass
class StartAdvanced(Message):
    """What the start is doing."""

    words: str


@dataclass
class RunBegun(Message):
    """The engine has answered."""

    path: Path


class _Superseded(Exception):
    """The worker's question has been asked anew."""


class WizardJobs(SidestepScreen):
    """The part of the wizard that waits for the machine."""

    app: SidestepApp
    _asked: dict[str, object]
    _ask_timers: dict[str, Timer]

    @property
    def session(self) -> FormSession:
        """What the forms read and change."""
        raise NotImplementedError

    @property
    def page(self) -> Page | None:
        """The page in front."""
        raise NotImplementedError

    @property
    def visited(self) -> list[Page]:
        """The pages visited so far."""
        raise NotImplementedError

    def begin_jobs(self) -> None:
        """Ask everything once."""
        self._asked = {}
        self._ask_timers = {}
        self._look_at_machine()
        self.refresh_jobs()

    def refresh_jobs(self) -> None:
        """Ask again what depends on a setting that has changed; a moment after the last key."""
        if not hasattr(self, "_asked"):
            return
        settings = self.session.settings
        self._ask("model", settings.model, lambda: self._locate_model(settings))
        self._ask(
            "songs", (settings.data.path, settings.data.txt_role, settings.data.language), lambda: self._scan(settings)
        )
        if self.page is not None and self.page.id == "review":
            self._ask("preflight", (self.session.draft.version,), self._check)

    def _ask(self, name: str, question: object, ask: Callable[[], Any]) -> None:
        if self._asked.get(name) == question:
            return
        first = name not in self._asked
        self._asked[name] = question
        if name in self._ask_timers:
            self._ask_timers[name].stop()
        if first:
            ask()
        else:
            self._ask_timers[name] = self.set_timer(_ASK_DELAY, ask)

    # Machine

    @work(thread=True, group="machine", exclusive=True, exit_on_error=False)
    def _look_at_machine(self) -> None:
        # Deferred: the NVML binding costs 30 ms, and the first frame needs none of it.
        from sidestep_tui.core import nvml
        from sidestep_tui.ui.screens.wizard.offers import found_models, found_songs

        self.post_message(MachineKnown(nvml.gpus(), found_models(), found_songs()))

    @on(MachineKnown)
    def _machine_known(self, message: MachineKnown) -> None:
        from sidestep_tui.ui.screens.wizard.offers import offers

        self._machine = message
        self.session.offers = offers(message.models, message.datasets)
        self.session.machine_known(message.gpus)
        for page in self.visited:
            self.page_mounted(page)

    def page_mounted(self, page: Page) -> None:
        """Give a page what was found before it was there."""
        machine = getattr(self, "_machine", None)
        if machine is not None:
            page.show_found(machine.models, machine.datasets)

    def page_shown(self, page: Page) -> None:
        """A page has come to the front."""
        self.refresh_jobs()

    # Checkpoint

    @work(thread=True, group="model", exclusive=True, exit_on_error=False)
    def _locate_model(self, settings: Settings) -> None:
        from sidestep_tui.launch import models

        if not settings.model.path:
            self.post_message(ModelLocated(None, None))
            return
        try:
            found = models.locate(settings.model.path, settings.model.variant)
            broken = [check.problem for check in models.check_files(found, settings.model.components) if check.problem]
        except SidestepError as error:
            self._answer(ModelLocated(None, error))
            return
        self._answer(ModelLocated(found, broken[0] if broken else None))

    def _answer(self, message: Message) -> None:
        if not get_current_worker().is_cancelled:
            self.post_message(message)

    @on(ModelLocated)
    def _model_located(self, message: ModelLocated) -> None:
        self.session.model, self.session.model_problem = message.model, message.problem
        self.session.changed()

    # Songs

    @work(thread=True, group="songs", exclusive=True, exit_on_error=False)
    def _scan(self, settings: Settings) -> None:
        from sidestep_tui.dataset import apart

        worker = get_current_worker()

        def progress(done: int, total: int) -> None:
            if worker.is_cancelled:
                raise _Superseded
            self.post_message(ScanAdvanced(done, total))

        if not settings.data.path:
            self.post_message(DatasetScanned(None, None))
            return
        data = settings.data
        try:
            found = apart.scan_apart(Path(data.path).expanduser(), data.txt_role, data.language, progress)
        except _Superseded:
            return
        except SidestepError as error:
            self._answer(DatasetScanned(None, error))
            return
        self._answer(DatasetScanned(found, None))

    @on(ScanAdvanced)
    def _scan_advanced(self, message: ScanAdvanced) -> None:
        self.session.scan_progress = (message.done, message.total)
        if self.page is not None and self.page.id == "data":
            self.page.update()

    @on(DatasetScanned)
    def _dataset_scanned(self, message: DatasetScanned) -> None:
        self.session.scan_progress = None
        self.session.manifest, self.session.data_problem = message.manifest, message.problem
        self.session.changed()

    def songs_place(self) -> SongsPlace | None:
        """The folder of the draft with the settings that decide what is read of it; None while there is none."""
        # Asked for every first frame, which must not wait for the session to load the schema.
        if not hasattr(self, "_asked"):
            return None
        from sidestep_tui.ui.songs_place import SongsPlace

        data = self.session.settings.data
        if not data.path or self.session.data_problem is not None:
            return None
        return SongsPlace.of(data, self.session.model.path if self.session.model is not None else None)

    def open_songs(self) -> None:
        """Show the songs of the draft; when one comes back, the folder is looked at again."""
        place = self.songs_place()
        if place is not None:
            self._looks_stale = True
            self.app.open_songs(place)

    _looks_stale = False

    @on(ScreenResume)
    def _come_back(self) -> None:
        if self._looks_stale:
            self._looks_stale = False
            self._scan(self.session.settings)

    # Preflight and start

    def _check(self) -> None:
        page = self.page
        if page is None or page.id != "review":
            return
        try:
            resolved = self.session.draft.resolve()
        except SidestepError:
            page.show_checks([])
            return
        self._preflight(resolved, self.session.settings.output.name)

    @work(thread=True, group="preflight", exclusive=True, exit_on_error=False)
    def _preflight(self, resolved: Resolved, run_name: str) -> None:
        from sidestep_tui.launch import preflight

        worker = get_current_worker()
        found: list[Check] = []
        for check in preflight.checks(resolved, run_name=run_name, should_stop=lambda: worker.is_cancelled):
            # What the rules say is listed as advice, with its remedy on a key.
            if check.name != "settings":
                found.append(check)
        self._answer(Checked(found))

    @on(Checked)
    def _checked(self, message: Checked) -> None:
        for page in self.visited:
            page.show_checks(message.checks)

    def start_run(self) -> None:
        """Start training with the draft as it is, or say what is in the way."""
        if self._starting:
            return
        try:
            resolved = self.session.draft.resolve()
        except SidestepError as error:
            self.app.push_screen(Tell(error.title, error.message, error.hint or "Correct them, then start again."))
            return
        self._say_starting("Checking the files")
        self._start(resolved, self.session.draft.base_name.partition(" ")[2])

    _starting = False

    def _say_starting(self, words: str) -> None:
        self._starting = bool(words)
        for page in self.visited:
            page.show_start(words)

    @work(thread=True, group="start", exclusive=True, exit_on_error=False)
    def _start(self, resolved: Resolved, preset: str) -> None:
        from sidestep_tui.launch import plan, preflight, start

        worker = get_current_worker()
        try:
            made = plan.from_resolved(resolved, preset=preset)
            for check in preflight.checks(
                made.resolved, run_name=made.run_name, should_stop=lambda: worker.is_cancelled
            ):
                if check.status == "fail":
                    raise SidestepError(f"The run cannot start: {check.name}.", check.sentence, check.hint)
            self.post_message(StartAdvanced("Starting the engine"))
            run_dir = start.start(made, should_stop=lambda: worker.is_cancelled)
        except SidestepError as error:
            self.post_message(StartFailed(error))
            return
        self.post_message(RunBegun(run_dir.path))

    @on(StartAdvanced)
    def _start_advanced(self, message: StartAdvanced) -> None:
        self._say_starting(message.words)

    @on(StartFailed)
    def _start_failed(self, message: StartFailed) -> None:
        self._say_starting("")
        problem = message.problem
        self.app.push_screen(Tell(problem.title, problem.message, problem.hint))

    @on(RunBegun)
    def _run_begun(self, message: RunBegun) -> None:
        self._say_starting("")
        # The next run begins as a copy of this one, under a name of its own. What was started is a run now, no draft.
        from sidestep_tui.schema import drafts

        started = self.session.draft.id
        self.session.draft.id = ids.short_id()
        self.session.draft.reset("output.name")
        self.session.save()
        drafts.delete(started)
        self.app.post_message(RunStarted(message.path))

    @on(Worker.StateChanged)
    def _worker_ended(self, event: Worker.StateChanged) -> None:
        """A worker's border: a mistake in it is a sentence and a file, never the end of the wizard."""
        if event.state.name != "ERROR" or event.worker.error is None:
            return
        path = crashes.write_log(event.worker.error)
        self._say_starting("")
        self.notify(
            f"{event.worker.error} (details in {path})", title="That did not work", severity="error", timeout=15
        )
