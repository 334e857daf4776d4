"""What the browser of presets shows: the list, and what the preset under the bar would make of the draft."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sidestep_tui.core import text
from sidestep_tui.ui.forms.session import FormSession
from sidestep_tui.ui.screens.presets.effect import Bench, Cost, Effect, bench_on, edits_of, effect_of
from sidestep_tui.ui.screens.presets.listing import Item, Listing
from sidestep_tui.ui.screens.presets.preview import preview_rows, window_of
from sidestep_tui.ui.screens.presets.rows import list_rows
from sidestep_tui.ui.screens.presets.trade import PresetsTrade
from sidestep_tui.ui.widgets.rows import Row, Rows, fit, row, spread

if TYPE_CHECKING:
    from sidestep_tui.ui.app import SidestepApp

_SPLIT = 76
"""Columns from which list and preview stand side by side."""


class PresetsView(PresetsTrade):
    """The part of the browser that paints."""

    app: SidestepApp

    def __init__(self) -> None:
        super().__init__()
        self.listing = Listing()
        self.opened: list[Path] = []
        self.is_reading = False
        self.looked = False
        self._notice: Row = ()
        self._wanted = ""
        self._top = 0
        self._costs: dict[str, Cost] = {}
        self._effects: dict[str, Effect] = {}
        self._bench: Bench | None = None
        self._own_session: FormSession | None = None
        self._keys: tuple[object, ...] = ()

    # What presets are tried on

    @property
    def session(self) -> FormSession:
        """The wizard's; before there is a wizard, one of our own on the draft that it would open."""
        from sidestep_tui.ui.screens.wizard.screen import latest_draft

        of_wizard = self.app.form_session()
        if of_wizard is not None:
            return of_wizard
        if self._own_session is None:
            self._own_session = FormSession(latest_draft(), lambda: None)
        return self._own_session

    def bench(self) -> Bench:
        """The draft as it stands, and the machine."""
        session = self.session
        return Bench(session.draft.to_json(), session.shape(), session.device)

    def effect(self, item: Item) -> Effect | None:
        """What the item's preset would do; None where it has none."""
        if item.preset is None:
            return None
        if item.key not in self._effects:
            self._effects[item.key] = effect_of(self._bench or self.bench(), item.preset.layers())
        return self._effects[item.key]

    def _keep_up(self) -> None:
        """Work everything out anew where the draft, the machine or the files are others by now."""
        bench, compared = self.bench(), self.listing.compared
        if compared is not None and compared.preset is not None:
            bench = bench_on(bench, compared.preset.layers())
        if bench != self._bench:
            self._bench = bench
            self._effects.clear()
            self.reckon(bench, self.listing.items)

    # Paint

    @property
    def is_split(self) -> bool:
        """Whether list and preview are both shown."""
        return self.size.width >= _SPLIT

    def say(self, words: str, style: str = "accent") -> None:
        """Put a sentence above the list."""
        self._notice = row((words, style)) if words else ()
        self.repaint()

    def repaint(self) -> None:
        """Hand over the rows that are visible."""
        if not self.is_mounted or not self.size.width:
            return
        if self.looked:
            self._keep_up()
        if self.has_class("-one") == self.is_split or self.has_class("-reading") != self.is_reading:
            self.set_class(not self.is_split, "-one")
            self.set_class(self.is_reading, "-reading")
            self.call_after_refresh(self.repaint)  # once list and preview have their new places
        self.query_one("#heading", Rows).put(self._heading(self.size.width))
        self._show_list()
        self._show_preview()
        self._refresh_keys()

    def _show_list(self) -> None:
        table = self.query_one("#presets", Rows)
        if not self.looked or not table.size.width:
            return
        lines = self.listing.window(table.size.height)
        current = self.listing.current
        if current is None:
            table.put([row(""), row("  Nothing matches the filter."), row("  ", ("esc", "accent"), " clears it.")])
            return
        table.put(list_rows(lines, current, self._marks(), self._costs, table.size.width, self.glyphs))

    def _marks(self) -> dict[str, str]:
        """Signs for the preset that the draft starts from, and for the one that others are compared with."""
        base = self.session.draft.base_name
        marks = {
            item.key: self.glyphs.changed
            for item in self.listing.items
            if item.preset is not None and item.preset.layer_name == base and not item.preset.hidden
        }
        compared = self.listing.compared
        return marks | ({compared.key: "="} if compared is not None else {})

    def _show_preview(self) -> None:
        pane, item = self.query_one("#preview", Rows), self.listing.current
        if item is None or not pane.size.width:
            pane.put([])
            return
        effect = self.effect(item)
        also = self._time_and_disk(effect) if effect is not None else []
        compared = self.listing.compared
        rows = preview_rows(
            item,
            effect,
            also,
            pane.size.width,
            self.glyphs,
            whole=self.is_reading,
            against=compared.name if compared is not None else "",
        )
        shown, self._top = window_of(rows, self._top, pane.size.height, reading=self.is_reading or item.preset is None)
        pane.put(shown)

    def _time_and_disk(self, effect: Effect) -> list[str]:
        """How long a run would take and what it would write, where the songs are known."""
        session = self.session
        found = [session.pace(effect.settings).short]
        if session.manifest is not None:
            found.append(f"{text.file_size(session.disk(effect.settings))} on disk")
        return [words for words in found if words]

    def _heading(self, width: int) -> list[Row]:
        items, shown = self.listing.items, self.listing.shown
        broken = sum(item.problem is not None for item in items)
        words = text.plural(len(items), "preset") + (f", {broken} cannot be used" if broken else "")
        if self.listing.query:
            words = f"/{self.listing.query}  {len(shown)} of {len(items)}"
        words = f"{words} " if self.looked else "looking "
        top = spread(row((" sidestep", "strong"), ("  presets", "muted")), row((words, "muted")), width)
        return [top, fit(((" ", ""), *(self._notice or self._against())), width)]

    def _against(self) -> Row:
        """What the presets are compared with."""
        compared = self.listing.compared
        if compared is not None:
            return row(
                ("against the preset: ", "muted"),
                (compared.name, "accent"),
                ("  esc: against the draft again", "muted"),
            )
        draft, device = self.session.draft, self.session.device
        base = draft.base_name if draft.base_name != "default" else "the defaults"
        parts: list[tuple[str, str]] = [("against the draft: ", "muted"), (base, "accent")]
        edits = len(edits_of(draft))
        if edits:
            parts.append((f" + {text.plural(edits, 'edit')} of yours", "strong"))
        if device is not None:
            parts.append((f" {self.glyphs.separator} {device.name}, {text.gibibytes(device.free)} free", "muted"))
        return row(*parts)

    def _refresh_keys(self) -> None:
        """Tell the footer when a key has come or gone."""
        item = self.listing.current
        keys = (item is not None, item is not None and item.preset is not None, self.is_reading, self.is_split)
        if keys != self._keys:
            self._keys = keys
            self.refresh_bindings()
