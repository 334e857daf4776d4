"""The arithmetic of a run that needs no model: steps, checkpoints, usual epochs."""

from __future__ import annotations

import math

from sidestep_tui.schema.data import DataSettings
from sidestep_tui.schema.settings import Settings

# Usual epochs by number of songs: (up to this many songs, few, usual, many). The usual column is the ace-lora-trainer
# guide's; ACE-Step's own tutorial says 800 for 10 to 20 songs and 500 for 100, which the last column allows.
_EPOCHS = (
    (3, 500, 1500, 3000),
    (6, 300, 1000, 2000),
    (10, 200, 700, 1600),
    (20, 100, 500, 1200),
    (50, 60, 300, 900),
    (math.inf, 20, 200, 600),
)
OPTIMIZER_BYTES = {
    "adamw": 8.0,
    "adamw8bit": 2.3,
    "adafactor": 0.1,  # rows and columns of the second moment only
    "prodigy": 14.3,  # two moments, the weighted gradients, and where A started
    "schedule_free": 12.0,  # the second moment and two more copies of the weights
    "lion": 4.0,
    "muon": 4.0,
}
"""What each optimizer keeps per adapter weight."""


def pieces_per_song(data: DataSettings) -> int:
    """What is encoded of each song: itself and its altered copies, of which there are none where nothing is altered."""
    return 1 + (data.variants if data.pitch or data.stretch or data.noise else 0)


def steps_per_epoch(settings: Settings, songs: int, processes: int = 1) -> int:
    """Optimizer steps in one epoch; the last batch and the last accumulation may be short but are never dropped.

    Each of several processes takes batch size times accumulation.
    """
    batches = math.ceil(songs * settings.data.repeats / settings.train.batch_size)
    return math.ceil(batches / (settings.train.accumulation * processes))


def run_steps(settings: Settings, *, songs: int | None = None, steps_per_epoch: int | None = None) -> int | None:
    """Optimizer steps of the whole run, as far as it can be known: None without songs and without a step limit."""
    limit = settings.train.max_steps or None
    each = steps_per_epoch or _steps(settings, songs)
    if each is None:
        return limit
    return min(filter(None, (limit, each * settings.train.epochs)))


def epochs_for(songs: int) -> tuple[int, int, int]:
    """Few, usual and many epochs for that number of songs."""
    return next((few, usual, many) for most, few, usual, many in _EPOCHS if songs <= most)


def checkpoints_written(settings: Settings, *, songs: int | None = None, steps_per_epoch: int | None = None) -> int:
    """Full checkpoints on disk at the end of the run, after pruning.

    Those by minutes cannot be counted beforehand: as many as may stay, or none where all do.
    """
    output = settings.output
    each = steps_per_epoch or _steps(settings, songs)
    total = run_steps(settings, songs=songs, steps_per_epoch=steps_per_epoch)
    epochs = settings.train.epochs if each is None or total is None else total // each
    written = epochs // output.save_every_epochs if output.save_every_epochs else 0
    if output.save_every_steps and total is not None:
        written += total // output.save_every_steps
    if not output.keep_last:
        return written
    most = output.keep_last + output.keep_best
    return most if output.save_every_minutes else min(written, most)


def _steps(settings: Settings, songs: int | None) -> int | None:
    return steps_per_epoch(settings, songs) if songs else None
