"""Which device trains, and in which precision."""

from __future__ import annotations

import gc
import os
from dataclasses import dataclass

import torch

from sidestep_tui.core import nvml
from sidestep_tui.core.errors import SettingsError
from sidestep_tui.engine import distributed
from sidestep_tui.engine.ranks import World
from sidestep_tui.schema.memory import MemorySettings


def choose(memory: MemorySettings) -> torch.device:
    """The device that the settings ask for; `auto` takes the GPU with the most free memory, else MPS, else the CPU.

    Each of several processes takes the GPU of its number; the launcher shows them the right ones.
    """
    wanted = memory.device
    if distributed.size() > 1:
        return _of_process(wanted, World.of_environment(os.environ))
    if wanted in ("auto", "all") or wanted.startswith("gpus:"):
        if torch.cuda.is_available():
            return torch.device("cuda", _freest_gpu())
        if wanted != "auto":
            raise SettingsError("There is no GPU here.", f"memory.device is '{wanted}'.", "Set it to 'auto' or 'cpu'.")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    device = torch.device(wanted)
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise SettingsError(
                f"There is no device '{wanted}'.",
                f"torch sees {count or 'no'} CUDA GPU{'' if count == 1 else 's'} here.",
                "Set memory.device to 'auto', and check the driver and CUDA_VISIBLE_DEVICES.",
            )
        return torch.device("cuda", device.index or 0)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise SettingsError("There is no device 'mps'.", "It exists on Apple silicon only.", "Use 'auto' instead.")
    return device


def _of_process(wanted: str, world: World) -> torch.device:
    """The device of one of several processes. SettingsError where the settings or the machine have only one."""
    if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if wanted == "mps" or wanted.startswith("cuda:"):
        raise SettingsError(
            f"{world.size} processes cannot share one device.",
            f"memory.device is '{wanted}'.",
            "Set memory.device to 'all', or start one process.",
        )
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count < world.local_size:
        raise SettingsError(
            f"{world.local_size} processes need a GPU each.",
            f"torch sees {count or 'no'} CUDA GPU{'' if count == 1 else 's'} here.",
            "Start as many processes as there are GPUs, and check CUDA_VISIBLE_DEVICES.",
        )
    return torch.device("cuda", world.local_rank)


def _freest_gpu() -> int:
    """Index of the visible GPU with the most free memory; asks the driver, which costs no context on each GPU."""
    count = torch.cuda.device_count()
    if count == 1:
        return 0
    free = {gpu.uuid.removeprefix("GPU-"): gpu.free for gpu in nvml.gpus()}
    uuids = [str(torch.cuda.get_device_properties(index).uuid) for index in range(count)]
    return max(range(count), key=lambda index: (free.get(uuids[index]) or 0, -index))


@dataclass(frozen=True, slots=True)
class Ability:
    """What decides which precision a device is fast in."""

    kind: str
    """`cuda`, `mps` or `cpu`."""
    compute: tuple[int, int] = (0, 0)
    """Compute capability of a CUDA GPU: 7.0 Volta, 7.5 Turing, 8.0 Ampere, 9.0 Hopper."""
    has_bfloat16: bool = False
    """Whether an Apple GPU's system offers it: macOS 14 and later."""


def ability(device: torch.device) -> Ability:
    """What `device` can do, asked of torch."""
    if device.type == "cuda":
        return Ability("cuda", compute=torch.cuda.get_device_capability(device))
    if device.type == "mps":
        return Ability("mps", has_bfloat16=torch.backends.mps.is_macos_or_newer(14, 0))
    return Ability(device.type)


def automatic(able: Ability) -> tuple[torch.dtype, str]:
    """The precision that `auto` means on such a device, and why where it is not the usual one.

    GPUs before Ampere only imitate bfloat16, many times slower than the float16 that they have.
    """
    if able.kind == "cuda":
        if able.compute >= (8, 0):
            return torch.bfloat16, ""
        return (
            torch.float16,
            f"bfloat16 begins at compute capability 8.0, and this is {'.'.join(map(str, able.compute))}",
        )
    if able.kind == "mps":
        return (torch.bfloat16, "") if able.has_bfloat16 else (torch.float16, "bfloat16 needs macOS 14")
    return torch.float32, ""


def precision(memory: MemorySettings, device: torch.device) -> torch.dtype:
    """The dtype of the frozen base and of its products: that of the settings, or what suits the device."""
    if memory.precision == "auto":
        return automatic(ability(device))[0]
    return {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}[memory.precision]


def for_encoding(dtype: torch.dtype) -> torch.dtype:
    """The dtype that encodes what a model of `dtype` learns from.

    Words are encoded once: float32 costs seconds there, and float16 has no room for what some text encoders compute.
    """
    return torch.float32 if dtype == torch.float16 else dtype


def is_slow(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether the device has to imitate `dtype`: a processor without AVX-512, a GPU from before Ampere.

    A bfloat16 step then takes up to fifty times longer.
    """
    if device.type == "cuda":
        return dtype == torch.bfloat16 and ability(device).compute < (8, 0)
    if device.type != "cpu" or dtype == torch.float32:
        return False
    if dtype == torch.float16:
        return not (torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_fp16_supported())
    # The flag is the one that torch itself asks before it uses the fast kernels; builds without them lack it.
    return not (torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def describe(device: torch.device, dtype: torch.dtype) -> str:
    """For people: `cuda:0 (NVIDIA H200, bfloat16)`, and why where another precision had to be taken."""
    usual, why = automatic(ability(device))
    name = f"{torch.cuda.get_device_name(device)}, " if device.type == "cuda" else ""
    reason = f": {why}" if why and dtype == usual else ""
    others = f", one of {distributed.size()} processes" if distributed.size() > 1 else ""
    return f"{device} ({name}{str(dtype).removeprefix('torch.')}{reason}{others})"


def prepare(device: torch.device) -> None:
    """Make the CPU repeatable to the last bit, and the GPU the current one."""
    if device.type == "cuda":
        torch.cuda.set_device(device)
    elif device.type == "cpu":
        torch.use_deterministic_algorithms(True, warn_only=True)
        # A debugging aid that comes with the line above and costs a pass over every new tensor.
        torch.utils.deterministic.fill_uninitialized_memory = False


def send(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A copy of a CPU tensor on `device`, without waiting for what the device still has to do.

    CUDA does that from pinned memory only. MPS would do it from any, and read memory that is already freed.
    """
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def release(device: torch.device) -> None:
    """Hand memory of models that are gone back to the device."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
