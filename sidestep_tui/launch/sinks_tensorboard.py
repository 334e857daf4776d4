"""TensorBoard's event files, through the `tensorboard` package alone."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sidestep_tui.launch.sinks import Point
from sidestep_tui.launch.sinks_export import missing_package
from sidestep_tui.launch.sinks_feed import About, sink_name

SUFFIX: Final = ".sidestep"
"""Ends the names of our event files: those of others in the same directory are never touched."""


class TensorBoardSink:
    """One event file a session; after a crash the bytes beyond the last mark are cut off."""

    can_cut_back = True

    def __init__(self) -> None:
        try:
            # Optional, and 300 ms: only this sink needs it.
            writer = importlib.import_module("tensorboard.summary.writer.event_file_writer")
            self._events: Any = importlib.import_module("tensorboard.compat.proto.event_pb2")
            self._summaries: Any = importlib.import_module("tensorboard.compat.proto.summary_pb2")
        except ImportError as error:
            raise missing_package("tensorboard", "tensorboard", "TensorBoard") from error
        self._new_writer: Any = writer.EventFileWriter
        self._writer: Any = None
        self._directory = Path()
        self._newest = float("nan")

    def open(self, about: About, mark: Mapping[str, Any]) -> None:
        """Cut our files back to their marked sizes, then begin a new one."""
        self._directory = about.directory
        for path in self._files():
            size = mark.get(path.name, 0)
            if path.stat().st_size > size:
                os.truncate(path, size)
        self._writer = self._new_writer(str(about.directory), filename_suffix=SUFFIX)

    def _files(self) -> list[Path]:
        return sorted(self._directory.glob(f"events.out.tfevents.*{SUFFIX}"))

    def send(self, point: Point) -> None:
        """One event with a scalar a metric, at the time of the measurement."""
        self._newest = point.t
        values = [
            self._summaries.Summary.Value(tag=sink_name(name), simple_value=value)
            for name, value in point.values.items()
        ]
        summary = self._summaries.Summary(value=values)
        self._writer.add_event(self._events.Event(wall_time=point.t, step=point.step, summary=summary))

    def go_back(self, step: int) -> None:
        """TensorBoard drops what it has from a session's first step on (`purge_orphaned_data`)."""
        start = self._events.SessionLog(status=self._events.SessionLog.START)
        self._writer.add_event(self._events.Event(wall_time=self._newest, step=step + 1, session_log=start))

    def mark(self) -> dict[str, Any]:
        """The size of each of our files, by name."""
        self._writer.flush()
        return {path.name: path.stat().st_size for path in self._files()}

    def close(self) -> None:
        """Flush and end the file."""
        if self._writer is not None:
            self._writer.close()
