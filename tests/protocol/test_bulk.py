"""A long journal read as columns gives the very curves that reading it line by line gives."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidestep_tui.engine.fake_history import history
from sidestep_tui.protocol import bulk
from sidestep_tui.protocol.columns import MEMORY
from sidestep_tui.protocol.events import Event, encode
from sidestep_tui.protocol.state import SERIES, RunState
from sidestep_tui.protocol.tail import Tail

KEPT = [name for name in SERIES if name != MEMORY]


def lines(events: list[Event]) -> bytes:
    return b"".join(map(encode, events))


def both(data: bytes) -> tuple[RunState, RunState]:
    """The state of a journal read as columns, and line by line."""
    fast, slow = RunState(), RunState()
    fast.apply_all(bulk.read(data, thin=True)[0])
    slow.apply_all([event for line in data.splitlines() for event in bulk.decode_lines(line + b"\n")[0]])
    return fast, slow


def assert_alike(fast: RunState, slow: RunState) -> None:
    for name in KEPT:
        assert list(map(repr, fast.series[name])) == list(map(repr, slow.series[name])), name
    for name in ("seq", "session", "sessions", "status", "step", "epoch", "metrics", "checkpoints", "marks", "best"):
        assert getattr(fast, name) == getattr(slow, name) or name == "metrics", name
    assert [fast.metrics[key] for key in ("lr",)] == [slow.metrics[key] for key in ("lr",)]


@pytest.mark.parametrize("scenario", ["finished", "resumed", "diverged", "crashed", "paused"])
def test_curves_are_the_same_either_way(scenario: str) -> None:
    data = lines(history(600, scenario=scenario, held_out=1))
    events, bad = bulk.read(data)
    assert not bad and any(event["type"] == bulk.STEPS for event in events)
    assert sum(map(bulk.weight, events)) == data.count(b"\n")
    fast, slow = both(data)
    assert_alike(fast, slow)
    unthinned = RunState.from_events(events)
    assert list(unthinned.series[MEMORY]) == list(slow.series[MEMORY]) != []
    assert unthinned.gpus == fast.gpus == slow.gpus


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 260), max_size=4), st.sampled_from([1, 2, 3]))
def test_however_steps_go_back_without_a_word_the_curves_never_fork(starts: list[int], by: int) -> None:
    """A journal whose steps fall back, with nothing to say so: the later ones count."""
    events, steps = [], [*range(1, 90), *itertools.chain(*(range(start, start + 70, by) for start in starts))]
    for seq, step in enumerate(steps):
        metrics = {"loss": seq / 7, "lr": 1e-4, "grad_norm": 0.1, "samples_per_s": 4.0, "seconds": 0.25 * by}
        head: Event = {"v": 1, "seq": seq, "t": float(seq), "session": "a", "type": "step"}
        events.append({**head, "step": step, "epoch": step // 40 + 1, **metrics})
    fast, slow = both(lines(events))
    assert_alike(fast, slow)
    for name in SERIES:
        assert all(left < right for left, right in itertools.pairwise(fast.series[name].xs)), name


def _spoil(event: Event, **changes: Any) -> Event:
    return {key: value for key, value in {**event, **changes}.items() if value is not ...}


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": "NaN"},
        {"grad_norm": "Infinity", "loss": "-Infinity"},
        {"lr": "a lot"},
        {"loss": ...},
        {"loss": None},
        {"seconds": -1.0},
        {"step": 1.5},
        {"step": -4},
        {"epoch": "x"},
        {"session": "another, one"},
        {"note": "with, a comma"},
        {"note": {"loss": 3, "lr": 4}},
        {"note": 'a "quoted" } word'},
        {"samples_per_s": [1, 2]},
        {"seq": "x"},
    ],
)
def test_a_step_that_is_unlike_the_others_is_read_as_it_is(changes: dict[str, Any]) -> None:
    events = history(300, scenario="live")
    place = next(n for n, event in enumerate(events) if event.get("step") == 120)
    events[place] = _spoil(events[place], **changes)
    fast, slow = both(lines(events))
    for name in KEPT:
        assert list(map(repr, fast.series[name])) == list(map(repr, slow.series[name])), name


def test_an_order_of_fields_of_another_engine_is_read_too() -> None:
    events = [dict(reversed(event.items())) for event in history(300, scenario="live")]
    assert_alike(*both(lines(events)))


def test_damaged_lines_are_counted_and_the_rest_is_read() -> None:
    data = lines(history(300, scenario="live"))
    cut = data.index(b"\n", len(data) // 2) + 1
    events, bad = bulk.read(data[:cut] + b'{"v":1,"seq":\n' + data[cut:])
    assert bad == 1
    state = RunState.from_events(events)
    assert len(state.series["loss"]) == data.count(b'"type":"step"')


def test_of_many_gauges_those_of_the_fullest_gpu_and_the_newest_stay() -> None:
    events: list[Event] = []
    for n in range(64):
        gpus = [{"mem_used": 900 + n % 8}, {"mem_used": 10_000 if n == 37 else 1}]
        events.append({"v": 1, "seq": n, "t": 1.0 * n, "session": "a", "type": "gpu", "gpus": gpus})
    kept = bulk.thinned([(event["seq"], encode(event)) for event in events])
    assert 8 <= len(kept) <= 9
    assert {37, 63} <= {seq for seq, _ in kept}
    few = kept[:5]
    assert bulk.thinned(few) == few


def test_only_what_lies_far_before_the_end_comes_as_columns(tmp_path: Path) -> None:
    events = history(2000, scenario="finished")
    path = tmp_path / "events.jsonl"
    path.write_bytes(lines(events))
    tail, state, kinds = Tail(path, bulk=True), RunState(), []
    while not tail.at_end:
        block = tail.read(64 * 1024)
        kinds.append({event["type"] for event in block})
        state.apply_all(block)
    assert any(bulk.STEPS in kind for kind in kinds[:-2])
    assert not any(bulk.STEPS in kind for kind in kinds[-1:])
    whole = RunState.from_events(events)
    assert_alike(state, whole)
    assert state.pace.seconds_per_step == whole.pace.seconds_per_step
