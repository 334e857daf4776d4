"""What CUDA graphs ask of a pass is kept without changing what it computes."""

from __future__ import annotations

from typing import Any

import torch

from sidestep_tui.engine import adapters
from sidestep_tui.engine.speed import graphs, switches
from sidestep_tui.schema.settings import Settings


def test_gradients_are_added_to_tensors_that_are_there_before(new_model: Any, run_pass: Any) -> None:
    expected = run_pass(new_model())
    model = new_model()
    graphs.prepare(model)
    places: dict[str, int] = {}

    def note(module: torch.nn.Module, args: Any) -> None:
        learning = adapters.trainable(model).items()
        places.update({name: parameter.grad.data_ptr() for name, parameter in learning if parameter.grad is not None})

    model.layers[0].self_attn_norm.register_forward_pre_hook(note)
    found = run_pass(model)
    assert torch.equal(found[0], expected[0])
    assert all(torch.equal(found[1][name], expected[1][name]) for name in expected[1])
    assert places == {name: parameter.grad.data_ptr() for name, parameter in adapters.trainable(model).items()}


def test_measuring_makes_no_gradients(new_model: Any, run_pass: Any) -> None:
    model = new_model()
    graphs.prepare(model)
    with torch.no_grad():
        run_pass(model, backward=False)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_cpu_records_none(new_model: Any) -> None:
    settings = Settings.model_validate({"speed": {"compile": "on", "cuda_graphs": True}})
    words = switches.apply(new_model(), settings, torch.device("cpu"), torch.float32)
    assert "compiled blocks" in words
    assert "graphs" not in words
