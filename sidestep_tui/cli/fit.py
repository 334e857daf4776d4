"""`fit`: whether a preset fits into a GPU, how long it takes there and what it writes; by closed forms, or measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import click

from sidestep_tui.cli import options, render
from sidestep_tui.core import nvml, paths, text
from sidestep_tui.core.errors import DataError, SettingsError
from sidestep_tui.core.nvml import Gpu
from sidestep_tui.dataset import apart, split
from sidestep_tui.launch import disks, forecast, gpus, hardware, measured
from sidestep_tui.launch import plan as plans
from sidestep_tui.launch import probe as probes
from sidestep_tui.launch.disks import DiskRoom
from sidestep_tui.launch.forecast import Forecast, Songs
from sidestep_tui.launch.gpus import Device
from sidestep_tui.launch.job import Said
from sidestep_tui.schema import (
    adapter_maths,
    adapter_targets,
    automatic,
    fit_ladder,
    gpu_table,
    memory_model,
    pace,
    profiles,
    rules,
)
from sidestep_tui.schema.activation_model import Attention
from sidestep_tui.schema.fields import fields_by_path
from sidestep_tui.schema.fit_ladder import Needs, Rung
from sidestep_tui.schema.layers import flat_values
from sidestep_tui.schema.model_shape import SHAPE_2B, SHAPE_XL, ModelShape
from sidestep_tui.schema.settings import Settings

_BAR = 40
_GIB = 1024**3


@click.command()
@options.preset_argument
@click.option("--model", metavar="DIR", help="The checkpoint whose size counts; without one, the 2B size.")
@click.option("--xl", is_flag=True, help="Assume the XL size where no checkpoint is given.")
@click.option("--dataset", metavar="DIR", help="The songs, for time and disk.")
@click.option("--songs", type=click.IntRange(1, 1_000_000), metavar="N", help="Assume so many songs.")
@options.set_option
@click.option("--probe", is_flag=True, help="Measure on the device: load, train on the longest batch, save.")
@click.option("--gpu", metavar="NAME", help="Ask about a GPU that is not here: 4090, l40s, a100-80gb, …")
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
    dataset: str | None,
    songs: int | None,
    assignments: tuple[str, ...],
    probe: bool,
    gpu: str | None,
    vram: float | None,
    attention: str,
    as_json: bool,
) -> None:
    """Estimate the GPU memory, the time and the disk space that training with PRESET takes, and show the fit ladder.

    The ladder says what to give up, the cheapest first, where a run does not fit. The estimate is a closed form,
    checked against exact counts of the real models; without --probe nothing is loaded and nothing is measured.
    """
    settings = plans.from_preset(preset, model=model, dataset=dataset, assignments=assignments).resolved.settings
    shape = SHAPE_XL if xl and not model else hardware.shape_of(settings)
    if probe:
        if gpu is not None or vram is not None:
            raise click.UsageError("--probe measures what is here; --gpu and --vram ask about what is not.")
        _probe(settings, shape, as_json=as_json)
        return
    device, is_known = _device(settings, gpu, vram)
    kernel: Attention = device.attention if attention == "auto" else "math" if attention == "math" else "flash"
    needs = hardware.needs(device, shape, attention=kernel)
    free = device.free if is_known else None
    ladder = list(fit_ladder.rungs(settings, needs))
    if free is not None and _first(ladder, free) is None:
        ladder += filter(None, [fit_ladder.shorter_crop(settings, needs, free)])
    is_here = is_known and gpu is None and vram is None
    seen = forecast.of(
        settings,
        device,
        shape,
        songs=_songs(settings, songs, must_be_there=dataset is not None),
        processes=gpus.processes(settings) if is_here else 1,
        measured=measured.earlier(device, shape) if is_here else None,
        attention=kernel,
    )
    if not is_known:
        seen = _timed_here(seen, settings, shape)
    room = disks.room(settings)
    offered = _profiles(settings, seen, device, shape, needs)
    if as_json:
        about = {"attention": kernel, "free": free, "recomputes": seen.settings.memory.recomputes, "profiles": offered}
        render.data_json({**about, **_fields(shape, seen, ladder, free, device if is_known else None, room)})
        return
    _show(shape, seen, device if is_known else None, is_here=is_here)
    _show_time_and_disk(seen, room)
    if is_known:
        _show_profiles(offered)
    _show_ladder(ladder, free, settings, seen, shape, device, needs)
    if settings.speed.attention == "stock":
        render.data(f"attention kernel of the sliding layers: {kernel}")


def _probe(settings: Settings, shape: ModelShape, *, as_json: bool) -> None:
    """Measure, and set the estimate beside it."""
    render.say("measuring on the device; this loads the model" if settings.model.path else "measuring a made-up model")

    def report(said: Said) -> None:
        if not said.done:
            render.say(f"  {said.what}")

    found = probes.measure(settings, shape, report)
    if as_json:
        render.data_json(found)
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


def _device(settings: Settings, gpu: str | None, vram: float | None) -> tuple[Device, bool]:
    """The device asked about, and whether there is one: without a GPU here and a question it is any GPU."""
    if gpu is not None:
        asked = forecast.stand_in(gpu, vram)
        if asked is None:
            raise SettingsError(
                f"The GPU '{gpu}' is not known by name.",
                text.did_you_mean(gpu, gpu_table.names()) or "The table holds desktop and data-centre GPUs.",
                "Give its memory with --vram instead.",
            )
        return asked, True
    found = gpus.choose(settings)
    if vram is not None:
        asked_bytes = int(vram * _GIB)
        name = found.name if found is not None and found.kind == "cuda" else gpu_table.ANY
        return Device("cuda", name, asked_bytes, asked_bytes, forecast.NOWHERE), True
    if found is not None and found.kind == "cuda":
        return found, True
    return Device("cuda", gpu_table.ANY, 0, 0, forecast.NOWHERE), False


def _timed_here(seen: Forecast, settings: Settings, shape: ModelShape) -> Forecast:
    """Without a GPU here or a question about one: the pace of this computer, where it has trained before."""
    here = gpus.choose(settings)
    before = measured.earlier(here, shape) if here is not None else None
    if here is None or before is None:
        found = pace.Pace(None, seen.pace.steps, "no estimate: there is no GPU here; --gpu NAME asks about one")
        return replace(seen, pace=found)
    decided = fit_ladder.settled(settings, hardware.needs(here, shape), here.free)
    return replace(seen, pace=pace.estimate(decided, shape, here, steps=seen.pace.steps, measured=before))


def _songs(settings: Settings, asked: int | None, *, must_be_there: bool) -> Songs:
    """How many songs there are: as asked, or counted in the folder; unknown where a preset names one that is away."""
    if asked is not None:
        return Songs(asked, asked)
    data = settings.data
    if not data.path:
        return Songs()
    try:
        found = apart.scan_apart(paths.expand(data.path), data.txt_role, data.language)
    except DataError:
        if must_be_there:
            raise
        return Songs()
    lengths = tuple(song.duration for song in found.songs)
    return Songs(len(found.songs), split.training_count(found.songs, data.validation), lengths)


def _show(shape: ModelShape, seen: Forecast, device: Device | None, *, is_here: bool) -> None:
    """What is trained, the memory part by part, where it fits, and what `auto` comes to."""
    settings, estimate = seen.settings, seen.estimate
    matrices = memory_model.adapted_matrices(shape, settings)
    size = {SHAPE_2B: "2B", SHAPE_XL: "XL"}.get(shape, f"{text.count(shape.parameters)} parameters")
    render.data(f"{size}: {text.count(seen.parameters)} trained parameters in {text.thousands(matrices)} matrices")
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
    if device is None:
        return
    render.data("")
    where = "here" if is_here else f"on a {device.name} with {text.gibibytes(device.free)} free"
    render.data(f"what is chosen {where}:")
    for line in render.table([["", name, value, why] for name, value, why in automatic.lines(seen.answers)]):
        render.data(line)


def _show_time_and_disk(seen: Forecast, room: DiskRoom) -> None:
    """How long the steps take and by what that is known, what is written, and how much room there is for it."""
    render.data("")
    for line in render.table([*forecast.time_rows(seen.pace), *forecast.disk_rows(seen.disk, room)]):
        render.data(line)


def _profiles(
    settings: Settings, seen: Forecast, device: Device, shape: ModelShape, needs: Needs
) -> list[dict[str, Any]]:
    """Every profile with what it would set, need and take, against the settings as they are."""
    offered, now = [], flat_values(settings)
    for profile in profiles.PROFILES:
        values = profile.values_for(xl=shape.hidden != shape.encoder_hidden)
        changed = fit_ladder.with_values(settings, values)
        offered.append(
            {
                "name": profile.name,
                "is_for_this": bool(device.total) and profiles.profile_for(device.total) is profile,
                "needs": needs(changed),
                "fits": needs(changed) <= fit_ladder.HEADROOM * device.free if device.total else None,
                "time": pace.compared(changed, seen.settings, shape, device),
                "values": dict(values),
                "changes": {path: value for path, value in values.items() if now[path] != value},
            }
        )
    return offered


def _show_profiles(offered: Sequence[Mapping[str, Any]]) -> None:
    render.data("")
    render.data("profiles by size of GPU, and what -s would have to set:")
    rows = []
    for profile in offered:
        sets = ", ".join(f"{path}={fields_by_path()[path].write(value)}" for path, value in profile["changes"].items())
        mark = "fits" if profile["fits"] else "too large"
        own = ">" if profile["is_for_this"] else " "
        rows.append([own, profile["name"], text.gibibytes(profile["needs"]), mark, profile["time"], sets or "as it is"])
    for line in render.table(rows, right=(2, 4)):
        render.data(line)


def _show_ladder(
    ladder: Sequence[Rung],
    free: int | None,
    settings: Settings,
    seen: Forecast,
    shape: ModelShape,
    device: Device,
    needs: Needs,
) -> None:
    """Every rung with its need, its time and what fits, and what to set for the first that does."""
    render.data("")
    render.data("fit ladder, the fastest first; time against the settings as they are:")
    chosen = _first(ladder, free)
    rows = []
    for rung in ladder:
        mark = "" if free is None else "fits" if rung.fits(free) else "too large"
        slower = pace.compared(fit_ladder.with_values(settings, rung.values), seen.settings, shape, device)
        rows.append(
            [">" if rung is chosen else " ", rung.name, text.gibibytes(rung.needs), mark, slower, rung.sentence]
        )
    for line in render.table(rows, right=(2, 4)):
        render.data(line)
    if free is None:
        return
    if chosen is None:
        render.data(f"Nothing fits into {text.gibibytes(free)}: choose a smaller model or a lower rank.")
    elif values := fit_ladder.to_apply(chosen, settings, needs, free):
        assignments = " ".join(f"-s {path}={fields_by_path()[path].write(value)}" for path, value in values.items())
        render.data(f"to fit into {text.gibibytes(free)}: {assignments}")
    else:
        render.data(f"fits into {text.gibibytes(free)} as it is")


def _first(ladder: Sequence[Rung], free: int | None) -> Rung | None:
    return None if free is None else next((rung for rung in ladder if rung.fits(free)), None)


def _verdict(needed: int, gpu: Gpu) -> str:
    if needed <= gpu.free:
        return "fits"
    return "would fit if it were free" if needed <= gpu.total else "does not fit"


def _scale(shape: ModelShape, settings: Settings) -> list[float] | None:
    """The lowest and the highest number that the adapter's change is multiplied by; None where it has no scale."""
    has_one = adapter_maths.has_scale(settings.adapter)
    return list(adapter_targets.scale_range(settings.adapter, shape.layers)) if has_one else None


def _fields(
    shape: ModelShape,
    seen: Forecast,
    ladder: Sequence[Rung],
    free: int | None,
    device: Device | None,
    room: DiskRoom,
) -> dict[str, Any]:
    chosen = _first(ladder, free)
    settings, estimate = seen.settings, seen.estimate
    return {
        "model_parameters": shape.parameters,
        "adapter_parameters": seen.parameters,
        "adapted_matrices": memory_model.adapted_matrices(shape, settings),
        "adapter_scale": _scale(shape, settings),
        "estimate": {**{name.replace(" ", "_"): part for name, part in estimate.parts()}, "total": estimate.total},
        "device": None if device is None else {"kind": device.kind, "name": device.name, "total": device.total},
        "auto": {answer.path: answer.value for answer in seen.answers} if device is not None else {},
        "time": _time_fields(seen),
        "disk": {
            "checkpoint": seen.disk.checkpoint.total,
            "checkpoints": seen.disk.checkpoints,
            "run": seen.disk.run,
            "cache": seen.disk.cache,
            "free": room.free,
            "cache_free": room.cache_free,
        },
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


def _time_fields(seen: Forecast) -> dict[str, Any]:
    found = seen.pace
    return {
        "seconds_per_step": found.seconds_per_step,
        "steps": found.steps,
        "seconds": found.total_seconds,
        "spread": found.spread,
        "basis": found.basis,
    }
