"""What is given up so that a run fits, in which order, and what stays the same."""

from __future__ import annotations

import pytest

from sidestep_tui.schema import fit_ladder, memory_model
from sidestep_tui.schema.model_shape import SHAPE_XL
from sidestep_tui.schema.settings import Settings

GIB = 1024**3


def needs(settings: Settings) -> int:
    return memory_model.estimate(SHAPE_XL, settings).total


def asked(**groups: dict[str, object]) -> Settings:
    return Settings.model_validate({"train": {"batch_size": 4, "accumulation": 2}, **groups})


def test_rungs_need_less_and_less_and_keep_the_examples_of_a_step_together() -> None:
    settings = asked()
    ladder = fit_ladder.rungs(settings, needs)
    assert [rung.name for rung in ladder] == [
        "everything",
        "recompute",
        "fewer crops",
        "fewer crops",
        "int8 base",
        "nf4 base",
    ]
    assert [rung.needs for rung in ladder] == sorted((rung.needs for rung in ladder), reverse=True)
    for rung in ladder:
        changed = fit_ladder.with_values(settings, rung.values)
        assert changed.train.batch_size * changed.train.accumulation == 8
        assert needs(changed) == rung.needs
        assert not rung.changes_recipe
        assert changed.model_dump(exclude={"train", "memory"}) == settings.model_dump(exclude={"train", "memory"})


@pytest.mark.parametrize(
    ("gib", "expected"),
    [
        (80, {"memory.gradient_checkpointing": "off"}),
        (16, {"memory.gradient_checkpointing": "on"}),
        (11.9, {"memory.gradient_checkpointing": "on", "train.batch_size": 2, "train.accumulation": 4}),
        (
            8,
            {
                "memory.gradient_checkpointing": "on",
                "train.batch_size": 1,
                "train.accumulation": 8,
                "memory.base": "int8",
            },
        ),
    ],
)
def test_the_first_rung_that_fits_is_proposed(gib: float, expected: dict[str, object]) -> None:
    rung = fit_ladder.proposal(asked(), needs, int(gib * GIB))
    assert rung is not None
    assert rung.values == expected


def test_a_shorter_crop_comes_last_and_says_that_it_changes_the_recipe() -> None:
    free = (
        int(needs(fit_ladder.with_values(asked(), fit_ladder.rungs(asked(), needs)[-1].values)) / 0.92) - 20 * 1024**2
    )
    rung = fit_ladder.proposal(asked(), needs, free)
    assert rung is not None
    assert (rung.name, rung.changes_recipe) == ("shorter crop", True)
    assert rung.values["data.crop_seconds"] < 60
    longer = fit_ladder.with_values(asked(), {**rung.values, "data.crop_seconds": rung.values["data.crop_seconds"] + 5})
    assert needs(longer) > fit_ladder.HEADROOM * free, "the longest that fits"
    assert fit_ladder.proposal(asked(), needs, GIB) is None


def test_an_odd_batch_goes_down_by_what_divides_it() -> None:
    settings = asked(train={"batch_size": 6, "accumulation": 1})
    sizes = [rung.values.get("train.batch_size") for rung in fit_ladder.rungs(settings, needs)]
    assert sizes[2:4] == [3, 1]
    prime = asked(train={"batch_size": 7, "accumulation": 100})
    assert "fewer crops" not in {rung.name for rung in fit_ladder.rungs(prime, needs)}, "accumulation ends at 256"


def test_a_compiled_run_goes_down_by_its_budget_before_it_recomputes_all() -> None:
    settings = asked(speed={"compile": "on", "activation_budget": 0.6})
    ladder = fit_ladder.rungs(settings, needs)
    assert [(rung.name, rung.values.get("speed.activation_budget")) for rung in ladder][:4] == [
        ("everything", None),
        ("activation budget", 0.5),
        ("activation budget", 0.25),
        ("recompute", None),
    ]
    assert [rung.needs for rung in ladder] == sorted((rung.needs for rung in ladder), reverse=True)
    assert needs(asked(speed={"compile": "auto", "activation_budget": 0.0})) == needs(asked()), "not certain to compile"


@pytest.mark.parametrize(("old", "now"), [(True, "on"), (False, "off"), ("auto", "auto")])
def test_what_was_a_switch_is_still_read(old: object, now: str) -> None:
    assert asked(memory={"gradient_checkpointing": old}).memory.gradient_checkpointing == now


def test_a_rung_is_applied_by_the_fewest_values() -> None:
    settings = Settings.model_validate({"train": {"batch_size": 4}})
    needs = lambda asked: 20 if asked.memory.gradient_checkpointing == "off" else 3 * asked.train.batch_size  # noqa: E731
    ladder = {rung.name: rung for rung in fit_ladder.rungs(settings, needs)}
    fewer = next(rung for rung in fit_ladder.rungs(settings, needs) if rung.name == "fewer crops")
    assert fit_ladder.to_apply(ladder["recompute"], settings, needs, free=16) == {}, "auto comes to it by itself"
    assert fit_ladder.to_apply(ladder["recompute"], settings, needs, free=100) == {fit_ladder.FLAG: "on"}
    assert fit_ladder.to_apply(fewer, settings, needs, free=8) == {"train.batch_size": 2, "train.accumulation": 8}
    decided = fit_ladder.settled(settings, needs, free=16)
    standing = fit_ladder.in_force(fit_ladder.rungs(settings, needs), decided)
    assert standing is not None
    assert standing.name == "recompute"
