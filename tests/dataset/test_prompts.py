"""Which words describe a song to the model: its caption, or for some of the songs their genre."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from sidestep_tui.dataset import prompts, reading
from sidestep_tui.dataset.manifest import Manifest, Song
from sidestep_tui.dataset.reading import ReadingSettings

SONGS = [Song(f"song {n}", Path(f"{n}.wav"), caption=f"caption {n}", genre="dub techno") for n in range(20)]
BARE = [Song(f"bare {n}", Path(f"b{n}.wav"), caption=f"caption {n}", genre=" ") for n in range(7)]


def by_genre(songs: list[Song], ratio: int) -> list[str]:
    return [song.name for song in prompts.as_read(songs, ratio) if song.caption == "dub techno"]


def test_no_share_leaves_every_song_as_it_is() -> None:
    assert prompts.as_read(SONGS, 0) == tuple(SONGS)


@pytest.mark.parametrize(("ratio", "count"), [(10, 2), (25, 5), (50, 10), (100, 20)])
def test_the_share_is_exact(ratio: int, count: int) -> None:
    assert len(by_genre(SONGS, ratio)) == count


def test_a_larger_share_keeps_the_songs_of_a_smaller_one() -> None:
    chosen = [set(by_genre(SONGS, ratio)) for ratio in range(0, 101, 5)]
    assert all(smaller < larger for smaller, larger in itertools.pairwise(chosen))


def test_the_choice_is_the_same_in_every_run_and_order() -> None:
    # Written down: were it to change, every cached prompt of a song chosen otherwise would be encoded again.
    assert by_genre(SONGS, 15) == ["song 1", "song 4", "song 6"]
    assert sorted(by_genre(SONGS[::-1], 15)) == by_genre(SONGS, 15)


def test_songs_without_a_genre_keep_their_caption() -> None:
    mixed = [*BARE, *SONGS]
    read = prompts.as_read(mixed, 100)
    assert [song.name for song in read] == [song.name for song in mixed]
    assert [song.caption for song in read[:7]] == [song.caption for song in BARE]
    assert by_genre(mixed, 25) == by_genre(SONGS, 25)


def test_the_caption_says_that_it_came_from_the_genre() -> None:
    song = Song("a", Path("a.wav"), caption="soft", genre="ambient ", origins={"caption": "a.txt", "genre": "a.json"})
    (read,) = prompts.as_read([song], 100)
    assert (read.caption, read.origins["caption"]) == ("ambient", "a.json")


def test_what_is_shown_of_some_songs_is_what_all_songs_decide() -> None:
    folder = Manifest(Path("/x"), tuple(SONGS))
    chosen = set(by_genre(SONGS, 50))
    for song in SONGS[:6]:
        (shown,) = reading.read(folder, ReadingSettings(genre_ratio=50), None, [song.name])
        words = "dub techno" if song.name in chosen else song.caption
        assert f"# Caption\n{words}\n" in shown.prompt
