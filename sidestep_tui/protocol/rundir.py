"""The run directory: where each thing lies, how one is made, and how one is opened."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from sidestep_tui.core.errors import RunError
from sidestep_tui.core.ids import slug

_STEP_DIR = re.compile(r"step_(\d+)")


@dataclass(frozen=True, slots=True)
class RunDir:
    """The layout of one run; a public interface, so the names never change."""

    path: Path

    @classmethod
    def create(cls, parent: Path | str, name: str) -> RunDir:
        """Make a new directory `parent/name`, or `name-2`, `name-3`… if that is taken; a used one is never reused."""
        home = Path(parent)
        home.mkdir(parents=True, exist_ok=True)
        base = slug(name)
        number = 1
        while True:
            path = home / (base if number == 1 else f"{base}-{number}")
            try:
                path.mkdir()
            except FileExistsError:
                number += 1
                continue
            run = cls(path)
            run.inbox.mkdir()
            run.checkpoints.mkdir()
            return run

    @classmethod
    def open(cls, path: Path | str) -> RunDir:
        """The run at `path` (its directory, or its run.toml); raises RunError if there is none."""
        home = Path(path)
        if home.name in ("run.toml", "events.jsonl") and home.is_file():
            home = home.parent
        if not home.is_dir():
            raise RunError(
                f"There is no run at {home}.",
                "The directory does not exist.",
                "List the known runs with `sidestep-tui runs`.",
            )
        run = cls(home)
        if not run.run_toml.is_file() and not run.events.is_file():
            raise RunError(
                f"{home} is not a run directory.",
                "It holds neither run.toml nor events.jsonl.",
                "Give the directory of a run, for example one that `sidestep-tui runs` lists.",
            )
        return run

    @property
    def name(self) -> str:
        """The run's name: the directory's."""
        return self.path.resolve().name

    @property
    def run_toml(self) -> Path:
        """Frozen settings, origins, versions and fingerprints."""
        return self.path / "run.toml"

    @property
    def lock(self) -> Path:
        """Held by the engine for life; says who holds it."""
        return self.path / "run.lock"

    @property
    def events(self) -> Path:
        """The append-only journal."""
        return self.path / "events.jsonl"

    @property
    def state(self) -> Path:
        """The snapshot for an instant picture."""
        return self.path / "state.json"

    @property
    def log(self) -> Path:
        """Raw output of the engine and its libraries."""
        return self.path / "engine.log"

    @property
    def inbox(self) -> Path:
        """Commands on their way to the engine."""
        return self.path / "inbox"

    @property
    def checkpoints(self) -> Path:
        """Published checkpoints, one directory each."""
        return self.path / "checkpoints"

    @property
    def samples(self) -> Path:
        """Auditioned audio with the recipe that made it."""
        return self.path / "samples"

    @property
    def adapter(self) -> Path:
        """The results: `final/` and `best/`."""
        return self.path / "adapter"

    def checkpoint_path(self, step: int) -> Path:
        """Where the checkpoint of `step` is published."""
        return self.checkpoints / f"step_{step:06d}"

    def published_checkpoints(self) -> list[Path]:
        """Checkpoints that are whole (they appear by rename), oldest step first."""
        if not self.checkpoints.is_dir():
            return []
        found = [
            (int(match.group(1)), entry)
            for entry in self.checkpoints.iterdir()
            if (match := _STEP_DIR.fullmatch(entry.name)) and entry.is_dir()
        ]
        return [path for _, path in sorted(found)]

    def latest_checkpoint(self) -> Path | None:
        """The published checkpoint of the highest step, or None."""
        published = self.published_checkpoints()
        return published[-1] if published else None


def checkpoint_step(path: Path) -> int:
    """The step of a checkpoint directory, from its name."""
    match = _STEP_DIR.fullmatch(path.name)
    if match is None:
        raise RunError(f"{path} is not a checkpoint directory.", "Its name should look like step_000500.")
    return int(match.group(1))
