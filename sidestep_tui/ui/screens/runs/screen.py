"""Home: the runs and drafts this user knows, with what each is doing now."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.message import Message
from textual.widgets import Input
from textual.worker import get_current_worker

from sidestep_tui.core import env, paths, text
from sidestep_tui.launch.ledger import Ledger, LedgerRow
from sidestep_tui.ui.base import SidestepScreen
from sidestep_tui.ui.screens.runs import kept
from sidestep_tui.ui.screens.runs.columns import BY_NAME, Order, layout
from sidestep_tui.ui.screens.runs.deeds import RunDeeds
from sidestep_tui.ui.screens.runs.details import detail_rows
from sidestep_tui.ui.screens.runs.entries import Entry, ended_word, entry_of_run
from sidestep_tui.ui.screens.runs.keys import KEYS
from sidestep_tui.ui.screens.runs.listing import Listing
from sidestep_tui.ui.screens.runs.rows import empty_rows, entry_row, title_row
from sidestep_tui.ui.widgets.keybar import KeyBar
from sidestep_tui.ui.widgets.rows import Row, Rows, row, spread

if TYPE_CHECKING:
    from sidestep_tui.ui.app import SidestepApp

REFRESH_SECONDS = 5.0
"""How often the list looks again while it is on the screen."""
_BATCH = 50
"""Sizes that are shown at once."""


class RunsListed(Message):
    """The runs and drafts have been looked up."""

    def __init__(self, entries: Sequence[Entry], order: Order | None = None) -> None:
        """`order` is that of the last session, told once."""
        super().__init__()
        self.entries = list(entries)
        self.order = order


class RunsMeasured(Message):
    """The sizes of some runs are known."""

    def __init__(self, sizes: Mapping[Path, int]) -> None:
        super().__init__()
        self.sizes = dict(sizes)


class RunsScreen(RunDeeds, SidestepScreen):
    """The list of runs, and the doors to a new one."""

    CSS_PATH = "../../styles/runs.tcss"
    HELP = """
    # Runs

    Every run started here, and those in folders you opened with `o`:
    living ones first, then the newest, then drafts. `loss` is the
    smoothed training loss; `best` says whose it is, that of training or
    of held-out songs. Wider windows show more columns. `s` sorts by the
    next column, `<` and `>` turn the order.

    `/` filters by words and by `state:` (a word of the list, or alive,
    over, failed, draft, away), `kind:`, `data:`, `model:`, `name:`,
    `preset:`, `folder:`, and by numbers: `rank:>32`, `loss:<0.2`,
    `best:`, `step:`, `epoch:`, `size:>1g`, `time:>2h`, `age:<7d`. A
    dash before a part leaves out what it matches.

    `space` marks runs, and `=` compares the marked ones. A run whose
    disk is away stays listed as not reachable.
    """

    BINDINGS: ClassVar[list[BindingType]] = [*KEYS]

    app: SidestepApp

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.time,
        list_runs: Callable[[], list[LedgerRow]] | None = None,
        facts: env.TerminalFacts | None = None,
        readonly: bool = False,
    ) -> None:
        super().__init__()
        self.facts = facts or env.terminal_facts()
        self.readonly = readonly
        self.listing = Listing()
        self.notice: Row = ()
        self._clock = clock
        self._ledger = Ledger()
        self._ledger_lock = threading.Lock()
        self._list_runs = list_runs or (lambda: self._ledger.look([paths.default_output_dir()], now=clock()))
        self.looked = False

    def compose(self) -> ComposeResult:
        yield Rows(id="heading")
        listing = Rows(id="runs")
        listing.can_focus = True
        yield listing
        yield Rows(id="details")
        field = Input(placeholder="words, state:failed kind:lora data:drums loss:<0.2", id="runs-filter", compact=True)
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
        """Look up runs and drafts on a thread, then their sizes: they may lie on a slow disk."""
        # Reading drafts brings pydantic (70 ms), which the first frame need not wait for.
        from sidestep_tui.launch.offspring import facts_of_draft
        from sidestep_tui.schema import drafts

        worker = get_current_worker()
        with self._ledger_lock:
            rows = self._list_runs()
            entries = [entry_of_run(found) for found in rows]
            entries += [
                Entry("draft", item.id, item.title, facts=facts_of_draft(item.path), t=item.saved)
                for item in drafts.list_drafts()
            ]
            self.post_message(RunsListed(entries, None if self.looked else kept.kept()))
            sizes: dict[Path, int] = {}
            for path, size in self._ledger.measure(rows, is_cancelled=lambda: worker.is_cancelled):
                sizes[path] = size
                if len(sizes) == _BATCH:
                    self.post_message(RunsMeasured(sizes))
                    sizes = {}
            if sizes:
                self.post_message(RunsMeasured(sizes))

    @on(RunsListed)
    def _listed(self, message: RunsListed) -> None:
        before = {entry.key: entry for entry in self.listing.entries if entry.is_alive}
        if message.order is not None and not self.looked:
            self.listing.order = message.order
        self.listing.take(message.entries, self._clock())
        self.looked = True
        over = (ended_word(before[entry.key], entry) for entry in message.entries if entry.key in before)
        ended = [words for words in over if words]
        if ended:
            self.notice = row(("; ".join(ended), "accent"))
            self.app.bell()
        self.repaint()

    @on(RunsMeasured)
    def _measured(self, message: RunsMeasured) -> None:
        self.listing.measured(message.sizes)
        self.repaint()

    # Paint

    @property
    def selected(self) -> Entry | None:
        """The line under the bar."""
        return self.listing.current

    def repaint(self) -> None:
        """Hand over the rows that are visible."""
        width, rows = self.size.width, self.query_one("#runs", Rows)
        shown = self.listing.shown
        self.query_one("#heading", Rows).put(self._heading(width, len(shown)))
        if not self.looked:
            return
        self.refresh_bindings()
        if not shown:
            rows.put(empty_rows(bool(self.listing.query.typed)))
            self.query_one("#details", Rows).put([])
            return
        visible = self.listing.window(max(rows.size.height, 1))
        now, current, columns = self._clock(), self.selected, layout(width)
        self.query_one("#details", Rows).put(detail_rows(current, width, now))
        rows.put(
            [
                entry_row(
                    entry,
                    columns,
                    width,
                    now,
                    selected=entry is current,
                    marked=entry.key in self.listing.marks,
                    ascii_only=self.facts.ascii_only,
                )
                for entry in visible
            ]
        )

    def _heading(self, width: int, shown: int) -> list[Row]:
        runs = [entry for entry in self.listing.entries if entry.kind == "run"]
        alive = sum(1 for entry in runs if entry.is_alive)
        words = f"{text.plural(len(runs), 'run')}, {alive} alive " if runs else "" if self.looked else "looking… "
        query = self.listing.query
        if query.typed:
            words = f"/{query.typed}  {shown} of {len(self.listing.entries)} "
        if self.listing.marks:
            words = f"{len(self.listing.marks)} marked  {words}"
        top = spread(row((" sidestep", "strong"), ("  runs", "muted")), row((words, "muted")), width)
        problem = row((query.problems[0], "warn")) if query.problems else self.notice
        titles = title_row(width, self.listing.order, ascii_only=self.facts.ascii_only) if shown else ()
        return [top, ((" ", ""), *problem) if problem else (), titles]

    def say(self, words: str, style: str = "accent") -> None:
        """Put a sentence above the list."""
        self.notice = row((words, style)) if words else ()
        self.repaint()

    def on_resize(self) -> None:
        """Show as many rows as fit."""
        self.call_after_refresh(self.repaint)

    def _now(self) -> float:
        return self._clock()

    # The list

    def on_click(self, event: events.Click) -> None:
        """A click puts the bar on a line, a second one opens it."""
        rows = self.query_one("#runs", Rows)
        place = self.listing.top + event.y
        if event.widget is not rows or place >= len(self.listing.shown):
            return
        clicked = self.listing.shown[place]
        if clicked is self.selected and event.chain > 1:
            self.action_open()
            return
        self.listing.current_key = clicked.key
        self.repaint()

    def on_mouse_scroll_down(self) -> None:
        """The wheel moves the bar."""
        self.action_move(3)

    def on_mouse_scroll_up(self) -> None:
        """The wheel moves the bar."""
        self.action_move(-3)

    def action_move(self, by: int) -> None:
        """Move the bar."""
        self.listing.move(by)
        self.repaint()

    def action_mark(self) -> None:
        """Mark the run, or not any more, and go on to the next."""
        self.listing.toggle_mark()
        self.listing.move(1)
        self.repaint()

    def action_sort(self) -> None:
        """Sort by the next column."""
        self.listing.next_order()
        self._keep_order(self.listing.order)
        by = self.listing.order.by
        self.say(f"sorted by {BY_NAME[by].title}" if by else "sorted: living first, then the newest", "muted")

    def action_order(self, falling: bool) -> None:
        """The smallest or the largest first."""
        self.listing.turn(falling=falling)
        self._keep_order(self.listing.order)
        self.repaint()

    @work(thread=True, exit_on_error=False, group="keep")
    def _keep_order(self, order: Order) -> None:
        kept.keep(order)

    def action_filter(self) -> None:
        """Type what the entries must hold."""
        self.add_class("-filtering")
        field = self.query_one("#runs-filter", Input)
        field.value = self.listing.query.typed
        field.focus()

    @on(Input.Changed, "#runs-filter")
    def _filter_typed(self, event: Input.Changed) -> None:
        if self.has_class("-filtering"):
            self.listing.filter(event.value)
            self.repaint()

    @on(Input.Submitted, "#runs-filter")
    def _filter_chosen(self) -> None:
        self._close_filter()

    def action_clear_filter(self) -> None:
        """One level out: the filter, then the marks, then what is said above the list."""
        if self.listing.query.typed or self.has_class("-filtering"):
            self.listing.filter("")
        elif self.listing.marks:
            self.listing.marks = []
        else:
            self.notice = ()
        self._close_filter()

    def _close_filter(self) -> None:
        self.remove_class("-filtering")
        self.query_one("#runs").focus()
        self.call_after_refresh(self.repaint)
