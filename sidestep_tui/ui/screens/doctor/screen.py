"""The dataset doctor on screen: what would spoil training, gravest first, and repairs that are shown before they are
made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input

from sidestep_tui.core import paths, text
from sidestep_tui.core.errors import SidestepError
from sidestep_tui.ui.screens.doctor import rows as rows_of
from sidestep_tui.ui.screens.doctor.jobs import (
    Advanced,
    Examined,
    Refused,
    Repaired,
)
from sidestep_tui.ui.screens.doctor.repairs import DoctorRepairs
from sidestep_tui.ui.screens.doctor.rows import Counts, Kind, Line
from sidestep_tui.ui.songs_place import SongsPlace
from sidestep_tui.ui.widgets.keybar import KeyBar
from sidestep_tui.ui.widgets.rows import Row, Rows, row, spread, width_of

if TYPE_CHECKING:
    from sidestep_tui.dataset.health.doctor import Report

_MOST_WRITTEN: Final = 6
_State = Literal["running", "found", "refused", "stopped"]


class _Panel(Rows):
    """Rows of which as many are handed over as it has room for, so that its size has to be known first."""

    def on_resize(self) -> None:
        """Have the screen hand over rows for the height that there is now."""
        assert isinstance(self.screen, DoctorScreen)
        self.screen.repaint()


class DoctorScreen(DoctorRepairs):
    """The findings of one folder."""

    CSS_PATH = "../../styles/doctor.tcss"
    HELP = """
    # Dataset doctor

    Every song of the folder is read once, with all that describes it, in a process of its own. What would spoil
    training is listed by kind: errors first, then warnings, then advice. The pane below says why the line in focus
    matters and what to do.

    What is marked fixable is spelling that can be put right in the text file it stands in: `F` repairs the line in
    focus, on a kind all of it, `A` everything that is listed. Both show every file, value and backup first, and
    nothing is written before you say so. Audio is never changed.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,space", "fold", "Fold", id="doctor.fold", tooltip="Fold or unfold the kind"),
        Binding("F", "fix", "Fix", id="doctor.fix", key_display="F", tooltip="Repair the line in focus; asks first"),
        Binding("A", "fix_all", "Fix all", id="doctor.fix.all", key_display="A", tooltip="Repair all listed; asks"),
        Binding("slash", "filter", "Filter", id="doctor.filter", key_display="/", tooltip="By song, kind or words"),
        Binding("r", "again", "Run again", id="doctor.again", tooltip="Examine the folder again"),
        Binding("z", "fold_all", "Fold all", id="doctor.fold.all", show=False, tooltip="Fold or unfold all kinds"),
        Binding("l,right", "open(True)", "Unfold", id="doctor.open", show=False, tooltip="Unfold the kind"),
        Binding("h,left", "open(False)", "Fold", id="doctor.close", show=False, tooltip="Fold the kind"),
        Binding("j,down", "move(1)", "Down", id="doctor.down", show=False, tooltip="The next line"),
        Binding("k,up", "move(-1)", "Up", id="doctor.up", show=False, tooltip="The previous line"),
        Binding("ctrl+d,pagedown", "move(10)", "Page down", id="doctor.page.down", show=False, tooltip="Ten down"),
        Binding("ctrl+u,pageup", "move(-10)", "Page up", id="doctor.page.up", show=False, tooltip="Ten up"),
        Binding("g,home", "move(-999999)", "First", id="doctor.first", show=False, tooltip="The first line"),
        Binding("G,end", "move(999999)", "Last", id="doctor.last", show=False, tooltip="The last line"),
        Binding("y", "copy_path", "Copy path", id="doctor.copy", show=False, tooltip="Copy the path of the file"),
        Binding("escape", "back", "Back", id="doctor.back", show=False, tooltip="Stop, clear the filter, or close"),
        Binding("q", "close", "Close", id="doctor.quit", tooltip="Close; what is running stops"),
    ]

    def __init__(self, place: SongsPlace) -> None:
        super().__init__()
        self.place = place
        self.report: Report | None = None
        self.state: _State = "running"
        self.filter = ""
        self.kinds: list[Kind] = []
        self.lines: list[Line] = []
        self.folded: set[str] = set()
        self.at = 0
        self._top = 0
        self._turn = 0
        self._progress = ("", 0, 0)
        self._doable: tuple[bool | None, ...] = ()
        self._problem: SidestepError | None = None
        self._counts: Counts | None = None
        self._name_width = 0
        self._written: list[dict[str, str]] = []
        self._shown: rows_of.Shown = {}

    def compose(self) -> ComposeResult:
        yield Rows(id="heading")
        yield Rows(id="written")
        listing = _Panel(id="findings")
        listing.can_focus = True
        yield listing
        yield _Panel(id="pane")
        field = Input(placeholder="song, kind, words, fixable…", id="doctor-filter", compact=True)
        field.cursor_blink = False
        yield field
        yield KeyBar()

    def on_mount(self) -> None:
        self.set_class(self._ascii, "-ascii")
        self.query_one("#findings").focus()
        self.action_again()

    @property
    def _ascii(self) -> bool:
        return self.glyphs.focus == ">"

    # Answers

    @on(Advanced)
    def _advanced(self, message: Advanced) -> None:
        progress = (message.doing, message.done, message.total)
        if message.turn == self._turn and self.state == "running" and progress != self._progress:
            self._progress = progress
            self.query_one("#findings", Rows).put(self._page(self.size.width))

    @on(Examined)
    def _examined(self, message: Examined) -> None:
        if message.turn != self._turn:
            return
        self._take(message.report, message.preview)
        self.folded = rows_of.folded_at_first(self.kinds)
        self.at = self._top = 0
        self._show("found")

    @on(Refused)
    def _refused(self, message: Refused) -> None:
        if message.turn == self._turn:
            self._problem = message.problem
            self._show("refused")

    @on(Repaired)
    def _repaired(self, message: Repaired) -> None:
        self._written = message.written
        count = sum(not file["problem"] for file in message.written)
        self.notice = f"{text.plural(count, 'file')} written" if message.written else "nothing to write any more"
        self._take(message.report, message.preview)
        self._show("found")

    def job_broke(self) -> None:
        """A worker has ended without an answer."""
        self.notice = ""
        if self.state == "running":
            self._show("found" if self.report else "stopped")

    def _take(self, report: Report, preview: list[dict[str, Any]]) -> None:
        self.report = report
        self._counts = Counts(report.counts(), len(report.fixes()), len(report.findings))
        self._shown = rows_of.changes_of(preview)
        self._rebuild()

    def _show(self, state: _State) -> None:
        self.state = state
        self._rebuild()
        self.repaint()

    def _rebuild(self) -> None:
        """List anew, the cursor on the line it was on, or where that was."""
        focused = self.focused_line
        self.kinds = rows_of.kinds_of(self.report.findings, self.filter) if self.report else []
        self.lines = rows_of.lines_of(self.kinds, self.folded)
        self.listed_fixes = [fix for kind in self.kinds for fix in kind.fixes]
        self._name_width = rows_of.name_width_of(self.kinds, self.size.width)
        keys = [line.key for line in self.lines]
        if focused is not None and focused.key in keys:
            self.at = keys.index(focused.key)
        elif focused is not None and (focused.kind.key, "", "") in keys and focused.kind.key in self.folded:
            self.at = keys.index((focused.kind.key, "", ""))
        self.at = min(self.at, max(0, len(self.lines) - 1))

    @property
    def focused_line(self) -> Line | None:
        """The line under the bar."""
        return self.lines[self.at] if self.at < len(self.lines) else None

    # Paint

    def repaint(self) -> None:
        """Hand over the rows that are visible."""
        width, listing = self.size.width, self.query_one("#findings", Rows)
        self.set_class(self.state == "found" and bool(self.lines), "-found")
        self.set_class(self.state == "found" and bool(self._written), "-written")
        self.query_one("#heading", Rows).put(self._heading(width))
        written = rows_of.written_rows(self._written, width, self.glyphs, _MOST_WRITTEN)
        self.query_one("#written", Rows).put(written)
        self.query_one("#written").styles.height = max(1, len(written))
        listing.put(self._page(width) or self._listing(width, max(1, listing.size.height)))
        line, pane = self.focused_line, self.query_one("#pane", Rows)
        if line is not None and self.state == "found":
            pane.put(rows_of.pane_rows(line, self._shown, width, max(1, pane.size.height), self.glyphs))
        # The footer is made anew for it, which costs more than all rows together.
        doable = tuple(self.check_action(action, ()) for action in ("fold", "fix", "fix_all", "filter"))
        if doable != self._doable:
            self._doable = doable
            self.refresh_bindings()

    def _heading(self, width: int) -> list[Row]:
        report, counts = self.report, self._counts
        place = paths.shorten(self.place.root)
        left = row((" sidestep", "strong"), ("  doctor  ", "muted"), place)
        if report is None or counts is None or self.state != "found":
            return [left]
        songs = f"{text.plural(len(report.files), 'song')}, {text.duration(report.seconds)} "
        found = counts.row(self.glyphs)
        right = f"tokens {'counted' if report.options.tokenizer else 'estimated'} "
        if self.filter:
            right = f"/{self.filter}  {sum(len(kind.findings) for kind in self.kinds):,} of {counts.findings:,} "
        if self.notice:
            right = f"{self.notice} "
        elif width_of(found) + len(right) >= width and not self.filter:
            right = ""
        return [
            spread(left, row((songs, "muted")), width),
            spread(found, row((right, "accent" if self.notice else "muted")), width),
        ]

    def _page(self, width: int) -> list[Row]:
        """What takes the place of a list that is not there."""
        if self.state == "running":
            return rows_of.running_rows(*self._progress, width, self.glyphs)
        if self.state == "stopped":
            return rows_of.stopped_rows()
        if self.state == "refused" and self._problem is not None:
            problem = self._problem
            return rows_of.problem_rows(problem.title, problem.message, problem.hint, width, self.glyphs)
        if not self.lines and self.report is not None:
            report = self.report
            return rows_of.fine_rows(len(report.files), report.seconds, self.glyphs, filtered=bool(self.filter))
        return []

    def _listing(self, width: int, height: int) -> list[Row]:
        self._top = min(max(self._top, self.at - height + 1, 0), self.at, max(len(self.lines) - height, 0))
        return [
            rows_of.line_row(
                line,
                width,
                self.glyphs,
                selected=number == self.at,
                folded=line.kind.key in self.folded,
                name_width=self._name_width,
            )
            for number, line in enumerate(self.lines[self._top : self._top + height], start=self._top)
        ]

    def on_resize(self) -> None:
        """Give names as much room as the new width has for them."""
        self._rebuild()

    # Keys

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Grey what cannot be done now."""
        line = self.focused_line if self.state == "found" else None
        if action in ("fold", "fold_all", "open", "copy_path"):
            return True if line else None
        if action == "fix":
            return True if line and line.fixes else None
        if action == "fix_all":
            return True if line and self.listed_fixes else None
        if action == "filter":
            return True if self.report and self.state == "found" else None
        return super().check_action(action, parameters)

    def action_move(self, by: int) -> None:
        """Move the bar."""
        self.at = min(max(self.at + by, 0), max(0, len(self.lines) - 1))
        self.repaint()

    def action_fold(self) -> None:
        """Fold the kind in focus, or unfold it."""
        line = self.focused_line
        if line is not None:
            self.action_open(line.kind.key in self.folded)

    def action_open(self, unfold: bool) -> None:
        """Unfold the kind in focus, or fold it."""
        line = self.focused_line
        if line is not None:
            (self.folded.discard if unfold else self.folded.add)(line.kind.key)
            self._rebuild()
            self.repaint()

    def action_fold_all(self) -> None:
        """Fold all kinds; unfold them if all are folded."""
        every = {kind.key for kind in self.kinds}
        self.folded = set() if every <= self.folded else every
        self._rebuild()
        self.repaint()

    def action_again(self) -> None:
        """Examine the folder."""
        self._turn += 1
        self._progress = ("", 0, 0)
        self._written, self.notice = [], ""
        self._show("running")
        self.examine(self._turn)

    def action_back(self) -> None:
        """Stop what runs, or clear the filter, or close."""
        if self.has_class("-filtering") or self.filter:
            self.filter = ""
            self._close_filter()
        elif self.state == "running":
            self._turn += 1
            self.workers.cancel_group(self, "examine")
            self._show("found" if self.report else "stopped")
        else:
            self.action_close()

    def action_close(self) -> None:
        """Leave; the examination stops with the screen."""
        self.workers.cancel_group(self, "examine")
        self.dismiss()

    def action_copy_path(self) -> None:
        """Put the path of the file in question on the terminal's clipboard."""
        line, report = self.focused_line, self.report
        if line is None or report is None:
            return
        finding = line.finding
        name = ""
        if finding is not None:
            name = finding.fix.origin if finding.fix else report.files.get(finding.song, finding.song)
        path = str(report.root / name)
        self.app.copy_to_clipboard(path)
        self.notice = f"copied {name or paths.shorten(path)}"
        self.repaint()

    # Filter

    def action_filter(self) -> None:
        """Type what the findings must hold."""
        self.add_class("-filtering")
        field = self.query_one("#doctor-filter", Input)
        field.value = self.filter
        field.focus()

    @on(Input.Changed, "#doctor-filter")
    def _filter_typed(self, event: Input.Changed) -> None:
        if self.has_class("-filtering"):
            self.filter = event.value.strip()
            self._rebuild()
            self.repaint()

    @on(Input.Submitted, "#doctor-filter")
    def _filter_chosen(self) -> None:
        self._close_filter()

    def _close_filter(self) -> None:
        self.remove_class("-filtering")
        self.query_one("#findings").focus()
        self._rebuild()
        self.call_after_refresh(self.repaint)
