"""The effect meter: nothing for nothing, in proportion to a change, and measured where the model is used."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from sidestep_tui.engine import adapters, effect
from sidestep_tui.engine.effect import Meter, relative_change
from sidestep_tui.schema.adapter import AdapterSettings
from tests.engine.training.adapting import trained


def meter(songs: list[Any], source: effect.Source = "training") -> Meter:
    silence = torch.randn((1, 100, 64), generator=torch.Generator().manual_seed(7))
    return Meter(songs, silence, torch.device("cpu"), torch.float32, source=source)


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 3.0])
def test_the_effect_of_a_linear_layer_grows_with_the_change(scale: float) -> None:
    source = torch.Generator().manual_seed(1)
    weight, a, b = (torch.randn(shape, generator=source) for shape in ((24, 16), (4, 16), (24, 4)))
    x = torch.randn((50, 16), generator=source)
    one = relative_change(x @ weight.T, x @ (weight + b @ a).T)
    expected = float((x @ a.T @ b.T).norm() / (x @ weight.T).norm())
    assert one == pytest.approx(expected, rel=1e-5)
    assert relative_change(x @ weight.T, x @ (weight + scale * b @ a).T) == pytest.approx(scale * expected, rel=1e-5)


def test_sizes_that_cannot_be_compared_are_said_to_be() -> None:
    nothing = torch.zeros(3)
    assert relative_change(nothing, nothing) == 0.0
    assert relative_change(nothing, torch.ones(3)) == math.inf
    assert [effect.share(value) for value in (0.0, 0.1234, 0.00002, math.inf)] == ["0.0 %", "12.3 %", "0.002 %", "inf"]


@pytest.mark.parametrize("kind", ["lora", "lokr"])
def test_a_fresh_adapter_has_no_effect(new_transformer: Any, songs: list[Any], kind: str) -> None:
    gauge = meter(songs)
    model = new_transformer()
    plain = gauge.hear(model)
    adapters.inject(model, AdapterSettings.model_validate({"kind": kind}))
    found = gauge.compare(plain, gauge.hear(model))
    assert found.change == 0.0
    assert set(found.by_band.values()) == {0.0}
    assert found.loss_before == found.loss_after


def test_the_effect_is_told_by_band_and_against_the_loss(new_transformer: Any, songs: list[Any]) -> None:
    gauge = meter(songs, "held-out")
    base = new_transformer()
    plain = gauge.hear(base)
    assert len(plain) == effect.MOST_SONGS
    assert all(torch.equal(one, other) for one, other in zip(plain, gauge.hear(base), strict=True))
    model = trained(new_transformer, AdapterSettings.model_validate({"rank": 4, "alpha": 4.0})).train()
    changed = gauge.hear(model)
    assert model.training
    found = gauge.compare(plain, changed)
    assert list(found.by_band) == ["0.00-0.25", "0.25-0.50", "0.50-0.75", "0.75-1.00"]
    assert min(found.by_band.values()) <= found.change <= max(found.by_band.values())
    band = relative_change(torch.cat([answer[3] for answer in plain]), torch.cat([answer[3] for answer in changed]))
    assert found.by_band["0.75-1.00"] == band > 0.01
    assert found.loss_before != found.loss_after
    assert "on 4 held-out songs the loss goes from" in found.sentence
    assert found.event()["songs"] == 4
    made_up = meter(songs, "made-up")
    assert "loss" not in made_up.compare(plain, changed).sentence


def test_the_card_learns_it_once(tmp_path: Path, new_transformer: Any, songs: list[Any]) -> None:
    gauge = meter(songs)
    plain = gauge.hear(new_transformer())
    found = gauge.compare(plain, [1.5 * answer for answer in plain])
    assert found.change == pytest.approx(0.5)
    card = tmp_path / "README.md"
    card.write_text("| Batch | 1 |\n| Made with | us |\n", "utf-8")
    for _ in range(2):
        effect.note_in_card(card, found)
    assert card.read_text("utf-8") == (
        "| Batch | 1 |\n| Change at strength 1 | 50.0 % of the model's output |\n| Made with | us |\n"
    )
