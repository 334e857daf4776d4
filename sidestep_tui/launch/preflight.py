"""What only the machine can tell before a run starts: files, songs, disk, device memory.

A generator, so that a screen can show each answer as it comes and stop asking at any time. Nothing is written.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from sidestep_tui.core import nvml, paths, text
from sidestep_tui.core.errors import AdapterError, DataError, ModelError
from sidestep_tui.core.ids import slug
from sidestep_tui.core.nvml import Gpu
from sidestep_tui.dataset import apart, split
from sidestep_tui.dataset.manifest import Manifest
from sidestep_tui.launch import adapter_files, disks, doctor, gpus, hardware, models
from sidestep_tui.launch.gpus import Device
from sidestep_tui.launch.models import FoundModel
from sidestep_tui.schema import disk_maths, fit_ladder, plan_maths, rules
from sidestep_tui.schema.fields import fields_by_path
from sidestep_tui.schema.layers import Resolved
from sidestep_tui.schema.model_shape import ModelShape
from sidestep_tui.schema.rules import Facts
from sidestep_tui.schema.settings import Settings

Status = Literal["ok", "warn", "fail"]

_UNCOUNTED = 10
"""Checkpoints by minutes for which there must be room where all are kept."""
_HOPELESS = 1.1
"""A run whose estimate exceeds the whole device by this factor is refused; below it, the estimate may be wrong."""


@dataclass(frozen=True, slots=True)
class Check:
    """One answer. `setting` is the path it is about, where there is one."""

    name: str
    status: Status
    sentence: str
    hint: str = ""
    setting: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def checks(
    resolved: Resolved,
    *,
    run_name: str = "",
    requires: Mapping[str, float] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Check]:
    """Every check of a run with these settings, cheapest first; ends early when `should_stop` says so."""
    settings = resolved.settings
    yield from _optimizer(settings)
    yield from _output(settings, run_name)
    yield from _beginning(settings)
    model, findings = _model(settings)
    yield from findings
    manifest, check = _dataset(settings, should_stop)
    if should_stop():
        return
    yield check
    present = nvml.gpus()
    device = gpus.choose(settings, present)
    yield from _held_out(settings, manifest)
    yield from _advice(settings, _facts(settings, model, manifest, device))
    yield from _disks(settings, model, manifest)
    yield _device(settings, model, device, present)
    yield from _requirements(requires or {})


def has_failed(found: list[Check]) -> bool:
    """Whether any check forbids the start."""
    return any(check.status == "fail" for check in found)


def _advice(settings: Settings, facts: Facts) -> Iterator[Check]:
    status: dict[str, Status] = {"error": "fail", "warning": "warn"}
    for advice in rules.check(settings, facts):
        if advice.severity in status:
            fix = f"{advice.fix_label}." if advice.fix_label else ""
            yield Check("settings", status[advice.severity], advice.sentence, fix, advice.path)


def _facts(settings: Settings, model: FoundModel | None, manifest: Manifest | None, device: Device | None) -> Facts:
    """What the rules may know. Disk space is left out: the check below counts the encoded songs too."""
    lengths = [min(song.duration, settings.data.max_duration) for song in manifest.songs] if manifest else []
    songs = split.training_count(manifest.songs, settings.data.validation) or None if manifest else None
    return Facts(
        songs=songs,
        total_seconds=sum(lengths) if songs else None,
        longest_seconds=max(lengths, default=None),
        shortest_seconds=min(lengths, default=None),
        steps_per_epoch=plan_maths.steps_per_epoch(settings, songs, gpus.processes(settings)) if songs else None,
        layers=model.shape.layers if model else None,
        vram_bytes=device.total if device and device.kind == "cuda" else None,
        device=device.kind if device else None,
        macos=sys.platform == "darwin",
    )


def _optimizer(settings: Settings) -> Iterator[Check]:
    if settings.optim.optimizer != "adamw8bit":
        return
    version = doctor.package_version("bitsandbytes")
    if version is None:
        yield Check(
            "optimizer",
            "fail",
            "The 8-bit optimizer needs bitsandbytes, which is not installed.",
            "Install bitsandbytes, or choose optim.optimizer = adamw.",
            "optim.optimizer",
        )
    else:
        yield Check("optimizer", "ok", f"bitsandbytes {version} is installed.")


def _output(settings: Settings, run_name: str) -> Iterator[Check]:
    parent = paths.expand(settings.output.path)
    home = paths.existing_ancestor(parent)
    if not home.is_dir():
        yield Check("output", "fail", f"{home} is a file, not a folder.", "Choose another --output.", "output.path")
        return
    if not os.access(home, os.W_OK | os.X_OK):
        yield Check(
            "output",
            "fail",
            f"{paths.shorten(home)} cannot be written.",
            "Choose another --output, or give your user write permission there.",
            "output.path",
        )
        return
    yield Check("output", "ok", f"Runs go to {paths.shorten(parent)}.")
    if run_name and (parent / slug(run_name)).exists():
        yield Check(
            "run name",
            "warn",
            f"{slug(run_name)} is taken; the run gets a number behind its name.",
            "Choose another --name, or resume the old run.",
            "output.name",
        )


def _model(settings: Settings) -> tuple[FoundModel | None, list[Check]]:
    try:
        model = models.locate(settings.model.path, settings.model.variant)
    except ModelError as error:
        return None, [_failed("model", error, "model.path")]
    problems = [check for check in models.check_files(model, settings.model.components) if check.problem is not None]
    if problems:
        return model, [_failed("model", check.problem, "model.path") for check in problems if check.problem]
    sentence = f"{model.name} is whole: {model.variant}, {model.layout} layout."
    return model, [Check("model", "ok", sentence)]


def _beginning(settings: Settings) -> Iterator[Check]:
    """The adapter to start from, by its header; the engine compares every module before it encodes songs."""
    place, wanted = settings.adapter.start_from, settings.adapter
    if not place:
        return
    try:
        found = adapter_files.inspect(paths.expand(place))
    except AdapterError as error:
        yield _failed("adapter", error, "adapter.start_from")
        return
    ranks = text.listing([str(rank) for rank in found.ranks])
    sentence = f"The run starts from a {found.kind}" + (f" of rank {ranks}." if ranks else ".")
    other_rank = wanted.kind in ("lora", "dora", "loha") and found.ranks and wanted.rank not in found.ranks
    if found.kind.lower() != wanted.kind:
        hint = f"Set adapter.kind to {found.kind.lower()}."
        yield Check("adapter", "fail", f"{sentence} The settings train another kind.", hint, "adapter.kind")
    elif other_rank:
        hint = f"Set adapter.rank to {found.ranks[0]}."
        yield Check("adapter", "fail", f"{sentence} The settings say {wanted.rank}.", hint, "adapter.rank")
    else:
        yield Check("adapter", "ok", sentence)


class _Cancelled(Exception):
    """The consumer lost interest in the middle of a scan."""


def _dataset(settings: Settings, should_stop: Callable[[], bool]) -> tuple[Manifest | None, Check]:
    if not settings.data.path:
        missing = Check(
            "songs",
            "fail",
            "No songs are chosen: data.path is empty.",
            "Choose a folder in the wizard, or pass --dataset DIR.",
            "data.path",
        )
        return None, missing

    def progress(done: int, total: int) -> None:
        if should_stop():
            raise _Cancelled

    try:
        # In a process of its own: the mp3 decoder prints to standard error, which may be the screen.
        manifest = apart.scan_apart(
            paths.expand(settings.data.path), settings.data.txt_role, settings.data.language, progress
        )
    except _Cancelled:
        return None, Check("songs", "warn", "The songs were not looked at to the end.")
    except DataError as error:
        return None, _failed("songs", error, "data.path")
    sentence = f"{text.plural(len(manifest.songs), 'song')}, {text.duration(manifest.seconds)}."
    if manifest.skipped:
        names = text.listing([f"{item.path}: {item.reason}" for item in manifest.skipped], most=3)
        return manifest, Check("songs", "warn", f"{sentence} Skipped {names}", "Convert or remove them.", "data.path")
    bare = [song.name for song in manifest.songs if song.origins.get("caption") == "file name"]
    if bare:
        hint = f"Write captions beside them, as NAME.txt or NAME.caption.txt: {text.listing(bare, most=3)}."
        without = text.plural(len(bare), "song has", "songs have")
        return manifest, Check(
            "songs", "warn", f"{sentence} {without} only a file name for a caption.", hint, "data.path"
        )
    return manifest, Check("songs", "ok", sentence)


def _held_out(settings: Settings, manifest: Manifest | None) -> Iterator[Check]:
    """Whether songs can be held out as asked; files of equal sound under other names show only when they are read."""
    percent = settings.data.validation
    if not percent or manifest is None:
        return
    try:
        parted = split.split(manifest.songs, percent)
    except DataError as error:
        yield _failed("held out", error, "data.validation")
        return
    held = text.plural(len(parted.held_out), "song is", "songs are")
    sentence = f"{held} held out and only measured: {text.listing(parted.held_out, most=3)}."
    if parted.advice:
        yield Check("held out", "warn", f"{sentence} {parted.advice}", "Set data.validation to 0.", "data.validation")
    else:
        yield Check("held out", "ok", sentence)


def _disks(settings: Settings, model: FoundModel | None, manifest: Manifest | None) -> Iterator[Check]:
    """Room for the run and for the encoded songs, together where they share a disk."""
    songs = manifest.songs if manifest else ()
    trained = split.training_count(songs, settings.data.validation)
    shape = model.shape if model else hardware.shape_of(settings)
    taken = disk_maths.needs(settings, shape, songs=len(songs), trained=trained)
    room = disks.room(settings)
    needed = taken.run
    if not room.cache_is_writable:
        sentence = f"Encoded songs cannot be kept: {paths.shorten(room.cache)} cannot be written."
        hint = "Set data.cache to a directory of your own, or correct the permissions of this one."
        yield Check("cache", "fail", sentence, hint, "data.cache")
    elif room.is_shared:
        needed = taken.total
    elif taken.cache > room.cache_free:
        sentence = f"The encoded songs take about {text.file_size(taken.cache)}"
        sentence += f"; {text.file_size(room.cache_free)} are free in {paths.shorten(room.cache)}."
        yield Check("cache", "fail", sentence, "Set data.cache to a directory on a larger disk.", "data.cache")
    yield _disk(settings, needed, taken.checkpoint.total, room.free)


def _disk(settings: Settings, needed: int, each: int, free: int) -> Check:
    sentence = f"The run writes about {text.file_size(needed)}"
    if settings.output.save_every_minutes and not settings.output.keep_last:
        # How many there will be is up to the pace; a run that keeps all needs room for some at least.
        sentence += f" and {text.file_size(each)} more every {settings.output.save_every_minutes} minutes"
        needed += _UNCOUNTED * each
    sentence += f"; {text.file_size(free)} are free."
    if needed < 0.9 * free:
        return Check("disk", "ok", sentence)
    hint = "Keep fewer checkpoints (output.keep_last), save less often, lower the rank, or choose another --output."
    return Check("disk", "fail" if needed > free else "warn", sentence, hint, "output.keep_last")


def _device(settings: Settings, model: FoundModel | None, device: Device | None, present: list[Gpu]) -> Check:
    if device is None:
        seen = text.listing([f"cuda:{gpu.index} ({gpu.name})" for gpu in present]) or "none"
        hint = f"GPUs found: {seen}. Choose memory.device = auto or cpu."
        return Check("device", "fail", f"There is no device {settings.memory.device} here.", hint, "memory.device")
    shape = model.shape if model else hardware.shape_of(settings)
    needed = hardware.estimate_for(settings, device, shape).total
    room = f"{text.gibibytes(device.free)} of {text.gibibytes(device.total)} are free on {device.name}"
    several = gpus.processes(settings, present)
    each = f" on each of {several} GPUs" if several > 1 else ""
    sentence = f"Training needs about {text.gibibytes(needed)}{each}; {room}."
    hint = _remedy(settings, device, shape)
    if device.kind == "cuda" and needed > _HOPELESS * device.total:
        return Check("memory", "fail", sentence, hint, "memory.gradient_checkpointing")
    if needed > device.free:
        return Check("memory", "warn", sentence, hint, "memory.gradient_checkpointing")
    eager = fit_ladder.with_values(settings, {"memory.gradient_checkpointing": "auto"})
    if settings.memory.gradient_checkpointing == "on" and not hardware.recomputes(eager, device, shape):
        faster = "It also fits without gradient checkpointing, which would take about a third less time."
        return Check("memory", "ok", sentence, faster, "memory.gradient_checkpointing")
    return Check("memory", "ok", sentence)


def _remedy(settings: Settings, device: Device, shape: ModelShape) -> str:
    """The first rung of the fit ladder that fits."""
    rung = hardware.proposal(settings, device, shape)
    if rung is None:
        return "Choose a smaller model, a lower rank or another device: not even the most frugal settings would fit."
    values = text.listing([f"{path} = {fields_by_path()[path].write(value)}" for path, value in rung.values.items()], 6)
    return f"{text.gibibytes(rung.needs)} would do with {values}." if values else "Close what else uses the device."


def _requirements(requires: Mapping[str, float]) -> Iterator[Check]:
    vram = requires.get("vram_gib")
    if vram is None:
        return
    largest = max((gpu.total or 0 for gpu in nvml.gpus()), default=0)
    # Cards hold a little less than they are sold as.
    if largest and largest < 0.95 * vram * 1024**3:
        sentence = (
            f"The preset is meant for {vram:g} GiB of GPU memory; the largest here has {text.gibibytes(largest)}."
        )
        yield Check("preset", "warn", sentence, "Choose a smaller preset: `sidestep-tui presets list`.")


def _failed(name: str, error: ModelError | DataError | AdapterError, setting: str) -> Check:
    sentence = " ".join(part for part in (error.title, error.message) if part)
    return Check(name, "fail", sentence, error.hint, setting)
