"""What the wizard asks the machine about how long a run takes and what it needs: earlier runs, disks, a probe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from textual import on, work
from textual.events import ScreenResume
from textual.message import Message
from textual.worker import Worker, get_current_worker

from sidestep_tui.core import text
from sidestep_tui.core.errors import SidestepError
from sidestep_tui.ui.screens.wizard.jobs import WizardJobs

if TYPE_CHECKING:
    from sidestep_tui.launch.disks import DiskRoom
    from sidestep_tui.launch.gpus import Device
    from sidestep_tui.launch.job import Said
    from sidestep_tui.schema.model_shape import ModelShape
    from sidestep_tui.schema.pace import Measured
    from sidestep_tui.schema.settings import Settings
    from sidestep_tui.ui.forms.session import FormSession
    from sidestep_tui.ui.screens.wizard.page import Page

STOPPING = "stopping"
"""What a probe does that was told to leave."""
_PHASES = {
    "loading": "loading the model",
    "training": "training on the longest batch",
    "validating": "measuring a song",
    "saving": "saving a checkpoint",
}
_MATTERS = (
    "model.path",
    "model.variant",
    "data.crop_seconds",
    "data.max_duration",
    "optim.optimizer",
    "train.batch_size",
    "train.accumulation",
    "train.ema_decay",
)
_MATTERING_GROUPS = ("adapter", "memory", "speed")


@dataclass
class Outlook:
    """What is known beyond the session: room on disk, and what probes have found."""

    room: DiskRoom | None = None
    doing: str = ""
    """What a probe does now; empty while there is none."""
    problem: SidestepError | None = None
    """Why the last probe ended without an answer."""
    found: dict[tuple[Any, ...], Mapping[str, Any]] = field(default_factory=dict)
    """By all that an answer depends on."""


@dataclass
class PaceFound(Message):
    """How fast an earlier run was on a device, for a shape of model."""

    device: Device
    shape: ModelShape
    measured: Measured | None


@dataclass
class RoomFound(Message):
    """How much room there is on disk; None where nobody can say."""

    room: DiskRoom | None


@dataclass
class ProbeAdvanced(Message):
    """What the probe does."""

    words: str


@dataclass
class ProbeEnded(Message):
    """What the probe of some settings found, or why it found nothing."""

    key: tuple[Any, ...]
    settings: Settings
    found: Mapping[str, Any] | None
    problem: SidestepError | None


class WizardOutlook(WizardJobs):
    """The part of the wizard that asks how long, how much and whether really."""

    _outlook: Outlook | None = None
    _probe: Worker[None] | None = None
    _judge: Device | None = None

    @property
    def outlook(self) -> Outlook:
        """What is known so far."""
        if self._outlook is None:
            self._outlook = Outlook()
        return self._outlook

    def refresh_jobs(self) -> None:
        """Ask again what depends on a setting that has changed."""
        super().refresh_jobs()
        if not hasattr(self, "_asked"):
            return
        session, settings = self.session, self.session.settings
        device, shape = session.device, session.shape()
        if session.stand_in != self._judge:
            self._judge, self.outlook.problem = session.stand_in, None
        if session.stand_in is not None:
            self._asked.pop("pace", None)
        elif device is not None:
            self._ask("pace", (device.kind, device.name, shape), lambda: self._look_for_pace(device, shape))
        self._ask("room", (settings.output.path, settings.data.cache), lambda: self._look_at_disks(settings))

    def page_shown(self, page: Page) -> None:
        """The last page is about this machine."""
        super().page_shown(page)
        if page.id == "review" and self.session.stand_in is not None:
            self.session.judge_by(None)
            self.notify("The review judges by this machine again.", timeout=6)

    def start_run(self) -> None:
        """A run starts here, and needs the memory that a probe would hold."""
        self.stop_probe()
        if self.session.stand_in is not None:
            self.session.judge_by(None)
        super().start_run()

    # Earlier runs and disks

    @on(ScreenResume)
    def _look_for_new_runs(self) -> None:
        """A run may have ended meanwhile, and tell how fast this machine is."""
        if hasattr(self, "_asked") and self.session.measured is None:
            self._asked.pop("pace", None)
            self.refresh_jobs()

    @work(thread=True, group="pace", exclusive=True, exit_on_error=False)
    def _look_for_pace(self, device: Device, shape: ModelShape) -> None:
        from sidestep_tui.launch import measured

        self._answer(PaceFound(device, shape, measured.earlier(device, shape)))

    @on(PaceFound)
    def _pace_found(self, message: PaceFound) -> None:
        session = self.session
        device = session.device
        if session.stand_in is not None or device is None or session.shape() != message.shape:
            return
        if message.measured is not None and (device.kind, device.name) == (message.device.kind, message.device.name):
            session.measured = message.measured
            session.changed()

    @work(thread=True, group="room", exclusive=True, exit_on_error=False)
    def _look_at_disks(self, settings: Settings) -> None:
        from sidestep_tui.launch import disks

        try:
            self._answer(RoomFound(disks.room(settings)))
        except OSError:
            self._answer(RoomFound(None))

    @on(RoomFound)
    def _room_found(self, message: RoomFound) -> None:
        self.outlook.room = message.room
        free = message.room.free if message.room is not None else None
        if self.session.free_disk != free:
            self.session.free_disk = free
            self.session.changed()
        self._show_outlook()

    def _show_outlook(self) -> None:
        """The page that tells of it follows."""
        if self.page is not None and self.page.id == "memory":
            self.page.update()

    # The probe

    def probe_or_stop(self) -> None:
        """Measure the draft's settings on its device, or stop measuring."""
        if self.outlook.doing:
            self.stop_probe()
            return
        session = self.session
        self.outlook.problem = problem = _hindrance(session)
        if problem is None:
            self.outlook.doing = "starting"
            self._probe = self._measure(session.settings, session.shape(), probe_key(session))
        self._show_outlook()

    def stop_probe(self) -> None:
        """Let the probe's process go; it is gone within a moment."""
        if self._probe is not None and self.outlook.doing:
            self.outlook.doing = STOPPING
            self._probe.cancel()
            self._show_outlook()

    @work(thread=True, group="probe", exit_on_error=False)
    def _measure(self, settings: Settings, shape: ModelShape, key: tuple[Any, ...]) -> None:
        from sidestep_tui.launch import failures, probe

        worker = get_current_worker()

        def report(said: Said) -> None:
            words = _PHASES.get(said.what, said.what)
            self.post_message(ProbeAdvanced(f"{words}, step {said.done}" if said.done else words))

        try:
            found = probe.measure(settings, shape, report, lambda: worker.is_cancelled)
        except failures.EngineStopped:
            self.post_message(ProbeEnded(key, settings, None, None))
        except SidestepError as error:
            self.post_message(ProbeEnded(key, settings, None, error))
        else:
            self.post_message(ProbeEnded(key, settings, found, None))

    @on(Worker.StateChanged)
    def _probe_broke(self, event: Worker.StateChanged) -> None:
        """A mistake in the worker is told elsewhere; here it only must not look as if it went on."""
        if event.worker.group == "probe" and event.state.name == "ERROR":
            self.outlook.doing = ""
            self._show_outlook()

    @on(ProbeAdvanced)
    def _probe_advanced(self, message: ProbeAdvanced) -> None:
        if self.outlook.doing and self.outlook.doing != STOPPING:
            self.outlook.doing = message.words
            self._show_outlook()

    @on(ProbeEnded)
    def _probe_ended(self, message: ProbeEnded) -> None:
        from sidestep_tui.launch import measured

        outlook, session = self.outlook, self.session
        outlook.doing, outlook.problem = "", message.problem
        if message.found is not None:
            outlook.found[message.key] = message.found
            if session.stand_in is None:
                session.measured = measured.by_probe(message.found, message.settings)
            session.changed()
            self.notify(f"Measured: {text.gibibytes(message.found['peak'])} at most.", timeout=6)
        elif message.problem is not None:
            self.notify(message.problem.title, title="The measurement failed", severity="error", timeout=10)
        self._show_outlook()


def probe_key(session: FormSession) -> tuple[Any, ...]:
    """All that a probe's answer depends on; other settings may change, and it still holds."""
    settings, device = session.settings, session.device
    values: list[Any] = [device.kind if device else "", device.name if device else "", session.shape()]
    values += [getattr(settings, group).model_dump_json() for group in _MATTERING_GROUPS]
    for path in _MATTERS:
        group, _, name = path.partition(".")
        values.append(getattr(getattr(settings, group), name))
    return tuple(values)


def _hindrance(session: FormSession) -> SidestepError | None:
    """Why nothing can be measured now."""
    device = session.device
    if session.stand_in is not None:
        return SidestepError(
            f"The {session.stand_in.name} is not here to measure on.", "", "Judge by this machine, then measure."
        )
    if session.model_problem is not None:
        return session.model_problem
    if device is None:
        return SidestepError("There is no such device here.", "", "Choose where to train first.")
    if device.kind != "cuda" and session.cost().estimate.total > device.free:
        return SidestepError(
            "There is not enough memory to measure here.",
            "Without a GPU the system would begin to swap, and everything on it would stall.",
            "Close other programs, or follow the fit ladder.",
        )
    return None
