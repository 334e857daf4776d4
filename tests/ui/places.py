"""Things on disk for tests of the interface: a checkpoint that is only headers, songs that are only silence."""

from __future__ import annotations

import json
import struct
import wave
from pathlib import Path
from typing import Any

CONFIG_2B: dict[str, Any] = {
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "is_turbo": True,
    "model_version": "turbo",
}


def write_checkpoint(parent: Path, name: str = "acestep-v15-turbo") -> Path:
    """The files of an original 2B checkpoint with next to nothing in them."""
    model, vae, encoder = parent / name, parent / "vae", parent / "Qwen3-Embedding-0.6B"
    _write_safetensors(model / "model.safetensors")
    _write_safetensors(vae / "diffusion_pytorch_model.safetensors")
    _write_safetensors(encoder / "model.safetensors")
    (model / "config.json").write_text(json.dumps(CONFIG_2B), encoding="utf-8")
    (model / "silence_latent.pt").write_bytes(b"x")
    (vae / "config.json").write_text("{}", encoding="utf-8")
    (encoder / "config.json").write_text("{}", encoding="utf-8")
    (encoder / "tokenizer.json").write_text("{}", encoding="utf-8")
    return model


def write_songs(folder: Path, count: int = 12) -> Path:
    """Songs of half a minute and more, some with captions and lyrics, and one file that is none."""
    folder.mkdir(parents=True)
    for number in range(count):
        name = f"song_{number:02d}"
        _write_wav(folder / f"{name}.wav", 30 + number)
        if number % 3 == 0:
            (folder / f"{name}.caption.txt").write_text("drum and bass, fast", encoding="utf-8")
            (folder / f"{name}.lyrics.txt").write_text("[Verse]\nla la\nla", encoding="utf-8")
        elif number % 3 == 1:
            (folder / f"{name}.json").write_text(json.dumps({"caption": "slow piano", "bpm": 90}), encoding="utf-8")
    (folder / "broken.flac").write_bytes(b"")
    return folder


def _write_wav(path: Path, seconds: int) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(8000)
        file.writeframes(b"\x80" * 8000 * seconds)


def _write_safetensors(path: Path) -> None:
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
