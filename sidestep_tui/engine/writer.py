"""Writing beside training: a thread for it, copies of tensors that no later step changes, and the files they go to."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import torch


class Writer:
    """Carries out jobs one after the other in a thread of its own, or at once where `background` is false.

    At most one job of a kind is on its way: the next one waits for it, so that no more than one copy of what a kind
    writes is in memory. What goes wrong in a job is raised where its result is next asked for.
    """

    def __init__(self, *, background: bool) -> None:
        self._pool = ThreadPoolExecutor(1, "writer") if background else None
        self._jobs: dict[str, Future[None]] = {}

    @property
    def is_background(self) -> bool:
        """Whether training goes on while something is written."""
        return self._pool is not None

    def submit(self, kind: str, job: Callable[[], None]) -> None:
        """Begin `job`; one of the same `kind` comes to its end first, and raises what went wrong with it."""
        self.wait(kind)
        if self._pool is None:
            job()
        else:
            self._jobs[kind] = self._pool.submit(job)

    def check(self) -> None:
        """Raise what went wrong with a job that has come to its end; waits for nothing."""
        for kind in [kind for kind, job in self._jobs.items() if job.done()]:
            self.wait(kind)

    def wait(self, kind: str | None = None) -> None:
        """Return when nothing (of `kind`) is being written any more; raises what went wrong."""
        for name in [kind] if kind else list(self._jobs):
            if job := self._jobs.pop(name, None):
                job.result()

    def close(self) -> BaseException | None:
        """Come to an end; returns what went wrong with a job that nobody has asked about, instead of raising it."""
        if self._pool is None:
            return None
        self._pool.shutdown(wait=True)
        errors = [job.exception() for job in self._jobs.values()]
        self._jobs.clear()
        return next((error for error in errors if error is not None), None)


def on_host(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Copies of `tensors` in host memory, of which no later step changes anything; one wait for the device.

    From CUDA they are copied into page-locked memory, which the copies of the next save use again.
    """
    copies = {name: _copy(tensor.detach()) for name, tensor in tensors.items()}
    for device in {tensor.device for tensor in tensors.values() if tensor.device.type == "cuda"}:
        torch.cuda.current_stream(device).synchronize()
    return copies


def _copy(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.device.type == "cuda":
        # Where a system lets nobody lock so much memory, the copy only takes longer.
        with suppress(RuntimeError):
            locked = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            return locked.copy_(tensor, non_blocking=True)
    return tensor.to("cpu", copy=True).contiguous()


_ALIGNMENT = 8
_TYPES = {
    torch.float64: "F64",
    torch.int64: "I64",
    torch.float32: "F32",
    torch.int32: "I32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.bool: "BOOL",
}
"""What safetensors calls each type; wider ones come first in a file, so that each lies at a multiple of its width."""


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file: the same bytes for the same tensors, whose errors name a full disk.

    By hand: the library makes a second copy of all tensors in memory, and other threads wait for it meanwhile.
    """
    order = list(_TYPES)
    names = sorted(tensors, key=lambda name: (order.index(tensors[name].dtype), name))
    header: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    place = 0
    for name in names:
        tensor = tensors[name]
        end = place + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _TYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [place, end]}
        place = end
    encoded = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    encoded += b" " * (-len(encoded) % _ALIGNMENT)
    with path.open("wb") as handle:
        handle.write(len(encoded).to_bytes(_ALIGNMENT, "little") + encoded)
        for name in names:
            plain = tensors[name].detach().cpu().contiguous().flatten()
            handle.write(plain.view(torch.uint8).numpy())
