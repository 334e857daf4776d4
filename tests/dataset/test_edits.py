"""Edits that wait: checked at once, shown as they will be, undone and done again."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidestep_tui.core.errors import DataError
from sidestep_tui.dataset import lyrics, values
from sidestep_tui.dataset.editing import edit_values
from sidestep_tui.dataset.editing.edits import FIELDS, EditSession
from sidestep_tui.dataset.manifest import Manifest, Song, scan

from .conftest import WriteSong


def song(name: str, **fields: object) -> Song:
    """A song whose given fields stand in its JSON file."""
    given_origins = dict.fromkeys(fields, f"{name}.json")
    derived = {"caption": "file name"}
    if "lyrics" not in fields:
        derived |= {"lyrics": "no lyrics found", "instrumental": "no lyrics found"}
        fields = {"lyrics": "[Instrumental]", "instrumental": True, **fields}
    return Song(
        name=name,
        audio=Path("/songs") / f"{name}.wav",
        **{"caption": name, **fields},  # type: ignore[arg-type]
        origins={**derived, **given_origins},
    )


@pytest.fixture
def session() -> EditSession:
    """Three songs: sung, instrumental, and one of which nothing is known."""
    return EditSession(
        Manifest(
            Path("/songs"),
            (
                song("sung", caption="rock, loud", lyrics="[Verse]\nla la", language="en", bpm=120),
                song("still", caption="slow piano", instrumental=True, lyrics="[Instrumental]", bpm=60),
                song("unknown"),
            ),
        )
    )


def pending(session: EditSession) -> list[tuple[str, str, str, str]]:
    return [(item.song, item.field, item.before, item.after) for item in session.changes()]


def test_an_edit_shows_at_once_and_nowhere_else(session: EditSession) -> None:
    before = session.songs
    session.set(["sung"], "bpm", "99.6 BPM")
    assert session.song("sung").bpm == 100 and session.value("sung", "bpm") == "100"
    assert session.song("sung").origins["bpm"] == "edited"
    assert session.edited("sung") == {"bpm"} and session.edited("still") == frozenset()
    assert session.songs[1:] == before[1:] and [item.name for item in session.songs] == ["sung", "still", "unknown"]
    assert pending(session) == [("sung", "bpm", "120", "100")]


@pytest.mark.parametrize(
    ("field", "typed", "value"),
    [
        ("caption", "  warm\n pads ", "warm pads"),
        ("lyrics", "[00:01.00] one\n\n\n[00:02.00] two  ", "one\ntwo"),
        ("bpm", "142,4", "142"),
        ("keyscale", "f♯m", "F# minor"),
        ("timesignature", "6/8", "6"),
        ("language", "German", "de"),
        ("genre", "a   b", "a b"),
        ("tag", " zyx ", "zyx"),
        ("instrumental", "TRUE", "yes"),
        ("repeats", "3x", "3"),
        ("caption", "n/a", ""),
        ("language", "unknown", ""),
    ],
)
def test_values_take_the_form_that_a_scan_gives(field: str, typed: str, value: str) -> None:
    assert edit_values.canonical(field, typed) == value


@pytest.mark.parametrize(
    ("field", "typed", "allowed"),
    [
        ("bpm", "301", "30 to 300"),
        ("bpm", "fast", "30 to 300"),
        ("keyscale", "H dur", "E minor"),
        ("timesignature", "5", "2, 3, 4, 6"),
        ("language", "klingon", "en, ja"),
        ("instrumental", "perhaps", "yes or no"),
        ("repeats", "0", "1 to 1000"),
        ("repeats", "1.5", "1 to 1000"),
        ("tempo", "120", "caption"),
    ],
)
def test_what_cannot_be_used_is_refused_with_what_can(
    session: EditSession, field: str, typed: str, allowed: str
) -> None:
    with pytest.raises(DataError) as caught:
        session.set(["sung", "still"], field, typed)
    assert allowed in caught.value.hint
    assert session.changes() == [] and not session.can_undo


@given(st.sampled_from(FIELDS), st.text(max_size=80))
def test_canonical_text_is_canonical(field: str, text: str) -> None:
    try:
        once = edit_values.canonical(field, text)
    except DataError:
        return
    assert edit_values.canonical(field, once) == once
    assert not once or not values.is_blank(once)


def test_a_name_that_is_no_song_is_refused_before_anything_changes(session: EditSession) -> None:
    with pytest.raises(DataError, match="no song 'stil'") as caught:
        session.set(["sung", "stil"], "bpm", "99")
    assert "still" in caught.value.hint
    assert session.changes() == []


def test_setting_what_is_there_already_is_no_edit(session: EditSession) -> None:
    session.set(["sung"], "bpm", "120")
    session.set(["sung"], "repeats", "1")
    session.set(["sung"], "instrumental", "no")
    session.set(["unknown"], "caption", "")
    assert session.changes() == [] and not session.can_undo
    session.set(["sung"], "bpm", "99")
    session.set(["sung"], "bpm", "120")
    assert session.changes() == [] and session.can_undo


def test_a_file_name_is_no_caption(session: EditSession) -> None:
    assert session.value("unknown", "caption") == ""
    assert session.song("unknown").caption == "unknown"
    session.set(["sung"], "caption", "")
    assert session.value("sung", "caption") == "" and session.song("sung").caption == "sung"


def test_that_nothing_is_sung_can_be_stated(session: EditSession) -> None:
    session.set(["unknown"], "instrumental", "yes")
    assert session.edited("unknown") == {"instrumental"}


# Vocals


def test_an_instrumental_song_loses_its_lyrics(session: EditSession) -> None:
    session.set(["sung"], "language", "de")
    session.set(["sung"], "instrumental", "yes")
    assert session.edited("sung") == {"instrumental", "lyrics"}
    now = session.song("sung")
    assert (now.instrumental, now.lyrics, now.language) == (True, lyrics.INSTRUMENTAL, "unknown")
    session.undo()
    assert session.edited("sung") == {"language"} and session.song("sung").lyrics == "[Verse]\nla la"


def test_lyrics_make_a_song_sung(session: EditSession) -> None:
    session.set(["still", "unknown"], "lyrics", "la")
    for name in ("still", "unknown"):
        assert session.song(name).lyrics == "la" and not session.song(name).instrumental
    session.set(["still"], "language", "en")
    assert session.song("still").language == "en"


def test_only_songs_with_vocals_have_a_language(session: EditSession) -> None:
    session.set(["sung", "still", "unknown"], "language", "de")
    assert pending(session) == [("sung", "language", "en", "de")]
    with pytest.raises(DataError, match="no language"):
        session.set(["still"], "language", "de")


def test_no_longer_instrumental_clears_the_statement_in_the_lyrics(session: EditSession) -> None:
    session.set(["still"], "instrumental", "no")
    assert session.song("still").lyrics == "" and not session.song("still").instrumental


# Tags and texts


@pytest.mark.parametrize(
    ("caption", "position", "expected"),
    [
        ("rock, loud", "prepend", "zyx, rock, loud"),
        ("rock, loud", "append", "rock, loud, zyx"),
        ("rock, loud", "replace", "zyx"),
        ("", "prepend", "zyx"),
        ("zyx, rock", "prepend", "zyx, rock"),
        ("ZYX ,  rock", "prepend", "zyx ,  rock"),
        ("rock, zyx", "prepend", "zyx, rock"),
        ("zyx, rock, loud", "append", "rock, loud, zyx"),
        ("rock,loud,  Zyx", "append", "rock,loud,  zyx"),
        ("a zyx beat, loud", "prepend", "a zyx beat, loud"),
        ("zyxel, rock", "prepend", "zyx, zyxel, rock"),
        ("zyx, rock, zyx", "prepend", "zyx, rock"),
        ("zyx", "append", "zyx"),
    ],
)
def test_a_tag_is_put_in_place_and_never_said_twice(caption: str, position: str, expected: str) -> None:
    once = edit_values.with_tag(caption, "zyx", position)  # type: ignore[arg-type]
    assert once == expected
    assert edit_values.with_tag(once, "zyx", position) == expected  # type: ignore[arg-type]


def test_a_tag_goes_into_many_captions_as_one_step(session: EditSession) -> None:
    session.tag(["sung", "still", "unknown"], "zyx", "prepend")
    assert [item.caption for item in session.songs] == ["zyx, rock, loud", "zyx, slow piano", "zyx"]
    session.tag(["sung", "still", "unknown"], "zyx", "prepend")
    assert session.undo() == "Undone: tag 'zyx' in captions of 3 songs."
    assert session.changes() == [] and not session.can_undo
    with pytest.raises(DataError):
        session.tag(["sung"], " ", "prepend")


def test_replacing_counts_the_songs_that_change(session: EditSession) -> None:
    assert session.replace(["sung", "still", "unknown"], "caption", "o", "0") == 2
    assert session.song("sung").caption == "r0ck, l0ud"
    assert session.replace(["sung"], "caption", "Nothing", "x") == 0
    assert session.replace(["sung"], "bpm", "12", "9") == 1 and session.song("sung").bpm == 90
    with pytest.raises(DataError):
        session.replace(["sung", "still"], "bpm", "0", "x")
    assert session.song("still").bpm == 60
    with pytest.raises(DataError):
        session.replace(["sung"], "caption", "", "x")


# Undo and redo


def test_undo_and_redo_walk_through_all_states(session: EditSession) -> None:
    states = [(session.songs, pending(session))]
    session.set(["sung"], "bpm", "99")
    states.append((session.songs, pending(session)))
    session.review(["sung"], reviewed=True)
    states.append((session.songs, pending(session)))
    session.set(["unknown"], "lyrics", "la")
    states.append((session.songs, pending(session)))
    session.tag(["sung", "still"], "zyx", "append")
    states.append((session.songs, pending(session)))
    for state in reversed(states[:-1]):
        assert session.undo().startswith("Undone: ")
        assert (session.songs, pending(session)) == state
    assert session.undo() == "" and not session.can_undo and session.can_redo
    for state in states[1:]:
        assert session.redo().startswith("Done again: ")
        assert (session.songs, pending(session)) == state
    assert session.redo() == "" and not session.can_redo
    session.undo()
    session.set(["sung"], "genre", "jazz")
    assert not session.can_redo


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["sung", "still", "unknown"]),
        st.sampled_from([*FIELDS, "reviewed", "undo", "redo"]),
        st.sampled_from(["", "99", "yes", "no", "la la", "[Instrumental]", "4", "en", "E minor"]),
    ),
    max_size=12,
)


@given(STEPS)
def test_whatever_is_done_can_be_undone(steps: list[tuple[str, str, str]]) -> None:
    session = EditSession(
        Manifest(Path("/songs"), (song("sung", lyrics="la", bpm=120), song("still"), song("unknown")))
    )
    before = session.songs
    for name, field, value in steps:
        try:
            if field == "undo":
                session.undo()
            elif field == "redo":
                session.redo()
            elif field == "reviewed":
                session.review([name], reviewed=value == "yes")
            else:
                session.set([name], field, value)
        except DataError:
            continue
        now = session.song(name)
        assert not (now.instrumental and lyrics.has_words(now.lyrics))
    while session.can_undo:
        session.undo()
    assert session.songs == before and session.changes() == []


# Review


def test_a_changed_word_voids_the_review(session: EditSession) -> None:
    session.review(["sung", "still"], reviewed=True)
    assert session.is_reviewed("sung") and session.is_reviewed("still") and not session.is_reviewed("unknown")
    assert pending(session)[0] == ("sung", "reviewed", "no", "yes")
    session.set(["sung"], "repeats", "3")
    assert session.is_reviewed("sung")
    session.set(["sung"], "caption", "pop")
    assert not session.is_reviewed("sung") and session.is_reviewed("still")
    session.undo()
    assert session.is_reviewed("sung")
    session.review(["sung"], reviewed=False)
    assert session.edited("sung") == {"repeats"}


def test_a_review_is_saved_and_lasts_until_the_words_change(tmp_path: Path, write_song: WriteSong) -> None:
    write_song("a.wav")
    write_song("sub/b.wav")
    session = EditSession(scan(tmp_path))
    session.set(["a"], "caption", "rock")
    session.review(["a", "sub/b"], reviewed=True)
    report = session.save()
    assert report.problems == ()
    assert [item.origin for item in report.written] == ["a.caption.txt", "sidestep-dataset.json"]
    assert session.changes() == []
    again = EditSession(scan(tmp_path))
    assert again.is_reviewed("a") and again.is_reviewed("sub/b")
    (tmp_path / "a.caption.txt").write_text("pop")
    assert not EditSession(scan(tmp_path)).is_reviewed("a")
    session.undo()
    assert not (tmp_path / "sidestep-dataset.json").exists()


# The role of name.txt


@pytest.mark.parametrize("is_told", [True, False])
def test_a_plain_text_keeps_the_role_that_the_scan_gave_it(
    tmp_path: Path, write_song: WriteSong, is_told: bool
) -> None:
    write_song("a.wav")
    (tmp_path / "a.txt").write_text("slow, sad, piano")
    found = scan(tmp_path, txt_role="lyrics")
    session = EditSession(found, txt_role="lyrics") if is_told else EditSession(found)
    session.set(["a"], "lyrics", "walking home")
    assert session.save().problems == ()
    assert (tmp_path / "a.txt").read_text() == "walking home"
    assert scan(tmp_path, txt_role="lyrics").song("a").lyrics == "walking home"


def test_the_language_of_the_setting_is_no_edit(tmp_path: Path, write_song: WriteSong) -> None:
    write_song("a.wav")
    (tmp_path / "a.lyrics.txt").write_text("la la")
    session = EditSession(scan(tmp_path, language="de"))
    assert session.value("a", "language") == "" and session.song("a").language == "de"
    session.set(["a"], "bpm", "99")
    assert session.save().problems == ()
    assert session.song("a").language == "de"
    session.set(["a"], "language", "de")
    assert session.save().problems == ()
    assert scan(tmp_path).song("a").language == "de"


def test_songs_that_are_gone_are_named(tmp_path: Path, write_song: WriteSong) -> None:
    write_song("a.wav")
    write_song("b.wav")
    session = EditSession(scan(tmp_path))
    session.set(["a", "b"], "bpm", "99")
    (tmp_path / "a.wav").unlink()
    assert session.save().problems == ("a: the song is gone.",)
    assert scan(tmp_path).song("b").bpm == 99


def test_a_song_that_becomes_instrumental_has_no_language_to_save(session: EditSession) -> None:
    session.set(["sung"], "language", "de")
    session.set(["sung"], "lyrics", "[Instrumental]")
    assert session.edited("sung") == {"lyrics"}
