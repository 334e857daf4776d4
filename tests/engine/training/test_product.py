"""Every kind of adapter with every optimizer, recomputing or not, in both precisions: trained, killed, resumed.

Each pair of adapter and optimizer is trained once. Recomputing and precision go around with it, so that each of the
four ways meets every adapter and every optimizer.
"""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from sidestep_tui.engine import checkpoint, optimizers
from sidestep_tui.engine.batches import MicroBatch
from sidestep_tui.engine.trainer import Trainer
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.schema import rules
from tests.engine.models import WIDTH
from tests.engine.training.adapting import provenance

KINDS: dict[str, dict[str, Any]] = {
    "lora": {"dropout": 0.1},
    "dora": {"dropout": 0.1},
    "lokr": {"lokr_factor": 4, "mlp": True},
    "loha": {"rank": 2},
    "oft": {"oft_block_size": 4},
}
RATES = {
    "adamw": 1e-2,
    "adamw8bit": 1e-2,
    "adafactor": 1e-2,
    "prodigy": 1.0,
    "schedule_free": 1e-2,
    "lion": 3e-3,
    "muon": 1e-2,
}
WAYS = tuple(itertools.product(("off", "on"), ("float32", "bfloat16")))
REFUSED = {("dora", "muon"), ("oft", "muon")}
CELLS = [
    (kind, optimizer, *WAYS[(row + column) % len(WAYS)])
    for row, kind in enumerate(KINDS)
    for column, optimizer in enumerate(RATES)
    if (kind, optimizer) not in REFUSED
]
# Three adapters take Muon, and there are four ways.
CELLS += [("lora", "muon", *way) for way in WAYS if way not in {cell[2:] for cell in CELLS if cell[1] == "muon"}]


def settings_of(new_settings, kind: str, optimizer: str, checkpointing: str, precision: str):
    return new_settings(
        adapter={"kind": kind, **KINDS[kind]},
        optim={"optimizer": optimizer, "lr": RATES[optimizer], "schedule": "constant", "weight_decay": 0.0},
        train={"epochs": 2},
        memory={"gradient_checkpointing": checkpointing, "precision": precision},
    )


def teach(trainer: Trainer, times: int) -> list[float]:
    """The losses of one batch with one noise, while it is taught; every gradient must be there from the second on."""
    source = torch.Generator().manual_seed(5)
    batch = MicroBatch(
        names=("a",),
        x0=torch.randn((1, 40, 64), generator=source),
        noise=torch.randn((1, 40, 64), generator=source),
        t=torch.tensor([0.6]),
        dropped=torch.tensor([False]),
        condition=torch.randn((1, 5, WIDTH), generator=source),
    )
    losses = []
    for time in range(times):
        trainer.optimizer.zero_grad()
        torch.manual_seed(0)
        loss = trainer.losses(batch).mean()
        loss.backward()
        losses.append(float(loss.detach()))
        if time:
            still = [name for name, parameter in trainer.parameters.items() if not bool(parameter.grad.any())]
            assert still == []
        optimizers.set_lr(trainer.optimizer, RATES[trainer.settings.optim.optimizer])
        trainer.optimizer.step()
    trainer.optimizer.zero_grad()
    return losses


def numbers_of(trainer: Trainer) -> dict[str, torch.Tensor]:
    """Every weight and every tensor of the optimizer."""
    state, _ = optimizers.state_tensors(trainer.optimizer, trainer.parameters)
    return {**{name: parameter.detach().clone() for name, parameter in trainer.parameters.items()}, **state}


@pytest.mark.parametrize(("kind", "optimizer", "checkpointing", "precision"), CELLS)
def test_it_learns_and_a_killed_run_goes_on_bit_for_bit(
    new_trainer, new_settings, new_song, tmp_path, kind, optimizer, checkpointing, precision
) -> None:
    if optimizer == "adamw8bit":
        pytest.importorskip("bitsandbytes")
    settings = settings_of(new_settings, kind, optimizer, checkpointing, precision)
    songs = [new_song("a", 40, 5), new_song("b", 40, 5), new_song("c", 30, 6)]
    dtype = getattr(torch, precision)
    first = new_trainer(settings, songs, dtype)
    losses = teach(first, 25 if optimizer == "prodigy" else 5)
    assert losses[-1] < 0.999 * losses[0]
    assert {parameter.dtype for parameter in first.parameters.values()} == {torch.float32}

    first.step()
    first.step()
    first.end_epoch()
    first.step()  # the first of two steps of the second epoch
    run_dir = RunDir.create(tmp_path, "drums")
    directory = checkpoint.save(run_dir, first.transformer, first.optimizer, first.state({}), settings, provenance())
    expected = first.step()
    torch.manual_seed(999)
    second = new_trainer(settings, songs, dtype)
    second.restore(directory, *checkpoint.read(directory))
    result = second.step()
    assert (result.loss, result.grad_norm, result.lr) == (expected.loss, expected.grad_norm, expected.lr)
    assert second.position == first.position
    found, wanted = numbers_of(second), numbers_of(first)
    assert {tensor.dtype for tensor in wanted.values()} <= {torch.float32, torch.uint8}  # moments too, on any base
    assert found.keys() == wanted.keys()
    assert [name for name, tensor in wanted.items() if not torch.equal(found[name], tensor)] == []


@pytest.mark.parametrize(("kind", "optimizer"), sorted(REFUSED))
def test_a_pair_that_cannot_be_trained_is_refused_with_a_fix(new_settings, kind, optimizer) -> None:
    settings = settings_of(new_settings, kind, optimizer, "off", "float32")
    errors = [advice for advice in rules.check(settings) if advice.severity == "error"]
    assert [advice.path for advice in errors] == ["optim.optimizer"]
    assert errors[0].fix


def test_every_way_meets_every_adapter_and_every_optimizer() -> None:
    for place, names in ((0, KINDS), (1, RATES)):
        for name in names:
            assert {cell[2:] for cell in CELLS if cell[place] == name} == set(WAYS)
