"""`dataset encode` with a real encoder: planned, killed half way, continued."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile

from sidestep_tui.launch import spawn

SONGS = 6


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    songs = tmp_path / "songs"
    songs.mkdir()
    for number in range(SONGS):
        wave = np.random.default_rng(number).uniform(-0.3, 0.3, (48_000, 2))
        soundfile.write(str(songs / f"{number:02}.wav"), wave, 48_000)
        (songs / f"{number:02}.txt").write_text(f"take {number}, drums")
    return songs


def command(tmp_path: Path, model: Path, folder: Path, *more: str) -> dict[str, Any]:
    home = dict.fromkeys(("XDG_STATE_HOME", "XDG_CONFIG_HOME"), str(tmp_path))
    return {
        "args": [
            *(sys.executable, "-m", "sidestep_tui", "dataset", "encode", str(folder), "--model", str(model)),
            *("-s", f"data.cache={tmp_path / 'cache'}", *more),
        ],
        "env": {**spawn.environment(), **home, "OMP_NUM_THREADS": "1"},
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "text": True,
    }


def latents(tmp_path: Path) -> set[Path]:
    return set((tmp_path / "cache" / "latents").rglob("*.safetensors"))


def test_killed_half_way_it_continues(tmp_path: Path, tiny_checkpoint: Path, folder: Path) -> None:
    plan = subprocess.run(**command(tmp_path, tiny_checkpoint, folder, "--plan", "--json"), check=False)
    assert plan.returncode == 0, plan.stderr
    planned = json.loads(plan.stdout)
    assert (planned["latents"], planned["texts"], planned["conditions"]) == (SONGS, SONGS + 1, SONGS)
    assert planned["seconds"] == SONGS
    assert {tuple(song["reasons"]) for song in planned["songs"]} == {("new",)}
    assert not latents(tmp_path)

    asker = subprocess.Popen(**command(tmp_path, tiny_checkpoint, folder))
    assert asker.stderr is not None
    try:
        for line in asker.stderr:
            if line.startswith("Encoding audio: 2 of"):
                break
        (encoder,) = psutil.Process(asker.pid).children()
    finally:
        os.kill(asker.pid, signal.SIGKILL)
        asker.communicate()
    # Nobody told it: it notices that its asker is gone.
    psutil.wait_procs([encoder], timeout=60)
    assert not encoder.is_running()
    kept = latents(tmp_path)
    assert 2 <= len(kept) < SONGS
    changed = {path: path.stat().st_mtime_ns for path in kept}

    rest = subprocess.run(**command(tmp_path, tiny_checkpoint, folder, "--json"), check=False)
    assert rest.returncode == 0, rest.stderr
    result = json.loads(rest.stdout)
    assert result["encoded"] == {"latents": SONGS - len(kept), "text": SONGS + 1, "conditions": SONGS}
    assert (result["songs"], result["copies"], result["skipped"]) == (SONGS, 0, [])
    assert {path: path.stat().st_mtime_ns for path in kept} == changed
    assert not list((tmp_path / "cache").rglob("*.tmp"))


def test_what_the_encoder_refuses_is_said_as_it_said_it(tmp_path: Path, tiny_checkpoint: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    refused = subprocess.run(**command(tmp_path, tiny_checkpoint, empty, "--json"), check=False)
    assert refused.returncode == 4
    error = json.loads(refused.stdout)["error"]
    assert error["kind"] == "data"
    assert "song" in error["title"]
    assert "Traceback" not in refused.stderr
