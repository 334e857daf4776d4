"""VRAM profiles: what to set on a GPU of a given size so that the recipe stays the same and the memory suffices.

Every profile keeps batch size times accumulation at 4 and leaves rank, crop and learning rate alone: these are the
recipe. The numbers come from the memory model with rank 64, 60 s crops and dropout 0.1; the estimate and the preflight
have the last word.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Profile:
    """A GPU size. `values` suit the 2B model, `xl_values` the XL one; `from_gib` is what such cards really report."""

    name: str
    from_gib: float
    summary: str
    xl_summary: str
    values: Mapping[str, Any]
    xl_values: Mapping[str, Any]

    def values_for(self, *, xl: bool) -> Mapping[str, Any]:
        """The values for the chosen model."""
        return self.xl_values if xl else self.values


def _values(*, batch: int, checkpointing: bool, optimizer: str) -> dict[str, Any]:
    return {
        "train.batch_size": batch,
        "train.accumulation": 4 // batch,
        "memory.gradient_checkpointing": checkpointing,
        "optim.optimizer": optimizer,
    }


PROFILES: tuple[Profile, ...] = (
    Profile(
        "8 GB",
        0.0,
        "One crop at a time, activations recomputed, 8-bit optimizer state: about 4.5 GiB with the 2B model.",
        "The XL model alone is 8 GiB: choose the 2B model, or a larger GPU.",
        _values(batch=1, checkpointing=True, optimizer="adamw8bit"),
        _values(batch=1, checkpointing=True, optimizer="adamw8bit"),
    ),
    Profile(
        "12 GB",
        9.5,
        "One crop at a time without recomputing, which saves a third of the time: about 8.0 GiB.",
        "One crop at a time, activations recomputed, 8-bit optimizer state: about 10.1 GiB.",
        _values(batch=1, checkpointing=False, optimizer="adamw"),
        _values(batch=1, checkpointing=True, optimizer="adamw8bit"),
    ),
    Profile(
        "16 GB",
        14.5,
        "Two crops at once without recomputing, which keeps the GPU busier: about 11.6 GiB.",
        "Two crops at once, activations recomputed: about 10.9 GiB.",
        _values(batch=2, checkpointing=False, optimizer="adamw"),
        _values(batch=2, checkpointing=True, optimizer="adamw"),
    ),
    Profile(
        "24 GB and more",
        22.0,
        "Four crops at once without recomputing: the fastest, about 18.7 GiB.",
        "One crop at a time without recomputing, which saves a third of the time: about 17.2 GiB.",
        _values(batch=4, checkpointing=False, optimizer="adamw"),
        _values(batch=1, checkpointing=False, optimizer="adamw"),
    ),
)


def profile_for(total_bytes: int) -> Profile:
    """The profile of a GPU with that much memory; the smallest one for anything below 8 GB."""
    return next(profile for profile in reversed(PROFILES) if total_bytes >= profile.from_gib * _GIB)
