"""What happens to samples between file and VAE: equal loudness, and the sound of altered copies.

Samples are float32 [2, S] at 48 kHz. Channels always go through together, so that the stereo image stays.
"""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import Final, Literal

import torch
import torchaudio.functional

from sidestep_tui.dataset.alterations import Alteration
from sidestep_tui.engine import vae, vocoder
from sidestep_tui.engine.variants import SAMPLE_RATE

Loudness = Literal["none", "peak", "lufs"]
PEAK_DBFS: Final = -1.0
LUFS: Final = -14.0
RECIPES: Final[dict[Loudness, str]] = {"none": "", "peak": "peak -1 dBFS", "lufs": "-14 LUFS, peak to -1 dBFS"}
"""What latents of such songs are called in the cache; raise by rewording when the result would come out otherwise."""

# The two filters of K-weighting at 48 kHz, from the tables of ITU-R BS.1770-4 (annex 1): a shelf for the head's
# effect, a high-pass. torchaudio's own `loudness` comes close, but its filters clip loud music at full scale.
_SHELF: Final = (
    (1.0, -1.69065929318241, 0.73248077421585),
    (1.53512485958697, -2.69169618940638, 1.19839281085285),
)
_HIGH_PASS: Final = ((1.0, -1.99004745483398, 0.99007225036621), (1.0, -2.0, 1.0))
_OFFSET: Final = -0.691
_GATE: Final = -70.0
_RELATIVE_GATE: Final = -10.0
_STEP: Final = SAMPLE_RATE // 10
_STEPS_PER_BLOCK: Final = 4
_CHUNK: Final = 300
"""Steps that are filtered together: half a minute, so that memory does not grow with the song."""
_SILENCE: Final = 10 ** (-90 / 20)
"""Peaks below are dither at most; a gain would only make noise of it."""


def load(
    path: Path, max_seconds: float, wanted: Loudness = "none", alteration: Alteration | None = None
) -> tuple[torch.Tensor, str]:
    """What the VAE hears of a song or an altered copy, at most `max_seconds`; and why its loudness stayed, if it did.

    DataError for a file that cannot be used. A song without alteration at its own loudness is `vae.load_audio`.
    """
    read = vae.load_audio if wanted == "none" else vae.read_audio
    samples = read(path, max_seconds * (alteration.tempo if alteration else 1))
    if alteration is not None:
        samples = altered(samples, alteration)[:, : int(max_seconds * SAMPLE_RATE)]
    samples, problem = made_equal(samples, wanted)
    return (samples if alteration is None else within_full_scale(samples)), problem


def loudness(samples: torch.Tensor) -> float:
    """Integrated loudness in LUFS by ITU-R BS.1770-4, in gated blocks of 400 ms; -inf for silence and less than one."""
    steps = samples.shape[1] // _STEP
    if steps < _STEPS_PER_BLOCK:
        return -math.inf
    powers = torch.cat([_powers(samples, first, min(first + _CHUNK, steps)) for first in range(0, steps, _CHUNK)])
    blocks = powers.unfold(0, _STEPS_PER_BLOCK, 1).mean(dim=1)
    heard = blocks[_lufs(blocks) > _GATE]
    if not heard.numel():
        return -math.inf
    gate = float(_lufs(heard.mean())) + _RELATIVE_GATE
    return float(_lufs(heard[_lufs(heard) > gate].mean()))


def _powers(samples: torch.Tensor, first: int, until: int) -> torch.Tensor:
    """Weighted power of the steps from `first` to `until`, channels added up; the filters start a second before."""
    warm_up = min(first, SAMPLE_RATE // _STEP)
    weighted = samples[:, (first - warm_up) * _STEP : until * _STEP].double()
    for a, b in (_SHELF, _HIGH_PASS):
        weighted = torchaudio.functional.lfilter(weighted, weighted.new_tensor(a), weighted.new_tensor(b), clamp=False)
    steps = weighted[:, warm_up * _STEP :].reshape(len(samples), -1, _STEP)
    return steps.square().mean(dim=2).sum(dim=0)


def made_equal(samples: torch.Tensor, wanted: Loudness) -> tuple[torch.Tensor, str]:
    """The samples at the wanted loudness, and why they stayed as they are, if they did ("" otherwise).

    `lufs` never raises a song so far that its highest sample passes -1 dBFS: such a song stays quieter than -14 LUFS.
    Nothing but one gain is applied.
    """
    if wanted == "none":
        return samples, ""
    peak = float(samples.abs().max())
    if peak < _SILENCE:
        return samples, "it is silent"
    gain = PEAK_DBFS - 20 * math.log10(peak)
    if wanted == "lufs":
        measured = loudness(samples)
        if not math.isfinite(measured):
            return samples, "it is too quiet or too short to be measured"
        gain = min(gain, LUFS - measured)
    return samples * 10 ** (gain / 20), ""


def altered(samples: torch.Tensor, alteration: Alteration) -> torch.Tensor:
    """The samples of an altered copy: [2, round(S / tempo)].

    Pitch is moved by stretching time and resampling back, in a ratio of small numbers within 0.1 cent of the semitones.
    """
    length = round(samples.shape[1] / alteration.tempo)
    ratio = Fraction(2 ** (alteration.semitones / 12)).limit_denominator(200)
    if alteration.tempo != 1.0 or ratio != 1:
        samples = vocoder.stretch(samples, math.ceil(length * ratio))
    if ratio != 1:
        samples = torchaudio.functional.resample(
            samples, ratio.numerator, ratio.denominator, lowpass_filter_width=32, rolloff=0.97
        )
    samples = samples[:, :length]
    return _with_noise(samples, alteration) if alteration.noise else samples


def within_full_scale(samples: torch.Tensor) -> torch.Tensor:
    """The samples, turned down where they pass ±1: clipping an altered master would be heard."""
    peak = float(samples.abs().max())
    return samples / peak if peak > 1 else samples


def _with_noise(samples: torch.Tensor, alteration: Alteration) -> torch.Tensor:
    """White noise `alteration.noise` dB below the power of the whole song, each channel its own."""
    level = float(samples.square().mean().sqrt()) * 10 ** (-alteration.noise / 20)
    source = torch.Generator().manual_seed(alteration.seed)
    return samples + level * torch.randn(samples.shape, generator=source)


def _lufs(power: torch.Tensor) -> torch.Tensor:
    return _OFFSET + 10 * torch.log10(power)
