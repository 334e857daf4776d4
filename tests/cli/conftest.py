"""A machine of its own for every test: home, working directory, a checkpoint that is only headers, two short songs."""

from __future__ import annotations

import json
import signal
import struct
import subprocess
import sys
import time
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sidestep_tui.cli.main import main
from sidestep_tui.launch import spawn
from sidestep_tui.protocol.lock import is_held
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.protocol.tail import Tail

FAKE = "sidestep_tui.engine.fake"
QUICK = {"steps": 40, "step_seconds": 0.001, "steps_per_epoch": 10, "save_every": 20, "songs": 2, "gpus": 0}

CONFIG_2B = {
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "is_turbo": True,
    "model_version": "turbo",
}
CONFIG_XL = CONFIG_2B | {
    "hidden_size": 2560,
    "intermediate_size": 9728,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "encoder_hidden_size": 2048,
    "is_turbo": False,
    "model_version": "base",
}


@dataclass(frozen=True)
class Outcome:
    """What one command line did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home; the working directory is a fresh folder in it."""
    for name in ("CONFIG", "STATE", "CACHE", "DATA"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SIDESTEP_FAKE", raising=False)
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return here


@pytest.fixture
def run_cli(capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run a command line in this process."""

    def run(*arguments: object) -> Outcome:
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


@pytest.fixture
def fake_engine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have runs use the fake engine; call it to set its plan."""

    def plan(**values: Any) -> None:
        monkeypatch.setenv("SIDESTEP_FAKE", json.dumps(QUICK | values))

    monkeypatch.setattr(spawn, "ENGINE_MODULE", FAKE)
    plan()
    return plan


def fake_command(*arguments: object) -> list[str]:
    """A command line in a process of its own, with the fake engine."""
    code = (
        "import sys\n"
        "from sidestep_tui.launch import spawn\n"
        f"spawn.ENGINE_MODULE = {FAKE!r}\n"
        "from sidestep_tui.cli.main import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    return [sys.executable, "-c", code, *map(str, arguments)]


@pytest.fixture
def background() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start command lines in processes of their own; whatever is left is ended afterwards."""
    processes: list[subprocess.Popen[str]] = []

    def begin(*arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            fake_command(*arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A test run under nohup would hand down an ignored hangup.
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
        )
        processes.append(process)
        return process

    yield begin
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def songs(home: Path) -> Path:
    """Two songs of a second with captions."""
    folder = home / "songs"
    folder.mkdir()
    for name in ("drums", "waves"):
        write_wav(folder / f"{name}.wav", 1.0)
        (folder / f"{name}.caption.txt").write_text(f"{name}, a test", encoding="utf-8")
    return folder


def write_wav(path: Path, seconds: float) -> None:
    """Silence."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(48000)
        file.writeframes(b"\0" * int(48000 * seconds) * 4)


def write_safetensors(
    path: Path, shapes: dict[str, tuple[int, ...]], *, metadata: dict[str, str] | None = None
) -> None:
    """A valid file of float32 zeros."""
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    position = 0
    for name, shape in shapes.items():
        size = 4
        for length in shape:
            size *= length
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [position, position + size]}
        position += size
    raw = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + b"\0" * position)


def write_checkpoint(parent: Path, name: str = "acestep-v15-turbo", config: dict[str, Any] | None = None) -> Path:
    """The files of an original checkpoint with next to nothing in them."""
    model = parent / name
    write_safetensors(model / "model.safetensors", {"decoder.norm_out.weight": (8,), "encoder.x": (4,)})
    (model / "config.json").write_text(json.dumps(config or CONFIG_2B), encoding="utf-8")
    (model / "silence_latent.pt").write_bytes(b"x")
    write_safetensors(parent / "vae" / "diffusion_pytorch_model.safetensors", {"w": (2,)})
    (parent / "vae" / "config.json").write_text("{}", encoding="utf-8")
    encoder = parent / "Qwen3-Embedding-0.6B"
    write_safetensors(encoder / "model.safetensors", {"w": (2,)})
    (encoder / "config.json").write_text("{}", encoding="utf-8")
    (encoder / "tokenizer.json").write_text("{}", encoding="utf-8")
    return model


@pytest.fixture
def checkpoint(home: Path) -> Path:
    """An original 2B checkpoint in ./checkpoints."""
    return write_checkpoint(home / "checkpoints")


@pytest.fixture
def train_arguments(checkpoint: Path, songs: Path) -> list[str]:
    """A command line that passes every check."""
    return ["train", "quick_test", "--model", str(checkpoint), "--dataset", str(songs), "--output", "runs"]


def only_run(home: Path) -> RunDir:
    """The one run in ./runs."""
    (path,) = [path for path in (home / "runs").iterdir() if path.is_dir()]
    return RunDir.open(path)


def await_event(
    tail: Tail, matches: Callable[[dict[str, Any]], bool], *, process: subprocess.Popen[str] | None = None
) -> dict[str, Any]:
    """The next event that matches; fails when `process` ends without one."""
    while True:
        is_over = process is not None and process.poll() is not None
        for event in tail.read():
            if matches(event):
                return event
        if is_over:
            raise AssertionError(process.communicate()[1] if process else "")
        time.sleep(0.02)


def await_release(run_dir: RunDir) -> None:
    """Wait until no engine holds the run."""
    while is_held(run_dir):
        time.sleep(0.02)
