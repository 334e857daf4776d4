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
_LEAST_BASIS = 24
"""Cells below which nothing is said of where an estimate comes from."""
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
        self.checks: Sequence[Check] = []
        self._shown_wrong = self._wrong()
        yield RowList("to put right, and advice", [self._wrong_row(item) for item in self._shown_wrong], id="advice")
        self._shown_changes = self._changes()
        yield RowList("differs from the preset", self._change_rows(), id="changes")
        yield Heading(classes="gap-above")
        yield from self.field_rows()
        yield self.more_note()
        # Last, since it answers last: nothing above it moves when it does.
        yield RowList("preflight", id="preflight")

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
        lines = [self._recipe(), self._estimates(width), self._place()]
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

    def _estimates(self, width: int) -> Content:
        """Time, memory and disk, each as far as it is known."""
        session = self.session
        device, pace = session.device, session.pace()
        room = f"of {device.total / 1024**3:.1f} " if device is not None else ""
        memory = f"{session.cost().estimate.total / 1024**3:.1f} {room}GiB"
        parts = [pace.range or pace.short or "time not known", memory]
        if session.manifest is not None:
            parts.append(f"{text.file_size(session.disk())} on disk")
        line = Content.styled(f" {self.glyphs.separator} ".join(parts), "bold")
        has_room = line.cell_length + _LEAST_BASIS < width
        return Content.assemble(line, ("   " + pace.basis, "$faint")) if has_room else line

    def _place(self) -> Content:
        where = f"{self.session.settings.output.path.rstrip('/')}/{self._run_name()}"
        as_is = "" if self._changes() else f" {self.glyphs.separator} {self.session.draft.base_name} as it is"
        return Content.assemble(("into ", "$muted"), where, (as_is, "$muted"))

    def _run_name(self) -> str:
        from sidestep_tui.launch.plan import default_name

        settings = self.session.settings
        preset = self.session.draft.base_name.partition(" ")[2]
        return settings.output.name or default_name(preset, settings.data.path, datetime.datetime.now())

    def update(self) -> None:
        """Follow the session; lists are built again only when they read differently."""
        super().update()
        wrong = self._wrong()
        if wrong != self._shown_wrong:
            self._shown_wrong = wrong
            self.query_one("#advice", RowList).fill([self._wrong_row(item) for item in wrong])
        changes = self._changes()
        if changes != self._shown_changes:
            self._shown_changes = changes
            self.query_one("#changes", RowList).fill(self._change_rows())

    def _wrong(self) -> list[Advice | Check]:
        """What stands in the way and what the rules advise; what the machine refuses beside what is missing."""
        advice = self.session.advice()
        said = {item.path for item in advice if item.severity == "error"}
        failed = [check for check in self.checks if check.status == "fail" and check.setting not in said]
        return [*failed, *advice]

    def _changes(self) -> dict[str, tuple[object, object]]:
        """What differs from the preset, except what is said elsewhere on this page."""
        return {path: pair for path, pair in self.session.draft.changed.items() if path not in _SAID_ELSEWHERE}

    def _change_rows(self) -> list[Widget]:
        return [self._change_row(path, old, new) for path, (old, new) in self._shown_changes.items()]

    def _wrong_row(self, item: Advice | Check) -> ActionRow:
        if not isinstance(item, Advice):
            return self._check_row(item)
        mark = {"error": self.glyphs.bad, "warning": self.glyphs.warn}.get(item.severity, self.glyphs.todo)
        act = f" F: {item.fix_label}." if item.fix else ""
        fix = item.fix_label if item.fix else ""
        return ActionRow(
            partial(self._marked_line, mark, _SEVERITY_STYLE[item.severity], "", item.sentence, fix),
            partial(self.post_message, SettingPicked(item.path)),
            help_text=f"{item.severity}: {_label(item.path)}\n{item.sentence} Enter shows the setting.{act}",
            advice=item,
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
        """List what the machine has answered; the same answer leaves the rows and the focus alone."""
        if checks == self.checks:
            return
        self.checks = checks
        self.query_one("#preflight", RowList).fill([self._check_row(check) for check in checks])
        self.update()

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
