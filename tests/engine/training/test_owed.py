"""What other trainers got wrong and no other test here holds: who learns, and what a loss is the mean of."""

from __future__ import annotations

import pytest

from sidestep_tui.engine import adapters
from sidestep_tui.schema.adapter import AdapterSettings

KINDS = ("lora", "dora", "lokr", "loha", "oft")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_trains_the_chosen_modules_and_nothing_else(new_transformer, kind) -> None:
    """LyCORIS by its presets wraps every linear layer whatever is asked for."""
    transformer = new_transformer()
    adapters.inject(transformer, AdapterSettings(kind=kind, rank=2, oft_block_size=8, attention="cross"))
    chosen = {
        f"layers.{layer}.cross_attn.{name}" for layer in range(2) for name in ("to_q", "to_k", "to_v", "to_out.0")
    }
    assert set(adapters.adapted_layers(transformer)) == chosen
    learning = adapters.trainable(transformer)
    assert {module for module in chosen if any(name.startswith(f"{module}.") for name in learning)} == chosen
    assert all(name.startswith(tuple(f"{module}." for module in chosen)) for name in learning)


def test_the_told_loss_is_the_mean_over_examples_however_they_are_grouped(new_trainer, new_settings) -> None:
    """Divided by the accumulation twice, a loss would shrink as it grows."""
    told = []
    for batch_size, accumulation in ((1, 10), (10, 1), (2, 5)):
        grouped = {"batch_size": batch_size, "accumulation": accumulation}
        trainer = new_trainer(new_settings(data={"repeats": 2}, train=grouped))
        told.append(trainer.step().loss)
    assert told == pytest.approx([told[0]] * 3, rel=1e-5)
    assert told[0] > 0.5, "an untrained model is wrong by about the variance of the noise and the song"
