"""The pure parts of forms: lines, columns, completion, bumping, bars, and the session on a draft."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidestep_tui.core.nvml import Gpu
from sidestep_tui.schema.advice import Advice
from sidestep_tui.schema.draft import Draft
from sidestep_tui.schema.fields import all_fields, fields_by_path
from sidestep_tui.schema.layers import Layer
from sidestep_tui.ui.forms import cells
from sidestep_tui.ui.forms.bar import memory_bar
from sidestep_tui.ui.forms.cells import Columns, RowState
from sidestep_tui.ui.forms.complete import complete_path
from sidestep_tui.ui.forms.line import Line
from sidestep_tui.ui.forms.numbers import bumped
from sidestep_tui.ui.forms.session import FormSession
from sidestep_tui.ui.theme import ASCII, UNICODE

GIB = 1024**3


def session_on(*layers: Layer) -> tuple[FormSession, list[int]]:
    changes: list[int] = []
    return FormSession(Draft(layers), lambda: changes.append(1), clock=lambda: 0.0), changes


# Lines


def test_typing_replaces_a_selected_number() -> None:
    assert Line.entered("64").insert("1").insert("28") == Line("128", 3)


def test_typing_goes_on_where_a_text_ends() -> None:
    assert Line.at_end("songs").insert("/") == Line("songs/", 6)


def test_an_arrow_key_keeps_a_selected_number() -> None:
    line = Line.entered("64").press("right")
    assert line == Line("64", 2)


def test_keys_that_do_not_edit_are_left_to_others() -> None:
    assert Line("x").press("f5") is None


def test_word_back_stops_at_the_parts_of_a_path() -> None:
    line = Line.at_end("/data/songs/old").press("ctrl+w")
    assert line == Line("/data/songs/", 12)


def test_pasted_control_characters_are_dropped() -> None:
    assert Line("").insert("a\x1bb\tc").text == "abc"


@given(st.lists(st.sampled_from(["x", "left", "right", "backspace", "delete", "home", "end", "ctrl+w", "ctrl+u"])))
def test_the_cursor_never_leaves_the_text(keys: list[str]) -> None:
    line = Line.entered("abc")
    for key in keys:
        line = line.insert("x") if key == "x" else line.press(key) or line
        assert 0 <= line.cursor <= len(line.text)


@given(st.text("abc", max_size=40), st.integers(0, 40), st.integers(2, 20))
def test_the_cursor_is_always_in_view(text: str, cursor: int, width: int) -> None:
    line = Line(text, min(cursor, len(text)))
    shown, at = line.shown(width)
    assert 0 <= at < width
    assert len(shown) <= width


# Rows


@given(
    st.sampled_from(all_fields()),
    st.integers(58, 200),
    st.booleans(),
    st.booleans(),
    st.text("ab1/", max_size=60),
    st.sampled_from(["", "inert", "advice", "offer"]),
)
def test_a_row_is_exactly_as_wide_as_its_widget(  # type: ignore[no-untyped-def]
    spec, width: int, focused: bool, wrong: bool, typed: str, said: str
) -> None:
    text = typed if spec.kind in cells.TYPED_KINDS else cells.format_value(spec, spec.default)
    state = RowState(
        "" if said == "offer" else text,
        "preset vram_24gb_plus",
        changed=focused,
        error="No." if wrong else "",
        inert="full matrix is on" if said == "inert" else "",
        advice=Advice("warning", spec.path, "It is too much.", {}, "Set it") if said == "advice" else None,
        offer="/checkpoints/acestep-v15-turbo-with-a-long-name" if said == "offer" else "",
    )
    text = state.text
    line = Line.at_end(text) if focused else None
    content = cells.row(spec, state, Columns.of_width(width), UNICODE, line=line)
    assert content.cell_length == width
    assert "\n" not in content.plain


def test_columns_do_not_move_with_what_they_hold() -> None:
    columns = Columns.of_width(64)
    rows = [
        cells.row(spec, RowState("1", "default", False, ""), columns, UNICODE, line=None).plain
        for spec in all_fields()
        if spec.kind in ("int", "float")
    ]
    assert len({row.index("default", 30) for row in rows}) == 1


def test_every_label_fits_its_column() -> None:
    assert [spec.path for spec in all_fields() if len(spec.meta.label) > cells.LABEL_WIDTH] == []


def test_ascii_rows_hold_nothing_but_ascii_beyond_units() -> None:
    spec = fields_by_path()["adapter.kind"]
    content = cells.row(spec, RowState("lora", "yours", True, ""), Columns.of_width(64), ASCII, line=Line(""))
    assert content.plain.isascii()


def test_bounds_are_short() -> None:
    specs = fields_by_path()
    assert cells.short_bounds(specs["adapter.rank"]) == "1–512"
    assert cells.short_bounds(specs["optim.lr"]) == ">0–1"
    assert cells.short_bounds(specs["train.max_steps"]) == "0–10M"


# Bumping


@pytest.mark.parametrize(
    ("path", "value", "direction", "expected"),
    [
        ("adapter.rank", 16, 1, 32),
        ("adapter.rank", 16, -1, 8),
        ("adapter.rank", 512, 1, 512),
        ("adapter.rank", 1, -1, 1),
        ("optim.lr", 1e-4, 1, 1.25e-4),
        ("adapter.dropout", 0.1, 1, 0.15),
        ("data.crop_seconds", 60.0, -1, 50.0),
        ("train.seed", -1, -1, -1),
    ],
)
def test_bumping_takes_a_sensible_step(path: str, value: float, direction: int, expected: float) -> None:
    assert bumped(fields_by_path()[path], value, direction) == expected


@given(
    st.sampled_from([spec for spec in all_fields() if spec.kind in ("int", "float")]),
    st.lists(st.sampled_from([1, -1]), max_size=60),
)
def test_bumping_never_leaves_the_bounds(spec, directions: list[int]) -> None:  # type: ignore[no-untyped-def]
    session, _ = session_on()
    for direction in directions:
        session.bump(spec.path, direction)
        assert session.draft.error(spec.path) == ""


# Completion


def test_completion_goes_as_far_as_it_is_unambiguous(home: Path) -> None:
    (home / "acestep-turbo").mkdir()
    (home / "acestep-base").mkdir()
    assert complete_path("a").text == "acestep-"
    assert complete_path("a").candidates == ("acestep-base/", "acestep-turbo/")
    assert complete_path("acestep-t").text == "acestep-turbo/"


def test_completion_offers_zips_where_songs_are_asked_for(home: Path) -> None:
    (home / "songs").mkdir()
    (home / "songs.zip").touch()
    (home / "songs.txt").touch()
    assert complete_path("so").text == "songs/"
    assert complete_path("so", takes_zips=True).candidates == ("songs.zip", "songs/")
    assert complete_path("so", takes_zips=True).text == "songs"
    assert complete_path("songs.", takes_zips=True).text == "songs.zip"


def test_completion_offers_no_files_and_no_hidden_folders(home: Path) -> None:
    (home / "song.wav").touch()
    (home / ".cache").mkdir()
    assert complete_path("").candidates == ()
    assert complete_path(".c").text == ".cache/"


def test_completion_leaves_what_fits_nothing(home: Path) -> None:
    assert complete_path("/no/such/place").text == "/no/such/place"


def test_completion_knows_the_home_directory(home: Path) -> None:
    assert complete_path("~/he").text == "~/here/"


# Bar


@given(st.lists(st.integers(0, 40 * GIB), min_size=5, max_size=5), st.integers(0, 48 * GIB), st.integers(10, 96))
def test_the_bar_is_as_wide_as_asked(sizes: list[int], room: int, width: int) -> None:
    parts = [(str(index), size) for index, size in enumerate(sizes)]
    assert memory_bar(parts, room, width, UNICODE).cell_length == width


# Session


def test_one_visit_to_a_field_is_one_step_of_undo() -> None:
    session, _ = session_on()
    for text in ("1", "12", "128"):
        session.type("adapter.rank", text)
    assert session.draft.value("adapter.rank") == 128
    assert session.undo() == "adapter.rank"
    assert session.draft.value("adapter.rank") == 64


def test_typing_the_old_value_again_does_not_take_back_an_earlier_edit() -> None:
    session, _ = session_on()
    session.set("adapter.alpha", "32")
    for text in ("6", "64", "6", "64"):
        session.type("adapter.rank", text)
    assert session.draft.value("adapter.alpha") == 32
    session.undo()
    assert session.draft.value("adapter.alpha") == 128


def test_a_second_visit_is_a_second_step_of_undo() -> None:
    session, _ = session_on()
    session.type("adapter.rank", "16")
    session.end_burst()
    session.type("adapter.rank", "32")
    session.undo()
    assert session.draft.value("adapter.rank") == 16


def test_cycling_wraps_around() -> None:
    session, _ = session_on()
    schedules = fields_by_path()["optim.schedule"].choices
    seen = []
    for _ in schedules:
        seen.append(session.draft.text("optim.schedule"))
        session.cycle("optim.schedule", 1)
    assert tuple(seen) == schedules
    assert session.draft.text("optim.schedule") == "cosine"


def test_the_last_option_of_a_list_stays() -> None:
    session, _ = session_on()
    for option in ("q", "k", "v", "o"):
        session.toggle_option("adapter.projections", option)
    assert session.draft.value("adapter.projections") == ("o",)


def test_settings_of_a_higher_level_are_shown_once_they_differ() -> None:
    session, _ = session_on()
    spec = fields_by_path()["optim.beta2"]
    assert not session.shows(spec)
    session.set("optim.beta2", "0.99")
    assert session.shows(spec)


def test_a_base_in_8_bits_is_suggested_only_where_nothing_else_helps() -> None:
    session, _ = session_on()
    session.set("model.variant", "xl-base")
    session.machine_known([Gpu(0, "", "small", 8 * GIB, 0, 8 * GIB, 0, 0, 0.0, 0.0)])
    assert session.draft.value("memory.base") == "int8"
    assert session.draft.origin("memory.base") == "hardware"
    session.set("adapter.rank", "32")
    assert session.draft.value("memory.base") == "int8", "a suggestion does not undo itself"
    session.set("model.variant", "turbo")
    assert session.draft.value("memory.base") == "full"


def test_a_draft_is_written_only_when_it_changed() -> None:
    session, _ = session_on()
    session.save()
    session.draft.step = "adapter"
    session.save()
    session.set("adapter.rank", "8")
    session.save()
    from sidestep_tui.schema import drafts

    assert drafts.load(session.draft.id).value("adapter.rank") == 8
