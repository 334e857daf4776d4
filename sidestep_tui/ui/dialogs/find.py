"""All settings in one list, narrowed by typing: name, meaning, value and origin."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from sidestep_tui.schema.fields import FieldSpec, all_fields
from sidestep_tui.ui.base import Dialog
from sidestep_tui.ui.forms.cells import origin_style, shown_text
from sidestep_tui.ui.forms.session import FormSession


class FindSetting(Dialog[str | None]):
    """The dotted path of the setting to go to, or None."""

    DEFAULT_CSS = """
    FindSetting > .dialog {
        width: 90; height: 90%; padding: 0 1;
        & OptionList { height: 1fr; }
        & Input { margin-bottom: 1; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "highlight(1)", "Next", id="find.next", show=False, priority=True),
        Binding("up", "highlight(-1)", "Previous", id="find.previous", show=False, priority=True),
    ]

    def __init__(self, session: FormSession) -> None:
        super().__init__()
        self._session = session

    def compose(self) -> ComposeResult:
        box = Vertical(classes="dialog")
        box.border_title = "All settings"
        box.border_subtitle = "enter goes there, esc closes"
        with box:
            field = Input(placeholder="name or meaning", compact=True)
            field.cursor_blink = False
            yield field
            yield OptionList()

    def on_mount(self) -> None:
        self._fill("")
        self.query_one(Input).focus()

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        self._fill(event.value)

    @on(Input.Submitted)
    def _submitted(self) -> None:
        options = self.query_one(OptionList)
        if options.highlighted is not None:
            self.dismiss(options.get_option_at_index(options.highlighted).id)

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option.id)

    def action_highlight(self, step: int) -> None:
        """Move in the list while typing."""
        options = self.query_one(OptionList)
        if step > 0:
            options.action_cursor_down()
        else:
            options.action_cursor_up()

    def _fill(self, query: str) -> None:
        options = self.query_one(OptionList)
        options.clear_options()
        options.add_options([Option(self._line(spec), id=spec.path) for spec in matching(query)])
        options.highlighted = 0 if options.option_count else None

    def _line(self, spec: FieldSpec) -> Content:
        draft = self._session.draft
        value = shown_text(spec, draft.text(spec.path)) or "none"
        origin = draft.origin(spec.path)
        return Content.assemble(
            f"{spec.meta.label:<23}",
            (f"{value[:17]:<18}", "bold" if origin != "default" else ""),
            (f"{origin.partition(' ')[0][:8]:<9}", origin_style(origin)),
            (spec.path, "$faint"),
        )


def matching(query: str) -> list[FieldSpec]:
    """Settings whose name or path has every word of the query; then those whose help has."""
    words = query.lower().split()
    named, explained = [], []
    for spec in all_fields():
        name = f"{spec.meta.label} {spec.path}".lower()
        if all(word in name for word in words):
            named.append(spec)
        elif all(word in f"{name} {spec.help.lower()}" for word in words):
            explained.append(spec)
    return named + explained
