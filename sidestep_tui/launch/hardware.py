"""What the machine suggests: the layer below the preset."""

from __future__ import annotations

from sidestep_tui.core.errors import ModelError
from sidestep_tui.launch import gpus, models
from sidestep_tui.launch.gpus import Device
from sidestep_tui.schema import memory_model
from sidestep_tui.schema.layers import HARDWARE, Layer
from sidestep_tui.schema.memory_model import Attention, MemoryEstimate
from sidestep_tui.schema.model_shape import ModelShape, shape_for_variant
from sidestep_tui.schema.settings import Settings

HEADROOM = 0.92
"""The share of the free memory that a suggestion may use; the rest is for what the estimate cannot see."""


def layer(settings: Settings, *, device: Device | None = None) -> Layer:
    """Gradient checkpointing off when the run fits without it: recomputing costs about half again as much time."""
    target = device or gpus.choose(settings)
    if target is None:
        return Layer(HARDWARE, {})
    without = settings.model_copy(
        update={"memory": settings.memory.model_copy(update={"gradient_checkpointing": False})}
    )
    needed = estimate_for(without, target).total
    if needed > HEADROOM * target.free:
        return Layer(HARDWARE, {})
    return Layer(HARDWARE, {"memory.gradient_checkpointing": False})


def estimate_for(
    settings: Settings, device: Device, shape: ModelShape | None = None, *, attention: Attention | None = None
) -> MemoryEstimate:
    """The memory estimate on `device`, with its attention kernel, precision and context."""
    context = memory_model.CONTEXT_BYTES if device.kind == "cuda" else memory_model.CONTEXT_BYTES // 2
    return memory_model.estimate(
        shape or shape_of(settings),
        settings,
        attention=attention or device.attention,
        base_bytes=gpus.base_bytes(settings, device),
        context_bytes=context,
    )


def shape_of(settings: Settings) -> ModelShape:
    """The chosen checkpoint's shape, or the published one of its variant while there is no checkpoint."""
    try:
        return models.locate(settings.model.path, settings.model.variant).shape
    except ModelError:
        return shape_for_variant(settings.model.variant)
