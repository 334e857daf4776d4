"""The wizard: six pages, a rail of steps, help for the focus, and a draft that is never lost."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.events import Mount, ScreenSuspend
from textual.timer import Timer
from textual.widgets import ContentSwitcher

from sidestep_tui.core import text
from sidestep_tui.core.errors import SettingsError, SidestepError
from sidestep_tui.ui.forms.panes import HelpPane, RailItem, StepRail, TitleBar
from sidestep_tui.ui.messages import SettingPicked
from sidestep_tui.ui.screens.wizard.presets import WizardPresets
from sidestep_tui.ui.screens.wizard.steps import STEP_IDS, STEP_OF_GROUP, STEPS
from sidestep_tui.ui.widgets.keybar import KeyBar

if TYPE_CHECKING:
    from sidestep_tui.schema.draft import Draft
    from sidestep_tui.ui.app import SidestepApp
    from sidestep_tui.ui.forms.rows import FieldRow, FormRow
    from sidestep_tui.ui.forms.session import FormSession
    from sidestep_tui.ui.screens.wizard.page import Page

# The schema and what is made of it (pydantic, the rows, the pages) cost 200 ms to import. This module names none of it
# at its head: title, rail and footer are painted first, and `_begin` loads the rest. Messages of rows and pages are
# therefore handled by name (`on_field_row_entered`).

_SAVE_DELAY = 0.3


class WizardScreen(WizardPresets):
    """A run in the making."""

    HELP = (
        "New run\nSix steps, in any order. Every change is saved as a draft at once: leave whenever you like and come"
        " back to the same field. Settings by name: ctrl+p, or / outside a text field."
    )

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+n,f8", "step(1)", "Next", id="wizard.next", tooltip="Next step"),
        Binding("f7,left_square_bracket", "step(-1)", "Back", id="wizard.back", tooltip="Previous step"),
        Binding("f5", "level", "Level", id="wizard.level", tooltip="Basic, advanced, expert settings"),
        Binding("f9", "go('review')", "Review", id="wizard.review", tooltip="What differs, advice, preflight, start"),
        Binding("ctrl+s", "save_preset", "Save", id="preset.save", tooltip="Save as preset (only what differs)"),
        Binding("ctrl+f", "load_preset", "Load", id="preset.load", tooltip="Load or import a preset"),
        Binding("f6,slash", "find", "All settings", id="wizard.all", show=False, tooltip="Find a setting by name"),
        Binding("ctrl+y", "undo", "Undo", id="form.undo", show=False, tooltip="Take back the last edit"),
        Binding("u", "undo", "Undo", id="form.undo_plain", show=False, tooltip="Take back the last edit"),
        Binding("ctrl+_", "redo", "Redo", id="form.redo", show=False, tooltip="Do it again"),
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
        self._seen: set[str] = set()
        self._save_timer: Timer | None = None

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
        self.query_one(TitleBar).show(
            Content.assemble(("sidestep", "bold $primary"), ("  new run", "$muted")), Content("")
        )
        todo = self.glyphs.todo
        self.query_one(StepRail).show([RailItem(step.label, todo, "$faint", False) for step in STEPS], ())
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
            await self._open_step(step, field=draft.field)
        finally:
            self._begun = True
            self.app.release_keys()
        for note in draft.notes:
            self.notify(note, severity="warning", timeout=10)
        self.begin_jobs()

    def on_unmount(self) -> None:
        # On the way out there is nobody left to tell; the last save that worked is intact.
        if self._session is None:
            return
        with contextlib.suppress(OSError, SidestepError):
            self._session.save(force=True)

    # Where we are

    @property
    def pages(self) -> ContentSwitcher:
        """The switcher that holds the pages visited so far."""
        return self.query_one("#pages", ContentSwitcher)

    @property
    def page(self) -> Page | None:
        """The page in front."""
        current = self.pages.current
        return self._page(current) if current else None

    @property
    def visited(self) -> list[Page]:
        """The pages visited so far."""
        return [self._page(step) for step in STEP_IDS if self.pages.query(f"#{step}")]

    def _page(self, step_id: str) -> Page:
        from sidestep_tui.ui.screens.wizard.page import Page

        return self.pages.query_one(f"#{step_id}", Page)

    async def _open_step(self, step_id: str, *, field: str = "") -> None:
        """Show a page, mounting it on its first visit, and put the focus on a field or on its first row."""
        step = STEPS[STEP_IDS.index(step_id)]
        if not self.pages.query(f"#{step_id}"):
            from sidestep_tui.ui.screens.wizard.pages import page_of

            page = page_of(step, self.session)
            await self.pages.add_content(page, id=step_id, set_current=True)
            self.page_mounted(page)
        self.pages.current = step_id
        self._seen.add(step_id)
        self.session.draft.step = step_id
        page = self._page(step_id)
        page.update()
        self.page_shown(page)
        self._focus_field(page, field)
        self._update_frame()
        self._save_soon()

    def _focus_field(self, page: Page, field: str) -> None:
        rows = page.rows()
        row = page.row_of(field) or (rows[0] if rows else None)
        if row is not None:
            row.display = True
            self.set_focus(row)

    def on_resize(self) -> None:
        """The title has more or less to say."""
        if self.pages.current is not None:
            self._update_frame()

    @on(SettingPicked)
    async def _setting_picked(self, message: SettingPicked) -> None:
        if self._begun:
            await self.show_field(message.path)
        else:
            draft = self.session.draft
            draft.step, draft.field = STEP_OF_GROUP[message.path.partition(".")[0]], message.path

    async def show_field(self, path: str) -> None:
        """Go to one setting, at whatever level it is."""
        await self._open_step(STEP_OF_GROUP[path.partition(".")[0]], field=path)

    async def on_form_row_moved(self, message: FormRow.Moved) -> None:
        """To another row; from the last one, accepted, to the next step."""
        message.stop()
        page = self.page
        rows = [row for row in page.rows() if not (message.committed and row.passed_by)] if page else []
        if message.row not in rows:
            return
        index = rows.index(message.row) + message.step
        if message.committed and index == len(rows):
            await self.action_step(1)
        else:
            rows[max(0, min(index, len(rows) - 1))].focus()

    def on_field_row_entered(self, message: FieldRow.Entered) -> None:
        """The draft remembers the field; the pane explains it."""
        self.session.draft.field = message.row.spec.path
        self._update_help()

    def on_action_row_entered(self) -> None:
        """The pane explains the line."""
        self._update_help()

    @on(StepRail.Stepped)
    async def _rail_stepped(self, message: StepRail.Stepped) -> None:
        await self.action_step(message.step, keep_focus=True)

    @on(StepRail.Picked)
    async def _rail_picked(self, message: StepRail.Picked) -> None:
        await self._open_step(STEP_IDS[message.index])

    @on(StepRail.PageEntered)
    def _rail_left(self) -> None:
        if self.page is not None:
            self._focus_field(self.page, "")

    def on_descendant_focus(self) -> None:
        self._update_help()

    # Following the draft

    def _changed(self) -> None:
        """The draft has changed: show it, save it soon, ask the machine again where it matters."""
        if not self.is_mounted or self.page is None:
            return
        self.page.update()
        self._update_frame()
        self._update_help()
        self._save_soon()
        self.refresh_jobs()

    def _save_soon(self) -> None:
        if self._save_timer is not None:
            self._save_timer.stop()
        self._save_timer = self.set_timer(_SAVE_DELAY, self._save)

    def _save(self) -> None:
        try:
            self.session.save(force=True)
        except (OSError, SidestepError) as error:
            self.notify(f"The draft could not be saved: {error}", severity="error", timeout=10)

    def _update_frame(self) -> None:
        draft = self.session.draft
        current = self.pages.current or STEP_IDS[0]
        index = STEP_IDS.index(current)
        left = Content.assemble(
            ("sidestep", "bold $primary"),
            ("  new run  " if self.size.width >= 76 else "  ", "$muted"),
            (f"{index + 1}/{len(STEPS)} ", "$muted"),
            (STEPS[index].label, "bold"),
        )
        edits = len(draft.changed)
        right = Content.assemble(
            (self._base_name(), "$accent"),
            (f" + {text.plural(edits, 'edit')}" if edits else "", "bold"),
            "   ",
            self._readiness(),
        )
        self.query_one(TitleBar).show(left, right)
        items = [self._rail_item(step.id, current) for step in STEPS]
        self.query_one(StepRail).show(items, (f"{self.session.level} (f5)",))

    def _base_name(self) -> str:
        """What the draft starts from, in fewer words where there is little room."""
        base = self.session.draft.base_name
        if base == "default":
            return "no preset"
        return base if self.size.width >= 76 else base.partition(" ")[2]

    def _readiness(self) -> Content:
        """Whether the run could start, in a word or two."""
        problems = len(self.session.draft.errors) + self._refused("model") + self._refused("data")
        glyphs = self.glyphs
        if problems:
            return Content.styled(f"{glyphs.bad} {text.plural(problems, 'problem')}", "$error")
        if self.session.model is None or self.session.manifest is None:
            return Content.styled(f"{glyphs.todo} not ready", "$muted")
        if not self.session.fits:
            return Content.styled(f"{glyphs.warn} does not fit", "$warning")
        return Content.styled(f"{glyphs.ok} ready", "$success")

    def _rail_item(self, step_id: str, current: str) -> RailItem:
        step = STEPS[STEP_IDS.index(step_id)]
        glyphs = self.glyphs
        mark, style = glyphs.todo, "$faint"
        if self.session.group_errors(step.groups) or self._refused(step_id):
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

    def _update_help(self) -> None:
        if not self.is_mounted or self._session is None:
            return
        from sidestep_tui.ui.forms.facts import cost_line, field_facts
        from sidestep_tui.ui.forms.rows import ActionRow, FieldRow

        pane = self.query_one(HelpPane)
        cost = cost_line(self.session, self.glyphs)
        focused = self.focused
        if isinstance(focused, FieldRow):
            facts = field_facts(self.session, focused.spec, self.glyphs)
            pane.show(facts.help, error=facts.error, extra=facts.extra, facts=facts.facts, cost=cost)
        elif isinstance(focused, ActionRow):
            title, _, body = focused.help_text.partition("\n")
            pane.show(body, facts=Content.styled(title, "$muted"), cost=cost)
        else:
            pane.show("Digits or up and down choose a step, enter goes to its fields.", facts=Content(""), cost=cost)

    # Actions

    async def action_step(self, step: int, keep_focus: bool = False) -> None:
        """The next or previous step."""
        index = STEP_IDS.index(self.pages.current or STEP_IDS[0]) + step
        if 0 <= index < len(STEPS):
            await self._open_step(STEP_IDS[index])
            if keep_focus:
                self.query_one(StepRail).focus()

    async def action_go(self, step_id: str) -> None:
        """A step by name."""
        await self._open_step(step_id)

    def action_level(self) -> None:
        """Show more, or after the last level the least again."""
        self.session.next_level()
        self._changed()

    async def action_undo(self) -> None:
        """Take back the last edit and go where it was."""
        touched = self.session.undo()
        if touched is None:
            self.notify("Nothing to undo.", timeout=2)
        elif touched.partition(".")[0] in STEP_OF_GROUP:
            await self.show_field(touched)

    async def action_redo(self) -> None:
        """Do again what undo took back."""
        touched = self.session.redo()
        if touched is not None and touched.partition(".")[0] in STEP_OF_GROUP:
            await self.show_field(touched)

    def action_flip_txt(self) -> None:
        """name.txt holds captions, lyrics, or whatever its content says."""
        self.session.cycle("data.txt_role", 1)
        self.notify(f"name.txt holds: {self.session.draft.text('data.txt_role')}", timeout=3)

    @work(group="dialog")
    async def action_find(self) -> None:
        """Find a setting by name or meaning."""
        from sidestep_tui.ui.dialogs.find import FindSetting

        path = await self.app.push_screen_wait(FindSetting(self.session))
        if path:
            await self.show_field(path)

    async def action_new_draft(self) -> None:
        """Start over on the recommended preset; the present draft stays in the list."""
        self.open_draft(fresh_draft())

    def action_leave(self) -> None:
        """To the runs; the draft is kept."""
        self._save()
        self.app.switch_mode("runs")

    def action_start(self) -> None:
        """Start from wherever we are."""
        self.start_run()

    def on_review_page_start_wanted(self) -> None:
        """Start was pressed."""
        self.start_run()

    def open_draft(self, draft: Draft) -> None:
        """Work on another draft; the present one is saved."""
        self._save()
        self.session.replace_draft(draft)
        self._seen.clear()
        step = draft.step if draft.step in STEP_IDS else STEP_IDS[0]
        self.run_worker(self._open_step(step, field=draft.field), group="open", exclusive=True)


def latest_draft() -> Draft:
    """The draft last worked on, or a fresh one on the recommended preset."""
    from sidestep_tui.schema import drafts

    for summary in drafts.list_drafts():
        try:
            return drafts.load(summary.id)
        except SettingsError:
            continue
    return fresh_draft()


def fresh_draft(preset_name: str = "recommended") -> Draft:
    """An empty draft on a preset; on the bare defaults should that be missing."""
    from sidestep_tui.schema import presets
    from sidestep_tui.schema.draft import Draft

    try:
        return Draft(presets.find(preset_name).layers())
    except SettingsError:
        return Draft()


__all__ = ["WizardScreen", "fresh_draft", "latest_draft"]
