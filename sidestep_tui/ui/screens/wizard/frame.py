"""What stands around the pages: the title, the rail of steps with their marks, and help for the focus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.content import Content
from textual.widgets import ContentSwitcher

from sidestep_tui.core import text
from sidestep_tui.ui.forms.panes import HelpPane, RailItem, StepRail, TitleBar
from sidestep_tui.ui.screens.wizard.jobs import WizardJobs
from sidestep_tui.ui.screens.wizard.steps import STEP_IDS, STEPS

if TYPE_CHECKING:
    from sidestep_tui.ui.forms.session import FormSession
    from sidestep_tui.ui.screens.wizard.page import Page

_ROOMY = 76
"""Columns from which on the rail is shown and the title has room for every word."""


class WizardFrame(WizardJobs):
    """The part of the wizard that says where we are and how it stands."""

    _session: FormSession | None
    _seen: set[str]

    # Where we are

    @property
    def pages(self) -> ContentSwitcher:
        """The switcher that holds the pages visited so far."""
        return self.query_one("#pages", ContentSwitcher)

    @property
    def page(self) -> Page | None:
        """The page in front."""
        current = self.pages.current
        return self.page_named(current) if current else None

    @property
    def visited(self) -> list[Page]:
        """The pages visited so far."""
        return [self.page_named(step) for step in STEP_IDS if self.pages.query(f"#{step}")]

    def page_named(self, step_id: str) -> Page:
        """The page of a step that was visited."""
        from sidestep_tui.ui.screens.wizard.page import Page

        return self.pages.query_one(f"#{step_id}", Page)

    # Painting, each part only when it reads differently

    def show_empty_frame(self) -> None:
        """Title and rail before anything is known."""
        self.query_one(TitleBar).show(
            Content.assemble(("sidestep", "bold $primary"), ("  new run", "$muted")), Content("")
        )
        todo = self.glyphs.todo
        self.query_one(StepRail).show([RailItem(step.label, todo, "$faint", False) for step in STEPS], ())

    def update_frame(self) -> None:
        """Title and rail."""
        current = self.pages.current or STEP_IDS[0]
        self.query_one(TitleBar).show(self._where(current), self._what())
        items = [self._rail_item(step.id, current) for step in STEPS]
        self.query_one(StepRail).show(items, (f"{self.session.level} (f5)",))

    def _where(self, current: str) -> Content:
        index = STEP_IDS.index(current)
        is_roomy = self.size.width >= _ROOMY
        return Content.assemble(
            ("sidestep" if is_roomy else "", "bold $primary"),
            ("  new run  " if is_roomy else "", "$muted"),
            (f"{index + 1}/{len(STEPS)} ", "$muted"),
            (STEPS[index].label, "bold"),
            ("" if is_roomy else f" {self.session.level}", "$muted"),
        )

    def _what(self) -> Content:
        edits = len(self.session.draft.edits)
        return Content.assemble(
            (self._base_name(), "$accent"),
            (f" + {text.plural(edits, 'edit')}" if edits else "", "bold"),
            "   ",
            self._readiness(),
        )

    def _base_name(self) -> str:
        """What the draft starts from, in fewer words where there is little room."""
        base = self.session.draft.base_name
        if base == "default":
            return "no preset"
        return base if self.size.width >= _ROOMY else base.partition(" ")[2]

    def _readiness(self) -> Content:
        """Whether the run could start, in a word or two."""
        session, glyphs = self.session, self.glyphs
        problems = session.problems() + self._refused("model") + self._refused("data")
        if problems:
            return Content.styled(f"{glyphs.bad} {text.plural(problems, 'problem')}", "$error")
        if session.model is None:
            return Content.styled(f"{glyphs.todo} no checkpoint yet", "$muted")
        if session.manifest is None:
            words = "no songs yet" if session.scan_progress is None else "reading songs"
            return Content.styled(f"{glyphs.todo} {words}", "$muted")
        if not session.fits:
            return Content.styled(f"{glyphs.warn} does not fit", "$warning")
        return Content.styled(f"{glyphs.ok} ready", "$success")

    def _rail_item(self, step_id: str, current: str) -> RailItem:
        step = STEPS[STEP_IDS.index(step_id)]
        glyphs = self.glyphs
        mark, style = glyphs.todo, "$faint"
        if self.session.problems(step.groups) or self._refused(step_id):
            mark, style = glyphs.bad, "$error"
        elif step_id == "memory" and not self.session.fits:
            mark, style = glyphs.warn, "$warning"
        elif self._is_done(step_id):
            mark, style = glyphs.ok, "$success"
        return RailItem(step.label, mark, style, step_id == current)

    def _refused(self, step_id: str) -> bool:
        problem = {"model": self.session.model_problem, "data": self.session.data_problem}.get(step_id)
        return problem is not None

    def _is_done(self, step_id: str) -> bool:
        if step_id == "model":
            return self.session.model is not None
        if step_id == "data":
            return self.session.manifest is not None
        return step_id in self._seen

    def update_help(self) -> None:
        """The pane below the pages."""
        if not self.is_mounted or self._session is None:
            return
        from sidestep_tui.ui.forms.cost import cost_line
        from sidestep_tui.ui.forms.facts import field_facts
        from sidestep_tui.ui.forms.rows import ActionRow, FieldRow

        pane = self.query_one(HelpPane)
        cost = cost_line(self.session, self.glyphs, self.size.width)
        focused = self.focused
        if isinstance(focused, FieldRow):
            facts = field_facts(self.session, focused.spec, self.glyphs)
            pane.show(facts.help, note=facts.note, extra=facts.extra, facts=facts.facts, cost=cost)
        elif isinstance(focused, ActionRow):
            title, _, body = focused.help_text.partition("\n")
            pane.show(body, facts=Content.styled(title, "$muted"), cost=cost)
        else:
            pane.show("Digits or up and down choose a step, enter goes to its fields.", facts=Content(""), cost=cost)
