"""Settings that make a step faster and leave what it computes alone."""

from __future__ import annotations

from typing import Annotated, Literal

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
