"""Checkpoints: a usable adapter and everything needed to continue exactly, published by rename, without pickle.

The random state is not stored because there is none: every draw is seeded by seed, epoch and place.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import NonNegativeInt, PositiveInt, TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file

from sidestep_tui.core import atomic
from sidestep_tui.core.errors import AdapterError, RunError
from sidestep_tui.core.text import listing
from sidestep_tui.engine import adapters, export, optimizers
from sidestep_tui.engine.scaling import Scale
from sidestep_tui.engine.rungs import Relief
from sidestep_tui.engine.tracking import Tracker
from sidestep_tui.protocol.rundir import RunDir, checkpoint_step
from sidestep_tui.schema.settings import Settings

STATE_FILE = "training_state.json"
# diffusers takes the first safetensors of a directory whose name lacks "optimizer": a checkpoint loads as an adapter.
OPTIMIZER_FILE = "optimizer_state.safetensors"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Position:
    """How far training is: `step` optimizer steps done, and `offset` examples of `epoch` (from 0) seen."""

    step: NonNegativeInt = 0
    epoch: NonNegativeInt = 0
    offset: NonNegativeInt = 0


@dataclass(frozen=True, slots=True)
class Watch:
    """What the watchdog has done so far."""

    lr: float = 0.0
    """`optim.lr` when it last went back; a resume with another one begins anew."""
    lr_scale: float = 1.0
    skipped: NonNegativeInt = 0
    """Steps of the run that changed nothing."""
    returns: tuple[tuple[NonNegativeInt, NonNegativeInt], ...] = ()
    """After which step training went back, and to the weights of which."""


@dataclass(frozen=True, slots=True)
class TrainingState:
    """What a resumed run continues from, besides weights and optimizer."""

    position: Position
    seed: int
    total_steps: int
    loss_sum: float
    loss_count: int
    skipped_in_a_row: int
    tracking: dict[str, Any]
    fingerprint: dict[str, Any]
    warmup_steps: NonNegativeInt | None = None
    """Steps that warm-up took or will take."""
    next_lr: float | None = None
    """Learning rate that the next step would have had."""
    watchdog: Watch = field(default_factory=Watch)
    relief: Relief = field(default_factory=Relief)
    loss_scale: Scale | None = None
    """Of a float16 run."""
    processes: PositiveInt = 1
    """How many trained together."""


_STATE = TypeAdapter(TrainingState)


def fingerprint(settings: Settings, *, model: str, dataset: str, held_out: str | None = None) -> dict[str, Any]:
    """What must be the same for a checkpoint to fit: everything else may change between sessions."""
    adapter = settings.adapter
    return {
        "model": model,
        "dataset": dataset,
        "held-out songs": held_out,
        "adapter.kind": adapter.kind,
        "adapter.rank": adapter.rank,
        "adapter.alpha": adapter.alpha,
        "adapter.rslora": adapter.rslora,
        **adapters.kind_settings(adapter),
        "adapter targets": sorted(adapters.target_suffixes(adapter)),
        "optim.optimizer": settings.optim.optimizer,
    }


def refuse_other(saved: Mapping[str, Any], current: Mapping[str, Any], checkpoint: Path) -> None:
    """Raise RunError when a checkpoint was made under settings that cannot change within a run."""
    changed = [key for key in current if saved.get(key) != current[key]]
    if not changed:
        return
    sentences = {
        "model": "the base model is another one",
        "dataset": "the songs, their captions or their lyrics changed",
        "held-out songs": "other songs are held out",
        "adapter targets": "the adapter trains other layers",
    }
    reasons = [sentences.get(key) or f"{key} was {saved.get(key)} and is {current[key]}" for key in changed]
    raise RunError(
        "The run cannot be resumed with these settings.",
        f"Since {checkpoint.name} was saved, {listing(reasons)}.",
        "Undo the change in run.toml or in the files, or start a new run.",
    )


def save(
    run_dir: RunDir,
    transformer: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    state: TrainingState,
    settings: Settings,
    provenance: export.Provenance,
) -> Path:
    """Publish the checkpoint of this step; one that already exists is left as it is."""
    target = run_dir.checkpoint_path(state.position.step)
    if target.exists():
        return target
    tensors, numbers = optimizers.state_tensors(optimizer, adapters.trainable(transformer))
    with atomic.publish_dir(target) as directory:
        with optimizers.published_weights(optimizer):
            export.write_adapter(directory, transformer, settings.adapter, provenance)
        export.write_tensors(directory / OPTIMIZER_FILE, tensors)
        document = {"format": FORMAT, **asdict(state), "optimizer_numbers": numbers}
        (directory / STATE_FILE).write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", "utf-8")
    return target


def read(directory: Path) -> tuple[TrainingState, dict[str, Any]]:
    """The training state in a checkpoint and the optimizer's plain numbers."""
    try:
        document = json.loads((directory / STATE_FILE).read_text("utf-8"))
        if document["format"] != FORMAT:
            raise _unreadable(directory, f"it has format {document['format']}, and this version reads {FORMAT}")
        numbers = document["optimizer_numbers"]
        state = _STATE.validate_python({key: document[key] for key in TrainingState.__slots__ if key in document})
        Tracker(best_after=0, patience=0).restore(state.tracking)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise _unreadable(directory, f"{STATE_FILE}: {where}: {problem['msg']}") from error
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise _unreadable(directory, f"{STATE_FILE}: {type(error).__name__}: {error}") from error
    if state.position.step != checkpoint_step(directory):
        raise _unreadable(directory, f"{STATE_FILE} is that of step {state.position.step}")
    return state, numbers


def restore(
    directory: Path,
    transformer: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    optimizer_numbers: dict[str, Any],
) -> int:
    """Load adapter and optimizer, every tensor accounted for; returns how many adapter tensors there were."""
    try:
        _, tensors = adapters.read_adapter(directory)
        count = adapters.load_state_dict(transformer, tensors, adapters.weights_file(directory))
    except AdapterError as error:
        raise _unreadable(directory, f"{error.title} {error.message}".rstrip(". ")) from error
    try:
        state = load_file(directory / OPTIMIZER_FILE)
    except (OSError, SafetensorError) as error:
        raise _unreadable(directory, str(error)) from error
    optimizers.restore_state(optimizer, adapters.trainable(transformer), state, optimizer_numbers)
    return count


def prune(run_dir: RunDir, keep_last: int) -> list[Path]:
    """Delete all but the `keep_last` newest checkpoints (0 keeps all); returns what is gone.

    Each leaves its name first, so that no reader meets a half-deleted one.
    """
    if keep_last < 1:
        return []
    doomed = run_dir.published_checkpoints()[:-keep_last]
    for path in doomed:
        hidden = path.with_name(f".{path.name}.deleted")
        path.rename(hidden)
        shutil.rmtree(hidden, ignore_errors=True)
    return doomed


def clean(run_dir: RunDir) -> None:
    """Remove what a killed session left half-written or half-deleted."""
    if run_dir.checkpoints.is_dir():
        for path in run_dir.checkpoints.iterdir():
            if path.name.startswith(".step_") and path.suffix in (".tmp", ".deleted"):
                shutil.rmtree(path, ignore_errors=True)


def size(directory: Path) -> int:
    """Bytes on disk."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def _unreadable(directory: Path, why: str) -> RunError:
    return RunError(
        "The checkpoint cannot be read.",
        f"{directory}: {why}.",
        "Delete it to resume from the one before, or start a new run.",
    )
