"""The lines of the table of all settings."""

from __future__ import annotations

from textual.content import Content

from sidestep_tui.schema.fields import FieldSpec, group_help
from sidestep_tui.ui.forms import cells
from sidestep_tui.ui.forms.cells import Columns
from sidestep_tui.ui.forms.rows import FieldRow
from sidestep_tui.ui.forms.session import FormSession
from sidestep_tui.ui.screens.settings.listing import Line
from sidestep_tui.ui.theme import Glyphs

_PATH_WIDTH = 30
_ROOMY = 108
"""Columns from which on the path of a setting has one of its own."""


def path_width(width: int) -> int:
    """Cells of the column of paths; 0 where there is no room."""
    return _PATH_WIDTH if width >= _ROOMY else 0


def heading(width: int) -> Content:
    """The names of the columns."""
    room = path_width(width)
    return Content.assemble(
        cells.heading(Columns.of_width(width - room)).truncate(width - room, pad=True),
        ("path" if room else "", "$faint"),
    )


def line(shown: Line, session: FormSession, width: int, glyphs: Glyphs, *, at_bar: bool = False) -> Content:
    """A setting, marked where it is `at_bar`, or the title of a group."""
    if shown.spec is None:
        title = Content.assemble((shown.group, "$primary"), (f"  {group_help(shown.group)}", "$faint"))
        return title.truncate(width, ellipsis=True)
    columns = Columns.of_width(width - path_width(width))
    content = cells.row(shown.spec, session.row(shown.spec.path), columns, glyphs, line=None)
    if at_bar:
        content = Content.assemble((f"{glyphs.focus} ", "$muted"), content[2:])
    return with_path(content, shown.spec, width)


def with_path(content: Content, spec: FieldSpec, width: int) -> Content:
    """A row with the path of its setting, as presets and the command line write it."""
    return Content.assemble(content, (spec.path, "$faint")) if path_width(width) else content


class BarRow(FieldRow):
    """The setting under the bar: the same row as in the wizard, for one setting after the other."""

    def go_to(self, spec: FieldSpec) -> None:
        """Be the row of another setting."""
        if spec is self.spec:
            return
        self._session.end_burst()
        self.spec, self._item = spec, 0
        if self.has_focus:
            self._line = self._enter(self._session.draft.text(spec.path))
        self.refresh()
        # Other kinds of settings have other keys.
        self.screen.refresh_bindings()

    def render(self) -> Content:
        width = self.size.width
        if width < cells.MIN_WIDTH:
            return Content("")
        state = self._shown = self._session.row(self.spec.path)
        columns = Columns.of_width(width - path_width(width))
        return with_path(
            cells.row(self.spec, state, columns, self.glyphs, line=self._line, item=self._item), self.spec, width
        )
