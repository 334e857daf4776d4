"""Settings that trade memory against speed without changing the recipe."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from sidestep_tui.schema.meta import Group, Meta

Base = Literal["full", "int8", "nf4"]
"""How the matrices of the frozen model are kept."""


def _from_bool(value: Any) -> Any:
    """What presets and run files said while checkpointing was a switch."""
    return ("on" if value else "off") if isinstance(value, bool) else value


class MemorySettings(Group):
    """How the run fits into the machine."""

    gradient_checkpointing: Annotated[
        Literal["auto", "on", "off"],
        BeforeValidator(_from_bool),
        Meta("grad checkpointing", costs=("memory", "time")),
    ] = "auto"
    """Recompute activations instead of keeping them: fits long crops into small GPUs, at a third to a half more time.
    `auto` does so only where the run would not fit without."""

    base: Annotated[Base, Meta("frozen base", costs=("memory", "time", "quality"))] = "full"
    """How the frozen model is kept. `int8` halves it and trains as exactly as bfloat16, in a little more time; `nf4`
    quarters it, with visibly noisier gradients. Of use for XL on 12 GB and less."""

    on_oom: Annotated[Literal["retry", "stop"], Meta("out of memory", level="advanced", costs=("time",))] = "retry"
    """When a step runs out of memory: `retry` repeats it with activations recomputed, then with half the crops at once
    (the same gradient, slower), before giving up; `stop` ends the run."""

    device: Annotated[
        str,
        Field(pattern=r"^(auto|all|gpus:[1-9]\d?|cpu|mps|cuda(:\d{1,3})?)$"),
        Meta("device", allowed="auto, cuda, cuda:1, …, all, gpus:2, …, mps, cpu"),
    ] = "auto"
    """Where to train: `auto`, `cuda`, `cuda:1`, `mps` or `cpu`. `auto` takes the GPU with the most free memory. `all`
    and `gpus:2` train on several GPUs, each with its own batch times accumulation: as many songs more a step."""

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

    @property
    def recomputes(self) -> bool:
        """Whether to reckon with recomputed activations: `auto` can, so the least that it needs is with them."""
        return self.gradient_checkpointing != "off"
