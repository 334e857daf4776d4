"""The runs this user knows: those started here, and those found in the folders asked about."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from sidestep_tui.core import atomic, paths
from sidestep_tui.core.errors import RunError
from sidestep_tui.protocol import snapshot
from sidestep_tui.protocol.journal import last_events
from sidestep_tui.protocol.liveness import Liveness, liveness
from sidestep_tui.protocol.lock import exclusive, is_held
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.protocol.state import RunState
from sidestep_tui.protocol.tail import Tail

_MOST = 2000
"""How many runs are remembered; the oldest are forgotten first (their files stay)."""
_MOST_FOLDERS = 50
"""How many folders of runs are remembered."""


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
    best_by: str = "training"
    """Whose loss `best_loss` is: `training` or `held_out`."""
    best_step: int | None = None
    sessions: int = 0
    """How often an engine began here."""

    @property
    def is_alive(self) -> bool:
        """Whether an engine holds it now."""
        return self.liveness.is_alive


@dataclass(frozen=True, slots=True)
class Known:
    """What is remembered between sessions: runs, oldest first, and folders that hold runs."""

    runs: tuple[Path, ...] = ()
    folders: tuple[Path, ...] = ()
    devices: Mapping[str, int] = field(default_factory=dict)
    """On which device each run lay when it was last seen."""


def register(run_dir: RunDir) -> None:
    """Remember a run, so that it is listed from anywhere. Safe against other processes doing the same."""
    with _changing() as (store, known):
        own = run_dir.path.resolve()
        kept = [path for path in known.runs if path != own and (path.is_dir() or is_away(path, device_of(path, known)))]
        _write(store, replace(known, runs=(*kept, own)[-_MOST:]))


def forget(run_dir: RunDir) -> None:
    """Leave a run out of the list; its files stay."""
    with _changing() as (store, known):
        gone = {run_dir.path, run_dir.path.resolve()}
        _write(store, replace(known, runs=tuple(path for path in known.runs if path not in gone)))


def remember_folder(folder: Path) -> None:
    """List the runs of a folder from now on, those that it will receive later too."""
    with _changing() as (store, known):
        own = folder.resolve()
        kept = [path for path in known.folders if path != own]
        _write(store, replace(known, folders=(*kept, own)[-_MOST_FOLDERS:]))


def forget_folder(folder: Path) -> None:
    """List only those runs of a folder that were started here."""
    with _changing() as (store, known):
        _write(store, replace(known, folders=tuple(path for path in known.folders if path != folder.resolve())))


def known() -> Known:
    """What is remembered, whether it can be reached or not."""
    return _remembered(_store())


def is_away(path: Path, device: int | None) -> bool:
    """Whether a run's directory may come back: it is not there, and neither is the device on which it was last seen.

    Where the device is not known, a run counts as deleted if anything is left in the folders that it lay in.
    """
    if path.is_dir():
        return False
    nearest = paths.existing_ancestor(path)
    try:
        return not any(nearest.iterdir()) if device is None else nearest.stat().st_dev != device
    except OSError:
        return True


def device_of(path: Path, listed: Known | None = None) -> int | None:
    """The device of a run's directory, or the one where it lay when it was last seen."""
    try:
        return path.stat().st_dev
    except OSError:
        return (listed or known()).devices.get(str(path))


def run_paths(folders: Iterable[Path] = ()) -> list[Path]:
    """Every run directory that is remembered, is one of `folders` or of the remembered ones, or lies inside one."""
    remembered = known()
    found: dict[Path, None] = dict.fromkeys(remembered.runs)
    for folder in (*remembered.folders, *folders):
        found.update(dict.fromkeys(_candidates(Path(folder).resolve())))
    return [path for path in found if is_run(path)]


def runs_in(folder: Path) -> list[Path]:
    """The runs in a folder: itself, if it is one, and those that lie directly inside."""
    return [path for path in _candidates(folder.resolve()) if is_run(path)]


def _candidates(home: Path) -> list[Path]:
    try:
        return [home, *sorted(entry for entry in home.iterdir() if entry.is_dir())]
    except OSError:
        return []


def living() -> list[Path]:
    """The remembered runs that an engine holds now, the newest first. Much cheaper than `known_runs`: locks only."""
    return [path for path in reversed(known().runs) if is_held(RunDir(path))]


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
        best_by=state.best.by if state.best else "training",
        best_step=state.best.step if state.best else None,
        sessions=state.sessions,
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


@contextmanager
def _changing() -> Iterator[tuple[Path, Known]]:
    """The list, for a change that no other process can interrupt."""
    store = _store()
    with exclusive(store.with_suffix(".lock")):
        yield store, _remembered(store)


def _write(store: Path, known: Known) -> None:
    devices = {str(path): device for path in known.runs if (device := device_of(path, known)) is not None}
    listed = {"runs": [str(path) for path in known.runs], "folders": [str(path) for path in known.folders]}
    atomic.write_json(store, {"version": 1, **listed, "devices": devices})


def _remembered(store: Path) -> Known:
    try:
        value = json.loads(store.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return Known()
    stored = value.get("devices") if isinstance(value, dict) else None
    devices = {path: device for path, device in stored.items() if type(device) is int} if type(stored) is dict else {}
    return Known(_paths(value, "runs"), _paths(value, "folders"), devices)


def _paths(value: object, key: str) -> tuple[Path, ...]:
    listed = value.get(key) if isinstance(value, dict) else None
    return tuple(Path(item) for item in listed if isinstance(item, str)) if isinstance(listed, list) else ()
