"""Layers and patterns written as text: what they select, and what is refused before a model is there."""

from __future__ import annotations

from typing import Any

import pytest

from sidestep_tui.core.errors import SettingsError
from sidestep_tui.schema import adapter_targets, memory_model, rules
from sidestep_tui.schema.adapter import AdapterSettings
from sidestep_tui.schema.advice import Advice, Facts
from sidestep_tui.schema.fields import fields_by_path
from sidestep_tui.schema.layers import command_line, resolve
from sidestep_tui.schema.model_shape import SHAPE_2B
from sidestep_tui.schema.settings import Settings
from sidestep_tui.schema.values import parse_value


def adapter(**values: Any) -> AdapterSettings:
    return AdapterSettings.model_validate(values)


def errors(depth: int | None = None, /, **values: Any) -> dict[str, Advice]:
    found = rules.check(Settings.model_validate({"adapter": values}), Facts(layers=depth))
    return {advice.path: advice for advice in found if advice.severity == "error"}


def test_the_last_entry_that_matches_decides_and_layer_1_is_not_layer_11() -> None:
    chosen = adapter(rank=8, rank_pattern="self=4, layers.1=2, layers.10-11.q=16", mlp=True)
    rank = {matrix: adapter_targets.rank_of(chosen, matrix) for matrix in adapter_targets.matrices(chosen, 24)}
    assert rank[0, "self.q"] == rank[12, "self.o"] == 4
    assert {rank[1, part] for part in adapter_targets.parts(chosen)} == {2}
    assert rank[11, "self.q"] == rank[10, "cross.q"] == 16
    assert rank[11, "self.k"] == 4
    assert rank[11, "cross.v"] == rank[11, "mlp.gate"] == rank[0, "cross.q"] == 8


@pytest.mark.parametrize(
    ("typed", "numbers"),
    [("", range(24)), ("0-3, 20", [0, 1, 2, 3, 20]), ("7,7, 5 - 6", [5, 6, 7]), ("23", [23])],
)
def test_layers_are_numbers_and_ranges(typed: str, numbers: Any) -> None:
    assert adapter_targets.layers_of(adapter(layers=typed), 24) == list(numbers)


def test_layers_are_written_as_short_as_they_can_be() -> None:
    assert adapter_targets.layers_text([3, 0, 1, 2, 7, 9, 10]) == "0-3, 7, 9-10"


@pytest.mark.parametrize(
    ("path", "typed"),
    [
        ("adapter.layers", "0-"),
        ("adapter.layers", "a"),
        ("adapter.rank_pattern", "self.x=8"),
        ("adapter.rank_pattern", "layers.1*=8"),
        ("adapter.rank_pattern", "q=0"),
        ("adapter.rank_pattern", "q"),
        ("adapter.rank_pattern", "mlp.q=8"),
        ("adapter.alpha_pattern", "q=-1"),
        ("adapter.alpha_pattern", "q=1e3"),
    ],
)
def test_what_is_no_list_of_layers_and_no_pattern_is_refused_where_it_is_typed(path: str, typed: str) -> None:
    with pytest.raises(SettingsError, match="such as"):
        parse_value(fields_by_path()[path], typed)


def test_a_pattern_can_be_given_on_the_command_line() -> None:
    layer = command_line(["adapter.rank_pattern=self.q=128, layers.0-7=32"], {})
    assert resolve([layer]).settings.adapter.rank_pattern == "self.q=128, layers.0-7=32"


def test_what_matches_nothing_is_an_error_that_says_what_there_is() -> None:
    found = errors(rank_pattern="mlp.up=8")["adapter.rank_pattern"]
    assert "mlp.up=8 matches nothing that learns; there is self.q, self.k" in found.sentence
    assert found.fix == {"adapter.rank_pattern": ""}
    assert "layers 4-7" in errors(layers="4-7", alpha_pattern="layers.3=2")["adapter.alpha_pattern"].sentence
    assert "decides nothing" in errors(rank_pattern="self.q=8, self=4")["adapter.rank_pattern"].sentence
    assert "layers 0-23" in errors(24, rank_pattern="layers.24=8")["adapter.rank_pattern"].sentence
    assert not errors(rank_pattern="layers.24=8")
    assert not errors(24, rank_pattern="self=8, layers.23=4, layers.22.cross.o=2")


def test_layers_outside_the_model_and_backward_ranges_are_errors() -> None:
    assert "layers 0 to 23" in errors(24, layers="20-24")["adapter.layers"].sentence
    assert "write 2-5" in errors(layers="5-2")["adapter.layers"].sentence
    assert not errors(24, layers="0-23")


@pytest.mark.parametrize("kind", ["lokr", "loha", "oft"])
def test_patterns_are_refused_for_kinds_of_one_size(kind: str) -> None:
    found = errors(kind=kind, rank_pattern="self=4", alpha_pattern="self=4")
    assert set(found) == {"adapter.rank_pattern", "adapter.alpha_pattern"}
    assert all("LoRA and DoRA" in advice.sentence for advice in found.values())


def test_ranks_beyond_the_highest_are_an_error() -> None:
    assert "512" in errors(rank_pattern="self=513")["adapter.rank_pattern"].sentence


def test_ranks_without_alphas_are_told_with_alphas_that_keep_the_scale() -> None:
    settings = Settings.model_validate({"adapter": {"rank": 64, "alpha": 128, "rank_pattern": "self.q=128, cross=32"}})
    (advice,) = [found for found in rules.check(settings) if found.path == "adapter.alpha_pattern"]
    assert advice.fix == {"adapter.alpha_pattern": "self.q=256, cross=64"}
    kept = adapter(**{**settings.adapter.model_dump(), "alpha_pattern": "self.q=256, cross=64"})
    assert adapter_targets.scale_range(kept) == (2.0, 2.0)
    assert adapter_targets.scale_range(settings.adapter) == (1.0, 4.0)
    assert "by 1 to 4" in rules.scale_sentence(settings)


def test_the_estimate_counts_ranks_and_layers_one_by_one() -> None:
    def parameters(**values: Any) -> int:
        return memory_model.adapter_parameters(SHAPE_2B, Settings.model_validate({"adapter": values}))

    per_layer = 688_128 // 24
    assert parameters(rank=8, layers="0-11, 20") == 13 * 8 * per_layer
    assert parameters(rank=8, rank_pattern="layers.0-7=32") == (8 * 32 + 16 * 8) * per_layer
    assert parameters(rank=8, rank_pattern="q=16") == 8 * 688_128 + 8 * 24 * 2 * 4096
    assert parameters(kind="dora", rank=8, layers="3") == 8 * per_layer + 2 * (2048 + 1024 + 1024 + 2048)


def test_layers_below_the_first_that_learns_keep_no_activations() -> None:
    def activations(checkpointing: bool, **values: Any) -> int:
        memory = {"gradient_checkpointing": checkpointing}
        settings = Settings.model_validate({"adapter": values, "memory": memory})
        return memory_model.estimate(SHAPE_2B, settings).activations

    assert activations(False, layers="12-23") == pytest.approx(activations(False) / 2, rel=0.03)
    assert activations(True, layers="12-23") <= activations(True)
    assert 0.9 * activations(False) < activations(False, layers="0") < activations(False)
