"""`fit` tells memory, time and disk, here or on a GPU that is not here."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sidestep_tui.core import nvml
from sidestep_tui.core.nvml import Gpu
from sidestep_tui.launch import failures, probe, spawn
from sidestep_tui.schema import disk_maths, pace
from sidestep_tui.schema.model_shape import SHAPE_2B
from sidestep_tui.schema.settings import Settings

from .conftest import Outcome

Cli = Callable[..., Outcome]
GIB = 1024**3


@pytest.fixture(autouse=True)
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy 12 GB card."""
    card = Gpu(0, "GPU-0", "NVIDIA GeForce RTX 3060", 12 * GIB, 2 * GIB, 10 * GIB, 3, 41, 20.0, 170.0)
    monkeypatch.setattr(nvml, "gpus", lambda: [card])


def test_time_and_disk_are_told_for_so_many_songs(run_cli: Cli) -> None:
    found = run_cli("fit", "recommended", "--songs", "12", "--json").json
    assert found["time"]["steps"] == 300
    assert found["time"]["seconds"] == pytest.approx(300 * found["time"]["seconds_per_step"])
    assert found["time"]["basis"] == "by the published rate of the RTX 3060"
    assert found["disk"]["cache"] == 12 * disk_maths.CACHE_BYTES_PER_SONG
    assert found["disk"]["checkpoint"] == disk_maths.checkpoint_size(SHAPE_2B, Settings()).total
    assert found["auto"]["memory.precision"] == "bfloat16"
    assert found["auto"]["memory.device"] == "cuda:0 NVIDIA GeForce RTX 3060"
    out = run_cli("fit", "recommended", "--songs", "12").out
    assert f"{pace.about(found['time']['seconds'])} (" in out
    assert "300 steps" in out
    assert ", songs 57.2 MiB" in out
    assert "auto: it fits without" in out


def test_songs_are_counted_where_there_is_a_folder(run_cli: Cli, songs: Path) -> None:
    found = run_cli("fit", "recommended", "--dataset", songs, "--json").json
    assert found["disk"]["cache"] == 2 * disk_maths.CACHE_BYTES_PER_SONG
    assert run_cli("fit", "recommended", "--dataset", "nowhere").code == 4


def test_a_gpu_that_is_not_here_is_asked_about_by_name(run_cli: Cli) -> None:
    here = run_cli("fit", "recommended", "--songs", "12", "--json").json
    there = run_cli("fit", "recommended", "--songs", "12", "--gpu", "4090", "--json").json
    assert there["device"] == {"kind": "cuda", "name": "RTX 4090", "total": 24 * GIB}
    assert there["free"] == 24 * GIB
    assert there["time"]["seconds"] < here["time"]["seconds"] / 3
    small = run_cli("fit", "recommended", "--gpu", "4090", "--vram", "6", "--json").json
    assert (small["free"], small["recomputes"]) == (6 * GIB, True)
    unknown = run_cli("fit", "recommended", "--gpu", "RTX 409")
    assert unknown.code == 4
    assert "Did you mean 'RTX 4090'" in unknown.err
    assert "--vram" in unknown.err


def test_every_profile_is_weighed(run_cli: Cli) -> None:
    found = {profile["name"]: profile for profile in run_cli("fit", "recommended", "--xl", "--json").json["profiles"]}
    assert [name for name, profile in found.items() if profile["fits"]] == ["8 GB"], "10 of 12 GiB are free"
    assert [name for name, profile in found.items() if profile["is_for_this"]] == ["12 GB"]
    assert found["8 GB"]["values"]["memory.base"] == "int8"
    assert "memory.base=int8" in run_cli("fit", "recommended", "--xl").out


def test_a_gpu_of_which_only_the_memory_is_known_has_no_time(run_cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "gpus", lambda: [])
    found = run_cli("fit", "recommended", "--vram", "12", "--songs", "12", "--json").json
    assert found["time"]["seconds"] is None
    assert found["time"]["basis"].startswith("no estimate")
    assert "--gpu NAME asks" in run_cli("fit", "recommended").out


def test_a_probe_measures_what_is_here(run_cli: Cli) -> None:
    assert run_cli("fit", "recommended", "--probe", "--gpu", "4090").code == 2


def test_a_probe_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process says one thing and then waits for its asker to leave."""
    said = {"event": "progress", "phase": "loading", "done": 0, "total": 0, "detail": ""}
    program = f"import json, sys; sys.stdin.readline(); print(json.dumps({said!r}), flush=True); sys.stdin.read()"
    monkeypatch.setattr(spawn, "python", lambda module: [sys.executable, "-c", program])
    heard: list[str] = []
    with pytest.raises(failures.EngineStopped):
        probe.measure(Settings(), SHAPE_2B, lambda told: heard.append(told.what), lambda: bool(heard))
    assert heard == ["loading"]
