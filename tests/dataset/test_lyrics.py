"""Cleaning lyrics."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidestep_tui.dataset import lyrics


def test_timestamps_headers_and_blank_lines_of_lrc_go() -> None:
    timed = (
        "[ar:Someone]\n[ti:Song]\n[00:01.00][01:10.5]Hello\n\n[00:04]<00:04.10>you <00:05.20>there\n"
        "[00:09.123]\n\n[00:12.00]Again\n\n"
    )
    assert lyrics.clean(timed) == "Hello\nyou there\n\nAgain"


def test_structure_tags_and_one_blank_line_between_parts_stay() -> None:
    assert lyrics.clean("\n\n[Verse 1]\r\n a \n\n\n\n[Chorus]\nb\n\n") == "[Verse 1]\na\n\n[Chorus]\nb"


def test_a_tag_that_looks_like_an_lrc_header_stays_in_plain_lyrics() -> None:
    assert lyrics.clean("[by: night]\nwords") == "[by: night]\nwords"


@pytest.mark.parametrize(
    "text", ["[Instrumental]", "instrumental", "(Instrumental)\n", "[inst]", "No lyrics.", "♪ instrumental ♪"]
)
def test_statements_that_nothing_is_sung_are_understood(text: str) -> None:
    assert lyrics.says_instrumental(text)
    assert not lyrics.has_words(text)


def test_tags_alone_are_no_words() -> None:
    assert not lyrics.has_words("[Intro]\n\n[Drop]\n")
    assert lyrics.has_words("[Intro]\nOh")
    assert not lyrics.says_instrumental("an instrumental break of my heart")


@settings(deadline=None)
@given(st.text(alphabet=st.characters() | st.sampled_from("[]:<>0123.\n\r ar"), max_size=300))
def test_cleaning_never_fails_and_settles(text: str) -> None:
    cleaned = lyrics.clean(text)
    assert cleaned == cleaned.strip()
    assert "\n\n\n" not in cleaned
    cleaned.encode("utf-8")
    lyrics.has_words(cleaned)
