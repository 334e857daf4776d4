"""Optimizers that torch does not have, from their papers: Lion, Prodigy and schedule-free AdamW.

All work on lists of tensors at once and never wait for the device. What belongs to no single tensor is kept under
`state[SHARED]`, so that it is saved and restored with the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch

SHARED = "shared"
"""Key in `Optimizer.state` of what all parameters have in common."""

Group = dict[str, Any]


def _with_gradients(group: Group) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """The parameters of a group that have gradients, and those gradients."""
    parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
    return parameters, [parameter.grad for parameter in parameters]


class Lion(torch.optim.Optimizer):
    """Lion (Chen et al. 2023, arXiv:2302.06675, algorithm 2): the sign of an interpolated momentum, one moment only.

    c = b1 m + (1 - b1) g;  p = p - lr (sign(c) + decay p);  m = b2 m + (1 - b2) g.
    """

    def __init__(
        self, params: Iterable[Any], lr: float, betas: tuple[float, float] = (0.9, 0.99), weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def step(self, closure: Callable[[], Any] | None = None) -> None:
        """Move every parameter by `lr` in the direction of its momentum's sign."""
        for group in self.param_groups:
            parameters, gradients = _with_gradients(group)
            if not parameters:
                continue
            for parameter in parameters:
                if "exp_avg" not in self.state[parameter]:
                    self.state[parameter]["exp_avg"] = torch.zeros_like(parameter)
            momenta = [self.state[parameter]["exp_avg"] for parameter in parameters]
            (beta1, beta2), lr = group["betas"], group["lr"]
            directions = torch._foreach_lerp(momenta, gradients, 1 - beta1)
            torch._foreach_sign_(directions)
            torch._foreach_mul_(parameters, 1 - lr * group["weight_decay"])
            torch._foreach_add_(parameters, directions, alpha=-lr)
            torch._foreach_lerp_(momenta, gradients, 1 - beta2)


class Prodigy(torch.optim.Optimizer):
    """Prodigy (Mishchenko and Defazio 2023, arXiv:2306.06101, algorithm 4): Adam that estimates its own step size d.

    With c = rate · lr, b3 = √b2 and start x0:  m = b1 m + (1 - b1) d g;  v = b2 v + (1 - b2) d² g²;
    r = b3 r + d² c <g, x0 - x>;  s = b3 s + d² c g;  x = x - d c (m / (√v + d eps) + decay x);
    d = max(d, r / ‖s‖₁).  c holds Adam's bias correction; r and s are kept divided by d0, which their ratio
    does not see, so that float32 holds them.
    """

    FIRST_ESTIMATE = 1e-6

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def step(self, closure: Callable[[], Any] | None = None) -> None:
        """Move every parameter with the step size known so far, then enlarge the estimate if the gradients ask."""
        work = [(group, *_with_gradients(group)) for group in self.param_groups]
        work = [entry for entry in work if entry[1]]
        if not work:
            return
        shared = self._begin([parameter for _, parameters, _ in work for parameter in parameters])
        shared["step"] += 1
        beta3 = math.sqrt(work[0][0]["betas"][1])
        numerator = shared["numerator"] * beta3
        sizes: list[torch.Tensor] = []
        for group, parameters, gradients in work:
            added, norm = self._update(group, parameters, gradients, shared["d"], shared["step"])
            numerator = numerator + added
            sizes.append(norm)
        denominator = torch.stack(sizes).sum()
        estimate = torch.where(denominator > 0, numerator / denominator, shared["d"])
        shared["numerator"] = numerator
        shared["d"] = torch.maximum(shared["d"], estimate)

    def _begin(self, parameters: list[torch.Tensor]) -> Group:
        """Empty state for what has none; a parameter that starts at zero keeps its start as one number."""
        for parameter in parameters:
            if "s" in self.state[parameter]:
                continue
            for entry in ("exp_avg", "exp_avg_sq", "s"):
                self.state[parameter][entry] = torch.zeros_like(parameter)
            start = parameter.detach()
            # Waits for the device, in the first step of a run only.
            self.state[parameter]["start"] = start.clone() if bool(start.any()) else start.new_zeros(())
        shared: Group = self.state[SHARED]
        if "d" not in shared:
            zero = parameters[0].detach().new_zeros(())
            shared.update(step=0, d=zero + self.FIRST_ESTIMATE, numerator=zero)
        return shared

    def _update(
        self, group: Group, parameters: list[torch.Tensor], gradients: list[torch.Tensor], d: torch.Tensor, step: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Move one group; returns what its gradients add to r, and its share of ‖s‖₁."""
        states = [self.state[parameter] for parameter in parameters]
        moments, squares, sums = ([state[entry] for state in states] for entry in ("exp_avg", "exp_avg_sq", "s"))
        beta1, beta2 = group["betas"]
        rate = d * (group["lr"] * math.sqrt(1 - beta2**step) / (1 - beta1**step))
        products = [
            torch.dot(gradient.flatten(), (state["start"] - parameter).flatten())
            for gradient, state, parameter in zip(gradients, states, parameters, strict=True)
        ]
        scaled = torch._foreach_mul(gradients, d)
        torch._foreach_lerp_(moments, scaled, 1 - beta1)
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, scaled, scaled, value=1 - beta2)
        torch._foreach_mul_(scaled, rate / self.FIRST_ESTIMATE)
        torch._foreach_mul_(sums, math.sqrt(beta2))
        torch._foreach_add_(sums, scaled)
        divisors = torch._foreach_sqrt(squares)
        torch._foreach_add_(divisors, d * group["eps"])
        changes = torch._foreach_div(moments, divisors)
        torch._foreach_add_(changes, parameters, alpha=group["weight_decay"])
        torch._foreach_mul_(changes, -rate)
        torch._foreach_add_(parameters, changes)
        added = torch.stack(products).sum() * d * rate / self.FIRST_ESTIMATE
        return added, torch.stack(torch._foreach_norm(sums, 1)).sum()


class ScheduleFreeAdamW(torch.optim.Optimizer):
    """Schedule-free AdamW (Defazio et al. 2024, arXiv:2405.15682, algorithm 1): an average instead of a schedule.

    Gradients are taken at y = (1 - b1) z + b1 x. With c = lr √(1 - b2^t):  v = b2 v + (1 - b2) g²;
    z = z - c (g / (√v + eps) + decay y);  x = x + (z - x) c² / Σ c².  x is the result: the parameters hold y while
    training, and x between `show_average` and `show_training_point`.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def step(self, closure: Callable[[], Any] | None = None) -> None:
        """Move z along the gradients, x towards z, and the parameters to where the next gradients are taken."""
        work = [(group, *_with_gradients(group)) for group in self.param_groups]
        work = [entry for entry in work if entry[1]]
        if not work:
            return
        shared: Group = self.state[SHARED]
        if "weights" not in shared:
            shared.update(step=0, weights=0.0)
        shared["step"] += 1
        first = work[0][0]
        # The rates of the groups are proportional: c² / Σ c² is the same in all of them.
        newest = first["lr"] ** 2 * (1 - first["betas"][1] ** shared["step"])
        shared["weights"] += newest
        for group, parameters, gradients in work:
            self._update(group, parameters, gradients, shared["step"], newest / shared["weights"])

    def _update(
        self, group: Group, parameters: list[torch.Tensor], gradients: list[torch.Tensor], step: int, share: float
    ) -> None:
        for parameter in parameters:
            if "z" not in self.state[parameter]:
                self.state[parameter].update(
                    z=parameter.detach().clone(), x=parameter.detach().clone(), exp_avg_sq=torch.zeros_like(parameter)
                )
        states = [self.state[parameter] for parameter in parameters]
        points, averages, squares = ([state[entry] for state in states] for entry in ("z", "x", "exp_avg_sq"))
        beta2 = group["betas"][1]
        rate = group["lr"] * math.sqrt(1 - beta2**step)
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, gradients, gradients, value=1 - beta2)
        divisors = torch._foreach_sqrt(squares)
        torch._foreach_add_(divisors, group["eps"])
        torch._foreach_addcdiv_(points, gradients, divisors, value=-rate)
        torch._foreach_add_(points, parameters, alpha=-rate * group["weight_decay"])
        torch._foreach_lerp_(averages, points, share)
        for parameter in parameters:
            self._to_training_point(group, parameter)

    def _to_training_point(self, group: Group, parameter: torch.Tensor) -> None:
        """y from z and x; always this one operation, so that a resumed run has the same bits."""
        state = self.state[parameter]
        torch.lerp(state["z"], state["x"], group["betas"][0], out=parameter)

    def _moved(self) -> Iterator[tuple[Group, torch.Tensor]]:
        for group in self.param_groups:
            for parameter in group["params"]:
                if "z" in self.state.get(parameter, {}):
                    yield group, parameter

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def show_average(self) -> None:
        """Put x, the result so far, into the parameters."""
        for _, parameter in self._moved():
            parameter.copy_(self.state[parameter]["x"])

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def show_training_point(self) -> None:
        """Put y, where gradients are taken, into the parameters."""
        for group, parameter in self._moved():
            self._to_training_point(group, parameter)
