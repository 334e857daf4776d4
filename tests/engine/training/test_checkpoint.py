"""Checkpoints: exact, whole, pruned with care, and refused when they do not fit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sidestep_tui.core.errors import AdapterError, RunError
from sidestep_tui.engine import adapters, checkpoint, export
from sidestep_tui.engine.trainer import Trainer
from sidestep_tui.protocol.rundir import RunDir

STEPS_PER_EPOCH = 3  # five songs, two a step


def provenance() -> export.Provenance:
    return export.Provenance("drums", "2026", 1, 1, None, "acestep-v15-turbo", "turbo", "")


def train(trainer: Trainer, steps: int) -> list[float]:
    """Losses of so many steps, closing epochs as the loop does."""
    losses = []
    for _ in range(steps):
        losses.append(trainer.step().loss)
        if trainer.at_end_of_epoch:
            result = trainer.end_epoch()
            trainer.tracker.add_epoch(result.epoch, result.step, result.loss)
            losses.append(result.loss)
    return losses


def saved(trainer: Trainer, run_dir: RunDir, fingerprint: dict | None = None) -> Path:
    state = trainer.state(fingerprint or {})
    settings = trainer.settings
    return checkpoint.save(run_dir, trainer.transformer, trainer.optimizer, state, settings, provenance())


def resumed(trainer: Trainer, directory: Path) -> Trainer:
    state, numbers = checkpoint.read(directory)
    trainer.restore(directory, state, numbers)
    return trainer


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    return RunDir.create(tmp_path, "drums")


VARIATIONS = {
    "plain": {},
    "dropout": {"adapter": {"dropout": 0.3}},
    "dora": {"adapter": {"kind": "dora", "mlp": True}},
    "checkpointing": {"adapter": {"dropout": 0.3}, "memory": {"gradient_checkpointing": True}},
    "batches": {"train": {"batch_size": 2, "timesteps": "turbo8", "loss_weighting": "min_snr"}},
}


@pytest.mark.parametrize("variation", VARIATIONS)
@pytest.mark.parametrize("cut", [1, STEPS_PER_EPOCH, STEPS_PER_EPOCH + 2])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(new_trainer, new_settings, run_dir, variation, cut):
    settings = new_settings(**VARIATIONS[variation])
    straight = new_trainer(settings)
    expected = train(straight, straight.total_steps)
    first = new_trainer(settings)
    losses = train(first, min(cut, first.total_steps - 1))
    directory = saved(first, run_dir)
    torch.manual_seed(999)  # what a new process would differ in
    second = resumed(new_trainer(settings), directory)
    losses += train(second, second.total_steps - second.position.step)
    assert losses == expected
    assert second.tracker.state() == straight.tracker.state()
    for (name, one), (_, other) in zip(straight.parameters.items(), second.parameters.items(), strict=True):
        assert torch.equal(one, other), name


def test_gradient_checkpointing_changes_no_bit_with_dropout(new_trainer, new_settings):
    plain = new_trainer(new_settings(adapter={"dropout": 0.3}))
    recomputed = new_trainer(new_settings(**VARIATIONS["checkpointing"]))
    assert train(plain, 4) == train(recomputed, 4)


def test_training_changes_the_adapter_and_nothing_else(new_trainer, new_transformer):
    trainer = new_trainer()
    train(trainer, 2)
    base = dict(new_transformer().named_parameters())
    for name, parameter in trainer.transformer.named_parameters():
        if ".lora_" not in name:
            assert torch.equal(parameter, base[name.replace(".base_layer", "")]), name
    assert all(bool((p != 0).any()) for name, p in trainer.parameters.items() if "lora_B" in name)


def test_a_checkpoint_is_a_usable_adapter(new_trainer, new_transformer, run_dir):
    trainer = new_trainer()
    train(trainer, 2)
    directory = saved(trainer, run_dir)
    expected = export.probe(trainer.transformer, dtype=torch.float32)
    fresh = new_transformer()
    adapters.load_adapter(fresh, directory)
    assert torch.equal(export.probe(fresh, dtype=torch.float32), expected)


def test_stock_diffusers_finds_the_adapter_beside_the_training_state(new_trainer, new_transformer, run_dir):
    from diffusers import AceStepPipeline

    trainer = new_trainer()
    train(trainer, 2)
    directory = saved(trainer, run_dir)
    fresh = new_transformer()
    nothing = dict.fromkeys(("vae", "text_encoder", "tokenizer", "condition_encoder", "scheduler"))
    AceStepPipeline(transformer=fresh, **nothing).load_lora_weights(str(directory))
    expected = export.probe(trainer.transformer, dtype=torch.float32)
    assert torch.equal(export.probe(fresh, dtype=torch.float32), expected)


def test_nothing_in_a_checkpoint_is_a_pickle(new_trainer, run_dir):
    trainer = new_trainer()
    train(trainer, 1)
    suffixes = {path.suffix for path in saved(trainer, run_dir).rglob("*") if path.is_file()}
    assert suffixes == {".safetensors", ".json"}


def test_a_published_checkpoint_is_never_rewritten(new_trainer, run_dir):
    trainer = new_trainer()
    train(trainer, 1)
    directory = saved(trainer, run_dir)
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    next(iter(trainer.parameters.values())).data.add_(1.0)
    assert saved(trainer, run_dir) == directory
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before


def test_a_failed_save_leaves_no_trace(new_trainer, run_dir, monkeypatch):
    trainer = new_trainer()
    train(trainer, 1)

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "write_tensors", fail)
    with pytest.raises(Exception, match="disk is full"):
        saved(trainer, run_dir)
    assert list(run_dir.checkpoints.iterdir()) == []


def test_leftovers_of_a_kill_are_removed_and_published_ones_stay(new_trainer, run_dir):
    trainer = new_trainer()
    train(trainer, 1)
    directory = saved(trainer, run_dir)
    (run_dir.checkpoints / ".step_000009.abc.tmp").mkdir()
    (run_dir.checkpoints / ".step_000002.deleted").mkdir()
    checkpoint.clean(run_dir)
    assert list(run_dir.checkpoints.iterdir()) == [directory]


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        (checkpoint.STATE_FILE, b"{"),
        (checkpoint.STATE_FILE, b'{"format": 99}'),
        (checkpoint.OPTIMIZER_FILE, b"torn"),
        (adapters.WEIGHTS_FILE, b"torn"),
    ],
)
def test_a_damaged_checkpoint_is_refused_by_name(new_trainer, run_dir, file, damage):
    trainer = new_trainer()
    train(trainer, 1)
    directory = saved(trainer, run_dir)
    (directory / file).write_bytes(damage)
    with pytest.raises((RunError, AdapterError), match="step_000001"):
        resumed(new_trainer(), directory)


def test_optimizer_state_that_is_incomplete_is_refused(new_trainer, run_dir):
    trainer = new_trainer()
    train(trainer, 1)
    directory = saved(trainer, run_dir)
    path = directory / checkpoint.OPTIMIZER_FILE
    tensors = load_file(path)
    lost = next(iter(tensors)).split("|")[0]
    save_file({key: value for key, value in tensors.items() if not key.startswith(lost)}, path)
    with pytest.raises(RunError, match="not complete"):
        resumed(new_trainer(), directory)


def test_settings_that_cannot_change_are_refused_in_words(new_settings):
    before = checkpoint.fingerprint(new_settings(), model="m", dataset="d")
    saved_form = json.loads(json.dumps(before))
    checkpoint.refuse_other(saved_form, before, Path("step_000010"))
    other = new_settings(adapter={"rank": 8, "attention": "self"}, optim={"optimizer": "adamw8bit"})
    with pytest.raises(RunError) as caught:
        checkpoint.refuse_other(saved_form, checkpoint.fingerprint(other, model="n", dataset="e"), Path("step_000010"))
    for words in ("step_000010", "base model", "songs", "adapter.rank was 4 and is 8", "other layers"):
        assert words in caught.value.message


def test_settings_that_may_change_take_effect_after_a_resume(new_trainer, new_settings, run_dir):
    trainer = new_trainer(new_settings(optim={"schedule": "constant"}))
    train(trainer, 2)
    directory = saved(trainer, run_dir)
    edited = new_settings(optim={"schedule": "constant", "lr": 5e-4, "weight_decay": 0.5}, train={"epochs": 9})
    longer = resumed(new_trainer(edited), directory)
    assert longer.total_steps == 9 * STEPS_PER_EPOCH
    assert longer.step().lr == 5e-4
    assert longer.optimizer.param_groups[0]["weight_decay"] == 0.5


def test_a_longer_run_follows_its_own_cosine_down(new_trainer, new_settings, run_dir):
    trainer = new_trainer()
    train(trainer, trainer.total_steps)
    directory = saved(trainer, run_dir)
    longer = resumed(new_trainer(new_settings(train={"epochs": 6})), directory)
    rates = [longer.step().lr]
    while not longer.is_done:
        if longer.at_end_of_epoch:
            longer.end_epoch()
        else:
            rates.append(longer.step().lr)
    assert rates == sorted(rates, reverse=True)
    assert rates[0] < 0.6 * longer.settings.optim.lr


def test_eight_bit_adam_resumes_exactly(new_trainer, new_settings, run_dir):
    pytest.importorskip("bitsandbytes")
    settings = new_settings(optim={"optimizer": "adamw8bit"}, adapter={"rank": 128})
    straight = new_trainer(settings)
    expected = train(straight, 5)
    first = new_trainer(settings)
    losses = train(first, 2)
    directory = saved(first, run_dir)
    stored = load_file(directory / checkpoint.OPTIMIZER_FILE)
    assert torch.uint8 in {tensor.dtype for tensor in stored.values()}
    second = resumed(new_trainer(settings), directory)
    assert losses + train(second, 3) == expected


def test_missing_bitsandbytes_is_explained(new_trainer, new_settings, monkeypatch):
    import sys

    from sidestep_tui.core.errors import SettingsError

    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(SettingsError, match="bitsandbytes"):
        new_trainer(new_settings(optim={"optimizer": "adamw8bit"}))


@pytest.mark.parametrize(
    "damage",
    [
        {"tracking": 5},
        {"tracking": {"losses": "x", "waiting_since": None, "best": None}},
        {"position": {"step": "x", "epoch": 0, "offset": 0}},
        {"position": {"step": -1, "epoch": 0, "offset": 0}},
        {"position": {"step": 7, "epoch": 0, "offset": 0}},
        {"seed": None},
        {"format": 99},
        "[" * 100_000,
        "null",
    ],
)
def test_a_damaged_state_says_which_checkpoint_and_what_to_do(new_trainer, run_dir, damage) -> None:
    trainer = new_trainer()
    train(trainer, 1)
    directory = saved(trainer, run_dir)
    state_file = directory / checkpoint.STATE_FILE
    if isinstance(damage, dict):
        damage = json.dumps(json.loads(state_file.read_text()) | damage)
    state_file.write_text(damage)
    with pytest.raises(RunError, match="step_000001") as caught:
        resumed(new_trainer(), directory)
    assert "one before" in caught.value.hint


@pytest.mark.parametrize("name", [adapters.WEIGHTS_FILE, adapters.CONFIG_FILE])
def test_a_damaged_adapter_in_a_checkpoint_says_that_it_is_the_checkpoint(new_trainer, run_dir, name) -> None:
    trainer = new_trainer()
    train(trainer, 1)
    directory = saved(trainer, run_dir)
    (directory / name).write_bytes((directory / name).read_bytes()[:40])
    with pytest.raises(RunError, match="checkpoint cannot be read") as caught:
        resumed(new_trainer(), directory)
    assert "one before" in caught.value.hint
