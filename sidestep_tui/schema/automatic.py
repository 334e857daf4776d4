"""What `auto` comes to on a device of which only the name is known; the engine, which can ask it, decides by the same.

Pure. Where the name does not tell, the answer says what decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sidestep_tui.schema import gpu_table
from sidestep_tui.schema.settings import Settings

WORTH_PASSES = 500
"""So many passes through the model pay for compiling it, as engine/speed/compiled.py has it."""
COMPILED_KINDS = ("lora", "lokr", "loha", "oft")
"""Adapters whose blocks compile in one piece."""


class Machine(Protocol):
    """A device as far as its name tells."""

    @property
    def kind(self) -> str:
        """`cuda`, `mps` or `cpu`."""

    @property
    def name(self) -> str:
        """As the driver has it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one setting comes to."""

    path: str
    name: str
    value: str
    why: str = ""
    """Why `auto` comes to it; empty where it was set."""


def compiles(settings: Settings, device: Machine, steps: int | None) -> bool:
    """Whether blocks are compiled: as asked, and for `auto` on CUDA in runs that are long enough to pay for it.

    A run of unknown length counts as long.
    """
    if settings.speed.compile != "auto":
        return settings.speed.compile == "on"
    return (
        device.kind == "cuda"
        and settings.data.crop_seconds > 0
        and settings.adapter.kind in COMPILED_KINDS
        and (steps is None or steps * settings.train.accumulation >= WORTH_PASSES)
    )


def precision(settings: Settings, device: Machine) -> str:
    """`bfloat16`, `float16` or `float32`; empty where `auto` depends on what the name does not tell."""
    if settings.memory.precision != "auto":
        return settings.memory.precision
    if device.kind == "cpu":
        return "float32"
    card = gpu_table.find(device.name)
    if card is None or card.family == "apple":
        return ""
    return "bfloat16" if card.has_bfloat16 else "float16"


def answers(settings: Settings, device: Machine, *, recomputes: bool, where: str, steps: int | None) -> list[Answer]:
    """Device, precision, checkpointing and compiling, as they will be. `where` names the device for people."""
    return [
        Answer("memory.device", "device", where, _device_why(settings, device)),
        _precision_answer(settings, device),
        _checkpointing_answer(settings, recomputes),
        _compile_answer(settings, device, steps),
    ]


def lines(found: Sequence[Answer]) -> list[tuple[str, str, str]]:
    """Name, value and reason of each, for people."""
    return [(answer.name, answer.value, answer.why or "as set") for answer in found]


def _device_why(settings: Settings, device: Machine) -> str:
    if settings.memory.device == "auto" and device.kind != "cuda":
        return "auto: there is no GPU"
    return "auto: the GPU with the most free memory" if settings.memory.device == "auto" else ""


def _precision_answer(settings: Settings, device: Machine) -> Answer:
    path, name = "memory.precision", "precision"
    if settings.memory.precision != "auto":
        return Answer(path, name, settings.memory.precision)
    found = precision(settings, device)
    if device.kind == "cpu":
        return Answer(path, name, found, "auto: what processors are fast in")
    if not found:
        after = "macOS 14" if device.kind == "mps" else "Ampere (RTX 30)"
        return Answer(path, name, "bfloat16 or float16", f"auto: bfloat16 from {after} on")
    return Answer(path, name, found, "auto: this GPU has it" if found == "bfloat16" else "auto: it has no bfloat16")


def _checkpointing_answer(settings: Settings, recomputes: bool) -> Answer:
    chosen = settings.memory.gradient_checkpointing
    why = ""
    if chosen == "auto":
        why = "auto: it would not fit without" if recomputes else "auto: it fits without"
    return Answer("memory.gradient_checkpointing", "checkpointing", "on" if recomputes else "off", why)


def _compile_answer(settings: Settings, device: Machine, steps: int | None) -> Answer:
    path, name = "speed.compile", "compile"
    if settings.speed.compile != "auto":
        return Answer(path, name, settings.speed.compile)
    if compiles(settings, device, steps):
        return Answer(path, name, "on", "auto: fixed crops on CUDA, given Triton")
    if device.kind != "cuda":
        why = "only on CUDA"
    elif not settings.data.crop_seconds:
        why = "songs of many lengths"
    elif settings.adapter.kind not in COMPILED_KINDS:
        why = "this adapter falls into pieces"
    else:
        why = "the run is too short to pay for it"
    return Answer(path, name, "off", f"auto: {why}")
