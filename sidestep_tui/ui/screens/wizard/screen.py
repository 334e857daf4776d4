"""The wizard: six pages, a rail of steps, help for the focus, and a draft that is never lost."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.events import Mount, ScreenSuspend
from textual.timer import Timer
from textual.widgets import ContentSwitcher

from sidestep_tui.ui.forms.panes import HelpPane, StepRail, TitleBar
from sidestep_tui.ui.messages import SettingPicked
from sidestep_tui.ui.screens.wizard.keeping import WizardDrafts, fresh_draft, latest_draft
from sidestep_tui.ui.screens.wizard.outlook import WizardOutlook
from sidestep_tui.ui.screens.wizard.presets import WizardPresets
from sidestep_tui.ui.screens.wizard.steps import STEP_IDS, STEP_OF_GROUP, STEPS
from sidestep_tui.ui.widgets.keybar import KeyBar

if TYPE_CHECKING:
    from sidestep_tui.schema.advice import Advice
    from sidestep_tui.schema.draft import Draft
    from sidestep_tui.ui.app import SidestepApp
    from sidestep_tui.ui.forms.rows import FieldRow, FormRow
    from sidestep_tui.ui.forms.session import FormSession
    from sidestep_tui.ui.screens.wizard.page import Page

# The schema and what is made of it (pydantic, the rows, the pages) cost 200 ms to import. This module names none of it
# at its head: title, rail and footer are painted first, and `_begin` loads the rest. Messages of rows and pages are
# therefore handled by name (`on_field_row_entered`).


_CALM_DELAY = 0.4
"""Seconds after the last key in a field until what follows from it is shown."""


class WizardScreen(WizardDrafts, WizardPresets, WizardOutlook):
    """A run in the making."""

    HELP = (
        "New run\nSix steps, in any order. Enter accepts a field, or what is offered where it is empty, and goes on to"
        " the next that counts: a grey one has no effect beside the others, and says why. F does what the advice on a"
        " line says, u takes it back. Every change is saved as a draft at once: leave whenever you like and come back"
        " to the same field. Settings by name: ctrl+p, or / outside a text field."
    )

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+n,f8", "step(1)", "Next", id="wizard.next", tooltip="Next step"),
        Binding("f7,left_square_bracket", "step(-1)", "Back", id="wizard.back", tooltip="Previous step"),
        Binding("f5", "level", "Level", id="wizard.level", tooltip="Basic, advanced, expert settings"),
        Binding("f9", "go('review')", "Review", id="wizard.review", tooltip="What differs, advice, preflight, start"),
        Binding("ctrl+s", "save_preset", "Save", id="preset.save", tooltip="Save as preset (only what differs)"),
        Binding("ctrl+f", "load_preset", "Presets", id="preset.load", tooltip="Compare, choose, import presets"),
        Binding("f6,slash", "find", "All settings", id="wizard.all", show=False, tooltip="Find a setting by name"),
        Binding("ctrl+y", "undo", "Undo", id="form.undo", show=False, tooltip="Take back the last edit"),
        Binding("u", "undo", "Undo", id="form.undo_plain", show=False, tooltip="Take back the last edit"),
        Binding("ctrl+underscore,U", "redo", "Redo", id="form.redo", show=False, tooltip="Do it again"),
        Binding("F,f12", "fix", "Fix", id="form.fix", show=False, tooltip="Do what the advice on this line says"),
        Binding("ctrl+t", "flip_txt", "Flip name.txt", id="data.flip_txt", show=False, tooltip="What name.txt holds"),
        Binding("N", "new_draft", "New draft", id="wizard.new", show=False, tooltip="Start over; this draft is kept"),
        Binding("S", "start", "Start run", id="run.start", show=False, tooltip="Start training"),
        *(
            Binding(str(number), f"go('{step.id}')", step.label, id=f"wizard.step_{step.id}", show=False)
            for number, step in enumerate(STEPS, 1)
        ),
        Binding("escape,q", "leave", "Leave", id="wizard.leave", show=False, tooltip="To the runs; the draft is kept"),
    ]

    app: SidestepApp

    def __init__(self, draft: Draft | None = None) -> None:
        super().__init__()
        self._first_draft = draft
        self._session: FormSession | None = None
        self._begun = False
        self._calm_timer: Timer | None = None
        self._seen: set[str] = set()

    def compose(self) -> ComposeResult:
        yield TitleBar()
        with Horizontal(id="body"):
            yield StepRail()
            yield ContentSwitcher(id="pages")
        yield HelpPane()
        yield KeyBar(palette=True)

    @property
    def session(self) -> FormSession:
        """What the forms read and change; made, and the schema loaded, when it is first needed."""
        if self._session is None:
            from sidestep_tui.ui.forms.session import FormSession

            self._session = FormSession(self._first_draft or latest_draft(), self._changed)
        return self._session

    @on(Mount)
    def _paint_frame_first(self) -> None:
        """Show where we are before the schema is loaded; what is typed meanwhile waits for the fields."""
        self.show_empty_frame()
        self.app.hold_keys()
        if "sidestep_tui.ui.screens.wizard.pages" in sys.modules:
            self.call_later(self._begin)
        else:
            self.app.when_painted(lambda: self.call_later(self._begin))

    @on(ScreenSuspend)
    def _left(self) -> None:
        self.app.release_keys()

    async def _begin(self) -> None:
        draft = self.session.draft
        try:
            step = draft.step if draft.step in STEP_IDS else STEP_IDS[0]
            await self.open_step(step, field=draft.field)
        finally:
            self._begun = True
            self.app.release_keys()
        for note in draft.notes:
            self.notify(note, severity="warning", timeout=10)
        self.begin_jobs()

    async def open_step(self, step_id: str, *, field: str = "") -> None:
        """Show a page, mounting it on its first visit, and put the focus on a field or on its first row."""
        # One picture: without, the page is painted before its focus, and a second time with it.
        with self.app.batch_update():
            await self._open_step(step_id, field)

    async def _open_step(self, step_id: str, field: str) -> None:
        step = STEPS[STEP_IDS.index(step_id)]
        if not self.pages.query(f"#{step_id}"):
            from sidestep_tui.ui.screens.wizard.pages import page_of

            page = page_of(step, self.session)
            await self.pages.add_content(page, id=step_id, set_current=True)
            self.page_mounted(page)
        self.pages.current = step_id
        self._seen.add(step_id)
        self.session.draft.step = step_id
        page = self.page_named(step_id)
        page.update()
        self.page_shown(page)
        self._focus_field(page, field)
        self.update_frame()
        self.save_soon()

    def _focus_field(self, page: Page, field: str) -> None:
        rows = page.rows()
        row = page.row_of(field) or (rows[0] if rows else None)
        if row is not None:
            row.display = True
            self.set_focus(row)

    def on_resize(self) -> None:
        """The title has more or less to say."""
        if self.pages.current is not None:
            self.update_frame()

    @on(SettingPicked)
    async def _setting_picked(self, message: SettingPicked) -> None:
        if self._begun:
            await self.show_field(message.path)
        else:
            draft = self.session.draft
            draft.step, draft.field = STEP_OF_GROUP[message.path.partition(".")[0]], message.path

    async def show_field(self, path: str) -> None:
        """Go to one setting, at whatever level it is."""
        await self.open_step(STEP_OF_GROUP[path.partition(".")[0]], field=path)

    async def on_form_row_moved(self, message: FormRow.Moved) -> None:
        """To another row; accepted, to the next one to fill in, and from the last to the next step."""
        message.stop()
        rows = self.page.rows() if self.page else []
        if message.row not in rows:
            return
        index = rows.index(message.row)
        if not message.committed:
            rows[max(0, min(index + message.step, len(rows) - 1))].focus()
            return
        ahead = next((row for row in rows[index + 1 :] if not row.passed_by), None)
        if ahead is not None:
            ahead.focus()
        elif self.pages.current != STEP_IDS[-1]:
            await self.action_step(1)
        else:
            rows[0].focus()  # the start

    def on_field_row_entered(self, message: FieldRow.Entered) -> None:
        """The draft remembers the field; the pane explains it."""
        self.session.draft.field = message.row.spec.path
        self.save_soon()

    @on(StepRail.Stepped)
    async def _rail_stepped(self, message: StepRail.Stepped) -> None:
        await self.action_step(message.step, keep_focus=True)

    @on(StepRail.Picked)
    async def _rail_picked(self, message: StepRail.Picked) -> None:
        await self.open_step(STEP_IDS[message.index])

    @on(StepRail.PageEntered)
    def _rail_left(self) -> None:
        if self.page is not None:
            self._focus_field(self.page, "")

    def on_descendant_focus(self) -> None:
        """The pane explains what has the focus; what was typed before is done."""
        if self._calm_timer is not None:
            self._calm_timer.stop()
            self._calm_timer = None
            self._typed()
        else:
            self.update_help()

    # Following the draft

    def _changed(self) -> None:
        """The draft has changed: show it, save it soon, ask the machine again where it matters.

        While somebody types, only the row is painted: what follows from half a number is of no use, and costs a slow
        line ten times the key.
        """
        if not self.is_mounted or self.page is None:
            return
        self.save_soon()
        if self.session.typing:
            row = self.page.row_of(self.session.typing)
            if row is not None:
                row.update()
            if self._calm_timer is not None:
                self._calm_timer.stop()
            self._calm_timer = self.set_timer(_CALM_DELAY, self._typed)
            return
        self._follow()

    def _typed(self) -> None:
        """A moment has passed since the last key."""
        self._calm_timer = None
        self.session.typing = ""
        self._follow()

    def _follow(self) -> None:
        """Paint everything that reads differently now, and ask what depends on it."""
        if self.page is None:
            return
        self.page.update()
        self.update_frame()
        self.update_help()
        self.refresh_jobs()

    # Actions

    async def action_step(self, step: int, keep_focus: bool = False) -> None:
        """The next or previous step."""
        index = STEP_IDS.index(self.pages.current or STEP_IDS[0]) + step
        if 0 <= index < len(STEPS):
            await self.open_step(STEP_IDS[index])
            if keep_focus:
                self.query_one(StepRail).focus()

    async def action_go(self, step_id: str) -> None:
        """A step by name."""
        await self.open_step(step_id)

    def action_level(self) -> None:
        """Show more, or after the last level the least again."""
        self.session.next_level()
        self._changed()

    async def action_undo(self) -> None:
        """Take back the last edit, fix, profile or preset, and go where it was."""
        await self._show_touched(self.session.undo(), "Taken back", "Nothing to undo.")

    async def action_redo(self) -> None:
        """Do again what undo took back."""
        await self._show_touched(self.session.redo(), "Done again", "Nothing to do again.")

    async def _show_touched(self, touched: str | None, what: str, nothing: str) -> None:
        if touched is None:
            self.notify(nothing, timeout=2)
            return
        from sidestep_tui.schema.fields import fields_by_path

        spec = fields_by_path().get(touched)
        if spec is None:
            self.notify(f"{what}: the preset. The draft starts from {self.session.draft.base_name}.", timeout=4)
        elif self.pages.current == STEP_IDS[-1] and STEP_OF_GROUP[spec.group] != STEP_IDS[-1]:
            # The review lists every change: it shows what happened, and a fix is taken back where it was made.
            self.notify(f"{what}: {spec.meta.label} is {self.session.draft.text(touched) or 'empty'}.", timeout=3)
        else:
            await self.show_field(touched)

    def advice_in_focus(self) -> Advice | None:
        """What the rules say about the row in focus."""
        from sidestep_tui.ui.forms.rows import FormRow

        focused = self.focused
        return focused.advice if isinstance(focused, FormRow) else None

    def action_fix(self) -> None:
        """Follow the advice about the row in focus; undo takes it back."""
        advice = self.advice_in_focus()
        if advice is not None and advice.fix:
            self.session.fix(advice)
        else:
            self.notify("There is nothing to put right on this line. F9 lists all advice.", timeout=3)

    @work(group="dialog", exclusive=True)
    async def action_flip_txt(self) -> None:
        """name.txt holds captions, lyrics, or whatever its content says; noted in the folder, as the songs do it.

        The row of the setting changes it for this run alone.
        """
        from sidestep_tui.ui.screens.wizard import txt_role

        self.session.cycle("data.txt_role", 1)
        draft = self.session.draft
        said = await asyncio.to_thread(txt_role.note, draft.value("data.path"), draft.value("data.txt_role"))
        self.notify(said, timeout=4)

    def action_find(self) -> None:
        """Every setting in one table, to be found by its words and edited in place."""
        from sidestep_tui.ui.screens.settings.screen import SettingsScreen

        def show(path: str) -> None:
            self.run_worker(self.show_field(path), group="open", exclusive=True)

        self.app.push_screen(SettingsScreen(self.session, show, path=self.session.draft.field))

    def action_leave(self) -> None:
        """To the runs; the draft is kept."""
        self.save_now()
        self.app.switch_mode("runs")

    def action_start(self) -> None:
        """Start from wherever we are."""
        self.start_run()

    def on_review_page_start_wanted(self) -> None:
        """Start was pressed."""
        self.start_run()


__all__ = ["WizardScreen", "fresh_draft", "latest_draft"]
