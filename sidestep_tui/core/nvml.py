"""What the machine is doing: GPUs through NVML, processor and memory through psutil.

A machine without a driver has no GPUs; a sensor that a card or a container does not offer is None. Nothing
here raises because hardware is missing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

_lock = threading.Lock()


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
