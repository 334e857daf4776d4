"""`fit`: whether a preset fits into a GPU, by the closed-form estimate."""

from __future__ import annotations

from typing import Any

import click

from sidestep_tui.cli import options, render
from sidestep_tui.core import nvml, text
from sidestep_tui.core.nvml import Gpu
from sidestep_tui.launch import gpus, hardware
from sidestep_tui.launch import plan as plans
from sidestep_tui.schema import memory_model
from sidestep_tui.schema.memory_model import Attention, MemoryEstimate
from sidestep_tui.schema.model_shape import SHAPE_2B, SHAPE_XL, ModelShape
from sidestep_tui.schema.settings import Settings

_BAR = 40


@click.command()
@options.preset_argument
@click.option("--model", metavar="DIR", help="The checkpoint whose size counts; without one, the 2B size.")
@click.option("--xl", is_flag=True, help="Assume the XL size where no checkpoint is given.")
@options.set_option
@click.option(
    "--attention",
    type=click.Choice(["auto", "flash", "math"]),
    default="auto",
    show_default=True,
    help="Kernel of the sliding layers: auto is what the GPU here gets, or math, the larger, where there is none.",
)
@options.json_option
def fit(preset: str, model: str | None, xl: bool, assignments: tuple[str, ...], attention: str, as_json: bool) -> None:
    """Estimate the GPU memory that training with PRESET needs, with and without gradient checkpointing.

    The estimate is a closed form, checked against exact counts of the eager implementation; nothing is loaded and
    nothing is measured.
    """
    settings = plans.from_preset(preset, model=model, assignments=assignments).resolved.settings
    shape = SHAPE_XL if xl and not model else hardware.shape_of(settings)
    kernel = _kernel(settings) if attention == "auto" else attention
    estimates = _both(shape, settings, attention="math" if kernel == "math" else "flash")
    if as_json:
        render.data_json({"attention": kernel, **_fields(shape, settings, estimates)})
        return
    _show(shape, settings, estimates)
    render.data(f"attention kernel of the sliding layers: {kernel}")


def _kernel(settings: Settings) -> Attention:
    device = gpus.choose(settings)
    return device.attention if device is not None and device.kind == "cuda" else "math"


def _both(shape: ModelShape, settings: Settings, *, attention: Attention) -> dict[bool, MemoryEstimate]:
    """The estimate with and without checkpointing."""
    estimates = {}
    for checkpointing in (True, False):
        changed = settings.memory.model_copy(update={"gradient_checkpointing": checkpointing})
        variant = settings.model_copy(update={"memory": changed})
        estimates[checkpointing] = memory_model.estimate(shape, variant, attention=attention)
    return estimates


def _show(shape: ModelShape, settings: Settings, estimates: dict[bool, MemoryEstimate]) -> None:
    checkpointing = settings.memory.gradient_checkpointing
    chosen, other = estimates[checkpointing], estimates[not checkpointing]
    trained, matrices = memory_model.adapter_parameters(shape, settings), memory_model.adapted_matrices(shape, settings)
    size = {SHAPE_2B: "2B", SHAPE_XL: "XL"}.get(shape, f"{text.count(shape.parameters)} parameters")
    render.data(f"{size}: {text.count(trained)} trained parameters in {text.thousands(matrices)} matrices")
    longest = max(part for _, part in chosen.parts())
    rows = [[name, text.gibibytes(part), "█" * round(_BAR * part / longest)] for name, part in chosen.parts()]
    for line in render.table([*rows, ["total", text.gibibytes(chosen.total), ""]], right=(1,)):
        render.data(line)
    render.data(f"{'without' if checkpointing else 'with'} gradient checkpointing: {text.gibibytes(other.total)}")
    for gpu in nvml.gpus():
        room = f"{text.gibibytes(gpu.free)} free of {text.gibibytes(gpu.total)}"
        render.data(f"GPU {gpu.index} {gpu.name}: {room}: {_verdict(chosen.total, gpu)}")


def _verdict(needed: int, gpu: Gpu) -> str:
    if needed <= gpu.free:
        return "fits"
    return "would fit if it were free" if needed <= gpu.total else "does not fit"


def _fields(shape: ModelShape, settings: Settings, estimates: dict[bool, MemoryEstimate]) -> dict[str, Any]:
    def parts(estimate: MemoryEstimate) -> dict[str, int]:
        return {**{name.replace(" ", "_"): part for name, part in estimate.parts()}, "total": estimate.total}

    return {
        "model_parameters": shape.parameters,
        "adapter_parameters": memory_model.adapter_parameters(shape, settings),
        "adapted_matrices": memory_model.adapted_matrices(shape, settings),
        "gradient_checkpointing": settings.memory.gradient_checkpointing,
        "with_checkpointing": parts(estimates[True]),
        "without_checkpointing": parts(estimates[False]),
        "gpus": [
            {
                "index": gpu.index,
                "name": gpu.name,
                "free": gpu.free,
                "total": gpu.total,
                "verdict": _verdict(estimates[settings.memory.gradient_checkpointing].total, gpu),
            }
            for gpu in nvml.gpus()
        ],
    }
