"""What the machine is doing: GPUs through NVML, processor and memory through psutil.

A machine without a driver has no GPUs; a sensor that a card or a container does not offer is None. Nothing
here raises because hardware is missing.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

_lock = threading.Lock()

_PROCESSES_TOLD = 6
"""Of the processes on a GPU, the largest are told."""

THROTTLES = {
    "heat": "too hot",
    "brake": "short of power",
    "slow": "slowed by the hardware",
    "power": "at its power limit",
}
"""Why a card runs slower than it could, worst first, in words. The last one is usual under full load."""

_THROTTLE_BITS = {"heat": 0x20 | 0x40, "brake": 0x80, "slow": 0x8, "power": 0x4}
"""NVML's clocks event reasons: software and hardware thermal slowdown, power brake, hardware slowdown, power cap."""


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A process that holds memory of a GPU."""

    pid: int
    name: str
    """Empty where it cannot be seen, as from inside a container."""
    memory: int | None
    ours: bool
    """Whether it is this process, or one that trains together with it."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU at one moment. Memory in bytes, temperature in °C, power in watts."""

    index: int
    uuid: str
    name: str
    total: int
    used: int
    free: int
    util: int | None
    temp: int | None
    power: float | None
    power_limit: float | None
    temp_limit: int | None = None
    """From here on the card slows itself down."""
    throttle: str = ""
    """Why the card runs slower than it could: a key of `THROTTLES`, or empty."""
    processes: tuple[GpuProcess, ...] = ()

    def event(self) -> dict[str, Any]:
        """The gauges as the journal tells them; what is not known or not there is left out of the newer ones."""
        told: dict[str, Any] = {
            "index": self.index,
            "name": self.name,
            "util": self.util,
            "mem_used": self.used,
            "mem_total": self.total,
            "temp": self.temp,
            "power": self.power,
        }
        if self.power_limit is not None:
            told["power_limit"] = self.power_limit
        if self.temp_limit is not None:
            told["temp_limit"] = self.temp_limit
        if self.throttle:
            told["throttle"] = self.throttle
        if self.processes:
            largest = sorted(self.processes, key=lambda process: -(process.memory or 0))[:_PROCESSES_TOLD]
            told["processes"] = [
                {"pid": item.pid, "name": item.name, "memory": item.memory, "ours": item.ours} for item in largest
            ]
        return told


@dataclass(frozen=True, slots=True)
class HostStats:
    """The processor and main memory at one moment. `cpu` in percent of the whole machine, memory in bytes."""

    cpu: float
    ram_used: int
    ram_total: int
    rss: int
    """Main memory held by this process."""


@cache
def _nvml() -> ModuleType | None:
    """The initialised NVML binding; None without a driver."""
    import pynvml  # 30 ms, and of no use on a machine without a GPU

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    module: ModuleType = pynvml
    return module


def _sensor(nvml: ModuleType, read: Callable[..., Any], *args: Any) -> Any:
    """A reading, or None where the card does not offer it."""
    try:
        return read(*args)
    except nvml.NVMLError:
        return None


def _text(value: Any) -> str:
    """Older bindings hand out bytes."""
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    return str(value) if value is not None else ""


def _throttle(reasons: int | None) -> str:
    return next((name for name, bits in _THROTTLE_BITS.items() if (reasons or 0) & bits), "")


def _processes(nvml: ModuleType, handle: Any) -> tuple[GpuProcess, ...]:
    """Who holds memory of a card, computing or drawing."""
    found: dict[int, int | None] = {}
    for read in (nvml.nvmlDeviceGetGraphicsRunningProcesses, nvml.nvmlDeviceGetComputeRunningProcesses):
        for item in _sensor(nvml, read, handle) or ():
            found[int(item.pid)] = None if item.usedGpuMemory is None else int(item.usedGpuMemory)
    return tuple(GpuProcess(pid, _name(pid), memory, _is_ours(pid)) for pid, memory in found.items())


def _name(pid: int) -> str:
    """What a process is called; of an interpreter, the script too."""
    import psutil  # 26 ms

    try:
        process = psutil.Process(pid)
        name = process.name()
        if not name.startswith("python"):
            return name
        words = [word for word in process.cmdline()[1:] if not word.startswith("-")]
    except (psutil.Error, OSError):
        return ""
    return f"{name} {Path(words[0]).name}" if words else name


def _is_ours(pid: int) -> bool:
    """This process, or one that torchrun started beside it."""
    if pid == os.getpid():
        return True
    if "LOCAL_RANK" not in os.environ:
        return False
    import psutil  # 26 ms

    try:
        return int(psutil.Process(pid).ppid()) == os.getppid()
    except (psutil.Error, OSError):
        return False


def _read(nvml: ModuleType, index: int) -> Gpu | None:
    handle = _sensor(nvml, nvml.nvmlDeviceGetHandleByIndex, index)
    if handle is None:
        return None
    memory = _sensor(nvml, nvml.nvmlDeviceGetMemoryInfo, handle)
    utilisation = _sensor(nvml, nvml.nvmlDeviceGetUtilizationRates, handle)
    power = _sensor(nvml, nvml.nvmlDeviceGetPowerUsage, handle)
    limit = _sensor(nvml, nvml.nvmlDeviceGetEnforcedPowerLimit, handle)
    return Gpu(
        index=index,
        uuid=_text(_sensor(nvml, nvml.nvmlDeviceGetUUID, handle)),
        name=_text(_sensor(nvml, nvml.nvmlDeviceGetName, handle)) or f"GPU {index}",
        total=int(memory.total) if memory is not None else 0,
        used=int(memory.used) if memory is not None else 0,
        free=int(memory.free) if memory is not None else 0,
        util=int(utilisation.gpu) if utilisation is not None else None,
        temp=_sensor(nvml, nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU),
        power=power / 1000 if power is not None else None,
        power_limit=limit / 1000 if limit is not None else None,
        temp_limit=_sensor(
            nvml, nvml.nvmlDeviceGetTemperatureThreshold, handle, nvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN
        ),
        throttle=_throttle(_sensor(nvml, nvml.nvmlDeviceGetCurrentClocksEventReasons, handle)),
        processes=_processes(nvml, handle),
    )


def gpus() -> list[Gpu]:
    """Every GPU that the driver shows, in its order; empty without a driver. A few milliseconds a call."""
    with _lock:
        nvml = _nvml()
        if nvml is None:
            return []
        count = _sensor(nvml, nvml.nvmlDeviceGetCount) or 0
        found = [_read(nvml, index) for index in range(count)]
    return [gpu for gpu in found if gpu is not None]


@cache
def _process() -> Any:
    import psutil  # 26 ms

    return psutil.Process()


def host() -> HostStats:
    """Processor and memory now; `cpu` covers the time since the call before, and is 0 on the first."""
    import psutil  # 26 ms

    memory = psutil.virtual_memory()
    return HostStats(
        cpu=float(psutil.cpu_percent(interval=None)),
        ram_used=int(memory.total - memory.available),
        ram_total=int(memory.total),
        rss=int(_process().memory_info().rss),
    )


@dataclass(frozen=True, slots=True)
class Disk:
    """The file system that holds a path, in bytes."""

    free: int
    total: int


def disk(path: Path) -> Disk | None:
    """How much room there is; None where the file system does not answer."""
    try:
        usage = shutil.disk_usage(path)
    except OSError:
        return None
    return Disk(usage.free, usage.total)
