"""Settings of the optimizer and the learning-rate schedule."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sidestep_tui.schema.meta import Group, Meta


class OptimSettings(Group):
    """How the adapter learns from each step."""

    optimizer: Annotated[
        Literal["adamw", "adamw8bit", "adafactor", "prodigy", "schedule_free", "lion", "muon"],
        Meta("optimizer", costs=("memory", "quality")),
    ] = "adamw"
    """AdamW is the reference. The 8-bit form keeps its state in a quarter of the memory at nearly the same result; it
    needs bitsandbytes and saves little at small ranks. Adafactor keeps almost no state. Prodigy finds the learning
    rate itself (set it to 1) and takes the most memory. Schedule-free AdamW averages its weights instead of following
    a schedule. Lion takes half of AdamW's state and a learning rate three to ten times lower. Muon, for LoRA only,
    turns all directions of a matrix alike."""

    lr: Annotated[float, Field(gt=0, le=1), Meta("learning rate", bump="scale", costs=("quality",))] = 1e-4
    """Step size at its peak. Too high oscillates or diverges, too low learns nothing; 1e-4 is a safe start, 5e-5 for
    large ranks."""

    lr_ratio_b: Annotated[float, Field(gt=0, le=64), Meta("B-matrix rate", level="expert", bump="double")] = 1.0
    """Learning rate of LoRA's B matrices, as a multiple of the learning rate (LoRA+). B starts at zero, and 4 to 16
    lets it catch up sooner; lower the learning rate if the loss becomes restless."""

    schedule: Annotated[
        Literal["cosine", "cosine_restarts", "linear", "constant", "wsd"], Meta("schedule", level="advanced")
    ] = "cosine"
    """How the learning rate falls after warm-up: along a cosine; along cosines that start again at the peak, the
    first over a quarter of the steps and each next twice as long; in a straight line; not at all; or, as WSD, not
    before the last fifth of the run and then in a straight line."""

    warmup_steps: Annotated[int, Field(ge=0, le=100_000), Meta("warm-up", unit="steps", step=10, level="advanced")] = (
        100
    )
    """Steps in which the learning rate climbs from a tenth of its peak. Keep it within a tenth of the whole run."""

    lr_floor: Annotated[float, Field(ge=0, le=1), Meta("learning-rate floor", level="expert", step=0.01)] = 0.01
    """Where the schedule ends, as a share of the peak."""

    weight_decay: Annotated[float, Field(ge=0, le=1), Meta("weight decay", level="advanced", step=0.01)] = 0.01
    """Pull of the adapter's weights towards zero; mild regularisation."""

    max_grad_norm: Annotated[
        float, Field(ge=0, le=100), Meta("gradient clip", level="advanced", step=0.1, zero_means="no clipping")
    ] = 1.0
    """Gradients longer than this are shortened to it, so that one odd example cannot throw the run. 0 switches it
    off."""

    beta1: Annotated[float, Field(ge=0, lt=1), Meta("beta 1", level="expert", step=0.01)] = 0.9
    """Memory of the gradient's direction."""

    beta2: Annotated[float, Field(ge=0, lt=1), Meta("beta 2", level="expert", step=0.001)] = 0.999
    """Memory of the gradient's size."""

    eps: Annotated[float, Field(gt=0, le=1e-2), Meta("epsilon", level="expert", bump="scale")] = 1e-8
    """Guard against division by zero in Adam's update."""
