"""Which device a run would use, and how much room it has there; without torch."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import Literal

from sidestep_tui.core import nvml
from sidestep_tui.core.nvml import Gpu
from sidestep_tui.schema.memory_model import Attention
from sidestep_tui.schema.settings import Settings

_CUDNN_NAMES = r"\b(H100|H200|H800|H20|GH200|B100|B200|B300|GB200|GB300)\b"
_SYSTEM_SHARE = 0.8
"""How much of the available system memory training on a CPU may plan with."""


@dataclass(frozen=True, slots=True)
class Device:
    """The device of a run: `free` and `total` are bytes of its own memory, or of the system's."""

    kind: Literal["cuda", "cpu", "mps"]
    name: str
    free: int
    total: int
    index: int = 0

    @property
    def attention(self) -> Attention:
        """The attention kernel that the model's masked, grouped sliding layers get there.

        On data-centre GPUs from Hopper on, cuDNN takes them, on CPUs a flash kernel does. Elsewhere PyTorch falls back
        to its plain implementation, which keeps the probabilities of every pair of tokens.
        """
        if self.kind == "cpu" or re.search(_CUDNN_NAMES, self.name):
            return "flash"
        return "math"

    @property
    def base_bytes(self) -> float:
        """Bytes per weight of the frozen model there, when precision is left to the engine."""
        return 4.0 if self.kind == "cpu" else 2.0


def choose(settings: Settings, gpus: list[Gpu] | None = None) -> Device | None:
    """The device that `memory.device` means here: None when it names a GPU that is not there.

    `auto` takes the GPU with the most free memory, as the engine does.
    """
    wanted = settings.memory.device
    if wanted in ("cpu", "mps"):
        return _system(wanted)  # type: ignore[arg-type]
    present = nvml.gpus() if gpus is None else gpus
    if wanted.startswith("cuda:"):
        number = int(wanted.removeprefix("cuda:"))
        return next((_cuda(gpu) for gpu in present if gpu.index == number), None)
    if present:
        return _cuda(max(present, key=lambda gpu: gpu.free or 0))
    if wanted == "cuda":
        return None
    return _system("mps" if sys.platform == "darwin" else "cpu")


def _cuda(gpu: Gpu) -> Device:
    return Device("cuda", gpu.name, int(gpu.free or 0), int(gpu.total or 0), gpu.index)


def _system(kind: Literal["cpu", "mps"]) -> Device:
    host = nvml.host()
    free = int((host.ram_total - host.ram_used) * _SYSTEM_SHARE)
    return Device(kind, "this computer's CPU" if kind == "cpu" else "Apple GPU", free, int(host.ram_total))


def base_bytes(settings: Settings, device: Device) -> float:
    """Bytes per weight of the frozen model under `memory.precision` on `device`."""
    explicit = {"bfloat16": 2.0, "float16": 2.0, "float32": 4.0}
    return explicit.get(settings.memory.precision, device.base_bytes)
