"""The places of the app: its modes, how each is opened and left, and the keys that go there.

A place that lives beside the others gets a line in `_add_places`, a binding in `KEYS` and its action.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from textual import on, work
from textual.app import App
from textual.binding import Binding, BindingType
from textual.screen import Screen

from sidestep_tui.core import env, paths
from sidestep_tui.core.errors import ExitCode
from sidestep_tui.ui.messages import PresetPicked, RunStarted, SettingPicked

if TYPE_CHECKING:
    from sidestep_tui.schema.draft import Draft
    from sidestep_tui.ui.forms.session import FormSession
    from sidestep_tui.ui.screens.songs.screen import SongsScreen
    from sidestep_tui.ui.screens.wizard.screen import WizardScreen
    from sidestep_tui.ui.songs_place import SongsPlace

Start = Literal["auto", "wizard", "runs", "presets"]

KEYS: list[BindingType] = [
    Binding("f2", "runs", "Runs", id="app.runs", show=False, tooltip="Runs and drafts"),
    Binding("f3", "wizard", "Wizard", id="app.wizard", show=False, tooltip="Go on with the draft, or a new one"),
    Binding("f4", "dashboard", "Dashboard", id="app.dashboard", show=False, tooltip="The current run"),
    Binding("f10", "songs", "Songs", id="app.songs", show=False, tooltip="Look at the songs and edit their words"),
]
"""The keys that go from any place to another."""


class PlacesApp(App[Any]):
    """An App that knows its places. Screens are imported when they are first shown."""

    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = {}

    facts: env.TerminalFacts
    """What the terminal can do."""

    def __init__(self, *, start: Start, run: Path | None, songs: SongsPlace | None, readonly: bool) -> None:
        # The first place is the app's first screen: switching to it from a blank one costs 50 ms and a second styling.
        place, self.current_run = ("songs", None) if songs is not None else _first_place(start, run)
        self.DEFAULT_MODE = place  # type: ignore[misc]
        super().__init__()
        self._readonly = readonly
        self._pending_draft: Draft | None = None
        self._songs: SongsScreen | None = None
        self._songs_from = ""
        self._presets_from = "wizard"
        self._add_places(songs)

    def _add_places(self, songs: SongsPlace | None) -> None:
        self.add_mode("runs", self._runs_screen)
        self.add_mode("wizard", self._wizard_screen)
        self.add_mode("presets", self._presets_screen)
        if songs is not None:
            self.add_mode("songs", lambda: self._songs_screen(songs))
        if (shown := self.current_run) is not None:
            self.add_mode("dashboard", lambda: self._dashboard_screen(shown))

    def _runs_screen(self) -> Screen[Any]:
        from sidestep_tui.ui.screens.runs.screen import RunsScreen

        return RunsScreen(facts=self.facts, readonly=self._readonly)

    def _wizard_screen(self) -> Screen[Any]:
        from sidestep_tui.ui.screens.wizard.screen import WizardScreen

        draft, self._pending_draft = self._pending_draft, None
        return WizardScreen(draft)

    def open_run(self, run_path: Path) -> None:
        """Show the dashboard of a run; it replaces the one of another run."""
        if self.current_run != run_path:
            self._forget_dashboard()
            self.add_mode("dashboard", lambda: self._dashboard_screen(run_path))
            self.current_run = run_path
        self.switch_mode("dashboard")

    def forget_run(self, run_path: Path) -> None:
        """A run is gone: it is no longer the current one."""
        if self.current_run == run_path:
            self._forget_dashboard()

    def _dashboard_screen(self, run_path: Path) -> Screen[Any]:
        from sidestep_tui.ui.screens.dashboard.screen import DashboardScreen

        return DashboardScreen(run_path, readonly=self._readonly, facts=self.facts)

    def _forget_dashboard(self) -> None:
        if self.current_run is None:
            return
        if self.current_mode == "dashboard":
            self.switch_mode("runs")
        self.remove_mode("dashboard")
        self.current_run = None

    @work(group="songs", exclusive=True)
    async def open_songs(self, place: SongsPlace) -> None:
        """Show the songs of a folder; edits of another folder that are not written are asked about first."""
        if self._songs is not None:
            self.switch_mode("songs")
            if self._songs.place == place or not await self._songs.may_leave():
                return
            self._forget_songs()
        self._songs_from = self.current_mode
        self.add_mode("songs", lambda: self._songs_screen(place))
        self.switch_mode("songs")

    def leave_songs(self) -> None:
        """Go back to where the songs were opened from; out, if that was the command line."""
        if self._songs_from:
            self._forget_songs()
        else:
            self.exit(return_code=int(ExitCode.DONE))

    def _forget_songs(self) -> None:
        if self.current_mode == "songs":
            self.switch_mode(self._songs_from or "runs")
        self.remove_mode("songs")
        self._songs = None

    def _songs_screen(self, place: SongsPlace) -> Screen[Any]:
        from sidestep_tui.ui.screens.songs.screen import SongsScreen

        self._songs = SongsScreen(place)
        return self._songs

    def _presets_screen(self) -> Screen[Any]:
        from sidestep_tui.ui.screens.presets.screen import PresetsScreen

        return PresetsScreen()

    def open_presets(self, key: str = "") -> None:
        """Browse the presets, with the bar on the file `key` where that is said."""
        self.action_presets()
        if key:
            self.call_after_refresh(lambda: self.screen.post_message(PresetPicked(key)))

    def leave_presets(self) -> None:
        """Go back to where the presets were opened from."""
        self.switch_mode(self._presets_from if self._presets_from in self._modes else "wizard")

    def form_session(self) -> FormSession | None:
        """What the wizard's forms read and change; None while there is no wizard."""
        wizard = self._mounted_wizard()
        return None if wizard is None else wizard.session

    def show_draft(self, session: FormSession) -> None:
        """Show the wizard on the draft of a session: its own, or one that was made before there was a wizard."""
        if self.form_session() is session:
            self.switch_mode("wizard")
        else:
            self.new_run(session.draft)

    def new_run(self, draft: Draft | None = None) -> None:
        """Show the wizard: on `draft`, or where it was left."""
        if draft is None:
            self.switch_mode("wizard")
            return
        wizard = self._mounted_wizard()
        if wizard is None:
            self._pending_draft = draft
        else:
            wizard.open_draft(draft)
        self.switch_mode("wizard")

    def show_setting(self, path: str) -> None:
        """Show one setting in the wizard, wherever we are."""
        self.switch_mode("wizard")
        self.call_after_refresh(lambda: self.screen.post_message(SettingPicked(path)))

    def _mounted_wizard(self) -> WizardScreen | None:
        from sidestep_tui.ui.screens.wizard.screen import WizardScreen

        stack = self._screen_stacks.get("wizard", [])
        return next((screen for screen in stack if isinstance(screen, WizardScreen)), None)

    @on(RunStarted)
    def _run_started(self, message: RunStarted) -> None:
        self.open_run(message.path)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Hide the way to a place that is not there."""
        if action == "dashboard" and self.current_run is None:
            return False
        if action == "songs" and self._songs is None:
            wizard = self._mounted_wizard()
            return wizard is not None and wizard.songs_place() is not None
        return super().check_action(action, parameters)

    def action_runs(self) -> None:
        """Go to the list of runs."""
        self.switch_mode("runs")

    def action_wizard(self) -> None:
        """Go to the wizard."""
        self.switch_mode("wizard")

    def action_dashboard(self) -> None:
        """Go to the run last looked at."""
        if self.current_run is not None:
            self.switch_mode("dashboard")

    def action_presets(self) -> None:
        """Browse the presets; leaving them comes back to here."""
        if self.current_mode != "presets":
            self._presets_from = self.current_mode
            self.switch_mode("presets")

    def action_songs(self) -> None:
        """Go to the songs: those being edited, or those of the wizard's draft."""
        if self._songs is not None:
            self.switch_mode("songs")
        elif (wizard := self._mounted_wizard()) is not None:
            wizard.open_songs()


def _first_place(start: Start, run: Path | None) -> tuple[str, Path | None]:
    """Where to begin: the run asked for or still alive, the runs there are, or the wizard where there are none."""
    if run is not None:
        return "dashboard", run
    if start != "auto":
        return start, None
    if not (paths.state_dir() / "runs.json").is_file():
        return "wizard", None  # without the 40 ms that importing the registry costs to find it empty
    from sidestep_tui.protocol import registry

    if live := registry.living():
        return "dashboard", live[0]
    return ("runs" if registry.run_paths() else "wizard"), None
