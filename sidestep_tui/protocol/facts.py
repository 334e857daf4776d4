"""The values that a run's state is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sidestep_tui.protocol.events import Event
from sidestep_tui.protocol.fields import float_of, int_of, text_of

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

PHASE_STATUS: dict[str, Status] = {
    "loading": "starting",
    "encoding_audio": "encoding",
    "encoding_text": "encoding",
    "encoding_conditions": "encoding",
    "validating": "running",
    "training": "running",
    "saving": "saving",
    "exporting": "saving",
    "verifying": "saving",
}
"""What a run does in each phase."""

END_STATUS: dict[str, Status] = {
    "finished": "finished",
    "early_stop": "finished",
    "stopped": "stopped",
    "aborted": "aborted",
    "failed": "failed",
    "diverged": "diverged",
    "out_of_memory": "out_of_memory",
    "refused": "refused",
}
"""What a session was, by the reason of its end."""


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

    @classmethod
    def of(cls, event: Event) -> Best:
        """From a `best` event."""
        by = text_of(event, "by") or "training"
        return cls(int_of(event, "step"), int_of(event, "epoch"), float_of(event, "loss"), by)

    @property
    def whose(self) -> str:
        """Whose loss it is, for people."""
        return "held-out songs" if self.by == "held_out" else "training"


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

    @classmethod
    def of(cls, event: Event) -> CheckpointInfo:
        """From a `checkpoint` event."""
        return cls(
            path=text_of(event, "path"),
            step=int_of(event, "step"),
            epoch=int_of(event, "epoch"),
            reason=text_of(event, "reason"),
            seconds=float_of(event, "seconds", 0.0),
            bytes=int_of(event, "bytes"),
            t=float_of(event, "t", 0.0),
        )


@dataclass(frozen=True, slots=True)
class AdapterInfo:
    """An adapter that was exported."""

    path: str
    kind: str
    tensors: int
    t: float

    @classmethod
    def of(cls, event: Event) -> AdapterInfo:
        """From an `adapter` event."""
        return cls(text_of(event, "path"), text_of(event, "kind"), int_of(event, "tensors"), float_of(event, "t", 0.0))


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

    @classmethod
    def of(cls, event: Event) -> CommandInfo:
        """From a `command` event."""
        return cls(
            id=text_of(event, "id"),
            name=text_of(event, "name"),
            state=text_of(event, "state"),
            by=text_of(event, "by"),
            detail=text_of(event, "detail"),
            t=float_of(event, "t", 0.0),
        )


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong, in the engine's words."""

    kind: str
    title: str
    msg: str
    hint: str
    traceback_path: str

    @classmethod
    def of(cls, event: Event) -> Failure:
        """From an `error` event."""
        return cls(
            kind=text_of(event, "kind"),
            title=text_of(event, "title"),
            msg=text_of(event, "msg"),
            hint=text_of(event, "hint"),
            traceback_path=text_of(event, "traceback_path"),
        )


@dataclass(frozen=True, slots=True)
class Ended:
    """How the last session ended."""

    reason: str
    code: int
    step: int
    t: float
