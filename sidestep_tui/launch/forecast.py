"""What a run would take on a device: memory, time and disk, with every `auto` decided."""

from __future__ import annotations

from dataclasses import dataclass

from sidestep_tui.core import paths, text
from sidestep_tui.launch import hardware
from sidestep_tui.launch.disks import DiskRoom
from sidestep_tui.launch.gpus import Device
from sidestep_tui.schema import automatic, disk_maths, fit_ladder, gpu_table, memory_model, pace, plan_maths
from sidestep_tui.schema.activation_model import Attention
from sidestep_tui.schema.automatic import Answer
from sidestep_tui.schema.disk_maths import DiskNeeds
from sidestep_tui.schema.memory_model import MemoryEstimate
from sidestep_tui.schema.model_shape import ModelShape
from sidestep_tui.schema.pace import Measured, Pace
from sidestep_tui.schema.settings import Settings

NOT_COUNTED = "encoding the songs, compiling, measuring and saving come on top"
NOWHERE = -1
"""The index of a GPU that is not here."""
_GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Forecast:
    """`settings` are those asked for with `auto` decided; `pace` counts the steps alone."""

    settings: Settings
    estimate: MemoryEstimate
    parameters: int
    pace: Pace
    disk: DiskNeeds
    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Songs:
    """How many songs there are: all that are encoded, and those of them that are trained on. None while unknown."""

    all: int | None = None
    trained: int | None = None
    lengths: tuple[float, ...] = ()
    """Of all, in seconds."""


def of(
    settings: Settings,
    device: Device,
    shape: ModelShape,
    *,
    songs: Songs = Songs(),
    processes: int = 1,
    measured: Measured | None = None,
    attention: Attention | None = None,
) -> Forecast:
    """What `settings` take on `device`, for as long as `songs` and the step limit say."""
    decided = fit_ladder.settled(settings, hardware.needs(device, shape, attention=attention), device.free)
    steps = run_steps(decided, songs.trained, processes)
    return Forecast(
        settings=decided,
        estimate=hardware.estimate_for(decided, device, shape, attention=attention),
        parameters=memory_model.adapter_parameters(shape, decided),
        pace=pace.estimate(decided, shape, device, steps=steps, measured=measured, lengths=songs.lengths),
        disk=disk_maths.needs(decided, shape, songs=songs.all, trained=songs.trained),
        answers=tuple(
            automatic.answers(settings, device, recomputes=decided.memory.recomputes, where=place(device), steps=steps)
        ),
    )


def run_steps(settings: Settings, trained: int | None, processes: int = 1) -> int | None:
    """Optimizer steps of the whole run; None where songs and a step limit are both unknown."""
    each = plan_maths.steps_per_epoch(settings, trained, processes) if trained else None
    return plan_maths.run_steps(settings, steps_per_epoch=each)


def place(device: Device) -> str:
    """A device for people: `cuda:0 NVIDIA H200`."""
    here = device.kind == "cuda" and device.index != NOWHERE
    return f"cuda:{device.index} {device.name}" if here else device.name


def stand_in(name: str = "", gib: float | None = None) -> Device | None:
    """A GPU that is not here, by name or by its memory alone; None where the name is not known.

    Nobody else uses it; a desktop and a driver would take some of it.
    """
    card = gpu_table.asked(name) if name else None
    if name and card is None:
        return None
    total = int((gib if gib is not None else card.gib if card else 0) * _GIB)
    return Device("cuda", card.name if card else gpu_table.ANY, total, total, NOWHERE)


def time_rows(found: Pace) -> list[tuple[str, str]]:
    """How long a run takes, by what that is known, and what is not in it, for people: a title and a sentence each."""
    if found.seconds_per_step is None:
        return [("time", found.basis)]
    each = pace.seconds(found.seconds_per_step)
    if found.steps is None:
        return [("time", f"{each} a step, {found.basis}"), ("", "how many steps there are depends on the songs")]
    spread = f" ({found.range})" if found.range != found.short else ""
    steps = f"{text.thousands(found.steps)} {'step' if found.steps == 1 else 'steps'}"
    return [
        ("time", f"{found.short}{spread}: {steps} of {each}"),
        ("", f"{found.basis}, the steps alone"),
        ("", NOT_COUNTED),
    ]


def disk_rows(disk: DiskNeeds, room: DiskRoom | None) -> list[tuple[str, str]]:
    """What is written, and how much room there is where that is known."""
    kept = f"{text.plural(disk.checkpoints, 'checkpoint')} of {text.file_size(disk.checkpoint.total)}"
    songs = f", songs {text.file_size(disk.cache)}" if disk.cache else ""
    rows = [("disk", f"{text.file_size(disk.total)}: {kept}{songs}")]
    if room is None:
        rows.append(("", "nobody knows yet how much is free"))
    else:
        free = f"{text.file_size(room.free)} free in {paths.shorten(room.output)}"
        cache = f", {text.file_size(room.cache_free)} in {paths.shorten(room.cache)}"
        rows.append(("", free + ("" if room.is_shared else cache)))
    return rows


STAND_INS = ("RTX 4060", "RTX 3060", "RTX 4080", "RTX 4090", "RTX 5090", "L40S", "A100 80GB", "H200")
"""GPUs of every usual size, to plan by."""


def stand_ins() -> list[Device]:
    """A GPU of every usual size, the smallest first."""
    return [device for name in STAND_INS if (device := stand_in(name)) is not None]
