"""Repairs from the doctor's screen: shown in full, agreed to, and only then made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual import on
from textual.content import Content

from sidestep_tui.core import text
from sidestep_tui.ui.dialogs.confirm import Tell
from sidestep_tui.ui.dialogs.paper import Paper
from sidestep_tui.ui.screens.doctor import rows as rows_of
from sidestep_tui.ui.screens.doctor.jobs import DoctorJobs, Planned, RepairFailed

if TYPE_CHECKING:
    from sidestep_tui.dataset.health.doctor_findings import Fix

_MARGINS = 10
"""Columns that the dialog's frame and paddings take."""


class DoctorRepairs(DoctorJobs):
    """The keys that write."""

    notice = ""
    """What has just been done, in a few words."""
    listed_fixes: list[Fix]
    """What can be carried out of all that is listed."""

    @property
    def focused_line(self) -> rows_of.Line | None:
        """The line under the bar."""
        raise NotImplementedError

    def repaint(self) -> None:
        """Show what is known."""
        raise NotImplementedError

    def action_fix(self) -> None:
        """Repair what is in focus, after showing what that writes."""
        line = self.focused_line
        if line is not None:
            self._plan(line.fixes)

    def action_fix_all(self) -> None:
        """Repair all that is listed, after showing what that writes."""
        self._plan(self.listed_fixes)

    def _plan(self, fixes: list[Fix]) -> None:
        if fixes and self.report is not None:
            self.notice = "reading the files"
            self.repaint()
            self.plan_fixes(self.report, fixes)

    @on(Planned)
    def _planned(self, message: Planned) -> None:
        report = self.report
        if report is None or not self.is_current:
            return
        self.notice = ""
        self.repaint()
        if not message.preview:
            self.app.push_screen(
                Tell("Nothing to write", "The files have changed meanwhile.", "r examines them again.")
            )
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self.notice = "writing"
                self.repaint()
                self.carry_out(report, message.fixes, message.preview)

        many = text.plural(len(message.preview), "file")
        page = self._page_of(message.preview)
        self.app.push_screen(Paper(f"Write {many}", page, yes_label=f"Write {many}"), answered)

    def _page_of(self, preview: list[dict[str, Any]]) -> Content:
        head = "These values are replaced and nothing else; what stands there now is kept beside each file.\n\n"
        return Content.assemble((head, "$muted"), *rows_of.paper_parts(preview, self.size.width - _MARGINS))

    @on(RepairFailed)
    def _repair_failed(self, message: RepairFailed) -> None:
        self.notice = ""
        self.repaint()
        self.app.push_screen(Tell(message.problem.title, message.problem.message, message.problem.hint))
