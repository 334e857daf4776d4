"""The exact strings that the text encoder reads. A changed byte here changes what every adapter learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidestep_tui.dataset.captions import lyrics_text, prompt, tagged
from sidestep_tui.dataset.manifest import Song


def song(**fields: Any) -> Song:
    return Song(name="night drive", audio=Path("night drive.wav"), **fields)


def test_prompt_states_everything_that_is_known() -> None:
    known = song(caption="a slow waltz, upright piano", bpm=142, keyscale="G# minor", timesignature="4")
    assert prompt(known, tag="", tag_position="prepend", seconds=199.9) == (
        "# Instruction\n"
        "Fill the audio semantic mask based on the given conditions:\n"
        "\n"
        "# Caption\n"
        "a slow waltz, upright piano\n"
        "\n"
        "# Metas\n"
        "- bpm: 142\n"
        "- timesignature: 4\n"
        "- keyscale: G# minor\n"
        "- duration: 199 seconds\n"
        "<|endoftext|>\n"
    )


def test_prompt_says_not_available_for_what_is_missing() -> None:
    assert prompt(song(caption="hum"), tag="", tag_position="prepend", seconds=30.7) == (
        "# Instruction\n"
        "Fill the audio semantic mask based on the given conditions:\n"
        "\n"
        "# Caption\n"
        "hum\n"
        "\n"
        "# Metas\n"
        "- bpm: N/A\n"
        "- timesignature: N/A\n"
        "- keyscale: N/A\n"
        "- duration: 30 seconds\n"
        "<|endoftext|>\n"
    )


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_prompt_never_states_an_impossible_duration(seconds: float) -> None:
    assert "- duration: 30 seconds\n" in prompt(song(), tag="", tag_position="prepend", seconds=seconds)


def test_prompt_reads_the_beats_of_a_fraction_and_drops_values_out_of_the_vocabulary() -> None:
    odd = song(caption="x", bpm=301, keyscale="H dur", timesignature="4/4")
    text = prompt(odd, tag="", tag_position="prepend", seconds=60)
    assert "- bpm: N/A\n- timesignature: 4\n- keyscale: N/A\n" in text


def test_lyrics_stand_under_their_language_and_end_without_a_newline() -> None:
    sung = song(lyrics="[Verse 1]\nWalking home\n\n[Chorus]\nLa la", language="en")
    assert lyrics_text(sung) == ("# Languages\nen\n\n# Lyric\n[Verse 1]\nWalking home\n\n[Chorus]\nLa la<|endoftext|>")


def test_instrumental_songs_have_the_mark_and_no_language() -> None:
    assert lyrics_text(song(instrumental=True, language="en")) == (
        "# Languages\nunknown\n\n# Lyric\n[Instrumental]<|endoftext|>"
    )


def test_vocals_without_words_keep_an_empty_lyric() -> None:
    assert lyrics_text(song(language="ja")) == "# Languages\nja\n\n# Lyric\n<|endoftext|>"


@pytest.mark.parametrize(
    ("position", "expected"),
    [("prepend", "zx, slow, piano"), ("append", "slow, piano, zx"), ("replace", "zx")],
)
def test_tag_goes_where_it_is_wanted(position: Any, expected: str) -> None:
    assert tagged("slow, piano", "zx", position) == expected
    assert f"# Caption\n{expected}\n\n" in prompt(
        song(caption="slow, piano"), tag="zx", tag_position=position, seconds=9
    )


@pytest.mark.parametrize("position", ["prepend", "append", "replace"])
def test_no_tag_leaves_the_caption_alone(position: Any) -> None:
    assert tagged("slow, piano", "", position) == "slow, piano"


@pytest.mark.parametrize("position", ["prepend", "append"])
def test_tag_alone_has_no_comma(position: Any) -> None:
    assert tagged("", "zx", position) == "zx"


def test_tag_that_stands_in_the_caption_is_not_said_twice() -> None:
    assert tagged("Psytrance Track, 142 bpm", "psytrance track", "prepend") == "Psytrance Track, 142 bpm"
    assert tagged("142 bpm, zx", "zx", "append") == "142 bpm, zx"
    assert tagged("zxtra, 142 bpm", "zx", "prepend") == "zx, zxtra, 142 bpm"


def test_tag_of_the_song_itself_comes_before_the_setting() -> None:
    own = song(caption="slow", tag="mine")
    assert "\nmine, slow\n" in prompt(own, tag="yours", tag_position="prepend", seconds=9)


@settings(deadline=None)
@given(
    caption=st.text(max_size=200),
    bpm=st.none() | st.integers(),
    keyscale=st.text(max_size=20),
    timesignature=st.text(max_size=8),
    seconds=st.floats(),
)
def test_prompt_always_has_the_shape_of_the_template(
    caption: str, bpm: int | None, keyscale: str, timesignature: str, seconds: float
) -> None:
    odd = song(caption=caption, bpm=bpm, keyscale=keyscale, timesignature=timesignature)
    text = prompt(odd, tag="", tag_position="prepend", seconds=seconds)
    head = "# Instruction\nFill the audio semantic mask based on the given conditions:\n\n# Caption\n"
    assert text.startswith(head + caption.strip() + "\n\n# Metas\n- bpm: ")
    assert text.endswith(" seconds\n<|endoftext|>\n")
    metas = text[len(head) + len(caption.strip()) :].split("\n")
    assert [line.split(":")[0] for line in metas[3:7]] == ["- bpm", "- timesignature", "- keyscale", "- duration"]
