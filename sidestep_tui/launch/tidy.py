"""Freeing disk: which checkpoints, leftovers and caches nothing needs any more. Plans first; deleting asks elsewhere.

Of a run's checkpoints stay the newest, the newest one that is sound, the best, those that a person asked for, renamed
or put something into, and those that another run or draft begins with. A run that is alive is left alone.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from sidestep_tui.core import paths, text
from sidestep_tui.core.errors import ModelError, RunError
from sidestep_tui.dataset import archives
from sidestep_tui.launch import removal, tensorfile
from sidestep_tui.launch.ledger import Ledger, LedgerRow, size_of
from sidestep_tui.launch.offspring import facts_of_draft
from sidestep_tui.protocol.rundir import RunDir, checkpoint_step
from sidestep_tui.schema import drafts

Kind = Literal["checkpoint", "leftover", "unpacked", "encoded"]

ENCODED: Final = "encoded"
"""The word that stands for the cache of encoded songs, and its folder's name."""
_DAY: Final = 86400.0


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that could go."""

    kind: Kind
    path: Path
    bytes: int
    why: str


@dataclass(frozen=True, slots=True)
class Kept:
    """A checkpoint that stays, and why."""

    path: Path
    why: str


@dataclass(frozen=True, slots=True)
class TidyPlan:
    """What could go, and what is spared."""

    items: tuple[Item, ...] = ()
    kept: tuple[Kept, ...] = ()

    @property
    def bytes(self) -> int:
        """What would be free afterwards."""
        return sum(item.bytes for item in self.items)


@dataclass(frozen=True, slots=True)
class References:
    """What known runs and drafts refer to."""

    datasets: frozenset[str] = frozenset()
    starts: frozenset[str] = frozenset()


def references(rows: Iterable[LedgerRow]) -> References:
    """The songs and the adapters that any known run or draft names; those of runs whose disk is away too."""
    datasets = {row.facts.dataset_path for row in rows}
    starts = {row.facts.start_from for row in rows}
    for summary in drafts.list_drafts():
        facts = facts_of_draft(summary.path)
        datasets.add(facts.dataset_path)
        starts.add(facts.start_from)
    return References(frozenset(map(_resolved, datasets - {""})), frozenset(map(_resolved, starts - {""})))


def _resolved(place: str) -> str:
    return str(paths.expand(place).resolve())


# Runs


def of_run(run_dir: RunDir, known: References) -> TidyPlan:
    """What could go of one run; RunError if it is alive or no run of ours."""
    removal.refuse(run_dir)
    published = [path for path in run_dir.published_checkpoints() if not path.is_symlink()]
    why = _reasons(published, known)
    items = [
        Item("checkpoint", path, size_of(path), "superseded by later ones") for path in published if path not in why
    ]
    for path in _leftovers(run_dir):
        size = size_of(path) if path.is_dir() else path.lstat().st_size
        items.append(Item("leftover", path, size, "left half written"))
    return TidyPlan(tuple(items), tuple(Kept(path, why[path]) for path in published if path in why))


def _reasons(published: list[Path], known: References) -> dict[Path, str]:
    """Why checkpoints stay; the first reason counts."""
    states = {path: _state(path) for path in published}
    why: dict[Path, str] = {}
    if published:
        why[published[-1]] = "the newest, from which a resume goes on"
    sound = [path for path in published if _is_sound(path, states[path])]
    if sound:
        why.setdefault(sound[-1], "the newest one that is sound")
    scored = [(score, path) for path in published if (score := _score(states[path])) is not None]
    if scored:
        why.setdefault(min(scored, key=lambda pair: (pair[0], checkpoint_step(pair[1])))[1], "the best")
    for path in published:
        if (path / removal.KEEP_FILE).exists():
            why.setdefault(path, "asked for")
        elif not removal.is_plain_checkpoint(path):
            why.setdefault(path, "holds files of yours")
        elif any(start == str(path.resolve()) or start.startswith(f"{path.resolve()}/") for start in known.starts):
            why.setdefault(path, "another run begins with it")
    return why


def _state(path: Path) -> dict[str, Any]:
    try:
        value = json.loads((path / "training_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _score(state: dict[str, Any]) -> float | None:
    score = state.get("score")
    return float(score) if isinstance(score, (int, float)) and math.isfinite(score) else None


def _is_sound(path: Path, state: dict[str, Any]) -> bool:
    """Whether a resume could go on from it, as far as headers tell, and no step before it lacked a finite loss."""
    if not state or state.get("skipped_in_a_row"):
        return False
    try:
        tensorfile.read_header(path / "optimizer_state.safetensors")
    except (ModelError, OSError):
        return False
    return True


def _leftovers(run_dir: RunDir) -> list[Path]:
    """What killed sessions left half written or half deleted."""
    found = []
    for folder in (run_dir.path, run_dir.checkpoints, run_dir.adapter, run_dir.inbox):
        if folder.is_dir() and not folder.is_symlink():
            found += [entry for entry in sorted(folder.iterdir()) if removal.is_leftover(entry)]
    return found


# Caches


def of_caches(rows: Collection[LedgerRow], known: References, *, now: float) -> TidyPlan:
    """Unpacked ZIPs that no run and no draft refers to."""
    base = paths.cache_place() / "unpacked"
    items = []
    for folder in sorted(base.iterdir()) if base.is_dir() else []:
        if folder.is_symlink() or not folder.is_dir() or folder.name.startswith("."):
            continue
        archive = archives.is_unpacked(folder)
        named = {str(folder.resolve()), str(archive.resolve()) if archive else ""}
        used = any(place in named or place.startswith(f"{folder.resolve()}/") for place in known.datasets)
        if not used and now - folder.stat().st_mtime > _DAY:
            why = f"unpacked from {archive.name if archive and archive != folder else 'a ZIP'}, which no run refers to"
            items.append(Item("unpacked", folder, size_of(folder), why))
    return TidyPlan(tuple(items))


def of_encoded(rows: Iterable[LedgerRow]) -> TidyPlan:
    """The whole cache of encoded songs; RunError while a run that may read it is alive."""
    alive = [row.name for row in rows if row.is_alive]
    if alive:
        who = text.listing(alive)
        raise RunError("Encoded songs are in use.", f"{who} may be reading them.", "Wait until it is over.")
    folder = paths.cache_place() / ENCODED
    if folder.is_symlink() or not folder.is_dir():
        return TidyPlan()
    size = size_of(folder)
    return TidyPlan((Item("encoded", folder, size, "made again by the next run of each song"),) if size else ())


# Doing it


def carry_out(plan: TidyPlan) -> int:
    """Delete what a plan lists, looking at each again; returns the bytes that are free now.

    Raises RunError for a run that has come to life, OSError where a file cannot be deleted.
    """
    freed = 0
    for item in plan.items:
        if item.kind == "checkpoint":
            removal.refuse(RunDir(item.path.parent.parent))
            freed += removal.delete_checkpoint(item.path)
        elif item.kind == "leftover":
            freed += removal.delete_leftover(item.path)
        else:
            freed += removal.delete_tree(item.path)
    return freed


def everything(ledger: Ledger, folders: Iterable[Path]) -> tuple[list[LedgerRow], References]:
    """All known runs and what they and the drafts refer to."""
    rows = ledger.look(folders, now=time.time())
    return rows, references(rows)
