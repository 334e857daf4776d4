"""What preflight says about a machine, one broken thing at a time."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from sidestep_tui.core import nvml
from sidestep_tui.core.nvml import Gpu
from sidestep_tui.launch import doctor, fingerprints, preflight
from sidestep_tui.launch.preflight import Check
from sidestep_tui.schema.layers import Layer, resolve

from .conftest import write_wav

GIB = 1024**3


@pytest.fixture
def good(checkpoint: Path, songs: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Settings that pass on a machine with a free 24 GB GPU."""
    give_gpus(monkeypatch, gpu())
    return {
        "model.path": str(checkpoint),
        "data.path": str(songs),
        "output.path": str(home / "runs"),
        "optim.warmup_steps": 1,
    }


def gpu(index: int = 0, total: float = 24, free: float = 23) -> Gpu:
    """A card."""
    return Gpu(
        index,
        f"GPU-{index}",
        "Test GPU",
        int(total * GIB),
        int((total - free) * GIB),
        int(free * GIB),
        0,
        40,
        50.0,
        300.0,
    )


def give_gpus(monkeypatch: pytest.MonkeyPatch, *cards: Gpu) -> None:
    """Have the machine show these cards."""
    monkeypatch.setattr(nvml, "gpus", lambda: list(cards))


def check(values: dict[str, Any], **options: Any) -> dict[str, Check]:
    """The checks by name; of several with one name, the worst."""
    found: dict[str, Check] = {}
    rank = {"ok": 0, "warn": 1, "fail": 2}
    for item in preflight.checks(resolve([Layer("test", values)]), **options):
        if item.name not in found or rank[item.status] > rank[found[item.name].status]:
            found[item.name] = item
    return found


def test_everything_in_order(good: dict[str, Any]) -> None:
    found = check(good)
    assert {item.status for item in found.values()} == {"ok"}, found
    assert {"model", "songs", "output", "disk", "memory"} <= set(found)


def test_nothing_is_written(good: dict[str, Any], home: Path) -> None:
    before = sorted(home.rglob("*"))
    check(good)
    assert sorted(home.rglob("*")) == before


@pytest.mark.parametrize(
    "missing",
    [
        "vae/diffusion_pytorch_model.safetensors",
        "vae/config.json",
        "Qwen3-Embedding-0.6B/model.safetensors",
        "Qwen3-Embedding-0.6B/tokenizer.json",
        "acestep-v15-turbo/model.safetensors",
        "acestep-v15-turbo/silence_latent.pt",
    ],
)
def test_a_missing_file_is_named(good: dict[str, Any], checkpoint: Path, missing: str) -> None:
    (checkpoint.parent / missing).unlink()
    found = check(good)["model"]
    assert found.status == "fail"
    assert missing in found.sentence


def test_a_truncated_file_is_named_with_both_sizes(good: dict[str, Any], checkpoint: Path) -> None:
    path = checkpoint / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    found = check(good)["model"]
    assert found.status == "fail"
    assert str(path) in found.sentence
    assert "cut off" in found.sentence


@pytest.mark.parametrize(
    ("damaged", "content", "words"),
    [
        ("vae/config.json", b'{"half": ', "not valid JSON"),
        ("Qwen3-Embedding-0.6B/config.json", b'{"half": ', "not valid JSON"),
        ("Qwen3-Embedding-0.6B/config.json", b"", "empty"),
        ("Qwen3-Embedding-0.6B/tokenizer.json", b"", "empty"),
        ("Qwen3-Embedding-0.6B/tokenizer.json", b'{"model": {"vocab": {', "cut off"),
        ("acestep-v15-turbo/silence_latent.pt", b"", "empty"),
        ("acestep-v15-turbo/silence_latent.pt", b"PK\x03\x04 half of an archive", "cut off"),
    ],
)
def test_a_damaged_file_is_not_called_missing(
    good: dict[str, Any], checkpoint: Path, damaged: str, content: bytes, words: str
) -> None:
    (checkpoint.parent / damaged).write_bytes(content)
    found = check(good)["model"]
    assert found.status == "fail"
    assert damaged in found.sentence
    assert words in found.sentence


def test_a_missing_shard_is_named(good: dict[str, Any], checkpoint: Path) -> None:
    (checkpoint / "model.safetensors").rename(checkpoint / "model-00001-of-00002.safetensors")
    (checkpoint / "model.safetensors.index.json").write_text(
        '{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}'
    )
    found = check(good)["model"]
    assert found.status == "fail"
    assert "model-00002-of-00002.safetensors does not exist" in found.sentence


def test_another_variant_than_asked_for_is_refused(good: dict[str, Any]) -> None:
    found = check(good | {"model.variant": "base"})["model"]
    assert found.status == "fail"
    assert "turbo, not base" in found.sentence


def test_a_folder_without_audio_is_refused(good: dict[str, Any], home: Path) -> None:
    (home / "empty").mkdir()
    assert check(good | {"data.path": str(home / "empty")})["songs"].status == "fail"


def test_an_unreadable_song_is_a_warning_that_names_it(good: dict[str, Any], songs: Path) -> None:
    (songs / "broken.wav").write_bytes(b"")
    found = check(good)["songs"]
    assert found.status == "warn"
    assert "broken.wav" in found.sentence


def test_songs_are_held_out_with_advice_or_refused(good: dict[str, Any], songs: Path) -> None:
    few = check(good | {"data.validation": 10})["held out"]
    assert few.status == "warn"
    assert "1 song is held out" in few.sentence
    for path in sorted(songs.glob("*.wav"))[1:]:
        path.unlink()
    only = check(good | {"data.validation": 10})["held out"]
    assert (only.status, only.setting) == ("fail", "data.validation")
    assert "held out" not in check(good)


def test_songs_without_captions_are_a_warning(good: dict[str, Any], songs: Path) -> None:
    write_wav(songs / "nameless.wav", 1.0)
    found = check(good)["songs"]
    assert found.status == "warn"
    assert "nameless" in found.hint


class _Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_a_cache_that_cannot_be_written_is_refused(good: dict[str, Any], home: Path) -> None:
    (home / "file").write_text("no folder")
    found = check(good | {"data.cache": str(home / "file" / "cache")})["cache"]
    assert found.status == "fail"
    assert "here/file cannot be written" in found.sentence
    assert "data.cache" in found.hint


def test_a_full_disk_of_the_cache_is_refused(good: dict[str, Any], home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run's own disk has room; the one that holds the encoded songs has none."""
    cache = home / "cache-disk"
    cache.mkdir()
    stat = Path.stat

    def stat_of_another_disk(path: Path, **options: Any) -> Any:
        found = stat(path, **options)
        return SimpleNamespace(st_dev=-1, st_mode=found.st_mode) if path == cache else found

    monkeypatch.setattr(Path, "stat", stat_of_another_disk)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: _Usage(10**12, 0, 1000 if Path(path) == cache else 10**12))
    found = check(good | {"data.cache": str(cache)})
    assert found["cache"].status == "fail"
    assert found["disk"].status == "ok"


def test_a_full_disk_is_refused(good: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: _Usage(10**9, 10**9, 1000))
    found = check(good)["disk"]
    assert found.status == "fail"
    assert "keep_last" in found.hint


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_output_is_refused(good: dict[str, Any], home: Path) -> None:
    locked = home / "locked"
    locked.mkdir(mode=0o500)
    assert check(good | {"output.path": str(locked / "runs")})["output"].status == "fail"


def test_an_output_that_is_a_file_is_refused(good: dict[str, Any], home: Path) -> None:
    (home / "file").write_text("x")
    assert check(good | {"output.path": str(home / "file" / "runs")})["output"].status == "fail"


def test_a_taken_name_is_a_warning(good: dict[str, Any], home: Path) -> None:
    assert "run name" not in check(good, run_name="drums")
    (home / "runs" / "drums").mkdir(parents=True)
    assert check(good, run_name="drums")["run name"].status == "warn"


def test_memory_is_judged_by_the_card(good: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    large = good | {"memory.gradient_checkpointing": False, "train.batch_size": 4}
    assert check(large)["memory"].status == "ok"
    give_gpus(monkeypatch, gpu(free=4))
    assert check(large)["memory"].status == "warn"
    give_gpus(monkeypatch, gpu(total=8, free=7.5))
    assert check(large)["memory"].status == "fail"


def test_needless_checkpointing_is_mentioned(good: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    frugal = good | {"memory.gradient_checkpointing": True}
    assert "without gradient checkpointing" in check(frugal)["memory"].hint
    assert check(good | {"memory.gradient_checkpointing": False})["memory"].hint == ""
    give_gpus(monkeypatch, gpu(total=6, free=5.5))
    assert check(frugal)["memory"].hint == ""


def test_a_device_that_is_not_there_is_refused(good: dict[str, Any]) -> None:
    found = check(good | {"memory.device": "cuda:3"})["device"]
    assert found.status == "fail"
    assert "cuda:0 (Test GPU)" in found.hint


def test_the_eight_bit_optimizer_needs_its_library(good: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "package_version", lambda name: None)
    assert check(good | {"optim.optimizer": "adamw8bit"})["optimizer"].status == "fail"


def test_contradictory_settings_are_refused(good: dict[str, Any]) -> None:
    found = check(good | {"adapter.attention": "none"})["settings"]
    assert found.status == "fail"
    assert found.setting == "adapter.attention"


def test_a_preset_for_a_larger_card_is_a_warning(good: dict[str, Any]) -> None:
    assert "preset" not in check(good, requires={"vram_gib": 24.0})
    assert check(good, requires={"vram_gib": 40.0})["preset"].status == "warn"


def test_checks_can_be_cancelled(good: dict[str, Any]) -> None:
    resolved = resolve([Layer("test", good)])
    names = [item.name for item in preflight.checks(resolved, should_stop=lambda: True)]
    assert "songs" not in names
    assert "disk" not in names


def adapter_file(path: Path, rank: int) -> Path:
    """A LoRA of one module, all zeros, as safetensors stores it."""
    size = rank * 32 * 4
    module = "base_model.model.layers.0.self_attn.q_proj"
    header = {
        f"{module}.lora_A.weight": {"dtype": "F32", "shape": [rank, 32], "data_offsets": [0, size]},
        f"{module}.lora_B.weight": {"dtype": "F32", "shape": [32, rank], "data_offsets": [size, 2 * size]},
    }
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(2 * size))
    return path


def test_the_adapter_to_start_from_is_looked_at(good: dict[str, Any], tmp_path: Path) -> None:
    place = str(adapter_file(tmp_path / "a.safetensors", 16))
    start = {**good, "adapter.start_from": place, "adapter.rank": 16}
    assert check(start)["adapter"].status == "ok"
    other = check({**start, "adapter.rank": 8})["adapter"]
    assert (other.status, other.hint) == ("fail", "Set adapter.rank to 16.")
    assert check({**start, "adapter.kind": "lokr"})["adapter"].hint == "Set adapter.kind to lora."
    recorded = fingerprints.of_settings(resolve([Layer("test", start)]).settings)["start_from"]
    adapter_file(tmp_path / "a.safetensors", 8)
    assert fingerprints.of_settings(resolve([Layer("test", start)]).settings)["start_from"] != recorded
    gone = check({**start, "adapter.start_from": str(tmp_path / "gone")})["adapter"]
    assert (gone.status, gone.setting) == ("fail", "adapter.start_from")
    assert "adapter" not in check(good)


def test_checkpoints_by_minutes_are_told_one_by_one_where_all_are_kept(good: dict[str, Any]) -> None:
    by_minutes = {**good, "output.save_every_minutes": 15, "output.save_every_epochs": 0}
    told = check(by_minutes)["disk"].sentence
    assert "more every 15 minutes; " in told
    assert "minutes" not in check({**by_minutes, "output.keep_last": 3})["disk"].sentence
