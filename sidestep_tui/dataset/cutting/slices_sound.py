"""The samples of songs as the slicer reads and stores them, a block at a time: unchanged, or at another sample rate.

Resampling is that of the SoX resampler at its very high quality, in double precision; what comes out is the same for
any size of block, so that decoding a song twice gives the same samples twice. Storing rounds to the nearest whole
number without dither: at 16 bits the error lies 98 dB below full scale, beneath the noise of music that is mastered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from sidestep_tui.core import text
from sidestep_tui.core.errors import DataError
from sidestep_tui.dataset import probe

if TYPE_CHECKING:
    from numpy.typing import NDArray

Format = Literal["wav16", "wav24", "flac"]
Tick = Callable[[], None]
"""Called once for each block that was decoded; raising from it stops the decoding."""

BLOCK_FRAMES: Final = 1 << 16
# Lossy codecs round their length to whole frames; less than this is no damage.
_TOLERANCE_SECONDS: Final = 0.25
# Encodings whose samples are whole numbers, the type that holds them unchanged, and their bits.
_EXACT: Final = {"PCM_S8": ("int16", 8), "PCM_U8": ("int16", 8), "PCM_16": ("int16", 16), "PCM_24": ("int32", 24)}
# Beyond these a header is wrong, and a block of sound would grow a thousandfold on its way to 48 kHz.
_RESAMPLED_RATES: Final = (4_000, 768_000)
# Channels and rate that libsndfile writes at most.
_LIMITS: Final = {"WAV": (1024, 2**31 - 1), "FLAC": (8, 655_350)}


class DamagedSongError(DataError):
    """A song that cannot be decoded to its end; the others can still be sliced."""


def blocks(path: Path, rate: int | None = None, tick: Tick | None = None) -> Iterator[tuple[int, NDArray[Any]]]:
    """The samples of a song with their positions [n, channels]: in the type that holds them unchanged, or at `rate`.

    `DamagedSongError` for what cannot be decoded to its end.
    """
    header = _header(path)
    if rate is None or rate == header.sample_rate:
        decoded = _decoded(path, header, BLOCK_FRAMES, tick)
    else:
        decoded = _resampled(path, header, rate, tick)
    position = 0
    for block in decoded:
        yield position, block
        position += len(block)


def block_count(seconds: float, sample_rate: int) -> int:
    """About how many blocks a song is decoded in, for progress."""
    return 1 + int(seconds * sample_rate) // BLOCK_FRAMES


def _header(path: Path) -> probe.AudioHeader:
    try:
        return probe.read_header(path)
    except DataError as error:
        raise DamagedSongError(error.title, error.message, error.hint) from error


def _decoded(path: Path, header: probe.AudioHeader, frames: int, tick: Tick | None) -> Iterator[NDArray[Any]]:
    """The samples as the decoder gives them, in blocks of `frames`."""
    # Deferred: soundfile and numpy take 340 ms to import (measured), and the terminal side imports this package.
    import numpy as np
    import soundfile

    position = 0
    try:
        with soundfile.SoundFile(str(path)) as sound:
            kind = _EXACT.get(sound.subtype, ("float64", 0))[0]
            while len(block := sound.read(frames, dtype=kind, always_2d=True)):
                if kind == "float64" and not np.isfinite(block).all():
                    raise damaged(path, "It holds samples that are not numbers.")
                if tick is not None:
                    tick()
                yield block
                position += len(block)
    except (soundfile.SoundFileError, RuntimeError, OSError) as error:
        raise damaged(path, probe.reason(error)) from error
    if not position or header.frames - position > _TOLERANCE_SECONDS * header.sample_rate:
        raise damaged(path, "The file is cut short.")


def _resampled(path: Path, header: probe.AudioHeader, rate: int, tick: Tick | None) -> Iterator[NDArray[Any]]:
    """The samples at another rate, as floats of full scale 1; a few of them may lie beyond it."""
    # Deferred: soxr imports numpy (200 ms, measured).
    import numpy as np
    import soxr

    check_rate(path, header.sample_rate)
    stream = soxr.ResampleStream(header.sample_rate, rate, header.channels, dtype="float64", quality="VHQ")
    frames = max(1, BLOCK_FRAMES * min(header.sample_rate, rate) // rate)
    for block in _decoded(path, header, frames, tick):
        if len(ready := stream.resample_chunk(np.ascontiguousarray(as_fraction(block)))):
            yield ready
    if len(rest := stream.resample_chunk(np.empty((0, header.channels)), last=True)):
        yield rest


def check_rate(path: Path, rate: int) -> None:
    """Refuse sample rates that no sound is recorded at, where it would have to be resampled."""
    low, high = _RESAMPLED_RATES
    if not low <= rate <= high:
        raise DamagedSongError(
            f"{path.name} has a sample rate of {text.thousands(rate)} Hz.",
            f"Sound from {text.thousands(low)} to {text.thousands(high)} Hz is resampled.",
            "Export it again, or slice at the rate of the source.",
        )


def damaged(path: Path, cause: str) -> DamagedSongError:
    """What to say of a song that cannot be decoded to its end."""
    return DamagedSongError(f"{path.name} is damaged.", cause, "Copy it again from its source, or export it again.")


def storage(encoding: str, wanted: Format | None, *, resampled: bool) -> tuple[str, str, bool]:
    """Container and encoding of the slices, and whether these can hold every sample of the source as it is."""
    bits = _EXACT.get(encoding, ("", 0))[1]
    has_16 = 0 < bits <= 16
    if wanted == "flac":
        return "FLAC", "PCM_16" if has_16 else "PCM_24", bits > 0 and not resampled
    if wanted == "wav16" or (wanted is None and has_16):
        return "WAV", "PCM_16", has_16 and not resampled
    return "WAV", "PCM_24", bits > 0 and not resampled


def check_storage(name: str, container: str, rate: int, channels: int) -> None:
    """Refuse what a container cannot hold."""
    most_channels, most_rate = _LIMITS[container]
    if channels > most_channels or rate > most_rate:
        raise DataError(
            f"{name} cannot be stored as {container.lower()}.",
            f"It has {text.plural(channels, 'channel')} at {text.thousands(rate)} Hz.",
            "Choose another format.",
        )


def as_fraction(samples: NDArray[Any]) -> NDArray[Any]:
    """Samples of any type as floats of full scale 1, exactly."""
    import numpy as np

    if samples.dtype.kind == "f":
        return samples
    return samples.astype(np.float64) / (float(np.iinfo(samples.dtype).max) + 1)


def stored(samples: NDArray[Any], bits: int) -> tuple[NDArray[Any], int]:
    """Samples as integers whose upper `bits` are what the file keeps; and how many of them had to be clipped.

    Whole numbers that fit are passed on bit by bit; everything else is rounded to the nearest.
    """
    import numpy as np

    if samples.dtype == np.int16:
        return (samples if bits == 16 else samples.astype(np.int32) << 16), 0
    if samples.dtype == np.int32 and bits == 24:
        return samples, 0
    limit = 1 << (bits - 1)
    scaled = np.rint(as_fraction(samples) * limit)
    clipped = int(((scaled > limit) | (scaled < -limit)).sum())
    whole = np.clip(scaled, -limit, limit - 1).astype(np.int32)
    return (whole.astype(np.int16) if bits == 16 else whole << 8), clipped
