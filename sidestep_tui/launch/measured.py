"""How fast this machine trained before: the best basis there is for how long a run will take."""

from __future__ import annotations

import socket
import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sidestep_tui.core.errors import ModelError, SettingsError
from sidestep_tui.launch import hardware, models
from sidestep_tui.launch.gpus import Device
from sidestep_tui.protocol import registry, snapshot
from sidestep_tui.protocol.events import Event
from sidestep_tui.protocol.journal import last_events
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.protocol.state import RunState
from sidestep_tui.schema import automatic, fit_ladder, memory_model, run
from sidestep_tui.schema.model_shape import ModelShape
from sidestep_tui.schema.pace import Measured
from sidestep_tui.schema.settings import Settings

_NEWEST = 24
"""So many runs are looked at."""
_FEWEST_STEPS = 5
"""A run that took fewer has only warmed up."""


def earlier(device: Device, shape: ModelShape, paths: Iterable[Path] | None = None) -> Measured | None:
    """The newest run of this computer that trained a model of that shape on such a device; reads a few small files."""
    known = registry.run_paths() if paths is None else list(paths)
    for path in list(reversed(known))[:_NEWEST]:
        try:
            found = _of(RunDir(path), device, shape)
        except (OSError, SettingsError):
            continue  # A run on a disk that is away, or edited by hand, says nothing.
        if found is not None:
            return found
    return None


def _of(run_dir: RunDir, device: Device, shape: ModelShape) -> Measured | None:
    picture = snapshot.read(run_dir)
    if picture is None:
        return None
    try:
        state = snapshot.restore(picture)
    except ValueError:
        return None
    if state.engine == "fake" or state.engine_host != socket.gethostname() or not _is_on(state, device):
        return None
    settings = run.read_run(run_dir.run_toml).settings
    if not _is_of(state, settings, shape):
        return None
    times = [event["seconds"] for event in last_events(run_dir.events) if _is_timed(event)]
    if len(times) < _FEWEST_STEPS:
        return None
    return Measured(run_dir.name, statistics.median(times), _as_run(settings, device, shape, state.total_steps))


def by_probe(found: Mapping[str, Any], settings: Settings) -> Measured:
    """What a probe of `settings` found; its few steps are never compiled unless that was asked for."""
    compiled = "on" if settings.speed.compile == "on" else "off"
    values = {fit_ladder.FLAG: "on" if found["recomputes"] else "off", "speed.compile": compiled}
    return Measured("the probe", float(found["seconds_per_step"]), fit_ladder.with_values(settings, values))


def _as_run(settings: Settings, device: Device, shape: ModelShape, steps: int) -> Settings:
    """The settings of a run with what `auto` came to."""
    decided = fit_ladder.settled(settings, hardware.needs(device, shape), device.free)
    compiled = automatic.compiles(settings, device, steps or None)
    return fit_ladder.with_values(decided, {"speed.compile": "on" if compiled else "off"})


def _is_on(state: RunState, device: Device) -> bool:
    """Whether a run alone used that kind of device: the engine says `cuda:0 (NVIDIA H200, bfloat16)`."""
    if "processes)" in state.device:
        return False
    kind, _, about = state.device.partition(" ")
    if device.kind != "cuda":
        return kind.partition(":")[0] == device.kind
    return kind.startswith("cuda") and about.lstrip("(").partition(",")[0] == device.name


def _is_of(state: RunState, settings: Settings, shape: ModelShape) -> bool:
    """Whether a run trained a model of that shape: by the weights that learned, or by its checkpoint if still there."""
    if state.adapter_parameters is not None:
        return state.adapter_parameters == memory_model.adapter_parameters(shape, settings)
    try:
        return models.locate(settings.model.path, settings.model.variant).shape == shape
    except ModelError:
        return False


def _is_timed(event: Event) -> bool:
    return event.get("type") == "step" and type(event.get("seconds")) in (int, float) and event["seconds"] > 0
