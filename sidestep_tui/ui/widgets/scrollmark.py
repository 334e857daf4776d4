"""A scroll bar of one cell: where in a page we are, at 20 bytes instead of the 700 of a thumb of many rows."""

from __future__ import annotations

from rich.color import Color
from rich.segment import Segment, Segments
from rich.style import Style
from textual.scrollbar import ScrollBarRender

_GREY = Color.parse("#555555")


class ScrollMark(ScrollBarRender):
    """One mark in an empty column: at the top, at the end, or as far down as what is shown lies in the whole."""

    MARK = "┃"

    @classmethod
    def render_bar(
        cls,
        size: int = 25,
        virtual_size: float = 50,
        window_size: float = 20,
        position: float = 0,
        thickness: int = 1,
        vertical: bool = True,
        back_color: Color = _GREY,
        bar_color: Color = _GREY,
    ) -> Segments:
        """The cells of a vertical bar, from top to bottom."""
        rows = int(size)
        at = -1
        if window_size and virtual_size > window_size:
            at = round((rows - 1) * min(1.0, position / (virtual_size - window_size)))
        segments = []
        for row in range(rows):
            meta = {"@mouse.down": "grab" if row == at else "scroll_up" if row < at else "scroll_down"}
            text = (cls.MARK if row == at else " ") * thickness
            segments.append(Segment(text, Style(bgcolor=back_color, color=bar_color, meta=meta)))
        return Segments(segments, new_lines=True)


class AsciiScrollMark(ScrollMark):
    """The same on terminals without line drawing."""

    MARK = "|"
