"""The songs table without a screen: what a row says, what the filter finds, how the list is walked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len

from sidestep_tui.dataset.manifest import Song
from sidestep_tui.dataset.merge import FILE_NAME
from sidestep_tui.ui.screens.songs import list as songs_list
from sidestep_tui.ui.screens.songs.detail import came_from, detail_rows, wrap
from sidestep_tui.ui.screens.songs.facts import SongFacts, clock, missing
from sidestep_tui.ui.screens.songs.list import SORTS, Listing
from sidestep_tui.ui.screens.songs.query import haystack_of, parse
from sidestep_tui.ui.screens.songs.rows import Columns, counts, song_row, summary, title_row
from sidestep_tui.ui.theme import ASCII, UNICODE
from sidestep_tui.ui.widgets.rows import Row, width_of
from tests.ui.songs_making import heard, make_manifest, make_song

ROOT = Path("/songs")
FULL = make_song(ROOT, 1)
BARE = Song("bare", ROOT / "bare.wav", caption="bare", origins={"caption": FILE_NAME})


def plain(cells: Row) -> str:
    return "".join(text for text, _ in cells)


def shown(song: Song, width: int = 80, **facts: object) -> str:
    columns = Columns.of_width(width)
    return plain(song_row(SongFacts(song, **facts), columns, width, UNICODE, selected=False))  # type: ignore[arg-type]


def listing_of(count: int) -> Listing:
    listing = Listing()
    listing.put(make_manifest(ROOT, count).songs, lambda _: frozenset(), lambda _: False)
    return listing


def names(listing: Listing) -> list[str]:
    return [song.name for song in listing.shown]


# Rows


def test_a_row_says_name_length_tempo_key_lyrics_and_caption_in_80_columns() -> None:
    line = shown(FULL)
    assert cell_len(line) <= 80
    for words in ("song_0001", "1:01", "91", "C major", "3 lines", "slow piano"):
        assert words in line


def test_what_is_missing_is_a_dash_in_a_style_of_its_own() -> None:
    cells = song_row(SongFacts(BARE), Columns.of_width(80), 80, UNICODE, selected=False)
    dashes = [(text.strip(), style) for text, style in cells if "–" in text]
    assert [style for _, style in dashes] == ["warn"] * 4
    assert dashes[-1][0].startswith("– file name: bare")


def test_each_mark_has_its_own_place() -> None:
    assert shown(FULL)[:5] == "     "
    assert shown(FULL, marked=True)[:5] == " ▸   "
    assert shown(FULL, edited=frozenset({"bpm"}))[:5] == "  •  "
    assert shown(FULL, reviewed=True)[:5] == "   ✓ "


def test_ascii_terminals_get_ascii_signs() -> None:
    facts = SongFacts(BARE, frozenset({"bpm"}), reviewed=True, marked=True)
    line = plain(song_row(facts, Columns.of_width(80), 80, ASCII, selected=True))
    assert line.isascii()
    title = plain(title_row(Columns.of_width(80), 80, sort="bpm", falling=True, ascii_only=True))
    assert title.isascii()
    assert "BPMv" in title


@pytest.mark.parametrize("width", [60, 70, 76, 80, 99, 120, 160, 240])
@pytest.mark.parametrize("measured", [False, True])
def test_columns_stand_under_their_names_at_every_width(width: int, measured: bool) -> None:
    columns = Columns.of_width(width, measured=measured)
    title = plain(title_row(columns, width, sort="name", falling=False))
    row = song_row(SongFacts(FULL, measured=heard(120, 0.9, "E minor", 0.2)), columns, width, UNICODE, selected=True)
    assert width_of(row) == width
    assert plain(row).index("song_0001") == title.index("name")
    assert plain(row).index("C major") == title.index("key")
    assert plain(row).index("slow") == title.index("caption")


def test_wide_windows_show_more_columns() -> None:
    titles = [plain(title_row(Columns.of_width(width), width, sort="", falling=False)) for width in (80, 100, 110)]
    assert ["lang" in title for title in titles] == [False, True, True]
    assert ["genre" in title for title in titles] == [False, False, True]


def test_wide_characters_and_control_characters_keep_the_columns() -> None:
    odd = replace(FULL, name="夜のドライブ_とても長い名前", caption="\x1b[31m夜, 静か\nline")
    cells = song_row(SongFacts(odd), Columns.of_width(80), 80, UNICODE, selected=True)
    assert width_of(cells) == 80
    assert "\x1b" not in plain(cells)
    assert "\n" not in plain(cells)


def test_a_measured_value_shows_doubt_and_agreement() -> None:
    columns = Columns.of_width(100, measured=True)
    facts = SongFacts(FULL, measured=heard(91, 0.9, "G major", 0.2))
    cells = [(text.strip(), style) for text, style in song_row(facts, columns, 100, UNICODE, selected=False)]
    assert ("91", "muted") in cells
    assert ("G major?", "accent") in cells


def test_counts_name_what_is_missing() -> None:
    parts = counts([FULL, BARE])
    assert parts[:4] == ["2 songs", "1 without caption", "1 without BPM", "1 without key"]
    assert summary(parts, 30) == "2 songs, 1 without caption"
    assert summary(parts, 3) == "2 songs"


@pytest.mark.parametrize(("seconds", "words"), [(0, "0:00"), (61.4, "1:01"), (3599.6, "1:00:00"), (7384, "2:03:04")])
def test_lengths_read_like_a_player(seconds: float, words: str) -> None:
    assert clock(seconds) == words


# Detail


def test_the_detail_names_the_origin_of_every_field() -> None:
    text = "\n".join(plain(line) for line in detail_rows(SongFacts(FULL), {}, ROOT, (100, 30), UNICODE))
    assert "91  from song_0001.json" in text
    assert "C major  from song_0001.json" in text
    assert "slow piano, brushed drums, rain" in text
    assert "line 1" in text
    assert came_from(FILE_NAME) == "from the file name"


def test_the_detail_says_what_an_edited_field_was() -> None:
    facts = SongFacts(replace(FULL, bpm=120), frozenset({"bpm"}))
    text = "\n".join(plain(line) for line in detail_rows(facts, {"bpm": "91"}, ROOT, (100, 30), UNICODE))
    assert "120  was 91" in text
    assert "edited, not written" in text


@pytest.mark.parametrize("size", [(80, 10), (80, 4), (45, 30), (45, 3), (20, 8)])
def test_the_detail_never_outgrows_its_place(size: tuple[int, int]) -> None:
    song = replace(FULL, caption="word " * 200, lyrics="la\n" * 200, name="x" * 300)
    rows = detail_rows(SongFacts(song, frozenset({"caption"})), {}, ROOT, size, UNICODE)
    assert len(rows) <= size[1]
    assert all(width_of(line) <= size[0] for line in rows)


def test_text_is_wrapped_between_words_and_never_lost() -> None:
    assert wrap("one two three", 7) == ["one two", "three"]
    assert wrap("abcdefghij", 4) == ["abcd", "efgh", "ij"]
    assert wrap("a\n\nb", 10) == ["a", "", "b"]
    assert "".join(wrap("夜のドライブ", 4)) == "夜のドライブ"


# Filter


def found(typed: str, **facts: object) -> list[str]:
    query = parse(typed)
    songs = [*make_manifest(ROOT, 12).songs, BARE]
    return [
        song.name.removeprefix("song_00")
        for song in songs
        if query.matches(SongFacts(song, **facts), haystack_of(song))  # type: ignore[arg-type]
    ]


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("piano", ["01", "04", "07", "10"]),
        ("PIANO song_0004", ["04"]),
        ("missing:bpm", ["00", "05", "10", "bare"]),
        ("missing:caption", ["00", "03", "06", "09", "bare"]),
        ("missing:b", ["00", "05", "10", "bare"]),
        ("has:lyrics", ["01", "03", "05", "07", "09", "11"]),
        ("missing:lyrics", ["00", "02", "04", "06", "08", "10", "bare"]),
        ("has: piano", ["01"]),
        ("lang:en bpm:>98", ["09", "11"]),
        ("bpm:91-93", ["01", "02", "03"]),
        ("bpm:<=92", ["01", "02"]),
        ("bpm:96", ["06"]),
        ("length:<1:02", ["00", "01", "bare"]),
        ("key:minor -key:f#", ["00", "04", "08"]),
        ("-missing:", ["01"]),
        ("instrumental:no", ["01", "03", "05", "07", "09", "11", "bare"]),
        ('"piano, brushed"', ["01", "04", "07", "10"]),
        ("lyrics:another", ["01", "03", "05", "07", "09", "11"]),
        ("from:0007.json", ["07"]),
        ("name:bare", ["bare"]),
        ("", ["00", "01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "11", "bare"]),
    ],
)
def test_the_filter_finds(typed: str, names: list[str]) -> None:
    assert found(typed) == names


def test_marks_edits_and_reviews_can_be_filtered() -> None:
    assert found("reviewed:yes") == []
    assert len(found("reviewed:no")) == 13
    assert len(found("edited:y", edited=frozenset({"bpm"}))) == 13
    assert found("-marked:yes", marked=True) == []


@pytest.mark.parametrize("typed", ["bpm:", "bpm:>", "bpm:fast", "missing:lyrcs", "reviewed:perhaps", "length:1:x"])
def test_a_condition_that_is_not_understood_hides_nothing_and_says_so(typed: str) -> None:
    assert len(found(typed)) == 13
    assert parse(typed).problems


def test_a_colon_in_plain_words_is_no_condition() -> None:
    song = replace(FULL, caption="mood: dark, url http://x")
    assert parse("http://x").matches(SongFacts(song), haystack_of(song))
    assert not parse("mood:bright").matches(SongFacts(song), haystack_of(song))


def test_missing_names_the_words_that_every_song_should_have() -> None:
    assert missing(FULL) == []
    assert missing(BARE) == ["caption", "lyrics", "bpm", "keyscale"]


# List


@pytest.mark.parametrize("sort", list(SORTS))
def test_every_column_sorts_both_ways_and_keeps_every_song(sort: str) -> None:
    listing = listing_of(13)
    listing.sort_by(sort, falling=False)
    rising = names(listing)
    listing.sort_by(sort, falling=True)
    assert sorted(rising) == sorted(names(listing)) == [f"song_{number:04d}" for number in range(13)]


def test_missing_values_come_first() -> None:
    listing = listing_of(13)
    listing.sort_by("bpm", falling=False)
    assert names(listing)[:3] == ["song_0000", "song_0005", "song_0010"]


def test_the_bar_stays_on_its_song_when_the_order_changes() -> None:
    listing = listing_of(13)
    listing.move(4)
    listing.sort_by("length", falling=True)
    assert listing.current is not None
    assert listing.current.name == "song_0004"


def test_the_bar_stays_at_its_place_when_its_song_is_filtered_out() -> None:
    listing = listing_of(13)
    listing.move(4)
    listing.window(5)
    listing.filter("-song_0004")
    assert listing.index == 4
    listing.window(5)
    assert listing.current is not None
    assert listing.current.name == "song_0005"


def test_the_window_holds_the_bar_and_moves_as_little_as_it_can() -> None:
    listing = listing_of(100)
    listing.move(9)
    assert [song.name for song in listing.window(10)] == names(listing)[:10]
    listing.move(1)
    assert listing.window(10)[-1].name == "song_0010"
    listing.move(-3)
    assert listing.window(10)[0].name == "song_0001"
    listing.move(10**6)
    assert listing.window(10)[-1].name == "song_0099"


def test_marks_are_set_in_ranges_and_all_at_once() -> None:
    listing = listing_of(13)
    listing.move(2)
    listing.mark()
    listing.move(3)
    listing.mark_range()
    assert listing.targets() == [f"song_{number:04d}" for number in range(2, 7)]
    listing.filter("piano")
    listing.mark_shown()
    assert len(listing.marks) == 8
    listing.mark_shown()
    assert len(listing.marks) == 4
    listing.unmark()
    assert len(listing.targets()) == 1


def test_marks_of_songs_that_are_gone_go_too() -> None:
    listing = listing_of(13)
    listing.mark_shown()
    listing.put(make_manifest(ROOT, 3).songs, lambda _: frozenset(), lambda _: False)
    assert len(listing.marks) == 3


def test_filtering_2000_songs_looks_at_each_text_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr(songs_list, "haystack_of", lambda song: made.append(song.name) or haystack_of(song))
    listing = listing_of(2000)
    for end in range(1, 6):
        listing.filter("piano"[:end])
        assert listing.shown
    assert len(made) == 2000


def test_nothing_to_show_is_no_error() -> None:
    listing = listing_of(0)
    listing.move(3)
    listing.mark()
    listing.mark_range()
    assert listing.window(10) == []
    assert listing.current is None
    assert listing.targets() == []
