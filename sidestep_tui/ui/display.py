"""A display that writes only the cells that changed, and drops frames instead of blocking.

Textual writes every strip that touches a dirty region. Over a slow link that is eight to fourteen times more than what
changed, and its writer queue blocks the event loop when the link falls behind. This module stands between the
compositor and the driver: it remembers what each cell of the terminal shows, writes the difference with the shortest
cursor moves, and while earlier output has not drained it writes nothing; the next paint carries the difference.

The seam (`App._display` and the two update classes) is private to Textual, which is therefore pinned. An update of
any other shape passes through untouched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.color import ColorSystem
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.app import App
from textual.geometry import Offset

from sidestep_tui.ui.cell_memory import CellMemory

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from textual.screen import Screen

_RETRY_SECONDS = 0.05
_QUEUED_WRITES = 2


class _Sequence(CompositorUpdate):
    """A ready terminal sequence in the shape that `App._display` takes: the only part of an update that it calls."""

    def __init__(self, sequence: str) -> None:
        self._sequence = sequence

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self._sequence

    def render_segments(self, console: Console) -> str:
        return self._sequence


@dataclass(slots=True)
class Traffic:
    """What went to the terminal since the app began to count, and what was held back."""

    frames: int = 0
    held: int = 0
    """Frames that were not written because earlier ones had not drained."""
    bytes: int = 0
    """Everything that was written; counted only from `count_bytes` on."""


class ChangedCellsApp(App[Any]):
    """An App that displays through a CellMemory. `changed_cells_only = False` takes Textual's own path."""

    changed_cells_only = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._cell_memory: CellMemory | None = None
        self._cell_cursor = Offset(-1, -1)
        self._drain_scheduled = False
        self._awaiting_paint: list[Callable[[], object]] = []
        self.traffic = Traffic()
        self.counts_bytes = False

    def count_bytes(self, *, on: bool) -> None:
        """Count what the driver writes, or stop: encoding every frame twice is not free."""
        driver = self._driver
        self.counts_bytes = on and driver is not None
        if driver is None:
            return
        vars(driver).pop("write", None)
        if not on:
            return
        write = driver.write

        def counted(data: str) -> None:
            self.traffic.bytes += len(data.encode("utf-8", "replace"))
            write(data)

        driver.write = counted  # type: ignore[method-assign]

    def drop_output(self) -> None:
        """The terminal is gone, and with it what emptied the queue of writes: a full one would hold the end up."""
        driver = self._driver
        if driver is None:
            return

        def nowhere(data: str) -> None:
            """Nobody is there to read it."""

        driver.write = nowhere  # type: ignore[method-assign]
        vars(driver)["_writer_thread"] = None

    def when_painted(self, callback: Callable[[], object]) -> None:
        """Call back once the next frame is on its way to the terminal. `call_after_refresh` comes before that while
        updates are batched, as they are until the app has started."""
        self._awaiting_paint.append(callback)

    def _painted(self) -> None:
        self.traffic.frames += 1
        waiting, self._awaiting_paint = self._awaiting_paint, []
        for callback in waiting:
            callback()

    def forget_display(self) -> None:
        """Repaint everything: after a broken link, a suspend, or a program that wrote over the screen."""
        if self._cell_memory is not None:
            self._cell_memory.forget()
        self._cell_cursor = Offset(-1, -1)

    def on_mount(self) -> None:
        """Notice the return from the shell or from another program, which leave their own text on the screen."""
        self.app_resume_signal.subscribe(self, lambda _: self._repaint())

    def _repaint(self) -> None:
        self.forget_display()
        self._drain()

    def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
        if not isinstance(renderable, LayoutUpdate | ChopsUpdate) or not self._paints_cells():
            super()._display(screen, renderable)
            if not self._batch_count:
                self._painted()
            return
        memory = self._memory_of_size()
        memory.apply(renderable, self.console._color_system or ColorSystem.TRUECOLOR)
        if self._output_backlog() > _QUEUED_WRITES:
            self.traffic.held += 1
            self._schedule_drain()
            self.post_display_hook()
            return
        self._paint(screen, memory)

    def _paint(self, screen: Screen[Any], memory: CellMemory) -> None:
        sequence = memory.flush()
        cursor = self.screen.outer_size.clamp_offset(self.cursor_position)
        if not sequence and cursor == self._cell_cursor:
            self.post_display_hook()
            return
        self._cell_cursor = cursor
        super()._display(screen, _Sequence(sequence))
        self._painted()

    def _paints_cells(self) -> bool:
        """Whether an update would reach a full-screen terminal now; otherwise Textual's path decides what to drop."""
        driver = self._driver
        return (
            self.changed_cells_only
            and not self._batch_count
            and self._running
            and not self._closed
            and not self.is_headless
            and driver is not None
            and not driver.is_inline
        )

    def _memory_of_size(self) -> CellMemory:
        size = self.size
        memory = self._cell_memory
        if memory is None or (memory.width, memory.height) != (size.width, size.height):
            memory = self._cell_memory = CellMemory(size.width, size.height)
        return memory

    def _output_backlog(self) -> int:
        """Writes that the terminal has not taken yet; 0 for drivers that write directly."""
        writer = getattr(self._driver, "_writer_thread", None)
        return 0 if writer is None else writer._queue.qsize()

    @property
    def is_behind(self) -> bool:
        """Whether an earlier frame is still waiting for the terminal to take it."""
        return self._output_backlog() > 0

    def _schedule_drain(self) -> None:
        if not self._drain_scheduled:
            self._drain_scheduled = True
            self.set_timer(_RETRY_SECONDS, self._drain)

    def _drain(self) -> None:
        """Write what was held back, once the terminal has caught up."""
        self._drain_scheduled = False
        if not self._paints_cells() or self._cell_memory is None:
            return
        if self._output_backlog() > _QUEUED_WRITES:
            self._schedule_drain()
            return
        self._paint(self.screen, self._cell_memory)
