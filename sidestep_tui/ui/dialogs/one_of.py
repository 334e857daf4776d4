"""One of several values, narrowed by typing; where it says so, also what was typed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from textual.content import Content
from textual.widgets.option_list import Option

from sidestep_tui.ui.dialogs.pick import Pick, words_in


class Choice(NamedTuple):
    """A line of the list: what it stands for, what it is called, and a quiet remark."""

    value: str
    label: str
    note: str = ""


class OneOf(Pick[str | None]):
    """The value of the chosen line, or None."""

    def __init__(
        self,
        title: str,
        choices: Sequence[Choice],
        *,
        current: str | None = None,
        typed: Callable[[str], str] | None = None,
        placeholder: str = "type to narrow",
    ) -> None:
        """`typed` turns what was typed into a value of its own, or into an empty string."""
        super().__init__()
        self.TITLE_TEXT = title  # type: ignore[misc]
        self.HINT = "enter chooses, esc cancels"  # type: ignore[misc]
        self.PLACEHOLDER = placeholder  # type: ignore[misc]
        self._choices = list(choices)
        self._typed_value = typed
        self._width = max((len(choice.label) for choice in choices), default=0) + 2
        self.at_first = next((at for at, choice in enumerate(choices) if choice.value == current), 0)

    def options(self, query: str) -> Sequence[Option]:
        """The lines that match, those that begin with what is typed first; then a value made of it."""
        wanted = query.strip().casefold()
        found = [choice for choice in self._choices if words_in(query, choice.label, choice.note)]
        if wanted:
            found.sort(key=lambda choice: not choice.label.casefold().startswith(wanted))
        own = self._typed_value(query.strip()) if self._typed_value and wanted else ""
        if own:
            listed = [choice for choice in found if choice.value == own]
            found = [*(listed or [Choice(own, own, "as typed")]), *(item for item in found if item.value != own)]
        return [Option(self._line(choice), id=f"={choice.value}") for choice in found]

    def _line(self, choice: Choice) -> Content:
        return Content.assemble(f"{choice.label:<{self._width}}", (choice.note, "$muted"))

    def chosen(self, option_id: str) -> None:
        """Answer."""
        self.dismiss(option_id[1:])
