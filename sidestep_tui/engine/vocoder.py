"""Stretching music in time at the same pitch: a phase vocoder that keeps each partial, and both channels, together.

Each output frame is an input frame whose phases are turned so that it continues the frame before it. The turn is
measured, not accumulated: the input is also looked at one hop earlier, where it should look like the output does. One
turn serves all bins around a spectral peak (the phase locking of Laroche and Dolson, 1999), which keeps attacks and
timbre, and all channels, which keeps the stereo image.
"""

from __future__ import annotations

from typing import Final

import torch

_WINDOW: Final = 4096
"""85 ms at 48 kHz: long enough to tell bass notes apart."""
_HOP: Final = _WINDOW // 4
_BLOCK: Final = 256
"""Frames whose spectra are in memory together."""
_NEIGHBOURS: Final = 2
"""A peak is the highest bin among so many on each side."""


def stretch(samples: torch.Tensor, length: int) -> torch.Tensor:
    """[C, S] samples played in the time of `length` samples, at the same pitch: [C, `length`]."""
    channels, available = samples.shape
    frames = -(-length // _HOP) + 1
    window = torch.hann_window(_WINDOW)
    # Output frame k is centred on sample k hops; the first is half before the start, like its input.
    places = (torch.arange(frames, dtype=torch.float64) * _HOP * (available / length)).round().long()
    margin = _WINDOW // 2 + _HOP
    padded = torch.nn.functional.pad(samples, (margin, margin + _WINDOW))
    made = torch.zeros(channels, (frames - 1) * _HOP + _WINDOW)
    weight = torch.zeros(made.shape[1])
    last: torch.Tensor | None = None
    for first in range(0, frames, _BLOCK):
        at = places[first : first + _BLOCK] + _HOP
        now, before = _spectra(padded, at, window), _spectra(padded, at - _HOP, window)
        owners = _owners(now)
        for index in range(len(at)):
            if last is not None:
                now[:, index] *= _turn(last, before[:, index], owners[index])
            last = now[:, index]
        pieces = torch.fft.irfft(now, n=_WINDOW) * window
        for index in range(len(at)):
            begin = (first + index) * _HOP
            made[:, begin : begin + _WINDOW] += pieces[:, index]
            weight[begin : begin + _WINDOW] += window.square()
    inside = slice(_WINDOW // 2, _WINDOW // 2 + length)
    return made[:, inside] / weight[inside]


def _spectra(padded: torch.Tensor, places: torch.Tensor, window: torch.Tensor) -> torch.Tensor:
    """[C, K, bins]: windowed spectra that begin at `places`."""
    index = places[:, None] + torch.arange(_WINDOW)
    return torch.fft.rfft(padded[:, index] * window)


def _owners(spectra: torch.Tensor) -> torch.Tensor:
    """[K, bins]: the bin of the nearest spectral peak, over all channels."""
    power = spectra.abs().square().sum(dim=0)
    highest = torch.nn.functional.max_pool1d(power[:, None], 2 * _NEIGHBOURS + 1, 1, _NEIGHBOURS)[:, 0]
    bins = torch.arange(power.shape[1]).expand_as(power)
    peaks = power == highest
    below = torch.where(peaks, bins, -(10**6)).cummax(dim=1).values
    above = torch.where(peaks, bins, 10**6).flip(1).cummin(dim=1).values.flip(1)
    return torch.where(bins - below <= above - bins, below, above)


def _turn(last: torch.Tensor, before: torch.Tensor, owners: torch.Tensor) -> torch.Tensor:
    """[bins]: the rotation that makes the input of one hop earlier fit best onto the output of then, for each peak."""
    agreement = (last * before.conj()).sum(dim=0)
    around_peak = torch.zeros_like(agreement).index_add_(0, owners, agreement)[owners]
    size = around_peak.abs()
    return torch.where(size > 0, around_peak / size.clamp_min(1e-30), torch.ones_like(around_peak))
