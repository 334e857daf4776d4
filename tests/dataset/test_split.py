"""Holding songs out: what shares sound stays on one side, and the choice is stable."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from sidestep_tui.core.errors import DataError
from sidestep_tui.dataset.manifest import Song, scan
from sidestep_tui.dataset.split import groups_of, split, training_count


def song(name: str, *, source: str = "", seconds: float = 0.0, suffix: str = ".wav") -> Song:
    """A song whose length is its own unless told: equal lengths mean something."""
    length = seconds or 100 + sum(name.encode()) * 0.37
    return Song(name=name, audio=Path("/songs") / f"{name}{suffix}", duration=length, source=source)


def album(count: int) -> list[Song]:
    return [song(f"{letter}-tune") for letter in map(chr, range(97, 97 + count))]


def slices(of: str, count: int) -> list[Song]:
    return [song(f"{of}_{number:03d}", source=f"{of}.wav", seconds=30) for number in range(1, count + 1)]


SOME = st.lists(
    st.tuples(st.sampled_from("abcdefgh"), st.integers(1, 4), st.booleans()),
    min_size=2,
    max_size=12,
    unique_by=lambda x: x[0],
)


def made(families: list[tuple[str, int, bool]]) -> list[Song]:
    """A whole song or some slices for each family."""
    return [item for name, count, sliced in families for item in (slices(name, count) if sliced else [song(name)])]


@given(SOME, st.integers(1, 50))
@settings(max_examples=60, deadline=None)
def test_no_group_is_on_both_sides_and_both_sides_hold_something(families, percent):
    songs = made(families)
    parted = split(songs, percent)
    assert parted.training
    assert parted.held_out
    assert sorted(parted.training + parted.held_out) == sorted(item.name for item in songs)
    for group in groups_of(songs):
        assert set(group) <= set(parted.training) or set(group) <= set(parted.held_out)
    assert parted == split(songs, percent)
    assert set(split(songs[::-1], percent).held_out) == set(parted.held_out)


@given(SOME, st.integers(1, 49), st.integers(1, 49))
@settings(max_examples=60, deadline=None)
def test_a_larger_share_keeps_what_a_smaller_one_held_out(families, percent, more):
    songs = made(families)
    small, large = split(songs, percent), split(songs, min(percent + more, 50))
    assert set(small.held_out) <= set(large.held_out)


@given(st.integers(0, 25))
def test_another_song_moves_at_most_the_border(index):
    before = album(25)
    after = [item for at, item in enumerate(before) if at != index]
    with_it, without = set(split(before, 20).held_out), set(split(after, 20).held_out)
    assert len(with_it ^ without) <= 2


def test_the_share_counts_songs_and_nothing_is_held_out_at_zero():
    songs = album(20)
    assert len(split(songs, 10).held_out) == 2
    assert len(split(songs, 50).held_out) == 10
    assert len(split(songs[:2], 1).held_out) == 1
    assert split(songs, 0).held_out == ()
    assert training_count(songs, 10) == 18


def test_a_song_that_is_most_of_the_set_is_trained_on():
    songs = [*slices("epic", 40), *album(10)]
    assert not any("epic" in name for name in split(songs, 10).held_out)


def test_groups_need_a_reason():
    assert len(groups_of([song("track_1"), song("track_2"), song("track_3")])) == 3  # an album: lengths differ
    assert len(groups_of([song("a/01"), song("b/01")])) == 2


@pytest.mark.parametrize(
    "together",
    [
        slices("night", 3),
        [song("night", suffix=".wav"), *slices("night", 2)],
        [song("one.wav", suffix=""), song("one.mp3", suffix="")],
        [song("cut 1", seconds=30), song("cut 2", seconds=30), song("cut 3", seconds=12)],
        [song("cut-01", seconds=30), song("cut-02", seconds=30)],
    ],
    ids=["same source", "a song and its slices", "two formats", "numbered pieces", "two equal pieces"],
)
def test_what_shares_sound_is_one_group(together):
    songs = [*together, song("other"), song("another")]
    assert sorted(map(len, groups_of(songs))) == [1, 1, len(together)]


@pytest.mark.parametrize(
    "apart",
    [
        [song("cut 1", seconds=30), song("cut 2", seconds=12)],
        [song("cut 1", seconds=30), song("cut 3", seconds=30), song("cut 4", seconds=30)],
        [song("cut 7", seconds=30), song("cut 8", seconds=30)],
        [song("cut 1", seconds=30), song("cut 2", seconds=31), song("cut 3", seconds=30)],
    ],
    ids=["two of other lengths", "a gap", "not from the first", "a longer one"],
)
def test_numbers_alone_prove_nothing(apart):
    assert len(groups_of(apart)) == len(apart)


def test_equal_audio_is_one_group():
    songs = album(4)
    same = {songs[0].name: "x", songs[2].name: "x", songs[1].name: "y"}
    assert sorted(map(len, groups_of(songs, same))) == [1, 1, 2]


def test_what_cannot_be_parted_is_refused_with_the_reason():
    with pytest.raises(DataError, match=r"All 5 are slices or copies of night\.wav"):
        split(slices("night", 5), 10)
    with pytest.raises(DataError, match="only one"):
        split(album(1), 10)
    assert training_count(album(1), 10) == 1


def test_few_songs_are_advised_against():
    assert "3 independent songs" in split(album(3), 10).advice
    assert split(album(10), 10).advice == ""
    assert split(album(3), 0).advice == ""


def test_the_source_that_slicing_wrote_is_read_and_other_sources_are_not(tmp_path):
    for name, fields in {
        "x_001": {"source": "deep/x.wav", "source_start_sample": 0},
        "x_002": {"source": "deep/x.wav", "source_start_sample": 44100},
        "y": {"source": "a web site"},
    }.items():
        soundfile.write(tmp_path / f"{name}.wav", np.zeros(800, dtype=np.float32), 8000)
        (tmp_path / f"{name}.json").write_text(json.dumps({"caption": "drums", **fields}))
    songs = scan(tmp_path).songs
    assert [item.source for item in songs] == ["deep/x.wav", "deep/x.wav", ""]
    assert sorted(map(len, groups_of(songs))) == [1, 2]
