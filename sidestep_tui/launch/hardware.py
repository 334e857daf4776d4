"""What the machine suggests: the layer below the preset, and whether a run fits."""

from __future__ import annotations

from sidestep_tui.core.errors import ModelError
from sidestep_tui.launch import gpus, models
from sidestep_tui.launch.gpus import Device
from sidestep_tui.schema import fit_ladder, memory_model
from sidestep_tui.schema.activation_model import Attention
from sidestep_tui.schema.fit_ladder import Needs, Rung
from sidestep_tui.schema.layers import HARDWARE, Layer
from sidestep_tui.schema.memory_model import MemoryEstimate
from sidestep_tui.schema.model_shape import ModelShape, shape_for_variant
from sidestep_tui.schema.settings import Settings


def layer(settings: Settings, *, device: Device | None = None, shape: ModelShape | None = None) -> Layer:
    """A frozen base in 8 bits where a GPU cannot hold it in full, however little else the run asks for."""
    target = device or gpus.choose(settings)
    if target is None or target.kind == "cpu":
        return Layer(HARDWARE, {})
    # What is set lies above this layer; and what this layer said before must not count as asked for.
    full = fit_ladder.with_values(settings, {"memory.base": "full"})
    # Without the last rung, which takes long to find and has nothing to say about the base.
    ladder = fit_ladder.rungs(full, needs(target, shape or shape_of(settings)))
    found = next((rung for rung in ladder if rung.fits(target.free)), None)
    if found is None or found.values.get("memory.base") != "int8":
        return Layer(HARDWARE, {})
    return Layer(HARDWARE, {"memory.base": "int8"})


def estimate_for(
    settings: Settings, device: Device, shape: ModelShape | None = None, *, attention: Attention | None = None
) -> MemoryEstimate:
    """The memory estimate on `device`, with its attention kernel, precision and context, and with `auto` decided."""
    shape = shape or shape_of(settings)
    decided = fit_ladder.settled(settings, needs(device, shape, attention=attention), device.free)
    return _estimate(decided, device, shape, attention)


def recomputes(settings: Settings, device: Device, shape: ModelShape | None = None) -> bool:
    """Whether activations would be recomputed on `device`, which `auto` leaves to the room there is."""
    return fit_ladder.recomputes(settings, needs(device, shape or shape_of(settings)), device.free)


def proposal(settings: Settings, device: Device, shape: ModelShape | None = None) -> Rung | None:
    """The first rung of the fit ladder that fits on `device`."""
    return fit_ladder.proposal(settings, needs(device, shape or shape_of(settings)), device.free)


def needs(device: Device, shape: ModelShape, *, attention: Attention | None = None) -> Needs:
    """Bytes that settings need on `device`."""
    return lambda settings: _estimate(settings, device, shape, attention).total


def _estimate(settings: Settings, device: Device, shape: ModelShape, attention: Attention | None) -> MemoryEstimate:
    context = memory_model.CONTEXT_BYTES if device.kind == "cuda" else memory_model.CONTEXT_BYTES // 2
    return memory_model.estimate(
        shape,
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
