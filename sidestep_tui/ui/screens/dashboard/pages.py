"""The dashboard's further pages, songs and time, and its alerts: what they show and the keys that lead there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from heapq import merge
from operator import attrgetter
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import Input

from sidestep_tui.core.errors import SidestepError
from sidestep_tui.protocol.alerts import AlertBook
from sidestep_tui.protocol.facts import LogLine
from sidestep_tui.protocol.liveness import Liveness
from sidestep_tui.ui.dialogs.confirm import Tell
from sidestep_tui.ui.governor import Governor
from sidestep_tui.ui.notices import NoticesApp
from sidestep_tui.ui.places import PlacesApp
from sidestep_tui.ui.screens.dashboard.keys import ViewKeys
from sidestep_tui.ui.screens.dashboard.song import songs_of_run
from sidestep_tui.ui.widgets.alerts import alert_rows
from sidestep_tui.ui.widgets.anatomy import anatomy_rows
from sidestep_tui.ui.widgets.machine import machine_rows
from sidestep_tui.ui.widgets.panels import View
from sidestep_tui.ui.widgets.rows import Row, Rows
from sidestep_tui.ui.widgets.songs import SongsPanel

MORE = ("songs", "time")
"""Panels that stand beside the others only where there is room, and else take the whole screen."""

_LEVELS = {"warn": "warning", "bad": "error"}
_SEVERITIES = {"information": "info", "warning": "warning", "error": "error"}


class PageKeys(ViewKeys):
    """Songs, time and alerts, on top of the keys that only look."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("6", "panel('songs')", "Songs", id="view.panel.6", show=False, tooltip="Go to the songs, worst first"),
        Binding("7", "panel('time')", "Time", id="view.panel.7", show=False, tooltip="Go to where the time goes"),
        Binding("enter", "open_song", "Open song", id="song.open", show=False, tooltip="See and edit the song's words"),
        Binding("d", "clear_alert", "Clear alert", id="view.alert", show=False, tooltip="The alert was read: clear it"),
    ]

    def __init__(self, run_path: Path, *, readonly: bool, clock: Callable[[], float], governor: Governor) -> None:
        super().__init__(run_path, readonly=readonly, clock=clock, governor=governor)
        self.alerts = AlertBook()
        self._own_log: list[LogLine] = []
        self._toasts_before = 0

    def compose_more(self, *, ascii_only: bool) -> ComposeResult:
        """The panels of this part."""
        yield SongsPanel(id="songs", classes="panel", ascii_only=ascii_only)
        time = Rows(id="time", classes="panel")
        time.can_focus = True
        time.border_title = "time"
        yield time

    def on_mount(self) -> None:
        """Toasts from before are none of this run's."""
        self._toasts_before = len(self.app.toasts) if isinstance(self.app, NoticesApp) else 0

    # Alerts and the log

    def look_for_alerts(self, view: View) -> bool:
        """Note what came up; those that the engine did not write into the journal go into the log here."""
        silent_for = view.now - view.heartbeat if view.heartbeat is not None else None
        before = self.alerts.first
        for alert in self.alerts.look(view.state, view.liveness or Liveness.RUNNING, silent_for):
            if not alert.key.startswith("engine:"):
                self.write_log(alert.sentence, _LEVELS[alert.level])
        return self.alerts.first != before

    def write_log(self, words: str, level: str = "info") -> None:
        """A line that only this viewer has, among those of the journal."""
        self._own_log.append(LogLine(self.clock(), level, words))

    def log_lines(self) -> tuple[list[LogLine], int]:
        """The journal's lines, our own and the toasts by time, and how many there ever were."""
        state = self.view().state
        own = sorted([*self._own_log, *self._toasts()], key=attrgetter("t"))
        lines = list(merge(state.log, own, key=attrgetter("t"))) if own else list(state.log)
        return lines, state.log_count + len(own)

    def _toasts(self) -> Iterator[LogLine]:
        """What toasts said since this dashboard is there; those of other places only if they warned."""
        if isinstance(self.app, NoticesApp):
            for toast in self.app.toasts[self._toasts_before :]:
                if toast.severity != "information" or toast.place in ("", "dashboard"):
                    yield LogLine(toast.t, _SEVERITIES[toast.severity], toast.words)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """There is nothing to clear while nothing stands, and no song to open while none is selected."""
        if action == "clear_alert":
            return self.alerts.first is not None
        if action == "open_song":
            return self._on_songs and not self.readonly and self.query_one(SongsPanel).selected is not None
        return super().check_action(action, parameters)

    def action_clear_alert(self) -> None:
        """The alert on top was read; the next one takes its place."""
        if self.alerts.seen() is not None:
            self.refresh_bindings()
            self.repaint_now()

    # Paint

    def paint_pages(self, view: View) -> None:
        """The panels of this part and the machine, whose form depends on its width."""
        machine = self.query_one("#machine", Rows)
        self.fit_height(machine, machine_rows(view, machine.size.width or 33))
        self.query_one(SongsPanel).show(view.state.songs)
        time = self.query_one("#time", Rows)
        if time.size.width:
            time.put(anatomy_rows(view.state, time.size.width, ascii_only=view.ascii_only))
        rows = alert_rows(self.alerts, self.size.width, ascii_only=view.ascii_only)
        self.fit_height(self.query_one("#alerts", Rows), rows)
        self.set_class(bool(rows), "-alert")

    @staticmethod
    def fit_height(widget: Rows, rows: list[Row]) -> None:
        """Put rows into a widget as high as its content; a relayout only when their number changes."""
        if len(rows) != len(widget.rows):
            widget.styles.height = len(rows) + widget.gutter.height
        widget.put(rows)

    # Keys

    def action_zoom(self) -> None:
        """One panel over the whole screen, and back."""
        focused = self.focused
        if focused is not None and focused.id in MORE and not self.has_class("-zoom"):
            self._zoom(focused)
        else:
            super().action_zoom()

    def _zoom(self, panel: Widget) -> None:
        self.set_class(panel.id in MORE, "-zoom-more")
        super()._zoom(panel)

    def _unzoom(self) -> None:
        self.remove_class("-zoom-more")
        super()._unzoom()

    @property
    def _on_songs(self) -> bool:
        return isinstance(self.focused, SongsPanel)

    def action_scroll_panel(self, lines: int) -> None:
        """Move in the songs if they have the focus."""
        if self._on_songs:
            self.query_one(SongsPanel).move(lines)
        else:
            super().action_scroll_panel(lines)

    def action_match(self, direction: int) -> None:
        """The next or former song that was found, if the songs have the focus."""
        if self._on_songs:
            self.query_one(SongsPanel).move(direction)
        else:
            super().action_match(direction)

    def action_filter(self) -> None:
        """Type what to look for: among the songs if they have the focus, else in the log."""
        if not self._on_songs:
            super().action_filter()
            return
        self.add_class("-finding")
        field = self.query_one("#song-filter", Input)
        field.value = self.query_one(SongsPanel).filter
        field.focus()

    @work(group="song", exclusive=True, exit_on_error=False)
    async def action_open_song(self) -> None:
        """Show the words of the selected song, where they can be edited."""
        song, app = self.query_one(SongsPanel).selected, self.app
        if song is None or not isinstance(app, PlacesApp):
            return
        try:
            place = await asyncio.to_thread(songs_of_run, self.run_dir)
        except SidestepError as error:
            app.push_screen(Tell(error.title, error.message, error.hint))
            return
        await app.open_songs(place).wait()
        from sidestep_tui.ui.screens.songs.screen import SongsScreen  # 25 ms, and loaded by now

        if isinstance(app.screen, SongsScreen):
            app.screen.listing.go_to(song.name)
            app.screen.repaint()

    @on(Input.Changed, "#song-filter")
    def _song_typed(self, event: Input.Changed) -> None:
        if self.has_class("-finding"):
            self.query_one(SongsPanel).set_filter(event.value)

    @on(Input.Submitted, "#song-filter")
    def _song_chosen(self) -> None:
        self._stop_finding(keep=True)

    def _stop_finding(self, *, keep: bool) -> None:
        self.remove_class("-finding")
        songs = self.query_one(SongsPanel)
        if not keep:
            songs.set_filter("")
        songs.focus()

    def action_back(self) -> None:
        """One level out: the search among the songs, then as everywhere."""
        if self.has_class("-finding"):
            self._stop_finding(keep=False)
        elif self._on_songs and self.query_one(SongsPanel).filter:
            self.query_one(SongsPanel).set_filter("")
        else:
            super().action_back()
