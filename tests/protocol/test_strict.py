from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from sidestep_tui.engine import fake
from sidestep_tui.protocol import strict
from sidestep_tui.protocol.events import END_REASONS, EVENT_TYPES, PHASES, Event
from sidestep_tui.protocol.strict import check, check_journal


def models() -> dict[str, Any]:
    found = {}
    for item in vars(strict).values():
        if isinstance(item, type) and issubclass(item, strict._Event) and "type" in item.model_fields:
            (name,) = item.model_fields["type"].annotation.__args__  # type: ignore[union-attr]
            found[name] = item
    return found


def test_there_is_a_shape_for_every_type() -> None:
    assert set(models()) == EVENT_TYPES
    assert models()["phase"].model_fields["name"].annotation.__args__ == PHASES
    assert models()["session_ended"].model_fields["reason"].annotation.__args__ == END_REASONS


@pytest.fixture
def told() -> list[Event]:
    return fake.history(50, scenario="stopped")


def test_unknown_types_and_fields_are_refused(told: list[Event]) -> None:
    with pytest.raises(ValidationError):
        check({**told[0], "type": "celebration"})
    with pytest.raises(ValidationError):
        check({**told[0], "mood": "good"})


def test_a_field_of_the_wrong_kind_is_refused(told: list[Event]) -> None:
    step = next(event for event in told if event["type"] == "step")
    check({**step, "loss": float("nan")})
    for wrong in ({"loss": "0.5"}, {"loss": None}, {"step": 1.5}, {"step": -1}, {"session": ""}):
        with pytest.raises(ValidationError):
            check({**step, **wrong})


def change(told: list[Event], index: int, **fields: Any) -> list[Event]:
    return [{**event, **fields} if number == index else event for number, event in enumerate(told)]


def test_a_gap_in_the_numbers_is_a_fault(told: list[Event]) -> None:
    check_journal(told)
    with pytest.raises(ValueError, match="follows event 3"):
        check_journal(told[:4] + told[5:])


def test_nothing_follows_a_goodbye(told: list[Event]) -> None:
    extra = {**told[0], "seq": len(told)}
    with pytest.raises(ValueError, match="after its session's goodbye"):
        check_journal([*told, extra])
    check_journal([*told, {**extra, "session": "next"}])


def test_steps_rise_within_a_session(told: list[Event]) -> None:
    steps = [index for index, event in enumerate(told) if event["type"] == "step"]
    with pytest.raises(ValueError, match="step 1 after step 1"):
        check_journal(change(told, steps[1], step=1))


def test_a_command_is_received_before_it_is_done(told: list[Event]) -> None:
    received = next(index for index, event in enumerate(told) if event.get("state") == "received")
    with pytest.raises(ValueError, match="without having been received"):
        check_journal(change(told, received, id="another"))
