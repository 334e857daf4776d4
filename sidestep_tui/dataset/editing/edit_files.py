"""Writing what was planned, and taking it back: file by file, so that one that resists holds up no other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sidestep_tui.core.errors import DiskFullError
from sidestep_tui.dataset.editing import rewriting
from sidestep_tui.dataset.editing.edit_plan import FileChange, WrittenFile

_MANY: Final = 32
_AT_ONCE: Final = 4


@dataclass(frozen=True, slots=True)
class Swap:
    """A file that was written: what it held and holds; None where it was or is not there."""

    path: Path
    origin: str
    before: bytes | None
    after: bytes | None
    mode: int
    keeps_backup: bool


def write(changes: Iterable[FileChange]) -> tuple[list[WrittenFile], list[Swap], dict[str, str]]:
    """Write files; returns what was written, how to take it back, and by file why it could not be."""
    written: list[WrittenFile] = []
    swaps: list[Swap] = []
    failed: dict[str, str] = {}
    wanted = [
        Swap(change.path, change.origin, change.before, change.after, change.mode, change.keeps_backup)
        for change in changes
    ]
    for swap, (backup, problem) in zip(wanted, _turn_all(wanted), strict=True):
        if problem:
            failed[swap.origin] = f"{swap.origin} {problem}."
            continue
        written.append(WrittenFile(swap.origin, backup, is_new=swap.before is None))
        swaps.append(swap)
    return written, swaps, failed


def take_back(swaps: Iterable[Swap]) -> tuple[list[Swap], list[str]]:
    """Give files their former contents, unless they have changed since; what a save created goes again.

    Returns what would undo that, and a sentence for each file that stays as it is.
    """
    turned: list[Swap] = []
    problems: list[str] = []
    wanted = [Swap(swap.path, swap.origin, swap.after, swap.before, swap.mode, swap.keeps_backup) for swap in swaps]
    for back, (_, problem) in zip(wanted, _turn_all(wanted), strict=True):
        if problem:
            problems.append(f"{back.origin} {problem} and stays as it is.")
        else:
            turned.append(back)
    return turned, problems


def _turn_all(swaps: Sequence[Swap]) -> list[tuple[str, str]]:
    """Backup and problem of each; several at a time where there are many, since a disk confirms them together."""
    if len(swaps) < _MANY:
        return [_tried(swap) for swap in swaps]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(_tried, swaps))


def _tried(swap: Swap) -> tuple[str, str]:
    try:
        return _turn(swap), ""
    except (OSError, rewriting.RefusedError) as error:
        return "", rewriting.reason(error)
    except DiskFullError:
        return "", "cannot be written (the disk is full)"


def _turn(swap: Swap) -> str:
    """Make a file hold `after` instead of `before`; returns the name of the backup."""
    if swap.before is None:
        assert swap.after is not None
        rewriting.create(swap.path, swap.after, swap.mode)
        return ""
    if swap.after is None:
        rewriting.remove(swap.path, swap.before)
        return ""
    return rewriting.overwrite(swap.path, swap.before, swap.after, swap.mode, keep_backup=swap.keeps_backup)
