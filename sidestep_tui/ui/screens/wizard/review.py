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
from sidestep_tui.schema import rules
from sidestep_tui.schema.fields import fields_by_path
from sidestep_tui.schema.rules import Advice
from sidestep_tui.schema.values import format_value
from sidestep_tui.ui.forms.cells import shown_text
from sidestep_tui.ui.forms.rows import ActionRow
from sidestep_tui.ui.messages import SettingPicked
from sidestep_tui.ui.screens.wizard.page import Heading, Note, Page, RowList

if TYPE_CHECKING:
    from sidestep_tui.launch.preflight import Check

_SEVERITY_STYLE = {"error": "$error", "warning": "$warning", "advice": "$muted"}
_STATUS_STYLE = {"ok": "$success", "warn": "$warning", "fail": "$error"}


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
        yield Heading(classes="gap-above")
        yield from self.field_rows()
        yield RowList("preflight", id="preflight")
        yield RowList("advice", id="advice")
        yield RowList("differs from the preset", id="changes")

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
        session = self.session
        settings = session.settings
        songs = session.training_songs
        from sidestep_tui.schema.adapter_maths import KIND_NAMES, size_words

        parts = [KIND_NAMES[settings.adapter.kind], size_words(settings.adapter)]
        if songs:
            from sidestep_tui.schema.plan_maths import run_steps

            steps = run_steps(settings, songs=songs)
            parts.append(text.plural(songs, "song"))
            if session.manifest and (held_out := len(session.manifest.songs) - songs):
                parts.append(f"{held_out} held out")
            if steps:
                parts.append(text.plural(steps, "step"))
        parts.append(text.plural(settings.train.epochs, "epoch"))
        line = f" {self.glyphs.separator} ".join(parts)
        where = f"{settings.output.path.rstrip('/')}/{self._run_name()}"
        return Content.assemble(line, "\n", ("into ", "$muted"), where)

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
        changes = self.session.draft.changed
        if changes != self._shown_changes:
            self._shown_changes = changes
            rows: list[Widget] = [self._change_row(path, old, new) for path, (old, new) in changes.items()]
            self.query_one("#changes", RowList).fill(rows)

    def _advice(self) -> list[Advice]:
        session = self.session
        errors = [Advice("error", path, sentence) for path, sentence in session.draft.errors.items()]
        return [*errors, *rules.missing(session.settings), *rules.check(session.settings, session.rule_facts())]

    def _advice_row(self, advice: Advice) -> ActionRow:
        mark = {"error": self.glyphs.bad, "warning": self.glyphs.warn}.get(advice.severity, self.glyphs.todo)
        act = f"enter: {advice.fix_label}" if advice.fix else "enter: show the setting"
        return ActionRow(
            partial(self._marked_line, mark, _SEVERITY_STYLE[advice.severity], "", advice.sentence, advice.fix_label),
            partial(self._follow, advice),
            help_text=f"{advice.severity}\n{advice.sentence} {act[0].upper()}{act[1:]}.",
        )

    def _follow(self, advice: Advice) -> None:
        if advice.fix:
            self.session.apply(advice.fix, origin="yours")
        else:
            self.post_message(SettingPicked(advice.path))

    def _marked_line(
        self, mark: str, style: str, name: str, sentence: str, fix: str, focused: bool, width: int
    ) -> Content:
        line = Content.assemble(
            (f"{self.glyphs.focus} " if focused else "  ", "$primary"),
            (f"{mark} ", style),
            (f"{name:<10}" if name else "", "$muted"),
            sentence,
        )
        room = width - line.cell_length - 3
        if fix and room > 12:
            line = Content.assemble(line, (f" {self.glyphs.arrow} {fix}", "$accent")).truncate(width, ellipsis=True)
        return line.truncate(width, ellipsis=True)

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
