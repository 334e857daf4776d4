"""What LoKr, LoHa and OFT keep for the backward pass of a real 2B layer, against the closed form: shapes only."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import AceStepTransformer1DModel
from torch._subclasses.fake_tensor import FakeTensorMode

from sidestep_tui.engine import adapters, objective
from sidestep_tui.schema import memory_model
from sidestep_tui.schema.model_shape import SHAPE_2B
from sidestep_tui.schema.settings import Settings

SECONDS = 60
CONDITION = memory_model.CONDITION_TOKENS


def settings_of(adapter: dict[str, Any]) -> Settings:
    return Settings.model_validate(
        {"adapter": adapter, "data": {"crop_seconds": SECONDS}, "memory": {"gradient_checkpointing": False}}
    )


def saved_bytes(adapter: dict[str, Any], layers: int) -> int:
    """Bytes of the distinct storages that autograd keeps, parameters left out."""
    with torch.device("meta"):
        transformer = AceStepTransformer1DModel(num_hidden_layers=layers).to(torch.bfloat16)
    adapters.inject(transformer, settings_of(adapter).adapter, autocast=True)
    kept: dict[int, torch.UntypedStorage] = {}
    with FakeTensorMode(allow_non_fake_inputs=True):
        transformer = transformer.to_empty(device="cpu").train()
        own = {parameter.untyped_storage()._cdata for parameter in transformer.parameters()}

        def note(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage._cdata not in own:
                kept[storage._cdata] = storage
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            x_t, context = (torch.randn(1, 25 * SECONDS, width) for width in (64, 128))
            condition = torch.randn(1, CONDITION, 2048)
            # The loss is not taken: its memory does not depend on the adapter.
            objective.predict(transformer, x_t, torch.tensor([0.5]), condition, context, dtype=torch.bfloat16)
    return sum(storage.nbytes() for storage in kept.values())


def of_a_layer(adapter: dict[str, Any]) -> int:
    """A layer's share: the first layers, which hear no gradient from below, cancel out."""
    return (saved_bytes(adapter, 4) - saved_bytes(adapter, 2)) // 2


def predicted(adapter: dict[str, Any]) -> float:
    """The same from the estimate, with what does not depend on the batch."""
    settings = settings_of(adapter)
    layers = SHAPE_2B.layers
    fixed = memory_model._rebuilt_bytes(SHAPE_2B, settings) / layers if adapter["kind"] == "oft" else 0.0
    kept = memory_model._layer_bytes(SHAPE_2B, settings, CONDITION, attention="flash", autocast_copies=False)
    return kept + fixed


@pytest.mark.parametrize(
    "adapter",
    [
        {"kind": "lora", "rank": 64},
        {"kind": "lokr"},
        {"kind": "lokr", "lokr_factor": 8, "lokr_full_matrix": False, "rank": 16},
        {"kind": "loha", "rank": 8},
        {"kind": "oft", "oft_block_size": 64},
    ],
)
def test_the_estimate_counts_what_each_kind_keeps(adapter):
    measured = of_a_layer(adapter)
    assert predicted(adapter) == pytest.approx(measured, rel=0.04)
