"""Writing slices: the samples of the source as they are, and beside each slice what is known about its song.

A song is decoded twice from start to end: once to find the cuts, once to write. That is exact for every format,
which seeking in lossy files is not, and holds no more than the slices under way in memory.
"""

from __future__ import annotations

import io
import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final, Literal

from sidestep_tui.core import atomic
from sidestep_tui.core.errors import DataError, DiskFullError
from sidestep_tui.dataset import merge, probe, slicer
from sidestep_tui.dataset.files import printable
from sidestep_tui.dataset.manifest import Song
from sidestep_tui.dataset.slicer import Cut, Cutting, Plan, Slice

if TYPE_CHECKING:
    from numpy.typing import NDArray

Format = Literal["wav16", "wav24", "flac"]

_BLOCK_FRAMES: Final = 1 << 16
# Lossy codecs round their length to whole frames; less than this is no damage.
_TOLERANCE_SECONDS: Final = 0.25
# Encodings whose samples are whole numbers, the type that holds them unchanged, and their bits.
_EXACT: Final = {"PCM_S8": ("int16", 8), "PCM_U8": ("int16", 8), "PCM_16": ("int16", 16), "PCM_24": ("int32", 24)}


class DamagedSongError(DataError):
    """A song that cannot be decoded to its end; the others can still be sliced."""


@dataclass(frozen=True, slots=True)
class Wish:
    """All that a person chooses about slicing."""

    cutting: Cutting = field(default_factory=Cutting)
    bars: bool = False
    bpm: float | None = None
    """Takes the place of the songs' own."""
    format: Format | None = None
    """None: wav with the bits of the source; 24 where it has more, or none to speak of."""
    keep_lyrics: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """A song, where it is cut and how its slices are stored."""

    song: Song
    plan: Plan
    rate: int
    container: str
    subtype: str
    is_exact: bool
    """Whether the slices hold the very samples of the source."""
    on_bars: bool

    @property
    def files(self) -> tuple[str, ...]:
        """Posix paths of the slices from the destination."""
        suffix = ".flac" if self.container == "FLAC" else ".wav"
        return tuple(f"{self.song.name}_{number:03d}{suffix}" for number in range(1, len(self.plan.slices) + 1))


@dataclass(frozen=True, slots=True)
class Written:
    """A slice on disk."""

    file: str
    piece: Slice
    peak: float
    """Largest absolute sample; full scale is 1."""
    clipped: int
    """Samples of a float or lossy source that lay beyond full scale."""
    was_there: bool
    """An identical one was found, and left alone."""


def prepare(song: Song, wish: Wish) -> Job:
    """Decode `song` once and find its cuts; `DataError` for what cannot be read to its end."""
    bar = None
    bpm = wish.bpm or song.bpm
    if wish.bars and bpm:
        bar = slicer.bar_seconds(bpm, song.timesignature)
    cuts = slicer.grid(wish.cutting, song.sample_rate, bar)
    windows: dict[int, tuple[int, NDArray[Any]]] = {}
    frames = 0
    for position, block in _blocks(song):
        frames = position + len(block)
        _collect(windows, block, position, cuts)

    def find(index: int, first: int, last: int) -> Cut:
        offset, samples = windows[index]
        return slicer.quietest_crossing(_as_fraction(samples), offset, first, last, cuts.nominal(index))

    plan = slicer.plan(frames, cuts, find)
    container, subtype, is_exact = _storage(_encoding(song), wish.format)
    return Job(song, plan, song.sample_rate, container, subtype, is_exact, bar is not None)


def sidecar(job: Job, piece: Slice, *, keep_lyrics: bool) -> dict[str, Any]:
    """What the JSON file beside a slice says: all that the song was known by, and where the slice was taken.

    What nobody ever stated stays unstated: a caption made from the file name, and "no lyrics were found".
    """
    song = job.song
    said = song.origins
    fields: dict[str, Any] = {}
    if said.get("caption") not in (None, merge.FILE_NAME):
        fields["caption"] = song.caption
    if said.get("instrumental") != merge.NO_LYRICS:
        fields["is_instrumental"] = song.instrumental
        if song.lyrics and (song.instrumental or keep_lyrics):
            fields["lyrics"] = song.lyrics
    if said.get("language") not in (None, merge.SETTING):
        fields["language"] = song.language
    known = {
        "bpm": song.bpm,
        "keyscale": song.keyscale,
        "timesignature": song.timesignature,
        "genre": song.genre,
        "custom_tag": song.tag,
        "repeat": song.repeats if song.repeats > 1 else None,
    }
    fields |= {name: value for name, value in known.items() if value}
    fields["source"] = (PurePosixPath(song.name).parent / song.audio.name).as_posix()
    fields["source_start"] = piece.start / job.rate
    fields["source_start_sample"] = piece.start
    fields["samples"] = piece.length
    return fields


def check_places(source: Path, destination: Path) -> None:
    """Refuse a destination in or around the source: its slices would become songs to slice."""
    here, there = source.resolve(), destination.resolve()
    if here == there or here in there.parents or there in here.parents:
        relation = "is" if here == there else "lies in" if here in there.parents else "holds"
        raise DataError(
            f"{printable(str(destination))} {relation} the folder with the songs.",
            "Slices beside their songs would be learned twice.",
            "Give a folder outside of it, for example one with a new name next to it.",
        )
    if destination.exists() and not destination.is_dir():
        raise DataError(f"{printable(str(destination))} is a file, not a folder.", hint="Give a folder for the slices.")


def check_free(destination: Path, jobs: list[Job]) -> None:
    """Refuse before anything is written when a slice of that name is there already."""
    for job in jobs:
        for file in job.files:
            for path in (destination / file, _sidecar_path(destination / file)):
                if path.exists() or path.is_symlink():
                    raise _in_the_way(path)


def write(job: Job, destination: Path, *, keep_lyrics: bool, resume: bool) -> Iterator[Written]:
    """Decode the song once more and write its slices, each whole or not at all, in the order in which they end.

    With `resume`, an identical file is left alone. `DataError` names what is in the way.
    """
    waiting = list(zip(job.plan.slices, job.files, strict=True))
    active: list[_Pending] = []
    try:
        for position, block in _blocks(job.song):
            end = position + len(block)
            while waiting and waiting[0][0].start < end:
                active.append(_Pending(job, *waiting.pop(0), channels=block.shape[1]))
            for pending in list(active):
                pending.add(block, position)
                if pending.piece.end <= end:
                    active.remove(pending)
                    yield pending.publish(destination, keep_lyrics=keep_lyrics, resume=resume)
        if active or waiting:
            raise _damaged(job.song, "It became shorter while it was sliced.")
    finally:
        for pending in active:
            pending.close()


class _Pending:
    """A slice under way, in memory: a full disk is then noticed by the one who writes files, not by a codec."""

    def __init__(self, job: Job, piece: Slice, file: str, *, channels: int) -> None:
        import soundfile

        self.job, self.piece, self.file = job, piece, file
        self.peak = 0.0
        self.clipped = 0
        self._bytes = io.BytesIO()
        with _interruptions_wait():
            self._sound = soundfile.SoundFile(
                self._bytes, "w", samplerate=job.rate, channels=channels, subtype=job.subtype, format=job.container
            )

    def add(self, block: NDArray[Any], position: int) -> None:
        """Take what is ours of a block that begins at `position`."""
        import numpy as np

        part = block[max(0, self.piece.start - position) : max(0, self.piece.end - position)]
        if not len(part):
            return
        loudness = np.abs(_as_fraction(part))
        self.peak = max(self.peak, float(loudness.max()))
        if self.piece.level is None:
            self.piece = replace(self.piece, level=float(loudness[0].max()))
        stored, clipped = _stored(part, 16 if self.job.subtype == "PCM_16" else 24)
        self.clipped += clipped
        with _interruptions_wait():
            self._sound.write(stored)

    def close(self) -> None:
        """Finish the sound; nothing is written to disk."""
        with _interruptions_wait():
            self._sound.close()

    def publish(self, destination: Path, *, keep_lyrics: bool, resume: bool) -> Written:
        """Write the words first, then the sound: a slice never lies there without them."""
        self.close()
        path = destination / self.file
        fields = sidecar(self.job, self.piece, keep_lyrics=keep_lyrics)
        words = json.dumps(fields, ensure_ascii=False, indent=2) + "\n"
        _stay_inside(path, destination)
        _put(_sidecar_path(path), words.encode(), resume=resume)
        was_there = not _put(path, self._bytes.getvalue(), resume=resume)
        return Written(self.file, self.piece, self.peak, self.clipped, was_there)


@contextmanager
def _interruptions_wait() -> Iterator[None]:
    """Let Ctrl-C take effect at the end of the block.

    libsndfile writes to memory through callbacks, in which Python swallows the exception: the key would be lost and,
    worse, the sound incomplete without a word.
    """
    if threading.current_thread() is not threading.main_thread():  # only the main thread is interrupted
        yield
        return
    caught: list[int] = []
    usual = signal.signal(signal.SIGINT, lambda number, _: caught.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual if usual is not None else signal.SIG_DFL)
        if caught:
            signal.raise_signal(signal.SIGINT)


def _put(path: Path, data: bytes, *, resume: bool) -> bool:
    """Write a new file; False where `resume` finds the same one."""
    try:
        if path.exists() or path.is_symlink():
            if resume and path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data:
                return False
            raise _in_the_way(path)
        atomic.write_bytes(path, data)
    except DiskFullError as error:
        raise DiskFullError(
            error.title,
            f"{printable(str(path))} could not be written; the slices before it are whole.",
            "Free some space, then slice again with --resume.",
        ) from error
    except OSError as error:
        raise DataError(
            f"{printable(str(path))} could not be written.",
            f"{error.strerror or error}.",
            "Check that you may write there; then slice again with --resume.",
        ) from error
    return True


def _stay_inside(path: Path, destination: Path) -> None:
    """Refuse to follow a link in the destination to somewhere else, which may be the source."""
    if not path.parent.resolve().is_relative_to(destination.resolve()):
        raise DataError(
            f"{printable(str(path.parent))} is a link that leads out of the destination.",
            hint="Remove the link, or slice into another folder.",
        )


def _in_the_way(path: Path) -> DataError:
    return DataError(
        f"{printable(str(path))} is there already.",
        "Existing files are never overwritten.",
        "Slice into another folder; or use --resume to go on with the same slicing, which leaves identical files be.",
    )


def _sidecar_path(path: Path) -> Path:
    return path.with_suffix(".json")


def _encoding(song: Song) -> str:
    return probe.read_header(song.audio).encoding


def _storage(encoding: str, wanted: Format | None) -> tuple[str, str, bool]:
    """Container and encoding of the slices, and whether these can hold every sample of the source as it is."""
    bits = _EXACT.get(encoding, ("", 0))[1]
    has_16 = 0 < bits <= 16
    if wanted == "flac":
        return "FLAC", "PCM_16" if has_16 else "PCM_24", bits > 0
    if wanted == "wav16" or (wanted is None and has_16):
        return "WAV", "PCM_16", has_16
    return "WAV", "PCM_24", bits > 0


def _blocks(song: Song) -> Iterator[tuple[int, NDArray[Any]]]:
    """The samples of a song with their positions, in the type that holds them unchanged [n, channels]."""
    # Deferred: soundfile and numpy take 340 ms to import (measured), and the terminal side imports this package.
    import numpy as np
    import soundfile

    position = 0
    try:
        header = probe.read_header(song.audio)
        with soundfile.SoundFile(str(song.audio)) as sound:
            kind = _EXACT.get(sound.subtype, ("float64", 0))[0]
            while len(block := sound.read(_BLOCK_FRAMES, dtype=kind, always_2d=True)):
                if kind == "float64" and not np.isfinite(block).all():
                    raise _damaged(song, "It holds samples that are not numbers.")
                yield position, block
                position += len(block)
    except (soundfile.SoundFileError, RuntimeError, OSError) as error:
        raise _damaged(song, probe.reason(error)) from error
    except DamagedSongError:
        raise
    except DataError as error:
        raise DamagedSongError(error.title, error.message, error.hint) from error
    if not position or header.frames - position > _TOLERANCE_SECONDS * header.sample_rate:
        raise _damaged(song, "The file is cut short.")


def _damaged(song: Song, cause: str) -> DamagedSongError:
    return DamagedSongError(
        f"{song.audio.name} is damaged.", cause, "Copy it again from its source, or export it again."
    )


def _collect(
    windows: dict[int, tuple[int, NDArray[Any]]], block: NDArray[Any], position: int, cuts: slicer.Grid
) -> None:
    """Keep what the block holds of the windows in which starts are searched, and a sample on either side."""
    import numpy as np

    index = max(windows, default=1)
    while True:
        nominal = cuts.nominal(index)
        low, high = nominal - cuts.window - 1, nominal + cuts.window + 2
        if low >= position + len(block):
            return
        part = block[max(0, low - position) : max(0, high - position)]
        if len(part):
            offset, before = windows.get(index, (low, part[:0]))
            windows[index] = (offset, np.concatenate((before, part)))
        index += 1


def _as_fraction(samples: NDArray[Any]) -> NDArray[Any]:
    """Samples of any type as floats of full scale 1, exactly."""
    import numpy as np

    if samples.dtype.kind == "f":
        return samples
    return samples.astype(np.float64) / (float(np.iinfo(samples.dtype).max) + 1)


def _stored(samples: NDArray[Any], bits: int) -> tuple[NDArray[Any], int]:
    """Samples as integers whose upper `bits` are what the file keeps; and how many of them had to be clipped.

    Whole numbers that fit are passed on bit by bit; everything else is rounded to the nearest.
    """
    import numpy as np

    if samples.dtype == np.int16:
        return (samples if bits == 16 else samples.astype(np.int32) << 16), 0
    if samples.dtype == np.int32 and bits == 24:
        return samples, 0
    limit = 1 << (bits - 1)
    scaled = np.rint(_as_fraction(samples) * limit)
    clipped = int(((scaled > limit) | (scaled < -limit)).sum())
    whole = np.clip(scaled, -limit, limit - 1).astype(np.int32)
    return (whole.astype(np.int16) if bits == 16 else whole << 8), clipped
