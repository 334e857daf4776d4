"""Checkpoints: a usable adapter and everything needed to continue exactly, published by rename, without pickle.

The random state is not stored because there is none: every draw is seeded by seed, epoch and place.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
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
from sidestep_tui.engine.rungs import Relief
from sidestep_tui.engine.scaling import Scale
from sidestep_tui.engine.tracking import Tracker
from sidestep_tui.engine.writer import write_tensors
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
    score: float | None = None
    """The loss that decides the best adapter, as it was when this was saved; None where it decides nothing yet."""
    watchdog: Watch = field(default_factory=Watch)
    loss_scale: Scale | None = None
    """Of a float16 run."""
    processes: PositiveInt = 1
    """How many trained together."""
    relief: Relief = field(default_factory=Relief)


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


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A checkpoint in host memory: training may go on while it is written."""

    step: int
    adapter: export.Contents
    optimizer: dict[str, torch.Tensor]
    document: str
    """The text of training_state.json."""
    provenance: export.Provenance

    @property
    def bytes(self) -> int:
        """What its tensors take."""
        tensors = (*self.adapter.tensors.values(), *self.optimizer.values())
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def snapshot(
    transformer: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    state: TrainingState,
    settings: Settings,
    provenance: export.Provenance,
) -> Snapshot:
    """Copy all that a checkpoint of this step holds; raises DivergedError if a weight is not finite."""
    tensors, numbers = optimizers.state_tensors(optimizer, adapters.trainable(transformer))
    with optimizers.published_weights(optimizer):
        adapter = export.contents(transformer, settings.adapter)
    entries = Counter(key.rpartition("|")[2] for key in tensors)
    counts = {"adapter": len(adapter.tensors), "optimizer": dict(sorted(entries.items()))}
    document = {"format": FORMAT, **asdict(state), "optimizer_numbers": numbers, "tensors": counts}
    text = json.dumps(document, indent=2, allow_nan=False) + "\n"
    return Snapshot(state.position.step, adapter, tensors, text, provenance)


def write(run_dir: RunDir, taken: Snapshot) -> Path:
    """Publish a checkpoint; one of its step that already exists is left as it is."""
    target = run_dir.checkpoint_path(taken.step)
    if target.exists():
        return target
    with atomic.publish_dir(target) as directory:
        export.write_contents(directory, taken.adapter, taken.provenance)
        write_tensors(directory / OPTIMIZER_FILE, taken.optimizer)
        (directory / STATE_FILE).write_text(taken.document, "utf-8")
    return target


def save(
    run_dir: RunDir,
    transformer: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    state: TrainingState,
    settings: Settings,
    provenance: export.Provenance,
) -> Path:
    """Publish the checkpoint of this step; one that already exists is left as it is."""
    return write(run_dir, snapshot(transformer, optimizer, state, settings, provenance))


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


@dataclass(frozen=True, slots=True)
class Loaded:
    """How many tensors of a checkpoint found their place: all that it holds."""

    adapter: int = 0
    optimizer: int = 0

    def __str__(self) -> str:
        return f"{self.adapter}/{self.adapter} adapter tensors and {self.optimizer}/{self.optimizer} of the optimizer"


def restore(
    directory: Path,
    transformer: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    optimizer_numbers: dict[str, Any],
) -> Loaded:
    """Load adapter and optimizer, every tensor accounted for; RunError names the file and the first key that is not."""
    try:
        _, tensors = adapters.read_adapter(directory)
        count = adapters.load_state_dict(transformer, tensors, adapters.weights_file(directory))
    except AdapterError as error:
        raise _unreadable(directory, f"{error.title} {error.message}".rstrip(". ")) from error
    file = directory / OPTIMIZER_FILE
    try:
        state = load_file(file)
    except (OSError, SafetensorError) as error:
        raise _unreadable(directory, f"{file.name}: {error}") from error
    known = adapters.trainable(transformer)
    if problem := optimizers.misfit(known, state, optimizer_numbers, _saved_entries(directory)):
        raise _unreadable(directory, f"{file.name}: {problem}")
    optimizers.restore_state(optimizer, known, state, optimizer_numbers)
    return Loaded(count, len(state))


def _saved_entries(directory: Path) -> dict[str, int] | None:
    """How many tensors of each kind the optimizer had when it was saved; None in checkpoints that do not say."""
    document = json.loads((directory / STATE_FILE).read_text("utf-8"))
    counts: dict[str, int] | None = document.get("tensors", {}).get("optimizer")
    return counts


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
