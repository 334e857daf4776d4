"""Which precision a device gets and why, and float16 with its loss scale."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sidestep_tui.engine import checkpoint, devices, export, scaling
from sidestep_tui.engine.devices import Ability
from sidestep_tui.engine.scaling import Scale
from sidestep_tui.engine.trainer import Trainer
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.schema.settings import Settings


@pytest.mark.parametrize(
    ("able", "dtype", "why"),
    [
        (Ability("cuda", compute=(9, 0)), torch.bfloat16, ""),
        (Ability("cuda", compute=(8, 0)), torch.bfloat16, ""),
        (Ability("cuda", compute=(7, 5)), torch.float16, "this is 7.5"),
        (Ability("cuda", compute=(7, 0)), torch.float16, "this is 7.0"),
        (Ability("mps", has_bfloat16=True), torch.bfloat16, ""),
        (Ability("mps"), torch.float16, "macOS 14"),
        (Ability("cpu"), torch.float32, ""),
    ],
)
def test_auto_takes_what_the_device_is_fast_in(able: Ability, dtype: torch.dtype, why: str):
    chosen, reason = devices.automatic(able)
    assert chosen == dtype
    assert why in reason
    assert bool(why) == bool(reason)


def test_the_description_says_why_another_precision_was_taken(monkeypatch: pytest.MonkeyPatch):
    turing = torch.device("cuda:0")
    monkeypatch.setattr(devices, "ability", lambda device: Ability("cuda", compute=(7, 5)))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")
    said = devices.describe(turing, torch.float16)
    assert said == "cuda:0 (Tesla T4, float16: bfloat16 begins at compute capability 8.0, and this is 7.5)"
    assert devices.describe(turing, torch.float32) == "cuda:0 (Tesla T4, float32)"
    assert devices.is_slow(turing, torch.bfloat16)
    assert not devices.is_slow(turing, torch.float16)


def test_what_is_asked_for_is_taken_and_words_are_never_encoded_in_float16(new_settings: Callable[..., Settings]):
    cpu = torch.device("cpu")
    asked = new_settings(memory={"precision": "float16"}).memory
    assert devices.precision(asked, cpu) == torch.float16
    assert devices.for_encoding(torch.float16) == torch.float32
    assert devices.for_encoding(torch.bfloat16) == torch.bfloat16


def test_the_loss_scale_halves_after_an_overflow_and_doubles_after_2000_steps_that_fit():
    scale = Scale()
    assert scale.factor == 65536.0
    scale = scale.after(overflowed=True).after(overflowed=True)
    assert scale == Scale(16384.0, 0)
    for _ in range(1999):
        scale = scale.after(overflowed=False)
    assert scale == Scale(16384.0, 1999)
    assert scale.after(overflowed=True) == Scale(8192.0, 0)
    assert scale.after(overflowed=False) == Scale(32768.0, 0)
    assert Scale(1.0).after(overflowed=True) == Scale(1.0)


def test_only_gradients_overflow_by_the_scale():
    assert scaling.overflowed(Scale(), [1.0, 2.0], math.inf)
    assert not scaling.overflowed(Scale(), [1.0, 2.0], 3.0)
    assert not scaling.overflowed(Scale(), [1.0, math.nan], math.nan), "the loss itself failed"
    assert not scaling.overflowed(Scale(1.0), [1.0], math.inf), "no smaller scale is left"
    assert not scaling.overflowed(None, [1.0], math.inf)
    assert scaling.first(torch.bfloat16) is None


def test_scaled_gradients_come_back_to_the_last_bit():
    weight = torch.nn.Parameter(torch.tensor([0.3, -1.7]))
    (weight**2).sum().backward()
    plain = weight.grad
    weight.grad = None
    scaling.up((weight**2).sum(), Scale()).backward()
    scaling.down([weight], Scale())
    assert torch.equal(weight.grad, plain)


def new_half(new_trainer: Callable[..., Trainer], settings: Settings | None = None) -> Trainer:
    return new_trainer(dtype=torch.float16, settings=settings)


def test_float16_learns_what_float32_learns(new_trainer: Callable[..., Trainer]):
    half, full = new_half(new_trainer), new_trainer()
    results = [(half.step(), full.step()) for _ in range(3)]
    assert {parameter.dtype for parameter in half.parameters.values()} == {torch.float32}
    assert all(not result.overflowed and not result.skipped for result, _ in results)
    for of_half, of_full in results:
        assert of_half.loss == pytest.approx(of_full.loss, rel=5e-3)
        assert of_half.grad_norm == pytest.approx(of_full.grad_norm, rel=5e-2)


def test_an_overflow_leaves_the_weights_and_the_watchdog_alone_and_resumes_exactly(
    new_trainer: Callable[..., Trainer], tmp_path: Path
):
    (tmp_path / "checkpoints").mkdir()
    trainer = new_half(new_trainer)
    trainer.scale = Scale(2.0**120)
    before = [parameter.detach().clone() for parameter in trainer.parameters.values()]
    result = trainer.step()
    assert result.overflowed
    assert not result.skipped
    assert math.isfinite(result.loss)
    assert all(torch.equal(old, new) for old, new in zip(before, trainer.parameters.values(), strict=True))
    assert (trainer.skipped_in_a_row, trainer.watch.skipped) == (0, 0)
    assert trainer.scale == Scale(2.0**119)

    trainer.scale = Scale(4096.0, 7)
    trainer.step()
    about = export.Provenance("run", "", 2, 1, None, "tiny", "turbo", "")
    saved = checkpoint.save(
        RunDir(tmp_path), trainer.transformer, trainer.optimizer, trainer.state({}), trainer.settings, about
    )
    again = new_half(new_trainer)
    again.restore(saved, *checkpoint.read(saved))
    assert again.scale == trainer.scale == Scale(4096.0, 8)
    assert trainer.step().loss == again.step().loss
    for one, other in zip(trainer.parameters.values(), again.parameters.values(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.gpu
def test_float16_trains_on_a_gpu(new_settings: Callable[..., Settings]):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    device = torch.device("cuda:0")
    assert devices.automatic(devices.ability(device))[0] in (torch.bfloat16, torch.float16)
    weight = torch.nn.Parameter(torch.ones(8, 8, device=device))
    with torch.autocast("cuda", torch.float16):
        loss = (weight @ weight).float().sum()
    scaling.up(loss, Scale()).backward()
    scaling.down([weight], Scale())
    assert bool(torch.isfinite(weight.grad).all())
