"""Advice: each rule speaks when it should, is silent otherwise, and its fix silences it."""

from __future__ import annotations

from typing import Any

import pytest

from sidestep_tui.schema import plan_maths, rules
from sidestep_tui.schema.fields import fields_by_path
from sidestep_tui.schema.layers import Layer, resolve
from sidestep_tui.schema.model_shape import SHAPE_2B
from sidestep_tui.schema.rules import Advice, Facts
from sidestep_tui.schema.settings import Settings
from sidestep_tui.schema.values import check_value

GIB = 1024**3


def _settings(**values: Any) -> Settings:
    return resolve([Layer("test", {key.replace("__", "."): value for key, value in values.items()})]).settings


def _find(found: list[Advice], path: str) -> Advice | None:
    return next((advice for advice in found if advice.path == path), None)


# values, facts, path of the advice, severity, words in it
CASES: list[tuple[dict[str, Any], Facts, str, str, str]] = [
    ({"train__best_after": 100}, Facts(), "train.best_after", "error", "there would never be one"),
    ({"train__epochs": 50}, Facts(), "train.best_after", "error", "ends at epoch 50"),
    ({"train__epochs": 1, "train__best_after": 1}, Facts(), "train.best_after", "error", "from epoch 1"),
    ({"train__patience": 80}, Facts(), "train.patience", "warning", "can never happen"),
    ({"train__best_by": "held_out"}, Facts(), "train.best_by", "error", "no song is held out"),
    (
        {"data__validation": 10, "train__patience": 5, "train__validate_every": 10, "train__best_after": 20},
        Facts(),
        "train.patience",
        "error",
        "after 5 epochs, before the held-out songs are measured a second time: that is every 10 epochs",
    ),
    (
        {"data__validation": 10, "train__best_after": 85, "train__validate_every": 40},
        Facts(),
        "train.validate_every",
        "warning",
        "From epoch 85 on",
    ),
    (
        {"train__max_steps": 400},
        Facts(steps_per_epoch=10),
        "train.best_after",
        "warning",
        "ends the run after 40 epochs",
    ),
    ({"train__epochs": 4, "train__best_after": 0}, Facts(), "train.best_by", "advice", "only be a final one"),
    ({"adapter__attention": "none"}, Facts(), "adapter.attention", "error", "Nothing would be trained"),
    (
        {"adapter__attention": "none", "adapter__mlp": True, "adapter__projections": ("q",)},
        Facts(),
        "adapter.projections",
        "advice",
        "no effect",
    ),
    ({"adapter__alpha": 1024.0}, Facts(), "adapter.alpha", "warning", "scaled by 16 (alpha 1024 / rank 64)"),
    ({"adapter__alpha": 1.0}, Facts(), "adapter.alpha", "warning", "learn little"),
    ({"adapter__rslora": True, "adapter__alpha": 512.0}, Facts(), "adapter.alpha", "warning", "√64"),
    ({"train__batch_size": 4, "data__crop_seconds": 0.0}, Facts(), "train.batch_size", "error", "one at a time"),
    ({"data__tag_position": "replace"}, Facts(), "data.tag", "error", "there is no tag"),
    ({"data__tag_position": "replace", "data__tag": "zx"}, Facts(), "data.tag_position", "advice", "replaces"),
    (
        {"data__variants": 2, "data__pitch": 0, "data__stretch": 0.0},
        Facts(),
        "data.variants",
        "error",
        "Nothing would be altered",
    ),
    ({"data__genre_ratio": 30}, Facts(), "data.genre_ratio", "advice", "30 % of the songs"),
    ({"train__snr_gamma": 3.0}, Facts(), "train.snr_gamma", "advice", "no effect"),
    ({"train__huber_delta": 0.5}, Facts(), "train.huber_delta", "advice", "no effect while the loss is mse"),
    ({"train__rollbacks": 0, "train__rollback_lr": 0.3}, Facts(), "train.rollback_lr", "advice", "never goes back"),
    (
        {"train__ema_decay": 0.99, "optim__optimizer": "schedule_free"},
        Facts(),
        "train.ema_decay",
        "error",
        "an average of its own",
    ),
    ({"train__timestep_mu": 0.5}, Facts(), "train.timestep_mu", "warning", "without a noise spread"),
    (
        {"train__timesteps": "uniform", "train__timestep_sigma": 0.5},
        Facts(),
        "train.timestep_sigma",
        "advice",
        "no effect on uniform",
    ),
    ({"train__max_steps": 150}, Facts(), "optim.warmup_steps", "warning", "100 of 150 steps, 67 % of the run"),
    ({"train__max_steps": 50}, Facts(), "optim.warmup_steps", "warning", "inside its warm-up"),
    ({}, Facts(songs=13), "optim.warmup_steps", "advice", "100 of 400 steps, 25 %"),
    ({}, Facts(steps_per_epoch=9), "optim.warmup_steps", "advice", "100 of 900 steps"),
    ({}, Facts(songs=2), "train.epochs", "advice", "2 songs, 1500 epochs are usual"),
    ({"train__epochs": 1000}, Facts(songs=100), "train.epochs", "advice", "may memorise"),
    ({"data__crop_seconds": 60.0}, Facts(longest_seconds=45.4), "data.crop_seconds", "advice", "longest song (45 s)"),
    ({"data__crop_seconds": 60.0}, Facts(longest_seconds=4.2), "data.crop_seconds", "advice", "(4 s)"),
    ({"data__crop_seconds": 300.0}, Facts(), "data.crop_seconds", "warning", "longer than songs are kept (240 s)"),
    ({"optim__optimizer": "adamw8bit"}, Facts(macos=True), "optim.optimizer", "error", "macOS"),
    ({"optim__optimizer": "adamw8bit"}, Facts(device="mps"), "optim.optimizer", "error", "macOS"),
    ({"optim__optimizer": "adamw8bit"}, Facts(device="cpu"), "optim.optimizer", "advice", "CPU"),
    ({"optim__lr": 0.01}, Facts(), "optim.lr", "warning", "usually diverges"),
    ({"optim__lr": 1e-6}, Facts(), "optim.lr", "advice", "1e-6 learns next to nothing"),
    ({"train__condition_dropout": 0.9}, Facts(), "train.condition_dropout", "warning", "90 %"),
    ({"output__save_every_epochs": 0}, Facts(), "output.save_every_epochs", "advice", "power cut"),
    ({"adapter__mlp": True}, Facts(vram_bytes=8 * GIB), "adapter.mlp", "warning", "8.0 GiB"),
    (
        {"adapter__dropout": 0.1, "memory__gradient_checkpointing": False},
        Facts(vram_bytes=12 * GIB),
        "adapter.dropout",
        "advice",
        "a third more",
    ),
    (
        {"output__save_every_epochs": 1, "train__epochs": 100},
        Facts(shape=SHAPE_2B),
        "output.save_every_epochs",
        "advice",
        "100 checkpoints and the final and best adapters take 49.6 GiB",
    ),
    (
        {"output__save_every_epochs": 10},
        Facts(shape=SHAPE_2B, free_disk_bytes=4 * GIB),
        "output.keep_last",
        "warning",
        "4.0 GiB are free",
    ),
]


@pytest.mark.parametrize(("values", "facts", "path", "severity", "words"), CASES)
def test_a_rule_speaks_and_its_fix_silences_it(
    values: dict[str, Any], facts: Facts, path: str, severity: str, words: str
) -> None:
    advice = _find(rules.check(_settings(**values), facts), path)
    assert advice is not None
    assert advice.severity == severity
    assert words in advice.sentence
    if advice.fix is None:
        return
    assert advice.fix_label
    fixed = {**{key.replace("__", "."): value for key, value in values.items()}, **advice.fix}
    for fixed_path, value in advice.fix.items():
        assert check_value(fields_by_path()[fixed_path], value) == value
    after = _find(rules.check(resolve([Layer("fixed", fixed)]).settings, facts), path)
    assert after is None or after.sentence != advice.sentence


def test_errors_come_first() -> None:
    found = rules.check(_settings(optim__lr=1e-6, train__patience=90, train__best_after=50, adapter__attention="none"))
    assert [advice.severity for advice in found] == ["error", "warning", "advice"]


@pytest.mark.parametrize(
    ("values", "facts"),
    [
        ({}, Facts()),
        ({"train__epochs": 500, "train__patience": 80, "train__best_after": 200}, Facts()),
        ({"adapter__rslora": True, "adapter__alpha": 32.0}, Facts()),
        ({"adapter__alpha": 32.0}, Facts()),
        ({"adapter__dropout": 0.1}, Facts(vram_bytes=8 * GIB)),
        ({"adapter__dropout": 0.1, "memory__gradient_checkpointing": False}, Facts(vram_bytes=24 * GIB)),
        ({"train__epochs": 500}, Facts(songs=13)),
        ({"train__epochs": 800}, Facts(songs=15)),
        ({"train__epochs": 500}, Facts(songs=100, longest_seconds=200.0)),
        ({"data__crop_seconds": 0.0}, Facts(longest_seconds=45.0)),
        ({}, Facts(shape=SHAPE_2B, free_disk_bytes=100 * GIB)),
        ({"optim__optimizer": "adamw8bit"}, Facts(device="cuda", macos=False)),
        ({"data__tag": "zx"}, Facts()),
        ({"train__loss_weighting": "min_snr", "train__snr_gamma": 3.0}, Facts()),
        ({"train__loss": "huber", "train__huber_delta": 0.5}, Facts()),
        ({"train__timestep_mu": 0.5, "train__timestep_sigma": 0.8}, Facts()),
        ({"data__validation": 10, "train__best_by": "held_out", "train__patience": 30}, Facts()),
        ({"train__patience": 5, "train__validate_every": 10, "train__best_after": 20}, Facts()),
        ({"data__validation": 10, "train__epochs": 4, "train__best_after": 0}, Facts()),
    ],
)
def test_usual_recipes_need_no_advice(values: dict[str, Any], facts: Facts) -> None:
    assert rules.check(_settings(**values), facts) == []


def test_what_a_run_needs_and_a_preset_lacks() -> None:
    assert [advice.path for advice in rules.missing(_settings())] == ["model.path", "data.path"]
    assert rules.missing(_settings(model__path="/m", data__path="/s")) == []


def test_the_scale_is_said_in_one_line() -> None:
    assert rules.scale_sentence(_settings()) == "The change is scaled by 2 (alpha 128 / rank 64)."
    assert (
        rules.scale_sentence(_settings(adapter__alpha=32.0, adapter__rslora=True))
        == "The change is scaled by 4 (alpha 32 / √64)."
    )


@pytest.mark.parametrize(
    ("epochs", "every", "full_mib", "adapter_mib", "gb"),
    [(800, 50, 253, 85, 4.2), (1000, 50, 128, 43, 2.6), (1000, 50, 32, 11, 0.7), (300, 50, 253, 85, 1.7)],
)
def test_the_disk_formula_gives_the_guides_scenarios(
    epochs: int, every: int, full_mib: int, adapter_mib: int, gb: float
) -> None:
    settings = _settings(train__epochs=epochs, output__save_every_epochs=every)
    count = plan_maths.checkpoints_written(settings)
    assert (count * full_mib + 2 * adapter_mib) / 1000 == pytest.approx(gb, abs=0.06)


def test_checkpoints_are_counted_before_there_are_any() -> None:
    kept = _settings(train__epochs=100, output__save_every_epochs=1, output__keep_last=3)
    assert plan_maths.checkpoints_written(kept) == 3
    by_steps = _settings(train__epochs=10, output__save_every_epochs=0, output__save_every_steps=20)
    assert plan_maths.checkpoints_written(by_steps, steps_per_epoch=10) == 5


@pytest.mark.parametrize(
    ("songs", "batch", "accumulation", "repeats", "steps"),
    [(13, 1, 4, 1, 4), (1, 3, 4, 1, 1), (17, 3, 1, 1, 6), (400, 2, 2, 1, 100), (5, 1, 1, 10, 50)],
)
def test_steps_per_epoch_never_drop_a_song(songs: int, batch: int, accumulation: int, repeats: int, steps: int) -> None:
    settings = _settings(train__batch_size=batch, train__accumulation=accumulation, data__repeats=repeats)
    assert plan_maths.steps_per_epoch(settings, songs) == steps


def test_run_steps_end_at_the_limit() -> None:
    assert plan_maths.run_steps(_settings(), songs=13) == 400
    assert plan_maths.run_steps(_settings(train__max_steps=50), songs=13) == 50
    assert plan_maths.run_steps(_settings(train__max_steps=5000), songs=13) == 400
    assert plan_maths.run_steps(_settings(train__max_steps=50)) == 50
    assert plan_maths.run_steps(_settings()) is None


@pytest.mark.parametrize(
    ("songs", "usual"), [(1, 1500), (3, 1500), (4, 1000), (10, 700), (20, 500), (50, 300), (51, 200)]
)
def test_usual_epochs_are_the_guides_table(songs: int, usual: int) -> None:
    few, middle, many = plan_maths.epochs_for(songs)
    assert middle == usual
    assert few < usual < many


def test_alterations_without_copies_need_no_word() -> None:
    changed = {"data__pitch": 4, "data__stretch": 0.0, "data__noise": 30.0}
    assert rules.check(_settings(**changed)) == rules.check(_settings())
    assert not _find(
        rules.check(_settings(data__variants=1, data__pitch=0, data__stretch=0.0, data__noise=40.0)), "data.variants"
    )


@pytest.mark.parametrize(
    ("values", "pieces"),
    [({}, 1), ({"data__variants": 3}, 4), ({"data__variants": 3, "data__pitch": 0, "data__stretch": 0.0}, 1)],
)
def test_each_copy_is_one_more_piece_to_encode(values: dict[str, Any], pieces: int) -> None:
    assert plan_maths.pieces_per_song(_settings(**values).data) == pieces
