"""How noise levels are drawn: t = 1 is pure noise, t = 0 is the song.

Source: `sample_t_r` of the original modeling files and the turbo sampler's table (ACESTEP_FACTS.md §4 and §6).
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Literal

import torch

from sidestep_tui.schema.train import TrainSettings

Scheme = Literal["model", "logit_normal", "uniform", "turbo8"]


def distribution(train: TrainSettings, *, mu: float, sigma: float) -> tuple[float, float]:
    """Mu and sigma to draw with: those of the settings where they give a sigma, else the checkpoint's own."""
    return (train.timestep_mu, train.timestep_sigma) if train.timestep_sigma > 0 else (mu, sigma)


def turbo_levels(steps: int = 8, shift: float = 3.0) -> tuple[float, ...]:
    """The levels that turbo samples with: `steps` even ones, pushed towards noise by `shift`."""
    even = [1.0 - step / steps for step in range(steps)]
    return tuple(shift * t / (1.0 + (shift - 1.0) * t) for t in even)


def sample(scheme: Scheme, count: int, generator: torch.Generator, *, mu: float, sigma: float) -> torch.Tensor:
    """Draw `count` noise levels as float32 [count] on the CPU.

    `model` takes the larger of two logit-normal draws, as ACE-Step itself was trained; `logit_normal` takes one;
    `uniform` draws from [0, 1) evenly; `turbo8` picks one of the eight turbo levels. `mu` and `sigma` matter to the
    logit-normal ones only.
    """
    if scheme == "turbo8":
        levels = torch.tensor(turbo_levels(), dtype=torch.float32)
        return levels[torch.randint(len(levels), (count,), generator=generator)]
    if scheme == "uniform":
        return torch.rand(count, generator=generator, dtype=torch.float32)
    draws = 2 if scheme == "model" else 1
    normal = torch.randn((draws, count), generator=generator, dtype=torch.float32)
    return torch.sigmoid(normal * sigma + mu).amax(dim=0)


def quantiles(scheme: Scheme, count: int, *, mu: float, sigma: float) -> torch.Tensor:
    """`count` noise levels that stand for what `sample` draws: the middles of equally likely parts, ascending.

    Their mean loss estimates the training loss without its jumps. Float32 [count]; for `turbo8` its eight levels.
    """
    if scheme == "turbo8":
        return torch.tensor(sorted(turbo_levels()), dtype=torch.float32)
    shares = [(index + 0.5) / count for index in range(count)]
    if scheme == "uniform":
        return torch.tensor(shares, dtype=torch.float32)
    # The larger of two draws lies below x as often as both do: its distribution is the square of one draw's.
    below = [math.sqrt(share) if scheme == "model" else share for share in shares]
    normal = torch.tensor([NormalDist().inv_cdf(share) for share in below], dtype=torch.float32)
    return torch.sigmoid(normal * sigma + mu)
