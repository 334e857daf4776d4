"""Which rung of the fit ladder a run stands on: chosen at the start, and one lower after a step ran out of memory.

A step that runs out of memory has changed no weight: its gradients are cleared and it is repeated, first with
activations recomputed, then with half as many crops at once. Both leave the gradient as it is, up to rounding.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import psutil
import torch

from sidestep_tui.core import text
from sidestep_tui.core.errors import OutOfMemoryError
from sidestep_tui.engine import devices
from sidestep_tui.engine.reporter import Reporter
from sidestep_tui.engine.speed import recompute
from sidestep_tui.engine.speed.compiled import CompiledBlock
from sidestep_tui.schema import fit_ladder, memory_model
from sidestep_tui.schema.activation_model import Attention
from sidestep_tui.schema.model_shape import model_shape
from sidestep_tui.schema.settings import Settings

_Item = TypeVar("_Item")

_SYSTEM_SHARE = 0.8
"""How much of the available system memory training on a CPU may plan with."""
_WANTED = re.compile(r"[Tt]ried to allocate ([\d.]+ ?[KMGT]?i?B(?:ytes)?)|allocate (\d+) bytes")
_HINT = (
    "Set memory.base to int8, shorten data.crop_seconds, lower adapter.rank, or close what else uses the device; "
    "`sidestep-tui fit` says what would fit. A resumed run continues from the newest checkpoint."
)


@dataclass(frozen=True, slots=True)
class Relief:
    """What was given up so that steps fit. A resumed run keeps it as long as the settings `under` are the same."""

    checkpointing: bool = False
    """Activations are recomputed, though the settings do not ask for it."""
    micro_batch: int = 0
    """At most so many crops at once; 0 as many as set."""
    under: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Shortage:
    """A step that ran out of memory, and the rung that it was repeated on."""

    numbers: str
    remedy: str


def settle(
    settings: Settings, config: Mapping[str, Any], device: torch.device, dtype: torch.dtype
) -> tuple[Settings, str]:
    """The settings with `auto` decided by what is free on `device`, and a sentence that says what and why.

    `config` is the checkpoint's. To be asked before the model is loaded.
    """
    if settings.memory.gradient_checkpointing != "auto":
        return settings, f"Gradient checkpointing is {settings.memory.gradient_checkpointing}, as set."
    shape = model_shape(config)
    free = free_bytes(device)

    def needs(asked: Settings) -> int:
        return memory_model.estimate(
            shape, asked, attention=stock_attention(device), base_bytes=float(dtype.itemsize)
        ).total

    without = needs(fit_ladder.with_values(settings, {"memory.gradient_checkpointing": "off"}))
    decided = fit_ladder.settled(settings, needs, free)
    chosen = decided.memory.gradient_checkpointing
    room = f"{text.gibibytes(without)} are needed without it and {text.gibibytes(free)} are free"
    return decided, f"Gradient checkpointing is {chosen}: by the estimate, {room}."


def free_bytes(device: torch.device) -> int:
    """Memory that a run may plan with on `device`: of the GPU, or a share of the system's."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available * _SYSTEM_SHARE)


def stock_attention(device: torch.device) -> Attention:
    """What diffusers' masked attention gets there: on GPUs before Hopper, PyTorch's plain implementation."""
    if device.type == "cpu":
        return "flash"
    is_hopper = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (9, 0)
    return "flash" if is_hopper else "math"


def start(settings: Settings) -> Relief:
    """The top of the ladder, for these settings."""
    asked = {
        "memory.base": settings.memory.base,
        "train.batch_size": settings.train.batch_size,
        "data.crop_seconds": settings.data.crop_seconds,
    }
    return Relief(under=asked)


def resumed(saved: Relief, settings: Settings) -> Relief:
    """What a resumed run begins with: what was given up before, unless settings that decide memory are others now."""
    fresh = start(settings)
    return saved if dict(saved.under) == fresh.under else fresh


def recomputes(transformer: torch.nn.Module) -> bool:
    """Whether the model recomputes its activations: by checkpointing, or compiled to keep none."""
    if transformer.is_gradient_checkpointing:
        return True
    compilers = [module.compiler for module in transformer.modules() if isinstance(module, CompiledBlock)]
    return any(compiler.works and compiler.budget == 0 for compiler in compilers)


def apply(relief: Relief, transformer: torch.nn.Module) -> None:
    """Have the model recompute its activations, if that is what was given up."""
    if relief.checkpointing and not recomputes(transformer):
        recompute.enable(transformer)


def split(groups: Iterable[Sequence[_Item]], most: int) -> Iterator[list[_Item]]:
    """The groups of examples that are computed together, each at most `most` large (0: as they are)."""
    for group in groups:
        size = most or len(group)
        for first in range(0, len(group), size):
            yield list(group[first : first + size])


def lower(relief: Relief, largest: int, *, recomputes: bool) -> Relief | None:
    """The next rung for a step whose largest group of examples is `largest`; None where there is none left."""
    if not recomputes:
        return replace(relief, checkpointing=True)
    size = min(relief.micro_batch or largest, largest)
    return replace(relief, micro_batch=(size + 1) // 2) if size > 1 else None


def shortage(error: BaseException, relief: Relief, device: torch.device) -> Shortage:
    """What to tell about a step that ran out of memory and is repeated under `relief`."""
    remedy = "with activations recomputed"
    if relief.micro_batch:
        remedy = f"with {text.plural(relief.micro_batch, 'crop')} at once"
    return Shortage(numbers(error, device), f"It is repeated {remedy}, which leaves the gradient as it is.")


def exhausted(error: BaseException, device: torch.device) -> OutOfMemoryError:
    """The end of a run whose step does not fit on any rung, or that may not go lower."""
    return OutOfMemoryError("Memory ran out in a step.", numbers(error, device), _HINT)


def numbers(error: BaseException, device: torch.device) -> str:
    """What was wanted, held and free, as far as it is known."""
    found = _WANTED.search(str(error))
    wanted = f"{next(part for part in found.groups() if part)} were wanted" if found else "An allocation failed"
    if device.type == "cuda":
        held, free = torch.cuda.memory_allocated(device), torch.cuda.mem_get_info(device)[0]
    else:
        held, free = psutil.Process().memory_info().rss, psutil.virtual_memory().available
    return f"{wanted}; {text.gibibytes(held)} were held and {text.gibibytes(free)} free on {device}."


def make_room(optimizer: torch.optim.Optimizer, device: torch.device) -> None:
    """Forget the gradients of a step that is to be repeated, and hand back what it took."""
    optimizer.zero_grad(set_to_none=True)
    devices.release(device)


def report(reporter: Reporter, shortages: Sequence[Shortage]) -> None:
    """Tell the journal about steps that were repeated."""
    for item in shortages:
        reporter.warning("out_of_memory", f"A step ran out of memory. {item.numbers}", item.remedy)
