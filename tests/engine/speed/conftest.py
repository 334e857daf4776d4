"""A transformer that is large enough for windows, blocks of queries and unequal halves of a window to matter."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from diffusers import AceStepTransformer1DModel

from sidestep_tui.engine import adapters
from sidestep_tui.schema.settings import Settings
from tests.engine.models import WIDTH, make_transformer

Result = tuple[torch.Tensor, dict[str, torch.Tensor]]
Pass = Callable[..., Result]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Models this small are slower on two threads than on one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def new_model() -> Callable[..., AceStepTransformer1DModel]:
    """`new_model(kind="lora", dtype=…, layers=2)`: a window, then none, with an adapter that already says something."""

    def build(
        kind: str = "lora", dtype: torch.dtype = torch.float32, layers: int = 2, **adapter: object
    ) -> AceStepTransformer1DModel:
        transformer = make_transformer(layers)
        # Norm weights of real checkpoints are not ones.
        with torch.no_grad():
            for name, parameter in transformer.named_parameters():
                if "norm" in name:
                    parameter.mul_(1 + 0.2 * torch.randn_like(parameter))
        transformer.to(dtype)
        settings = Settings.model_validate({"adapter": {"kind": kind, "rank": 4, "alpha": 8.0, "mlp": True, **adapter}})
        adapters.inject(transformer, settings.adapter, autocast=dtype != torch.float32)
        with torch.no_grad():
            for parameter in adapters.trainable(transformer).values():
                parameter.add_(0.05 * torch.randn_like(parameter))
        return transformer.train()

    return build


@pytest.fixture
def run_pass() -> Pass:
    """`run_pass(model, tokens=50, batch=2)`: output and gradients (of the adapter and the input) of one fixed pass."""

    def compute(
        transformer: AceStepTransformer1DModel,
        tokens: int = 50,
        batch: int = 1,
        dtype: torch.dtype = torch.float32,
        condition: int = 9,
        *,
        backward: bool = True,
    ) -> Result:
        source = torch.Generator().manual_seed(1)
        frames = 2 * tokens
        x_t, target = (torch.randn((batch, frames, 64), generator=source) for _ in range(2))
        context = torch.randn((batch, frames, 128), generator=source)
        words = torch.randn((batch, condition, WIDTH), generator=source)
        t = torch.linspace(0.2, 0.9, batch)
        transformer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype != torch.float32):
            answer = transformer(
                hidden_states=x_t.to(dtype),
                timestep=t,
                timestep_r=t,
                encoder_hidden_states=words.to(dtype),
                context_latents=context.to(dtype),
                return_dict=False,
            )[0]
        if backward:
            torch.nn.functional.mse_loss(answer.float(), target).backward()
        gradients = {name: p.grad.clone() for name, p in adapters.trainable(transformer).items() if p.grad is not None}
        return answer.detach().float(), gradients

    return compute


@pytest.fixture
def apart() -> Callable[[Result, Result], float]:
    """`apart(found, expected)`: of outputs and all gradients, the largest difference relative to the largest value."""

    def compare(found: Result, expected: Result) -> float:
        assert found[1].keys() == expected[1].keys()
        assert found[1]
        pairs = [(found[0], expected[0]), *((found[1][name], expected[1][name]) for name in expected[1])]
        return max(float((one - other).abs().max() / other.abs().max()) for one, other in pairs)

    return compare
