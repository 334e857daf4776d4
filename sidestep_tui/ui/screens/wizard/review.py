"""The last page: what differs from the preset, what the rules advise, what the machine says, and the start."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from textual.content import Content
from textual.message import Message
from textual.widget import Widget

from sidestep_tui.core import text
from sidestep_tui.schema.advice import Advice
from sidestep_tui.schema.fields import fields_by_path
from sidestep_tui.schema.values import format_value
from sidestep_tui.ui.forms.cells import shown_text
from sidestep_tui.ui.forms.rows import ActionRow
from sidestep_tui.ui.messages import SettingPicked
from sidestep_tui.ui.screens.wizard.page import Heading, Note, Page, RowList

if TYPE_CHECKING:
    from sidestep_tui.launch.preflight import Check

_SAID_ELSEWHERE = frozenset({"model.path", "data.path", "output.path", "output.name"})
_SEVERITY_STYLE = {"error": "$error", "warning": "$warning", "advice": "$muted"}
_STATUS_STYLE = {"ok": "$success", "warn": "$warning", "fail": "$error"}


def _label(path: str) -> str:
    return fields_by_path()[path].meta.label


class ReviewPage(Page):
    """Everything that decides whether to start, with the start on top."""

    class StartWanted(Message):
        """Somebody pressed start."""

    busy = ""
    """What the start is waiting for; empty when nothing has been started."""

    def compose(self) -> Iterable[Widget]:
        yield ActionRow(
            self._start_line,
            lambda: self.post_message(self.StartWanted()),
            help_text="Start\nFreezes these settings in the run's directory and starts training in its own process;"
            " it goes on when this window closes.",
            id="start",
        )
        yield Note(self._summary, id="summary")
        yield RowList("to put right, and advice", id="advice")
        yield RowList("preflight", id="preflight")
        yield Heading(classes="gap-above")
        yield from self.field_rows()
        yield self.more_note()
        yield RowList("differs from the preset", id="changes")
        yield Note(self._no_changes, id="no-changes", classes="gap")

    def on_mount(self) -> None:
        self._shown_advice: list[Advice] | None = None
        self._shown_changes: object = None
        self.checks: Sequence[Check] = []

    def _start_line(self, focused: bool, width: int) -> Content:
        label = self.busy or "Start training"
        hint = "" if self.busy else "enter, or S from any row that takes no text"
        style = "bold $background on $primary" if focused else "bold $primary"
        return Content.assemble(
            (f"{self.glyphs.focus} " if focused else "  ", "$primary"),
            (f" {label} ", style),
            "  ",
            (hint, "$faint"),
        )

    def _summary(self, width: int) -> Content:
        """What is trained on what, what it takes, and where it goes."""
        lines = [self._recipe(), self._estimates(), self._place()]
        return Content("\n").join(line.truncate(width, ellipsis=True) for line in lines)

    def _recipe(self) -> Content:
        from sidestep_tui.schema.adapter_maths import KIND_NAMES, size_words

        session = self.session
        settings, songs = session.settings, session.training_songs
        parts = [KIND_NAMES[settings.adapter.kind], size_words(settings.adapter)]
        if songs:
            parts.append(text.plural(songs, "song"))
            if session.manifest and (held_out := len(session.manifest.songs) - songs):
                parts.append(f"{held_out} held out")
            if steps := session.steps():
                parts.append(text.plural(steps, "step"))
        parts.append(text.plural(settings.train.epochs, "epoch"))
        return Content(f" {self.glyphs.separator} ".join(parts))

    def _estimates(self) -> Content:
        """Time, memory and disk, each as far as it is known."""
        session = self.session
        device, pace = session.device, session.pace()
        memory = text.gibibytes(session.cost().estimate.total)
        room = f"of {text.gibibytes(device.total)} " if device is not None else ""
        parts = [pace.range or pace.short or "time not known", f"{memory} {room}of memory"]
        if session.manifest is not None:
            parts.append(f"{text.file_size(session.disk())} on disk")
        return Content.assemble((f" {self.glyphs.separator} ".join(parts), "bold"), ("   " + pace.basis, "$faint"))

    def _place(self) -> Content:
        where = f"{self.session.settings.output.path.rstrip('/')}/{self._run_name()}"
        return Content.assemble(("into ", "$muted"), where)

    def _no_changes(self, width: int) -> Content:
        if set(self.session.draft.changed) - _SAID_ELSEWHERE:
            return Content("")
        return Content.styled(f"{self.session.draft.base_name}: as it is, nothing was changed.", "$muted")

    def _run_name(self) -> str:
        from sidestep_tui.launch.plan import default_name

        settings = self.session.settings
        preset = self.session.draft.base_name.partition(" ")[2]
        return settings.output.name or default_name(preset, settings.data.path, datetime.datetime.now())

    def update(self) -> None:
        """Follow the session; lists are built again only when they read differently."""
        super().update()
        if not hasattr(self, "checks"):
            return
        advice = self._advice()
        if advice != self._shown_advice:
            self._shown_advice = advice
            self.query_one("#advice", RowList).fill([self._advice_row(item) for item in advice])
        # What is said elsewhere on this page is not said again.
        changes = {path: pair for path, pair in self.session.draft.changed.items() if path not in _SAID_ELSEWHERE}
        if changes != self._shown_changes:
            self._shown_changes = changes
            rows: list[Widget] = [self._change_row(path, old, new) for path, (old, new) in changes.items()]
            self.query_one("#changes", RowList).fill(rows)

    def _advice(self) -> list[Advice]:
        return self.session.advice()

    def _advice_row(self, advice: Advice) -> ActionRow:
        mark = {"error": self.glyphs.bad, "warning": self.glyphs.warn}.get(advice.severity, self.glyphs.todo)
        act = f" F: {advice.fix_label}." if advice.fix else ""
        fix = advice.fix_label if advice.fix else ""
        return ActionRow(
            partial(self._marked_line, mark, _SEVERITY_STYLE[advice.severity], "", advice.sentence, fix),
            partial(self.post_message, SettingPicked(advice.path)),
            help_text=f"{advice.severity}: {_label(advice.path)}\n{advice.sentence} Enter shows the setting.{act}",
            advice=advice,
        )

    def _marked_line(
        self, mark: str, style: str, name: str, sentence: str, fix: str, focused: bool, width: int
    ) -> Content:
        line = Content.assemble(
            (f"{self.glyphs.focus} " if focused else "  ", "$primary"),
            (f"{mark} ", style),
            (f"{name:<10}" if name else "", "$muted"),
            sentence,
        )
        if not fix:
            return line.truncate(width, ellipsis=True)
        # The key is always in sight, and what it does where at least half of the sentence is too.
        tail = Content.styled(f" {self.glyphs.arrow} F: {fix}", "$accent")
        if width - tail.cell_length < max(40, line.cell_length // 2):
            tail = Content.styled(f" {self.glyphs.arrow} F", "$accent")
        return Content.assemble(line.truncate(max(0, width - tail.cell_length), ellipsis=True), tail)

    def _change_row(self, path: str, old: object, new: object) -> ActionRow:
        spec = fields_by_path()[path]
        old_text, new_text = (shown_text(spec, format_value(spec, value)) or "none" for value in (old, new))

        def label(focused: bool, width: int) -> Content:
            return Content.assemble(
                (f"{self.glyphs.focus} " if focused else "  ", "$primary"),
                f"{spec.meta.label:<24}",
                (f"{old_text} ", "$muted"),
                (f"{self.glyphs.arrow} ", "$faint"),
                (new_text, "bold"),
            ).truncate(width, ellipsis=True)

        return ActionRow(
            label,
            partial(self.post_message, SettingPicked(path)),
            help_text=f"{spec.meta.label}\n{spec.help} Enter shows the setting.",
        )

    def show_checks(self, checks: Sequence[Check]) -> None:
        """List what the machine has answered."""
        self.checks = checks
        self.query_one("#preflight", RowList).fill([self._check_row(check) for check in checks])

    def show_start(self, words: str) -> None:
        """Say on the start line what it is waiting for."""
        self.busy = words
        self.update()

    def _check_row(self, check: Check) -> ActionRow:
        mark = {"ok": self.glyphs.ok, "warn": self.glyphs.warn, "fail": self.glyphs.bad}[check.status]
        jump = partial(self.post_message, SettingPicked(check.setting)) if check.setting else lambda: None
        return ActionRow(
            partial(self._marked_line, mark, _STATUS_STYLE[check.status], check.name, check.sentence, ""),
            jump,
            help_text=f"{check.name}\n{check.sentence} {check.hint}",
        )
