"""Finding checkpoints, and remembering what was used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sidestep_tui.core import paths
from sidestep_tui.core.errors import ModelError
from sidestep_tui.launch import discover, fingerprints, hardware, models
from sidestep_tui.launch.gpus import Device
from sidestep_tui.schema import fit_ladder
from sidestep_tui.schema.model_shape import SHAPE_XL
from sidestep_tui.schema.settings import Settings

from .conftest import CONFIG_XL, write_checkpoint, write_safetensors


def test_usual_folders_are_searched(checkpoint: Path, home: Path) -> None:
    write_checkpoint(home / "ACE-Step-1.5" / "checkpoints", "acestep-v15-xl-base", CONFIG_XL)
    found = {model.name: model for model in discover.find_models()}
    assert {name: model.variant for name, model in found.items()} == {
        "acestep-v15-turbo": "turbo",
        "acestep-v15-xl-base": "xl-base",
    }
    assert found["acestep-v15-turbo"].path == checkpoint.resolve()
    assert found["acestep-v15-xl-base"].shape == SHAPE_XL


def test_a_linked_checkpoint_is_listed_once(checkpoint: Path, home: Path) -> None:
    (home / "checkpoints" / "acestep-v15-again").symlink_to(checkpoint)
    assert [model.path for model in discover.find_models()] == [checkpoint.resolve()]


def test_other_folders_are_no_checkpoints(checkpoint: Path) -> None:
    (checkpoint.parent / "acestep-v15-empty").mkdir()
    (checkpoint.parent / "acestep-5Hz-lm-1.7B").mkdir()
    (checkpoint.parent / "acestep-5Hz-lm-1.7B" / "config.json").write_text("{}")
    (checkpoint.parent / "acestep-v15-broken").mkdir()
    (checkpoint.parent / "acestep-v15-broken" / "config.json").write_text("not json")
    assert [model.name for model in discover.find_models()] == ["acestep-v15-turbo"]


def test_a_diffusers_folder_is_a_checkpoint(home: Path) -> None:
    model = home / "checkpoints" / "anything"
    write_safetensors(model / "transformer" / "diffusion_pytorch_model.safetensors", {"w": (2,)})
    (model / "transformer" / "config.json").write_text(json.dumps(CONFIG_XL))
    (model / "model_index.json").write_text("{}")
    (found,) = discover.find_models()
    assert (found.layout, found.variant) == ("diffusers", "xl-base")


def test_recent_paths_come_newest_first_and_vanish_with_their_folder(home: Path) -> None:
    for name in ("one", "two", "three"):
        (home / name).mkdir()
        discover.remember(dataset=home / name)
    discover.remember(dataset=home / "one")
    assert [path.name for path in discover.recent_datasets()] == ["one", "three", "two"]
    (home / "three").rmdir()
    assert [path.name for path in discover.recent_datasets()] == ["one", "two"]
    assert discover.recent_models() == []


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"models": 3, "datasets": [1, null]}'])
def test_a_damaged_recent_file_is_an_empty_one(damage: str, home: Path) -> None:
    (paths.state_dir() / "recent.json").write_text(damage)
    assert discover.recent_models() == []
    assert discover.recent_datasets() == []
    discover.remember(model=home)
    assert discover.recent_models() == [home]


def test_a_recent_checkpoint_is_found_from_anywhere(
    checkpoint: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    discover.remember(model=checkpoint)
    elsewhere = home / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert [model.path for model in discover.find_models()] == [checkpoint.resolve()]


def test_the_folder_above_means_the_one_checkpoint_in_it(checkpoint: Path) -> None:
    assert models.locate(str(checkpoint.parent)).path == checkpoint.resolve()


def test_several_checkpoints_need_a_choice(checkpoint: Path) -> None:
    write_checkpoint(checkpoint.parent, "acestep-v15-xl-base", CONFIG_XL)
    with pytest.raises(ModelError, match="More than one"):
        models.locate(str(checkpoint.parent))
    assert models.locate(str(checkpoint.parent), "xl-base").name == "acestep-v15-xl-base"
    with pytest.raises(ModelError, match="no sft checkpoint"):
        models.locate(str(checkpoint.parent), "sft")


@pytest.mark.parametrize("path", ["", "nowhere"])
def test_no_model_is_refused(path: str) -> None:
    with pytest.raises(ModelError, match="models list"):
        models.locate(path)


def test_fingerprints_change_with_model_and_songs(checkpoint: Path, songs: Path) -> None:
    settings = Settings.model_validate({"model": {"path": str(checkpoint)}, "data": {"path": str(songs)}})
    before = fingerprints.of_settings(settings)
    assert fingerprints.of_settings(settings) == before
    (songs / "drums.caption.txt").write_text("another caption")
    edited = fingerprints.of_settings(settings)
    assert (edited["model"] == before["model"], edited["dataset"] == before["dataset"]) == (True, False)
    weights = checkpoint / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    assert fingerprints.of_settings(settings)["model"] != before["model"]
    assert fingerprints.of_settings(Settings()) == {}


def _device(free_gib: float, name: str = "Test GPU") -> Device:
    return Device("cuda", name, int(free_gib * 1024**3), int(free_gib * 1024**3))


def test_auto_recomputes_only_where_the_run_would_not_fit() -> None:
    settings = Settings()
    assert not hardware.recomputes(settings, _device(24))
    assert hardware.recomputes(settings, _device(6))
    off = fit_ladder.with_values(settings, {"memory.gradient_checkpointing": "off"})
    assert not hardware.recomputes(off, _device(6)), "what is asked for is what is done"
    assert hardware.estimate_for(settings, _device(24)) == hardware.estimate_for(off, _device(24))
    assert hardware.estimate_for(settings, _device(6)).total < hardware.estimate_for(off, _device(6)).total


def test_a_base_in_8_bits_is_suggested_for_a_model_that_is_too_large_otherwise() -> None:
    large = Settings.model_validate({"model": {"variant": "xl-turbo"}})
    assert hardware.layer(large, device=_device(7.5)).values == {"memory.base": "int8"}
    assert hardware.layer(large, device=_device(16)).values == {}
    assert hardware.layer(Settings(), device=_device(7.5)).values == {}


def test_the_estimate_counts_the_kernel_that_the_gpu_gets() -> None:
    stock = {"fused": False, "attention": "stock"}
    settings = Settings.model_validate(
        {"data": {"crop_seconds": 240}, "memory": {"gradient_checkpointing": False}, "speed": stock}
    )
    consumer = hardware.estimate_for(settings, _device(24, "NVIDIA GeForce RTX 4090")).total / 1024**3
    hopper = hardware.estimate_for(settings, _device(140, "NVIDIA H200")).total / 1024**3
    assert consumer == pytest.approx(22.0, rel=0.03)
    assert hopper == pytest.approx(14.2, rel=0.03)
