"""The training objective: flow matching with a velocity target.

Source: steps 1 to 4 of the original `forward()` (ACESTEP_FACTS.md §4). The model sees `x_t = t·noise + (1−t)·x0` and
answers with `v = noise − x0`; both timesteps it takes are the same t.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
import torch.nn.functional as F

Weighting = Literal["none", "min_snr"]
Loss = Literal["mse", "huber"]


def interpolate(x0: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """`x_t = t·noise + (1−t)·x0` for x0 and noise [B, T, C] and t [B]."""
    level = t.view(-1, 1, 1)
    return level * noise + (1.0 - level) * x0


def velocity(x0: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """The target `v = noise − x0`: what the sampler integrates from noise to song."""
    return noise - x0


def context_latents(silence: torch.Tensor, batch: int, frames: int) -> torch.Tensor:
    """What text-to-music shows the model beside the noise: silence as source, ones as mask, [B, T, 2C].

    `silence` is [1, S, C]; songs longer than S frames repeat it.
    """
    copies = -(-frames // silence.shape[1])
    source = silence.repeat(1, copies, 1)[:, :frames] if copies > 1 else silence[:, :frames]
    return torch.cat([source, torch.ones_like(source)], dim=-1).expand(batch, -1, -1)


def drop_conditions(condition: torch.Tensor, null_condition: torch.Tensor, dropped: torch.Tensor) -> torch.Tensor:
    """Replace the whole condition [B, L, D] of every example in `dropped` [B] by the null condition [1, 1, D]."""
    null = null_condition.to(condition).expand_as(condition)
    return torch.where(dropped.view(-1, 1, 1), null, condition)


def loss_weights(t: torch.Tensor, weighting: Weighting, gamma: float) -> torch.Tensor:
    """Weight of each example [B]: ones, or min-SNR in its velocity form.

    With snr = ((1−t)/t)², a velocity prediction is weighed by min(snr, γ) / (snr + 1)
    (Hang et al. 2023, "Efficient Diffusion Training via Min-SNR Weighting Strategy").
    """
    if weighting == "none":
        return torch.ones_like(t)
    level = t.clamp_min(1e-6)
    snr = ((1.0 - level) / level) ** 2
    return snr.clamp_max(gamma) / (snr + 1.0)


def example_losses(
    predicted: torch.Tensor, target: torch.Tensor, loss: Loss = "mse", delta: float = 1.0
) -> torch.Tensor:
    """Error of each example [B], in float32 over all frames and channels; there are no masks, as nothing is padded.

    `mse` is the mean of e². `huber` is the mean of e² up to |e| = δ and of δ(2|e| − δ) beyond: twice the usual form
    (Huber 1964, "Robust Estimation of a Location Parameter"), so that small errors weigh as they do in `mse`.
    """
    predicted, target = predicted.float(), target.float()
    if loss == "huber":
        return 2.0 * F.huber_loss(predicted, target, reduction="none", delta=delta).mean(dim=(1, 2))
    return F.mse_loss(predicted, target, reduction="none").mean(dim=(1, 2))


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[Any]:
    """Mixed precision for a base of `dtype`: 16-bit matrix products with float32 adapter and timesteps."""
    if dtype == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, dtype=dtype)


def predict(
    transformer: torch.nn.Module,
    x_t: torch.Tensor,
    t: torch.Tensor,
    condition: torch.Tensor,
    context: torch.Tensor,
    *,
    dtype: torch.dtype,
) -> torch.Tensor:
    """The model's velocity [B, T, C] at x_t, with `timestep_r = timestep` as in text-to-music sampling.

    t stays float32 (bfloat16 levels are off by up to 0.4 %), which a bfloat16 base accepts under autocast only.
    """
    with autocast(x_t.device, dtype):
        output = transformer(
            hidden_states=x_t.to(dtype),
            timestep=t,
            timestep_r=t,
            encoder_hidden_states=condition.to(dtype),
            context_latents=context.to(dtype),
            return_dict=False,
        )
    return output[0]
