"""Layers decide who wins, and every value remembers its layer."""

from __future__ import annotations

import pytest

from sidestep_tui.core.errors import SettingsError
from sidestep_tui.schema.fields import all_fields
from sidestep_tui.schema.layers import Layer, command_line, resolve
from sidestep_tui.schema.problems import SettingsProblems


def test_no_layers_give_the_defaults() -> None:
    resolved = resolve([])
    assert set(resolved.origins.values()) == {"default"}
    assert resolved.values == {spec.path: spec.default for spec in all_fields()}


def test_the_highest_layer_wins_and_is_the_origin() -> None:
    resolved = resolve(
        [
            Layer("hardware", {"memory.gradient_checkpointing": False, "adapter.rank": 8}),
            Layer("preset vram_12gb", {"adapter.rank": 32, "adapter.alpha": 64}),
            Layer("command line", {"adapter.rank": 48}),
        ]
    )
    assert resolved.settings.adapter.rank == 48
    assert resolved.settings.adapter.alpha == 64.0
    assert resolved.origins["adapter.rank"] == "command line"
    assert resolved.origins["adapter.alpha"] == "preset vram_12gb"
    assert resolved.origins["memory.gradient_checkpointing"] == "hardware"
    assert resolved.origins["optim.lr"] == "default"
    assert resolved.value("adapter.rank") == 48


def test_every_problem_of_every_layer_is_reported_at_once() -> None:
    with pytest.raises(SettingsProblems) as refusal:
        resolve(
            [
                Layer("preset mine", {"adapter.rank": 0, "adaptr.alpha": 3}),
                Layer("command line", {"train.epochs": "many", "adapter.rank": 16}),
            ]
        )
    assert [(problem.path, problem.origin) for problem in refusal.value.problems] == [
        ("adapter.rank", "preset mine"),
        ("adaptr.alpha", "preset mine"),
        ("train.epochs", "command line"),
    ]
    assert "1–512" in refusal.value.message
    assert "Did you mean 'adapter.alpha'?" in refusal.value.message


def test_resolved_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        resolve([]).settings.adapter.rank = 3  # type: ignore[misc]


def test_command_line_takes_assignments_and_named_options() -> None:
    layer = command_line(["adapter.rank=32", "optim.lr = 5e-5", "data.tag=a=b"], {"model.path": "~/m"})
    assert layer.name == "command line"
    assert layer.values == {"adapter.rank": 32, "optim.lr": 5e-5, "data.tag": "a=b", "model.path": "~/m"}


@pytest.mark.parametrize(
    ("argument", "answer"),
    [
        ("rank=32", "Did you mean 'adapter.rank'?"),
        ("adapter.rnk=32", "Did you mean 'adapter.rank'?"),
        ("optimizer.lr=1", "Did you mean 'optim.lr'?"),
        ("adapter.rank", "not of the form path=value"),
        ("adapter.rank=x", "a whole number, 1–512"),
    ],
)
def test_command_line_mistakes_are_answered_with_the_right_name(argument: str, answer: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        command_line([argument])
    assert answer in str(refusal.value)


def test_command_line_reports_all_mistakes() -> None:
    with pytest.raises(SettingsProblems) as refusal:
        command_line(["adapter.rank=x", "optim.lr=2", "nonsense"])
    assert len(refusal.value.problems) == 3
