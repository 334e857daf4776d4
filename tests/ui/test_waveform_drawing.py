"""Waveforms as text: cuts where they are, brackets that show what slices share, and nothing out of bounds."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from sidestep_tui.ui.widgets import envelope
from sidestep_tui.ui.widgets.envelope import Piece, Window

FLAT = ([-0.5] * 60, [0.5] * 60)
MINUTE = [Piece(0, 25), Piece(20, 45), Piece(35, 60, is_tail=True)]


def texts(rows: list[list[tuple[str, str]]]) -> list[str]:
    return ["".join(part for part, _ in spans) for spans in rows]


def test_a_rule_stands_at_every_cut_and_shared_sound_is_marked() -> None:
    rows = envelope.outline(*FLAT, 60.0, MINUTE, Window(0, 60, 60), 3)
    assert len(rows) == 3
    for line, spans in zip(texts(rows), rows, strict=True):
        assert [x for x, sign in enumerate(line) if sign == "│"] == [20, 35]
        assert [(len(part), style) for part, style in spans] == [
            (20, "line"),
            (1, "cursor"),
            (4, "accent"),
            (10, "line"),
            (1, "cursor"),
            (9, "accent"),
            (15, "line"),
        ]


def test_brackets_alternate_so_that_what_two_share_stands_in_both() -> None:
    upper, lower = texts(envelope.brackets(MINUTE, 60.0, Window(0, 60, 60)))
    assert upper == "├1──────────────────────┤          ├3 tail─────────────────┤"
    assert lower == "                    ├2──────────────────────┤"


def test_what_no_slice_holds_is_faint_and_named() -> None:
    pieces = [Piece(0, 30)]
    spans = envelope.outline(*FLAT, 60.0, pieces, Window(0, 60, 60), 1)[0]
    assert [(len(part), style) for part, style in spans] == [(30, "line"), (30, "faint")]
    assert "30.0 s left over" in texts(envelope.brackets(pieces, 60.0, Window(0, 60, 60)))[1]


def test_unknown_cuts_are_not_drawn_as_none() -> None:
    window = Window(0, 60, 60)
    assert {style for _, style in envelope.outline(*FLAT, 60.0, None, window, 1)[0]} == {"line"}
    assert texts(envelope.brackets(None, 60.0, window)) == ["", ""]


def test_many_cuts_only_tick_the_first_row() -> None:
    pieces = [Piece(start, start + 2) for start in range(0, 58, 2)]
    first, second = texts(envelope.outline(*FLAT, 60.0, pieces, Window(0, 60, 60), 2))
    assert first.count("│") == 28
    assert "│" not in second


def test_the_ruler_names_round_moments() -> None:
    assert texts([envelope.ruler(Window(0, 60, 60))]) == ["0:00      0:10      0:20      0:30      0:40      0:50"]
    assert texts([envelope.ruler(Window(61, 62, 30))]) == ["1:01.0         1:01.5"]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 90), st.floats(0, 60)), max_size=12),
    st.floats(0.1, 100),
    st.floats(0, 90),
    st.floats(0.01, 100),
    st.integers(1, 130),
    st.integers(1, 9),
    st.booleans(),
    st.integers(0, 300),
)
def test_no_row_is_wider_than_the_window(
    raw: list[tuple[float, float]],
    seconds: float,
    first: float,
    span: float,
    width: int,
    height: int,
    ascii_only: bool,
    columns: int,
) -> None:
    pieces = [Piece(start, start + length) for start, length in raw]
    window = Window(first, first + span, width)
    low, high = [-0.3] * columns, [0.2] * columns
    drawn = envelope.outline(low, high, seconds, pieces, window, height, ascii_only=ascii_only)
    below = [*envelope.brackets(pieces, seconds, window, ascii_only=ascii_only), envelope.ruler(window)]
    assert len(drawn) == height
    assert all(len(line) == width for line in texts(drawn))
    assert all(len(line) <= width for line in texts(below))
    if ascii_only:
        assert all(line.isascii() for line in texts(drawn) + texts(below))
