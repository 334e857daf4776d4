"""Songs that the tests synthesise: short tones in every format that is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

WriteSong = Callable[..., Path]

FORMATS = {
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
    ".opus": ("OGG", "OPUS"),
}


def tone(seconds: float, rate: int, channels: int) -> np.ndarray:
    """A quiet tone with some noise (so that codecs do not shrink it to nothing), [samples, channels]."""
    time = np.arange(int(seconds * rate)) / rate
    noise = np.random.default_rng(7).standard_normal((len(time), channels)) * 0.05
    return (0.3 * np.sin(2 * np.pi * 440 * time)[:, None] + noise).astype("float32")


@pytest.fixture
def write_song(tmp_path: Path) -> WriteSong:
    """Write a song at a path beneath `tmp_path`; the suffix decides the format."""

    def write(name: str, *, seconds: float = 0.5, rate: int = 48000, channels: int = 2) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        container, encoding = FORMATS[path.suffix.lower()]
        soundfile.write(path, tone(seconds, rate, channels), rate, format=container, subtype=encoding)
        return path

    return write
