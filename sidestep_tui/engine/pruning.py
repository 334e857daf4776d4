"""Which checkpoints may go: only those that this run saved by itself, that load, and that nothing depends on.

What is never deleted: the checkpoint that a resume would use; the newest one that loads and was not saved among steps
without a finite loss, nor soon after trouble, which is where the watchdog goes back to; one that was asked for; one
that does not load, or was made by another run, or holds a file that saving does not write; a directory of another name.
The best ones by their score stay where `keep_best` asks for them.
"""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from sidestep_tui.core import atomic
from sidestep_tui.core.errors import RunError
from sidestep_tui.engine import adapters, checkpoint, export
from sidestep_tui.engine.checkpoint import TrainingState
from sidestep_tui.engine.export import Provenance
from sidestep_tui.engine.tracking import in_trouble, saved_by
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.schema.output import OutputSettings

KEEP_FILE = "KEEP.txt"
"""In a checkpoint that was asked for. Like any file that saving does not write, it keeps the directory."""
_KEEP_TEXT = "This checkpoint was asked for, so that it stays. Delete this file to let it go like the others.\n"

_WRITTEN = frozenset(
    {
        checkpoint.STATE_FILE,
        checkpoint.OPTIMIZER_FILE,
        adapters.WEIGHTS_FILE,
        adapters.CONFIG_FILE,
        *adapters.LYCORIS_FILES.values(),
        *(f"{name}.json" for name in adapters.LYCORIS_CONFIGS.values()),
        f"{export.DIFFUSERS_DIR}/{export.DIFFUSERS_FILE}",
    }
)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A checkpoint that loads."""

    path: Path
    state: TrainingState

    @property
    def by(self) -> str:
        """Which loss the score is: losses of training and of held-out songs cannot be compared."""
        return saved_by(self.state.tracking)

    @property
    def rank(self) -> tuple[float, int]:
        """Lower is better; of equal ones the first, which is nearest to the epoch that was measured."""
        score = self.state.score
        return (math.inf if score is None else score, self.state.position.step)


def keep(directory: Path) -> None:
    """Mark a published checkpoint as asked for."""
    if not (directory / KEEP_FILE).exists():
        atomic.write_text(directory / KEEP_FILE, _KEEP_TEXT)


def prune(run_dir: RunDir, output: OutputSettings, provenance: Provenance) -> list[Path]:
    """Delete what `superseded` finds; returns what is gone.

    Each leaves its name first, so that no reader meets a half-deleted one.
    """
    doomed = superseded(run_dir, output, provenance)
    for path in doomed:
        hidden = path.with_name(f".{path.name}.deleted")
        path.rename(hidden)
        shutil.rmtree(hidden, ignore_errors=True)
    return doomed


def superseded(run_dir: RunDir, output: OutputSettings, provenance: Provenance) -> list[Path]:
    """The checkpoints that may go, oldest first; none where `keep_last` is 0.

    `provenance` says which run asks.
    """
    if output.keep_last < 1:
        return []
    published = run_dir.published_checkpoints()
    entries = [entry for path in published if (entry := _read(path)) is not None]
    scored = [entry for entry in entries if entry.state.score is not None and entry.by == entries[-1].by]
    clean = [entry for entry in entries if not entry.state.skipped_in_a_row]
    calm = [entry for entry in clean if not in_trouble(entry.state.tracking, entry.state.position.step)]
    kept = {
        *published[-1:],
        *(entry.path for entry in entries[-output.keep_last :]),
        *(entry.path for entry in (*clean[-1:], *calm[-1:])),
        *(entry.path for entry in sorted(scored, key=lambda entry: entry.rank)[: output.keep_best]),
    }
    by_itself = [entry for entry in entries if entry.path == run_dir.checkpoint_path(entry.state.position.step)]
    return [entry.path for entry in by_itself if entry.path not in kept and _is_ours(entry.path, provenance)]


def _read(path: Path) -> _Entry | None:
    """What a checkpoint says about itself; None if it cannot be resumed from."""
    try:
        state, _ = checkpoint.read(path)
        for file in (adapters.weights_file(path), path / checkpoint.OPTIMIZER_FILE):
            # Reads the header and holds it against the file's length.
            with safe_open(file, framework="pt") as handle:
                handle.keys()
    except (RunError, OSError, SafetensorError):
        return None
    return _Entry(path, state)


def _is_ours(path: Path, provenance: Provenance) -> bool:
    """Whether this run saved all that is in there, unasked."""
    if path.is_symlink() or not provenance.is_of_run(export.read_provenance(path)):
        return False
    inside = {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_symlink() or not file.is_dir()}
    return inside <= _WRITTEN
