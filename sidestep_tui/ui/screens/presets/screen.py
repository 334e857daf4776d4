"""The browser of presets: what there is, and what each would make of the draft. Nothing changes until enter."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.widgets import Input

from sidestep_tui.core import text
from sidestep_tui.ui.forms.session import FormSession
from sidestep_tui.ui.messages import PresetPicked
from sidestep_tui.ui.screens.presets.effect import Bench, Cost, Effect, bench_on, edits_of, effect_of, short_origin
from sidestep_tui.ui.screens.presets.jobs import EffectsKnown, MachineSeen, PresetsListed
from sidestep_tui.ui.screens.presets.keys import HELP, KEYS, NEEDS_PRESET
from sidestep_tui.ui.screens.presets.listing import Item, Listing
from sidestep_tui.ui.screens.presets.preview import preview_rows, window_of
from sidestep_tui.ui.screens.presets.rows import list_rows
from sidestep_tui.ui.screens.presets.trade import PresetsTrade
from sidestep_tui.ui.widgets.keybar import KeyBar
from sidestep_tui.ui.widgets.rows import Row, Rows, fit, row, spread

if TYPE_CHECKING:
    from sidestep_tui.ui.app import SidestepApp

_SPLIT = 76
"""Columns from which list and preview stand side by side."""


class PresetsScreen(PresetsTrade):
    """The list of presets with the one under the bar beside it."""

    CSS_PATH = "../../styles/presets.tcss"
    HELP = HELP

    BINDINGS: ClassVar[list[BindingType]] = list(KEYS)

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

    def compose(self) -> ComposeResult:
        yield Rows(id="heading")
        with Container(id="body"):
            listing = Rows(id="presets")
            listing.can_focus = True
            yield listing
            preview = Rows(id="preview")
            preview.can_focus = True
            yield preview
        field = Input(placeholder="name, purpose, or a word like dora or adamw8bit", id="presets-filter", compact=True)
        field.cursor_blink = False
        yield field
        yield KeyBar(palette=True)

    def on_mount(self) -> None:
        self.query_one("#presets").focus()
        self.look(self.opened)

    @on(events.ScreenResume)
    def _resumed(self) -> None:
        """The draft may be another one by now, and so may the machine."""
        self._notice = ()
        if self.session.gpus is None:
            model = self.session.settings.model
            self.look_at_machine(model.path, model.variant)
        if self.looked:
            self.look(self.opened)

    def on_resize(self) -> None:
        """Show as many rows as fit."""
        self.call_after_refresh(self.repaint)

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

    @on(PresetsListed)
    def _listed(self, message: PresetsListed) -> None:
        if message.items != self.listing.items:
            self.listing.put(message.items)
            self._bench = None
        if not self.looked:
            self.looked = True
            self.listing.go_to_name(short_origin(self.session.draft.base_name))
        if at := message.at or self._wanted:
            self.listing.go_to(at)
            self._wanted = ""
        self.repaint()

    @on(PresetPicked)
    def _picked(self, message: PresetPicked) -> None:
        """The bar goes there, now or once the files have been read."""
        self._wanted, self._top, self.listing.query = message.key, 0, ""
        self._close_filter()
        if self.looked:
            self.listing.go_to(message.key)
            self._wanted = ""
            self.repaint()

    @on(MachineSeen)
    def _machine_seen(self, message: MachineSeen) -> None:
        session = self.session
        if session.gpus is None:
            session.model = session.model or message.model
            session.machine_known(message.gpus)
        self.repaint()

    @on(EffectsKnown)
    def _effects_known(self, message: EffectsKnown) -> None:
        # The old numbers stay in the list until the new ones are there, so that it does not flicker.
        self._costs = {key: effect.cost for key, effect in message.effects.items()}
        if message.bench == self._bench:
            self._effects.update(message.effects)
        self.repaint()

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
            if item.preset is not None and item.preset.layer_name == base
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
        shown, self._top = window_of(rows, self._top, pane.size.height, key="j" if self.is_reading else "l")
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

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Grey what cannot be done now."""
        if action in NEEDS_PRESET:
            item = self.listing.current
            shows_more = action == "apply" and not self.is_split and not self.is_reading
            usable = item is not None and (item.preset is not None or action == "check" or shows_more)
            return True if usable else None
        return super().check_action(action, parameters)

    # Moving

    def action_move(self, by: int) -> None:
        """Another preset; while reading, another line."""
        if self.is_reading:
            self._top = max(0, self._top + by)
        else:
            self._go(by)
        self.repaint()

    def action_step(self, by: int) -> None:
        """Another preset, also while reading."""
        self._go(by)
        self.repaint()

    def _go(self, by: int) -> None:
        self.listing.move(by)
        self._top = 0
        self._notice = ()

    def action_page(self, pages: int) -> None:
        """As many as are shown."""
        pane = self.query_one("#preview" if self.is_reading else "#presets")
        self.action_move(pages * max(pane.size.height - 2, 1))

    def action_read(self, reading: bool) -> None:
        """To the preview, or back to the list."""
        self.is_reading = reading and self.listing.current is not None
        self.set_class(self.is_reading, "-reading")
        self.set_class(not self.is_split, "-one")
        self.query_one("#preview" if self.is_reading else "#presets").focus()
        if not reading:
            self._top = 0
        self.call_after_refresh(self.repaint)

    def action_switch(self) -> None:
        """To the other side."""
        self.action_read(not self.is_reading)

    def action_apply(self) -> None:
        """Start the draft from the preset; where only the list is shown, look at it first."""
        item = self.listing.current
        if item is None:
            return
        if not self.is_split and not self.is_reading:
            self.action_read(True)
        else:
            self.apply(item)

    def action_compare(self) -> None:
        """Compare the others with this preset; with the draft again, where it is compared with already."""
        item = self.listing.current
        if item is None or item.preset is None:
            return
        self.listing.against = "" if item.key == self.listing.against else item.key
        self._notice = ()
        self.repaint()

    # Filter

    def action_filter(self) -> None:
        """Type what the presets must hold."""
        self.action_read(False)
        self.add_class("-filtering")
        field = self.query_one("#presets-filter", Input)
        field.value = self.listing.query
        field.focus()

    @on(Input.Changed, "#presets-filter")
    def _filter_typed(self, event: Input.Changed) -> None:
        if self.has_class("-filtering"):
            self.listing.query = event.value.strip()
            self._top = 0
            self.repaint()

    @on(Input.Submitted, "#presets-filter")
    def _filter_chosen(self) -> None:
        self._close_filter()

    def _close_filter(self) -> None:
        self.remove_class("-filtering")
        self.query_one("#presets").focus()
        self.call_after_refresh(self.repaint)

    # Leaving

    def action_back(self) -> None:
        """One step out: the filter, the preview, the comparison, the place."""
        if self.has_class("-filtering") or self.listing.query:
            self.listing.query = ""
            self._close_filter()
        elif self.is_reading:
            self.action_read(False)
        elif self.listing.against:
            self.listing.against = ""
            self.repaint()
        else:
            self.action_leave()

    def action_leave(self) -> None:
        """Back to where this was opened from."""
        self.app.leave_presets()


__all__ = ["PresetsScreen"]
