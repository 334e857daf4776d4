"""Rules of optimizers and schedules: said when broken, silent when kept, and settled by their own fix."""

from __future__ import annotations

from typing import Any

import pytest

from sidestep_tui.schema import disk_maths, memory_model, plan_maths, rules
from sidestep_tui.schema.fields import fields_by_path
from sidestep_tui.schema.layers import Layer, resolve
from sidestep_tui.schema.model_shape import SHAPE_2B
from sidestep_tui.schema.settings import Settings
from sidestep_tui.schema.values import check_value

CONSTANT = {"optim.schedule": "constant"}
PRODIGY = {"optim.optimizer": "prodigy", "optim.lr": 1.0, **CONSTANT}


def settings_of(values: dict[str, Any]) -> Settings:
    return resolve([Layer("test", values)]).settings


@pytest.mark.parametrize(
    ("values", "path", "severity", "words"),
    [
        ({"optim.optimizer": "prodigy"}, "optim.schedule", "error", "must be constant"),
        ({**PRODIGY, "optim.schedule": "wsd"}, "optim.schedule", "error", "must be constant"),
        ({"optim.optimizer": "schedule_free"}, "optim.schedule", "error", "averages its weights"),
        ({**PRODIGY, "optim.lr": 1e-4}, "optim.lr", "warning", "multiplies the rate"),
        ({"optim.optimizer": "lion"}, "optim.lr", "advice", "three to ten times"),
        ({"optim.optimizer": "lion", "optim.lr": 0.01}, "optim.lr", "warning", "usually diverges"),
        ({"optim.optimizer": "lion", "optim.lr": 2e-5}, "optim.beta2", "advice", "0.99, not 0.999"),
        ({"optim.optimizer": "muon", "adapter.kind": "dora"}, "optim.optimizer", "error", "matrices only"),
        ({"optim.optimizer": "muon", "adapter.kind": "oft"}, "optim.optimizer", "error", "angles"),
        ({"optim.lr_ratio_b": 4.0, "adapter.kind": "lokr"}, "optim.lr_ratio_b", "error", "Only LoRA and DoRA"),
        ({"optim.optimizer": "adafactor", "optim.beta1": 0.8}, "optim.beta1", "advice", "no effect on Adafactor"),
        ({"optim.optimizer": "muon", "optim.eps": 1e-6}, "optim.eps", "advice", "no effect on Muon"),
        ({"optim.schedule": "cosine_restarts"}, "optim.schedule", "advice", "85 % of its peak"),
        ({"optim.lr": 1.0}, "optim.lr", "warning", "usually diverges"),
    ],
)
def test_a_rule_speaks_and_its_fix_settles_it(values: dict[str, Any], path: str, severity: str, words: str) -> None:
    found = [advice for advice in rules.check(settings_of(values)) if advice.path == path]
    assert [advice.severity for advice in found] == [severity]
    advice = found[0]
    assert words in advice.sentence
    assert advice.fix is not None
    for fixed, value in advice.fix.items():
        assert check_value(fields_by_path()[fixed], value) == value
    after = rules.check(settings_of({**values, **advice.fix}))
    assert advice.sentence not in [one.sentence for one in after]


@pytest.mark.parametrize(
    "values",
    [
        PRODIGY,
        {"optim.optimizer": "schedule_free", **CONSTANT},
        {"optim.optimizer": "lion", "optim.lr": 2e-5, "optim.beta2": 0.99},
        {"optim.optimizer": "adafactor"},
        {"optim.optimizer": "muon"},
        {"optim.schedule": "wsd"},
        {"optim.lr_ratio_b": 16.0},
    ],
)
def test_recipes_that_keep_the_rules_need_no_advice(values: dict[str, Any]) -> None:
    assert rules.check(settings_of(values)) == []


def test_one_fix_takes_all_rules_of_prodigy() -> None:
    advice = rules.check(settings_of({"optim.optimizer": "prodigy"}))[0]
    assert advice.fix is not None
    assert rules.check(settings_of({"optim.optimizer": "prodigy", **advice.fix})) == []


@pytest.mark.parametrize(
    ("optimizer", "per_weight"),
    [("adamw", 16), ("adamw8bit", 10.3), ("prodigy", 22.3), ("schedule_free", 20), ("lion", 12), ("adafactor", 8.1)],
)
def test_memory_and_checkpoints_grow_with_what_the_optimizer_keeps(optimizer: str, per_weight: float) -> None:
    settings = settings_of({"optim.optimizer": optimizer})
    weights = memory_model.adapter_parameters(SHAPE_2B, settings)
    found = memory_model.estimate(SHAPE_2B, settings)
    assert (found.adapter + found.optimizer) / weights == pytest.approx(per_weight, rel=1e-4)
    checkpoint = disk_maths.checkpoint_size(SHAPE_2B, settings).total
    assert checkpoint / weights == pytest.approx(per_weight - 4, rel=0.05)


def test_every_optimizer_has_an_estimate() -> None:
    choices = fields_by_path()["optim.optimizer"].choices
    assert set(choices) == set(plan_maths.OPTIMIZER_BYTES)
