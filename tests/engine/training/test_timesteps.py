"""The distributions of noise levels against the table of ACESTEP_FACTS.md §4."""

from __future__ import annotations

import pytest
import torch

from sidestep_tui.engine import timesteps
from sidestep_tui.schema.train import TrainSettings

DRAWS = 200_000


def draw(scheme: str) -> torch.Tensor:
    return timesteps.sample(scheme, DRAWS, torch.Generator().manual_seed(1), mu=-0.4, sigma=1.0)


@pytest.mark.parametrize(
    ("scheme", "mean", "quantiles", "above_half", "above_08"),
    [
        ("model", 0.535, (0.238, 0.401, 0.536, 0.670, 0.825), 0.570, 0.073),
        ("logit_normal", 0.418, (0.114, 0.254, 0.401, 0.568, 0.776), 0.344, 0.037),
        ("uniform", 0.5, (0.05, 0.25, 0.5, 0.75, 0.95), 0.5, 0.2),
    ],
)
def test_continuous_levels_have_the_models_distribution(scheme, mean, quantiles, above_half, above_08):
    t = draw(scheme)
    assert t.dtype == torch.float32
    assert t.mean().item() == pytest.approx(mean, abs=0.003)
    found = torch.quantile(t, torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95]))
    assert found.tolist() == pytest.approx(quantiles, abs=0.004)
    assert (t > 0.5).float().mean().item() == pytest.approx(above_half, abs=0.005)
    assert (t > 0.8).float().mean().item() == pytest.approx(above_08, abs=0.003)


def test_turbo_levels_are_the_samplers_table_and_equally_likely():
    assert timesteps.turbo_levels() == pytest.approx((1, 0.9545, 0.9, 0.8333, 0.75, 0.6429, 0.5, 0.3), abs=5e-5)
    levels, counts = draw("turbo8").unique(return_counts=True)
    assert len(levels) == 8
    assert (counts / DRAWS).tolist() == pytest.approx([1 / 8] * 8, abs=0.004)
    assert draw("turbo8").mean().item() == pytest.approx(0.735, abs=0.003)


def test_mu_and_sigma_of_the_checkpoint_are_used():
    shifted = timesteps.sample("logit_normal", DRAWS, torch.Generator().manual_seed(1), mu=1.0, sigma=0.5)
    logits = torch.logit(shifted.double())
    assert logits.mean().item() == pytest.approx(1.0, abs=0.01)
    assert logits.std().item() == pytest.approx(0.5, abs=0.01)


def test_the_larger_of_two_draws_is_that_of_its_own_two_normals():
    normal = torch.randn((2, 5), generator=torch.Generator().manual_seed(4))
    by_hand = torch.maximum(torch.sigmoid(normal[0] * 0.7 - 0.2), torch.sigmoid(normal[1] * 0.7 - 0.2))
    drawn = timesteps.sample("model", 5, torch.Generator().manual_seed(4), mu=-0.2, sigma=0.7)
    assert torch.equal(drawn, by_hand)


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ({}, (-0.6, 1.2)),
        ({"timestep_mu": 0.5}, (-0.6, 1.2)),
        ({"timestep_sigma": 0.8}, (-0.4, 0.8)),
        ({"timestep_sigma": 0.8, "timestep_mu": 0.0}, (0.0, 0.8)),
    ],
)
def test_a_spread_replaces_the_checkpoints_distribution(given, used):
    assert timesteps.distribution(TrainSettings(**given), mu=-0.6, sigma=1.2) == used


def test_the_distribution_of_the_settings_reaches_training(new_trainer, new_settings):
    def levels(**train):
        trainer = new_trainer(new_settings(train=train))
        groups = trainer._sampler.micro_batches(trainer._sampler.examples(0, 0))
        return torch.cat([trainer._collator.collate(group, torch.device("cpu")).t for group in groups])

    own = levels()
    assert torch.equal(levels(timestep_sigma=1.0, timestep_mu=-0.4), own)  # what the material holds
    moved = levels(timestep_sigma=0.5, timestep_mu=1.0)
    assert torch.logit(moved).tolist() == pytest.approx(((torch.logit(own) + 0.4) * 0.5 + 1.0).tolist(), abs=1e-4)
    assert not torch.equal(levels(timesteps="uniform"), own)
