"""The page that says whether it fits: memory by parts, time and disk, devices, profiles, the fit ladder, a probe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.events import DescendantFocus
from textual.widget import Widget

from sidestep_tui.core import text
from sidestep_tui.launch import forecast, hardware
from sidestep_tui.schema import automatic, disk_maths, fit_ladder, memory_model, pace
from sidestep_tui.schema.profiles import PROFILES, Profile
from sidestep_tui.ui.forms.bar import flowing, legend, memory_bar
from sidestep_tui.ui.forms.cost import verdict_style
from sidestep_tui.ui.forms.rows import ActionRow
from sidestep_tui.ui.screens.wizard.memory_rows import (
    Choices,
    JudgeRow,
    profile_help,
    profile_line,
    rung_help,
    rung_line,
)
from sidestep_tui.ui.screens.wizard.outlook import STOPPING, Outlook, WizardOutlook, probe_key
from sidestep_tui.ui.screens.wizard.page import Heading, Note, Page, RowList, section
from sidestep_tui.ui.screens.wizard.places import choice_line

if TYPE_CHECKING:
    from sidestep_tui.core.nvml import Gpu
    from sidestep_tui.launch.gpus import Device
    from sidestep_tui.launch.models import FoundModel

_WIDEST_BAR = 96
_ROOMY = 84
"""Columns from which on every `auto` gets a line and its reason."""
_PROBE_HELP = (
    "measure\nLoads the model in a process of its own, trains three steps on the longest batch that the settings allow,"
    " measures a song and saves, then lets go of everything. The answer is kept while the settings it depends on stay."
)


class MemoryPage(Page):
    """Memory settings and all that helps to choose them; whether it fits stays in sight."""

    DEFAULT_CSS = """
    MemoryPage {
        #verdict { dock: top; height: 2; background: $background; }
        #time-and-disk { margin-top: 1; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("m", "measure", "Measure", id="memory.measure", show=False, tooltip="Measure for real, or stop it"),
        Binding("b", "judge", "Judge by another GPU", id="memory.judge", show=False, tooltip="As on a GPU elsewhere"),
    ]

    def compose(self) -> ComposeResult:
        yield Note(self._verdict_and_bar, id="verdict")
        yield Note(self._parts, id="parts")
        yield Note(self._time_and_disk, id="time-and-disk")
        yield Heading(classes="gap-above")
        yield from self.field_rows()
        yield self.more_note()
        yield Note(self._decided, id="decided", classes="gap")
        yield from self.extras()

    def extras(self) -> Iterable[Widget]:
        self.choices = Choices(self.session)
        self.choices.follow()
        yield Note(self._devices, classes="gap", id="devices")
        yield RowList("train on", id="gpus")
        yield JudgeRow(self.session)
        yield section("profiles by size of GPU")
        for profile in PROFILES:
            yield ActionRow(
                partial(self._profile_line, profile),
                partial(self._apply_profile, profile),
                help_text=profile_help(self.session, self.choices, profile),
                id="profile-" + profile.name.split()[0],
            )
        yield RowList("fit ladder: what to give up, the cheapest first", id="ladder")
        yield Note(self._no_rung, id="no-rung")
        yield section("measure")
        yield Note(self._probed, id="probed")
        yield ActionRow(self._probe_line, self._probe, help_text=_PROBE_HELP, id="probe")

    def on_mount(self) -> None:
        self._fill_ladder()

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        """On the first row, what stands above it comes into sight again where there is room for both."""
        rows = self.rows()
        if rows and event.widget is rows[0] and rows[0].virtual_region.bottom <= self.size.height:
            self.scroll_home(animate=False)

    @property
    def outlook(self) -> Outlook:
        """What the screen's workers have found."""
        screen = self.screen
        return screen.outlook if isinstance(screen, WizardOutlook) else Outlook()

    def update(self) -> None:
        """Follow the session; the rows of the ladder are made again only when there are more or fewer."""
        if self.choices.follow():
            self._fill_ladder()
        super().update()
        for profile in PROFILES:
            row = self.query_one("#profile-" + profile.name.split()[0], ActionRow)
            row.help_text = profile_help(self.session, self.choices, profile)
        for row, rung in zip(self.query("#ladder ActionRow").results(ActionRow), self.choices.ladder, strict=False):
            row.help_text = rung_help(self.session, self.choices, rung)
        self._show_device_row()
        focused = self.screen.focused
        if focused is not None and self in focused.ancestors:
            # What stands above it may have become longer, and must not push it out of sight.
            self.call_after_refresh(focused.scroll_visible, animate=False)

    # What it takes

    def _verdict_and_bar(self, width: int) -> Content:
        session, glyphs = self.session, self.glyphs
        estimate, device = session.cost().estimate, session.device
        room = device.total if device is not None else 0
        others = _others(room, device.free) if device is not None else 0
        bar = memory_bar(estimate.parts(), room, max(10, min(width, _WIDEST_BAR)), glyphs, others=others)
        return Content("\n").join([self._verdict().truncate(max(1, width), ellipsis=True), bar])

    def _verdict(self) -> Content:
        session, glyphs = self.session, self.glyphs
        found, device = self._found(), session.device
        estimated = session.cost().estimate.total
        total = _held(found, device) if found is not None else estimated
        verb = "needs" if found is None else "took"
        if device is None:
            missing = "" if session.gpus is None else f"  {glyphs.bad} no {session.settings.memory.device} here"
            return Content.assemble((f"{verb} {text.gibibytes(total)}", "bold"), (missing, "$error"))
        style, mark = verdict_style(total, device.free, device.total, glyphs)
        return Content.assemble(
            (f"on {device.name}: " if session.stand_in is not None else "", "$accent"),
            (f"{verb} {total / 1024**3:.1f}", "bold"),
            (f" of {text.gibibytes(device.total)}", "$muted"),
            (f" ({estimated / 1024**3:.1f} estimated)" if found is not None else "", "$muted"),
            (f" on each of {session.processes} GPUs" if session.processes > 1 else "", "$muted"),
            (f"  {mark} {_fit_words(total, device.free, device.total)}", style),
            (f"  {session.pace().short}", "bold"),
        )

    def _parts(self, width: int) -> Content:
        """The legend of the bar."""
        estimate, device = self.session.cost().estimate, self.session.device
        others = _others(device.total, device.free) if device is not None else None
        free = device.free - estimate.total if device is not None else 0
        entries = legend(estimate.parts(), self.glyphs, others=others, free=free)
        lines = flowing(entries, width - len(" GiB"))
        return Content.assemble(Content("\n").join(lines), (" GiB", "$muted"))

    def _time_and_disk(self, width: int) -> Content:
        session = self.session
        songs = len(session.manifest.songs) if session.manifest is not None else None
        needs = disk_maths.needs(session.settings, session.shape(), songs=songs, trained=session.training_songs)
        times = [row for row in forecast.time_rows(session.pace()) if width >= _ROOMY or row[1] != forecast.NOT_COUNTED]
        room = self.outlook.room
        rows = [*times, *forecast.disk_rows(needs, room)]
        lines = [Content.assemble((f"{name:<6}", "$muted"), words) for name, words in rows]
        if room is not None and not room.holds(needs):
            lines[-1] = Content.assemble(lines[-1], (f"  {self.glyphs.bad} too little", "$error"))
        return Content("\n").join([line.truncate(max(1, width), ellipsis=True) for line in lines])

    def _decided(self, width: int) -> Content:
        """What every `auto` comes to."""
        session, device = self.session, self.session.device
        if device is None:
            return Content("")
        recomputes = fit_ladder.settled(
            session.settings, hardware.needs(device, session.shape()), device.free
        ).memory.recomputes
        place = forecast.place(device)
        found = automatic.answers(session.settings, device, recomputes=recomputes, where=place, steps=session.steps())
        lines = automatic.lines(found)
        if width >= _ROOMY:
            rows = [
                Content.assemble((f"{name:<15}", "$muted"), f"{value:<30} ", (why, "$faint"))
                for name, value, why in lines
            ]
            return Content("\n").join(rows)
        entries = [Content.assemble((f"{name} ", "$muted"), value) for name, value, _ in lines]
        return Content("\n").join(flowing(entries, width, f" {self.glyphs.separator} "))

    # Devices

    def _devices(self, width: int) -> Content:
        session = self.session
        if session.gpus is None:
            return Content.styled(f"{self.glyphs.todo} looking for GPUs", "$muted")
        if not session.gpus:
            here = session.device if session.stand_in is None else None
            where = f" {self.glyphs.separator} {text.gibibytes(here.total)} of memory" if here else ""
            return Content.assemble(
                (f"{self.glyphs.warn} no GPU", "$warning"),
                (f"{where} {self.glyphs.separator} training here is slow", "$muted"),
            )
        if len(session.gpus) > 1:
            return Content("")
        gpu = session.gpus[0]
        chosen = session.settings.memory.device in ("auto", "cuda", f"cuda:{gpu.index}")
        return Content.assemble(
            (f"{self.glyphs.on if chosen else self.glyphs.off} ", "$primary"),
            f"cuda:{gpu.index}  {gpu.name}  ",
            (f"{text.gibibytes(gpu.free)} free of {text.gibibytes(gpu.total)}{_users(gpu)}", "$muted"),
        )

    def show_found(self, models: Sequence[FoundModel], datasets: Sequence[Path]) -> None:
        """Offer the GPUs by name where there is a choice; accepting one fills in the device."""
        rows = [self._device_row(device, name, note) for device, name, note in self._offered()]
        self.query_one("#gpus", RowList).fill(list(rows))
        self.query_one("#devices", Note).display = not rows
        self._show_device_row()

    def _offered(self) -> list[tuple[str, str, str]]:
        """Value, name and note of every device there is to choose; none where there is no choice."""
        found = self.session.gpus or ()
        if len(found) < 2:
            return []
        offered = [("auto", "auto", "the one with most free memory")]
        for gpu in found:
            room = f"{text.gibibytes(gpu.free)} free of {text.gibibytes(gpu.total)}{_users(gpu)}"
            offered.append((f"cuda:{gpu.index}", f"cuda:{gpu.index}  {gpu.name}", room))
        offered += [(f"gpus:{n}", f"{n} GPUs", "the freest, each with its own batches") for n in range(2, len(found))]
        return [*offered, ("all", f"all {len(found)} GPUs", "each with its own batches")]

    def _show_device_row(self) -> None:
        """The setting has a row of its own only where no line above or below stands for it."""
        row = self.row_of("memory.device")
        if row is None or row.has_focus:
            return
        text_now = self.session.draft.text("memory.device")
        known = [value for value, _, _ in self._offered()] or ["auto"]
        row.display = text_now not in known or (len(known) == 1 and self.session.level == "expert")

    def _device_row(self, device: str, name: str, note: str) -> ActionRow:
        def label(focused: bool, width: int) -> Content:
            chosen = self.session.draft.text("memory.device") == device
            return choice_line(self.glyphs, focused=focused, chosen=chosen, name=name, note=note, tail="")

        return ActionRow(
            label,
            lambda: self.session.set("memory.device", device),
            help_text=f"{name}\n{note[0].upper()}{note[1:]}. Enter chooses it: memory.device = {device}.",
            id="device-" + device.replace(":", "-"),
        )

    # Profiles and the ladder

    def _profile_line(self, profile: Profile, focused: bool, width: int) -> Content:
        return profile_line(self.session, self.choices, profile, self.glyphs, focused=focused, width=width)

    def _apply_profile(self, profile: Profile) -> None:
        self.session.apply(self.choices.values_of(profile), origin=f"profile {profile.name}")

    def _fill_ladder(self) -> None:
        rows: list[Widget] = [
            ActionRow(
                partial(self._rung_line, number),
                partial(self._apply_rung, number),
                help_text=rung_help(self.session, self.choices, rung),
            )
            for number, rung in enumerate(self.choices.ladder)
        ]
        self.query_one("#ladder", RowList).fill(rows)

    def _rung_line(self, number: int, focused: bool, width: int) -> Content:
        device, ladder = self.session.device, self.choices.ladder
        if device is None or number >= len(ladder):
            return Content("")
        slower = self.choices.paces[number]
        return rung_line(ladder[number], self.choices, slower, self.glyphs, device.free, focused=focused, width=width)

    def _no_rung(self, width: int) -> Content:
        """What is left to do where nothing fits."""
        device, ladder = self.session.device, self.choices.ladder
        if device is None or any(rung.fits(device.free) for rung in ladder):
            return Content("")
        words = f"Nothing fits into {text.gibibytes(device.free)}: choose a smaller model or a lower rank."
        return Content.assemble((f"{self.glyphs.bad} ", "$error"), words)

    def _apply_rung(self, number: int) -> None:
        values = self.choices.applied(self.choices.ladder[number]) if number < len(self.choices.ladder) else {}
        if values:
            self.session.apply(values, origin="fit ladder")

    def action_judge(self) -> None:
        """As on the next GPU of the list, or by this machine again."""
        self.query_one(JudgeRow).action_cycle(1)

    # The probe

    def action_measure(self) -> None:
        """Measure, or stop measuring, and look at how it goes."""
        self.query_one("#probe", ActionRow).focus()
        self._probe()

    def _found(self) -> Mapping[str, Any] | None:
        """What a probe of these very settings found."""
        return self.outlook.found.get(probe_key(self.session))

    def _probe(self) -> None:
        screen = self.screen
        if isinstance(screen, WizardOutlook):
            screen.probe_or_stop()

    def _probe_line(self, focused: bool, width: int) -> Content:
        doing = self.outlook.doing
        again = " again" if self._found() is not None else ""
        words = f"{doing}{self.glyphs.ellipsis}" if doing else f"measure{again} on the device"
        note = "loads the model, trains 3 steps" if not doing else "" if doing == STOPPING else "enter stops it"
        return Content.assemble(
            (f"{self.glyphs.focus} " if focused else "  ", "$primary"),
            (f"{self.glyphs.todo if doing else self.glyphs.arrow} ", "$primary"),
            (words, "bold" if focused or doing else ""),
            (f"   {note}", "$muted"),
        )

    def _probed(self, width: int) -> Content:
        """What the probe found, or why it did not."""
        problem, found = self.outlook.problem, self._found()
        if problem is not None:
            lines = [Content.styled(f"{self.glyphs.bad} {problem.title}", "$error")]
            lines += [Content.styled(part, "$muted") for part in (problem.message, problem.hint) if part]
            return Content("\n").join(lines)
        if found is None:
            return Content("")
        device = self.session.device
        facts = [
            ("memory", f"{text.gibibytes(_held(found, device))}, {found['difference']:+.0%} against the estimate"),
            ("a step", f"{pace.seconds(found['seconds_per_step'])}, activations {_kept(found)}"),
            ("a song", f"{pace.seconds(found['seconds_to_validate'])} to measure"),
            ("saving", f"{pace.seconds(found['seconds_to_save'])} a checkpoint"),
        ]
        where = Content.styled(f"{self.glyphs.ok} measured on {found['device']}", "$success")
        return Content("\n").join(
            [where, *(Content.assemble((f"{name:<8}", "$muted"), words) for name, words in facts)]
        )


def _fit_words(needed: int, free: int, total: int) -> str:
    if needed <= fit_ladder.HEADROOM * free:
        return "fits"
    if needed <= free:
        return "fits barely"
    return "fits when others leave" if needed <= total else "does not fit"


def _others(total: int, free: int) -> int:
    """What others hold of a device."""
    return max(0, total - free)


def _users(gpu: Gpu) -> str:
    """The largest other processes on a GPU."""
    names = [process.name or f"process {process.pid}" for process in gpu.processes if not process.ours]
    return f", used by {text.listing(names, most=2)}" if names else ""


def _held(found: Mapping[str, Any], device: Device | None) -> int:
    """What a probe's run held of the device: what it measured, and the context, of which no process sees the size."""
    context = memory_model.CONTEXT_BYTES if device is not None and device.kind == "cuda" else 0
    return int(found["peak"]) + context


def _kept(found: Mapping[str, Any]) -> str:
    return "recomputed" if found["recomputes"] else "kept"
