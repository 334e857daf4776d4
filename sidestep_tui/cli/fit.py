"""`fit`: whether a preset fits into a GPU, by the closed-form estimate, and what to give up where it does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from sidestep_tui.cli import options, render
from sidestep_tui.core import nvml, text
from sidestep_tui.core.nvml import Gpu
from sidestep_tui.launch import gpus, hardware
from sidestep_tui.launch import plan as plans
from sidestep_tui.launch import probe as probes
from sidestep_tui.launch.gpus import Device
from sidestep_tui.schema import adapter_maths, adapter_targets, fit_ladder, memory_model, rules
from sidestep_tui.schema.fields import fields_by_path
from sidestep_tui.schema.fit_ladder import Rung
from sidestep_tui.schema.memory_model import MemoryEstimate
from sidestep_tui.schema.model_shape import SHAPE_2B, SHAPE_XL, ModelShape
from sidestep_tui.schema.settings import Settings

_BAR = 40
_GIB = 1024**3


@click.command()
@options.preset_argument
@click.option("--model", metavar="DIR", help="The checkpoint whose size counts; without one, the 2B size.")
@click.option("--xl", is_flag=True, help="Assume the XL size where no checkpoint is given.")
@options.set_option
@click.option("--probe", is_flag=True, help="Measure on the device: load, train on the longest batch, save.")
@click.option("--vram", type=click.FloatRange(1, 1024), metavar="GIB", help="Ask about a GPU with so much free memory.")
@click.option(
    "--attention",
    type=click.Choice(["auto", "flash", "math"]),
    default="auto",
    show_default=True,
    help="Kernel of stock attention's sliding layers: auto is what the GPU gets; math is the larger.",
)
@options.json_option
def fit(
    preset: str,
    model: str | None,
    xl: bool,
    assignments: tuple[str, ...],
    probe: bool,
    vram: float | None,
    attention: str,
    as_json: bool,
) -> None:
    """Estimate the GPU memory that training with PRESET needs, and show the fit ladder.

    The ladder says what to give up, the cheapest first, where a run does not fit. The estimate is a closed form,
    checked against exact counts of the real models; without --probe nothing is loaded and nothing is measured.
    """
    settings = plans.from_preset(preset, model=model, assignments=assignments).resolved.settings
    shape = SHAPE_XL if xl and not model else hardware.shape_of(settings)
    if probe:
        _probe(settings, shape, as_json=as_json)
        return
    device, is_here = _device(settings, vram)
    kernel = device.attention if attention == "auto" else attention
    needs = hardware.needs(device, shape, attention="math" if kernel == "math" else "flash")
    free = device.free if is_here else None
    ladder = list(fit_ladder.rungs(settings, needs))
    if free is not None and _first(ladder, free) is None:
        ladder += filter(None, [fit_ladder.shorter_crop(settings, needs, free)])
    decided = settings if free is None else fit_ladder.settled(settings, needs, free)
    estimate = hardware.estimate_for(decided, device, shape, attention="math" if kernel == "math" else "flash")
    if as_json:
        about = {"attention": kernel, "free": free, "recomputes": decided.memory.recomputes}
        render.data_json({**about, **_fields(shape, decided, estimate, ladder, free)})
        return
    _show(shape, decided, estimate)
    _show_ladder(ladder, free, settings)
    if settings.speed.attention == "stock":
        render.data(f"attention kernel of the sliding layers: {kernel}")


def _probe(settings: Settings, shape: ModelShape, *, as_json: bool) -> None:
    """Measure, and set the estimate beside it."""
    render.say("measuring on the device; this loads the model" if settings.model.path else "measuring a made-up model")

    def report(event: probes.Event) -> None:
        if event["type"] == "phase":
            render.say(f"  {event['name']}")

    found = probes.measure(settings, shape, report)
    if as_json:
        render.data_json({name: value for name, value in found.items() if name != "type"})
        return
    for line in render.table(measured_rows(found)):
        render.data(line)


def measured_rows(found: Mapping[str, Any]) -> list[list[str]]:
    """What a probe found, a row each."""
    return [
        ["device", found["device"]],
        ["activations", "recomputed" if found["recomputes"] else "kept"],
        ["measured peak", text.gibibytes(found["peak"])],
        *([["of it in tensors", text.gibibytes(found["peak_allocated"])]] if found["peak_allocated"] else []),
        ["estimated", f"{text.gibibytes(found['estimated'])} ({found['difference']:+.0%} measured)"],
        ["optimizer step", f"{found['seconds_per_step']:.2f} s"],
        ["a song measured", f"{found['seconds_to_validate']:.2f} s"],
        ["a checkpoint", f"{found['seconds_to_save']:.2f} s"],
    ]


def _device(settings: Settings, vram: float | None) -> tuple[Device, bool]:
    """The device asked about, and whether what is free on it counts: not without `--vram` where there is no GPU."""
    found = gpus.choose(settings)
    if vram is not None:
        asked = int(vram * _GIB)
        name = found.name if found is not None and found.kind == "cuda" else "GPU"
        return Device("cuda", name, asked, asked), True
    if found is not None and found.kind == "cuda":
        return found, True
    return Device("cuda", "GPU", 0, 0), False


def _show(shape: ModelShape, settings: Settings, estimate: MemoryEstimate) -> None:
    trained, matrices = memory_model.adapter_parameters(shape, settings), memory_model.adapted_matrices(shape, settings)
    size = {SHAPE_2B: "2B", SHAPE_XL: "XL"}.get(shape, f"{text.count(shape.parameters)} parameters")
    render.data(f"{size}: {text.count(trained)} trained parameters in {text.thousands(matrices)} matrices")
    render.data(rules.scale_sentence(settings))
    longest = max(part for _, part in estimate.parts())
    rows = [[name, text.gibibytes(part), "█" * round(_BAR * part / longest)] for name, part in estimate.parts()]
    for line in render.table([*rows, ["total", text.gibibytes(estimate.total), ""]], right=(1,)):
        render.data(line)
    recomputing = "recomputed" if settings.memory.recomputes else "kept"
    render.data(f"with activations {recomputing} (gradient checkpointing)")
    for gpu in nvml.gpus():
        room = f"{text.gibibytes(gpu.free)} free of {text.gibibytes(gpu.total)}"
        render.data(f"GPU {gpu.index} {gpu.name}: {room}: {_verdict(estimate.total, gpu)}")


def _show_ladder(ladder: Sequence[Rung], free: int | None, settings: Settings) -> None:
    """Every rung with its need, what fits, and what to set for the first that does."""
    render.data("")
    render.data("fit ladder, the fastest first:")
    chosen = _first(ladder, free)
    rows = []
    for rung in ladder:
        mark = "" if free is None else "fits" if rung.fits(free) else "too large"
        rows.append([">" if rung is chosen else " ", rung.name, text.gibibytes(rung.needs), mark, rung.sentence])
    for line in render.table(rows, right=(2,)):
        render.data(line)
    if free is None:
        return
    if chosen is None:
        render.data(f"Nothing fits into {text.gibibytes(free)}: choose a smaller model or a lower rank.")
    elif values := _to_set(chosen.values, settings):
        assignments = " ".join(f"-s {path}={value}" for path, value in values.items())
        render.data(f"to fit into {text.gibibytes(free)}: {assignments}")
    else:
        render.data(f"fits into {text.gibibytes(free)} as it is")


def _first(ladder: Sequence[Rung], free: int | None) -> Rung | None:
    return None if free is None else next((rung for rung in ladder if rung.fits(free)), None)


def _to_set(values: Mapping[str, Any], settings: Settings) -> dict[str, str]:
    """What has to be typed for a rung: `auto` finds out about checkpointing by itself."""
    by_itself = ("memory.gradient_checkpointing",) if settings.memory.gradient_checkpointing == "auto" else ()
    return {path: fields_by_path()[path].write(value) for path, value in values.items() if path not in by_itself}


def _verdict(needed: int, gpu: Gpu) -> str:
    if needed <= gpu.free:
        return "fits"
    return "would fit if it were free" if needed <= gpu.total else "does not fit"


def _scale(shape: ModelShape, settings: Settings) -> list[float] | None:
    """The lowest and the highest number that the adapter's change is multiplied by; None where it has no scale."""
    has_one = adapter_maths.has_scale(settings.adapter)
    return list(adapter_targets.scale_range(settings.adapter, shape.layers)) if has_one else None


def _fields(
    shape: ModelShape, settings: Settings, estimate: MemoryEstimate, ladder: Sequence[Rung], free: int | None
) -> dict[str, Any]:
    chosen = _first(ladder, free)
    return {
        "model_parameters": shape.parameters,
        "adapter_parameters": memory_model.adapter_parameters(shape, settings),
        "adapted_matrices": memory_model.adapted_matrices(shape, settings),
        "adapter_scale": _scale(shape, settings),
        "estimate": {**{name.replace(" ", "_"): part for name, part in estimate.parts()}, "total": estimate.total},
        "ladder": [
            {
                "name": rung.name,
                "needs": rung.needs,
                "fits": None if free is None else rung.fits(free),
                "changes_recipe": rung.changes_recipe,
                "values": dict(rung.values),
                "says": rung.sentence,
            }
            for rung in ladder
        ],
        "proposal": None if chosen is None else dict(chosen.values),
        "gpus": [
            {
                "index": gpu.index,
                "name": gpu.name,
                "free": gpu.free,
                "total": gpu.total,
                "verdict": _verdict(estimate.total, gpu),
            }
            for gpu in nvml.gpus()
        ],
    }
