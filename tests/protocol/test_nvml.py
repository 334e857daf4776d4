from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from sidestep_tui.core import nvml


class NVMLError(Exception):
    pass


def refuse(*_: object) -> Any:
    raise NVMLError


def driver(**changes: Any) -> ModuleType:
    """A stand-in for the NVML binding with one card."""
    module = ModuleType("pynvml")
    defaults = {
        "NVMLError": NVMLError,
        "NVML_TEMPERATURE_GPU": 0,
        "nvmlInit": lambda: None,
        "nvmlDeviceGetCount": lambda: 1,
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetMemoryInfo": lambda handle: SimpleNamespace(total=100, used=40, free=60),
        "nvmlDeviceGetUtilizationRates": lambda handle: SimpleNamespace(gpu=97),
        "nvmlDeviceGetUUID": lambda handle: b"GPU-1",
        "nvmlDeviceGetName": lambda handle: "Card",
        "nvmlDeviceGetTemperature": lambda handle, sensor: 61,
        "nvmlDeviceGetPowerUsage": lambda handle: 250_500,
        "nvmlDeviceGetEnforcedPowerLimit": lambda handle: 350_000,
        "NVML_TEMPERATURE_THRESHOLD_SLOWDOWN": 1,
        "nvmlDeviceGetTemperatureThreshold": lambda handle, which: 83,
        "nvmlDeviceGetCurrentClocksEventReasons": lambda handle: 0,
        "nvmlDeviceGetGraphicsRunningProcesses": lambda handle: [],
        "nvmlDeviceGetComputeRunningProcesses": lambda handle: [],
    }
    for name, value in (defaults | changes).items():
        setattr(module, name, value)
    return module


@pytest.fixture(autouse=True)
def _forget_driver() -> Iterator[None]:
    nvml._nvml.cache_clear()
    yield
    nvml._nvml.cache_clear()


def with_driver(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> list[nvml.Gpu]:
    monkeypatch.setitem(sys.modules, "pynvml", driver(**changes))
    return nvml.gpus()


def test_a_card_is_read_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    assert with_driver(monkeypatch) == [nvml.Gpu(0, "GPU-1", "Card", 100, 40, 60, 97, 61, 250.5, 350.0, 83)]


def test_no_driver_means_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    assert with_driver(monkeypatch, nvmlInit=refuse) == []


def test_a_missing_sensor_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    (gpu,) = with_driver(
        monkeypatch,
        nvmlDeviceGetUtilizationRates=refuse,
        nvmlDeviceGetTemperature=refuse,
        nvmlDeviceGetPowerUsage=refuse,
        nvmlDeviceGetEnforcedPowerLimit=refuse,
    )
    assert (gpu.util, gpu.temp, gpu.power, gpu.power_limit) == (None, None, None, None)


def test_a_card_that_fell_off_the_bus_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def handle(index: int) -> int:
        return refuse() if index == 0 else index

    found = with_driver(monkeypatch, nvmlDeviceGetCount=lambda: 2, nvmlDeviceGetHandleByIndex=handle)
    assert [gpu.index for gpu in found] == [1]


def test_a_driver_that_stops_answering_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert with_driver(monkeypatch, nvmlDeviceGetCount=refuse) == []


def test_this_machine_can_be_read() -> None:
    assert isinstance(nvml.gpus(), list)
    stats = nvml.host()
    assert 0 < stats.rss <= stats.ram_total and 0 < stats.ram_used < stats.ram_total
    assert 0.0 <= stats.cpu <= 100.0


@pytest.mark.parametrize(
    ("reasons", "told"),
    [(0x1, ""), (0x4, "power"), (0x4 | 0x20, "heat"), (0x40, "heat"), (0x80, "brake"), (0x8, "slow")],
)
def test_throttling_is_told_with_its_worst_reason(monkeypatch: pytest.MonkeyPatch, reasons: int, told: str) -> None:
    (gpu,) = with_driver(monkeypatch, nvmlDeviceGetCurrentClocksEventReasons=lambda handle: reasons)
    assert gpu.throttle == told
    assert told == "" or told in nvml.THROTTLES


def test_processes_on_a_card_are_told_by_name_with_their_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [SimpleNamespace(pid=os.getpid(), usedGpuMemory=30), SimpleNamespace(pid=2**22 + 1, usedGpuMemory=None)]
    (gpu,) = with_driver(monkeypatch, nvmlDeviceGetComputeRunningProcesses=lambda handle: found)
    mine, other = gpu.processes
    assert (mine.memory, mine.ours) == (30, True)
    assert mine.name
    assert other == nvml.GpuProcess(2**22 + 1, "", None, ours=False)


def test_a_card_that_hides_its_processes_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    (gpu,) = with_driver(
        monkeypatch,
        nvmlDeviceGetComputeRunningProcesses=refuse,
        nvmlDeviceGetGraphicsRunningProcesses=refuse,
        nvmlDeviceGetCurrentClocksEventReasons=refuse,
        nvmlDeviceGetTemperatureThreshold=refuse,
    )
    assert (gpu.processes, gpu.throttle, gpu.temp_limit) == ((), "", None)
    assert set(gpu.event()) == {"index", "name", "util", "mem_used", "mem_total", "temp", "power", "power_limit"}


def test_only_the_largest_processes_are_told() -> None:
    many = tuple(nvml.GpuProcess(pid, "worker", pid, ours=False) for pid in range(1, 40))
    told = nvml.Gpu(0, "", "Card", 100, 40, 60, 1, 1, 1.0, None, processes=many).event()["processes"]
    assert [item["pid"] for item in told] == [39, 38, 37, 36, 35, 34]


def test_the_disk_of_a_path_that_is_gone_is_unknown(tmp_path: Path) -> None:
    assert nvml.disk(tmp_path / "nowhere") is None
    assert nvml.disk(tmp_path).free > 0  # type: ignore[union-attr]
