"""Which of the faster ways a model computes by, switched on and off without touching its weights or their names.

Modules change their class and processors are exchanged; so a switch can be undone, and the model that is saved,
exported and verified is the stock one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from diffusers.models.normalization import RMSNorm
from diffusers.models.transformers.ace_step_transformer import (
    AceStepAttention,
    AceStepAttnProcessor2_0,
    AceStepTransformerBlock,
)
from peft.tuners.lora import Linear as LoraLinear

from sidestep_tui.core import text
from sidestep_tui.engine.speed import attention, compiled, contiguous, graphs, lora, norms, recompute
from sidestep_tui.schema.settings import Settings

_STOCK: dict[type[torch.nn.Module], type[torch.nn.Module]] = {
    norms.FusedRMSNorm: RMSNorm,
    norms.LeanRMSNorm: RMSNorm,
    lora.LeanLoraLinear: LoraLinear,
    contiguous.ContiguousConv1d: torch.nn.Conv1d,
    compiled.CompiledBlock: AceStepTransformerBlock,
}


def apply(
    transformer: torch.nn.Module, settings: Settings, device: torch.device, dtype: torch.dtype, *, passes: int = 0
) -> str:
    """Switch on what `settings.speed` asks for and `device` can do; returns what that was, in words.

    `passes` through the model are to come. A model that compiles does so in place of gradient checkpointing.
    """
    speed = settings.speed
    words = []
    if speed.attention != "stock":
        flash = speed.attention == "auto" and attention.flash_windows(device, dtype)
        kernel = attention.by_flash if flash else attention.by_blocks
        use_windows(transformer, kernel, equal_heads=device.type != "cpu" and not flash)
        words.append("windowed attention by flash" if flash else "windowed attention by blocks")
    if speed.fused:
        use_fused_norms(transformer, one_kernel=device.type == "cuda")
        use_contiguous(transformer)
        words.append("fused norms")
    if speed.lean_lora and use_lean_lora(transformer):
        words.append("lean LoRA")
    compiles = compiled.is_wanted(settings, device, passes)
    if not compiles and dtype != torch.float32:  # compiled blocks cast as they go, in the kernels that need it
        lora.cast_ahead(transformer, dtype)
    if compiles:
        recorded = speed.cuda_graphs and graphs.are_possible(device)
        lower = partial(compiled.inductor, options=graphs.OPTIONS) if recorded else None
        budget = use_compiled(transformer, speed.activation_budget, lower=lower)
        words.append("compiled blocks" if budget == 1 else f"compiled blocks (activation budget {budget:g})")
        if recorded:
            graphs.prepare(transformer)
            words.append("CUDA graphs")
    return f"Faster by {text.listing(words)}." if words else "Computed as diffusers and peft do."


def use_windows(transformer: torch.nn.Module, kernel: attention.Kernel, *, equal_heads: bool = False) -> None:
    """Every attention looks at its window alone, computed by `kernel`."""
    for module in transformer.modules():
        if isinstance(module, AceStepAttention):
            module.set_processor(attention.WindowedAttention(kernel, equal_heads=equal_heads))


def use_fused_norms(transformer: torch.nn.Module, *, one_kernel: bool) -> int:
    """Every norm in one kernel, or in few where the device has none; returns how many there are."""
    kind = norms.FusedRMSNorm if one_kernel else norms.LeanRMSNorm
    return _change(transformer, norms.is_plain, kind)


def use_contiguous(transformer: torch.nn.Module) -> int:
    """Activations in memory order from the first layer on."""
    return _change(transformer, contiguous.is_plain, contiguous.ContiguousConv1d)


def use_lean_lora(transformer: torch.nn.Module) -> int:
    """LoRA without copies; returns how many layers could do so."""
    return _change(transformer, lora.is_plain, lora.LeanLoraLinear)


def use_compiled(transformer: torch.nn.Module, budget: float, *, lower: compiled.Lower | None = None) -> float:
    """Compile every block when it first trains; returns its budget, 0 where activations were to be checkpointed."""
    checkpoints = transformer.is_gradient_checkpointing
    if checkpoints:
        transformer.disable_gradient_checkpointing()
    compiler = compiled.BlockCompiler(
        0.0 if checkpoints else budget,
        on_failure=partial(recompute.enable, transformer) if checkpoints else lambda: None,
        lower=lower,
    )
    blocks = [module for module in transformer.modules() if compiled.is_plain(module)]
    for module in blocks:
        module.__class__ = compiled.CompiledBlock
        module.compiler = compiler
    if checkpoints:
        blocks[-1].compiler = compiled.BlockCompiler(budget, on_failure=lambda: None, lower=lower)
    return compiler.budget


@contextmanager
def stock(transformer: torch.nn.Module) -> Iterator[None]:
    """Inside, the model computes as diffusers and peft do; afterwards as before."""
    classes = {module: type(module) for module in transformer.modules() if type(module) in _STOCK}
    processors = {
        module: module.processor
        for module in transformer.modules()
        if isinstance(module, AceStepAttention) and isinstance(module.processor, attention.WindowedAttention)
    }
    try:
        for module, kind in classes.items():
            module.__class__ = _STOCK[kind]
        for module in processors:
            module.set_processor(AceStepAttnProcessor2_0())
        yield
    finally:
        for module, kind in classes.items():
            module.__class__ = kind
        for module, processor in processors.items():
            module.set_processor(processor)


def _change(transformer: torch.nn.Module, fits: Callable[[torch.nn.Module], bool], kind: type[torch.nn.Module]) -> int:
    """Make every module that `fits` one of `kind`, which must keep its attributes; returns how many there were."""
    found = [module for module in transformer.modules() if fits(module)]
    for module in found:
        module.__class__ = kind
    return len(found)
