"""The browser of presets: what there is, and what each would make of the draft. Nothing changes until enter."""

from __future__ import annotations

from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.widgets import Input

from sidestep_tui.ui.messages import PresetPicked
from sidestep_tui.ui.screens.presets.effect import short_origin
from sidestep_tui.ui.screens.presets.jobs import EffectsKnown, MachineSeen, PresetsListed
from sidestep_tui.ui.screens.presets.keys import HELP, KEYS, NEEDS_PRESET
from sidestep_tui.ui.screens.presets.view import PresetsView
from sidestep_tui.ui.widgets.keybar import KeyBar
from sidestep_tui.ui.widgets.rows import Rows

_PATIENCE = 2.0
"""Seconds for which keys wait for the files."""


class PresetsScreen(PresetsView):
    """The list of presets with the one under the bar beside it."""

    CSS_PATH = "../../styles/presets.tcss"
    HELP = HELP

    BINDINGS: ClassVar[list[BindingType]] = list(KEYS)

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
        # What is typed already is meant for the list; but a slow disk must not take the keyboard away.
        self.app.hold_keys()
        self.set_timer(_PATIENCE, self.app.release_keys)
        self.look(self.opened)

    @on(events.ScreenSuspend)
    def _left(self) -> None:
        self.app.release_keys()

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

    @on(PresetsListed)
    def _listed(self, message: PresetsListed) -> None:
        if message.items != self.listing.items:
            self.listing.put(message.items)
            self._bench = None
        if not self.looked:
            self.looked = True
            self.listing.go_to_name(short_origin(self.session.draft.base_name))
            self.app.release_keys()
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

    def on_click(self, event: events.Click) -> None:
        """A click puts the bar on a preset; a second one there starts the draft from it."""
        table = self.query_one("#presets", Rows)
        if event.widget is not table:
            return
        item = self.listing.item_at(event.screen_y - table.region.y)
        if item is not None and item is self.listing.current and event.chain > 1:
            self.action_apply()
        elif item is not None:
            self.listing.go_to(item.key)
            self._top = 0
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
