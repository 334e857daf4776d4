"""One training step here against the plain loop of diffusers and peft: same seed, same batch, same results.

Run it by hand: `python tests/benchmarks/step.py [--without-compiler] [--only NAME]`. On a CPU it takes turns with the
plain loop in one process and one thread and compares the least CPU time of each, which repeats within a few percent
however busy the machine is. It exits with 1 where a gain stays below 0.85 of its target, or where losses or gradients
differ. On a CUDA device it prints the table of `step_cuda` instead.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from diffusers import AceStepTransformer1DModel
from peft import LoraConfig

from sidestep_tui.engine import adapters, objective, optimizers
from sidestep_tui.engine.speed import recompute, switches
from sidestep_tui.schema.settings import Settings

WIDTH, CONDITION, RANK, LR = 256, 300, 16, 1e-4
PARITY = {torch.float32: 1e-5, torch.bfloat16: 1e-1}
"""How far loss and gradients may be from the plain loop's, relative to the largest."""
GATE = 0.85
TARGETS = ["to_q", "to_k", "to_v", "to_out.0"]


@dataclass(frozen=True, slots=True)
class Case:
    """A line of the table."""

    name: str
    tokens: int
    batch: int
    dtype: torch.dtype
    target: float
    compiled: bool = False
    checkpointed: bool = False


CASES = (
    Case("eager, 750 tokens", 750, 1, torch.float32, 1.15),
    Case("eager, 3,000 tokens", 3000, 1, torch.float32, 1.4),
    Case("compiled, 750 tokens", 750, 1, torch.float32, 1.4, compiled=True),
    Case("compiled, 2 × 750 tokens, bfloat16", 750, 2, torch.bfloat16, 1.6, compiled=True),
    Case("memory of checkpoints, 750 tokens", 750, 1, torch.float32, 1.8, compiled=True, checkpointed=True),
    Case("… 2 × 750 tokens, bfloat16", 750, 2, torch.bfloat16, 1.8, compiled=True, checkpointed=True),
)


@dataclass(frozen=True, slots=True)
class Batch:
    """One made-up batch, float32."""

    x_t: torch.Tensor
    context: torch.Tensor
    condition: torch.Tensor
    target: torch.Tensor
    t: torch.Tensor


def make_batch(case: Case) -> Batch:
    """x_t and target [B, T, 64], context [B, T, 128], condition [B, E, H], t [B] (exact in bfloat16)."""
    source = torch.Generator().manual_seed(1)

    def draw(frames: int, channels: int) -> torch.Tensor:
        return torch.randn((case.batch, frames, channels), generator=source)

    frames = 2 * case.tokens
    return Batch(
        draw(frames, 64), draw(frames, 128), draw(CONDITION, WIDTH), draw(frames, 64), torch.full((case.batch,), 0.5)
    )


def make_transformer(dtype: torch.dtype) -> AceStepTransformer1DModel:
    """ACE-Step 1.5 in miniature, with its window."""
    torch.manual_seed(0)
    transformer = AceStepTransformer1DModel(
        hidden_size=WIDTH,
        intermediate_size=3 * WIDTH,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        in_channels=192,
        audio_acoustic_hidden_dim=64,
        sliding_window=128,
        encoder_hidden_size=WIDTH,
    )
    return transformer.to(dtype).requires_grad_(requires_grad=False).train()


def fill(transformer: torch.nn.Module) -> None:
    """The same adapter in both: one that already says something, so that every gradient counts."""
    source = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in adapters.trainable(transformer).values():
            parameter.copy_(0.02 * torch.randn(parameter.shape, generator=source))


Step = Callable[[], float]


def plain_loop(case: Case, batch: Batch) -> tuple[torch.nn.Module, Step]:
    """What the diffusers and peft documentation amounts to."""
    transformer = make_transformer(case.dtype)
    transformer.add_adapter(LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=TARGETS))
    fill(transformer)
    if case.checkpointed:
        transformer.enable_gradient_checkpointing()
    parameters = list(adapters.trainable(transformer).values())
    optimizer = torch.optim.AdamW(parameters, lr=LR, weight_decay=0.01, foreach=True)

    def step() -> float:
        (answer,) = transformer(
            hidden_states=batch.x_t.to(case.dtype),
            timestep=batch.t.to(case.dtype),
            timestep_r=batch.t.to(case.dtype),
            encoder_hidden_states=batch.condition.to(case.dtype),
            context_latents=batch.context.to(case.dtype),
            return_dict=False,
        )
        loss = torch.nn.functional.mse_loss(answer.float(), batch.target)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        return float(loss.detach())

    return transformer, step


def our_loop(case: Case, batch: Batch) -> tuple[torch.nn.Module, Step]:
    """The step of the trainer, on the batch of the plain loop."""
    settings = Settings.model_validate(
        {
            "adapter": {"rank": RANK, "alpha": 2 * RANK},
            "optim": {"lr": LR, "weight_decay": 0.01},
            "speed": {"compile": "on" if case.compiled else "off"},
        }
    )
    transformer = make_transformer(case.dtype)
    adapters.inject(transformer, settings.adapter, autocast=case.dtype != torch.float32)
    fill(transformer)
    if case.checkpointed:
        recompute.enable(transformer)
    switches.apply(transformer, settings, torch.device("cpu"), case.dtype)
    parameters = adapters.trainable(transformer)
    optimizer = optimizers.build(settings.optim, parameters, torch.device("cpu"))

    def step() -> float:
        answer = objective.predict(transformer, batch.x_t, batch.t, batch.condition, batch.context, dtype=case.dtype)
        loss = objective.example_losses(answer, batch.target).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0)
        optimizer.step()
        return float(loss.detach())

    return transformer, step


def gradients(transformer: torch.nn.Module) -> torch.Tensor:
    """All gradients of the adapter, one after the other."""
    found = [parameter.grad for parameter in adapters.trainable(transformer).values() if parameter.grad is not None]
    return torch.cat([gradient.float().flatten() for gradient in found])


def timed(transformer: torch.nn.Module, step: Step) -> float:
    """CPU seconds of one step."""
    adapters_of = list(adapters.trainable(transformer).values())
    for parameter in adapters_of:
        parameter.grad = None
    began = time.process_time()
    step()
    return time.process_time() - began


def measure(case: Case, rounds: int) -> bool:
    """Print a line of the table; returns whether the gate is passed."""
    batch = make_batch(case)
    plain, plain_step = plain_loop(case, batch)
    ours, our_step = our_loop(case, batch)
    losses = plain_step(), our_step()
    expected, found = gradients(plain), gradients(ours)
    loss_error = abs(losses[1] - losses[0]) / losses[0]
    gradient_error = float((found - expected).abs().max() / expected.abs().max())
    least = [float("inf"), float("inf")]
    for _ in range(rounds):
        least[0] = min(least[0], timed(plain, plain_step))
        least[1] = min(least[1], timed(ours, our_step))
    gain = least[0] / least[1]
    same = max(loss_error, gradient_error) <= PARITY[case.dtype]
    passed = same and gain >= GATE * case.target
    print(
        f"{case.name:<36} {least[0] * 1e3:>8.0f} {least[1] * 1e3:>8.0f} {gain:>6.2f}× {case.target:>6.2f}× "
        f"{loss_error:>9.1e} {gradient_error:>9.1e}  {'ok' if passed else 'differs' if not same else 'slow'}",
        flush=True,
    )
    return passed


def main() -> int:
    """The table of the device at hand."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=12, help="turns of each loop")
    parser.add_argument("--without-compiler", action="store_true", help="leave out what has to be compiled")
    parser.add_argument("--only", default="", help="part of the names of the lines to measure")
    given = parser.parse_args()
    if torch.cuda.is_available():
        import step_cuda

        return step_cuda.main([])
    torch.set_num_threads(1)
    print(f"{'':<36} {'plain ms':>8} {'ours ms':>8} {'gain':>7} {'target':>7} {'loss':>9} {'gradient':>9}")
    cases = [case for case in CASES if given.only in case.name and not (case.compiled and given.without_compiler)]
    passed = [measure(case, given.rounds) for case in cases]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
