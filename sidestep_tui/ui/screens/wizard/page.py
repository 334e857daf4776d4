"""A page of the wizard: rows for the settings of a step, and what the machine tells about them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.geometry import Size
from textual.widget import Widget

from sidestep_tui.core import text
from sidestep_tui.schema.fields import all_fields
from sidestep_tui.ui.forms import cells
from sidestep_tui.ui.forms.cells import Columns
from sidestep_tui.ui.forms.panes import Pane
from sidestep_tui.ui.forms.rows import ActionRow, FieldRow, FormRow
from sidestep_tui.ui.forms.session import FormSession
from sidestep_tui.ui.screens.wizard.steps import Step
from sidestep_tui.ui.theme import Glyphs, glyphs_of
from sidestep_tui.ui.widgets.scrollmark import AsciiScrollMark, ScrollMark

_SECTIONS = {"train": "training"}

if TYPE_CHECKING:
    from sidestep_tui.launch.models import FoundModel
    from sidestep_tui.launch.preflight import Check


class Heading(Pane):
    """The names of the columns."""

    DEFAULT_CSS = "Heading { height: 1; width: 1fr; }"

    def build(self) -> Content:
        return cells.heading(Columns.of_width(self.size.width), self.glyphs)


class Note(Pane):
    """Lines that a function of the width makes."""

    DEFAULT_CSS = "Note { height: auto; width: 1fr; padding: 0 2; }"

    def __init__(self, make: Callable[[int], Content], *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._make = make
        self._lines = 0
        """What it was laid out for; a paint may have shown longer words since."""

    def build(self) -> Content:
        return self._make(self.size.width)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        self._lines = _height(self._make(width), width)
        return self._lines

    def update(self) -> None:
        """Paint again if it reads differently; lay out again if it got longer or shorter."""
        if not self.is_mounted:
            return
        content = self.build()
        is_longer_or_shorter = _height(content, self.size.width) != self._lines
        if content != self._shown or is_longer_or_shorter:
            self.refresh(layout=is_longer_or_shorter)


def _height(content: Content, width: int) -> int:
    """Lines that a text takes in `width` cells; none before the first layout or when it is empty."""
    return content.get_height({}, width) if width > 0 and content.plain else 0


def section(title: str) -> Note:
    """A quiet title between rows, with a blank line above."""
    return Note(lambda width: Content.styled(title, "$primary"), classes="section")


class Page(VerticalScroll, can_focus=False):
    """The rows of a step, and whatever else helps to fill them in."""

    def __init__(self, step: Step, session: FormSession) -> None:
        super().__init__(id=step.id)
        self.step = step
        self.session = session

    @property
    def glyphs(self) -> Glyphs:
        """The signs this terminal can show."""
        return glyphs_of(self.app)

    def on_mount(self) -> None:
        """The bar of scrolling is one cell."""
        self.vertical_scrollbar.renderer = AsciiScrollMark if self.glyphs.rule == "|" else ScrollMark  # type: ignore[misc]

    def compose(self) -> ComposeResult:
        yield Heading()
        yield from self.field_rows()
        yield self.more_note()
        yield from self.extras()

    def field_rows(self) -> Iterable[Widget]:
        """A row for every setting of the groups, at every level; what is shown is decided by `update`."""
        for group in self.step.groups:
            if group in _SECTIONS:
                yield section(_SECTIONS[group])
            for spec in all_fields():
                if spec.group == group:
                    row = FieldRow(spec, self.session)
                    row.display = self.session.shows(spec)
                    yield row

    def extras(self) -> Iterable[Widget]:
        """What follows the settings."""
        return ()

    def more_note(self) -> Note:
        """How many settings a higher level would show, so that nobody takes hidden for missing."""
        return Note(self._more, classes="more")

    def _more(self, width: int) -> Content:
        hidden = [spec for spec in all_fields() if spec.group in self.step.groups and not self.session.shows(spec)]
        if not hidden:
            return Content("")
        count = text.plural(len(hidden), "setting")
        return Content.styled(f"and {count} more: f5 shows {self.session.next_level_name()} ones", "$faint")

    def choose(self, path: str, value: Path) -> None:
        """Fill in a path that was found, and go on as if it had been typed."""
        self.session.set(path, str(value))
        row = self.row_of(path)
        if row is not None:
            row.post_message(FormRow.Moved(row, 1, committed=True))

    def update(self) -> None:
        """Follow the session."""
        for row in self.query(FieldRow):
            if not row.has_focus:
                row.display = self.session.shows(row.spec)
            row.update()
        for action in self.query(ActionRow):
            action.update()
        for note in self.query(Note):
            note.update()

    def show_found(self, models: Sequence[FoundModel], datasets: Sequence[Path]) -> None:
        """Checkpoints on this machine, and folders of songs used before."""

    def show_checks(self, checks: Sequence[Check]) -> None:
        """What the preflight has answered."""

    def show_start(self, words: str) -> None:
        """What the start of the run is doing; empty when nothing has been started."""

    def row_of(self, path: str) -> FieldRow | None:
        """The row of a setting, whether it is shown or not."""
        return next((row for row in self.query(FieldRow) if row.spec.path == path), None)

    def rows(self) -> list[FormRow]:
        """The rows that can have the focus, in order."""
        return [row for row in self.query(FormRow) if row.display and row.focusable]


class RowList(Vertical):
    """Rows under a title, put in when they are known; hidden while empty."""

    DEFAULT_CSS = "RowList { height: auto; width: 1fr; }"

    def __init__(self, title: str, rows: Sequence[Widget] = (), *, id: str) -> None:
        super().__init__(id=id)
        self._title = title
        self._first = rows

    def compose(self) -> ComposeResult:
        """What is known from the beginning is painted with the page."""
        if self._first:
            yield section(self._title)
            yield from self._first

    def fill(self, rows: list[Widget]) -> None:
        """Show these rows and no others; the focus stays at its place in the list."""
        old = list(self.query(FormRow))
        index = next((number for number, row in enumerate(old) if row.has_focus), None)
        self.remove_children()
        if rows:
            self.mount(section(self._title), *rows)
        focusable = [row for row in rows if isinstance(row, FormRow)]
        if index is not None and focusable:
            focusable[min(index, len(focusable) - 1)].focus()
