"""The values that a run's state is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal[
    "fresh",
    "starting",
    "encoding",
    "running",
    "pausing",
    "paused",
    "stopping",
    "saving",
    "finished",
    "stopped",
    "aborted",
    "failed",
    "diverged",
    "out_of_memory",
    "refused",
]
"""What the events say a run is doing. A dead engine's run keeps its last one: ask `protocol.liveness` too."""


@dataclass(frozen=True, slots=True)
class Phase:
    """What the engine is doing, and how far it is."""

    name: str = ""
    done: int = 0
    total: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Best:
    """The best epoch so far, by smoothed training loss or by the loss on held-out songs."""

    step: int
    epoch: int
    loss: float
    by: str = "training"
    """Whose loss it is: `training` or `held_out`."""


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """A published checkpoint."""

    path: str
    step: int
    epoch: int
    reason: str
    seconds: float
    bytes: int
    t: float


@dataclass(frozen=True, slots=True)
class AdapterInfo:
    """An adapter that was exported."""

    path: str
    kind: str
    tensors: int
    t: float


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line for the log pane."""

    t: float
    level: str
    text: str


@dataclass(frozen=True, slots=True)
class Mark:
    """Something to mark on the charts: `checkpoint`, `best`, `resume` or `pause`."""

    step: int
    kind: str


@dataclass(frozen=True, slots=True)
class CommandInfo:
    """How far an order to the engine has got."""

    id: str
    name: str
    state: str
    by: str
    detail: str
    t: float


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong, in the engine's words."""

    kind: str
    title: str
    msg: str
    hint: str
    traceback_path: str


@dataclass(frozen=True, slots=True)
class Ended:
    """How the last session ended."""

    reason: str
    code: int
    step: int
    t: float
