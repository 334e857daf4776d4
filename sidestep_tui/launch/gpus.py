"""Which device a run would use, and how much room it has there; without torch."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sidestep_tui.core import nvml
from sidestep_tui.core.nvml import Gpu
from sidestep_tui.schema.activation_model import Attention
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


@dataclass(frozen=True, slots=True)
class Team:
    """GPUs that train a run together, with a process each."""

    gpus: tuple[Gpu, ...]

    @property
    def visible(self) -> str:
        """What CUDA_VISIBLE_DEVICES says for their processes; identifiers, since numbers may mean others to CUDA."""
        return ",".join(gpu.uuid or str(gpu.index) for gpu in self.gpus)


def visible(gpus: Sequence[Gpu], env: Mapping[str, str] = os.environ) -> list[Gpu]:
    """Those of the driver's GPUs that CUDA_VISIBLE_DEVICES leaves to this process, as batch systems set it."""
    allowed = env.get("CUDA_VISIBLE_DEVICES")
    if allowed is None:
        return list(gpus)
    names = [name.strip() for name in allowed.split(",") if name.strip()]
    return [gpu for gpu in gpus if any(name == str(gpu.index) or gpu.uuid.startswith(name) for name in names)]


def team(settings: Settings, gpus: Sequence[Gpu] | None = None) -> Team | None:
    """The GPUs of a run with several processes: all, or the wanted number with the most free memory.

    None for a run of one process, and where there are too few.
    """
    wanted = settings.memory.device
    if wanted != "all" and not wanted.startswith("gpus:"):
        return None
    present = visible(nvml.gpus() if gpus is None else gpus)
    number = len(present) if wanted == "all" else int(wanted.removeprefix("gpus:"))
    if not 1 < number <= len(present):
        return None
    freest = sorted(present, key=lambda gpu: gpu.free or 0, reverse=True)[:number]
    return Team(tuple(sorted(freest, key=lambda gpu: gpu.index)))


def processes(settings: Settings, gpus: Sequence[Gpu] | None = None) -> int:
    """How many processes train the run here."""
    together = team(settings, gpus)
    return len(together.gpus) if together else 1


def choose(settings: Settings, gpus: list[Gpu] | None = None) -> Device | None:
    """The device that `memory.device` means here: None when it names a GPU that is not there.

    `auto` takes the GPU with the most free memory, as the engine does. Of several the one with the least counts: all
    hold the same.
    """
    wanted = settings.memory.device
    if wanted in ("cpu", "mps"):
        return _system(wanted)  # type: ignore[arg-type]
    present = nvml.gpus() if gpus is None else gpus
    if together := team(settings, present):
        return _cuda(min(together.gpus, key=lambda gpu: gpu.free or 0))
    if wanted.startswith("gpus:") and wanted != "gpus:1":
        return None
    if wanted.startswith("cuda:"):
        number = int(wanted.removeprefix("cuda:"))
        return next((_cuda(gpu) for gpu in present if gpu.index == number), None)
    if present:
        return _cuda(max(present, key=lambda gpu: gpu.free or 0))
    if wanted != "auto":
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
