"""Advice about what a run writes."""

from __future__ import annotations

from typing import Any

import pytest

from sidestep_tui.schema import rules
from sidestep_tui.schema.import_keys import MEANINGS, Take
from sidestep_tui.schema.settings import Settings


def advice(**output: Any) -> dict[str, str]:
    settings = Settings.model_validate({"output": output})
    paths = ("output.keep_best", "output.keep_last", "output.save_every_epochs")
    return {item.path: item.sentence for item in rules.check(settings) if item.path in paths}


def test_keeping_the_best_says_that_it_does_nothing_while_all_are_kept() -> None:
    assert "no effect" in advice(keep_best=3)["output.keep_best"]
    assert advice(keep_best=3, keep_last=1) == {}


def test_saving_by_minutes_asks_for_a_limit_and_counts_as_saving() -> None:
    told = advice(save_every_minutes=15, save_every_epochs=0)
    assert list(told) == ["output.keep_last"]
    assert "15 minutes" in told["output.keep_last"]
    assert advice(save_every_minutes=15, save_every_epochs=0, keep_last=5) == {}
    assert "power cut" in advice(save_every_epochs=0)["output.save_every_epochs"]


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("checkpointing_steps", "output.save_every_steps"),
        ("checkpoints_total_limit", "output.keep_last"),
        ("max_step_saves_to_keep", "output.keep_last"),
        ("save_top_k", "output.keep_best"),
    ],
)
def test_what_other_trainers_call_them(key: str, path: str) -> None:
    meaning = MEANINGS[key]
    assert isinstance(meaning, Take)
    assert meaning.path == path
