from __future__ import annotations

import math
from typing import Any

import pytest

from sidestep_tui.engine.fake_history import history
from sidestep_tui.protocol.songs import SongLosses, matching
from sidestep_tui.protocol.state import RunState


def losses(*epochs: dict[str, Any], held_out: bool = False) -> SongLosses:
    songs = SongLosses()
    for number, by_song in enumerate(epochs, start=1):
        songs.add({"type": "epoch", "step": 10 * number, "by_song": by_song}, held_out=held_out)
    return songs


def test_the_worst_song_comes_first_with_its_trend() -> None:
    table = losses(*({"a": 1.0, "b": 1.1 - 0.05 * n, "c": 0.9 + 0.05 * n, "d": 1.0} for n in range(6))).table()
    assert [row.name for row in table] == ["c", "a", "d", "b"]
    assert {row.name: row.trend for row in table} == {"a": "steady", "b": "falling", "c": "rising", "d": "steady"}
    assert table[0].count == 6
    assert table[0].ratios[0] == 0.9


def test_a_song_far_from_the_others_gets_a_hint() -> None:
    even = {f"song_{n}": 1.0 + 0.01 * n for n in range(8)}
    table = losses(*[{**even, "bad": 1.6, "silent": 0.3}] * 4).table()
    assert "broken audio" in table[0].hint
    assert "silence" in table[-1].hint
    assert not any(row.hint for row in table[1:-1])


def test_an_outlier_that_is_being_learnt_is_told_as_such() -> None:
    even = {f"song_{n}": 1.0 + 0.01 * n for n in range(8)}
    table = losses(*({**even, "hard": 2.0 - 0.1 * n} for n in range(5))).table()
    assert "being learnt" in table[0].hint


@pytest.mark.parametrize(
    "epochs",
    [
        [{"a": 1.0, "b": 1.0, "c": 1.0, "bad": 1.9}] * 2,  # too early
        [{"a": 1.0, "bad": 1.9}] * 5,  # too few to compare
        [{"a": 0.5, "b": 0.8, "c": 1.0, "d": 1.3, "e": 1.4}] * 5,  # as far apart as all of them
        [{"a": 1.0, "b": 1.0, "c": 1.001, "d": 1.0, "odd": 1.1}] * 5,  # far in spreads, near in loss
    ],
)
def test_nothing_is_suspected_without_grounds(epochs: list[dict[str, float]]) -> None:
    assert not any(row.hint for row in losses(*epochs).table())


def test_held_out_songs_are_measured_against_their_mean() -> None:
    table = losses(*[{"x": 0.6, "y": 0.2}] * 3, held_out=True).table()
    assert [(row.name, row.ratio, row.loss, row.held_out) for row in table] == [
        ("x", pytest.approx(1.5), 0.6, True),
        ("y", pytest.approx(0.5), 0.2, True),
    ]


@pytest.mark.parametrize("told", [None, [], "x", {"a": "x"}, {"a": math.nan}, {"a": -1.0}, {"a": True}, {"a": None}])
def test_odd_tables_are_left_out(told: object) -> None:
    assert losses(told).table() == []  # type: ignore[arg-type]


def test_a_resume_forgets_what_came_after_its_step() -> None:
    songs = losses({"a": 1.0}, {"a": 1.2, "late": 1.0}, {"a": 1.3})
    songs.go_back_to(10)
    assert [(row.name, row.ratio, row.count) for row in songs.table()] == [("a", 1.0, 1)]


def test_a_filter_looks_at_names_and_hints() -> None:
    even = {f"song_{n}": 1.0 + 0.01 * n for n in range(8)}
    table = losses(*[{**even, "bad": 1.6}] * 4).table()
    assert [row.name for row in matching(table, " BAD ")] == ["bad"]
    assert [row.name for row in matching(table, "caption")] == ["bad"]
    assert len(matching(table, "")) == 9


def test_a_run_tells_its_songs_by_its_journal() -> None:
    state = RunState.from_events(history(400, scenario="live", held_out=2))
    table = state.songs.table()
    assert table[0].name == "song_08"
    assert "caption" in table[0].hint
    assert {row.name for row in table if row.held_out} == {"song_01", "song_02"}


def test_only_the_newest_epochs_are_remembered() -> None:
    songs = losses({"gone": 1.0}, *[{"a": 1.0}] * 500)
    assert [(row.name, row.count) for row in songs.table()] == [("a", 48)]
