"""The moving average of the adapter over the steps (EMA), which forgets the jitter of single steps.

It lives in the optimizer's state, so that it is saved, restored and brought back by the watchdog with everything else;
checkpoints hold the trained weights beside it, and a resumed run goes on from those. What is measured on held-out songs
and exported is the average.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sidestep_tui.engine import optimizers
from sidestep_tui.engine.update_rules import SHARED

_ENTRY = "ema"
_COUNT = "ema_steps"


def decay_at(decay: float, updates: int) -> float:
    """How much of the average stays at the next update, after so many: min(decay, (1 + n) / (10 + n)).

    The warm-up keeps the untrained start out of short runs (as in TensorFlow's ExponentialMovingAverage).
    """
    return min(decay, (1.0 + updates) / (10.0 + updates))


def update(optimizer: torch.optim.Optimizer, decay: float) -> None:
    """Move the average towards the weights after an optimizer step; the first one is the weights themselves.

    Stays on the device, float32. A `decay` of 0 means no average.
    """
    if decay == 0.0:
        return
    parameters = _parameters(optimizer)
    shared = optimizer.state[SHARED]
    if _ENTRY not in optimizer.state[parameters[0]]:
        for parameter in parameters:
            optimizer.state[parameter][_ENTRY] = parameter.detach().clone()
        shared[_COUNT] = 0
        return
    means = [optimizer.state[parameter][_ENTRY] for parameter in parameters]
    with torch.no_grad():
        torch._foreach_lerp_(means, parameters, 1.0 - decay_at(decay, shared[_COUNT]))
    shared[_COUNT] += 1


@contextmanager
def published(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Within this, the parameters are what is exported and measured: the average, where there is one."""
    parameters = _parameters(optimizer)
    if _ENTRY not in optimizer.state.get(parameters[0], {}):
        with optimizers.published_weights(optimizer):
            yield
        return
    trained = [parameter.detach().clone() for parameter in parameters]
    means = [optimizer.state[parameter][_ENTRY] for parameter in parameters]
    with torch.no_grad():
        torch._foreach_copy_(parameters, means)
    try:
        yield
    finally:
        with torch.no_grad():
            torch._foreach_copy_(parameters, trained)


def drop(optimizer: torch.optim.Optimizer) -> None:
    """Forget the average that a checkpoint brought, should there be one: the settings ask for none any more."""
    parameters = _parameters(optimizer)
    if _ENTRY in optimizer.state.get(parameters[0], {}):
        for parameter in parameters:
            del optimizer.state[parameter][_ENTRY]
        del optimizer.state[SHARED][_COUNT]


def _parameters(optimizer: torch.optim.Optimizer) -> list[torch.nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
