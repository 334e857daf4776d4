"""Decoding songs to samples. Resampling and channel layout belong to the engine, which has the tools for them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sidestep_tui.core.errors import DataError
from sidestep_tui.dataset import probe

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Lossy codecs round their length to whole frames, and encoders trim differently; less than this is no damage.
_TOLERANCE_SECONDS: Final = 0.25
# Small enough that a report of damage is exact to a second.
_BLOCK_FRAMES: Final = 1 << 15


def decode(path: Path, max_seconds: float | None = None) -> tuple[NDArray[np.float32], int]:
    """Decode `path` to float32 samples [channels, samples] at its own rate; returns them with the sample rate.

    At most `max_seconds` from the start (None or 0: all of it). Raises `DataError` for what cannot be read, is cut
    short, or holds samples that are not numbers.
    """
    # Deferred: soundfile and numpy take 340 ms to import (measured), and the terminal side imports this package.
    import numpy as np
    import soundfile

    header = probe.read_header(path)
    wanted = header.frames
    if max_seconds is not None and max_seconds > 0:
        wanted = min(wanted, math.ceil(max_seconds * header.sample_rate))
    samples: NDArray[np.float32] = np.empty((header.channels, wanted), dtype=np.float32)
    got = 0
    try:
        with soundfile.SoundFile(str(path)) as sound:
            while got < wanted:
                block = sound.read(min(_BLOCK_FRAMES, wanted - got), dtype="float32", always_2d=True)
                if not len(block):
                    break
                samples[:, got : got + len(block)] = block.T
                got += len(block)
    except (soundfile.SoundFileError, RuntimeError, OSError) as error:
        raise _damaged(path, got / header.sample_rate, header.seconds, probe.reason(error)) from error
    if wanted - got > _TOLERANCE_SECONDS * header.sample_rate or got == 0:
        raise _damaged(path, got / header.sample_rate, header.seconds, "The file is cut short.")
    samples = np.ascontiguousarray(samples[:, :got])
    if not np.isfinite(samples).all():
        raise DataError(
            f"{path.name} holds samples that are not numbers.",
            "NaN or infinite values would spoil training.",
            "Export it again, as 16-bit or 24-bit wav or flac.",
        )
    return samples, header.sample_rate


def _damaged(path: Path, got: float, promised: float, cause: str) -> DataError:
    return DataError(
        f"{path.name} is damaged after {got:.1f} of {promised:.1f} seconds.",
        cause,
        "Copy it again from its source, or export it again.",
    )
