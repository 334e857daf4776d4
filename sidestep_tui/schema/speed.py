"""Settings that make a step faster and leave what it computes alone."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sidestep_tui.schema.meta import Group, Meta


class SpeedSettings(Group):
    """How a step is computed. Every choice gives the same result up to rounding; the defaults are the fast ones."""

    attention: Annotated[
        Literal["auto", "windowed", "stock"], Meta("attention kernel", level="expert", costs=("time", "memory"))
    ] = "auto"
    """How layers with a window compute it. `auto` takes the GPU's kernel for windows, or blocks where there is none;
    `windowed` always takes blocks; `stock` computes all pairs of tokens and masks most, as diffusers does."""

    fused: Annotated[bool, Meta("fused norms", level="expert", costs=("time", "memory"))] = True
    """Norms in one kernel, and activations in memory order: about half the kernels of a step and a third less
    activation memory. Off: diffusers' own."""

    lean_lora: Annotated[bool, Meta("lean LoRA", level="expert", costs=("time",))] = True
    """Add a LoRA's product in the matrix product itself, without copies of what the layer hears. LoRA without dropout
    only. Off: peft's own."""

    compile: Annotated[Literal["auto", "on", "off"], Meta("compile", level="advanced", costs=("time", "memory"))] = (
        "auto"
    )
    """Compile the model's blocks: a third to a half less time a step, after a minute at the start. `auto` does so on
    CUDA for runs of fixed crops that are long enough to pay for it."""

    activation_budget: Annotated[
        float, Field(ge=0, le=1), Meta("activation budget", level="expert", step=0.25, costs=("memory", "time"))
    ] = 1.0
    """Compiled runs only: the share of activations that may be kept for the backward pass. 1 keeps what is quickest,
    0 as little as gradient checkpointing, which takes it to 0 by itself; between them memory is traded for time."""

    cuda_graphs: Annotated[bool, Meta("CUDA graphs", level="expert", costs=("time", "memory"))] = False
    """Compiled runs on CUDA only: send a block's kernels as one. Spares batches of one a wait for the processor, costs
    memory for every length of crop and condition; off until it has been measured."""

    prefetch: Annotated[Literal["auto", "on", "off"], Meta("prepare ahead", level="expert", costs=("time",))] = "auto"
    """Make the next micro-batch while this one is computed: the same numbers, without the wait. `auto` does so on
    CUDA; elsewhere the thread would take the cores that compute."""
