"""Loudness by the standard's own numbers, and altered copies that sound as they should."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch

from sidestep_tui.dataset.alterations import Alteration
from sidestep_tui.engine import sound, vocoder

RATE = 48_000


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def tone(hertz: float, dbfs: float, seconds: float = 3.0, channels: tuple[float, ...] = (1.0, 1.0)) -> torch.Tensor:
    time = torch.arange(round(RATE * seconds), dtype=torch.float64) / RATE
    wave = 10 ** (dbfs / 20) * torch.sin(2 * math.pi * hertz * time)
    return torch.stack([wave * gain for gain in channels]).float()


def dbfs(samples: torch.Tensor) -> float:
    return 20 * math.log10(float(samples.abs().max()))


def rms(samples: torch.Tensor) -> float:
    return float(samples.double().square().mean().sqrt())


# Loudness


def test_a_full_scale_sine_in_one_channel_reads_minus_3_01_lufs() -> None:
    """ITU-R BS.1770-4, annex 1: 997 Hz at 0 dBFS in left, centre or right."""
    assert sound.loudness(tone(997, 0, channels=(1.0, 0.0))) == pytest.approx(-3.01, abs=0.01)
    assert sound.loudness(tone(997, 0)) == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize("level", [-23.0, -33.0])
def test_stereo_sines_read_their_level(level: float) -> None:
    """EBU Tech 3341, cases 1 and 2: 1000 Hz, within 0.1 LU."""
    assert sound.loudness(tone(1000, level)) == pytest.approx(level, abs=0.1)


def test_quiet_passages_are_gated() -> None:
    """EBU Tech 3341, cases 3 and 4, shortened: what lies 10 LU below the rest, or below -70 LUFS, does not count."""
    third = [tone(1000, -36, 2), tone(1000, -23, 12), tone(1000, -36, 2)]
    assert sound.loudness(torch.cat(third, dim=1)) == pytest.approx(-23, abs=0.1)
    fourth = [tone(1000, -72, 2), *third, tone(1000, -72, 2)]
    assert sound.loudness(torch.cat(fourth, dim=1)) == pytest.approx(-23, abs=0.1)


@pytest.mark.parametrize("hertz", [25, 100, 4000, 10_000])
def test_frequencies_are_weighted_as_the_filters_of_the_standard_say(hertz: float) -> None:
    expected = 10 * math.log10(_gain(hertz) / _gain(1000))
    assert sound.loudness(tone(hertz, -20, 4)) - sound.loudness(tone(1000, -20, 4)) == pytest.approx(expected, abs=0.05)


def _gain(hertz: float) -> float:
    """Power gain of K-weighting, from its transfer function."""
    z = complex(math.cos(2 * math.pi * hertz / RATE), -math.sin(2 * math.pi * hertz / RATE))
    shelf = (1.53512485958697 - 2.69169618940638 * z + 1.19839281085285 * z**2) / (
        1 - 1.69065929318241 * z + 0.73248077421585 * z**2
    )
    high_pass = (1 - 2 * z + z**2) / (1 - 1.99004745483398 * z + 0.99007225036621 * z**2)
    return abs(shelf * high_pass) ** 2


def test_a_long_song_is_measured_in_pieces_to_the_same_end(monkeypatch: pytest.MonkeyPatch) -> None:
    wave = torch.randn(2, RATE * 7 + 123, generator=torch.Generator().manual_seed(3)) * 0.1
    wave[:, : RATE * 3] *= 0.3
    whole = sound.loudness(wave)
    monkeypatch.setattr(sound, "_CHUNK", 17)
    assert sound.loudness(wave) == pytest.approx(whole, abs=1e-9)


def test_loud_treble_is_not_clipped_while_it_is_measured() -> None:
    loud, quiet = (sound.loudness(tone(8000, level)) for level in (0.0, -20.0))
    assert loud - quiet == pytest.approx(20, abs=0.01)


@pytest.mark.parametrize("samples", [torch.zeros(2, RATE), tone(1000, -85), tone(1000, 0, 0.39)], ids=str)
def test_nothing_to_measure_is_minus_infinity(samples: torch.Tensor) -> None:
    assert sound.loudness(samples) == -math.inf


@pytest.mark.parametrize("level", [-30.0, -1.0, 0.0, 8.0])
def test_peak_brings_the_highest_sample_to_minus_1_dbfs(level: float) -> None:
    made, problem = sound.made_equal(tone(440, level), "peak")
    assert dbfs(made) == pytest.approx(-1, abs=0.001)
    assert not problem


@pytest.mark.parametrize("level", [-40.0, -14.0, 0.0])
def test_lufs_brings_music_to_minus_14(level: float) -> None:
    before = tone(1000, level, channels=(1.0, 0.5))
    after, problem = sound.made_equal(before, "lufs")
    assert sound.loudness(after) == pytest.approx(-14, abs=0.01)
    assert not problem
    torch.testing.assert_close(after[0] * 0.5, after[1])


def test_lufs_stops_where_a_peak_would_pass_minus_1_dbfs() -> None:
    quiet = tone(1000, -40)
    quiet[:, 5000] = 0.5
    made, problem = sound.made_equal(quiet, "lufs")
    assert dbfs(made) == pytest.approx(-1, abs=0.001)
    assert sound.loudness(made) < -30
    assert not problem


def test_silence_is_left_alone_with_a_reason() -> None:
    silence = torch.full((2, RATE), 1e-5)
    for wanted in ("peak", "lufs"):
        made, problem = sound.made_equal(silence, wanted)
        assert made is silence
        assert problem == "it is silent"
    faint = tone(1000, -80)
    assert sound.made_equal(faint, "lufs") == (faint, "it is too quiet or too short to be measured")


def test_none_changes_nothing() -> None:
    samples = tone(440, -3)
    assert sound.made_equal(samples, "none") == (samples, "")


# Altered copies


def peak_hertz(wave: torch.Tensor) -> float:
    spectrum = torch.fft.rfft(wave.double() * torch.hann_window(len(wave), dtype=torch.float64)).abs()
    place = int(spectrum.argmax())
    low, high, next_one = (math.log(float(spectrum[place + step])) for step in (-1, 0, 1))
    return (place + 0.5 * (low - next_one) / (low - 2 * high + next_one)) * RATE / len(wave)


@pytest.mark.parametrize(
    ("semitones", "tempo"), [(2, 1.0), (-2, 1.0), (4, 0.8), (-4, 1.2), (0, 1.1), (0, 0.9), (1, 0.9887)]
)
def test_pitch_moves_by_semitones_and_length_by_tempo(semitones: int, tempo: float) -> None:
    made = sound.altered(tone(440, -6, 2), Alteration(1, semitones, tempo))
    assert made.shape == (2, round(2 * RATE / tempo))
    middle = made[:, 9600:-9600]
    assert peak_hertz(middle[0]) == pytest.approx(440 * 2 ** (semitones / 12), rel=1e-4)
    levels = middle[0].unfold(0, 2400, 2400).square().mean(dim=1).sqrt()
    assert float(levels.min()) > 0.97 * float(levels.max())
    assert rms(middle) == pytest.approx(10 ** (-6 / 20) / math.sqrt(2), rel=0.02)


def test_a_tone_stays_one_tone() -> None:
    made = sound.altered(tone(440, -6, 2), Alteration(1, 2, 0.9))[0, 9600:-9600].double()
    spectrum = torch.fft.rfft(made * torch.blackman_window(len(made), dtype=torch.float64)).abs().square()
    place = int(spectrum.argmax())
    of_tone = float(spectrum[place - 30 : place + 31].sum())
    assert 10 * math.log10((float(spectrum.sum()) - of_tone) / of_tone) < -55


@pytest.mark.parametrize(("semitones", "tempo"), [(-2, 1.0), (0, 1.07), (3, 0.93)])
def test_the_stereo_image_stays(semitones: int, tempo: float) -> None:
    source = torch.randn(1, 2 * RATE, generator=torch.Generator().manual_seed(1)) * 0.1
    panned = torch.cat([source, -0.5 * source])
    made = sound.altered(panned, Alteration(1, semitones, tempo))
    torch.testing.assert_close(made[1], -0.5 * made[0], atol=1e-5, rtol=1e-3)


def test_independent_channels_keep_their_levels() -> None:
    both = torch.stack([tone(300, -6, 2)[0], tone(700, -20, 2)[0]])
    made = sound.altered(both, Alteration(1, 0, 1.1))[:, 9600:-9600]
    assert [peak_hertz(channel) for channel in made] == pytest.approx([300, 700], rel=1e-3)
    assert rms(made[0]) / rms(made[1]) == pytest.approx(10 ** (14 / 20), rel=0.02)


@pytest.mark.parametrize("tempo", [0.9, 1.1])
def test_beats_stay_in_time_and_sharp(tempo: float) -> None:
    clicks = torch.zeros(2, 3 * RATE)
    decay = torch.exp(-torch.arange(480) / 80.0)
    for beat in range(1, 6):
        begin = beat * RATE // 2
        clicks[:, begin : begin + 480] = decay * torch.randn(480, generator=torch.Generator().manual_seed(beat))
    made = sound.altered(clicks, Alteration(1, 0, tempo))[0]
    for beat in range(1, 6):
        begin = round(beat * RATE / 2 / tempo)
        around = made[begin - 4000 : begin + 4000].square()
        time = torch.arange(8000) - 4000
        centre = float((around * time).sum() / around.sum())
        width = math.sqrt(float((around * (time - centre) ** 2).sum() / around.sum()))
        assert abs(centre) / RATE < 0.002
        assert width / RATE < 0.004


@pytest.mark.parametrize("seconds", [0.01, 0.1, 5461 / RATE])
def test_the_shortest_pieces_have_their_length_too(seconds: float) -> None:
    assert sound.altered(tone(440, -6, seconds), Alteration(1, 2, 0.9)).shape[1] == round(round(seconds * RATE) / 0.9)
    assert bool(torch.isfinite(vocoder.stretch(torch.zeros(2, round(seconds * RATE)), 1000)).all())


def test_a_copy_without_changes_is_the_song() -> None:
    samples = tone(440, -6, 0.5)
    assert torch.equal(sound.altered(samples, Alteration(1)), samples)


def test_noise_lies_so_far_below_the_music() -> None:
    music = tone(440, -10, 2)
    made = sound.altered(music, Alteration(1, noise=30, seed=5))
    noise = made - music
    assert 20 * math.log10(rms(noise) / rms(music)) == pytest.approx(-30, abs=0.1)
    assert abs(float((noise[0] * noise[1]).mean())) < 0.02 * rms(noise) ** 2
    flat = torch.fft.rfft(noise[0]).abs().square()
    assert float(flat[: len(flat) // 2].mean() / flat[len(flat) // 2 :].mean()) == pytest.approx(1, abs=0.05)
    assert torch.equal(sound.altered(music, Alteration(1, noise=30, seed=5)), made)
    assert not torch.equal(sound.altered(music, Alteration(2, noise=30, seed=6)), made)


def test_what_passes_full_scale_is_turned_down_not_clipped() -> None:
    hot = tone(440, 2)
    torch.testing.assert_close(sound.within_full_scale(hot), hot / hot.abs().max())
    calm = tone(440, -2)
    assert sound.within_full_scale(calm) is calm
