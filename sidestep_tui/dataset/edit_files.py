"""Writing what was planned, and taking it back: file by file, so that one that resists holds up no other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sidestep_tui.core.errors import DiskFullError
from sidestep_tui.dataset import rewriting
from sidestep_tui.dataset.edit_plan import FileChange, WrittenFile


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
    for change in changes:
        swap = Swap(change.path, change.origin, change.before, change.after, change.mode, change.keeps_backup)
        try:
            backup = _turn(swap)
        except (OSError, rewriting.RefusedError, DiskFullError) as error:
            failed[change.origin] = f"{change.origin} {_reason(error)}."
            continue
        written.append(WrittenFile(change.origin, backup, change.is_new))
        swaps.append(swap)
    return written, swaps, failed


def take_back(swaps: Iterable[Swap]) -> tuple[list[Swap], list[str]]:
    """Give files their former contents, unless they have changed since; what a save created goes again.

    Returns what would undo that, and a sentence for each file that stays as it is.
    """
    turned: list[Swap] = []
    problems: list[str] = []
    for swap in swaps:
        back = Swap(swap.path, swap.origin, swap.after, swap.before, swap.mode, swap.keeps_backup)
        try:
            _turn(back)
        except (OSError, rewriting.RefusedError, DiskFullError) as error:
            problems.append(f"{swap.origin} {_reason(error)} and stays as it is.")
            continue
        turned.append(back)
    return turned, problems


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


def _reason(error: Exception) -> str:
    return "cannot be written (the disk is full)" if isinstance(error, DiskFullError) else rewriting.reason(error)
