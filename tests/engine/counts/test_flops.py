"""Counted operations of the real configurations against the closed form."""

from __future__ import annotations

from typing import Any

import pytest

from sidestep_tui.schema import compute_model
from sidestep_tui.schema.layer_walk import heard_pairs
from sidestep_tui.schema.model_shape import SHAPE_2B, SHAPE_XL
from sidestep_tui.schema.settings import Settings
from tests.engine.counts.counting import Cell, count


def cell(**values: Any) -> Cell:
    adapter = values.pop("adapter", {"rank": 64})
    return Cell(**values, adapter=tuple(adapter.items()))


CELLS = {
    "stock": cell(layers=4, fast=False),
    "ours": cell(layers=4),
    "checkpointed": cell(layers=4, checkpointing=True),
    "XL, MLP, batch": cell(size="xl", layers=2, batch=2, tokens=300, adapter={"rank": 16, "mlp": True}),
    "output of self-attention": cell(
        layers=2, tokens=300, condition=64, adapter={"attention": "self", "projections": ("o",)}
    ),
    "cross-attention, later layers": cell(
        layers=4, tokens=300, condition=64, adapter={"attention": "cross", "layers": "1-2", "rank_pattern": "q=16"}
    ),
    "DoRA": cell(layers=2, adapter={"kind": "dora", "rank": 16}),
    "LoKr": cell(layers=2, adapter={"kind": "lokr"}),
    "LoKr, split": cell(
        layers=2,
        adapter={
            "kind": "lokr",
            "rank": 16,
            "lokr_factor": 8,
            "lokr_full_matrix": False,
            "lokr_decompose_both": True,
        },
    ),
    "LoHa": cell(layers=2, adapter={"kind": "loha", "rank": 16}),
    "OFT": cell(layers=2, adapter={"kind": "oft", "oft_block_size": 64}),
}


@pytest.mark.parametrize("name", CELLS)
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


def test_a_window_is_counted_pair_by_pair() -> None:
    for tokens, window in ((300, 128), (129, 128), (128, 128), (7, 2), (1, 1)):
        pairs = sum(abs(one - other) <= window for one in range(tokens) for other in range(tokens))
        assert heard_pairs(tokens, window) == pairs


@pytest.mark.parametrize(
    ("shape", "seconds", "plain", "checkpointed"),
    [(SHAPE_2B, 60, 5.42, 8.05), (SHAPE_2B, 240, 23.2, 33.7), (SHAPE_XL, 60, 14.5, 21.5), (SHAPE_XL, 240, 63.0, 91.4)],
)
def test_whole_models_take_what_the_table_says(shape, seconds: float, plain: float, checkpointed: float) -> None:
    """Teraflops of one example with a LoRA of rank 64 on the attention (ENGINE.md §1.1)."""
    settings = Settings.model_validate({"data": {"crop_seconds": seconds}, "train": {"accumulation": 1}})
    for checkpointing, teraflops in ((False, plain), (True, checkpointed)):
        found = compute_model.flops(shape, settings, checkpointing=checkpointing)
        assert found.total / 1e12 == pytest.approx(teraflops, rel=0.01)
        assert found.useful / 1e12 == pytest.approx(plain, rel=0.01)


def test_a_step_is_all_its_examples() -> None:
    one = Settings.model_validate({"train": {"batch_size": 1, "accumulation": 1}})
    many = Settings.model_validate({"train": {"batch_size": 2, "accumulation": 3}})
    plain = compute_model.flops(SHAPE_2B, one, checkpointing=False)
    assert compute_model.flops(SHAPE_2B, many, checkpointing=False).total == pytest.approx(6 * plain.total)
