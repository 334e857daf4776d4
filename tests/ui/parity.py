"""Two terminals beside an app: one gets what Textual itself would write, the other what the changed cells come to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyte
import pytest
from rich.color import ColorSystem
from rich.console import Console
from textual._compositor import ChopsUpdate, LayoutUpdate

from sidestep_tui.ui.cell_memory import CellMemory
from sidestep_tui.ui.display import ChangedCellsApp


class Parity:
    """Both terminals; `differences` compares them."""

    def __init__(self) -> None:
        self._memory = CellMemory(1, 1)
        self._stock = self._ours = pyte.Screen(1, 1)
        self._streams = pyte.Stream(self._stock), pyte.Stream(self._ours)
        self.updates = 0

    def take(self, update: LayoutUpdate | ChopsUpdate, console: Console, width: int, height: int) -> None:
        """An update of the compositor."""
        if (self._memory.width, self._memory.height) != (width, height):
            self._memory = CellMemory(width, height)
            self._stock, self._ours = pyte.Screen(width, height), pyte.Screen(width, height)
            self._streams = pyte.Stream(self._stock), pyte.Stream(self._ours)
        self.updates += 1
        self._streams[0].feed(update.render_segments(console))
        # As the app's own console sees colours: Rich keeps what a style first came to.
        self._memory.apply(update, console._color_system or ColorSystem.TRUECOLOR)
        if self.updates % 3:  # every third frame is held back, as on a slow line
            self._streams[1].feed(self._memory.flush())

    def differences(self) -> list[str]:
        """Rows that differ, as both show them."""
        self._streams[1].feed(self._memory.flush())
        found = []
        for y in range(self._memory.height):
            both = zip(self._cells(self._stock, y), self._cells(self._ours, y), strict=True)
            if any(stock != ours and _visible(stock) != _visible(ours) for stock, ours in both):
                found += [self._stock.display[y], self._ours.display[y]]
        return found

    def _cells(self, screen: pyte.Screen, y: int) -> list[pyte.screens.Char]:
        return [screen.buffer[y][x] for x in range(self._memory.width)]


def _visible(cell: pyte.screens.Char) -> tuple[object, ...]:
    """What an eye sees of a cell: the foreground of a plain space is not part of it."""
    common = (cell.data, cell.bg, cell.underscore, cell.strikethrough, cell.reverse)
    if cell.data == " " and not any(common[2:]):
        return common
    return (*common, cell.fg, cell.bold, cell.italics)


@contextmanager
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Parity]:
    """Show what apps display on both terminals, meanwhile."""
    parity = Parity()
    display = ChangedCellsApp._display

    def both(app: ChangedCellsApp, screen: Any, update: Any) -> None:
        if isinstance(update, LayoutUpdate | ChopsUpdate) and not app._batch_count:
            parity.take(update, app.console, *app.size)
        display(app, screen, update)

    with monkeypatch.context() as patch:
        patch.setattr(ChangedCellsApp, "_display", both)
        yield parity
