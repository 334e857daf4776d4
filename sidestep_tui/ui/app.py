"""The app wires places, keys and signals together; it holds no feature."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.binding import Binding, BindingType

from sidestep_tui.core import crashes, env, paths, text
from sidestep_tui.core.errors import ExitCode, SidestepError
from sidestep_tui.ui import keymap, places, theme
from sidestep_tui.ui.display import ChangedCellsApp
from sidestep_tui.ui.notices import NoticesApp
from sidestep_tui.ui.places import PlacesApp, Start
from sidestep_tui.ui.typeahead import TypeAheadApp

if TYPE_CHECKING:
    from textual.command import Provider
    from textual.widget import Widget

    from sidestep_tui.ui.songs_place import SongsPlace


def _palette_provider() -> type[Provider]:
    from sidestep_tui.ui.palette import EverythingProvider

    return EverythingProvider


class SidestepApp(NoticesApp, TypeAheadApp, ChangedCellsApp, PlacesApp):
    """The terminal interface. Training lives in processes of its own: leaving the app never ends it."""

    TITLE = "sidestep"
    CSS_PATH = ["styles/app.tcss", "styles/wizard.tcss"]
    ENABLE_COMMAND_PALETTE = True
    COMMAND_PALETTE_BINDING = "ctrl+p"
    # Imported when the palette first opens: 25 ms that the first frame need not wait for.
    COMMANDS = {_palette_provider}

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f1,question_mark", "help", "Help", id="app.help", tooltip="Help for the focus, and all keys"),
        Binding("ctrl+p,colon", "command_palette", "Palette", id="app.palette", show=False, tooltip="Find any action"),
        Binding("ctrl+o", "jump", "Jump", id="app.jump", show=False, tooltip="Type a letter to go there"),
        *places.KEYS,
        Binding("ctrl+l", "redraw", "Redraw", id="app.redraw", show=False, tooltip="Paint the whole screen again"),
        Binding("ctrl+g", "debug", "Debug line", id="app.debug", show=False, tooltip="What goes to the terminal now"),
        Binding(
            "ctrl+z", "suspend_process", "Suspend", id="app.suspend", show=False, tooltip="To the shell; fg returns"
        ),
        Binding("ctrl+q", "quit", "Quit", id="app.quit", show=False, priority=True, tooltip="Quit; training goes on"),
    ]

    def __init__(
        self,
        *,
        start: Start = "auto",
        run: Path | None = None,
        songs: SongsPlace | None = None,
        readonly: bool = False,
        facts: env.TerminalFacts | None = None,
    ) -> None:
        super().__init__(start=start, run=run, songs=songs, readonly=readonly)
        self._configure(facts or env.terminal_facts())
        self.crash_log: Path | None = None
        self.animation_level = "none"

    def _configure(self, facts: env.TerminalFacts) -> None:
        """Apply the user's `tui.toml` and the options of this session; a bad file is reported, never fatal."""
        config = keymap.TuiConfig()
        self._config_problems: list[str] = []
        try:
            config = keymap.load_config(paths.config_dir() / keymap.CONFIG_NAME)
        except SidestepError as error:
            self._config_problems.append(str(error))
        self.config = config = keymap.for_session(config, os.environ)
        self.facts = replace(facts, ascii_only=True) if config.ascii else facts
        self.glyphs = theme.ASCII if self.facts.ascii_only else theme.UNICODE
        self.rings = config.bell
        self.changed_cells_only = config.display != keymap.STOCK
        for look in theme.THEMES:
            self.register_theme(look)
        if config.theme in self.available_themes:
            self.theme = config.theme
        elif self.theme == "textual-dark":
            self.theme = theme.DARK.name
        if config.theme and config.theme not in self.available_themes:
            hint = text.did_you_mean(config.theme, self.available_themes)
            self._config_problems.append(f"There is no theme '{config.theme}'. {hint}".rstrip())
        if config.keymap:
            self.set_keymap(dict(config.keymap))
            self.when_painted(self._check_keymap)

    def _check_keymap(self) -> None:
        """Say what is wrong with the user's keys. It needs every screen's module, so the first frame goes before."""
        from sidestep_tui.ui import everykey

        for problem in everykey.keymap_problems(self.config.keymap, everykey.every_key()):
            self.notify(problem, title=keymap.CONFIG_NAME, severity="warning", timeout=10, markup=False)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """The two quiet tones, for themes that do not say."""
        return theme.QUIET_ANSI if self.theme.startswith("ansi") else theme.QUIET_DEFAULTS

    def on_mount(self) -> None:
        self._listen_for_signals()
        for problem in self._config_problems:
            self.notify(problem, title=keymap.CONFIG_NAME, severity="warning", timeout=10, markup=False)

    # Keys

    def action_command_palette(self) -> None:
        """Find any action, setting or run by name."""
        from sidestep_tui.ui.palette import Palette

        if not Palette.is_open(self):
            self.push_screen(Palette(id="--command-palette"))

    def action_help(self) -> None:
        """Help for the focus."""
        from sidestep_tui.ui.dialogs.help import Help, help_of

        if not isinstance(self.screen, Help):
            self.push_screen(help_of(self.screen))

    def action_jump(self) -> None:
        """Put a letter on everything that can have the focus."""
        from sidestep_tui.ui.dialogs.jump import Jump, targets_of

        def go(target: Widget | None) -> None:
            if target is not None:
                target.focus()

        targets = targets_of(self.screen)
        if targets:
            self.push_screen(Jump(targets), go)

    def action_redraw(self) -> None:
        """Paint everything again."""
        self.forget_display()
        self.screen.refresh(repaint=True, layout=True)

    def action_debug(self) -> None:
        """Show what the line carries, on every screen, or stop."""
        from sidestep_tui.ui.widgets.debug import toggle

        toggle(self)

    async def action_quit(self) -> None:
        """Quit at once when nothing runs; otherwise ask, with detaching as the default."""
        from sidestep_tui.ui.dialogs.confirm import Choose

        if not isinstance(self.screen, Choose):
            self._quit()

    @work(group="quit", exclusive=True)
    async def _quit(self) -> None:
        from sidestep_tui.ui.dialogs.confirm import Choose

        if self._songs is not None and self._songs.changes:
            self.switch_mode("songs")
            if not await self._songs.may_leave():
                return
        live = _live_runs()
        if not live:
            self.exit(return_code=int(ExitCode.DONE))
            return
        names = ", ".join(path.name for path in live[:3])
        answer = await self.push_screen_wait(
            Choose(
                "Quit",
                f"{names} {'is' if len(live) == 1 else 'are'} training. Detaching leaves that going;"
                " `sidestep-tui attach` comes back to it.",
                [("detach", "d", "Detach"), ("stop", "X", "Stop and save"), ("cancel", "n", "Cancel")],
            )
        )
        if answer == "stop":
            from sidestep_tui.protocol import inbox
            from sidestep_tui.protocol.rundir import RunDir

            for path in live:
                inbox.send(RunDir.open(path), "stop", by="tui")
        if answer in ("detach", "stop"):
            self.exit(return_code=int(ExitCode.DONE))

    # Signals and failures

    def _listen_for_signals(self) -> None:
        """A hangup or a termination leaves in good order; engines are not our children's children to kill."""
        if self.is_headless or sys.platform == "win32":
            return
        loop = asyncio.get_running_loop()
        for number in (signal.SIGHUP, signal.SIGTERM):
            loop.add_signal_handler(number, self._leave_on_signal, number)

    def _leave_on_signal(self, number: signal.Signals) -> None:
        if number == signal.SIGHUP:
            self.drop_output()
        self.exit(return_code=128 + number)

    def tell(self, error: SidestepError) -> None:
        """Show a refusal: what, why, what to do."""
        from sidestep_tui.ui.dialogs.confirm import Tell

        self.push_screen(Tell(error.title, error.message, error.hint))

    def _handle_exception(self, error: Exception) -> None:
        """The app's border: a traceback in a file, a sentence on the screen, and the terminal restored."""
        if self._exception is None:
            self._exception = error
            self._exception_event.set()
        self._return_code = int(ExitCode.BUG)
        self.crash_log = crashes.write_log(error)
        self._close_messages_no_wait()


def _live_runs() -> list[Path]:
    from sidestep_tui.protocol import registry

    return registry.living()


def _let_go_of_terminal() -> None:
    """After a hangup nothing can be written any more; the last flush must not turn into another exit code."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)


def run(
    *,
    start: Start = "auto",
    run: Path | None = None,
    songs: SongsPlace | None = None,
    readonly: bool = False,
    mouse: bool = True,
) -> int:
    """Run the interface until it is left; returns the process's exit code."""
    facts = env.terminal_facts()
    if not facts.usable:
        hint = (
            facts.hint
            if songs is None
            else "`sidestep-tui dataset scan`, `set` and `doctor` do the same in plain text."
        )
        print(facts.problem, hint, file=sys.stderr)
        return int(ExitCode.USAGE)
    app = SidestepApp(start=start, run=run, songs=songs, readonly=readonly, facts=facts)
    app.run(mouse=mouse and app.config.mouse)
    if sys.platform != "win32" and app.return_code == 128 + signal.SIGHUP:
        _let_go_of_terminal()
    if app.crash_log is not None:
        print(
            f"The interface stopped because of a mistake in it; training goes on. The details are in {app.crash_log}.",
            file=sys.stderr,
        )
    return app.return_code or 0
