"""A chart that is looked at closely: zoom, pan, a cursor, linear or logarithmic, with or without outliers.

What is drawn is the business of the widgets made from it; how one looks at it is remembered here.
"""

from __future__ import annotations

import string
from typing import ClassVar

from textual import events

from sidestep_tui.ui.widgets import axis as axes
from sidestep_tui.ui.widgets import plot
from sidestep_tui.ui.widgets.rows import Rows

LEAST_WIDTH = plot.LABEL_WIDTH + 8
LEAST_HEIGHT = 3
CURVE_STYLES = ("curve-1", "curve-2", "curve-3", "curve-4", "curve-5", "curve-6")
"""Styles of curves that lie in one chart; more curves take them again, and their letters tell them apart."""

_LETTERS = string.ascii_uppercase + string.ascii_lowercase
_LEAST_STEPS = 8
_LEAST_SHARE = 1e-4
_ZOOM = 2.0
_PAN = 0.25


def letter(place: int) -> str:
    """The letter of the curve at a place; they repeat after the fifty-second."""
    return _LETTERS[place % len(_LETTERS)]


def style(place: int) -> str:
    """The style of the curve at a place."""
    return CURVE_STYLES[place % len(CURVE_STYLES)]


class Viewport(Rows, can_focus=True):
    """The view on a chart. Widgets made from it draw in `repaint` and keep the drawing in `drawing`."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"rows--{name}" for name in CURVE_STYLES}

    DEFAULT_CSS = """
    Viewport {
        & > .rows--curve-1 { color: $text-primary; }
        & > .rows--curve-2 { color: $text-warning; }
        & > .rows--curve-3 { color: $text-success; }
        & > .rows--curve-4 { color: $text-secondary; }
        & > .rows--curve-5 { color: $text-error; }
        & > .rows--curve-6 { color: $text-accent; }
    }
    """

    def __init__(self, *, ascii_only: bool = False, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.ascii_only = ascii_only
        self.across: axes.Across = "step"
        self.log_scale = False
        self.clip = True
        self.part: axes.Part | None = None
        self.cursor: float | None = None
        """Where the cursor stands, as the horizontal axis counts."""
        self.drawing: plot.Drawing | None = None

    def repaint(self) -> None:
        """Draw again and hand over the rows that differ."""
        raise NotImplementedError

    def reach(self) -> tuple[float, float]:
        """The first and the last value of the whole horizontal axis."""
        raise NotImplementedError

    def known_axes(self) -> tuple[axes.Across, ...]:
        """What the horizontal axis can count here."""
        return axes.ACROSS

    def snap(self, start: float, end: float) -> float:
        """Where the cursor stands in a column that holds `[start, end)`."""
        return start

    @property
    def has_room(self) -> bool:
        """Whether a chart fits into the widget."""
        return self.size.width >= LEAST_WIDTH and self.size.height >= LEAST_HEIGHT

    # How it is looked at

    def next_axis(self) -> None:
        """Steps, samples, or minutes, as far as the run tells them. The view is whole again."""
        known = self.known_axes()
        place = known.index(self.across) + 1 if self.across in known else 0
        self.across = known[place % len(known)]
        self.part = None
        self.cursor = None
        self.repaint()

    def toggle_log_scale(self) -> None:
        """Linear or logarithmic values."""
        self.log_scale = not self.log_scale
        self.repaint()

    def toggle_clip(self) -> None:
        """Leave out what lies far beyond all the rest, or show it."""
        self.clip = not self.clip
        self.repaint()

    def zoom(self, direction: int) -> None:
        """Half or twice as much of the axis, around the cursor if there is one."""
        first, last = self.reach()
        least = _LEAST_STEPS if self.across == "step" else (last - first) * _LEAST_SHARE
        factor = 1 / _ZOOM if direction > 0 else _ZOOM
        if last > first:
            self.part = axes.zoomed(self.part, factor, first, last, anchor=self.cursor, least=least)
        self.repaint()

    def pan(self, direction: int) -> None:
        """Move a zoomed view by a quarter of its length."""
        if self.part is not None:
            self.part = axes.panned(self.part, direction * _PAN, *self.reach())
            self.repaint()

    def show_all(self) -> bool:
        """Leave the zoom; says whether there was one."""
        had = self.part is not None
        self.part = None
        if had:
            self.repaint()
        return had

    # The cursor

    def move_cursor(self, direction: int) -> None:
        """Move the cursor to the next measured column; the first move shows it at that end of the chart."""
        drawing = self.drawing
        columns = [i for i, there in enumerate(drawing.measured) if there] if drawing else []
        if drawing is None or not columns:
            return
        now = drawing.axis.column(self.cursor) if self.cursor is not None else None
        if now is None:
            target = columns[-1] if direction < 0 else columns[0]
        elif direction < 0:
            target = max((i for i in columns if i < now), default=columns[0])
        else:
            target = min((i for i in columns if i > now), default=columns[-1])
        self._put_cursor(drawing.axis, target)

    def cursor_to_end(self, direction: int) -> None:
        """Put the cursor on the first or the last measured column of what is shown."""
        drawing = self.drawing
        columns = [i for i, there in enumerate(drawing.measured) if there] if drawing else []
        if drawing is not None and columns:
            self._put_cursor(drawing.axis, columns[0] if direction < 0 else columns[-1])

    def _put_cursor(self, axis: plot.Axis, column: int) -> None:
        start = axis.start + column * axis.width * 2
        self.cursor = self.snap(start, start + axis.width * 2)
        self.repaint()

    def hide_cursor(self) -> bool:
        """Remove the cursor; says whether there was one."""
        had = self.cursor is not None
        self.cursor = None
        if had:
            self.repaint()
        return had

    def on_resize(self, event: events.Resize) -> None:
        """Draw for the new size."""
        self.repaint()
