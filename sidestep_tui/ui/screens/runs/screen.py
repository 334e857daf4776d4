"""Home: the runs and drafts this user knows, with what each is doing now."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input

from sidestep_tui.core import env, paths, text
from sidestep_tui.core.errors import RunError, SidestepError
from sidestep_tui.protocol.registry import RunSummary, known_runs, register
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.ui.base import SidestepScreen
from sidestep_tui.ui.dialogs.confirm import Tell
from sidestep_tui.ui.dialogs.text import AskText
from sidestep_tui.ui.screens.runs.rows import Entry, empty_rows, entry_of_run, entry_row, matching, title_row
from sidestep_tui.ui.widgets.keybar import KeyBar
from sidestep_tui.ui.widgets.rows import Row, Rows, row, spread

if TYPE_CHECKING:
    from sidestep_tui.ui.app import SidestepApp

REFRESH_SECONDS = 5.0
"""How often the list looks again while it is on the screen."""


class RunsListed(Message):
    """The runs and drafts have been looked up."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        super().__init__()
        self.entries = list(entries)


class ResumeEnded(Message):
    """A resume has started its engine, or says why it could not."""

    def __init__(self, path: Path, error: SidestepError | None = None) -> None:
        super().__init__()
        self.path = path
        self.error = error


class RunsScreen(SidestepScreen):
    """The list of runs, and the doors to a new one."""

    CSS_PATH = "../../styles/runs.tcss"
    HELP = """
    # Runs

    Every run this machine has started, living ones first, then drafts that were never started. `enter` opens the
    dashboard, whatever has become of the run: it is read from its folder. `R` goes on from the last checkpoint.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "Open", id="runs.open", tooltip="Watch the run, or go on with the draft"),
        Binding("n", "new", "New run", id="runs.new", tooltip="The wizard"),
        Binding("o", "open_path", "Open folder", id="runs.path", tooltip="Open a run by its path"),
        Binding("R", "resume", "Resume", id="runs.resume", key_display="R", tooltip="Go on from the last checkpoint"),
        Binding("slash", "filter", "Filter", id="runs.filter", key_display="/", tooltip="By name, folder or status"),
        Binding("r", "look", "Refresh", id="runs.refresh", show=False, tooltip="Look again"),
        Binding("j,down", "move(1)", "Down", id="runs.down", show=False, tooltip="The next run"),
        Binding("k,up", "move(-1)", "Up", id="runs.up", show=False, tooltip="The previous run"),
        Binding("ctrl+d,pagedown", "move(10)", "Page down", id="runs.page.down", show=False, tooltip="Ten runs down"),
        Binding("ctrl+u,pageup", "move(-10)", "Page up", id="runs.page.up", show=False, tooltip="Ten runs up"),
        Binding("g,home", "move(-99999)", "First", id="runs.first", show=False, tooltip="The first run"),
        Binding("G,end", "move(99999)", "Last", id="runs.last", show=False, tooltip="The last run"),
        Binding("y", "copy_path", "Copy path", id="runs.copy", show=False, tooltip="Copy the run's path"),
        Binding("escape", "clear_filter", "Clear filter", id="runs.clear", show=False, tooltip="Show every run again"),
        Binding("q", "app.quit", "Quit", id="runs.quit", tooltip="Leave; training goes on"),
    ]

    app: SidestepApp

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.time,
        list_runs: Callable[[], list[RunSummary]] | None = None,
        facts: env.TerminalFacts | None = None,
    ) -> None:
        super().__init__()
        self.facts = facts or env.terminal_facts()
        self.entries: list[Entry] = []
        self.filter = ""
        self.notice: Row = ()
        self._clock = clock
        self._list_runs = list_runs or (lambda: known_runs([paths.default_output_dir()], now=clock()))
        self._selected = ""
        self.looked = False
        self._top = 0

    def compose(self) -> ComposeResult:
        yield Rows(id="heading")
        listing = Rows(id="runs")
        listing.can_focus = True
        yield listing
        field = Input(placeholder="name, folder or status…", id="runs-filter", compact=True)
        field.cursor_blink = False
        yield field
        yield KeyBar()

    def on_mount(self) -> None:
        self.query_one("#runs").focus()
        self.look()
        self.set_interval(REFRESH_SECONDS, self._look_if_shown)

    @on(events.ScreenResume)
    def _resumed(self) -> None:
        self.look()

    def _look_if_shown(self) -> None:
        if self.is_current:
            self.look()

    def action_look(self) -> None:
        """Look again."""
        self.look()

    @work(thread=True, exclusive=True, exit_on_error=False, group="look")
    def look(self) -> None:
        """Look up runs and drafts on a thread: they may lie on a slow disk."""
        # Reading drafts brings pydantic (70 ms), which the first frame need not wait for.
        from sidestep_tui.schema import drafts

        entries = [entry_of_run(run) for run in self._list_runs()]
        entries += [Entry("draft", item.id, item.title, None, item.saved) for item in drafts.list_drafts()]
        self.post_message(RunsListed(entries))

    @on(RunsListed)
    def _listed(self, message: RunsListed) -> None:
        self.entries = message.entries
        self.looked = True
        self.repaint()

    # Paint

    @property
    def shown(self) -> list[Entry]:
        """The entries that match the filter."""
        return matching(self.entries, self.filter)

    @property
    def selected(self) -> Entry | None:
        """The entry under the bar."""
        shown = self.shown
        return next((entry for entry in shown if entry.key == self._selected), shown[0] if shown else None)

    def repaint(self) -> None:
        """Hand over the rows that are visible."""
        width, listing = self.size.width, self.query_one("#runs", Rows)
        shown, current = self.shown, self.selected
        self.query_one("#heading", Rows).put(self._heading(width, len(shown)))
        if not self.looked:
            return
        if not shown:
            listing.put(empty_rows(bool(self.filter)))
            self.refresh_bindings()
            return
        at = shown.index(current) if current else 0
        height = max(listing.size.height, 1)
        self._top = min(max(self._top, at - height + 1, 0), at, max(len(shown) - height, 0))
        now = self._clock()
        listing.put(
            [
                entry_row(entry, width, now, selected=entry is current, ascii_only=self.facts.ascii_only)
                for entry in shown[self._top : self._top + height]
            ]
        )
        self.refresh_bindings()

    def _heading(self, width: int, shown: int) -> list[Row]:
        alive = sum(1 for entry in self.entries if entry.run and entry.run.is_alive)
        runs = sum(1 for entry in self.entries if entry.run)
        words = f"{text.plural(runs, 'run')}, {alive} alive " if runs else "" if self.looked else "looking… "
        if self.filter:
            words = f"/{self.filter}  {shown} of {len(self.entries)} "
        top = spread(row((" sidestep", "strong"), ("  runs", "muted")), row((words, "muted")), width)
        return [top, ((" ", ""), *self.notice) if self.notice else (), title_row(width) if shown else ()]

    def say(self, words: str, style: str = "accent") -> None:
        """Put a sentence above the list."""
        self.notice = row((words, style)) if words else ()
        self.repaint()

    def on_resize(self) -> None:
        """Show as many rows as fit."""
        self.call_after_refresh(self.repaint)

    # Keys

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Grey what the selected entry cannot do."""
        entry = self.selected
        if action == "open":
            return True if entry else None
        if action == "resume":
            return True if entry and entry.run and can_resume(entry.run) else None
        if action == "copy_path":
            return bool(entry and entry.run)
        return super().check_action(action, parameters)

    def action_move(self, by: int) -> None:
        """Move the bar."""
        shown, current = self.shown, self.selected
        if current is None:
            return
        at = min(max(shown.index(current) + by, 0), len(shown) - 1)
        self._selected = shown[at].key
        self.repaint()

    def action_open(self) -> None:
        """Open the run's dashboard, or the draft in the wizard."""
        entry = self.selected
        if entry is None:
            return
        if entry.run is not None:
            self.app.open_run(entry.run.path)
            return
        from sidestep_tui.schema import drafts

        try:
            self.app.new_run(drafts.load(entry.key))
        except SidestepError as error:
            self._tell(error)
            self.look()

    def action_new(self) -> None:
        """Make a new run."""
        self.app.new_run(None)

    @work(group="questions", exclusive=True)
    async def action_open_path(self) -> None:
        """Open a run by its folder."""
        body = "The folder of a run: it holds run.toml and events.jsonl."
        answer = await self.app.push_screen_wait(AskText("Open a run", body, check=_no_run_at))
        if answer:
            run_dir = RunDir.open(Path(answer.strip()).expanduser())
            self._remember(run_dir)
            self.app.open_run(run_dir.path)

    @work(thread=True, exit_on_error=False, group="remember")
    def _remember(self, run_dir: RunDir) -> None:
        """List the run from now on; a list that cannot be written is no reason not to look at the run."""
        with suppress(OSError, SidestepError):
            register(run_dir)

    def action_resume(self) -> None:
        """Start the selected run's engine again."""
        entry = self.selected
        if entry is None or entry.run is None or not can_resume(entry.run):
            return
        self.say(f"starting {entry.title} again…")
        self._resume(Path(entry.run.path))

    @work(thread=True, exit_on_error=False, group="resume")
    def _resume(self, path: Path) -> None:
        # The launcher brings the schema and its readers (100 ms); only a resume needs it.
        from sidestep_tui.launch import start

        try:
            start.resume(RunDir(path))
        except SidestepError as error:
            self.post_message(ResumeEnded(path, error))
        except OSError as error:
            self.post_message(ResumeEnded(path, RunError("The engine could not be started.", str(error))))
        else:
            self.post_message(ResumeEnded(path))

    @on(ResumeEnded)
    def _resume_ended(self, message: ResumeEnded) -> None:
        self.say("")
        if message.error is not None:
            self._tell(message.error)
            return
        self.app.open_run(message.path)

    def _tell(self, error: SidestepError) -> None:
        self.app.push_screen(Tell(error.title, error.message, error.hint))

    def action_copy_path(self) -> None:
        """Put the run's path on the terminal's clipboard."""
        entry = self.selected
        if entry is not None and entry.run is not None:
            self.app.copy_to_clipboard(str(Path(entry.run.path).resolve()))
            self.say(f"copied {entry.run.path}", "muted")

    def action_filter(self) -> None:
        """Type what the entries must hold."""
        self.add_class("-filtering")
        field = self.query_one("#runs-filter", Input)
        field.value = self.filter
        field.focus()

    @on(Input.Changed, "#runs-filter")
    def _filter_typed(self, event: Input.Changed) -> None:
        if self.has_class("-filtering"):
            self.filter = event.value.strip()
            self.repaint()

    @on(Input.Submitted, "#runs-filter")
    def _filter_chosen(self) -> None:
        self._close_filter()

    def action_clear_filter(self) -> None:
        """Show everything again."""
        self.filter = ""
        self._close_filter()

    def _close_filter(self) -> None:
        self.remove_class("-filtering")
        self.query_one("#runs").focus()
        self.call_after_refresh(self.repaint)


def can_resume(run: RunSummary) -> bool:
    """Whether a run is over without being done."""
    return not run.is_alive and run.status not in ("finished", "fresh")


def _no_run_at(answer: str) -> str:
    """Why there is no run at a path; empty if there is one."""
    if not answer.strip():
        return "Type the path of a folder."
    try:
        RunDir.open(Path(answer.strip()).expanduser())
    except SidestepError as error:
        return f"{error.title} {error.message}"
    except OSError as error:
        return f"{answer}: {error.strerror}."
    return ""
