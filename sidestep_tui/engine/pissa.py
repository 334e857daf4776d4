"""PiSSA: a LoRA that begins with the principal components of each weight instead of at nothing.

Meng et al. 2024 ("PiSSA", arXiv:2404.02948) split a weight W = s·B₀A₀ + rest, with B₀A₀ from its largest singular
values, freeze the rest and train B and A from B₀ and A₀ on. The base would have to be changed for that, and every
export converted back. Here the base stays as it is and the LoRA is the difference itself,

    s (BA − B₀A₀) = s (B₀ ΔA + ΔB (A₀ + ΔA)),   A = A₀ + ΔA, B = B₀ + ΔB,

a plain LoRA of twice the rank, [B₀, ΔB] [ΔA; A₀ + ΔA], of which ΔA and ΔB learn: the same gradients, no rounding of the
rest to the precision of the base, no difference of large products, and nothing changes before the first step. Files
hold that LoRA, so that checkpoints and exports are usable as they are. A₀ is not in them but follows from B₀: with
columns bᵢ = uᵢ √(σᵢ/s), its rows are bᵢᵀW / (s‖bᵢ‖²), computed in float64 and so the same everywhere. Weight decay
pulls ΔA and ΔB to zero, which is the base model.
"""

from __future__ import annotations

import math
from typing import Final

import torch
import torch.nn.functional as F
from peft.tuners.lora import Linear as LoraLinear

from sidestep_tui.core.errors import AdapterError

ADAPTER_NAME: Final = "default"
_SKETCH: Final = 16
"""Directions that the approximate decomposition draws beyond the rank (Halko et al. 2011: 5 to 10 suffice)."""
_PASSES: Final = 8
_ALL_BELOW: Final = 256
"""Smaller matrices are decomposed whole."""
_SAME_BASE: Final = 1e-3


class _Factor(torch.nn.Module):
    """One factor of the LoRA of twice the rank: what it began with, which stays, and what was learnt since."""

    start: torch.Tensor

    def __init__(self, start: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("start", start)
        self.change = torch.nn.Parameter(torch.zeros_like(start))

    @property
    def weight(self) -> torch.Tensor:
        """The factor as a LoRA's loaders know it."""
        raise NotImplementedError

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.weight)


class Down(_Factor):
    """[ΔA; A₀ + ΔA]: [2r, in]."""

    @property
    def weight(self) -> torch.Tensor:
        return torch.cat([self.change, self.start + self.change])


class Up(_Factor):
    """[B₀, ΔB]: [out, 2r]."""

    @property
    def weight(self) -> torch.Tensor:
        return torch.cat([self.start, self.change], dim=1)


def grow(name: str, layer: LoraLinear) -> None:
    """Let a fresh LoRA of rank r begin with the principal components of its layer's weight.

    What it states about itself is rank 2r and the alpha that keeps its scale. Raises AdapterError for a matrix with
    fewer components than the rank.
    """
    weight = layer.get_base_layer().weight
    rank = layer.r[ADAPTER_NAME]
    if rank > min(weight.shape):
        raise AdapterError(
            "The rank is too high for PiSSA.",
            f"{name} is {weight.shape[0]} × {weight.shape[1]} and has no {rank} principal components.",
            f"Set adapter.rank to at most {min(weight.shape)}, or adapter.init to default.",
        )
    stabilised = layer.use_rslora[ADAPTER_NAME]
    alpha = layer.lora_alpha[ADAPTER_NAME] * (math.sqrt(2.0) if stabilised else 2)
    scale = alpha / (math.sqrt(2 * rank) if stabilised else 2 * rank)
    layer.r[ADAPTER_NAME], layer.lora_alpha[ADAPTER_NAME], layer.scaling[ADAPTER_NAME] = 2 * rank, alpha, scale
    if weight.is_meta:
        up = torch.empty((weight.shape[0], rank), device="meta")
        down = torch.empty((rank, weight.shape[1]), device="meta")
    else:
        up = _principal(weight.detach(), rank, scale)
        down = _matching(weight.detach(), up, scale).to(up.device)
    layer.lora_A[ADAPTER_NAME], layer.lora_B[ADAPTER_NAME] = Down(down), Up(up)


def _principal(weight: torch.Tensor, rank: int, scale: float) -> torch.Tensor:
    """B₀ [out, r] in float32: uᵢ √(σᵢ/s) for the `rank` largest singular values."""
    exact = weight.float()
    if min(exact.shape) <= max(_ALL_BELOW, 2 * (rank + _SKETCH)):
        vectors, values, _ = torch.linalg.svd(exact, full_matrices=False)
    else:
        vectors, values, _ = torch.svd_lowrank(exact, q=rank + _SKETCH, niter=_PASSES)
    return (vectors[:, :rank] * (values[:rank] / scale).sqrt()).contiguous()


def _matching(weight: torch.Tensor, up: torch.Tensor, scale: float) -> torch.Tensor:
    """A₀ [r, in] in float32, on the CPU, for the B₀ given by `up`: rows bᵢᵀW / (s‖bᵢ‖²)."""
    columns = up.detach().cpu().double()
    values = scale * columns.square().sum(dim=0)
    rows = columns.T @ weight.cpu().double()
    return torch.where(values > 0, 1.0 / values, 0.0).unsqueeze(1).mul(rows).float()


def factors(layer: torch.nn.Module) -> tuple[Down, Up] | None:
    """The factors of an adapted layer that `grow` has changed."""
    if not isinstance(layer, LoraLinear):
        return None
    down, up = layer.lora_A[ADAPTER_NAME], layer.lora_B[ADAPTER_NAME]
    return (down, up) if isinstance(down, Down) and isinstance(up, Up) else None


def put(layer: LoraLinear, down: torch.Tensor, up: torch.Tensor, key: str) -> None:
    """Continue from the factors of a file, [2r, in] and [out, 2r]; `key` names them in a refusal.

    Raises AdapterError if they did not begin with the principal components of this layer's weight.
    """
    found = factors(layer)
    assert found is not None
    rank = down.shape[0] // 2
    own_down, own_up = found
    scale = layer.scaling[ADAPTER_NAME]
    down, up = down.detach().float().cpu(), up.detach().float().cpu()
    change, total = down[:rank], down[rank:]
    start = _matching(layer.get_base_layer().weight.detach(), up[:, :rank], scale)
    if not torch.equal(start + change, total):
        if not torch.allclose(start + change, total, rtol=_SAME_BASE, atol=_SAME_BASE * float(total.abs().max())):
            raise AdapterError(
                "The adapter does not fit the model.",
                f"{key} did not begin with the principal components of this model's weight.",
                "Choose the checkpoint that it was trained on, or start a new run.",
            )
        # Written where float64 products round otherwise, or with the base in another precision.
        start = total - change
    with torch.no_grad():
        own_down.start.copy_(start)
        own_down.change.copy_(change)
        own_up.start.copy_(up[:, :rank])
        own_up.change.copy_(up[:, rank:])
