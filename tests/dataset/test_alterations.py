"""Altered copies: drawn from the content alone, and described as they sound."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidestep_tui.dataset import values
from sidestep_tui.dataset.alterations import Alteration, altered, draw, transposed
from sidestep_tui.dataset.manifest import Song

PLACES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
KEYS = [f"{note}{sign} {mode}" for note in "CDEFGAB" for sign in ("", "#", "b") for mode in ("major", "minor")]


def place(keyscale: str) -> tuple[int, str]:
    note, mode = keyscale.split(" ")
    return (PLACES[note[0]] + note.count("#") - note[1:].count("b")) % 12, mode


def song(**fields: object) -> Song:
    given: dict[str, object] = {"caption": "piano", "bpm": 120, "keyscale": "E minor", "duration": 110.0}
    return Song("s", Path("s.wav"), **(given | fields))  # type: ignore[arg-type]


# Keys


@pytest.mark.parametrize("key", KEYS)
def test_every_key_moves_by_its_semitones_and_back(key: str) -> None:
    for semitones in range(-12, 13):
        moved = transposed(key, semitones)
        assert values.keyscale(moved) == moved
        assert place(moved) == ((place(key)[0] + semitones) % 12, place(key)[1])
        assert place(transposed(moved, -semitones)) == place(key)


@pytest.mark.parametrize(
    ("key", "semitones", "moved"),
    [
        ("E minor", 2, "F# minor"),
        ("C major", 1, "Db major"),
        ("C minor", 1, "C# minor"),
        ("A major", -2, "G major"),
        ("C# major", 2, "D# major"),
        ("Db major", 2, "Eb major"),
        ("B major", 1, "C major"),
        ("Cb major", -1, "Bb major"),
        ("E# minor", 1, "F# minor"),
        ("Em", 1, "F minor"),
        ("F♯ maj", 1, "G major"),
        ("G# minor", 0, "G# minor"),
        ("", 2, ""),
        ("H moll", 2, "H moll"),
    ],
)
def test_keys_are_spelled_as_musicians_do(key: str, semitones: int, moved: str) -> None:
    assert transposed(key, semitones) == moved


# Words


def test_bpm_key_and_length_follow() -> None:
    copy = altered(song(), Alteration(1, semitones=-2, tempo=1.1))
    assert (copy.bpm, copy.keyscale, copy.duration) == (132, "D minor", pytest.approx(100))
    assert copy.caption == "piano"


def test_what_is_not_known_stays_unknown() -> None:
    copy = altered(song(bpm=None, keyscale=""), Alteration(1, semitones=1, tempo=0.9))
    assert (copy.bpm, copy.keyscale) == (None, "")


@pytest.mark.parametrize(("bpm", "tempo"), [(299, 1.1), (30, 0.9)])
def test_a_tempo_that_the_model_does_not_know_is_not_stated(bpm: int, tempo: float) -> None:
    assert altered(song(bpm=bpm), Alteration(1, tempo=tempo)).bpm is None


@pytest.mark.parametrize(
    ("caption", "follows"),
    [
        ("dub, 120 BPM, E minor, warm", "dub, 132 BPM, F# minor, warm"),
        ("120bpm dub in E min, then G-Major", "132bpm dub in F# minor, then A major"),
        ("B♭ minor, F♯ maj; Em7 stays", "C minor, G# major; Em7 stays"),
        ("100-120 bpm, 120.5 bpm, 290 bpm", "110-132 bpm, 133 bpm, 290 bpm"),
        ("1120 bpm, 120 voices, 9 bpm", "1120 bpm, 120 voices, 9 bpm"),
        ("the minor key, a minor setback, CAN minor", "the minor key, a minor setback, CAN minor"),
    ],
)
def test_tempo_and_key_follow_in_the_caption(caption: str, follows: str) -> None:
    assert altered(song(caption=caption), Alteration(1, semitones=2, tempo=1.1)).caption == follows


def test_a_caption_that_alone_knows_tempo_and_key_follows_too() -> None:
    copy = altered(song(bpm=None, keyscale="", caption="124 bpm, pads in E♭ minor"), Alteration(1, -1, 0.9))
    assert copy.caption == "112 bpm, pads in D minor"


def test_an_unaltered_caption_stays_to_the_letter() -> None:
    caption = "E-Minor, 120.0 bpm"
    assert altered(song(caption=caption), Alteration(1, noise=30)).caption == caption


# The draw


def test_a_song_has_these_copies() -> None:
    # Written down: were the draw to change, every altered copy in every cache would be encoded again.
    drawn = draw("ab" * 32, 3, pitch=2, stretch=10.0, noise=0)
    found = [(copy.number, copy.semitones, copy.tempo) for copy in drawn]
    assert found == [(1, 1, 0.9887), (2, -1, 0.914), (3, 2, 1.0412)]


def test_more_copies_keep_the_first_ones() -> None:
    assert draw("x", 8, pitch=2, stretch=10, noise=30)[:3] == draw("x", 3, pitch=2, stretch=10, noise=30)


def test_songs_differ() -> None:
    drawn = [draw(f"song {n}", 2, pitch=2, stretch=10, noise=0) for n in range(20)]
    assert len(set(drawn)) == 20
    assert {copy.semitones for copies in drawn for copy in copies} == {-2, -1, 0, 1, 2}
    tempos = [copy.tempo for copies in drawn for copy in copies]
    assert min(tempos) < 0.94
    assert max(tempos) > 1.06


def test_pitches_come_round_only_when_all_were_given() -> None:
    pitches = [copy.semitones for copy in draw("x", 8, pitch=2, stretch=0, noise=0)]
    assert sorted(pitches[:4]) == [-2, -1, 1, 2]
    assert pitches[4:] == pitches[:4]


@given(st.text(max_size=9), st.integers(0, 8), st.integers(0, 4), st.floats(0, 20), st.sampled_from([0.0, 30.0, 80.0]))
def test_copies_stay_within_what_was_asked_for(
    content: str, copies: int, pitch: int, stretch: float, noise: float
) -> None:
    drawn = draw(content, copies, pitch=pitch, stretch=stretch, noise=noise)
    assert len(drawn) == (copies if pitch or stretch or noise else 0)
    for copy in drawn:
        assert abs(copy.semitones) <= pitch
        assert abs(copy.tempo - 1) <= stretch / 100 + 5e-5
        assert copy.noise == noise
    for one, other in itertools.combinations(drawn, 2):
        assert one.seed != other.seed
