"""Settings that trade memory against speed without changing the recipe."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sidestep_tui.schema.meta import Group, Meta

Base = Literal["full", "int8", "nf4"]
"""How the matrices of the frozen model are kept."""


class MemorySettings(Group):
    """How the run fits into the machine."""

    gradient_checkpointing: Annotated[bool, Meta("gradient checkpointing", costs=("memory", "time"))] = True
    """Recompute activations instead of keeping them: fits long crops into small GPUs, at a third to a half more time.
    Switch it off whenever the estimate says that it fits without."""

    device: Annotated[
        str,
        Field(pattern=r"^(auto|cpu|mps|cuda(:\d{1,3})?)$"),
        Meta("device", allowed="auto, cuda, cuda:1, …, mps, cpu"),
    ] = "auto"
    """Where to train: `auto`, `cuda`, `cuda:1`, `mps` or `cpu`. `auto` takes the GPU with the most free memory."""

    precision: Annotated[
        Literal["auto", "bfloat16", "float16", "float32"],
        Meta("precision", level="advanced", costs=("memory", "time")),
    ] = "auto"
    """Precision of the frozen base and its products. `auto`: bfloat16 where the GPU has it, float16 with loss scaling
    on older ones (Turing, Volta), float32 on CPUs. The adapter stays float32 ("mixed"): trained in bfloat16 itself
    ("bf16-true" elsewhere), updates below 0.4 % of a weight would vanish."""

    preload: Annotated[Literal["auto", "ram", "disk"], Meta("encoded songs in", level="expert", costs=("memory",))] = (
        "auto"
    )
    """Where encoded songs wait for their turn: in RAM, which costs about 5 MB a song, or on disk. `auto` takes RAM
    while a quarter of it suffices."""
