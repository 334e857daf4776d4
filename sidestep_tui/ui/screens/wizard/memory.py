"""The page that says whether it fits: devices, the estimate by parts, profiles by size of GPU."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual.content import Content
from textual.widget import Widget

from sidestep_tui.core import text
from sidestep_tui.schema.profiles import PROFILES, Profile, profile_for
from sidestep_tui.ui.forms.bar import legend, memory_bar
from sidestep_tui.ui.forms.rows import ActionRow
from sidestep_tui.ui.screens.wizard.page import Note, Page, RowList, section
from sidestep_tui.ui.screens.wizard.places import choice_line

if TYPE_CHECKING:
    from sidestep_tui.launch.models import FoundModel


class MemoryPage(Page):
    """Memory settings, the devices of this machine, the estimate, and profiles to apply by key."""

    def extras(self) -> Iterable[Widget]:
        yield Note(self._devices, classes="gap")
        yield RowList("train on", id="gpus")
        yield Note(self._estimate, id="estimate")
        yield section("profiles: batch x accumulation, optimizer, checkpointing")
        for profile in PROFILES:
            yield ActionRow(
                partial(self._profile_line, profile),
                partial(self._apply, profile),
                help_text=f"{profile.name}\n{self._profile_help(profile)}",
                id="profile-" + profile.name.split()[0],
            )

    def _devices(self, width: int) -> Content:
        session = self.session
        if session.gpus is None:
            return Content.styled(f"{self.glyphs.todo} looking for GPUs", "$muted")
        device = session.device
        if not session.gpus:
            where = f" {self.glyphs.separator} {text.gibibytes(device.total)} of memory" if device else ""
            return Content.assemble(
                (f"{self.glyphs.warn} no GPU", "$warning"),
                (f"{where} {self.glyphs.separator} training here is slow", "$muted"),
            )
        if len(session.gpus) > 1:
            return Content("")
        gpu = session.gpus[0]
        chosen = device is not None and device.kind == "cuda" and device.index == gpu.index
        return Content.assemble(
            (f"{self.glyphs.on if chosen else self.glyphs.off} ", "$primary"),
            f"cuda:{gpu.index}  {gpu.name}  ",
            (f"{text.gibibytes(gpu.free)} free of {text.gibibytes(gpu.total)}", "$muted"),
        )

    def show_found(self, models: Sequence[FoundModel], datasets: Sequence[Path]) -> None:
        """Offer the GPUs by name where there is a choice; accepting one fills in the device."""
        found = self.session.gpus or ()
        rows: list[Widget] = []
        if len(found) > 1:
            rows = [self._device_row("auto", "auto", "the one with most free memory")]
            for gpu in found:
                room = f"{text.gibibytes(gpu.free)} free of {text.gibibytes(gpu.total)}"
                rows.append(self._device_row(f"cuda:{gpu.index}", gpu.name, room))
            rows.append(self._device_row("all", f"all {len(found)} GPUs", "each with its own batches"))
        self.query_one("#gpus", RowList).fill(rows)

    def _device_row(self, device: str, name: str, note: str) -> ActionRow:
        def label(focused: bool, width: int) -> Content:
            chosen = self.session.draft.text("memory.device") == device
            tail = "" if device == name else f"  {device}"
            return choice_line(self.glyphs, focused=focused, chosen=chosen, name=name, note=note, tail=tail)

        return ActionRow(
            label,
            lambda: self.session.set("memory.device", device),
            help_text=f"{name}\n{note[0].upper()}{note[1:]}. Enter chooses it: memory.device = {device}.",
            id="device-" + device.replace(":", "-"),
        )

    def _estimate(self, width: int) -> Content:
        cost = self.session.cost()
        parts = cost.estimate.parts()
        device = self.session.device
        room = device.total if device is not None else 0
        bar = memory_bar(parts, room, max(10, min(width, 96)), self.glyphs)
        verdict = Content.assemble(
            (f"needs {text.gibibytes(cost.estimate.total)}", "bold"),
            (f" of {text.gibibytes(room)}  " if room else "  ", "$muted"),
            self._verdict(cost.estimate.total),
        )
        lines = [verdict, bar]
        for entry in legend(parts, self.glyphs):
            fits = len(lines) > 2 and lines[-1].cell_length + entry.cell_length + 3 <= width
            if fits:
                lines[-1] = Content.assemble(lines[-1], "   ", entry)
            else:
                lines.append(entry)
        return Content("\n").join(lines)

    def _verdict(self, total: int) -> Content:
        device = self.session.device
        if device is None:
            return Content("")
        if total <= device.free:
            return Content.styled(f"{self.glyphs.ok} fits", "$success")
        if total <= device.total:
            return Content.styled(f"{self.glyphs.warn} fits only when others leave the device", "$warning")
        return Content.styled(f"{self.glyphs.bad} does not fit", "$error")

    def _is_xl(self) -> bool:
        shape = self.session.shape()
        return shape.hidden != shape.encoder_hidden

    def _profile_line(self, profile: Profile, focused: bool, width: int) -> Content:
        values = profile.values_for(xl=self._is_xl())
        settings = self.session.draft
        active = all(settings.value(path) == value for path, value in values.items())
        device = self.session.device
        meant = device is not None and device.kind == "cuda" and profile_for(device.total) is profile
        total = self.session.cost_with(values).estimate.total
        return Content.assemble(
            (f"{self.glyphs.focus} " if focused else "  ", "$primary"),
            (f"{self.glyphs.on if active else self.glyphs.off} ", "$primary" if active else "$faint"),
            (f"{profile.name:<16}", "bold" if focused else ""),
            f"{text.gibibytes(total):>9}  ",
            (_recipe(values), "$muted"),
            ("   this GPU" if meant else "", "$primary"),
        )

    def _profile_help(self, profile: Profile) -> str:
        return profile.xl_summary if self._is_xl() else profile.summary

    def _apply(self, profile: Profile) -> None:
        self.session.apply(profile.values_for(xl=self._is_xl()), origin=f"profile {profile.name}")

    def update(self) -> None:
        super().update()
        for profile in PROFILES:
            row = self.query_one("#profile-" + profile.name.split()[0], ActionRow)
            row.help_text = f"{profile.name}\n{self._profile_help(profile)}"


def _recipe(values: Mapping[str, Any]) -> str:
    """What a profile sets, in columns."""
    parts = [
        f"{values['train.batch_size']} x {values['train.accumulation']}",
        f"{values['optim.optimizer']:<9}",
        f"{values['memory.gradient_checkpointing']:<3}",
    ]
    return "  ".join(parts)
