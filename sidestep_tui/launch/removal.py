"""Deleting what runs left on disk: only files that we write, never through links, never while an engine holds the run.

A file that we do not know stays where it is, with the folders it lies in, and is named.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sidestep_tui.core import paths, text
from sidestep_tui.core.errors import RunError
from sidestep_tui.protocol import registry
from sidestep_tui.protocol.lock import is_held, read_holder
from sidestep_tui.protocol.rundir import RunDir

_ADAPTER: Final = (
    r"(?:adapter_model\.safetensors|adapter_config\.json|(?:lokr|loha|oft)_(?:weights\.safetensors|config\.json)"
    r"|diffusers/pytorch_lora_weights\.safetensors)"
)
_STEP: Final = r"step_\d+"
_HALF: Final = r"\.(?:[^/]+\.(?:json|toml|txt|log|md)|step_\d+|final|best)(?:\.[^/]+)?\.(?:tmp|deleted)"
"""What a killed process left half written, or half deleted."""
_CHECKPOINT: Final = rf"(?:{_ADAPTER}|training_state\.json|optimizer_state\.safetensors|KEEP\.txt|fake_state\.json)"
_EXPORT: Final = rf"(?:{_ADAPTER}|README\.md|comfyui/[^/]+\.safetensors)"
_RUN: Final = re.compile(
    rf"""run\.toml|run\.lock|events\.jsonl|state\.json|engine\.log|engine\.rank\d+\.log|\.reserve
    |(?:engine-)?traceback(?:-[\d-]+)?\.txt
    |{_HALF}
    |inbox/(?:[^/]+\.json|{_HALF})
    |samples/(?:[^/]+\.(?:wav|flac|json|txt)|{_HALF})
    |checkpoints/(?:{_STEP}|{_HALF})/{_CHECKPOINT}
    |adapter/(?:final|best|{_HALF})/{_EXPORT}""",
    re.VERBOSE,
)
KEEP_FILE: Final = "KEEP.txt"
"""In a checkpoint that a person asked for."""
_CHECKPOINT_FILE: Final = re.compile(_CHECKPOINT)
_WEIGHTS: Final = frozenset(
    {"adapter_model.safetensors", *(f"{kind}_weights.safetensors" for kind in ("lokr", "loha", "oft"))}
)
_LEFTOVER: Final = re.compile(_HALF)
_INSIDE: Final = re.compile(rf"{_CHECKPOINT}|{_EXPORT}|{_HALF}")
_LAST: Final = ("events.jsonl", "run.toml", "run.lock")
"""What goes last: as long as these are there, what is left is still a run that can be looked at and deleted again."""


@dataclass(frozen=True, slots=True)
class Removal:
    """What deleting a run would take away, and what would stay."""

    run_dir: RunDir
    files: tuple[Path, ...]
    bytes: int
    strangers: tuple[str, ...]
    """Files and links that are not ours, relative to the run."""

    @property
    def sentence(self) -> str:
        """What goes and what stays."""
        inside = {path.parent for path in self.files if path.name in _WEIGHTS}
        checkpoints = sum(1 for folder in inside if folder.parent == self.run_dir.checkpoints)
        adapters = sum(1 for folder in inside if folder.parent == self.run_dir.adapter)
        held = text.listing(
            [
                "the settings",
                "the journal",
                *([text.plural(checkpoints, "checkpoint")] if checkpoints else []),
                *([text.plural(adapters, "adapter")] if adapters else []),
            ]
        )
        goes = f"{text.plural(len(self.files), 'file')} ({text.file_size(self.bytes)}) go for good: {held}."
        if not self.strangers:
            return goes
        return f"{goes} Not ours, and left in place: {text.listing(self.strangers)}."


def plan(run_dir: RunDir) -> Removal:
    """What deleting a run would do; RunError where it must not be deleted. Nothing is changed."""
    refuse(run_dir)
    files: list[Path] = []
    strangers: list[str] = []
    size = 0
    for path, is_plain in _contents(run_dir.path):
        name = path.relative_to(run_dir.path).as_posix()
        if is_plain and _RUN.fullmatch(name):
            files.append(path)
            size += path.lstat().st_size
        else:
            strangers.append(name)
    return Removal(run_dir, tuple(files), size, tuple(sorted(strangers)))


def refuse(run_dir: RunDir) -> None:
    """RunError unless this is a run of ours that nothing holds, reached by its own name and not by a link."""
    path = run_dir.path
    if path.is_symlink():
        raise RunError(
            f"{path.name} is a link.",
            f"It points to {paths.shorten(path.resolve())}; nothing is deleted through links.",
            "Delete the run where it lies, then the link.",
        )
    if is_held(run_dir):
        holder = read_holder(run_dir)
        who = f" by process {holder.pid} on {holder.host}" if holder else ""
        raise RunError(f"{path.name} is alive.", f"An engine holds it{who}.", "Stop it first.")
    if run_dir.run_toml.is_symlink() or not _is_run_file(run_dir.run_toml):
        raise RunError(
            f"{path.name} cannot be told to be a run.",
            f"{paths.shorten(run_dir.run_toml)} is missing, or was not written by sidestep-tui.",
            "Delete the folder by other means if it is yours.",
        )


def delete(removal: Removal) -> tuple[str, ...]:
    """Delete a run as planned and forget it; returns what stays, relative to the run.

    Looks again before anything goes: what has come since the plan was made stays. Raises RunError if the run has come
    to life, OSError where a file cannot be deleted.
    """
    run_dir = removal.run_dir
    again = plan(run_dir)
    wanted = set(removal.files)
    doomed = [path for path in again.files if path in wanted]
    doomed.sort(key=lambda path: path.parent == run_dir.path and path.name in _LAST)
    for path in doomed:
        path.unlink(missing_ok=True)
    _drop_empty(run_dir.path)
    registry.forget(run_dir)
    if not run_dir.path.exists():
        return ()
    return tuple(sorted(path.relative_to(run_dir.path).as_posix() for path, _ in _contents(run_dir.path)))


def is_plain_checkpoint(path: Path) -> bool:
    """Whether a checkpoint's folder holds nothing but what saving writes, unasked: no KEEP.txt, no file of yours."""
    if path.is_symlink() or not path.is_dir():
        return False
    inside = [(found.relative_to(path).as_posix(), is_plain) for found, is_plain in _contents(path)]
    return all(is_plain and name != KEEP_FILE and _CHECKPOINT_FILE.fullmatch(name) for name, is_plain in inside)


def delete_checkpoint(path: Path) -> int:
    """Delete a checkpoint of ours; returns the bytes. It leaves its name first: no reader meets half of one."""
    if not is_plain_checkpoint(path):
        raise RunError(f"{path.name} stays.", "It holds files that saving does not write, or is a link.", "")
    hidden = path.with_name(f".{path.name}.deleted")
    path.rename(hidden)
    return delete_files(inside for inside, is_plain in _contents(hidden) if is_plain) + _drop_empty(hidden)


def is_leftover(path: Path) -> bool:
    """Whether a name is one that writing or deleting uses while it is not done."""
    return bool(_LEFTOVER.fullmatch(path.name)) and not path.is_symlink()


def delete_leftover(path: Path) -> int:
    """Delete what was left half written or half deleted; returns the bytes. What we never write stays."""
    if not is_leftover(path):
        return 0
    if path.is_file():
        return delete_files([path])
    inside = [(found, found.relative_to(path).as_posix()) for found, is_plain in _contents(path) if is_plain]
    freed = delete_files(found for found, name in inside if _INSIDE.fullmatch(name))
    return freed + _drop_empty(path)


def delete_files(files: Iterable[Path]) -> int:
    """Unlink files; returns the bytes that they took."""
    total = 0
    for path in files:
        size = path.lstat().st_size
        path.unlink(missing_ok=True)
        total += size
    return total


def delete_tree(folder: Path) -> int:
    """Delete a folder of the cache, links inside it as links; returns the bytes that its files took."""
    if folder.is_symlink():
        folder.unlink()
        return 0
    return delete_files(path for path, _ in _contents(folder)) + _drop_empty(folder)


def _contents(folder: Path) -> Iterator[tuple[Path, bool]]:
    """Everything below a folder that is not a folder, and whether it is a plain file. Links are never followed."""
    for place, folders, names in os.walk(folder):
        here = Path(place)
        for name in folders:
            if (here / name).is_symlink():
                yield here / name, False
        for name in names:
            path = here / name
            yield path, path.is_file() and not path.is_symlink()


def _drop_empty(folder: Path) -> int:
    """Remove the folders that hold nothing any more, the deepest first. Frees nothing worth counting."""
    for place, _, _ in os.walk(folder, topdown=False):
        here = Path(place)
        if not here.is_symlink() and not any(here.iterdir()):
            here.rmdir()
    return 0


def _is_run_file(path: Path) -> bool:
    try:
        with path.open("rb") as handle:
            return isinstance(tomllib.load(handle).get("run"), dict)
    except (OSError, ValueError, RecursionError):
        return False
