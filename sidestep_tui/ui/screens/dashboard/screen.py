"""The dashboard of one run: live, finished, crashed or diverged, all from the same files.

A worker thread reads, the reducer keeps, the governor decides when to paint, and only rows that changed are painted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from textual import events, on, work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.notifications import SeverityLevel
from textual.timer import Timer
from textual.widgets import Input
from textual.worker import get_current_worker

from sidestep_tui.core import env
from sidestep_tui.protocol.liveness import Death, Liveness
from sidestep_tui.protocol.state import RunState
from sidestep_tui.ui.display import ChangedCellsApp
from sidestep_tui.ui.feed import Batch, Feed, RunAdvanced
from sidestep_tui.ui.governor import Governor
from sidestep_tui.ui.screens.dashboard.pages import PageKeys
from sidestep_tui.ui.screens.dashboard.title import Announced, announce, restore_title
from sidestep_tui.ui.screens.dashboard.verdict import log_tail_rows, verdict_rows
from sidestep_tui.ui.widgets import panels
from sidestep_tui.ui.widgets.chart import ChartPanel
from sidestep_tui.ui.widgets.keybar import KeyBar
from sidestep_tui.ui.widgets.log import LogPanel
from sidestep_tui.ui.widgets.rows import Rows
from sidestep_tui.ui.widgets.status import condition


class DashboardScreen(PageKeys):
    """One run, watched and steered."""

    CSS_PATH = "../../styles/dashboard.tcss"
    # Beyond the sizes that all screens know: one so wide that songs and time stand beside the rest, one that is high.
    HORIZONTAL_BREAKPOINTS = [*PageKeys.HORIZONTAL_BREAKPOINTS, (166, "-huge")]
    VERTICAL_BREAKPOINTS = [*PageKeys.VERTICAL_BREAKPOINTS, (38, "-high")]

    HELP = """
    # Dashboard

    Watch a run and steer it. Leaving with `q` never stops the training: the engine is a process of its own, and
    what you see is read from its files. Lower-case keys are safe; upper-case keys change the run.

    The chart shows the raw values as a faint cloud, their moving average as the line and held-out songs as circles.
    Below it: ◆ checkpoint, ★ best, ↻ resume, ‖ pause, × a step without a number. `h` and `l` move a cursor that reads
    exact values, `m` takes it to the next mark. `[` and `]` choose the metric, `w` the steps, `>` and `<` zoom, `,` and
    `.` move, `x` counts steps, samples or minutes, `s` smooths, `v` is logarithmic, `b` shows outliers too.

    `1` to `7` go to the panels: loss, schedule, machine, checkpoints, log, songs (the hardest first) and time (where
    it goes, with a verdict); `z` gives one the whole screen. What needs you stands above the chart until `d` clears
    it, and stays in the log.
    """

    def __init__(
        self,
        run_path: Path,
        readonly: bool = False,
        *,
        clock: Callable[[], float] = time.time,
        facts: env.TerminalFacts | None = None,
    ) -> None:
        self.facts = facts or env.terminal_facts()
        governor = Governor.for_environment(over_ssh=self.facts.over_ssh)
        super().__init__(run_path, readonly=readonly, clock=clock, governor=governor)
        self.state = RunState()
        self.liveness: Liveness | None = None
        self.death: Death | None = None
        self.heartbeat: float | None = None
        self.paints = 0
        self.caught_up = False
        self.feed = Feed(run_path, self._news, clock)
        self._preview: RunState | None = None
        self._timer: Timer | None = None
        self._due_at = 0.0
        self._curves = True
        self._urgent_key: tuple[object, ...] = ()
        self._announced = Announced()

    def compose(self) -> ComposeResult:
        plain = self.facts.ascii_only
        yield Rows(id="facts")
        yield Rows(id="alerts")
        yield Rows(id="verdict")
        with Horizontal(id="body"):
            yield ChartPanel(id="loss", classes="panel", ascii_only=plain)
            with Vertical(id="side"):
                for name in ("machine", "schedule", "checkpoints"):
                    panel = Rows(id=name, classes="panel")
                    panel.can_focus = True
                    panel.border_title = name
                    yield panel
            with Vertical(id="more"):
                yield from self.compose_more(ascii_only=plain)
        yield LogPanel(id="log", classes="panel")
        for name, placeholder in (("log-filter", "only lines that hold…"), ("song-filter", "only songs that hold…")):
            field = Input(placeholder=placeholder, id=name, compact=True)
            field.cursor_blink = False
            yield field
        yield KeyBar()

    def on_mount(self) -> None:
        self.set_class(self.facts.ascii_only, "-ascii")
        self.query_one("#loss").focus()
        self.watch(self.app, "app_focus", self._window_focus_changed, init=False)
        self._read()

    def on_unmount(self) -> None:
        """Give the terminal its own title back."""
        if self._announced.title:
            restore_title(self.app, term=self.facts.term)

    @work(thread=True, exclusive=True, exit_on_error=False, group="feed")
    def _read(self) -> None:
        """The feed's thread; it lives as long as the screen."""
        worker = get_current_worker()
        self.feed.run(lambda: worker.is_cancelled)

    def _news(self) -> None:
        """Called on the feed's thread; posting is the one thing a thread may do to a screen."""
        self.post_message(RunAdvanced())

    # Data in

    @on(RunAdvanced)
    def _advance(self) -> None:
        self.take(self.feed.drain())

    def take(self, batch: Batch) -> None:
        """Reduce what the feed brought and paint when it is time."""
        if batch.restarted:
            self.state = RunState()
        self._preview = batch.picture or self._preview
        self.state.apply_all(batch.events)
        self.caught_up = self.caught_up or batch.caught_up
        if batch.liveness is not None:
            self.liveness, self.death, self.heartbeat = batch.liveness, batch.death, batch.heartbeat
        self.follow_commands(self.state.commands)
        if self._orders and self.caught_up and not self.view().live:
            self.forget_orders(self.view())
        alarmed = self.caught_up and self.look_for_alerts(self.view())
        shown = self.shown
        key = (
            shown.status,
            shown.phase.name,
            shown.error,
            shown.ended,
            self.liveness,
            len(shown.adapters),
            self.notice,
        )
        urgent = key != self._urgent_key or alarmed
        self._urgent_key = key
        self.governor.changed(urgent=urgent)
        if self.caught_up and self.is_mounted:
            self._announce(self.view())
        if urgent:
            self.refresh_bindings()
        self.paint_when_due()

    def _announce(self, view: panels.View) -> None:
        """Title and bell; a toast if a run that was watched is over while another place is in front."""
        before, self._announced = self._announced, announce(self.app, view, self._announced, term=self.facts.term)
        if before.live and not self._announced.live and not self.is_current:
            word = condition(view.state.status, view.liveness).word
            gravity: SeverityLevel = "information" if word == "finished" else "warning"
            self.app.notify(f"{view.name}: {word}. f4 shows it.", severity=gravity, timeout=15, markup=False)

    @property
    def shown(self) -> RunState:
        """The state to paint: the engine's own summary until the journal has been read."""
        return self._preview if self._preview is not None and not self.caught_up else self.state

    # Paint

    def paint_when_due(self) -> None:
        """Paint now, or set the one timer that will."""
        now = time.monotonic()
        delay = self.governor.delay(now)
        if delay is None or not self.is_mounted:
            return
        if delay > 0:
            if self._timer is None:
                self._due_at = now + delay
                self._timer = self.set_timer(delay, self._paint_on_time)
            return
        self._drop_timer()
        self._paint()
        self.governor.painted(time.monotonic())

    def _paint_on_time(self) -> None:
        self._timer = None
        if self.governor.delay(time.monotonic()) is None:
            return
        started = time.monotonic()
        behind = isinstance(self.app, ChangedCellsApp) and self.app.is_behind
        # Curves are most of a picture's bytes and say the least from one to the next: one a second is enough of them.
        self._curves = self.governor.interval >= 1.0 or not self._curves
        self._paint(curves=self._curves)
        self.governor.painted(started, scheduled=self._due_at, behind=behind)
        if not self._curves:
            self.governor.changed()
            self.paint_when_due()

    def _drop_timer(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer = None

    def repaint_now(self) -> None:
        """Paint at once, whatever the rate: the user pressed a key."""
        if self.governor.frozen:
            self.query_one("#facts", Rows).put(panels.header_rows(self.view(), self.size.width))
            return
        self.governor.changed(urgent=True)
        self.paint_when_due()

    def view(self) -> panels.View:
        """What the panels look at."""
        return panels.View(
            state=self.shown,
            name=self.run_dir.name,
            now=self.clock(),
            folder=self.run_dir.path,
            liveness=self.liveness,
            heartbeat=self.heartbeat,
            rate_hz=self.governor.rate_hz,
            frozen=self.governor.frozen,
            slowed=self.governor.slowed,
            readonly=self.readonly,
            relaunching=self._resuming,
            notice=self.notice,
            ascii_only=self.facts.ascii_only,
        )

    def _paint(self, *, curves: bool = True) -> None:
        self.paints += 1
        view = self.view()
        state = view.state
        width = self.size.width
        self.query_one("#facts", Rows).put(panels.header_rows(view, width))
        self._paint_verdict(view)
        self.paint_pages(view)
        if curves:
            until = state.step if state is not self.state else None  # The curves come in while the journal is read.
            self.query_one("#loss", ChartPanel).show(self.state, live=view.live, until=until)
            schedule = self.query_one("#schedule", Rows)
            schedule.put(panels.schedule_rows(view, schedule.size.width))
        self.query_one("#checkpoints", Rows).put(panels.checkpoint_rows(view, offset=self.checkpoint_offset))
        tail = log_tail_rows(self.death) if self.death else []
        lines, count = self.log_lines()
        self.query_one("#log", LogPanel).show(lines, count, tail=tail)

    def _paint_verdict(self, view: panels.View) -> None:
        """The box that explains an end which was not planned; it opens and closes once, not with every paint."""
        rows = verdict_rows(view, self.death, self.run_dir, max(self.size.width - 2, 20)) if self.caught_up else []
        self.fit_height(self.query_one("#verdict", Rows), rows)
        self.set_class(bool(rows), "-verdict")

    # Where the screen is

    @on(events.ScreenResume)
    def _resumed(self) -> None:
        self.governor.show(visible=True)
        self.paint_when_due()

    @on(events.ScreenSuspend)
    def _suspended(self) -> None:
        self.governor.show(visible=False)
        self._drop_timer()

    def _window_focus_changed(self, focused: bool) -> None:
        """Another window has the focus: paint rarely. Back: paint at the chosen rate."""
        self.governor.blur(blurred=not focused)
        if focused:
            self._drop_timer()
            self.paint_when_due()

    def on_resize(self) -> None:
        """Everything has another size."""
        self.call_after_refresh(self.repaint_now)
