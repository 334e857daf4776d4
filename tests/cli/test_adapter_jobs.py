"""`adapter export` and `adapter effect` from the command line: one real engine, and engines that fail."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sidestep_tui.launch import adapter_jobs, spawn
from sidestep_tui.launch.job import Said

from .conftest import Outcome

Cli = Callable[..., Outcome]


def lora(path: Path) -> Path:
    """A LoRA of one module in kohya's names."""
    stem = "lora_unet_decoder_layers_0_self_attn_q_proj"
    arrays = {
        f"{stem}.lora_down.weight": np.ones((2, 4), "<f4"),
        f"{stem}.lora_up.weight": np.ones((6, 2), "<f4"),
        f"{stem}.alpha": np.array(1.0, "<f4"),
    }
    header, data = {}, b""
    for name, array in arrays.items():
        raw = array.tobytes()
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    encoded = json.dumps(header).encode()
    path.write_bytes(len(encoded).to_bytes(8, "little") + encoded + data)
    return path


def test_an_export_is_written_and_named(tmp_path: Path, run_cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = run_cli("adapter", "export", lora(tmp_path / "song.safetensors"), "--to", "peft")
    assert outcome.code == 0, outcome.err
    assert outcome.out == f"{tmp_path / 'song_peft'}\n"
    assert "1 module" in outcome.err
    config = json.loads((tmp_path / "song_peft" / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["target_modules"]) == (2, 1, ["layers.0.self_attn.q_proj"])


@pytest.mark.parametrize(
    ("script", "code", "says"),
    [
        (
            "import json; print(json.dumps({'event': 'error', 'kind': 'adapter', 'title': 'It is lonely.', "
            "'message': 'a.st: x.', 'hint': 'Copy.'}))",
            4,
            ["It is lonely.", "a.st: x."],
        ),
        ("import sys; sys.exit('no torch')", 70, ["ended unexpectedly", "status 1", "no torch"]),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 5, ["The engine was killed."]),
    ],
)
def test_what_the_engine_says_is_passed_on(
    tmp_path: Path, run_cli: Cli, monkeypatch: pytest.MonkeyPatch, script: str, code: int, says: list[str]
) -> None:
    monkeypatch.setattr(
        spawn, "python", lambda module: [sys.executable, "-c", f"import sys; sys.stdin.readline(); {script}"]
    )
    outcome = run_cli("adapter", "export", lora(tmp_path / "a.safetensors"), "--to", "comfyui")
    assert outcome.code == code
    assert all(words in outcome.err for words in says)


def test_the_effect_is_a_table_and_a_sentence(
    tmp_path: Path, run_cli: Cli, monkeypatch: pytest.MonkeyPatch, checkpoint: Path
) -> None:
    asked = []
    result = {"by_band": {"0.00-0.25": 0.1, "0.25-0.50": 0.2}, "change": 0.15, "sentence": "It does.", "notes": ["So."]}

    def effect(path, settings, source, progress):
        asked.append((settings.model.path, settings.data.path, source))
        progress(Said("progress", "listening", 1, 2, "the adapted model"))
        return result

    monkeypatch.setattr(adapter_jobs, "effect", effect)
    file = lora(tmp_path / "a.safetensors")
    outcome = run_cli("adapter", "effect", file, "--model", checkpoint)
    assert outcome.out.splitlines() == [
        "NOISE       CHANGE",
        "0.00-0.25  10.00 %",
        "0.25-0.50  20.00 %",
        "all        15.00 %",
    ]
    assert outcome.err.splitlines() == ["Listening: 1 of 2 the adapted model", "It does.", "So."]
    assert run_cli("adapter", "effect", file, "--model", checkpoint, "--dataset", tmp_path, "--json").json == result
    assert asked == [(str(checkpoint), "", "made-up"), (str(checkpoint), str(tmp_path), "given")]
    assert run_cli("adapter", "effect", file).code == 4
    assert "does not exist" in run_cli("adapter", "effect", tmp_path / "none").err


def test_an_adapter_in_its_run_is_measured_on_its_own_songs(
    tmp_path: Path, run_cli: Cli, monkeypatch: pytest.MonkeyPatch, checkpoint: Path
) -> None:
    asked = []
    monkeypatch.setattr(
        adapter_jobs, "effect", lambda path, settings, source, progress: asked.append((settings, source)) or {}
    )
    place = tmp_path / "run" / "adapter" / "final"
    place.mkdir(parents=True)
    lora(place / "adapter_model.safetensors")
    (tmp_path / "run" / "run.toml").write_text(
        f'[run]\nname = "x"\n[model]\npath = "{checkpoint}"\n[data]\npath = "{tmp_path}"\n[adapter]\nrank = 2\n'
    )
    assert run_cli("adapter", "effect", tmp_path / "run", "--json").code == 0
    settings, source = asked[0]
    assert (settings.model.path, settings.data.path, source) == (str(checkpoint), str(tmp_path), "held-out")
    models = []
    monkeypatch.setattr(adapter_jobs, "export", lambda path, target, output, model: models.append(model) or {})
    for more in ((), ("--model", tmp_path)):
        assert run_cli("adapter", "export", tmp_path / "run", "--to", "comfyui", "--json", *more).code == 0
    assert models == [checkpoint, tmp_path], "DoRA for ComfyUI finds its base by itself"
