"""Every tensor of a checkpoint is accounted for: the file and the first key that is not are named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from sidestep_tui.core.errors import RunError
from sidestep_tui.engine import adapters, checkpoint, export
from sidestep_tui.engine.checkpoint import Loaded
from sidestep_tui.engine.trainer import Trainer
from sidestep_tui.protocol.rundir import RunDir

PROVENANCE = export.Provenance("drums", "2026", 1, 1, None, "acestep-v15-turbo", "turbo", "")
WEIGHT = "layers.0.self_attn.to_q.lora_A.default.weight"
FILE_KEY = "base_model.model.layers.0.self_attn.q_proj.lora_A.weight"

Tensors = dict[str, torch.Tensor]


def saved(trainer: Trainer, home: Path) -> Path:
    state, settings = trainer.state({}), trainer.settings
    run_dir = RunDir.create(home, "drums")
    return checkpoint.save(run_dir, trainer.transformer, trainer.optimizer, state, settings, PROVENANCE)


def resume(trainer: Trainer, directory: Path) -> Loaded:
    trainer.restore(directory, *checkpoint.read(directory))
    return trainer.loaded


def test_all_tensors_are_counted(new_trainer, tmp_path: Path) -> None:
    trainer = new_trainer()
    trainer.step()
    loaded = resume(new_trainer(), saved(trainer, tmp_path))
    assert loaded == Loaded(adapter=32, optimizer=96)  # 2 layers of 8 matrices with A and B; two moments and a count
    assert str(loaded) == "32/32 adapter tensors and 96/96 of the optimizer"


def without(key: str) -> Callable[[Tensors], Any]:
    return lambda tensors: tensors.pop(key)


def renamed(key: str, other: str) -> Callable[[Tensors], Any]:
    return lambda tensors: tensors.update({other: tensors.pop(key)})


def cut(key: str) -> Callable[[Tensors], Any]:
    return lambda tensors: tensors.update({key: tensors[key][:-1].clone()})


def without_all_of(weight: str) -> Callable[[Tensors], Any]:
    return lambda tensors: [tensors.pop(key) for key in list(tensors) if key.startswith(f"{weight}|")]


@pytest.mark.parametrize(
    ("file", "damage", "words"),
    [
        (adapters.WEIGHTS_FILE, without(FILE_KEY), f"1 of 32 tensors are missing .*{FILE_KEY}"),
        (adapters.WEIGHTS_FILE, renamed(FILE_KEY, f"{FILE_KEY}s"), "missing"),
        (adapters.WEIGHTS_FILE, cut(FILE_KEY), f"of another shape .*{FILE_KEY}"),
        (checkpoint.OPTIMIZER_FILE, without(f"{WEIGHT}|exp_avg_sq"), rf"31 of 32 tensors 'exp_avg_sq'.*{WEIGHT}\|exp"),
        (checkpoint.OPTIMIZER_FILE, without_all_of(WEIGHT), f"1 of 32 weights have no state, first '{WEIGHT}'"),
        (
            checkpoint.OPTIMIZER_FILE,
            renamed(f"{WEIGHT}|exp_avg", "layers.9.x|exp_avg"),
            r"'layers.9.x\|exp_avg' belongs to no weight",
        ),
        (checkpoint.OPTIMIZER_FILE, cut(f"{WEIGHT}|exp_avg"), rf"'{WEIGHT}\|exp_avg' has the shape \[3, 32\]"),
    ],
)
def test_what_is_missing_or_left_over_is_named_with_its_file(
    new_trainer, tmp_path: Path, file: str, damage: Callable[[Tensors], Any], words: str
) -> None:
    trainer = new_trainer()
    trainer.step()
    directory = saved(trainer, tmp_path)
    tensors = load_file(directory / file)
    damage(tensors)
    save_file(tensors, directory / file)
    fresh = new_trainer()
    before = {name: parameter.detach().clone() for name, parameter in fresh.parameters.items()}
    with pytest.raises(RunError, match=words) as caught:
        resume(fresh, directory)
    assert file in caught.value.message
    assert "step_000001" in caught.value.message
    assert fresh.optimizer.state == {}
    if file == adapters.WEIGHTS_FILE:
        assert all(torch.equal(parameter, before[name]) for name, parameter in fresh.parameters.items())


def test_a_checkpoint_from_before_counts_were_noted_loads(new_trainer, tmp_path: Path) -> None:
    trainer = new_trainer()
    trainer.step()
    directory = saved(trainer, tmp_path)
    state_file = directory / checkpoint.STATE_FILE
    document = json.loads(state_file.read_text())
    for key in ("tensors", "score"):
        del document[key]
    state_file.write_text(json.dumps(document))
    assert resume(new_trainer(), directory).optimizer == 96


def test_a_checkpoint_from_before_the_first_step_that_changed_anything_loads(
    new_trainer, new_song, tmp_path: Path
) -> None:
    songs = [new_song("deafening", 60, 9, fill=1e30)]
    trainer = new_trainer(songs=songs)
    assert trainer.step().skipped
    assert resume(new_trainer(songs=songs), saved(trainer, tmp_path)) == Loaded(adapter=32, optimizer=0)
