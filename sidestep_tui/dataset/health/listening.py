"""Listening to a song block by block: level, clipping, stereo, and a fingerprint by which copies are found.

Memory does not grow with the length of a song: blocks are one second long at most, and of the fingerprint, 60 bytes a
minute, only the first 20 minutes are kept.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from sidestep_tui.core.errors import DataError
from sidestep_tui.dataset import probe
from sidestep_tui.dataset.manifest import Song

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SILENT: Final = 10 ** (-60 / 20)
"""Peak below which nothing is heard: −60 dBFS."""
_MOST_SAMPLES: Final = 768_000
"""In a block: a header may claim any rate and 1,024 channels, and must not choose how much is read at once."""
_ABSURD: Final = 1e6
"""Full scale is 1; beyond this a sample is as little a sound as NaN is."""
_FULL_SCALE: Final = 32767 / 32768 - 1e-5
_CLIP_RUN: Final = 4
# Lossy codecs round their length; less than this is no damage (as in `dataset.audio`).
_TOLERANCE_SECONDS: Final = 0.25

# Band edges in hertz, so that copies at other sample rates look alike; below 10 kHz every codec keeps the energy.
_EDGES: Final = tuple(80.0 * (8000 / 80) ** (index / 16) for index in range(17))
# Changes smaller than 1 dB in energy say nothing reliable.
_CLEAR: Final = 0.23
_FRAMES: Final = 10
_LEAST_RATE: Final = 1000
"""Below it there are no bands to speak of."""
_MOST_BANDS: Final = 20 * 60

_MOST_THREADS: Final = 4
"""More than the bandwidth of memory feeds; decoding and array operations let go of the interpreter's lock."""
_PULSE_SECONDS: Final = 0.25


@dataclass(frozen=True, slots=True)
class Print:
    """A fingerprint: for each second and pair of bands whether the balance rose, and whether that was clear."""

    bits: bytes
    clear: bytes
    seconds: float


@dataclass(frozen=True, slots=True)
class Heard:
    """What a song sounds like, in numbers."""

    peak: float
    rms: float
    silent_share: float
    """Part of the seconds that are silent."""
    clip_runs: int
    clipped_share: float
    dc: float
    """The largest offset among the channels."""
    correlation: float | None
    """Of the first two channels; None for mono and for silence."""
    is_dual_mono: bool
    is_finite: bool
    seconds: float
    mark: Print


class _Ear:
    """Takes blocks and keeps sums."""

    def __init__(self, rate: int, channels: int) -> None:
        import numpy as np

        self.rate = rate
        self.frames = 0
        self.peak = 0.0
        self.difference = 0.0
        self.square = 0.0
        self.blocks = self.silent_blocks = 0
        self.clip_runs = self.clipped = 0
        self.is_finite = True
        self.sum = np.zeros(channels)
        self.products = np.zeros(3)
        self.open_runs = [0] * channels
        self.bands: list[NDArray[np.float32]] = []

    def take(self, block: NDArray[np.float32]) -> None:
        """A block [frames, channels]."""
        import numpy as np

        # Channel by channel in memory: sums along it take a quarter of the time (measured).
        planes = np.ascontiguousarray(block.T)
        peaks = np.maximum(planes.max(axis=1), -planes.min(axis=1))
        if not (peaks < _ABSURD).all():
            self.is_finite = False
            planes = np.nan_to_num(planes, nan=0.0, posinf=0.0, neginf=0.0).clip(-_ABSURD, _ABSURD)
            peaks = np.abs(planes).max(axis=1)
        peak = float(peaks.max())
        self.frames += planes.shape[1]
        self.blocks += 1
        self.silent_blocks += peak < SILENT
        self.peak = max(self.peak, peak)
        self.sum += planes.sum(axis=1)
        # Not `@`: BLAS starts threads for it, which wait for each other longer than they work.
        squares = np.einsum("ij,ij->i", planes, planes)
        self.square += float(squares.sum())
        if len(planes) > 1:
            left, right = planes[0], planes[1]
            self.difference = max(self.difference, float(np.abs(left - right).max()))
            self.products += (float(np.einsum("i,i->", left, right)), squares[0], squares[1])
        self._clipping(planes, peaks)
        if planes.shape[1] == self.rate >= _LEAST_RATE and len(self.bands) < _MOST_BANDS:
            self.bands.append(_bands(planes.mean(axis=0), self.rate))

    def _clipping(self, planes: NDArray[np.float32], peaks: NDArray[np.float32]) -> None:
        """Count runs of full-scale samples, across the borders of blocks too."""
        import numpy as np

        for channel, plane in enumerate(planes):
            if peaks[channel] < _FULL_SCALE:
                self._end_run(channel)
                continue
            full = np.abs(plane) >= _FULL_SCALE
            edges = np.flatnonzero(np.diff(np.concatenate(([False], full, [False])).astype(np.int8)))
            starts, stops = edges[::2], edges[1::2]
            if starts[0] > 0:
                self._end_run(channel)
            # The first run may go on from the block before and the last into the next; those between are whole.
            self.open_runs[channel] += int(stops[0] - starts[0])
            if len(starts) > 1:
                self._end_run(channel)
                lengths = (stops - starts)[1:-1]
                long_enough = lengths[lengths >= _CLIP_RUN]
                self.clip_runs += len(long_enough)
                self.clipped += int(long_enough.sum())
                self.open_runs[channel] = int(stops[-1] - starts[-1])
            if stops[-1] < len(full):
                self._end_run(channel)

    def _end_run(self, channel: int) -> None:
        length, self.open_runs[channel] = self.open_runs[channel], 0
        if length >= _CLIP_RUN:
            self.clip_runs += 1
            self.clipped += length

    def heard(self) -> Heard:
        """The numbers."""
        channels = len(self.sum)
        for channel in range(channels):
            self._end_run(channel)
        samples = max(1, self.frames * channels)
        both, left, right = self.products.tolist()
        power = math.sqrt(left * right)
        return Heard(
            peak=self.peak,
            rms=math.sqrt(self.square / samples),
            silent_share=self.silent_blocks / max(1, self.blocks),
            clip_runs=self.clip_runs,
            clipped_share=self.clipped / samples,
            dc=float(abs(self.sum / max(1, self.frames)).max()),
            correlation=both / power if power > 0 else None,
            is_dual_mono=channels == 2 and self.difference <= 1.5 / 32768 and self.peak >= SILENT,
            is_finite=self.is_finite,
            seconds=self.frames / self.rate,
            mark=_print(self.bands, self.frames / self.rate),
        )


def listen_to_all(
    songs: Sequence[Song], say: Callable[[int, int], None], *, threads: int | None = None
) -> dict[str, Heard | DataError]:
    """What each song sounds like, by name in the order given, or why it cannot be heard; on all cores there are.

    `say` gets the songs done and all there are, from this thread alone, and at least while sound keeps coming; raising
    from it ends everything within a block.
    """
    pulse = _Pulse()
    pool = ThreadPoolExecutor(threads or min(_MOST_THREADS, _cores()), thread_name_prefix="listen")
    try:
        futures = [pool.submit(_heard, song, pulse) for song in songs]
        waiting, beats = set(futures), -1
        while waiting:
            finished, waiting = wait(waiting, timeout=_PULSE_SECONDS, return_when=FIRST_COMPLETED)
            # Silence where nothing is read lets whoever listens to us find out that a disk does not answer.
            if finished or pulse.beats != beats:
                beats = pulse.beats
                say(len(songs) - len(waiting), len(songs))
        return {song.name: future.result() for song, future in zip(songs, futures, strict=True)}
    finally:
        pulse.is_over = True
        pool.shutdown(cancel_futures=True)


class _Pulse:
    """Counts blocks, and ends what is being read."""

    def __init__(self) -> None:
        self.beats = 0
        self.is_over = False

    def __call__(self) -> None:
        if self.is_over:
            raise _StoppedError
        self.beats += 1


class _StoppedError(Exception):
    """Nobody wants to know any more."""


def _heard(song: Song, pulse: Callable[[], None]) -> Heard | DataError:
    try:
        return listen(song, pulse)
    except DataError as error:
        return error


def _cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def listen(song: Song, pulse: Callable[[], None] = lambda: None) -> Heard:
    """Read the whole song, a second at a time; `DataError` for what cannot be decoded or ends early.

    `pulse` is called for each block; raising from it ends the listening.
    """
    # Deferred: soundfile and numpy take 340 ms to import (measured), and the terminal side imports this package.
    import numpy as np
    import soundfile

    name = song.audio.name
    probe.check_file(song.audio)
    try:
        with soundfile.SoundFile(str(song.audio)) as sound:
            ear = _Ear(sound.samplerate, sound.channels)
            step = max(1, min(sound.samplerate, _MOST_SAMPLES // sound.channels))
            buffer = np.empty((step, sound.channels), dtype=np.float32)
            while len(block := sound.read(out=buffer)):
                pulse()
                ear.take(block)
    except (soundfile.SoundFileError, RuntimeError, OSError) as error:
        raise DataError(f"{name} cannot be decoded.", probe.reason(error)) from error
    heard = ear.heard()
    if song.duration - heard.seconds > _TOLERANCE_SECONDS or not ear.frames:
        raise DataError(f"{name} is cut short.", f"It ends after {heard.seconds:.1f} of {song.duration:.1f} s.")
    return heard


def _bands(mono: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """Logarithm of the energy in each band of one second."""
    import numpy as np

    # In tenths of a second: bins of ten hertz tell the bands apart, and short transforms take a third of the time.
    length = rate // _FRAMES
    spectrum = np.fft.rfft(mono[: length * _FRAMES].reshape(_FRAMES, length) * _window(length))
    energies = (np.square(spectrum.real) + np.square(spectrum.imag)).sum(axis=0, dtype=np.float64)
    edges = [min(len(energies) - 1, round(edge * length / rate)) for edge in _EDGES]
    energy = np.add.reduceat(energies, edges)[: len(_EDGES) - 1] / length**2
    return np.log(energy + 1e-12).astype(np.float32)


@lru_cache(maxsize=4)
def _window(length: int) -> NDArray[np.float32]:
    import numpy as np

    return np.hanning(length).astype(np.float32)


def _print(bands: Sequence[NDArray[np.float32]], seconds: float) -> Print:
    import numpy as np

    if len(bands) < 2:
        return Print(b"", b"", seconds)
    change = np.diff(np.diff(np.stack(bands), axis=0), axis=1).ravel()
    return Print(np.packbits(change > 0).tobytes(), np.packbits(np.abs(change) > _CLEAR).tobytes(), seconds)
