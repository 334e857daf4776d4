"""The table of a CUDA device: whole models of the real sizes with random weights, in bfloat16.

`python tests/benchmarks/step.py` prints it where there is a GPU; `python tests/benchmarks/step_cuda.py --size 2b
--seconds 60 --batch 4` measures a part. Each line is the median of three blocks of ten steps after ten to warm up, by
CUDA events. MFU divides what the recipe needs (`compute_model.flops`, windows counted as windows, nothing recomputed)
by what a large matrix product reaches on this very device. Exits with 1 below 0.85 of a target.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers import AceStepTransformer1DModel
from peft import LoraConfig

from sidestep_tui.engine import adapters, objective, optimizers, quantised
from sidestep_tui.engine.speed import switches
from sidestep_tui.schema import compute_model
from sidestep_tui.schema.model_shape import SHAPE_2B, SHAPE_XL, ModelShape
from sidestep_tui.schema.settings import Settings

SHAPES = {"2b": SHAPE_2B, "xl": SHAPE_XL}
PLACES = ((60, 1), (60, 4), (60, 8), (240, 1), (240, 2))
CONDITION, RANK, LR = 1024, 64, 1e-4
TARGETS = ["to_q", "to_k", "to_v", "to_out.0"]
WARM_UP, BLOCKS, STEPS = 10, 3, 10
GATE = 0.85
DTYPE = torch.bfloat16

WAYS: dict[str, dict[str, dict[str, Any]]] = {
    "eager": {"speed": {"compile": "off"}},
    "compiled": {"speed": {"compile": "on"}},
    "compiled, budget 0.5": {"speed": {"compile": "on", "activation_budget": 0.5}},
    "compiled, budget 0": {"speed": {"compile": "on", "activation_budget": 0.0}},
    "compiled, CUDA graphs": {"speed": {"compile": "on", "cuda_graphs": True}},
    "compiled, LoKr": {"speed": {"compile": "on"}, "adapter": {"kind": "lokr"}},
    "compiled, int8 base, budget 0": {"speed": {"compile": "on", "activation_budget": 0.0}},
}
"""Ours, by name. `plain` is the loop of diffusers and peft."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One line: seconds and host seconds a step, bytes, kernels, and the loss of the first step."""

    seconds: float
    host_seconds: float
    allocated: int
    reserved: int
    kernels: int
    loss: float


@dataclass(slots=True)
class Ceilings:
    """What this device reaches: operations a second in bfloat16, bytes a second copied."""

    operations: float = field(default_factory=lambda: _matrix_rate(8192))
    copied: float = field(default_factory=lambda: _copy_rate(4 << 30))


def _seconds(work: Callable[[], object], times: int) -> float:
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    work()
    torch.cuda.synchronize()
    began.record()
    for _ in range(times):
        work()
    ended.record()
    torch.cuda.synchronize()
    return began.elapsed_time(ended) / 1e3 / times


def _matrix_rate(size: int) -> float:
    one, other = (torch.randn((size, size), device="cuda", dtype=DTYPE) for _ in range(2))
    return 2.0 * size**3 / _seconds(lambda: one @ other, 20)


def _copy_rate(size: int) -> float:
    source = torch.empty(size, device="cuda", dtype=torch.uint8)
    target = torch.empty_like(source)
    return 2.0 * size / _seconds(lambda: target.copy_(source), 10)


def make_transformer(shape: ModelShape, *, int8: bool) -> AceStepTransformer1DModel:
    """The decoder of a real size with random weights, frozen."""
    torch.manual_seed(0)
    with torch.device("cuda"):
        default = torch.get_default_dtype()
        torch.set_default_dtype(DTYPE)
        transformer = AceStepTransformer1DModel(
            hidden_size=shape.hidden,
            intermediate_size=shape.intermediate,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.kv_heads,
            head_dim=shape.head_dim,
            encoder_hidden_size=shape.encoder_hidden,
        )
        torch.set_default_dtype(default)
    transformer.requires_grad_(requires_grad=False)
    if int8:
        weights = {name: transformer.get_submodule(name).weight for name in quantised.quantisable(transformer)}
        for name, layer in quantised.replace(transformer, "int8", DTYPE).items():
            layer.to("cuda").fill(weights.pop(name).float())
    return transformer.train()


def make_step(way: str, shape: ModelShape, seconds: int, batch: int) -> tuple[Callable[[], torch.Tensor], Settings]:
    """A step that returns its loss on the device, and the settings it stands for."""
    groups = WAYS.get(way, {})
    settings = Settings.model_validate(
        {
            "data": {"crop_seconds": seconds},
            "optim": {"lr": LR},
            "train": {"batch_size": batch, "accumulation": 1},
            **groups,
            "adapter": {"rank": RANK, "alpha": 2 * RANK, **groups.get("adapter", {})},
        }
    )
    transformer = make_transformer(shape, int8="int8" in way)
    frames, cuda = seconds * 25, torch.device("cuda")
    x_t, target = (torch.randn((batch, frames, 64), device=cuda) for _ in range(2))
    context = torch.randn((batch, frames, 128), device=cuda)
    condition = torch.randn((batch, CONDITION, shape.encoder_hidden), device=cuda)
    t = torch.full((batch,), 0.5, device=cuda)
    if way == "plain":
        transformer.add_adapter(LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=TARGETS))
        parameters = list(adapters.trainable(transformer).values())
        optimizer: torch.optim.Optimizer = torch.optim.AdamW(parameters, lr=LR, foreach=True)
    else:
        adapters.inject(transformer, settings.adapter, autocast=True)
        transformer.to(cuda)
        switches.apply(transformer, settings, cuda, DTYPE)
        parameters = list(adapters.trainable(transformer).values())
        optimizer = optimizers.build(settings.optim, adapters.trainable(transformer), cuda)

    def predict() -> torch.Tensor:
        if way != "plain":
            return objective.predict(transformer, x_t, t, condition, context, dtype=DTYPE)
        given = (tensor.to(DTYPE) for tensor in (x_t, t, t, condition, context))
        return transformer(*given, return_dict=False)[0]

    def step() -> torch.Tensor:
        loss = objective.example_losses(predict(), target).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    return step, settings


def measure(step: Callable[[], torch.Tensor]) -> Measured:
    """Warm up, then time, count and weigh."""
    loss = float(step())
    for _ in range(WARM_UP - 1):
        step()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    blocks = [_seconds(step, STEPS) for _ in range(BLOCKS)]
    torch.cuda.synchronize()
    began = time.perf_counter()
    step()
    host = time.perf_counter() - began
    torch.cuda.synchronize()
    allocated, reserved = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        step()
        torch.cuda.synchronize()
    kernels = sum(event.device_type == torch.autograd.DeviceType.CUDA for event in profile.events())
    return Measured(statistics.median(blocks), host, allocated, reserved, kernels, loss)


def shortfalls(size: str, seconds: int, batch: int, way: str, line: Measured, plain: Measured, mfu: float) -> list[str]:
    """Which targets of ENGINE.md §7C a line misses by more than the gate allows."""
    if (size, seconds) != ("2b", 60):
        return []
    missed = []
    gain = plain.seconds / line.seconds
    if way == "compiled" and batch >= 4 and mfu < GATE * 0.45:
        missed.append(f"MFU {mfu:.0%} of 45 %")
    wanted = {1: 2.5, 4: 1.7}.get(batch)
    if way == "compiled" and wanted and gain < GATE * wanted:
        missed.append(f"{gain:.2f}× of {wanted}×")
    most = {"compiled": 5.9e9, "compiled, budget 0": 4.2e9}.get(way)
    if batch == 1 and most and line.allocated > most / GATE:
        missed.append(f"{line.allocated / 1e9:.1f} of {most / 1e9:.1f} GB")
    return missed


def main(arguments: list[str] | None = None) -> int:
    """Print the table; returns 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=[*SHAPES], action="append")
    parser.add_argument("--seconds", type=int, default=0)
    parser.add_argument("--batch", type=int, default=0)
    parser.add_argument("--way", choices=[*WAYS], action="append")
    given = parser.parse_args(arguments)
    ceilings = Ceilings()
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, LoRA r{RANK} on attention, E = {CONDITION}.")
    print(
        f"It multiplies {ceilings.operations / 1e12:.0f} TFLOP/s (8192³) and copies {ceilings.copied / 1e9:.0f} GB/s."
    )
    missed: list[str] = []
    for size in given.size or SHAPES:
        for seconds, batch in PLACES:
            if given.seconds not in (0, seconds) or given.batch not in (0, batch):
                continue
            print(f"\n{size}, {seconds} s, batch {batch}")
            print(f"{'':<30} {'ms':>8} {'tokens/s':>9} {'audio s/s':>9} {'MFU':>5} {'gain':>6} {'host ms':>8} ", end="")
            print(f"{'kernels':>8} {'GB':>6} {'reserved':>8} {'loss':>8}")
            missed += _place(size, seconds, batch, ["plain", *(given.way or WAYS)], ceilings)
    for sentence in missed:
        print(f"missed: {sentence}")
    return 1 if missed else 0


def _place(size: str, seconds: int, batch: int, ways: list[str], ceilings: Ceilings) -> list[str]:
    """The lines of one size, length and batch; returns the targets that were missed."""
    plain: Measured | None = None
    missed = []
    for way in ways:
        try:
            step, settings = make_step(way, SHAPES[size], seconds, batch)
            line = measure(step)
        except torch.OutOfMemoryError:
            print(f"{way:<30} out of memory", flush=True)
            continue
        finally:
            step = None  # type: ignore[assignment]
            torch._dynamo.reset()
            gc.collect()
            torch.cuda.empty_cache()
        needed = compute_model.flops(SHAPES[size], settings, checkpointing=False, condition_tokens=CONDITION).useful
        mfu = needed / line.seconds / ceilings.operations
        plain = plain or line
        tokens, audio = 12.5 * seconds * batch / line.seconds, seconds * batch / line.seconds
        print(
            f"{way:<30} {line.seconds * 1e3:>8.1f} {tokens:>9,.0f} {audio:>9,.0f} {mfu:>5.0%} "
            f"{plain.seconds / line.seconds:>5.2f}× {line.host_seconds * 1e3:>8.1f} {line.kernels:>8,} "
            f"{line.allocated / 1e9:>6.1f} {line.reserved / 1e9:>8.1f} {line.loss:>8.4f}",
            flush=True,
        )
        if ways[0] == "plain" and way != "plain":
            found = shortfalls(size, seconds, batch, way, line, plain, mfu)
            missed += [f"{size}, {seconds} s, batch {batch}, {way}: {what}" for what in found]
    return missed


if __name__ == "__main__":
    sys.exit(main())
