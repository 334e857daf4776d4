"""The changed-cells display shows what Textual's own path shows."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pyte
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from rich.color import ColorSystem
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.app import ComposeResult
from textual.drivers.headless_driver import HeadlessDriver
from textual.geometry import Region
from textual.strip import Strip
from textual.widgets import Static

from sidestep_tui.ui.cell_memory import PLAIN, CellMemory, Look
from sidestep_tui.ui.display import ChangedCellsApp

WIDTH, HEIGHT = 24, 5
CONSOLE = Console(color_system="256", force_terminal=True, width=WIDTH, height=HEIGHT)
STYLES = [
    None,
    Style.parse("bold red"),
    Style.parse("red on blue"),
    Style.parse("dim #80ff20 on #202020"),
    Style.parse("underline italic"),
    Style.parse("reverse"),
    Style.parse("white on blue"),
]
NARROW = st.sampled_from(["a", " ", "  ", "loss", "0.123", "⣿⡇", "│", "é", "e\u0301", "▁▂▃"])
WORDS = NARROW | st.sampled_from(["漢字", "日"])
QUICK = settings(max_examples=60, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))


@st.composite
def rows(draw: st.DrawFn, width: int, words: st.SearchStrategy[str] = NARROW) -> Strip:
    """A strip exactly `width` cells wide, of random words in random styles."""
    segments: list[Segment] = []
    left = width
    while left > 0:
        segment = Segment(draw(words), draw(st.sampled_from(STYLES)))
        # A combining mark in the last column makes pyte wrap early (it tests for the margin before the width).
        if segment.cell_length > left or (segment.cell_length == left and segment.text.endswith("\u0301")):
            segment = Segment(" " * left, segment.style)
        segments.append(segment)
        left -= segment.cell_length
    return Strip(segments, width)


@st.composite
def updates(draw: st.DrawFn) -> LayoutUpdate | ChopsUpdate:
    if draw(st.booleans()):
        x, y = draw(st.integers(0, WIDTH - 1)), draw(st.integers(0, HEIGHT - 1))
        region = Region(x, y, draw(st.integers(1, WIDTH - x)), draw(st.integers(1, HEIGHT - y)))
        return LayoutUpdate([[draw(rows(region.width))] for _ in range(region.height)], region)
    cut = draw(st.integers(1, WIDTH - 1))
    chops = [{0: draw(rows(cut)), cut: draw(rows(WIDTH - cut))} for _ in range(HEIGHT)]
    start = draw(st.sampled_from([0, cut]))
    stop = draw(st.sampled_from([end for end in (cut, WIDTH) if end > start]))
    spans = [(y, start, stop) for y in sorted(draw(st.sets(st.integers(0, HEIGHT - 1), min_size=1)))]
    return ChopsUpdate(chops, spans, [[cut, WIDTH]] * HEIGHT)


def test_histories_with_moved_rows_show_what_the_stock_path_shows() -> None:
    wild = random.Random(3)
    memory = CellMemory(WIDTH, HEIGHT + 9)
    stock, ours = pyte.Screen(WIDTH, HEIGHT + 9), pyte.Screen(WIDTH, HEIGHT + 9)
    texts = [f"{number:>3} {wild.choice('abc漢') * 10}".ljust(12) for number in range(90)]
    lines = [Strip([Segment(text, STYLES[number % 7])]) for number, text in enumerate(texts)]
    at, scrolled = 40, 0
    for _ in range(80):
        at = min(max(at + wild.choice([0, 1, 1, -1, 2, -2, 3, 9]), 0), 70)
        top = wild.choice([0, 0, 0, 2])
        rows = [[Strip.join([line]).adjust_cell_length(WIDTH)] for line in lines[at : at + HEIGHT + 9 - top]]
        update = LayoutUpdate(rows, Region(0, top, WIDTH, len(rows)))  # type: ignore[arg-type]
        pyte.Stream(stock).feed(update.render_segments(CONSOLE))
        memory.apply(update, ColorSystem.EIGHT_BIT)
        sequence = memory.flush()
        scrolled += "\x1b[r" in sequence
        pyte.Stream(ours).feed(sequence)
        assert [[_visible(ours.buffer[y][x]) for x in range(WIDTH)] for y in range(HEIGHT + 9)] == [
            [_visible(stock.buffer[y][x]) for x in range(WIDTH)] for y in range(HEIGHT + 9)
        ]
    assert scrolled > 10


@st.composite
def whole_rows(draw: st.DrawFn) -> LayoutUpdate:
    """Rows over the full width, wide characters among them: Textual never cuts one in half."""
    y = draw(st.integers(0, HEIGHT - 1))
    return LayoutUpdate([[draw(rows(WIDTH, WORDS))]], Region(0, y, WIDTH, 1))


def _screen(stream_of: list[str]) -> list[list[tuple[object, ...]]]:
    screen = pyte.Screen(WIDTH, HEIGHT)
    stream = pyte.Stream(screen)
    for text in stream_of:
        stream.feed(text)
    return [[_visible(screen.buffer[y][x]) for x in range(WIDTH)] for y in range(HEIGHT)]


def _visible(cell: pyte.screens.Char) -> tuple[object, ...]:
    """What an eye sees of a cell: the foreground of a plain space is not part of it."""
    common = (cell.data, cell.bg, cell.underscore, cell.strikethrough, cell.reverse)
    if cell.data == " " and not (cell.underscore or cell.strikethrough or cell.reverse):
        return common
    return (*common, cell.fg, cell.bold, cell.italics)


def _blank() -> LayoutUpdate:
    return LayoutUpdate([[Strip([Segment(" " * WIDTH)], WIDTH)] for _ in range(HEIGHT)], Region(0, 0, WIDTH, HEIGHT))


@QUICK
@given(st.lists(updates(), min_size=1, max_size=6) | st.lists(whole_rows(), min_size=1, max_size=6), st.data())
def test_changed_cells_show_what_the_stock_path_shows(
    history: list[LayoutUpdate | ChopsUpdate], data: st.DataObject
) -> None:
    memory = CellMemory(WIDTH, HEIGHT)
    stock: list[str] = []
    ours: list[str] = []
    for update in [_blank(), *history]:
        stock.append(update.render_segments(CONSOLE))
        memory.apply(update, ColorSystem.EIGHT_BIT)
        if data.draw(st.booleans(), label="link keeps up"):
            ours.append(memory.flush())
    ours.append(memory.flush())
    assert _screen(ours) == _screen(stock)


def test_nothing_is_written_when_nothing_changed() -> None:
    memory = CellMemory(WIDTH, HEIGHT)
    memory.apply(_blank(), ColorSystem.EIGHT_BIT)
    assert memory.flush()
    memory.apply(_blank(), ColorSystem.EIGHT_BIT)
    assert memory.flush() == ""


def test_one_changed_digit_costs_a_move_and_a_character() -> None:
    memory = CellMemory(WIDTH, HEIGHT)
    memory.apply(_blank(), ColorSystem.EIGHT_BIT)
    memory.put(0, 1, [Strip([Segment("loss 0.1423", STYLES[3])])], ColorSystem.EIGHT_BIT)
    memory.flush()
    memory.put(0, 1, [Strip([Segment("loss 0.1424", STYLES[3])])], ColorSystem.EIGHT_BIT)
    sequence = memory.flush()
    assert sequence.startswith("\x1b[2;11H")
    assert len(sequence) < 40


@pytest.mark.parametrize("by", [1, 2, -1])
def test_rows_that_move_are_scrolled_by_the_terminal(by: int) -> None:
    memory = CellMemory(80, 12)
    frame = Strip([Segment("=" * 80)], 80)
    wild = random.Random(5)
    texts = [f"│ {number} {wild.randbytes(30).hex()}" for number in range(20)]
    lines = [Strip([Segment(text.ljust(79) + "│", STYLES[3])], 80) for text in texts]

    def show(first: int) -> str:
        rows = [[frame], *([line] for line in lines[first : first + 9]), [frame], [frame]]
        memory.apply(LayoutUpdate(rows, Region(0, 0, 80, 12)), ColorSystem.EIGHT_BIT)  # type: ignore[arg-type]
        return memory.flush()

    sent = [show(5)]
    sent.append(show(5 + by))
    assert "r\x1b[" in sent[1]
    assert len(sent[1]) < 110 * abs(by) + 60
    screen = pyte.Screen(80, 12)
    for text in sent:
        pyte.Stream(screen).feed(text)
    assert [line.split()[1] for line in screen.display[1:10]] == [str(number + 5 + by) for number in range(9)]
    assert memory.flush() == ""


def test_after_forgetting_every_cell_is_written_again() -> None:
    memory = CellMemory(WIDTH, HEIGHT)
    memory.apply(_blank(), ColorSystem.EIGHT_BIT)
    memory.flush()
    memory.forget()
    assert memory.flush().count(" ") == WIDTH * HEIGHT


@pytest.mark.parametrize(
    ("old", "new", "sequence"),
    [
        (PLAIN, PLAIN, ""),
        (PLAIN, Look(("1",), "31"), "\x1b[1;31m"),
        (Look(("1",), "31"), Look(("1",), "32"), "\x1b[32m"),
        (Look(("1",), "31"), Look((), "31"), "\x1b[0;31m"),
        (Look((), "31", "44"), PLAIN, "\x1b[m"),
    ],
)
def test_a_look_changes_by_the_shortest_sequence(old: Look, new: Look, sequence: str) -> None:
    assert new.change_from(old) == sequence


# The app around it


class _Recorder(HeadlessDriver):
    """A terminal that keeps what is written to it, behind a queue that tests fill."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.written: list[str] = []
        self._writer_thread = SimpleNamespace(_queue=SimpleNamespace(qsize=lambda: self.waiting))
        self.waiting = 0

    @property
    def is_headless(self) -> bool:
        return False

    def write(self, data: str) -> None:
        self.written.append(data)


class _Page(ChangedCellsApp):
    """One line of text."""

    def __init__(self) -> None:
        super().__init__(driver_class=_Recorder)

    def compose(self) -> ComposeResult:
        yield Static("0", id="line")


def _rows(written: list[str], width: int, height: int) -> list[str]:
    screen = pyte.Screen(width, height)
    stream = pyte.Stream(screen)
    for text in written:
        stream.feed(text)
    return [line.rstrip() for line in screen.display]


async def test_a_line_that_is_full_is_written_nothing_and_gets_the_last_picture_when_it_drains() -> None:
    app = _Page()
    async with app.run_test(headless=False, size=(30, 3)) as pilot:
        await pilot.pause()
        driver = app._driver
        assert isinstance(driver, _Recorder)
        assert _rows(driver.written, 30, 3)[0] == "0"
        driver.waiting = 3
        before = len(driver.written)
        for number in range(20):
            app.query_one(Static).update(f"picture {number}")
            await pilot.pause()
        assert len(driver.written) == before
        assert app.traffic.held > 5
        assert app.is_behind
        driver.waiting = 0
        app._drain()
        assert 0 < len(driver.written) - before <= 3
        assert _rows(driver.written, 30, 3)[0] == "picture 19"


async def test_after_a_hangup_the_queue_that_nobody_empties_is_left_alone() -> None:
    app = _Page()
    async with app.run_test(headless=False, size=(30, 3)) as pilot:
        await pilot.pause()
        driver = app._driver
        assert isinstance(driver, _Recorder)
        before = len(driver.written)
        app.drop_output()
        app.query_one(Static).update("for nobody")
        await pilot.pause()
        assert len(driver.written) == before
        assert vars(driver)["_writer_thread"] is None
        assert not app.is_behind
