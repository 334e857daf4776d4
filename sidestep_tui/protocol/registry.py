"""The runs this user knows: those started here, and those found in the folders asked about."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sidestep_tui.core import atomic, paths
from sidestep_tui.core.errors import RunError
from sidestep_tui.protocol import snapshot
from sidestep_tui.protocol.journal import last_events
from sidestep_tui.protocol.liveness import Liveness, liveness
from sidestep_tui.protocol.lock import exclusive
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.protocol.state import RunState
from sidestep_tui.protocol.tail import Tail

_MOST = 500
"""How many runs are remembered; the oldest are forgotten first (their files stay)."""


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One line of the list of runs."""

    path: Path
    name: str
    status: str
    """The reducer's status, or `died` for a run whose engine vanished."""
    liveness: Liveness
    step: int
    total_steps: int
    epoch: int
    epochs: int
    loss: float | None
    """The newest loss, the smoothed one where known; NaN when it diverged."""
    best_loss: float | None
    started: float | None
    """When its first session began, in unix seconds."""
    ended: float | None
    """When its last session ended, or was last heard of; None while it lives."""
    reason: str
    """Why it ended; empty while it lives and after a death."""

    @property
    def is_alive(self) -> bool:
        """Whether an engine holds it now."""
        return self.liveness.is_alive


def register(run_dir: RunDir) -> None:
    """Remember a run, so that it is listed from anywhere. Safe against other processes doing the same."""
    store = _store()
    with exclusive(store.with_suffix(".lock")):
        known = [path for path in _remembered(store) if path != run_dir.path.resolve() and path.is_dir()]
        known.append(run_dir.path.resolve())
        atomic.write_json(store, {"version": 1, "runs": [str(path) for path in known[-_MOST:]]})


def forget(run_dir: RunDir) -> None:
    """Leave a run out of the list; its files stay."""
    store = _store()
    with exclusive(store.with_suffix(".lock")):
        known = [path for path in _remembered(store) if path != run_dir.path.resolve()]
        atomic.write_json(store, {"version": 1, "runs": [str(path) for path in known]})


def run_paths(folders: Iterable[Path] = ()) -> list[Path]:
    """Every run directory that is remembered, is one of `folders`, or lies directly inside one."""
    found: dict[Path, None] = dict.fromkeys(_remembered(_store()))
    for folder in folders:
        home = Path(folder).resolve()
        if not home.is_dir():
            continue
        candidates = [home, *sorted(entry for entry in home.iterdir() if entry.is_dir())]
        found.update(dict.fromkeys(candidates))
    return [path for path in found if is_run(path)]


def is_run(path: Path) -> bool:
    """Whether a run lives in `path`."""
    return (path / "events.jsonl").is_file() or ((path / "run.toml").is_file() and (path / "inbox").is_dir())


def known_runs(folders: Iterable[Path] = (), *, now: float | None = None) -> list[RunSummary]:
    """Every known run, living ones first, then the newest first. Directories that are gone are left out."""
    moment = time.time() if now is None else now
    runs = []
    for path in run_paths(folders):
        try:
            runs.append(summarise(RunDir(path), now=moment))
        except OSError:
            continue  # It vanished, or a network home is away; the list shows what is there.
    return sorted(runs, key=lambda run: (not run.is_alive, -(run.started or 0.0), run.name))


def find_run(name_or_path: str, folders: Iterable[Path] = ()) -> RunDir:
    """The run of that path, or else of that name among the known ones; raises RunError if there is none or several."""
    if Path(name_or_path).exists():
        return RunDir.open(name_or_path)
    matches = [path for path in run_paths(folders) if path.name == name_or_path]
    if len(matches) == 1:
        return RunDir(matches[0])
    if matches:
        raise RunError(
            f"Several runs are named {name_or_path}.",
            ", ".join(str(path) for path in matches),
            "Give the directory instead of the name.",
        )
    raise RunError(
        f"There is no run named {name_or_path}.",
        "It is neither a directory nor the name of a known run.",
        "List the known runs with `sidestep-tui runs`.",
    )


def summarise(run_dir: RunDir, *, now: float) -> RunSummary:
    """One run at a glance: the snapshot, and what the journal said since. Cheap whatever the journal's size."""
    life = liveness(run_dir, now)
    state = glance(run_dir)
    loss = state.metrics.get("smoothed", state.metrics.get("loss"))
    newest = state.metrics.get("loss")
    if newest is not None and not math.isfinite(newest):
        loss = newest
    return RunSummary(
        path=run_dir.path,
        name=run_dir.name,
        status="died" if life is Liveness.DIED else state.status,
        liveness=life,
        step=state.step,
        total_steps=state.total_steps,
        epoch=state.epoch,
        epochs=state.epochs,
        loss=loss,
        best_loss=state.best.loss if state.best else None,
        started=state.started,
        ended=None if life.is_alive else state.ended.t if state.ended else state.last_t,
        reason=state.ended.reason if state.ended and life is Liveness.ENDED else "",
    )


def glance(run_dir: RunDir) -> RunState:
    """The state of a run without its curves, read from the snapshot and the end of the journal.

    A snapshot that knows more than the journal holds outlived a power cut that the journal's end did not: its numbers
    would hide every event that follows, so the journal alone counts.
    """
    picture = snapshot.read(run_dir)
    if picture is not None and snapshot.is_covered(picture, run_dir):
        try:
            state = snapshot.restore(picture)
        except ValueError:
            picture = None
        else:
            state.apply_all(last_events(run_dir.events))
            return state
    state = RunState(history=False)
    tail = Tail(run_dir.events)
    while events := tail.read():
        state.apply_all(events)
    return state


def _store() -> Path:
    return paths.state_dir() / "runs.json"


def _remembered(store: Path) -> list[Path]:
    try:
        value = json.loads(store.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    runs = value.get("runs") if isinstance(value, dict) else None
    return [Path(item) for item in runs if isinstance(item, str)] if isinstance(runs, list) else []
