"""Choosing a preset, and the report of an import before anything is applied."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from sidestep_tui.schema.presets import Preset
from sidestep_tui.ui.base import Dialog

if TYPE_CHECKING:
    from sidestep_tui.schema.importers import ImportReport

_VERDICT_STYLE = {"taken": "$success", "translated": "$accent", "refused": "$error"}


class PickPreset(Dialog[Preset | str | None]):
    """A preset, the word `import`, or None."""

    DEFAULT_CSS = """
    PickPreset > .dialog {
        width: 90; padding: 0 1;
        & OptionList { height: auto; max-height: 16; }
        & #description { height: 3; margin-top: 1; color: $muted; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("i", "import", "Import a file", id="preset.import"),
        Binding("j", "highlight(1)", "Next", id="pick.next", show=False),
        Binding("k", "highlight(-1)", "Previous", id="pick.previous", show=False),
        Binding("q", "dismiss_dialog", "Cancel", id="pick.cancel", show=False),
    ]

    def __init__(self, presets: Sequence[Preset], current: str) -> None:
        super().__init__()
        self._presets = {f"{preset.source}:{preset.name}": preset for preset in presets}
        self._current = current

    def compose(self) -> ComposeResult:
        box = Vertical(classes="dialog")
        box.border_title = "Load a preset"
        box.border_subtitle = "enter loads, i imports a file, esc cancels"
        with box:
            yield OptionList(*(Option(self._line(preset), id=key) for key, preset in self._presets.items()))
            yield Static("", id="description", markup=False)

    def on_mount(self) -> None:
        options = self.query_one(OptionList)
        names = [preset.name for preset in self._presets.values()]
        options.highlighted = names.index(self._current) if self._current in names else 0
        options.focus()

    @on(OptionList.OptionHighlighted)
    def _highlighted(self, event: OptionList.OptionHighlighted) -> None:
        preset = self._presets[str(event.option.id)]
        changes = f"{len(preset.values)} settings. What you chose yourself for model, songs and output stays."
        self.query_one("#description", Static).update(f"{preset.description}\n{changes}")

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._presets[str(event.option.id)])

    def action_import(self) -> None:
        """Leave to choose a file."""
        self.dismiss("import")

    def action_highlight(self, step: int) -> None:
        """Move by letters."""
        options = self.query_one(OptionList)
        if step > 0:
            options.action_cursor_down()
        else:
            options.action_cursor_up()

    def _line(self, preset: Preset) -> Content:
        mark = "•" if preset.name == self._current else " "
        return Content.assemble(
            (f"{mark} ", "$primary"),
            (f"{preset.name:<20}", "bold"),
            (f"{preset.source:<9}", "$faint"),
            (preset.description, "$muted"),
        )


class ShowImport(Dialog[bool]):
    """The report of an import, key by key; True to apply it."""

    DEFAULT_CSS = """
    ShowImport > .dialog {
        width: 96; height: 90%; padding: 0 1;
        & VerticalScroll { height: 1fr; scrollbar-size-vertical: 1; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y,enter", "answer(True)", "Apply", id="import.apply"),
        Binding("n,q", "answer(False)", "Cancel", id="import.cancel"),
        Binding("j,down", "scroll_rows(1)", "Down", id="import.down", show=False),
        Binding("k,up", "scroll_rows(-1)", "Up", id="import.up", show=False),
    ]

    def __init__(self, path: Path, report: ImportReport) -> None:
        super().__init__()
        self._path = path
        self._report = report

    def compose(self) -> ComposeResult:
        box = Vertical(classes="dialog")
        box.border_title = f"Import {self._path.name} ({self._report.source_format})"
        box.border_subtitle = "enter applies, esc cancels"
        with box, VerticalScroll():
            yield Static(Content("\n").join(self._lines()))

    def _lines(self) -> list[Content]:
        width = max((len(row.key) for row in self._report.rows), default=0)
        return [
            Content.assemble(
                f"{row.key:<{width}}  ",
                (f"{row.verdict:<11}", _VERDICT_STYLE[row.verdict]),
                (row.detail, "$muted"),
            )
            for row in self._report.rows
        ]

    def action_answer(self, answer: bool) -> None:
        """Apply it, or not."""
        self.dismiss(answer)

    def action_dismiss_dialog(self) -> None:
        """Escape applies nothing."""
        self.dismiss(False)

    def action_scroll_rows(self, lines: int) -> None:
        """Scroll by lines."""
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)
