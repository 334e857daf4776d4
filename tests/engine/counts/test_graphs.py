"""Compiled blocks are whole graphs, and few of them, whatever adapter they carry."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sidestep_tui.engine import adapters
from sidestep_tui.engine.speed import compiled, switches
from sidestep_tui.schema.settings import Settings
from tests.engine.models import WIDTH, make_transformer

KINDS: dict[str, dict[str, Any]] = {
    "lora": {"rank": 4},
    "lokr": {"lokr_factor": 4},
    "loha": {"rank": 2},
    "oft": {"oft_block_size": 8},
}
MOST_GRAPHS = 5


class Counting:
    """Runs every graph as it is, and counts them."""

    def __init__(self) -> None:
        self.graphs = 0

    def __call__(self, graph: Any, inputs: Any) -> Any:
        self.graphs += 1
        return graph


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_blocks_of_every_compiled_kind_are_few_whole_graphs(kind: str) -> None:
    assert kind in compiled._UNBROKEN
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    model = make_transformer(layers=2).train()
    settings = Settings.model_validate({"adapter": {"kind": kind, **KINDS[kind]}, "speed": {"compile": "off"}})
    adapters.inject(model, settings.adapter)
    switches.apply(model, settings, torch.device("cpu"), torch.float32)
    lower = Counting()
    switches.use_compiled(model, 1.0, lower=lower)
    answer = model(
        hidden_states=torch.randn(1, 80, 64),
        timestep=torch.tensor([0.5]),
        timestep_r=torch.tensor([0.5]),
        encoder_hidden_states=torch.randn(1, 9, WIDTH),
        context_latents=torch.randn(1, 80, 128),
        return_dict=False,
    )[0]
    answer.square().mean().backward()
    assert model.layers[0].compiler.works
    assert not torch._dynamo.utils.counters["graph_break"]
    assert 1 <= lower.graphs <= MOST_GRAPHS
