"""Each finding about sound: a song that has it, and one that nearly does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sidestep_tui.dataset.health import doctor

RATE = 8000


def noise(seconds: float, seed: int = 1, level: float = 0.1, rate: int = RATE) -> np.ndarray:
    """Music-like noise whose spectrum changes every second, stereo."""
    random = np.random.default_rng(seed)
    parts = []
    for _ in range(int(seconds)):
        spectrum = np.fft.rfft(random.standard_normal((rate, 2)), axis=0)
        shape = np.interp(np.arange(len(spectrum)), np.linspace(0, rate / 2, 24), random.uniform(0.05, 1, 24))
        parts.append(np.fft.irfft(spectrum * shape[:, None], rate, axis=0))
    sound = np.concatenate(parts)
    return sound / np.sqrt(np.mean(sound**2)) * level


def put(folder: Path, name: str, sound: np.ndarray, rate: int = RATE, subtype: str = "PCM_16") -> Path:
    path = folder / name
    soundfile.write(path, sound, rate, subtype=subtype)
    return path


def codes(folder: Path, song: str | None = None) -> set[str]:
    return {
        item.code for item in (doctor.examine(folder).audio) if song is None or item.song.removesuffix(".wav") == song
    }


def add_dc(sound: np.ndarray, offset: float) -> np.ndarray:
    return sound + offset


def clip(sound: np.ndarray, gain: float) -> np.ndarray:
    return np.clip(sound * gain, -1, 1)


SINE = np.sin(2 * np.pi * 50 * np.arange(31 * RATE) / RATE)[:, None] * np.ones(2)
BASE = noise(31)
CASES: dict[str, tuple[Callable[[], np.ndarray], Callable[[], np.ndarray]]] = {
    "silent": (lambda: BASE * 0.0005, lambda: BASE * 0.02),
    "mostly_silent": (
        lambda: np.concatenate([BASE[: 12 * RATE], BASE[12 * RATE :] * 0]),
        lambda: np.concatenate([BASE[: 20 * RATE], BASE[20 * RATE :] * 0]),
    ),
    "clipped": (lambda: clip(BASE, 40), lambda: SINE),
    "quiet": (lambda: BASE * 0.05, lambda: BASE * 0.2),
    "loud": (lambda: clip(BASE, 8), lambda: BASE * 3),
    "low_rate": (lambda: BASE, lambda: noise(31, rate=32000)),
    "mono": (lambda: BASE[:, 0], lambda: BASE),
    "dual_mono": (lambda: BASE[:, :1].repeat(2, axis=1), lambda: BASE * [1, 0.2] + BASE[:, :1] * [0, 0.8]),
    "out_of_phase": (lambda: BASE[:, :1] * [1, -1], lambda: BASE),
    "dc_offset": (lambda: add_dc(BASE, 0.05), lambda: add_dc(BASE, 0.005)),
    "very_short": (lambda: BASE[: 9 * RATE], lambda: BASE[: 10 * RATE]),
    "short": (lambda: BASE[: 20 * RATE], lambda: BASE[: 30 * RATE]),
    "long": (lambda: np.tile(BASE, (8, 1))[: 245 * RATE], lambda: np.tile(BASE, (8, 1))[: 240 * RATE]),
    "very_long": (lambda: np.tile(BASE, (20, 1))[: 605 * RATE], lambda: np.tile(BASE, (20, 1))[: 600 * RATE]),
}


@pytest.mark.parametrize("code", CASES)
def test_each_fault_of_a_song_is_found_and_a_near_miss_is_not(tmp_path: Path, code: str) -> None:
    faulty, fine = CASES[code]
    put(tmp_path, "faulty.wav", faulty())
    assert code in codes(tmp_path, "faulty")
    put(tmp_path, "faulty.wav", fine(), 32000 if code == "low_rate" else RATE)
    assert code not in codes(tmp_path, "faulty")


def test_a_run_of_full_scale_samples_across_two_blocks_counts_once(tmp_path: Path) -> None:
    from sidestep_tui.dataset import manifest
    from sidestep_tui.dataset.health import listening

    sound = BASE[: 4 * RATE].copy()
    sound[RATE - 3 : RATE + 3, 0] = 1.0
    put(tmp_path, "a.wav", sound)
    heard = listening.listen(manifest.scan(tmp_path).songs[0])
    assert heard.clip_runs == 1


def test_runs_of_full_scale_samples_are_counted_within_a_block(tmp_path: Path) -> None:
    from sidestep_tui.dataset import manifest
    from sidestep_tui.dataset.health import listening

    sound = np.zeros((2 * RATE, 2))
    for start, length in ((0, 5), (50, 3), (100, 4), (RATE - 10, 6), (2 * RATE - 4, 4)):
        sound[start : start + length, 1] = -1.0
    put(tmp_path, "a.wav", sound)
    heard = listening.listen(manifest.scan(tmp_path).songs[0])
    assert heard.clip_runs == 4
    assert heard.clipped_share * sound.size == pytest.approx(5 + 4 + 6 + 4)


def test_absurd_samples_are_no_numbers(tmp_path: Path) -> None:
    sound = BASE.copy()
    sound[5] = 1e30
    put(tmp_path, "a.wav", sound, subtype="DOUBLE")
    assert "not_a_number" in codes(tmp_path)


def test_less_than_a_second_is_an_error_since_training_leaves_it_out(tmp_path: Path) -> None:
    put(tmp_path, "a.wav", BASE[: RATE // 2])
    (finding,) = [item for item in doctor.examine(tmp_path).audio if item.code == "very_short"]
    assert finding.severity == "error"


def test_samples_that_are_no_numbers_are_an_error(tmp_path: Path) -> None:
    sound = BASE.copy()
    sound[5] = np.nan
    put(tmp_path, "a.wav", sound, subtype="FLOAT")
    assert "not_a_number" in codes(tmp_path)


def test_unusable_files_are_told_apart(tmp_path: Path) -> None:
    put(tmp_path, "good.wav", noise(31, rate=32000), rate=32000)
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_text("not sound at all")
    whole = put(tmp_path, "cut.wav", BASE).read_bytes()
    (tmp_path / "cut.wav").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "folder.mp3").mkdir()
    found = {item.song: (item.code, item.severity) for item in doctor.examine(tmp_path).audio}
    assert found == {
        "empty.wav": ("empty", "error"),
        "text.wav": ("unreadable", "error"),
        "cut.wav": ("truncated", "error"),
        "folder.mp3": ("left_out", "warning"),
    }


def test_a_flac_damaged_in_the_middle_is_found_by_listening(tmp_path: Path) -> None:
    put(tmp_path, "good.wav", noise(31, seed=5))
    path = put(tmp_path, "bad.flac", BASE)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert codes(tmp_path, "bad") & {"truncated", "unreadable"}


def test_mixed_sample_rates_are_advice_for_the_folder(tmp_path: Path) -> None:
    put(tmp_path, "a.wav", BASE)
    put(tmp_path, "b.wav", noise(31, seed=2))
    assert "mixed_rates" not in codes(tmp_path)
    put(tmp_path, "b.wav", noise(31, seed=2, rate=16000), rate=16000)
    (finding,) = [item for item in doctor.examine(tmp_path).audio if item.code == "mixed_rates"]
    assert (finding.severity, finding.song) == ("advice", "")


def test_identical_files_are_duplicates(tmp_path: Path) -> None:
    data = put(tmp_path, "a.wav", BASE).read_bytes()
    (tmp_path / "b.wav").write_bytes(data)
    assert "duplicate" in codes(tmp_path, "b")
    assert "near_duplicate" not in codes(tmp_path)


@pytest.mark.parametrize("change", ["gain", "mp3", "shift", "noise"])
def test_the_same_music_in_another_form_is_a_near_duplicate(tmp_path: Path, change: str) -> None:
    sound = noise(31, rate=24000)
    put(tmp_path, "a.wav", sound, rate=24000)
    if change == "gain":
        put(tmp_path, "b.wav", sound * 0.4, rate=24000)
    elif change == "mp3":
        soundfile.write(tmp_path / "b.mp3", sound, 24000, format="MP3", subtype="MPEG_LAYER_III")
    elif change == "shift":
        put(tmp_path, "b.wav", np.concatenate([np.zeros((600, 2)), sound]), rate=24000)
    else:
        put(tmp_path, "b.wav", sound + np.random.default_rng(9).standard_normal(sound.shape) * 0.001, rate=24000)
    assert "near_duplicate" in codes(tmp_path, "b")


def test_different_songs_are_never_near_duplicates(tmp_path: Path) -> None:
    for seed in range(12):
        put(tmp_path, f"{seed}.wav", noise(31, seed=seed))
    for pitch in (200, 201, 300, 300):
        time = np.arange(31 * RATE) / RATE
        put(tmp_path, f"tone{pitch}.wav", 0.2 * np.sin(2 * np.pi * pitch * time)[:, None] * np.ones(2))
    song = noise(61, seed=40)  # slices of one song that overlap by a second
    put(tmp_path, "slice1.wav", song[: 31 * RATE])
    put(tmp_path, "slice2.wav", song[30 * RATE :])
    assert "near_duplicate" not in codes(tmp_path)


def test_a_quick_look_does_not_read_the_sound(tmp_path: Path) -> None:
    put(tmp_path, "a.wav", BASE * 0)
    assert "silent" not in {item.code for item in doctor.examine(tmp_path, quick=True).findings}


def test_progress_counts_to_the_end(tmp_path: Path) -> None:
    put(tmp_path, "a.wav", BASE)
    seen: list[tuple[str, int, int]] = []
    doctor.examine(tmp_path, progress=lambda *step: seen.append(step))
    assert ("headers", 1, 1) in seen
    assert ("sound", 1, 1) in seen
    assert seen[-1] == ("words", 1, 1)
