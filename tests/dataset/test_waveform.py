"""The outline of a song: right in every column, for any length, and flat in memory; and how it is drawn."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidestep_tui.core.errors import DataError
from sidestep_tui.dataset import apart
from sidestep_tui.dataset.cutting import slices_sound, waveform
from sidestep_tui.dataset.cutting.waveform import Peaks

RATE = 8000


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 20000), st.integers(1, 400), st.integers(1, 3), st.integers(1, 5000))
def test_every_column_holds_the_extremes_of_its_samples(
    tmp_path_factory: pytest.TempPathFactory, frames: int, columns: int, channels: int, block: int
) -> None:
    path = tmp_path_factory.mktemp("song") / "song.wav"
    wave = np.random.default_rng(frames).uniform(-0.9, 0.9, (frames, channels))
    soundfile.write(path, wave, RATE, subtype="PCM_16")
    read = soundfile.read(path, always_2d=True)[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slices_sound, "BLOCK_FRAMES", block)
        found = waveform.peaks(path, columns)
    assert (found.frames, found.sample_rate, found.channels) == (frames, RATE, channels)
    shown = min(columns, frames)
    column_of = np.arange(frames) * shown // frames
    assert found.low == tuple(read[column_of == column].min() for column in range(shown))
    assert found.high == tuple(read[column_of == column].max() for column in range(shown))
    assert found.loudest == np.abs(read).max()


def test_memory_is_flat_with_the_length_of_the_song(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices_sound, "BLOCK_FRAMES", 4096)
    most = []
    for seconds in (2, 10, 100):
        path = tmp_path / f"{seconds}.wav"
        soundfile.write(path, np.random.default_rng(1).uniform(-0.5, 0.5, (seconds * RATE, 2)), RATE)
        tracemalloc.start()
        waveform.peaks(path, 1000)
        most.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert most[2] < most[1] * 1.2


def test_what_is_no_sound_is_refused(tmp_path: Path) -> None:
    (tmp_path / "song.wav").write_bytes(b"nonsense")
    with pytest.raises(DataError, match=r"song\.wav"):
        waveform.peaks(tmp_path / "song.wav")


def test_a_child_process_gives_the_same_outline_and_says_how_far_it_is(tmp_path: Path) -> None:
    path = tmp_path / "song.wav"
    soundfile.write(path, np.random.default_rng(1).uniform(-0.5, 0.5, (3 * RATE, 2)), RATE)
    said: list[tuple[str, int, int]] = []
    found = Peaks.from_dict(apart.call("peaks", {"audio": str(path)}, lambda *step: said.append(step)))
    here = waveform.peaks(path)
    assert found == Peaks.from_dict(here.to_dict())
    assert np.allclose(found.low, here.low, atol=1e-4)
    assert said[-1] == ("outline", 1, 1)
