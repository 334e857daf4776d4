"""What needs a person: conditions of the machine and of the run, each told once and kept until it is seen or over.

The engine warns of what it sees (a plateau, learning by heart, a jump, skipped steps); viewers see memory, disk, heat
and silence. Both end up in one book, which a screen shows as a line and a plain viewer prints. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sidestep_tui.core import text
from sidestep_tui.protocol.events import Event
from sidestep_tui.protocol.fields import int_of, text_of
from sidestep_tui.protocol.liveness import Liveness
from sidestep_tui.protocol.state import RunState

MEMORY_SHARE = 0.92
"""Share of a memory in use from which on it is told."""
FEW_CHECKPOINTS = 5
"""A disk with room for fewer checkpoints than this is told."""
LEAST_ROOM = 1024**3
"""So is one with less room than this, before the size of a checkpoint is known."""

_SLACK = 0.02
_MUCH = 0.05
"""Share of a GPU's memory from which on others on it are worth closing."""
_WARNINGS = {
    "step_skipped": "bad",
    "loss_not_finite": "bad",
    "rolled_back": "bad",
    "out_of_memory": "warn",
    "save_failed": "bad",
    "disk_nearly_full": "warn",
    "plateau": "warn",
    "overfitting": "warn",
    "loss_spike": "warn",
}
"""Warnings of the engine that call for a person, and how much; the others only inform."""


@dataclass(frozen=True, slots=True)
class Alert:
    """What is the matter, and what to do about it."""

    key: str
    """What it is about: one alert of a key at a time."""
    level: Literal["warn", "bad"]
    message: str
    hint: str

    @property
    def sentence(self) -> str:
        """Both in one line, for the log."""
        return f"{self.message} {self.hint}".rstrip()


class AlertBook:
    """Keeps what stands. `look` after every change; `seen` when a person has read the first one."""

    def __init__(self) -> None:
        self.standing: dict[str, Alert] = {}
        """What is not over and not seen yet, worst first."""
        self._active: set[str] = set()
        """Conditions that hold, seen or not: they are not told again before they were over."""
        self._warned = -1

    def look(self, state: RunState, liveness: Liveness | None, silent_for: float | None = None) -> list[Alert]:
        """What came up since the last look; conditions that are over leave by themselves.

        `silent_for` is the age of the heartbeat, where the engine is silent.
        """
        if liveness in (Liveness.ENDED, Liveness.DIED, Liveness.FRESH) or state.is_over:
            self.standing.clear()
            self._active.clear()
            return []
        new = list(self._warnings(state))
        holding = {alert.key: alert for alert in conditions(state, liveness, silent_for)}
        almost = {alert.key for alert in conditions(state, liveness, silent_for, slack=_SLACK)}
        self._active &= almost | holding.keys()
        for key in [key for key in self.standing if key not in almost and not key.startswith("engine:")]:
            del self.standing[key]
        for key, alert in holding.items():
            if key not in self._active:
                self._active.add(key)
                self.standing[key] = alert
                new.append(alert)
        self.standing = dict(sorted(self.standing.items(), key=lambda item: item[1].level))
        return new

    def _warnings(self, state: RunState) -> Iterator[Alert]:
        """The engine's warnings since the last look, the newest of each kind; those of sessions before are history."""
        newest: dict[str, Event] = {}
        for event in reversed(state.warnings):
            if int_of(event, "seq", -1) <= self._warned:
                break
            if event.get("session") == state.session:
                newest.setdefault(text_of(event, "code"), event)
        self._warned = max(self._warned, state.seq)
        for code, event in newest.items():
            if code in _WARNINGS:
                level: Any = _WARNINGS[code]
                alert = Alert(f"engine:{code}", level, text_of(event, "msg"), text_of(event, "hint"))
                self.standing[alert.key] = alert
                yield alert

    @property
    def first(self) -> Alert | None:
        """The one to show."""
        return next(iter(self.standing.values()), None)

    def seen(self) -> Alert | None:
        """A person has read the first one: it stands no more."""
        first = self.first
        if first is not None:
            del self.standing[first.key]
        return first


def conditions(
    state: RunState, liveness: Liveness | None, silent_for: float | None = None, *, slack: float = 0.0
) -> Iterator[Alert]:
    """What holds now. With `slack`, what nearly holds too: such a condition is not over yet."""
    if liveness is Liveness.STALE:
        age = f" for {text.duration(silent_for)}" if silent_for is not None else ""
        yield Alert(
            "silent", "bad", f"The engine has been silent{age}: it may hang.",
            "Wait if its disk or network is slow; else abort it, and resume from the last checkpoint.",
        )  # fmt: skip
    yield from _disk(state, slack)
    for gpu in state.gpus:
        yield from _gpu(gpu, slack)
    ram = _share(state.host, "ram_used", "ram_total")
    if ram >= MEMORY_SHARE + 0.03 - slack:
        yield Alert(
            "ram", "bad", f"Main memory is {100 * ram:.0f} % full: the system may kill the training.",
            "Close other programs, or resume with memory.preload set to disk.",
        )  # fmt: skip


def _gpu(gpu: Mapping[str, Any], slack: float) -> Iterator[Alert]:
    name, number = f"GPU {int_of(dict(gpu), 'index')}", int_of(dict(gpu), "index")
    used = _share(gpu, "mem_used", "mem_total")
    if used >= MEMORY_SHARE - slack:
        others = [item for item in holders(gpu) if not item.get("ours")]
        held = sum(_finite(item.get("memory")) or 0.0 for item in others)
        largest = str(others[0].get("name") or f"process {others[0].get('pid')}") if others else ""
        hint = (
            f"Other programs hold {text.gibibytes(held)} of it, first of all {largest}: close them."
            if held > _MUCH * (_finite(gpu.get("mem_total")) or math.inf)
            else "If a step runs out of memory, the engine gives way by itself; shorter crops need less."
        )
        yield Alert(f"memory:{number}", "warn", f"The memory of {name} is {100 * used:.0f} % full.", hint)
    throttle = gpu.get("throttle")
    temp, limit = _finite(gpu.get("temp")), _finite(gpu.get("temp_limit"))
    if throttle == "heat" or (slack and temp is not None and limit is not None and temp >= limit - 2):
        heat = f" ({temp:.0f} °C)" if temp is not None else ""
        yield Alert(
            f"heat:{number}", "warn", f"{name} is too hot{heat} and slows itself down.",
            "Look at its fans and the air around it; nothing is lost meanwhile but time.",
        )  # fmt: skip
    elif throttle in ("brake", "slow"):
        yield Alert(
            f"power:{number}", "warn", f"{name} is slowed down by the hardware for want of power or cooling.",
            "Look at its power supply and cables; nothing is lost meanwhile but time.",
        )  # fmt: skip


def _disk(state: RunState, slack: float) -> Iterator[Alert]:
    free, fitting = _finite(state.host.get("disk_free")), checkpoints_that_fit(state)
    if free is None:
        return
    more = 1.0 + 10 * slack
    few = fitting is not None and fitting < FEW_CHECKPOINTS * more
    if not few and free >= LEAST_ROOM * more:
        return
    room = f"{text.file_size(free)} free"
    fits = f", room for {text.plural(fitting, 'checkpoint')}" if fitting is not None else ""
    level: Literal["warn", "bad"] = "bad" if fitting is not None and fitting < 2 else "warn"
    yield Alert(
        "disk", level, f"The run's disk is nearly full: {room}{fits}.",
        "Free some space: old checkpoints of finished runs are the usual suspects.",
    )  # fmt: skip


def checkpoints_that_fit(state: RunState) -> int | None:
    """How many more checkpoints the disk can take; None before the size of one, or the room, is known."""
    free = _finite(state.host.get("disk_free"))
    sizes = [item.bytes for item in state.checkpoints if item.bytes > 0]
    return int(free // sizes[-1]) if free is not None and sizes else None


def holders(gpu: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The processes on a GPU, the largest first; empty where they are not told."""
    told = gpu.get("processes")
    found = [item for item in told if type(item) is dict] if type(told) is list else []
    return sorted(found, key=lambda item: -(_finite(item.get("memory")) or 0.0))


def _finite(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None


def _share(values: Mapping[str, Any], used: str, total: str) -> float:
    a, b = _finite(values.get(used)), _finite(values.get(total))
    return a / b if a is not None and b else 0.0
