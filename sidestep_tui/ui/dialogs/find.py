"""All settings in one list, narrowed by typing: name, meaning, value and origin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.content import Content
from textual.widgets.option_list import Option

from sidestep_tui.schema.fields import FieldSpec, all_fields
from sidestep_tui.ui.dialogs.pick import Pick, words_in
from sidestep_tui.ui.forms.cells import origin_style, shown_text
from sidestep_tui.ui.forms.session import FormSession


class FindSetting(Pick[str | None]):
    """The dotted path of the setting to go to, or None."""

    DEFAULT_CSS = """
    FindSetting > .dialog {
        height: 90%;
        & OptionList { height: 1fr; }
    }
    """

    TITLE_TEXT: ClassVar[str] = "All settings"
    HINT: ClassVar[str] = "enter goes there, esc closes"
    PLACEHOLDER: ClassVar[str] = "name or meaning"

    def __init__(self, session: FormSession) -> None:
        super().__init__()
        self._session = session

    def options(self, query: str) -> Sequence[Option]:
        """The settings that match."""
        return [Option(self._line(spec), id=spec.path) for spec in matching(query)]

    def chosen(self, option_id: str) -> None:
        """Go to the setting."""
        self.dismiss(option_id)

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
    named, explained = [], []
    for spec in all_fields():
        if words_in(query, spec.meta.label, spec.path):
            named.append(spec)
        elif words_in(query, spec.meta.label, spec.path, spec.help):
            explained.append(spec)
    return named + explained
