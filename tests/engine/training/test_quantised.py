"""A frozen base in 8 or 4 bits: exact enough, small, and under every kind of adapter."""

from __future__ import annotations

import copy
import gc
import weakref

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sidestep_tui.engine import adapters, checkpoint, export, objective, quantised, shards, trainer, weights
from sidestep_tui.engine.control import Control
from sidestep_tui.engine.loop import TrainingRun
from sidestep_tui.engine.quantised import Int8Linear, Nf4Linear, QuantisedLinear
from sidestep_tui.engine.reporter import Reporter
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.protocol.tail import Tail
from sidestep_tui.schema.adapter import AdapterSettings
from tests.engine.models import make_transformer
from tests.engine.training.adapting import provenance

KINDS = {
    "lora": {"rank": 4},
    "dora": {"kind": "dora", "rank": 4},
    "lokr": {"kind": "lokr"},
    "loha": {"kind": "loha", "rank": 4},
    "oft": {"kind": "oft"},
}


def layer_of(kind: type[QuantisedLinear], weight: torch.Tensor, dtype: torch.dtype = torch.float32) -> QuantisedLinear:
    layer = kind(weight.shape[1], weight.shape[0], None, dtype)
    layer.fill(weight)
    return layer


def stored_bytes(layer: QuantisedLinear) -> int:
    return sum(buffer.nbytes for buffer in layer.buffers())


def test_int8_is_off_by_half_a_step_at_most_and_costs_one_byte_a_weight():
    weight = torch.randn(64, 4096, generator=torch.Generator().manual_seed(0))
    layer = layer_of(Int8Linear, weight)
    step = weight.abs().amax(dim=1, keepdim=True) / 127
    # Half a step, and what rounding the scale to 8 bits of mantissa moves the largest weights by.
    assert bool(((layer.weight - weight).abs() <= 0.5 * step + weight.abs() * 2**-8).all())
    assert stored_bytes(layer) / weight.numel() == pytest.approx(1.0005, abs=2e-5)  # 2 bytes for a row of 4096
    assert torch.equal(layer.weight.bfloat16(), layer_of(Int8Linear, weight, torch.bfloat16).weight)


def test_nf4_takes_the_nearest_of_sixteen_values_at_half_a_byte_a_weight():
    weight = torch.randn(512, 2048, generator=torch.Generator().manual_seed(0))
    layer = layer_of(Nf4Linear, weight)
    error = (layer.weight - weight).norm() / weight.norm()
    assert float(error) == pytest.approx(0.092, abs=0.004)  # of normal weights in blocks of 64
    assert stored_bytes(layer) / weight.numel() == pytest.approx(0.516, abs=1e-3)
    again = layer_of(Nf4Linear, layer.weight)
    torch.testing.assert_close(again.weight, layer.weight, rtol=0.01, atol=1e-6)


def test_nf4_rounds_as_bitsandbytes_does():
    functional = pytest.importorskip("bitsandbytes.functional")
    weight = torch.randn(128, 256, generator=torch.Generator().manual_seed(0))
    codes, state = functional.quantize_4bit(weight, blocksize=64, compress_statistics=False, quant_type="nf4")
    theirs = functional.dequantize_4bit(codes, state)
    ours = layer_of(Nf4Linear, weight).weight
    # The scale of a block, which takes 8 bits here, is up to one of 255 steps larger; at edges weights fall elsewhere.
    same = torch.isclose(ours, theirs, rtol=0.03, atol=1e-6)
    assert float(same.float().mean()) > 0.98
    assert float((ours - weight).norm() / (theirs - weight).norm()) < 1.02


@pytest.mark.parametrize("kind", [Int8Linear, Nf4Linear])
def test_a_size_that_is_no_multiple_of_a_block_keeps_its_shape(kind):
    weight = torch.randn(3, 10, generator=torch.Generator().manual_seed(0))
    layer = layer_of(kind, weight)
    assert layer.weight.shape == (3, 10)
    assert float((layer.weight - weight).norm() / weight.norm()) < 0.12
    zeros = layer_of(kind, torch.zeros(4, 64))
    assert torch.equal(zeros.weight, torch.zeros(4, 64))


@pytest.mark.parametrize("kind", [Int8Linear, Nf4Linear])
def test_the_product_is_that_of_the_weight_and_keeps_nothing_for_its_gradient(kind):
    source = torch.Generator().manual_seed(0)
    layer = layer_of(kind, torch.randn(96, 64, generator=source))
    x = torch.randn(5, 7, 64, generator=source, requires_grad=True)
    own = {buffer.untyped_storage().data_ptr() for buffer in layer.buffers()}
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        answer = layer(x)
    assert {tensor.untyped_storage().data_ptr() for tensor in kept} <= own
    (gradient,) = torch.autograd.grad(answer.square().sum(), x)
    plain = torch.nn.functional.linear(x, layer.weight)
    torch.testing.assert_close(answer, plain)
    torch.testing.assert_close(gradient, torch.autograd.grad(plain.square().sum(), x)[0])


def test_autocast_reaches_forward_and_backward():
    layer = layer_of(Int8Linear, torch.randn(32, 64))
    x = torch.randn(4, 64, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        answer = layer(x)
    assert answer.dtype == torch.bfloat16
    answer.float().sum().backward()
    assert x.grad.dtype == torch.float32


@pytest.mark.parametrize("kind", [Int8Linear, Nf4Linear])
def test_it_compiles_in_one_graph_with_the_same_gradient(kind):
    layer = layer_of(kind, torch.randn(32, 64))
    x = torch.randn(4, 64, requires_grad=True)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    expected, found = layer(x), compiled(x)
    torch.testing.assert_close(found, expected)
    both = [torch.autograd.grad(answer.square().sum(), x)[0] for answer in (expected, found)]
    torch.testing.assert_close(both[1], both[0])


def _answer_and_gradient(transformer, dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """The probe's answer, and the LoRA's gradient for it."""
    torch.manual_seed(5)
    adapters.inject(transformer, AdapterSettings(rank=8, alpha=8.0, mlp=True), autocast=dtype != torch.float32)
    learning = adapters.trainable(transformer)
    source = torch.Generator().manual_seed(6)
    for name, parameter in learning.items():
        if "lora_B" in name:
            parameter.data = 0.02 * torch.randn(parameter.shape, generator=source)
    inputs = [torch.randn(shape, generator=source) for shape in ((1, 32, 64), (1, 8, 64), (1, 32, 128))]
    answer = objective.predict(transformer, inputs[0], torch.tensor([0.6]), inputs[1], inputs[2], dtype=dtype)
    gradients = torch.autograd.grad(answer.float().square().mean(), list(learning.values()))
    return answer.detach().float(), torch.cat([gradient.flatten() for gradient in gradients])


def test_int8_is_as_exact_as_bfloat16_and_nf4_is_not_far():
    """ENGINE.md §3, six layers against float32: bfloat16 .0234/.9977, int8 .0234/.9975, nf4 .0290/.9800."""
    reference = make_transformer(6, width=64)
    exact, exact_gradient = _answer_and_gradient(copy.deepcopy(reference), torch.float32)
    errors, cosines = {}, {}
    for base in ("full", "int8", "nf4"):
        model = copy.deepcopy(reference)
        quantised.quantise(model, base)
        answer, gradient = _answer_and_gradient(model.to(torch.bfloat16), torch.bfloat16)
        errors[base] = float((answer - exact).norm() / exact.norm())
        cosines[base] = float(torch.cosine_similarity(gradient, exact_gradient, dim=0))
    assert errors["full"] < 0.03
    assert errors["int8"] < 1.1 * errors["full"]
    assert cosines["int8"] > 0.9997
    assert errors["nf4"] < 0.1
    assert cosines["nf4"] > 0.98


class _Living(TorchDispatchMode):
    """The most bytes of tensors that operators have made and that lived at the same time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(tensor, torch.Tensor) and tensor.device.type != "meta":
                self._add(tensor.untyped_storage())
        return out

    def _add(self, storage) -> None:
        if storage.data_ptr() in self._seen:
            return
        self._seen.add(storage.data_ptr())
        self.now += storage.nbytes()
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._drop, storage.data_ptr(), storage.nbytes())

    def _drop(self, pointer: int, size: int) -> None:
        self._seen.discard(pointer)
        self.now -= size


def _most_bytes(tiny_checkpoint, base) -> tuple[int, torch.nn.Module]:
    gc.collect()
    with _Living() as living:
        model = weights.load_transformer(
            weights.find_checkpoint(str(tiny_checkpoint), "auto"), torch.float32, base=base
        )
    return living.most, model


def test_the_whole_model_is_never_there_while_it_is_read(tiny_checkpoint):
    full, _ = _most_bytes(tiny_checkpoint, "full")
    most, model = _most_bytes(tiny_checkpoint, "int8")
    layers = [module for module in model.modules() if isinstance(module, QuantisedLinear)]
    linear = sum(layer.in_features * layer.out_features for layer in layers)
    assert len(layers) == 4 * 11
    largest = max(layer.in_features * layer.out_features for layer in layers)
    # The quantised matrices, and one at a time in float32 with what it takes to find its codes.
    assert most <= full - 4 * linear + 1.07 * linear + 5 * 4 * largest
    assert most < 0.7 * full
    assert not [name for name, tensor in model.state_dict().items() if tensor.is_meta]


def test_reading_one_after_the_other_finds_the_same_tensors(tiny_checkpoint):
    tensors = shards.open_tensors(tiny_checkpoint)
    names = tensors.names()[:5]
    read = tensors.read(names, torch.float32, "cpu")
    assert all(torch.equal(read[name], tensor) for name, tensor in tensors.each(names, torch.float32, "cpu"))
    assert list(read) == names


@pytest.mark.parametrize(("kind", "base"), [*((kind, "int8") for kind in KINDS), ("lora", "nf4"), ("dora", "nf4")])
def test_every_adapter_learns_on_it_and_its_export_answers_the_same(
    new_transformer, new_material, new_settings, songs, tmp_path, kind, base
):
    settings = new_settings(adapter=KINDS[kind], optim={"optimizer": "adamw"})

    def fresh() -> torch.nn.Module:
        transformer = new_transformer()
        assert quantised.quantise(transformer, base) == 2 * 11
        return transformer

    teaching = trainer.build(fresh(), new_material(songs), settings, seed=3)
    before = {name: parameter.detach().clone() for name, parameter in teaching.parameters.items()}
    for _ in range(2):
        assert not teaching.step().skipped
    assert all(not torch.equal(before[name], now) for name, now in teaching.parameters.items())
    directory = tmp_path / "adapter"
    directory.mkdir()
    export.write_adapter(directory, teaching.transformer, settings.adapter, provenance())
    expected = export.probe(teaching.transformer, dtype=torch.float32)
    assert export.verify(directory, fresh(), expected, dtype=torch.float32) > 0


def test_doras_magnitudes_start_as_the_norms_of_the_quantised_base(new_transformer):
    transformer = new_transformer()
    quantised.quantise(transformer, "nf4")
    plain = export.probe(transformer, dtype=torch.float32)
    adapters.inject(transformer, AdapterSettings(kind="dora", rank=4))
    torch.testing.assert_close(export.probe(transformer, dtype=torch.float32), plain)


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_a_resumed_run_learns_the_same_on_it(new_transformer, new_material, new_settings, songs, tmp_path, kind):
    settings = new_settings(adapter={**KINDS[kind], "dropout": 0.2}, memory={"gradient_checkpointing": True})

    def fresh() -> trainer.Trainer:
        transformer = new_transformer()
        quantised.quantise(transformer, "int8")
        return trainer.build(transformer, new_material(songs), settings, seed=3)

    whole = fresh()
    whole.step()
    run_dir = RunDir.create(tmp_path, "drums")
    directory = checkpoint.save(run_dir, whole.transformer, whole.optimizer, whole.state({}), settings, provenance())
    resumed = fresh()
    resumed.restore(directory, *checkpoint.read(directory))
    whole.step(), resumed.step()
    for name, parameter in whole.parameters.items():
        assert torch.equal(parameter, resumed.parameters[name]), name


def test_a_run_trains_on_it_through_a_shortage_and_proves_its_export_against_it(new_run, monkeypatch):
    run_dir, _ = new_run(train={"epochs": 1, "max_steps": 2}, memory={"base": "int8", "gradient_checkpointing": "auto"})
    accumulate, short = trainer.Trainer._accumulate, [torch.OutOfMemoryError("Tried to allocate 2.50 GiB.")]

    def starved(self, examples):
        if short:
            raise short.pop()
        return accumulate(self, examples)

    monkeypatch.setattr(trainer.Trainer, "_accumulate", starved)
    with Reporter(run_dir, "test", sample_seconds=0) as reporter, Control(run_dir, reporter) as control:
        assert TrainingRun(run_dir, reporter, control).carry_out() == "finished"
    told = Tail(run_dir.events).read(limit_bytes=2**30)
    [warning] = [event for event in told if event["type"] == "warning" and event["code"] == "out_of_memory"]
    assert "2.50 GiB were wanted" in warning["msg"]
    assert warning["hint"].startswith("It is repeated with activations recomputed")
    newest = run_dir.latest_checkpoint()
    assert newest is not None
    assert checkpoint.read(newest)[0].relief.checkpointing
    log = [event["msg"] for event in told if event["type"] == "log"]
    assert [line for line in log if line.startswith("Gradient checkpointing is off: by the estimate")]
    assert [line for line in log if "maximum difference 0" in line]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("kind", [Int8Linear, Nf4Linear])
def test_a_gpu_computes_as_the_cpu_does(kind):
    source = torch.Generator().manual_seed(0)
    weight, x = torch.randn(256, 128, generator=source), torch.randn(8, 128, generator=source)
    here, there = layer_of(kind, weight), layer_of(kind, weight.cuda())
    for mine, theirs in zip(here.codes(), there.codes(), strict=True):
        assert (mine != theirs.cpu()).float().mean() < 1e-3, "divisions may round otherwise"
    answers = [layer(x.to(layer.codes()[0].device).requires_grad_()) for layer in (here, there)]
    torch.testing.assert_close(answers[1].cpu(), answers[0], rtol=1e-2, atol=1e-2)
