"""Listening to songs block by block: level, clipping, stereo, and a fingerprint that finds copies.

Memory does not grow with the length of a song: blocks are one second long, and a minute of fingerprint is 120 numbers.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sidestep_tui.core import text as wording
from sidestep_tui.core.errors import DataError
from sidestep_tui.dataset import probe
from sidestep_tui.dataset.doctor_findings import Finding
from sidestep_tui.dataset.manifest import Manifest, Skipped, Song

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SILENT: Final = 10 ** (-60 / 20)
"""Peak below which nothing is heard: −60 dBFS."""
_MOST_FRAMES: Final = 384_000
"""In a block: a header may claim any sample rate, and must not choose how much is read at once."""
_FULL_SCALE: Final = 32767 / 32768 - 1e-5
_CLIP_RUN: Final = 4
_CLIP_RUNS: Final = 10
_CLIPPED_SHARE: Final = 1e-4
_MOSTLY: Final = 0.5
_QUIET_DB: Final = -40.0
_LOUD_DB: Final = -6.0
_OUT_OF_PHASE: Final = -0.5
_DC: Final = 0.01
# Lossy codecs round their length; less than this is no damage (as in `dataset.audio`).
_TOLERANCE_SECONDS: Final = 0.25

# Band edges in hertz, so that copies at other sample rates look alike; below 10 kHz every codec keeps the energy.
_EDGES: Final = tuple(80.0 * (8000 / 80) ** (index / 16) for index in range(17))
# Changes smaller than 1 dB in energy say nothing reliable.
_CLEAR: Final = 0.23
_LEAST_BITS: Final = 64
_MOST_ERRORS: Final = 0.1
_SAME_LENGTH: Final = 2.0


@dataclass(frozen=True, slots=True)
class Print:
    """A fingerprint: for each second and pair of bands whether the balance rose, and whether that was clear."""

    bits: int
    clear: int
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

        if not np.isfinite(block).all():
            self.is_finite = False
            block = np.nan_to_num(block, nan=0.0, posinf=0.0, neginf=0.0)
        magnitude = np.abs(block)
        peak = float(magnitude.max())
        self.frames += len(block)
        self.blocks += 1
        self.silent_blocks += peak < SILENT
        self.peak = max(self.peak, peak)
        self.sum += block.sum(axis=0, dtype=np.float64)
        self.square += float(np.square(block, dtype=np.float64).sum())
        if block.shape[1] > 1:
            left, right = block[:, 0].astype(np.float64), block[:, 1].astype(np.float64)
            self.difference = max(self.difference, float(np.abs(left - right).max()))
            # Not `@`: BLAS starts threads for it, which wait for each other longer than they work.
            self.products += ((left * right).sum(), (left * left).sum(), (right * right).sum())
        self._clipping(magnitude >= _FULL_SCALE)
        if len(block) == self.rate:
            self.bands.append(_bands(block.mean(axis=1), self.rate))

    def _clipping(self, full: NDArray[np.bool_]) -> None:
        """Count runs of full-scale samples, across the borders of blocks too."""
        import numpy as np

        for channel in range(full.shape[1]):
            column = full[:, channel]
            if not column.any():
                self._end_run(channel)
                continue
            edges = np.flatnonzero(np.diff(np.concatenate(([False], column, [False])).astype(np.int8)))
            for start, stop in edges.reshape(-1, 2).tolist():
                if start > 0:
                    self._end_run(channel)
                self.open_runs[channel] += stop - start
                if stop < len(column):
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


def listen(song: Song) -> Heard:
    """Read the whole song, a second at a time; `DataError` for what cannot be decoded or ends early."""
    # Deferred: soundfile and numpy take 340 ms to import (measured), and the terminal side imports this package.
    import soundfile

    name = song.audio.name
    probe.check_file(song.audio)
    try:
        with soundfile.SoundFile(str(song.audio)) as sound:
            ear = _Ear(sound.samplerate, sound.channels)
            step = min(sound.samplerate, _MOST_FRAMES)
            while len(block := sound.read(step, dtype="float32", always_2d=True)):
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

    spectrum = np.square(np.abs(np.fft.rfft(mono * np.hanning(len(mono)))))
    edges = [min(len(spectrum) - 1, round(edge)) for edge in _EDGES]  # one bin is one hertz in one second
    energy = np.add.reduceat(spectrum, edges)[: len(_EDGES) - 1] / rate**2
    return np.log(energy + 1e-12).astype(np.float32)


def _print(bands: Sequence[NDArray[np.float32]], seconds: float) -> Print:
    import numpy as np

    if len(bands) < 2:
        return Print(0, 0, seconds)
    change = np.diff(np.diff(np.stack(bands), axis=0), axis=1).ravel()
    return Print(
        int.from_bytes(np.packbits(change > 0).tobytes(), "little"),
        int.from_bytes(np.packbits(np.abs(change) > _CLEAR).tobytes(), "little"),
        seconds,
    )


def alike(first: Print, second: Print) -> bool:
    """Whether two songs are the same music: gain, format and sample rate do not count."""
    if abs(first.seconds - second.seconds) > _SAME_LENGTH:
        return False
    clear = first.clear & second.clear
    size = clear.bit_count()
    if size < _LEAST_BITS or size < 0.3 * max(first.clear.bit_count(), second.clear.bit_count()):
        return False
    return ((first.bits ^ second.bits) & clear).bit_count() < _MOST_ERRORS * size


def skipped_findings(skipped: Iterable[Skipped]) -> Iterator[Finding]:
    """What the scan could not use."""
    for item in skipped:
        reason = item.reason
        if "cut short" in reason:
            code = "truncated"
        elif "is empty" in reason or "holds no sound" in reason:
            code = "empty"
        else:
            code = "unreadable"
        # Other formats, folders and links are left out on purpose: no damage, but the song is missing.
        harmless = "which is not read" in reason or "is a folder" in reason or "is a link" in reason
        yield Finding(code, item.path.as_posix(), reason, grave="warning" if harmless else None)


def header_findings(manifest: Manifest) -> Iterator[Finding]:
    """What headers tell: lengths, channels, sample rates."""
    for song in manifest.songs:
        length = f"lasts {song.duration:.1f} s."
        if song.duration < 10:
            yield Finding("very_short", song.name, length)
        elif song.duration < 29.5:
            yield Finding("short", song.name, length)
        elif song.duration > 600:
            yield Finding("very_long", song.name, f"lasts {wording.duration(song.duration)}.")
        elif song.duration > 240.5:
            yield Finding("long", song.name, f"lasts {wording.duration(song.duration)}.")
        if song.channels == 1:
            yield Finding("mono", song.name, "has one channel.")
    rates = Counter(song.sample_rate for song in manifest.songs)
    if len(rates) > 1:
        counts = [f"{wording.plural(count, 'song')} at {rate:,} Hz" for rate, count in rates.most_common()]
        yield Finding("mixed_rates", "", f"{wording.listing(counts)}.")


def sound_findings(song: Song, heard: Heard) -> Iterator[Finding]:
    """What listening tells about one song."""
    if not heard.is_finite:
        yield Finding("not_a_number", song.name, "holds samples that are NaN or infinite.")
    if heard.peak < SILENT:
        yield Finding("silent", song.name, f"never rises above {_db(SILENT):.0f} dBFS.")
        return
    if heard.silent_share > _MOSTLY:
        yield Finding("mostly_silent", song.name, f"is silent for {heard.silent_share:.0%} of its length.")
    if heard.clip_runs >= _CLIP_RUNS and heard.clipped_share > _CLIPPED_SHARE:
        yield Finding("clipped", song.name, f"clips {heard.clip_runs:,} times ({heard.clipped_share:.2%} of samples).")
    active = heard.rms / math.sqrt(max(1e-9, 1 - heard.silent_share)) if heard.silent_share < 1 else heard.rms
    level = _db(active)
    if level < _QUIET_DB:
        yield Finding("quiet", song.name, f"has an average level of {level:.0f} dBFS.")
    elif level > _LOUD_DB:
        yield Finding("loud", song.name, f"has an average level of {level:.1f} dBFS.")
    if heard.is_dual_mono:
        yield Finding("dual_mono", song.name, "has the same sound in both channels.")
    elif heard.correlation is not None and heard.correlation < _OUT_OF_PHASE:
        yield Finding("out_of_phase", song.name, f"has a stereo correlation of {heard.correlation:.2f}.")
    if heard.dc > _DC:
        yield Finding("dc_offset", song.name, f"is off centre by {heard.dc:.1%} of full scale.")


def damage(song: Song, error: DataError) -> Finding:
    """A song that its header promised and its content does not give."""
    code = "truncated" if "cut short" in error.title else "unreadable"
    return Finding(code, song.name, f"{error.title.removeprefix(song.audio.name).strip()} {error.message}".strip())


def duplicate_findings(manifest: Manifest, heard: dict[str, Heard]) -> Iterator[Finding]:
    """Files with the same bytes, and songs that sound the same; each group once."""
    known: set[tuple[str, str]] = set()
    for group in _same_bytes(manifest.songs):
        first, *others = group
        known.update((first, other) for other in others)
        for other in others:
            yield Finding("duplicate", other, f"is the same file as {first}.")
    copies = {other for _, other in known}
    marks = sorted(
        ((item.mark.seconds, name, item.mark) for name, item in heard.items() if name not in copies),
        key=lambda entry: entry[:2],
    )
    marks = [entry for entry in marks if entry[2].clear.bit_count() >= _LEAST_BITS]
    claimed: set[str] = set()
    for index, (seconds, name, mark) in enumerate(marks):
        if name in claimed:
            continue
        for other_seconds, other, other_mark in marks[index + 1 :]:
            if other_seconds - seconds > _SAME_LENGTH:
                break
            if other not in claimed and alike(mark, other_mark):
                claimed.add(other)
                first, second = sorted((name, other))
                yield Finding("near_duplicate", second, f"sounds like {first}.")


def _same_bytes(songs: Iterable[Song]) -> Iterator[list[str]]:
    """Groups of songs with equal files; only files of equal size are read."""
    sizes: dict[int, list[Song]] = defaultdict(list)
    for song in songs:
        sizes[song.size].append(song)
    for alike_in_size in sizes.values():
        if len(alike_in_size) < 2:
            continue
        digests: dict[bytes, list[str]] = defaultdict(list)
        for song in alike_in_size:
            digest = _digest(song.audio)
            if digest is not None:
                digests[digest].append(song.name)
        yield from (sorted(names) for names in digests.values() if len(names) > 1)


def _digest(path: Path) -> bytes | None:
    """SHA-256 of a file; None where it has become unreadable, which `listen` reports."""
    try:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").digest()
    except OSError:
        return None


def _db(level: float) -> float:
    return 20 * math.log10(max(level, 1e-10))
