"""Settings without effect: said in one place, with a reason that fits beside a value."""

from __future__ import annotations

from typing import Any

import pytest

from sidestep_tui.core.errors import SettingsError
from sidestep_tui.schema import presets, rules
from sidestep_tui.schema.fields import all_fields, fields_by_path
from sidestep_tui.schema.inert import inert
from sidestep_tui.schema.layers import Layer, resolve
from sidestep_tui.schema.settings import Settings


def settings(**values: Any) -> Settings:
    return resolve([Layer("test", {key.replace("__", "."): value for key, value in values.items()})]).settings


CASES = [
    (
        "adapter.alpha",
        {"adapter__kind": "lokr"},
        {"adapter__kind": "lokr", "adapter__rank": 8, "adapter__lokr_full_matrix": False},
    ),
    ("adapter.rank", {"adapter__kind": "lokr"}, {"adapter__kind": "loha"}),
    ("adapter.rank", {"adapter__kind": "oft"}, {"adapter__kind": "lora"}),
    ("adapter.rslora", {"adapter__kind": "oft"}, {"adapter__kind": "dora"}),
    ("adapter.dropout", {"adapter__kind": "loha"}, {"adapter__kind": "dora"}),
    ("adapter.lokr_factor", {"adapter__kind": "lora"}, {"adapter__kind": "lokr"}),
    (
        "adapter.lokr_decompose_both",
        {"adapter__kind": "lokr"},
        {"adapter__kind": "lokr", "adapter__rank": 4, "adapter__lokr_full_matrix": False},
    ),
    ("adapter.oft_block_size", {"adapter__kind": "lokr"}, {"adapter__kind": "oft"}),
    ("adapter.projections", {"adapter__attention": "none"}, {"adapter__attention": "self"}),
    ("adapter.rank_pattern", {"adapter__kind": "loha"}, {}),
    ("adapter.init", {"adapter__start_from": "runs/a"}, {}),
    ("optim.schedule", {"optim__optimizer": "prodigy", "optim__schedule": "constant"}, {"optim__schedule": "constant"}),
    ("optim.lr", {"optim__optimizer": "prodigy", "optim__lr": 1.0}, {"optim__optimizer": "prodigy"}),
    ("optim.lr_floor", {"optim__schedule": "constant"}, {}),
    ("optim.lr_ratio_b", {"adapter__kind": "lokr"}, {"adapter__kind": "dora"}),
    ("optim.beta1", {"optim__optimizer": "adafactor"}, {"optim__optimizer": "lion"}),
    ("optim.eps", {"optim__optimizer": "lion"}, {}),
    ("train.huber_delta", {}, {"train__loss": "huber"}),
    ("train.snr_gamma", {}, {"train__loss_weighting": "min_snr"}),
    ("train.timestep_mu", {}, {"train__timestep_sigma": 1.0}),
    ("train.timestep_sigma", {"train__timesteps": "turbo8"}, {"train__timesteps": "logit_normal"}),
    ("train.best_by", {}, {"data__validation": 10}),
    ("train.validate_every", {}, {"data__validation": 10}),
    ("train.best_after", {"train__epochs": 4}, {"train__epochs": 4, "data__validation": 10}),
    ("train.patience", {"train__epochs": 4}, {}),
    ("train.rollback_lr", {"train__rollbacks": 0}, {}),
    ("data.pitch", {}, {"data__variants": 2}),
    ("data.tag_position", {}, {"data__tag": "mystyle"}),
    ("data.duration_text", {"data__crop_seconds": 0.0}, {}),
    ("speed.cuda_graphs", {"speed__compile": "off"}, {}),
    ("speed.activation_budget", {"memory__gradient_checkpointing": "on"}, {}),
    ("speed.lean_lora", {"adapter__dropout": 0.1}, {}),
    ("output.keep_best", {}, {"output__keep_last": 3}),
    ("output.comfyui", {"adapter__kind": "oft"}, {}),
]


@pytest.mark.parametrize(("path", "without", "with_effect"), CASES)
def test_a_setting_is_inert_beside_some_values_and_not_beside_others(
    path: str, without: dict[str, Any], with_effect: dict[str, Any]
) -> None:
    assert path in inert(settings(**without))
    assert path not in inert(settings(**with_effect))


def test_every_reason_fits_beside_a_value_and_names_a_setting() -> None:
    for kind in fields_by_path()["adapter.kind"].choices:
        for optimizer in fields_by_path()["optim.optimizer"].choices:
            for path, reason in inert(settings(adapter__kind=kind, optim__optimizer=optimizer)).items():
                assert path in fields_by_path()
                assert 3 < len(reason) <= 17, reason
                assert not reason.endswith(".")


def test_advice_about_what_has_no_effect_agrees() -> None:
    """A rule that says "no effect" speaks of a setting that is inert, so that row and advice never contradict."""
    seen = 0
    for spec in all_fields():
        for other in (
            {},
            {"adapter__kind": "lokr"},
            {"adapter__kind": "oft"},
            {"optim__optimizer": "lion"},
            {"speed__compile": "off"},
            {"train__rollbacks": 0},
        ):
            for value in spec.choices or (spec.high, spec.low, True, False):
                try:
                    found = settings(
                        **{**other, spec.path.replace(".", "__"): spec.default if value is None else value}
                    )
                except SettingsError:
                    continue
                for advice in rules.check(found):
                    if "no effect" in advice.sentence and "number of best" not in advice.sentence:
                        assert advice.path in inert(found), (advice, other)
                        seen += 1
    assert seen > 20


def test_no_shipped_preset_changes_what_has_no_effect() -> None:
    for preset in presets.list_presets():
        found = resolve(preset.layers()).settings
        # What an optimizer needs to be set, so that it counts for nothing, is no mistake.
        needed = {"optim.schedule", "optim.lr"}
        dead = {path for path in inert(found) if path in preset.values} - needed
        wrong = {path for path in dead if preset.values[path] != fields_by_path()[path].default}
        assert not wrong, (preset.name, wrong)
