"""Runs side by side: what was set differently, what came of it, and the curves. Nothing here paints."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sidestep_tui.core import paths, text
from sidestep_tui.core.errors import AdapterError, SettingsError
from sidestep_tui.launch.ledger import seconds_of
from sidestep_tui.protocol.heldout import HeldOut
from sidestep_tui.protocol.registry import RunSummary, summarise
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.protocol.state import RunState
from sidestep_tui.protocol.tail import Tail
from sidestep_tui.schema import adapter_names
from sidestep_tui.schema import run as run_file
from sidestep_tui.schema.fields import all_fields
from sidestep_tui.schema.layers import flat_values
from sidestep_tui.schema.values import format_value

_OF_THE_RUN = frozenset({"output.name", "output.path"})
"""What always differs and explains nothing."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a run. `loss` is the smoothed loss of training."""

    status: str
    step: int
    total_steps: int
    loss: float | None
    best: float | None
    best_by: str
    best_step: int | None
    held_out: float | None
    """The newest loss on held-out songs."""
    seconds: float | None
    seconds_per_step: float | None
    adapter_bytes: int | None
    parameters: int | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Side:
    """One of the compared runs."""

    path: Path
    name: str
    settings: dict[str, Any]
    """By dotted path; empty where run.toml cannot be read."""
    problem: str
    """Why the settings are not known."""
    state: RunState
    result: Result
    is_alive: bool = False


@dataclass(frozen=True, slots=True)
class Difference:
    """A setting that is not the same in all runs; `texts` has one entry a run, None where it is not known."""

    path: str
    label: str
    texts: tuple[str | None, ...]


def read(run_dir: RunDir, *, now: float) -> Side:
    """One run with its whole history. A day's journal takes a second or two: call it from a thread."""
    state = RunState()
    tail = Tail(run_dir.events)
    while events := tail.read():
        state.apply_all(events)
    settings, problem = _settings(run_dir)
    summary = summarise(run_dir, now=now)
    return Side(
        run_dir.path, run_dir.name, settings, problem, state, _result(run_dir, state, summary, now), summary.is_alive
    )


def _settings(run_dir: RunDir) -> tuple[dict[str, Any], str]:
    try:
        return flat_values(run_file.read_run(run_dir.run_toml).settings), ""
    except SettingsError as error:
        return {}, f"{error.title} {error.message}".strip()


def _result(run_dir: RunDir, state: RunState, summary: RunSummary, now: float) -> Result:
    held_out = HeldOut.of(state.evals)
    elapsed = state.series["elapsed"].last if "elapsed" in state.series else None
    steps = len(state.series["loss"])
    return Result(
        status=summary.status,
        step=summary.step,
        total_steps=summary.total_steps,
        loss=summary.loss,
        best=summary.best_loss,
        best_by=summary.best_by,
        best_step=summary.best_step,
        held_out=held_out.newest if held_out else None,
        seconds=seconds_of(run_dir, summary, now),
        seconds_per_step=elapsed / steps if elapsed and steps and math.isfinite(elapsed) else None,
        adapter_bytes=_adapter_bytes(run_dir),
        parameters=state.adapter_parameters,
    )


def _adapter_bytes(run_dir: RunDir) -> int | None:
    """The weights of the final adapter, else of the newest checkpoint."""
    for place in (run_dir.adapter / "final", run_dir.latest_checkpoint()):
        if place is None or not place.is_dir():
            continue
        try:
            return adapter_names.weights_file(place).stat().st_size
        except (AdapterError, OSError):
            continue
    return None


def differences(sides: Sequence[Side]) -> list[Difference]:
    """The settings that are not the same in all runs, in the order of the form."""
    found = []
    for spec in all_fields():
        if spec.path in _OF_THE_RUN:
            continue
        values = [side.settings.get(spec.path) for side in sides]
        if all(value == values[0] for value in values):
            continue
        texts = tuple(
            _shown(format_value(spec, side.settings[spec.path])) if spec.path in side.settings else None
            for side in sides
        )
        found.append(Difference(spec.path, spec.meta.label, texts))
    return found


def _shown(value: str) -> str:
    return paths.shorten(value) if value.startswith("/") else value


def same_count(sides: Sequence[Side]) -> int:
    """How many settings are the same in all runs."""
    known = [side.settings for side in sides if side.settings]
    return len(all_fields()) - len(differences(sides)) - len(_OF_THE_RUN) if known else 0


def result_texts(result: Result) -> dict[str, str]:
    """The numbers of a run by name, as people read them."""
    of = "held-out" if result.best_by == "held_out" else "training"
    return {
        "status": result.status.replace("_", " "),
        "step": f"{text.thousands(result.step)}/{text.thousands(result.total_steps)}" if result.total_steps else "–",
        "loss": _number(result.loss),
        "best": f"{_number(result.best)} ({of}, step {result.best_step})" if result.best is not None else "–",
        "held-out loss": _number(result.held_out),
        "took": text.duration(result.seconds) if result.seconds is not None else "–",
        "seconds per step": _number(result.seconds_per_step),
        "adapter": text.file_size(result.adapter_bytes) if result.adapter_bytes is not None else "–",
        "parameters": text.count(result.parameters) if result.parameters is not None else "–",
    }


def _number(value: float | None) -> str:
    return text.number(value) if value is not None else "–"
