"""The model's blocks compiled, one by one, while they train.

Per block, not as a whole: two graphs (with and without a window) serve all layers, and compile in seconds. The
partitioner decides what is kept for the backward pass, so that a budget for activations takes the place of gradient
checkpointing at half its price (ENGINE.md §2.12, §2.13).
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable
from typing import Any

import torch
from diffusers.models.transformers.ace_step_transformer import AceStepTransformerBlock
from torch._dynamo.exc import TorchDynamoException
from torch._functorch import config as functorch_config

from sidestep_tui.schema.settings import Settings

Lower = Callable[[Any, Any], Any]

WORTH_PASSES = 500
"""So many passes pay for compiling: a minute, at a gain of some tenths of a second for each."""
_LENGTHS = 64
"""So many graphs are compiled: two for each length of crop, and songs shorter than it have lengths of their own."""
_UNBROKEN = ("lora", "lokr", "loha", "oft")
"""Adapters whose blocks are one graph; DoRA's falls into pieces, which helps little and compiles long."""


class BlockCompiler:
    """What the blocks of one model share: their compiled code, and whether it works here.

    `lower` turns a graph and its example inputs into code; inductor does, unless another is given.
    """

    def __init__(self, budget: float, on_failure: Callable[[], None], *, lower: Lower | None = None) -> None:
        self.budget = budget
        self.works = True
        self._on_failure = on_failure
        self._lower = lower or inductor
        # Beyond its limit (8) torch runs new lengths uncompiled, and keeps all their activations.
        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, _LENGTHS)
        # Each length is a graph of its own, so that a resumed run computes by the same ones whatever came first.
        self._run = torch.compile(AceStepTransformerBlock.forward, backend=self._compile, dynamic=False)

    def _compile(self, graph: Any, inputs: Any) -> Any:
        # Both directions at once: a backward pass that cannot be compiled must fail where it can still be helped.
        with functorch_config.patch(activation_memory_budget=self.budget, force_non_lazy_backward_lowering=True):
            return self._lower(graph, inputs)

    def __call__(self, block: CompiledBlock, args: Any, kwargs: Any) -> torch.Tensor:
        """The block's answer by compiled code; by its own from the moment that compiling fails."""
        condition = kwargs["encoder_hidden_states"] if "encoder_hidden_states" in kwargs else args[4]
        # Songs differ in the length of their condition: one graph for all.
        torch._dynamo.mark_dynamic(condition, 1)
        try:
            return self._run(block, *args, **kwargs)
        except TorchDynamoException as error:
            self.works = False
            logging.getLogger(__name__).warning("Compiling failed; the run goes on without it. %s", error)
            self._on_failure()
            return AceStepTransformerBlock.forward(block, *args, **kwargs)


def inductor(graph: Any, inputs: Any, options: dict[str, Any] | None = None) -> Any:
    """Triton on CUDA, C++ on the CPU; `options` are inductor's own."""
    # Costs a second to import, and no run without compiling needs it.
    from torch._inductor.compile_fx import compile_fx

    return compile_fx(graph, inputs, config_patches=options)


class CompiledBlock(AceStepTransformerBlock):
    """A block that runs compiled code where gradients are needed, and its own otherwise: measuring is not worth it."""

    compiler: BlockCompiler

    def forward(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        if self.compiler.works and torch.is_grad_enabled():
            return self.compiler(self, args, kwargs)
        return super().forward(*args, **kwargs)


def is_plain(module: torch.nn.Module) -> bool:
    """Whether a module is a block of the model."""
    return type(module) is AceStepTransformerBlock


def is_wanted(settings: Settings, device: torch.device, passes: int) -> bool:
    """Whether to compile: as asked, and for `auto` on CUDA with Triton where `passes` of one length pay for it."""
    if settings.speed.compile != "auto":
        return settings.speed.compile == "on"
    return (
        device.type == "cuda"
        and torch.cuda.get_device_capability(device) >= (7, 0)
        and importlib.util.find_spec("triton") is not None
        and settings.data.crop_seconds > 0
        and settings.adapter.kind in _UNBROKEN
        and passes >= WORTH_PASSES
    )
