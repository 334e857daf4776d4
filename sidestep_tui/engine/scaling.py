"""Loss scaling for float16, whose smallest numbers are too large for many gradients.

The loss is multiplied by a power of two before the backward pass and its gradients are divided by it afterwards, both
without rounding. Too large a factor overflows: that step is left out and the factor halved. After many steps without
overflow it is doubled again (Micikevicius et al. 2018, "Mixed Precision Training"; the constants are those of torch's
GradScaler). Unlike torch's, this one is a plain value that a checkpoint holds and that takes no wait for the device.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from pydantic import NonNegativeInt, PositiveFloat

_SMALLEST: Final = 1.0
_LARGEST: Final = 2.0**24
"""Beyond it the loss itself could overflow float32's precision; nobody gets there from above."""
_GROW_AFTER: Final = 2000


@dataclass(frozen=True, slots=True)
class Scale:
    """The factor at a step, and how many steps in a row have fitted it."""

    factor: PositiveFloat = 65536.0
    fitted: NonNegativeInt = 0

    def after(self, *, overflowed: bool) -> Scale:
        """The scale of the next step."""
        if overflowed:
            return Scale(max(self.factor / 2, _SMALLEST))
        if self.fitted + 1 < _GROW_AFTER:
            return Scale(self.factor, self.fitted + 1)
        return Scale(min(self.factor * 2, _LARGEST))


def first(dtype: torch.dtype) -> Scale | None:
    """The scale that training in `dtype` begins with; None where there is no need of one."""
    return Scale() if dtype == torch.float16 else None


def up(loss: torch.Tensor, scale: Scale | None) -> torch.Tensor:
    """The loss to take the gradient of."""
    return loss if scale is None else loss * scale.factor


def down(parameters: Iterable[torch.nn.Parameter], scale: Scale | None) -> None:
    """Give the gradients their own size back; exact in float32, since the factor is a power of two."""
    if scale is not None:
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        torch._foreach_mul_(gradients, 1.0 / scale.factor)


def overflowed(scale: Scale | None, losses: Sequence[float], norm: float) -> bool:
    """Whether a step's gradients failed by the scale alone: its losses are finite, and a smaller one may do."""
    if scale is None or scale.factor <= _SMALLEST or math.isfinite(norm):
        return False
    return all(math.isfinite(loss) for loss in losses)
