"""Normalising what tools write into what the model knows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidestep_tui.dataset import values

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=4)
)


@pytest.mark.parametrize("raw", [142, "142", "142 bpm", "142BPM", 142.4, "141.9", "142,0", " 142 "])
def test_bpm_is_read_from_numbers_and_text(raw: object) -> None:
    assert values.bpm(raw) == 142


@pytest.mark.parametrize("raw", [True, 29, 301, "fast", "-120", "1e3", float("inf"), 10**400, "", [[120]], "٣٠"])
def test_bpm_out_of_range_or_no_number_is_refused(raw: object) -> None:
    with pytest.raises(ValueError, match=r"^(is|are) "):
        values.bpm(raw)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("E Minor", "E minor"),
        ("e minor", "E minor"),
        ("Em", "E minor"),
        ("EM", "E major"),
        ("F♯ maj", "F# major"),
        ("Bb minor", "Bb minor"),
        ("b minor", "B minor"),
        ("B♭ Major", "Bb major"),
        ("C", "C major"),
        ("G sharp minor", "G# minor"),
        ("A-flat-major", "Ab major"),
        ("D_min", "D minor"),
    ],
)
def test_key_takes_one_form(raw: str, expected: str) -> None:
    assert values.keyscale(raw) == expected


@pytest.mark.parametrize("raw", ["H minor", "8A", "E dorian", "E minor minor", 5, "", None])
def test_key_out_of_the_vocabulary_is_refused(raw: object) -> None:
    with pytest.raises(ValueError, match=r"^is "):
        values.keyscale(raw)


@pytest.mark.parametrize(
    ("raw", "expected"), [("4/4", "4"), (4, "4"), ("6/8", "6"), ("3", "3"), (4.0, "4"), ("2 / 4", "2")]
)
def test_time_signature_is_its_beats(raw: object, expected: str) -> None:
    assert values.timesignature(raw) == expected


@pytest.mark.parametrize("raw", ["5/4", "12/8", 7, "four", "4/3"])
def test_other_meters_are_refused(raw: object) -> None:
    with pytest.raises(ValueError, match="2, 3, 4, 6"):
        values.timesignature(raw)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [("EN", "en"), ("English", "en"), ("pt-BR", "pt"), ("zh_Hans", "zh"), ("yue", "yue"), ("Unknown", "unknown")],
)
def test_language_becomes_a_code(raw: str, expected: str) -> None:
    assert values.language(raw) == expected


def test_language_that_the_model_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match="language code"):
        values.language("klingon")


@pytest.mark.parametrize(("raw", "expected"), [(True, True), ("Yes", True), (1, True), ("false", False), (0, False)])
def test_flags_are_read_from_words_and_numbers(raw: object, expected: bool) -> None:
    assert values.flag(raw) is expected


def test_repeats_are_whole_and_bounded() -> None:
    assert [values.repeats(raw) for raw in (3, "3", "3x")] == [3, 3, 3]
    for raw in (0, 1.5, 1001, "many"):
        with pytest.raises(ValueError, match="is not a"):
            values.repeats(raw)


def test_text_loses_what_cannot_be_stored() -> None:
    assert values.text("a\x00b\ud800c\r\nd\ufeff ") == "ab?c\nd"
    assert values.text("slow piano<|im_end|><|endoftext|>") == "slow piano"
    assert values.text(["rock", None, "", 80]) == "rock, 80"


@settings(deadline=None)
@given(anything)
@pytest.mark.parametrize(
    "reader",
    [values.bpm, values.keyscale, values.timesignature, values.language, values.flag, values.repeats, values.text],
)
def test_readers_accept_or_say_why_not(reader: Any, raw: object) -> None:
    values.is_blank(raw)
    try:
        result = reader(raw)
    except ValueError as error:
        assert str(error).startswith("is ")
    else:
        if isinstance(result, str):
            assert reader(result) == result
