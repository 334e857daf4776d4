"""Reading one sidecar or table."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidestep_tui.dataset import sidecars, tables
from sidestep_tui.dataset.files import UnreadableTextError, decode_text

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
)


def test_json_of_a_captioner_is_read_whole() -> None:
    written = {
        "filename": "song_01.mp3",
        "caption": "A high-energy rock track",
        "bpm": 142,
        "keyscale": "E Minor",
        "timesignature": "4",
        "genre": "rock",
        "lyrics": "[Verse 1]\nWalking",
        "language": "en",
        "is_instrumental": False,
        "duration": 234,
        "custom_tag": "ZX_MyArtist",
    }
    assert sidecars.parse_json(json.dumps(written)) == {
        "caption": "A high-energy rock track",
        "bpm": 142,
        "keyscale": "E Minor",
        "timesignature": "4",
        "genre": "rock",
        "lyrics": "[Verse 1]\nWalking",
        "language": "en",
        "instrumental": False,
        "tag": "ZX_MyArtist",
    }


def test_prompt_is_a_caption_and_tags_are_one_when_there_is_no_other() -> None:
    assert sidecars.parse_json('{"prompt": "slow", "tags": ["rock"], "key": "C"}') == {
        "caption": "slow",
        "keyscale": "C",
    }
    assert sidecars.parse_json('{"tags": ["rock", "loud"]}') == {"caption": ["rock", "loud"]}


def test_caption_gives_way_to_the_genre_where_the_song_says_so() -> None:
    assert sidecars.canonical({"caption": "long", "genre": "rock", "prompt_override": "genre"})["caption"] == "rock"
    assert sidecars.canonical({"caption": "long", "genre": "rock", "prompt_override": "caption"})["caption"] == "long"


def test_an_empty_spelling_does_not_hide_a_full_one() -> None:
    assert sidecars.canonical({"bpm": None, "Tempo": 90, "caption": "", "prompt": "x"}) == {"caption": "x", "bpm": 90}


@pytest.mark.parametrize(
    ("text", "reason"),
    [("[1]", "JSON object"), ("{", r"valid JSON \(line 1\)"), ("[" * 100000, "valid JSON"), ("9" * 5000, "valid JSON")],
)
def test_json_that_is_no_object_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(UnreadableTextError, match=reason):
        sidecars.parse_json(text)


def test_key_value_text_gives_fields_and_lyrics_take_the_rest() -> None:
    text = (
        "caption: deep house, warm pads\n  with a long tail\ngenre: house\nTempo: 122\nkey: A minor\nsignature: 4/4\n"
        "is_instrumental: false\ncustom_tag: zx\nrepeat: 2\nlyrics:\n[Verse]\nkey: of my heart\n\nlate\n"
    )
    assert sidecars.is_key_value(text)
    assert sidecars.parse_key_value(text) == {
        "caption": "deep house, warm pads with a long tail",
        "genre": "house",
        "bpm": "122",
        "keyscale": "A minor",
        "timesignature": "4/4",
        "instrumental": "false",
        "tag": "zx",
        "repeats": "2",
        "lyrics": "\n[Verse]\nkey: of my heart\n\nlate\n",
    }


@pytest.mark.parametrize("text", ["psytrance track, 142 bpm", "Oh: my love\nis gone", "https://a.b/c", ""])
def test_other_text_is_not_taken_for_key_values(text: str) -> None:
    assert not sidecars.is_key_value(text)


@pytest.mark.parametrize(
    ("text", "role"),
    [
        ("psytrance track, 142 bpm, G# minor, rolling bassline", "caption"),
        ("A dreamy song about the sea.", "caption"),
        ("[Verse 1]\nWalking home", "lyrics"),
        ("[Instrumental]", "lyrics"),
        ("[00:01.00]Hello", "lyrics"),
        ("walking home\nin the rain\nall alone\nonce again", "lyrics"),
        ("slow, sad, piano\nsoft, airy, female vocal\n", "caption"),
        (
            "A long paragraph that tells of a song. " * 4 + "\n" + "And another that does the same again. " * 4,
            "caption",
        ),
        ("walking home\nin the rain", None),
        ("", None),
    ],
)
def test_content_shows_whether_a_text_is_caption_or_lyrics(text: str, role: str | None) -> None:
    assert sidecars.txt_role(text) == role


def test_analyser_export_is_read() -> None:
    rows = tables.parse('File,Artist,Title,BPM,Key,Camelot,Caption\nsong1.wav,,,190,D major,10B,"fast, loud"\n')
    assert rows == [tables.Row("song1.wav", {"caption": "fast, loud", "bpm": "190", "keyscale": "D major"})]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_any_usual_delimiter_is_recognised(delimiter: str) -> None:
    text = "\n".join([delimiter.join(["filename", "caption", "bpm"]), delimiter.join(["a.wav", '"x, y; z"', "90"])])
    assert tables.parse(text) == [tables.Row("a.wav", {"caption": "x, y; z", "bpm": "90"})]


def test_short_rows_and_nameless_rows_do_no_harm() -> None:
    assert [row.file for row in tables.parse("filename,bpm\na.wav\n,90\n\nb.wav,1,2,3\n")] == ["a.wav", "b.wav"]


def test_table_without_a_file_column_says_what_it_found() -> None:
    with pytest.raises(UnreadableTextError, match=r"found name and price"):
        tables.parse("name,price\nx,1\n")


def test_windows_and_absolute_paths_are_brought_home() -> None:
    rows = tables.parse("file,bpm\nC:\\music\\a.wav,90\n/home/x/b.wav,91\n.\\sub\\c.wav,92\n")
    assert [row.file for row in rows] == ["a.wav", "b.wav", "sub/c.wav"]


def test_text_is_utf8_or_marked_utf16_and_nothing_else() -> None:
    assert decode_text("\ufeffhé\r\nllo".encode()) == "hé\nllo"
    assert decode_text("hé".encode("utf-16")) == "hé"
    for data, reason in ((b"caf\xe9", "UTF-8 text"), (b"\xff\xfea", "UTF-16"), ("hé".encode("utf-16-le"), "save it")):
        with pytest.raises(UnreadableTextError, match=reason):
            decode_text(data)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_text_or_refused(data: bytes) -> None:
    try:
        text = decode_text(data)
    except UnreadableTextError:
        return
    text.encode("utf-8")


@settings(deadline=None)
@given(st.text(max_size=300) | json_values.map(json.dumps))
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (sidecars.parse_json, tables.parse):
        try:
            parse(text)
        except UnreadableTextError as error:
            assert str(error)
    sidecars.is_key_value(text)
    sidecars.parse_key_value(text)
    sidecars.txt_role(text)


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["file,bpm\n", "a.wav,", '"', "\n", ";", "lyrics:", "caption: x", " ", "\t"]), max_size=12)
)
def test_broken_tables_and_key_values_never_raise_anything_else(parts: list[str]) -> None:
    text = "".join(parts)
    sidecars.parse_key_value(text)
    try:
        tables.parse(text)
    except UnreadableTextError as error:
        assert str(error)
