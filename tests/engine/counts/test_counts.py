"""Counted operations, bytes, peaks and kernels of the real configurations against the closed forms.

Few cells are of full depth: the closed forms are sums over layers, and the deep cells show that nothing else grows.
"""

from __future__ import annotations

from typing import Any

import pytest

from sidestep_tui.schema import activation_model, compute_model, memory_model
from sidestep_tui.schema.layer_walk import heard_pairs
from sidestep_tui.schema.model_shape import SHAPE_2B, SHAPE_XL
from sidestep_tui.schema.settings import Settings
from tests.engine.counts.counting import Cell, count


def cell(*, layers: int | None = 4, adapter: dict[str, Any] | None = None, **values: Any) -> Cell:
    return Cell(layers=layers, adapter=tuple((adapter or {"rank": 64}).items()), **values)


SPLIT_LOKR = {"kind": "lokr", "rank": 16, "lokr_factor": 8, "lokr_full_matrix": False, "lokr_decompose_both": True}
CELLS = {
    "stock": cell(fast=False),
    "stock, batch": cell(layers=2, fast=False, batch=2, adapter={"rank": 8, "attention": "self", "mlp": True}),
    "recomputed": cell(layers=8, checkpointing=True),
    "DoRA": cell(adapter={"kind": "dora", "rank": 16}),
    "LoKr": cell(adapter={"kind": "lokr"}),
    "LoKr, split": cell(layers=2, adapter=SPLIT_LOKR),
    "LoHa": cell(adapter={"kind": "loha", "rank": 16}),
    "OFT": cell(adapter={"kind": "oft", "oft_block_size": 64}),
    "layers in the middle": cell(adapter={"attention": "cross", "layers": "1-2", "rank_pattern": "q=16"}),
    "output of self-attention": cell(layers=2, adapter={"attention": "self", "projections": ("o",)}),
    "whole 2B": cell(layers=None),
    "deep XL": cell(size="xl", layers=12, batch=2, adapter={"rank": 128, "mlp": True}),
}
DEEP = ("whole 2B", "deep XL")
NAMES = [pytest.param(name, marks=[pytest.mark.slow] if name in DEEP else []) for name in CELLS]
KEEPING = [parameter for parameter in NAMES if parameter.values != ("recomputed",)]


@pytest.mark.parametrize("name", NAMES)
def test_a_step_computes_what_the_closed_form_says(name: str) -> None:
    chosen = CELLS[name]
    predicted = compute_model.flops(
        chosen.shape,
        chosen.settings,
        checkpointing=chosen.checkpointing,
        condition_tokens=chosen.condition,
        windowed=chosen.fast,
    )
    assert predicted.total == pytest.approx(count(chosen).flops, rel=2e-3)


def kept(chosen: Cell) -> activation_model.Kept:
    return activation_model.kept(
        chosen.shape,
        chosen.settings,
        condition_tokens=chosen.condition,
        tokens=chosen.tokens,
        width=2.0,
        attention="flash",
    )


def predicted_peak(chosen: Cell) -> int:
    found = memory_model.estimate(chosen.shape, chosen.settings, condition_tokens=chosen.condition)
    return found.total - found.overhead


@pytest.mark.parametrize("name", KEEPING)
def test_as_much_is_kept_as_the_closed_form_says(name: str) -> None:
    assert kept(CELLS[name]).total == pytest.approx(count(CELLS[name]).saved, rel=0.01)


@pytest.mark.parametrize("name", NAMES)
def test_the_predicted_peak_is_never_too_low_and_hardly_too_high(name: str) -> None:
    assert 1.0 <= predicted_peak(CELLS[name]) / count(CELLS[name]).peak <= 1.05


def test_recomputing_keeps_what_the_layers_hear_and_all_of_the_last() -> None:
    chosen = CELLS["recomputed"]
    found, counted = kept(chosen), count(chosen)
    heard = found.inputs * (chosen.shape.layers - 1) / chosen.shape.layers
    assert heard + found.layers[-1] + found.shared + found.head == pytest.approx(counted.saved, rel=0.01)


def test_dropout_keeps_a_copy_of_what_each_adapter_hears_and_a_mask_for_its_gradient() -> None:
    """On the CPU a mask takes the width of a value; on CUDA a byte, which is what the closed form counts."""
    dropping = cell(layers=2, tokens=300, condition=200, adapter={"rank": 16, "dropout": 0.1})
    hidden, query = dropping.shape.hidden, dropping.shape.query_width
    masks = dropping.tokens * (dropping.shape.layers * (4 * hidden + 2 * query) - 3 * hidden)
    assert kept(dropping).total + masks == pytest.approx(count(dropping).saved, rel=0.01)


@pytest.mark.parametrize("name", [name for name in CELLS if name not in DEEP and CELLS[name].fast])
def test_nothing_of_all_pairs_of_tokens_is_made_and_no_number_asked_for(name: str) -> None:
    counted = count(CELLS[name])
    assert not counted.squares
    assert not {"_local_scalar_dense", "nonzero", "is_nonzero"} & set(counted.operators)


def test_the_stock_model_makes_its_mask() -> None:
    assert count(CELLS["stock"]).squares, "the watch for all pairs of tokens sees none"


@pytest.mark.slow
def test_a_step_starts_little_more_than_half_of_the_stock_kernels() -> None:
    """Diffusers and peft start 8,536 on the same model."""
    assert count(CELLS["whole 2B"]).kernels <= 4_000


def test_a_window_is_counted_pair_by_pair() -> None:
    for tokens, window in ((300, 128), (129, 128), (128, 128), (7, 2), (1, 1)):
        pairs = sum(abs(one - other) <= window for one in range(tokens) for other in range(tokens))
        assert heard_pairs(tokens, window) == pairs


@pytest.mark.parametrize(
    ("shape", "seconds", "plain", "checkpointed"),
    [(SHAPE_2B, 60, 5.42, 8.05), (SHAPE_2B, 240, 23.2, 33.7), (SHAPE_XL, 60, 14.5, 21.5), (SHAPE_XL, 240, 63.0, 91.4)],
)
def test_whole_models_take_what_the_table_says(shape, seconds: float, plain: float, checkpointed: float) -> None:
    """Teraflops of one example with a LoRA of rank 64 on the attention (ENGINE.md §1.1, where all layers recompute)."""
    settings = Settings.model_validate({"data": {"crop_seconds": seconds}, "train": {"accumulation": 1}})
    spared = (checkpointed - plain) / shape.layers
    for checkpointing, teraflops in ((False, plain), (True, checkpointed - spared)):
        found = compute_model.flops(shape, settings, checkpointing=checkpointing)
        assert found.total / 1e12 == pytest.approx(teraflops, rel=0.01)
        assert found.useful / 1e12 == pytest.approx(plain, rel=0.01)


def test_a_step_is_all_its_examples() -> None:
    one = Settings.model_validate({"train": {"batch_size": 1, "accumulation": 1}})
    many = Settings.model_validate({"train": {"batch_size": 2, "accumulation": 3}})
    plain = compute_model.flops(SHAPE_2B, one, checkpointing=False)
    assert compute_model.flops(SHAPE_2B, many, checkpointing=False).total == pytest.approx(6 * plain.total)
