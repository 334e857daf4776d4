"""The verdict on held-out songs, always against the run's own measurements."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidestep_tui.engine.fake_history import history
from sidestep_tui.protocol.heldout import HeldOut
from sidestep_tui.protocol.state import RunState


def told(*losses: float, baseline: float | None = None, every: int = 10) -> HeldOut:
    first = losses[0] if baseline is None else baseline
    found = HeldOut.of(
        [{"step": every * index, "loss": loss, "baseline": first, "songs": 3} for index, loss in enumerate(losses)]
    )
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("losses", "verdict"),
    [
        ([0.9], ""),
        ([0.9, 0.8], "learning"),
        ([0.9, 0.8999], "flat"),
        ([0.9, 0.8, 0.82], "learning"),
        ([0.9, 0.8, 0.83, 0.84, 0.85], "overfitting"),
        ([0.9, 0.8, 0.801, 0.802, 0.803], "learning"),
        ([0.9, 0.95], "rising"),
        ([0.9, 0.95, 0.96, 0.97], "overfitting"),
        ([0.9, 0.8, math.nan], ""),
    ],
)
def test_the_verdict(losses, verdict):
    assert told(*losses).verdict == verdict


def test_the_verdict_depends_on_no_absolute_number():
    losses = [0.9, 0.8, 0.83, 0.84, 0.85]
    assert {told(*[loss * scale for loss in losses]).verdict for scale in (0.01, 1, 30)} == {"overfitting"}


def test_the_sentence_names_what_it_is_judged_against():
    assert told(0.9, 0.8, 0.83, 0.84, 0.85).sentence == "0.85, overfitting since step 10 (start 0.9, best 0.8)"
    assert told(0.9, 0.8, 0.81).sentence == "0.81, learning (start 0.9, best 0.8 at step 10)"
    assert told(0.9).sentence == "0.9"


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["step", "loss", "baseline", "songs"]), st.none() | st.integers() | st.floats() | st.text()
        )
    )
)
def test_odd_events_are_survived(events: list[dict[str, Any]]):
    found = HeldOut.of(events)
    assert found is None or isinstance(found.sentence + found.verdict, str)


def test_a_measurement_made_again_replaces_the_first_and_a_resume_drops_later_ones():
    assert HeldOut.of([{"step": 5, "loss": 1.0}, {"step": 5, "loss": 2.0}]).points == ((5, 2.0),)
    events = history(400, scenario="resumed", held_out=2)
    steps = [event["step"] for event in RunState.from_events(events).evals]
    assert steps == sorted(set(steps))
    assert HeldOut.of(RunState.from_events(history(400)).evals) is None
