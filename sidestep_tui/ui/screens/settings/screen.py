"""Every setting in one table, narrowed by typing and edited in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Input

from sidestep_tui.core import text
from sidestep_tui.schema.fields import all_fields
from sidestep_tui.ui.base import SidestepScreen
from sidestep_tui.ui.forms.cost import cost_line
from sidestep_tui.ui.forms.facts import field_facts
from sidestep_tui.ui.forms.panes import HelpPane, Pane, TitleBar
from sidestep_tui.ui.forms.rows import FormRow
from sidestep_tui.ui.forms.session import FormSession
from sidestep_tui.ui.screens.settings import rows
from sidestep_tui.ui.screens.settings.listing import Listing, matching
from sidestep_tui.ui.screens.settings.rows import BarRow
from sidestep_tui.ui.widgets.keybar import KeyBar

if TYPE_CHECKING:
    from sidestep_tui.ui.app import SidestepApp

_CALM_DELAY = 0.4
"""Seconds after the last key in a field until what follows from it is shown."""


class Heading(Pane):
    """The names of the columns."""

    def build(self) -> Content:
        return rows.heading(self.size.width)


class Table(Pane):
    """The lines. The row that is edited lies over its own, so that moving it paints two lines and nothing else."""

    def __init__(self, session: FormSession, listing: Listing) -> None:
        super().__init__()
        self._session = session
        self._listing = listing

    def build(self) -> Content:
        listing, (width, height) = self._listing, self.size
        if not listing.count:
            return Content.styled("  No setting has these words. Esc goes back.", "$muted")
        lines = [
            rows.line(listing.lines[place], self._session, width, self.glyphs, at_bar=place == listing.bar)
            for place in listing.window(height)
        ]
        return Content("\n").join(lines)


class SettingsScreen(SidestepScreen):
    """All settings of the draft. What is changed here is changed in the wizard, and undone by the same key.

    `leave_at` is told the setting from whose row somebody leaves.
    """

    CSS_PATH = "../../styles/settings.tcss"
    HELP = (
        "All settings\nType to narrow the table: words of the name or of the help, and group:optim, level:expert,"
        " from:preset, is:changed, is:wrong, is:advised, is:grey. Enter or down goes to the rows, where every setting"
        " is edited as in the wizard; / or f6 goes back to the words. Columns: value, default and range, and where the"
        " value is from. Esc returns to the wizard, from a row to the same setting there."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f6,slash", "filter", "Filter", id="settings.filter", tooltip="Narrow the settings by words"),
        Binding("ctrl+y", "undo", "Undo", id="form.undo", show=False, tooltip="Take back the last edit"),
        Binding("u", "undo", "Undo", id="form.undo_plain", tooltip="Take back the last edit"),
        Binding("ctrl+underscore,U", "redo", "Redo", id="form.redo", show=False, tooltip="Do it again"),
        Binding("F,f12", "fix", "Fix", id="form.fix", show=False, tooltip="Do what the advice on this line says"),
        Binding("escape,q", "leave", "Back", id="settings.leave", tooltip="To the wizard; every change is kept"),
    ]

    app: SidestepApp

    def __init__(self, session: FormSession, leave_at: Callable[[str], object], *, path: str = "") -> None:
        super().__init__()
        self.session = session
        self.listing = Listing()
        self._leave_at = leave_at
        self._path = path
        self._calm_timer: Timer | None = None

    def compose(self) -> ComposeResult:
        self.listing.show(all_fields())
        self.listing.go_to(self._path)
        spec = self.listing.spec
        assert spec is not None, "there are settings"
        yield TitleBar()
        words = Input(placeholder="words, group:optim, level:expert, from:preset, is:changed", id="words", compact=True)
        words.cursor_blink = False
        yield words
        yield Heading()
        with Container(id="table"):
            yield Table(self.session, self.listing)
            yield BarRow(spec, self.session)
        yield HelpPane()
        yield KeyBar(palette=True)

    def on_mount(self) -> None:
        self.session.watchers.append(self._changed)
        self.bar.display = False
        self.query_one("#words", Input).focus()
        self._repaint_frame()

    def on_unmount(self) -> None:
        self.session.watchers.remove(self._changed)

    def on_resize(self) -> None:
        """The bar may have moved."""
        self.call_after_refresh(self.repaint)

    @property
    def bar(self) -> BarRow:
        """The row that is edited; hidden while words are typed."""
        return self.query_one(BarRow)

    @property
    def table(self) -> Table:
        """The lines."""
        return self.query_one(Table)

    # Painting

    def repaint(self) -> None:
        """Everything that reads differently now."""
        if not self.is_mounted:
            return
        listing = self.listing
        listing.window(self.table.size.height)
        with self.app.batch_update():
            if self.bar.display and listing.spec is not None:
                self.bar.go_to(listing.spec)
                self.bar.styles.offset = (0, listing.bar - listing.top)
                self.bar.update()
            self.table.update()
            self._repaint_frame()

    def _repaint_frame(self) -> None:
        listing, session = self.listing, self.session
        total = len(all_fields())
        count = str(total) if listing.count == total else f"{listing.count} of {total}"
        left = Content.assemble(("All settings", "bold"), (f"  {count}", "$muted"))
        edits = len(session.draft.edits)
        right = Content.assemble(
            (session.draft.base_name, "$accent"), (f" + {text.plural(edits, 'edit')}" if edits else "", "bold")
        )
        self.query_one(TitleBar).show(left, right)
        pane = self.query_one(HelpPane)
        cost = cost_line(session, self.glyphs, self.app.size.width)
        if listing.spec is None:
            pane.show("", facts=Content(""), cost=cost)
            return
        facts = field_facts(session, listing.spec, self.glyphs)
        pane.show(facts.help, note=facts.note, extra=facts.extra, facts=facts.facts, cost=cost)

    # Following

    def _changed(self) -> None:
        """The draft has changed. While somebody types, only the row is painted: half a number tells nothing."""
        if self._calm_timer is not None:
            self._calm_timer.stop()
            self._calm_timer = None
        if self.session.typing:
            self._calm_timer = self.set_timer(_CALM_DELAY, self.repaint)
        else:
            self.repaint()

    @on(Input.Changed, "#words")
    def _narrowed(self, message: Input.Changed) -> None:
        found = matching(message.value, self.session)
        self.listing.show(found)
        if message.value and found:
            self.listing.go_to(found[0].path)
        self.repaint()

    @on(Input.Submitted, "#words")
    def _to_the_rows(self) -> None:
        if self.listing.count:
            self.bar.display = True
            self.repaint()
            self.bar.focus()

    def on_key(self, event: events.Key) -> None:
        """Down leaves the words for the rows."""
        if event.key in ("down", "tab") and isinstance(self.focused, Input):
            event.stop()
            event.prevent_default()
            self._to_the_rows()

    def on_form_row_moved(self, message: FormRow.Moved) -> None:
        """To another setting; up from the first, to the words."""
        message.stop()
        before = self.listing.spec
        self.listing.move(message.step)
        if self.listing.spec is before and message.step == -1:
            self.action_filter()
        self.session.end_burst()
        self.repaint()

    # Actions

    def action_filter(self) -> None:
        """To the words."""
        self.query_one("#words", Input).focus()
        self.bar.display = False

    def action_undo(self) -> None:
        """Take back the last edit, and show it."""
        self._show(self.session.undo(), "Nothing to undo.")

    def action_redo(self) -> None:
        """Do again what undo took back."""
        self._show(self.session.redo(), "Nothing to do again.")

    def _show(self, touched: str | None, nothing: str) -> None:
        if touched is None:
            self.notify(nothing, timeout=2)
        elif not self.listing.go_to(touched):
            with self.prevent(Input.Changed):
                self.query_one("#words", Input).value = ""
            self.listing.show(all_fields())
            self.listing.go_to(touched)
        self.repaint()

    def action_fix(self) -> None:
        """Follow the advice about the setting under the bar; undo takes it back."""
        advice = self.session.advice_on(self.listing.spec.path) if self.listing.spec else None
        if advice is not None and advice.fix:
            self.session.fix(advice)
        else:
            self.notify("There is nothing to put right on this line.", timeout=3)

    def action_leave(self) -> None:
        """To the wizard: from a row to the same setting there, from the words to where it was left."""
        self.session.end_burst()
        spec = self.listing.spec if self.bar.has_focus else None
        self.dismiss()
        if spec is not None:
            self._leave_at(spec.path)
