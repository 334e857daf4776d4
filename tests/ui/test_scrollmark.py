"""The scroll bar of one cell: where in a page we are."""

from __future__ import annotations

import pytest

from sidestep_tui.ui.widgets.scrollmark import AsciiScrollMark, ScrollMark


def column(position: float, *, size: int = 10, virtual: float = 40, bar: type[ScrollMark] = ScrollMark) -> str:
    segments = bar.render_bar(size=size, virtual_size=virtual, window_size=size, position=position)
    return "".join(segment.text for segment in segments.segments)


@pytest.mark.parametrize(("position", "row"), [(0, 0), (15, 4), (30, 9), (99, 9)])
def test_the_mark_is_as_far_down_as_what_is_shown(position: float, row: int) -> None:
    assert column(position) == " " * row + "┃" + " " * (9 - row)


def test_a_page_that_is_shown_whole_has_no_mark() -> None:
    assert column(0, virtual=10) == " " * 10


def test_terminals_without_line_drawing_get_a_mark_too() -> None:
    assert column(0, bar=AsciiScrollMark).isascii()
