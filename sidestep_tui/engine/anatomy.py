"""Where the time of a step goes: data, forward, backward, optimizer."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch

Part = Literal["data", "forward", "backward", "optimizer"]


class _HostMark:
    """A point in time by the processor's clock."""

    def __init__(self) -> None:
        self._at = time.perf_counter()

    def is_past(self) -> bool:
        return True

    def until(self, later: _HostMark) -> float:
        return later._at - self._at


class _CudaMark:
    """A point in the stream of a GPU, which runs behind the processor that fills it."""

    def __init__(self) -> None:
        self._event = torch.cuda.Event(enable_timing=True)
        self._event.record()

    def is_past(self) -> bool:
        return bool(self._event.query())

    def until(self, later: _CudaMark) -> float:
        return float(self._event.elapsed_time(later._event)) / 1000.0


@dataclass(frozen=True, slots=True)
class _Stretch:
    part: Part
    began: _HostMark | _CudaMark
    ended: _HostMark | _CudaMark

    @property
    def seconds(self) -> float:
        return self.began.until(self.ended)  # type: ignore[arg-type]


class StepClock:
    """Adds up the seconds of each part; on CUDA by the GPU's own clock, without ever waiting for it.

    What the GPU has not finished when a step is told, its last update, is told with the next one.
    """

    def __init__(self, device: torch.device) -> None:
        self._mark = _CudaMark if device.type == "cuda" else _HostMark
        self._running: deque[_Stretch] = deque()
        self._seconds: dict[Part, float] = {}

    @contextmanager
    def part(self, name: Part) -> Iterator[None]:
        """What is computed inside belongs to `name`; a stretch that fails is not counted."""
        began = self._mark()
        yield
        self._running.append(_Stretch(name, began, self._mark()))

    def add(self, name: Part, seconds: float) -> None:
        """Seconds that the processor measured itself."""
        self._seconds[name] = self._seconds.get(name, 0.0) + seconds

    def take(self) -> dict[Part, float]:
        """Seconds of the parts that are over, since the last time."""
        while self._running and self._running[0].ended.is_past():
            stretch = self._running.popleft()
            self.add(stretch.part, stretch.seconds)
        taken, self._seconds = self._seconds, {}
        return taken
