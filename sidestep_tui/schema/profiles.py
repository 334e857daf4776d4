"""VRAM profiles: what to set on a GPU of a given size so that the recipe stays the same and the memory suffices.

Every profile keeps batch size times accumulation at 4 and leaves rank, crop and learning rate alone: these are the
recipe. The numbers come from the memory model with rank 64, 60 s crops and dropout 0.1, and a test holds every profile
against the fit ladder; the estimate and the preflight have the last word.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sidestep_tui.schema.memory import Base

Checkpointing = Literal["on", "off"]

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


def _values(*, batch: int, checkpointing: Checkpointing, optimizer: str, base: Base = "full") -> dict[str, Any]:
    return {
        "train.batch_size": batch,
        "train.accumulation": 4 // batch,
        "memory.gradient_checkpointing": checkpointing,
        "memory.base": base,
        "optim.optimizer": optimizer,
    }


PROFILES: tuple[Profile, ...] = (
    Profile(
        "8 GB",
        0.0,
        "One crop at a time without recomputing, 8-bit optimizer state: about 6.6 GiB with the 2B model.",
        "One crop at a time, activations recomputed, frozen model and optimizer state in 8 bits: about 6.0 GiB.",
        _values(batch=1, checkpointing="off", optimizer="adamw8bit"),
        _values(batch=1, checkpointing="on", optimizer="adamw8bit", base="int8"),
    ),
    Profile(
        "12 GB",
        9.5,
        "Two crops at once without recomputing, which saves a third of the time: about 9.4 GiB.",
        "One crop at a time, activations recomputed, 8-bit optimizer state: about 9.9 GiB.",
        _values(batch=2, checkpointing="off", optimizer="adamw"),
        _values(batch=1, checkpointing="on", optimizer="adamw8bit"),
    ),
    Profile(
        "16 GB",
        14.5,
        "Two crops at once without recomputing, with room to spare: about 9.4 GiB.",
        "Four crops at once, activations recomputed: about 11.2 GiB.",
        _values(batch=2, checkpointing="off", optimizer="adamw"),
        _values(batch=4, checkpointing="on", optimizer="adamw"),
    ),
    Profile(
        "24 GB and more",
        22.0,
        "Four crops at once without recomputing: the fastest, about 14.3 GiB.",
        "Two crops at once without recomputing, which saves a third of the time: about 20.1 GiB.",
        _values(batch=4, checkpointing="off", optimizer="adamw"),
        _values(batch=2, checkpointing="off", optimizer="adamw"),
    ),
)


def profile_for(total_bytes: int) -> Profile:
    """The profile of a GPU with that much memory; the smallest one for anything below 8 GB."""
    return next(profile for profile in reversed(PROFILES) if total_bytes >= profile.from_gib * _GIB)
