"""The exact shape of every event. Viewers are lenient; tests hold engines against this.

Not imported on the way to the first frame: it costs pydantic.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from sidestep_tui.protocol.events import Event

Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, protected_namespaces=())


class _Event(_Part):
    v: Literal[1]
    seq: Count
    t: float
    session: Annotated[str, Field(min_length=1)]


class SessionStarted(_Event):
    """An engine begins to work on the run."""

    type: Literal["session_started"]
    pid: int
    host: str
    boot_id: str
    product_version: str
    resumed_from: Count | None
    device: str
    adapter_parameters: Count | None = None
    total_steps: Count
    epochs: Count
    steps_per_epoch: Count
    engine: Literal["train", "fake"]


class PhaseEvent(_Event):
    """What the engine does now."""

    type: Literal["phase"]
    name: Literal[
        "loading",
        "encoding_audio",
        "encoding_text",
        "encoding_conditions",
        "validating",
        "training",
        "saving",
        "exporting",
        "verifying",
    ]
    done: Count
    total: Count
    detail: str | None = None


class Step(_Event):
    """One optimiser step."""

    type: Literal["step"]
    step: Count
    epoch: Count
    loss: float
    lr: float
    grad_norm: float
    samples_per_s: float
    seconds: Seconds
    data_seconds: Seconds | None = None
    data_s: Seconds | None = None
    forward_s: Seconds | None = None
    backward_s: Seconds | None = None
    optimizer_s: Seconds | None = None


class Epoch(_Event):
    """One pass over the songs."""

    type: Literal["epoch"]
    epoch: Count
    step: Count
    loss: float
    smoothed_loss: float | None
    seconds: Seconds
    by_band: dict[str, float] | None = None
    by_song: dict[str, float] | None = None


class Eval(_Event):
    """A measurement beside the training loss; its numbers are the measurer's own."""

    model_config = ConfigDict(extra="allow")

    type: Literal["eval"]
    step: Count


class Checkpoint(_Event):
    """A checkpoint was published."""

    type: Literal["checkpoint"]
    path: str
    step: Count
    epoch: Count
    reason: Literal["schedule", "requested", "stop", "final", "best"]
    seconds: Seconds
    bytes: Count
    held_seconds: Seconds | None = None


class BestEvent(_Event):
    """A new best, by the loss of training or by that of held-out songs."""

    type: Literal["best"]
    step: Count
    epoch: Count
    loss: float
    by: Literal["training", "held_out"] | None = None


class Sample(_Event):
    """Audio to listen to."""

    type: Literal["sample"]
    path: str
    prompt: str


class Holder(_Part):
    """A process that holds memory of a GPU."""

    pid: Count
    name: str
    memory: Count | None
    ours: bool


class Gauge(_Part):
    """One GPU."""

    index: Count
    name: str
    util: int | None
    mem_used: Count
    mem_total: Count
    temp: int | None
    power: float | None
    power_limit: float | None = None
    temp_limit: int | None = None
    throttle: Literal["heat", "brake", "slow", "power"] | None = None
    processes: list[Holder] | None = None


class GpuEvent(_Event):
    """The machine's gauges."""

    type: Literal["gpu"]
    gpus: list[Gauge]
    cpu: float
    ram_used: Count
    ram_total: Count
    rss: Count
    disk_free: Count | None = None
    disk_total: Count | None = None


class Log(_Event):
    """A line for people."""

    type: Literal["log"]
    level: Literal["debug", "info", "warning", "error"]
    msg: str


class Warning(_Event):
    """Something to know that stops nothing."""

    type: Literal["warning"]
    code: str
    msg: str
    hint: str


class CommandEvent(_Event):
    """How far an order has got."""

    type: Literal["command"]
    id: str
    name: str
    state: Literal["received", "done", "refused"]
    by: str
    detail: str | None = None


class Paused(_Event):
    """Training holds."""

    type: Literal["paused"]
    step: Count


class Resumed(_Event):
    """Training goes on."""

    type: Literal["resumed"]
    step: Count


class AdapterEvent(_Event):
    """An adapter was exported."""

    type: Literal["adapter"]
    path: str
    kind: Literal["final", "best"]
    tensors: Count
    effect: dict[str, Any] | None = None


class ErrorEvent(_Event):
    """What made the session fail."""

    type: Literal["error"]
    kind: str
    title: str
    msg: str
    hint: str
    traceback_path: str | None


class SessionEnded(_Event):
    """The session's goodbye."""

    type: Literal["session_ended"]
    reason: Literal["finished", "early_stop", "stopped", "aborted", "failed", "diverged", "out_of_memory", "refused"]
    code: Count
    step: Count


AnyEvent = Annotated[
    SessionStarted
    | PhaseEvent
    | Step
    | Epoch
    | Eval
    | Checkpoint
    | BestEvent
    | Sample
    | GpuEvent
    | Log
    | Warning
    | CommandEvent
    | Paused
    | Resumed
    | AdapterEvent
    | ErrorEvent
    | SessionEnded,
    Field(discriminator="type"),
]

_adapter: TypeAdapter[Any] = TypeAdapter(AnyEvent)


def check(event: Event) -> Any:
    """The event as its model; raises pydantic's ValidationError for unknown types, fields or kinds."""
    return _adapter.validate_python(event)


def check_journal(events: Iterable[Event]) -> None:
    """Hold a whole journal against the protocol; raises ValueError that names the first fault.

    Every event has its exact shape; numbers rise by one over all sessions; a session says one goodbye, last;
    steps rise within a session; every command that is done was received first.
    """
    seq = -1
    session = ""
    over = False
    step = -1
    received: set[str] = set()
    for event in events:
        check(event)
        where = f"event {event['seq']} ({event['type']})"
        if event["seq"] != seq + 1:
            raise ValueError(f"{where} follows event {seq}")
        seq = event["seq"]
        if event["session"] != session:
            session, over, step, received = event["session"], False, -1, set()
        elif over:
            raise ValueError(f"{where} comes after its session's goodbye")
        if event["type"] == "session_ended":
            over = True
        elif event["type"] == "step":
            if event["step"] <= step:
                raise ValueError(f"{where}: step {event['step']} after step {step}")
            step = event["step"]
        elif event["type"] == "command":
            if event["state"] == "received":
                received.add(event["id"])
            elif event["state"] == "done" and event["id"] not in received:
                raise ValueError(f"{where}: {event['name']} is done without having been received")
