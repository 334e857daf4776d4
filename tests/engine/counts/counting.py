"""What one training step of a real configuration computes and keeps, counted without its weights.

The model is built on meta, adapted by the engine's own code and then filled with fake tensors, which have shapes,
types and storages but no contents: every operator of forward and backward runs at its true size, without the memory.
One pass counts floating-point operations, kernels, bytes kept for the backward pass, and the peak of all bytes alive.
"""

from __future__ import annotations

import functools
import gc
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from unittest import mock

import torch
import torch.nn.functional as F
from diffusers import AceStepTransformer1DModel
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from sidestep_tui.engine import adapters, objective, optimizers
from sidestep_tui.engine.speed import attention, lora, recompute, switches
from sidestep_tui.schema.memory_model import TOKENS_PER_SECOND
from sidestep_tui.schema.model_shape import ModelShape, model_shape
from sidestep_tui.schema.settings import Settings

# What returns another view of a tensor, a fact about it, or room for one, and starts nothing on a device.
_FREE = frozenset(
    "_reshape_alias _unsafe_view alias as_strided detach device empty empty_like empty_strided expand lift_fresh "
    "new_empty new_empty_strided permute select slice split split_with_sizes squeeze t transpose unbind unfold "
    "unsqueeze view".split()
)


@dataclass(slots=True)
class Counts:
    """One optimizer step: operators by name, FLOPs of matrix products and attention, bytes."""

    operators: Counter[str] = field(default_factory=Counter)
    before_update: Counter[str] = field(default_factory=Counter)
    """Those of forward, backward and the gradient's norm."""
    flops: int = 0
    saved: int = 0
    peak: int = 0
    """Bytes alive at most; weights, gradients and the optimizer's state are among them."""
    squares: set[tuple[int, ...]] = field(default_factory=set)
    """Shapes that were made with two sides of as many tokens as the example has."""

    @property
    def kernels(self) -> int:
        """Operators that start something on a device; the fused update counts as one."""
        return 1 + sum(count for name, count in self.before_update.items() if name not in _FREE)


_FORMULAS = {packet.__name__: formula for packet, formula in flop_registry.items()}


class _Watch(TorchDispatchMode):
    """Sees every operator and every new storage."""

    def __init__(self, counts: Counts, tokens: int) -> None:
        super().__init__()
        self.counts = counts
        self.tokens = tokens
        self.live = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func._overloadpacket.__name__
        if name == "device":
            return out
        self.counts.operators[name] += 1
        if name in _FREE and not name.startswith(("empty", "new_empty")):
            return out
        if name in _ATTENTION:
            self.counts.flops += _ATTENTION[name](*args)
        elif formula := _FORMULAS.get(name.removesuffix("_")):
            self.counts.flops += formula(*args, **(kwargs or {}), out_val=out)
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(tensor, torch.Tensor):
                self.note(tensor)
        return out

    def note(self, tensor: torch.Tensor) -> None:
        """Count the tensor's storage until it is gone."""
        storage = tensor.untyped_storage()
        address, size = storage._cdata, storage.nbytes()
        if address in self._known:
            return
        self._known.add(address)
        self.live += size
        self.counts.peak = max(self.counts.peak, self.live)
        weakref.finalize(storage, self._gone, address, size)
        if sum(side == self.tokens for side in tensor.shape) >= 2:
            self.counts.squares.add(tuple(tensor.shape))

    def _gone(self, address: int, size: int) -> None:
        self._known.discard(address)
        self.live -= size


def _attention_flops(query: torch.Tensor, key: torch.Tensor) -> int:
    """Two products of queries [B, H, S, D] with keys [B, K, E, D]; K may be fewer than H."""
    batch, heads, length, depth = query.shape
    return 4 * batch * heads * length * key.shape[2] * depth


def _windowed_flops(query: torch.Tensor, ends: torch.Tensor, length: int, window: int) -> int:
    """The same for sequences of `length` laid end to end [B · S, H, D]; each token hears `window` to either side."""
    pairs = sum(min(place + window, length - 1) - max(place - window, 0) + 1 for place in range(length))
    return 4 * (len(ends) - 1) * query.shape[1] * query.shape[2] * pairs


_ATTENTION: dict[str, Callable[..., int]] = {
    "_scaled_dot_product_flash_attention_for_cpu": lambda q, k, *_: _attention_flops(q, k),
    "_scaled_dot_product_flash_attention_for_cpu_backward": lambda _, q, k, *__: _attention_flops(q, k) * 5 // 2,
    "_varlen_attn": lambda q, k, v, ends, _, length, *rest: _windowed_flops(q, ends, length, rest[-1][0]),
    "_varlen_attn_backward": lambda _, q, *rest: _windowed_flops(q, rest[4], rest[6], rest[-1][0]) * 5 // 2,
}
"""What the flash kernels compute, forward and backward, for the arguments of their operators."""


@torch.library.custom_op("counts::rms_norm", mutates_args=())
def _rms_norm(x: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The kernel that CUDA has and the CPU does not, where `F.rms_norm` falls apart into several."""
    raise NotImplementedError


@_rms_norm.register_fake
def _(x: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.empty_like(x), x.new_empty((*x.shape[:-1], 1), dtype=torch.float32)


@torch.library.custom_op("counts::rms_norm_backward", mutates_args=())
def _rms_norm_backward(
    gradient: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, inverse: torch.Tensor
) -> torch.Tensor:
    raise NotImplementedError


@_rms_norm_backward.register_fake
def _(gradient: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, inverse: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x)


def _setup(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*inputs, output[1])


def _rms_norm_gradient(ctx: Any, gradient: torch.Tensor, _: torch.Tensor) -> Any:
    return _rms_norm_backward(gradient, *ctx.saved_tensors), None


_rms_norm.register_autograd(_rms_norm_gradient, setup_context=_setup)


def _one_kernel_rms_norm(
    x: torch.Tensor, shape: Any, weight: torch.Tensor | None = None, eps: float | None = None
) -> torch.Tensor:
    """Stands in for `F.rms_norm`: one kernel each way, keeping x and 1/rms as `aten::_fused_rms_norm` does."""
    assert weight is not None and x.dtype == weight.dtype
    return _rms_norm(x, weight)[0]


@dataclass(frozen=True, slots=True)
class Cell:
    """One configuration: a published size, of all its layers or of the first few, and what it is trained with."""

    size: Literal["2b", "xl"] = "2b"
    layers: int | None = None
    fast: bool = True
    """With the engine's ways of computing, as on CUDA; else as diffusers and peft do."""
    checkpointing: bool = False
    tokens: int = 750
    condition: int = 1024
    batch: int = 1
    adapter: tuple[tuple[str, Any], ...] = (("rank", 64),)

    @property
    def settings(self) -> Settings:
        """Those that the closed forms take."""
        values = {
            "adapter": dict(self.adapter),
            "data": {"crop_seconds": self.tokens / TOKENS_PER_SECOND},
            "train": {"batch_size": self.batch, "accumulation": 1},
            "memory": {"gradient_checkpointing": "on" if self.checkpointing else "off", "precision": "bfloat16"},
        }
        if not self.fast:
            values["speed"] = {"attention": "stock", "fused": False, "lean_lora": False}
        return Settings.model_validate(values)

    @property
    def shape(self) -> ModelShape:
        """The dimensions that the closed forms take."""
        whole = model_shape(self.size)
        return replace(whole, layers=self.layers or whole.layers)


def _build(cell: Cell) -> torch.nn.Module:
    """The transformer with its adapter, on meta, as a bfloat16 run on CUDA computes it."""
    shape = cell.shape
    with torch.device("meta"):
        transformer = AceStepTransformer1DModel(
            hidden_size=shape.hidden,
            intermediate_size=shape.intermediate,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.kv_heads,
            encoder_hidden_size=shape.encoder_hidden,
        )
    transformer = transformer.to(torch.bfloat16)
    adapters.inject(transformer, cell.settings.adapter, autocast=True)
    if cell.checkpointing:
        recompute.enable(transformer)
    if cell.fast:
        switches.use_windows(transformer, attention.by_flash)
        switches.use_fused_norms(transformer, one_kernel=True)
        switches.use_contiguous(transformer)
        switches.use_lean_lora(transformer)
        lora.cast_ahead(transformer, torch.bfloat16)
    return transformer


@contextmanager
def _noting_saved(counts: Counts, transformer: torch.nn.Module) -> Iterator[None]:
    """Puts the bytes that autograd still keeps at the end, each storage once and parameters left out, into `counts`.

    What belongs to a graph that is dropped at once, such as that of DoRA's norm, is not kept.
    """
    parameters = {parameter.untyped_storage()._cdata for parameter in transformer.parameters()}
    alive: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        address = storage._cdata
        if address not in parameters and address not in alive:
            alive[address] = storage.nbytes()
            weakref.finalize(storage, alive.pop, address)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        yield
        counts.saved = sum(alive.values())


@functools.cache
def count(cell: Cell) -> Counts:
    """Forward, backward and update of one batch, in bfloat16 under autocast as on a GPU."""
    counts, settings = Counts(), cell.settings
    transformer = _build(cell)
    gc.collect()
    gc.disable()
    try:
        with FakeTensorMode(allow_non_fake_inputs=True), mock.patch.object(F, "rms_norm", _one_kernel_rms_norm):
            _step(counts, cell, settings, transformer.to_empty(device="cpu").train())
    finally:
        gc.enable()
    return counts


def _step(counts: Counts, cell: Cell, settings: Settings, transformer: torch.nn.Module) -> None:
    parameters = adapters.trainable(transformer)
    optimizer = optimizers.build(settings.optim, parameters, torch.device("cpu"))
    frames, batch, width = 2 * cell.tokens, cell.batch, cell.shape.encoder_hidden
    x_t, target, t = torch.empty(batch, frames, 64), torch.empty(batch, frames, 64), torch.empty(batch)
    context, condition = torch.empty(batch, frames, 128), torch.empty(batch, cell.condition, width)
    watch = _Watch(counts, cell.tokens)
    for parameter in transformer.parameters():
        watch.note(parameter)
    with watch:
        with _noting_saved(counts, transformer):
            predicted = objective.predict(transformer, x_t, t, condition, context, dtype=torch.bfloat16)
            loss = objective.example_losses(predicted, target).sum() / batch
            del predicted
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0, foreach=True)
        before, highest = watch.live, counts.peak
        counts.before_update = counts.operators.copy()
        optimizer.step()
    # Every later step begins with what the first update leaves behind.
    counts.peak = highest + watch.live - before
