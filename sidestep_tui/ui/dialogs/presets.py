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
from textual.widget import Widget
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from sidestep_tui.schema.presets import Preset
from sidestep_tui.ui.base import Dialog
from sidestep_tui.ui.dialogs.pick import Pick, words_in

if TYPE_CHECKING:
    from sidestep_tui.schema.importers import ImportReport

_VERDICT_STYLE = {"taken": "$success", "translated": "$accent", "refused": "$error"}


class PickPreset(Pick[Preset | str | None]):
    """A preset, the word `import`, or None."""

    DEFAULT_CSS = """
    PickPreset > .dialog {
        & OptionList { height: auto; max-height: 12; }
        & #description { height: 3; margin-top: 1; color: $muted; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+f", "import", "Import a file", id="preset.import", priority=True),
    ]

    TITLE_TEXT: ClassVar[str] = "Load a preset"
    HINT: ClassVar[str] = "enter loads, ctrl+f imports a file, esc cancels"
    PLACEHOLDER: ClassVar[str] = "name or purpose"

    def __init__(self, presets: Sequence[Preset], current: str) -> None:
        super().__init__()
        self._presets = {f"{preset.source}:{preset.name}": preset for preset in presets}
        self._current = current
        names = [preset.name for preset in presets]
        self.at_first = names.index(current) if current in names else 0

    def extras(self) -> Sequence[Widget]:
        """What the highlighted preset is for."""
        return [Static("", id="description", markup=False)]

    def options(self, query: str) -> Sequence[Option]:
        """The presets that match by name, then those whose description does."""
        found = {key: preset for key, preset in self._presets.items() if words_in(query, preset.name)}
        found |= {
            key: preset for key, preset in self._presets.items() if words_in(query, preset.name, preset.description)
        }
        return [Option(self._line(preset), id=key) for key, preset in found.items()]

    def chosen(self, option_id: str) -> None:
        """Load it."""
        self.dismiss(self._presets[option_id])

    @on(OptionList.OptionHighlighted)
    def _highlighted(self, event: OptionList.OptionHighlighted) -> None:
        preset = self._presets[str(event.option.id)]
        changes = f"{len(preset.values)} settings. What you chose yourself for model, songs and output stays."
        self.query_one("#description", Static).update(f"{preset.description}\n{changes}")

    def action_import(self) -> None:
        """Leave to choose a file."""
        self.dismiss("import")

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
        box.border_title = Content(f"Import {self._path.name} ({self._report.source_format})")
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
