"""Weights & Biases and trackio. Keys and addresses are theirs to keep (`wandb login`, their variables): none pass here.

Both count the steps of what they are given upwards. A run that goes back draws its metrics over `step`, which is sent
as a metric of its own to W&B; names of songs are not sent.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from sidestep_tui.core.errors import RunError
from sidestep_tui.launch.sinks import Point, names_a_song
from sidestep_tui.launch.sinks_export import missing_package
from sidestep_tui.launch.sinks_feed import About, sink_name


def _metrics(point: Point) -> dict[str, float]:
    return {sink_name(name): value for name, value in point.values.items() if not names_a_song(name)}


@contextlib.contextmanager
def _border(name: str, hint: str) -> Iterator[None]:
    """Their talk goes to standard error, their failures become ours."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except Exception as error:
        raise RunError(f"{name} does not take the run's numbers.", f"{type(error).__name__}: {error}", hint) from error


class WandbSink:
    """A W&B run, resumed by its id."""

    can_cut_back = False
    _hint = "Log in with `wandb login`, or set WANDB_MODE=offline; then run the command again."

    def __init__(self) -> None:
        try:
            # Optional, and a second: only this sink needs it.
            self._wandb: Any = importlib.import_module("wandb")
        except ImportError as error:
            raise missing_package("wandb", "wandb", "Weights & Biases") from error
        self._run: Any = None

    def open(self, about: About, mark: Mapping[str, Any]) -> None:
        """Begin or resume the run of this id."""
        with _border("Weights & Biases", self._hint):
            self._run = self._wandb.init(
                project=about.project,
                name=about.name,
                id=about.id,
                resume="allow",
                dir=str(about.directory),
                config=about.config,
            )
            self._run.define_metric("step")
            self._run.define_metric("*", step_metric="step")

    def send(self, point: Point) -> None:
        """One row of metrics over `step`."""
        if not (metrics := _metrics(point)):
            return
        row: dict[str, Any] = {"step": point.step, **metrics}
        if point.epoch is not None:
            row["epoch"] = point.epoch
        with _border("Weights & Biases", self._hint):
            self._run.log(row)

    def go_back(self, step: int) -> None:
        """Say so in the run's summary; its points cannot be taken back."""
        with _border("Weights & Biases", self._hint):
            self._run.log({"step": step, "train/went_back_to": step})

    def mark(self) -> dict[str, Any]:
        """Nothing: the id is the feed's own."""
        return {}

    def close(self) -> None:
        """Send what waits, and end."""
        if self._run is not None:
            with _border("Weights & Biases", self._hint):
                self._run.finish()


class TrackioSink:
    """A trackio run, resumed by its name; the id in it keeps two runs of one name apart."""

    can_cut_back = False
    _hint = "Check that its folder (TRACKIO_DIR) can be written to; then run the command again."

    def __init__(self) -> None:
        try:
            # Optional, and a second: only this sink needs it.
            self._trackio: Any = importlib.import_module("trackio")
        except ImportError as error:
            raise missing_package("trackio", "trackio", "trackio") from error
        self._run: Any = None

    def open(self, about: About, mark: Mapping[str, Any]) -> None:
        """Begin or resume the run of this name; its own gauges stay off: this process is only a reader."""
        with _border("trackio", self._hint):
            self._run = self._trackio.init(
                project=about.project,
                name=f"{about.name}-{about.id[:6]}",
                resume="allow",
                config=about.config,
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )

    def send(self, point: Point) -> None:
        """One row of metrics at the step."""
        if not (metrics := _metrics(point)):
            return
        with _border("trackio", self._hint):
            self._run.log(metrics, step=point.step)

    def go_back(self, step: int) -> None:
        """Mark the place; its points cannot be taken back."""
        with _border("trackio", self._hint):
            self._run.log({"train/went_back_to": step}, step=step)

    def mark(self) -> dict[str, Any]:
        """Nothing: the name is the feed's own."""
        return {}

    def close(self) -> None:
        """Write what waits, and end."""
        if self._run is not None:
            with _border("trackio", self._hint):
                self._trackio.finish()  # the run's own would be called, and talk, a second time at exit
