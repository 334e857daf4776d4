"""A display that writes only the cells that changed, and drops frames instead of blocking.

Textual writes every strip that touches a dirty region. Over a slow link that is eight to fourteen times more than what
changed, and its writer queue blocks the event loop when the link falls behind. This module stands between the
compositor and the driver: it remembers what each cell of the terminal shows, writes the difference with the shortest
cursor moves, and while earlier output has not drained it writes nothing; the next paint carries the difference.

The seam (`App._display` and the two update classes) is private to Textual, which is therefore pinned. An update of
any other shape passes through untouched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len, split_graphemes
from rich.color import ColorSystem
from rich.style import Style
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.app import App
from textual.geometry import Offset
from textual.strip import Strip

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from textual.screen import Screen

_RETRY_SECONDS = 0.05
_QUEUED_WRITES = 2
_SHORT_GAP = 3


@dataclass(frozen=True, slots=True)
class Look:
    """What a cell looks like: SGR codes of attributes, foreground and background, and a hyperlink."""

    attributes: tuple[str, ...] = ()
    foreground: str = ""
    background: str = ""
    link: str = ""

    def is_blank_in(self, pen: Look) -> bool:
        """Whether a space of this look can be written with `pen`: nothing but the background shows on either."""
        return (
            self.background == pen.background
            and not (self.attributes or self.foreground or self.link or pen.link)
            and not _VISIBLE_ON_SPACE.intersection(pen.attributes)
        )

    def change_from(self, old: Look) -> str:
        """The shortest SGR sequence that turns `old` into this, empty when they are equal."""
        if old is self or (old.attributes, old.foreground, old.background) == (
            self.attributes,
            self.foreground,
            self.background,
        ):
            return ""
        reset = (
            not set(old.attributes) <= set(self.attributes)
            or (old.foreground and not self.foreground)
            or (old.background and not self.background)
        )
        if reset:
            codes = ["0", *self.attributes, self.foreground, self.background]
        else:
            codes = [code for code in self.attributes if code not in old.attributes]
            codes += [self.foreground] * (self.foreground != old.foreground)
            codes += [self.background] * (self.background != old.background)
        text = ";".join(code for code in codes if code)
        return "\x1b[m" if text == "0" else f"\x1b[{text}m"


PLAIN = Look()
Cell = tuple[str, Look]
_VISIBLE_ON_SPACE = frozenset({"4", "7", "9", "21", "51", "52", "53"})


@lru_cache(maxsize=4096)
def _looks(style: Style | None, color_system: ColorSystem) -> tuple[Look, Look]:
    """The look of a style on text, and on a space, where the foreground cannot be seen."""
    if style is None:
        return PLAIN, PLAIN
    attributes = tuple(
        style._style_map[bit] for bit in range(13) if (style._attributes & style._set_attributes) >> bit & 1
    )
    foreground = ";".join(style.color.downgrade(color_system).get_ansi_codes()) if style.color else ""
    background = (
        ";".join(style.bgcolor.downgrade(color_system).get_ansi_codes(foreground=False)) if style.bgcolor else ""
    )
    link = f"id={style.link_id};{style.link}" if style.link else ""
    look = Look(attributes, foreground, background, link)
    if link or _VISIBLE_ON_SPACE.intersection(attributes):
        return look, look
    return look, Look((), "", background)


def _cells(strip: Strip, color_system: ColorSystem) -> Iterator[Cell]:
    """The cells of a strip; the second half of a wide character is an empty text, combining marks join their base."""
    for text, style, control in strip:
        if control:
            continue
        on_text, on_space = _looks(style, color_system)
        if text.isascii():
            for character in text:
                yield (character, on_space if character == " " else on_text)
            continue
        spans, _ = split_graphemes(text)
        for start, end, width in spans:
            character = text[start:end]
            yield (character, on_space if character == " " else on_text)
            for _ in range(width - 1):
                yield ("", on_text)


class CellMemory:
    """What the terminal shows and what it should show."""

    def __init__(self, width: int, height: int) -> None:
        self.width = width
        self.height = height
        self._wanted: list[list[Cell]] = [[(" ", PLAIN)] * width for _ in range(height)]
        self._shown: list[list[Cell | None]] = [[None] * width for _ in range(height)]
        self._touched: set[int] = set()

    def forget(self) -> None:
        """Assume nothing about what the terminal shows: the next paint writes every cell."""
        self._shown = [[None] * self.width for _ in range(self.height)]
        self._touched = set(range(self.height))

    def put(self, x: int, y: int, strips: Iterable[Strip], color_system: ColorSystem) -> None:
        """Want the strips, one behind the other, on row `y` from column `x`."""
        if not 0 <= y < self.height:
            return
        row = self._wanted[y]
        self._touched.add(y)
        if 0 < x < self.width and not row[x][0]:
            row[x - 1] = (" ", row[x - 1][1])
        for strip in strips:
            for cell in _cells(strip, color_system):
                if 0 <= x < self.width:
                    row[x] = cell
                x += 1
        # What is left of a wide character that was overwritten in part is blank, as on a terminal.
        if 0 < x < self.width and not row[x][0]:
            row[x] = (" ", row[x][1])

    def apply(self, update: LayoutUpdate | ChopsUpdate, color_system: ColorSystem) -> None:
        """Want what a compositor update shows."""
        if isinstance(update, LayoutUpdate):
            for y, line in enumerate(update.strips, update.region.y):
                self.put(update.region.x, y, line, color_system)
            return
        for y, start, stop in update.spans:
            for end, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
                if strip is None or x > stop or end <= start:
                    continue
                whole = stop > x >= start and end <= stop
                self.put(x, y, [strip if whole else strip.crop(0, min(end, stop) - x)], color_system)

    def flush(self) -> str:
        """The sequence that makes the terminal show what is wanted; remembers that it does."""
        out: list[str] = []
        pen = _Pen(out, self.width)
        for y in sorted(self._touched):
            wanted, shown = self._wanted[y], self._shown[y]
            if wanted == shown:
                continue
            self._write_row(pen, y, wanted, _changed(wanted, shown))
            self._shown[y] = list(wanted)
        self._touched.clear()
        pen.finish()
        return "".join(out)

    def _write_row(self, pen: _Pen, y: int, wanted: list[Cell], changed: list[bool]) -> None:
        x = 0
        while x < self.width:
            if not changed[x]:
                x += 1
                continue
            gap = x - pen.x if pen.y == y else 0
            if 0 < gap <= _SHORT_GAP and all(_joins(cell, pen.look) for cell in wanted[x - gap : x]):
                for cell in wanted[x - gap : x]:
                    pen.write(cell)
            pen.move(x, y)
            pen.write(wanted[x])
            x += 1
            while x < self.width and not wanted[x][0]:
                x += 1


def _joins(cell: Cell, look: Look) -> bool:
    """Whether an unchanged cell is cheaper to write again than to step over."""
    text, own = cell
    return len(text) == 1 and text.isascii() and (own == look or (text == " " and own.is_blank_in(look)))


def _changed(wanted: list[Cell], shown: list[Cell | None]) -> list[bool]:
    """Which cells to write. Half a wide character cannot be written or overwritten alone."""
    changed = [new != old for new, old in zip(wanted, shown, strict=True)]
    last = len(changed) - 1
    for direction in (range(last + 1), range(last, -1, -1)):
        for x in direction:
            if not changed[x]:
                continue
            old = shown[x]
            if x and ((old is not None and not old[0]) or not wanted[x][0]):
                changed[x - 1] = True
            if x < last:
                beside = shown[x + 1]
                if (beside is not None and not beside[0]) or not wanted[x + 1][0]:
                    changed[x + 1] = True
    return changed


class _Pen:
    """Where the cursor is and what it writes like; -1 where that cannot be known."""

    def __init__(self, out: list[str], width: int) -> None:
        self._out = out
        self._width = width
        self.x = -1
        self.y = -1
        self.look = PLAIN

    def move(self, x: int, y: int) -> None:
        if (x, y) == (self.x, self.y):
            return
        ahead = x - self.x
        if y == self.y and self.x >= 0 and ahead > 0:
            self._out.append("\x1b[C" if ahead == 1 else f"\x1b[{ahead}C")
        else:
            self._out.append(f"\x1b[{y + 1}H" if x == 0 else f"\x1b[{y + 1};{x + 1}H")
        self.x, self.y = x, y

    def write(self, cell: Cell) -> None:
        text, look = cell
        if text == " " and look.is_blank_in(self.look):
            look = self.look
        if look.link != self.look.link:
            self._out.append(f"\x1b]8;{look.link or ';'}\x1b\\")
        self._out.append(look.change_from(self.look))
        self.look = look
        self._out.append(text)
        self.x += 1
        # Terminals disagree on the width of unusual characters and on where the cursor rests behind the last column.
        if self.x >= self._width or len(text) != 1 or (not text.isascii() and cell_len(text) != 1):
            self.x = self.y = -1

    def finish(self) -> None:
        if self.look.link:
            self._out.append("\x1b]8;;\x1b\\")
        self._out.append(PLAIN.change_from(self.look))
        self.look = PLAIN


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
