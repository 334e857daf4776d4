"""The training step against the formulas of the original forward pass, worked out by hand."""

from __future__ import annotations

import pytest
import torch

from sidestep_tui.engine import objective
from sidestep_tui.engine.batches import MicroBatch


def test_noisy_latents_and_target_are_those_of_flow_matching():
    x0 = torch.tensor([[[2.0]], [[-1.0]]])
    noise = torch.tensor([[[10.0]], [[3.0]]])
    t = torch.tensor([0.25, 1.0])
    assert objective.interpolate(x0, noise, t).flatten().tolist() == [4.0, 3.0]
    assert objective.velocity(x0, noise).flatten().tolist() == [8.0, 4.0]


def test_one_euler_step_along_the_target_returns_to_the_song():
    x0, noise = torch.randn(2, 6, 4), torch.randn(2, 6, 4)
    t = torch.tensor([0.3, 0.9])
    x_t = objective.interpolate(x0, noise, t)
    there = x_t + (0.0 - t).view(-1, 1, 1) * objective.velocity(x0, noise)
    assert torch.allclose(there, x0, atol=1e-6)


def test_context_is_silence_then_ones_and_repeats_silence_for_long_songs():
    silence = torch.arange(10.0).view(1, 5, 2)
    context = objective.context_latents(silence, 3, 4)
    assert context.shape == (3, 4, 4)
    assert torch.equal(context[2, :, :2], silence[0, :4])
    assert bool((context[..., 2:] == 1).all())
    long = objective.context_latents(silence, 1, 12)
    assert torch.equal(long[0, 5:10, :2], silence[0])
    assert torch.equal(long[0, 10:, :2], silence[0, :2])


def test_a_dropped_condition_is_the_null_condition_at_every_token():
    condition, null = torch.randn(3, 7, 4), torch.randn(1, 1, 4)
    given = objective.drop_conditions(condition, null, torch.tensor([False, True, False]))
    assert torch.equal(given[0], condition[0])
    assert torch.equal(given[2], condition[2])
    assert torch.equal(given[1], null[0].expand(7, 4))


def test_min_snr_weights_have_the_velocity_form():
    t = torch.tensor([0.5, 0.2, 0.9, 1.0])
    # snr = ((1-t)/t)^2 = 1, 16, 1/81, 0; gamma 5; weight = min(snr, 5) / (snr + 1)
    expected = [0.5, 5 / 17, (1 / 81) / (1 + 1 / 81), 0.0]
    assert objective.loss_weights(t, "min_snr", 5.0).tolist() == pytest.approx(expected, rel=1e-5)
    assert objective.loss_weights(t, "none", 5.0).tolist() == [1.0, 1.0, 1.0, 1.0]


def test_min_snr_stays_finite_at_the_ends():
    assert bool(torch.isfinite(objective.loss_weights(torch.tensor([0.0, 1e-9, 1.0]), "min_snr", 5.0)).all())


def test_loss_is_a_float32_mean_over_frames_and_channels():
    predicted = torch.tensor([[[1.0, 3.0], [0.0, 0.0]]], dtype=torch.bfloat16)
    target = torch.zeros(1, 2, 2)
    losses = objective.example_losses(predicted, target)
    assert losses.dtype == torch.float32
    assert losses.tolist() == [2.5]


def test_huber_is_the_square_of_small_errors_and_a_line_beyond():
    errors = torch.tensor([0.0, 0.25, -0.5, 0.5001, 2.0, -3.0])
    found = objective.example_losses(errors.view(-1, 1, 1), torch.zeros(6, 1, 1), "huber", 0.5)
    by_hand = [e * e if abs(e) <= 0.5 else 0.5 * (2 * abs(e) - 0.5) for e in errors.tolist()]
    assert found.tolist() == pytest.approx(by_hand, rel=1e-6)


def test_huber_of_errors_below_delta_is_mse_and_an_outlier_pulls_with_the_force_of_delta():
    predicted = torch.randn(2, 8, 4, generator=torch.Generator().manual_seed(1)).requires_grad_()
    target = torch.zeros(2, 8, 4)
    assert torch.equal(
        objective.example_losses(predicted, target, "huber", 100.0), objective.example_losses(predicted, target)
    )
    with torch.no_grad():
        predicted[0, 0, 0] = 50.0
    objective.example_losses(predicted, target, "huber", 1.0).sum().backward()
    assert predicted.grad is not None
    assert predicted.grad[0, 0, 0].item() * 8 * 4 == pytest.approx(2.0)  # 2δ, where mse pulls with 2·50


def test_the_trainer_uses_the_loss_of_its_settings(new_trainer, new_settings):
    x0, noise = torch.randn(1, 50, 64), torch.randn(1, 50, 64)
    batch = MicroBatch(("a",), x0, noise, torch.tensor([0.5]), torch.tensor([False]), torch.randn(1, 9, 32))
    losses = [
        new_trainer(new_settings(train=train)).losses(batch).item()
        for train in ({}, {"loss": "huber", "huber_delta": 0.5}, {"loss": "huber", "huber_delta": 0.1})
    ]
    assert losses[0] > losses[1] > losses[2] > 0


def test_the_model_is_asked_with_both_timesteps_equal():
    seen = {}

    class Recorder(torch.nn.Module):
        def forward(self, **inputs):
            seen.update(inputs)
            return (inputs["hidden_states"],)

    t = torch.tensor([0.4])
    objective.predict(
        Recorder(), torch.zeros(1, 2, 4), t, torch.zeros(1, 3, 4), torch.zeros(1, 2, 8), dtype=torch.float32
    )
    assert torch.equal(seen["timestep"], t)
    assert torch.equal(seen["timestep_r"], t)


def test_the_trainers_loss_is_the_formula_end_to_end(new_trainer, new_transformer, new_settings):
    trainer = new_trainer(new_settings(train={"loss_weighting": "min_snr", "snr_gamma": 2.0}))
    x0, noise = torch.randn(2, 50, 64), torch.randn(2, 50, 64)
    t, condition = torch.tensor([0.3, 0.8]), torch.randn(2, 9, 32)
    batch = MicroBatch(("a", "b"), x0, noise, t, torch.tensor([False, True]), condition)
    losses = trainer.losses(batch)

    plain = new_transformer()  # LoRA's B is zero at the start, so that the bare model must agree
    null = trainer.material.null_condition
    context = torch.cat([trainer.material.silence[:, :50], torch.ones(1, 50, 64)], dim=-1)
    for index in range(2):
        level = t[index]
        x_t = level * noise[index] + (1 - level) * x0[index]
        given = null.expand(1, 9, 32) if index == 1 else condition[index : index + 1]
        with torch.no_grad():
            v = plain(
                hidden_states=x_t[None],
                timestep=level[None],
                timestep_r=level[None],
                encoder_hidden_states=given,
                context_latents=context,
            ).sample
        snr = ((1 - level) / level) ** 2
        weight = min(snr.item(), 2.0) / (snr.item() + 1)
        expected = weight * ((v[0] - (noise[index] - x0[index])) ** 2).mean().item()
        assert losses[index].item() == pytest.approx(expected, rel=1e-5)


def test_bfloat16_base_takes_float32_timesteps(new_trainer):
    trainer = new_trainer(dtype=torch.bfloat16)
    result = trainer.step()
    assert not result.skipped
    assert {parameter.dtype for parameter in trainer.parameters.values()} == {torch.float32}
    frozen = {p.dtype for p in trainer.transformer.parameters() if not p.requires_grad}
    assert frozen == {torch.bfloat16}


def test_the_loss_of_unequal_songs_is_the_masked_loss_of_a_padded_batch(
    new_trainer, new_settings, new_song, monkeypatch
):
    """Nothing is padded; what is taught is nevertheless the loss that counts real frames only, each example alike.

    With mask m [B, T] over a batch padded to its longest: mean over B of Σ m·e² / (C · Σ m).
    """
    songs = [new_song("a", 120, 9), new_song("b", 31, 12), new_song("c", 80, 9)]
    trainer = new_trainer(
        new_settings(data={"crop_seconds": 30.0}, train={"batch_size": 3, "accumulation": 1}), songs=songs
    )
    pairs: list[tuple[torch.Tensor, torch.Tensor]] = []
    losses = objective.example_losses

    def remember(predicted: torch.Tensor, target: torch.Tensor, *how: object) -> torch.Tensor:
        pairs.extend(zip(predicted.detach(), target.detach(), strict=True))
        return losses(predicted, target, *how)

    monkeypatch.setattr(objective, "example_losses", remember)
    found = trainer.step().loss
    assert sorted(len(target) for _, target in pairs) == [30, 80, 120]
    padded = torch.full((2, 3, 120, 64), 1e6)
    mask = torch.zeros(3, 120)
    for row, (predicted, target) in enumerate(pairs):
        padded[0, row, : len(predicted)], padded[1, row, : len(target)] = predicted, -target
        mask[row, : len(target)] = 1.0
    squares = (padded[0] + padded[1]).square() * mask[..., None]
    assert found == pytest.approx((squares.sum(dim=(1, 2)) / (64 * mask.sum(dim=1))).mean().item(), rel=1e-6)
