"""The demo: a tiny checkpoint and a handful of songs in a directory of its own, and a plan that trains on them."""

from __future__ import annotations

import datetime
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from sidestep_tui.core import atomic, paths
from sidestep_tui.core.errors import RunError
from sidestep_tui.launch import failures, models, plan, spawn
from sidestep_tui.launch.plan import Plan
from sidestep_tui.schema.layers import Layer

WRITER_MODULE = "sidestep_tui.engine.demo"
_MARKER = ".sidestep-demo"
_MARKER_TEXT = "This directory was made by `sidestep-tui demo` and may be deleted.\n"

SETTINGS = {
    "model.variant": "auto",
    "data.crop_seconds": 4.0,
    "adapter.rank": 8,
    "adapter.alpha": 16.0,
    "optim.lr": 1e-3,
    "optim.warmup_steps": 5,
    "train.epochs": 12,
    "train.accumulation": 1,
    "train.best_after": 2,
    "train.patience": 0,
    "memory.gradient_checkpointing": "off",
    "output.save_every_epochs": 4,
}
"""Small enough for two CPU cores in a minute, large enough for the loss to fall."""


@dataclass(frozen=True, slots=True)
class DemoDir:
    """The demo's directory and what lies in it."""

    path: Path

    @property
    def model(self) -> Path:
        return self.path / "model"

    @property
    def songs(self) -> Path:
        return self.path / "songs"

    @property
    def runs(self) -> Path:
        return self.path / "runs"

    @property
    def cache(self) -> Path:
        return self.path / "cache"

    @property
    def is_complete(self) -> bool:
        return self.model.is_dir() and self.songs.is_dir()


def claim(path: Path) -> DemoDir:
    """The directory as the demo's own: new, empty, or made by an earlier demo. Anything else is refused."""
    directory = paths.expand(path).absolute()
    if directory.exists() and not directory.is_dir():
        raise RunError(f"{directory} is a file.", "", "Choose another directory with --dir.")
    marker = directory / _MARKER
    if directory.is_dir() and not marker.is_file() and any(directory.iterdir()):
        raise RunError(
            f"{directory} holds other files.",
            "The demo only writes into a new directory or one that it made.",
            "Choose another directory with --dir.",
        )
    try:
        atomic.write_text(marker, _MARKER_TEXT)
    except OSError as error:
        raise RunError(
            "The demo's directory cannot be made.", f"{directory}: {error.strerror}.", "Choose another with --dir."
        ) from error
    return DemoDir(directory)


def write_files(demo: DemoDir) -> None:
    """Have the engine's writer make model and songs; they appear whole or not at all."""
    if demo.is_complete:
        return
    scratch = demo.path / ".making"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    command = [*spawn.python(WRITER_MODULE), str(scratch / "model"), str(scratch / "songs")]
    made = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=spawn.environment(), check=False
    )
    try:
        if made.returncode != 0:
            last_words = "\n".join((made.stderr or made.stdout).strip().splitlines()[-8:])
            raise failures.EngineBug(
                "The demo's model and songs could not be made.",
                last_words,
                "`sidestep-tui doctor` checks the packages.",
            )
        for source, target in ((scratch / "model", demo.model), (scratch / "songs", demo.songs)):
            if not target.exists():
                source.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def demo_plan(demo: DemoDir, *, now: datetime.datetime | None = None) -> Plan:
    """Training on the demo's files, everything inside its directory."""
    values = {
        **SETTINGS,
        "model.path": str(models.locate(str(demo.model)).path),
        "data.path": str(demo.songs),
        "data.cache": str(demo.cache),
        "output.path": str(demo.runs),
        "output.name": "demo",
    }
    return plan.from_layers([Layer("demo", values)], now=now)
