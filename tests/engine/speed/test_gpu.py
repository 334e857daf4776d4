"""What only a CUDA device can show."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sidestep_tui.engine import adapters
from sidestep_tui.engine.batches import Example, MicroBatch
from sidestep_tui.engine.speed import attention, prefetch, switches
from sidestep_tui.schema.settings import Settings

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
CUDA = torch.device("cuda")


@pytest.mark.parametrize("length", [130, 257, 750])
def test_flash_and_blocks_hear_the_same_window(length: int) -> None:
    if not attention.flash_windows(CUDA, torch.bfloat16):
        pytest.skip("no flash kernel with windows here")
    torch.manual_seed(length)
    parts = [torch.randn((2, length, heads, 64), device=CUDA, dtype=torch.bfloat16) for heads in (4, 2, 2)]
    answers = []
    for kernel in (attention.by_flash, attention.by_blocks):
        leaves = [part.clone().requires_grad_() for part in parts]
        answer = kernel(*leaves, 128)
        answer.float().square().sum().backward()
        answers.append([answer, *(leaf.grad for leaf in leaves)])
    for flash, blocks in zip(*answers, strict=True):
        assert float((flash - blocks).float().abs().max()) <= 0.05 * float(blocks.float().abs().max())


@pytest.mark.slow
@pytest.mark.parametrize("graphs", [False, True])
def test_compiled_blocks_train_on_the_gpu(graphs: bool, new_model: Any) -> None:
    results = []
    for compile in ("off", "on"):
        model = new_model().to(CUDA)
        settings = Settings.model_validate({"speed": {"compile": compile, "cuda_graphs": graphs and compile == "on"}})
        switches.apply(model, settings, CUDA, torch.float32)
        source = torch.Generator().manual_seed(1)
        x, context, words = (
            torch.randn(shape, generator=source).to(CUDA) for shape in ((1, 160, 64), (1, 160, 128), (1, 9, 32))
        )
        t = torch.full((1,), 0.5, device=CUDA)
        for _ in range(3):
            (answer,) = model(x, t, t, words, context, return_dict=False)
            answer.square().mean().backward()
        results.append([parameter.grad for parameter in adapters.trainable(model).values()])
    for eager, compiled in zip(*results, strict=True):
        assert float((eager - compiled).abs().max()) <= 1e-3 * float(eager.abs().max())


def test_batches_made_ahead_arrive_whole() -> None:
    class Collator:
        def collate(self, examples: Any, device: torch.device) -> MicroBatch:
            number = torch.full((1 << 20,), float(examples[0].song)).pin_memory().to(device, non_blocking=True)
            return MicroBatch((examples[0].name,), number, number, number, number, number)

    groups = [[Example(song, str(song), 0, 4, 3, 0, song)] for song in range(8)]
    feed = prefetch.Feed(Collator(), CUDA, ahead=True)
    for song, (batch, _) in enumerate(feed.batches(groups, lambda: [])):
        assert bool((batch.x0 == song).all())
