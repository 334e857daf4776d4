"""Compiled blocks compute what the stock model computes, within their budget, and never end a run.

Graphs are taken, differentiated and partitioned as in any run, and then run by torch instead of by generated code,
which takes a C++ compiler minutes; `tests/benchmarks/step.py` runs that.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

import pytest
import torch
from torch._dynamo.backends.debugging import aot_eager_decomp_partition

from sidestep_tui.engine.speed import compiled, recompute, switches
from sidestep_tui.schema.settings import Settings

EXACT = 1e-5
CPU = torch.device("cpu")


class Counting:
    """Counts the graphs that are compiled."""

    def __init__(self) -> None:
        self.graphs = 0

    def __call__(self, graph: Any, inputs: Any) -> Any:
        self.graphs += 1
        return aot_eager_decomp_partition(graph, inputs)


@pytest.fixture(autouse=True)
def no_graphs_of_others() -> None:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()


def faster(model: torch.nn.Module) -> None:
    """All switches but the compiler."""
    settings = Settings.model_validate({"speed": {"compile": "off"}})
    switches.apply(model, settings, CPU, torch.float32)


def kept_bytes(model: torch.nn.Module, run_pass: Any) -> int:
    """What autograd keeps between forward and backward, weights left out."""
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        run_pass(model, tokens=80)
    return sum(kept.values())


@pytest.mark.slow
def test_a_compiled_block_equals_the_stock_one_in_one_graph_and_keeps_to_its_budget(
    new_model: Any, run_pass: Any, apart: Any
) -> None:
    new = partial(new_model, layers=1, mlp=False)
    stock = {length: run_pass(new(), tokens=80, condition=length) for length in (9, 14)}
    kept = []
    for budget, lengths in ((1.0, (9, 14)), (0.0, (9,))):
        model, lower = new(), Counting()
        faster(model)
        assert switches.use_compiled(model, budget, lower=lower) == budget
        for length in lengths:
            assert apart(run_pass(model, tokens=80, condition=length), stock[length]) <= EXACT
        assert lower.graphs == 1
        kept.append(kept_bytes(model, run_pass))
    assert not torch._dynamo.utils.counters["graph_break"]
    assert kept[1] < 0.5 * kept[0]


def test_compiling_takes_the_place_of_gradient_checkpointing(new_model: Any) -> None:
    model = new_model()
    model.enable_gradient_checkpointing()
    settings = Settings.model_validate({"speed": {"compile": "on", "activation_budget": 0.5}})
    words = switches.apply(model, settings, CPU, torch.float32)
    assert "compiled blocks (activation budget 0)" in words
    assert not model.is_gradient_checkpointing
    assert [block.compiler.budget for block in model.layers] == [0.0] * (len(model.layers) - 1) + [0.5]


def test_every_layer_but_the_last_is_computed_twice(new_model: Any, run_pass: Any, apart: Any) -> None:
    expected = run_pass(new_model())
    model = new_model()
    recompute.enable(model)
    passes = [0] * len(model.layers)

    def note(index: int) -> None:
        passes[index] += 1

    for index, block in enumerate(model.layers):
        block.register_forward_pre_hook(lambda *_, index=index: note(index))
    assert apart(run_pass(model), expected) == 0
    assert passes == [2] * (len(passes) - 1) + [1]


def test_the_budget_of_the_settings_is_the_compilers(new_model: Any) -> None:
    model = new_model()
    settings = Settings.model_validate({"speed": {"compile": "on", "activation_budget": 0.5}})
    assert "compiled blocks (activation budget 0.5)" in switches.apply(model, settings, CPU, torch.float32)
    assert model.layers[0].compiler.budget == 0.5


def test_a_failing_compiler_leaves_the_run_to_the_model_itself(
    new_model: Any, run_pass: Any, apart: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(graph: Any, inputs: Any) -> Any:
        raise OSError("no compiler here")

    expected = run_pass(new_model(layers=2))
    model = new_model(layers=2)
    recompute.enable(model)
    switches.use_compiled(model, 1.0, lower=fail)
    with caplog.at_level(logging.WARNING):
        assert apart(run_pass(model), expected) <= EXACT
    assert "no compiler here" in caplog.text
    assert model.is_gradient_checkpointing


def test_measuring_compiles_nothing(new_model: Any, run_pass: Any) -> None:
    model = new_model()
    lower = Counting()
    switches.use_compiled(model, 1.0, lower=lower)
    with torch.no_grad():
        run_pass(model, backward=False)
    with switches.stock(model):
        run_pass(model)
    assert lower.graphs == 0


@pytest.mark.parametrize(
    ("compile", "device", "passes", "wanted"),
    [
        ("auto", "cpu", 10_000, False),
        ("auto", "mps", 10_000, False),
        ("off", "cpu", 10_000, False),
        ("on", "cpu", 1, True),
    ],
)
def test_only_cuda_compiles_unless_told_to(compile: str, device: str, passes: int, wanted: bool) -> None:
    settings = Settings.model_validate({"speed": {"compile": compile}})
    assert compiled.is_wanted(settings, torch.device(device), passes) is wanted


@pytest.mark.parametrize(
    ("passes", "groups", "wanted"),
    [
        (10_000, {}, True),
        (10, {}, False),
        (10_000, {"data": {"crop_seconds": 0.0}}, False),
        (10_000, {"adapter": {"kind": "dora"}}, False),
    ],
)
def test_cuda_compiles_where_it_pays(
    passes: int, groups: dict[str, Any], wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 9))
    monkeypatch.setattr(compiled.importlib.util, "find_spec", lambda name: name)
    settings = Settings.model_validate({"data": {"crop_seconds": 60.0}, **groups})
    assert compiled.is_wanted(settings, torch.device("cuda"), passes) is wanted
