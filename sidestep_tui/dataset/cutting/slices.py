"""Writing slices: the samples of the source as they are, and beside each slice what is known about its song.

A song is decoded twice from start to end: once to find the cuts, once to write. That is exact for every format,
which seeking in lossy files is not, and holds no more than the slices under way in memory. Where another sample rate
is wanted, the cuts are sought, and the samples counted, in the sound as it is after resampling.

What a slice inherits: caption, BPM, key, time signature, language, genre, tag, repeats and the instrumental flag of
its song, since they hold for any part of it. Lyrics only on request: the lines of a whole song are not what is sung in
thirty seconds. Added are the name of the source, where in it the slice begins and how long it is, so that whoever
splits songs for validation can keep the slices of one song together.
"""

from __future__ import annotations

import io
import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from sidestep_tui.core import atomic
from sidestep_tui.core.errors import DataError, DiskFullError
from sidestep_tui.dataset import merge, probe
from sidestep_tui.dataset.cutting import slicer, slices_sound
from sidestep_tui.dataset.cutting.slicer import Cut, Cutting, Grid, Plan, Slice
from sidestep_tui.dataset.cutting.slices_sound import Format, Tick
from sidestep_tui.dataset.files import printable
from sidestep_tui.dataset.manifest import Song

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Wish:
    """All that a person chooses about slicing."""

    cutting: Cutting = field(default_factory=Cutting)
    bars: bool = False
    bpm: float | None = None
    """Takes the place of the songs' own."""
    format: Format | None = None
    """None: wav with the bits of the source; 24 where it has more, or none to speak of."""
    rate: int | None = None
    """Samples per second of the slices; None: those of each song."""
    keep_lyrics: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, for another process."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Wish:
        """The wish that `to_dict` wrote."""
        return cls(**{**plain, "cutting": Cutting(**plain["cutting"])})


@dataclass(frozen=True, slots=True)
class Job:
    """A song, where it is cut and how its slices are stored."""

    song: Song
    plan: Plan
    grid: Grid
    rate: int
    """Of the slices."""
    container: str
    subtype: str
    is_exact: bool
    """Whether the slices hold the very samples of the source."""
    on_bars: bool

    @property
    def resampled(self) -> bool:
        """Whether the slices have another sample rate than the song."""
        return self.rate != self.song.sample_rate

    @property
    def bits(self) -> int:
        """Of each sample."""
        return 16 if self.subtype == "PCM_16" else 24

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
    """Samples of a float, lossy or resampled source that lay beyond full scale."""
    was_there: bool
    """An identical one was found, and left alone."""


def prepare(song: Song, wish: Wish, tick: Tick | None = None) -> Job:
    """Decode `song` once and find its cuts; `DataError` for what cannot be read to its end, or not be stored."""
    rate = wish.rate or song.sample_rate
    cuts = grid_of(song, wish)
    resampled = rate != song.sample_rate
    container, subtype, is_exact = slices_sound.storage(_encoding(song), wish.format, resampled=resampled)
    slices_sound.check_storage(song.audio.name, container, rate, song.channels)
    search = _Search(cuts)
    frames = 0
    for position, block in slices_sound.blocks(song.audio, wish.rate, tick):
        frames = position + len(block)
        search.take(block, position)
    plan = slicer.plan(frames, cuts, search.find)
    return Job(song, plan, cuts, rate, container, subtype, is_exact, bar_of(song, wish) is not None)


def bar_of(song: Song, wish: Wish) -> float | None:
    """How long a bar of the song lasts where bars are wanted and its tempo is known."""
    bpm = wish.bpm or song.bpm
    return slicer.bar_seconds(bpm, song.timesignature) if wish.bars and bpm else None


def grid_of(song: Song, wish: Wish) -> Grid:
    """The grid of a song's slices; `UsageError` where the numbers contradict each other or its bars."""
    return slicer.grid(wish.cutting, wish.rate or song.sample_rate, bar_of(song, wish))


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
    own = (PurePosixPath(song.name).parent / song.audio.name).as_posix()
    fields["source"] = song.source or own
    if song.source:
        # A slice of a slice belongs to the song that both come from; where it begins counts in the slice.
        fields["sliced_from"] = own
    fields["source_start"] = piece.start / job.rate
    fields["source_start_sample"] = piece.start
    fields["samples"] = piece.length
    if job.resampled:
        # The two numbers of samples count at the slice's own rate.
        fields["resampled_from"] = song.sample_rate
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
            for path in (destination / file, sidecar_path(destination / file)):
                if path.exists() or path.is_symlink():
                    raise _in_the_way(path)


def write(
    job: Job, destination: Path, *, keep_lyrics: bool, resume: bool, tick: Tick | None = None
) -> Iterator[Written]:
    """Decode the song once more and write its slices, each whole or not at all, in the order in which they end.

    With `resume`, an identical file is left alone. `DataError` names what is in the way.
    """
    waiting = list(zip(job.plan.slices, job.files, strict=True))
    active: list[_Pending] = []
    try:
        for position, block in slices_sound.blocks(job.song.audio, job.rate if job.resampled else None, tick):
            end = position + len(block)
            while waiting and waiting[0][0].start < end:
                active.append(_Pending(job, *waiting.pop(0), channels=block.shape[1]))
            for pending in list(active):
                pending.add(block, position)
                if pending.piece.end <= end:
                    active.remove(pending)
                    yield pending.publish(destination, keep_lyrics=keep_lyrics, resume=resume)
        if active or waiting:
            raise slices_sound.damaged(job.song.audio, "It became shorter while it was sliced.")
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
        loudness = np.abs(slices_sound.as_fraction(part))
        self.peak = max(self.peak, float(loudness.max()))
        if self.piece.level is None:
            self.piece = replace(self.piece, level=float(loudness[0].max()))
        stored, clipped = slices_sound.stored(part, self.job.bits)
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
        _put(sidecar_path(path), words.encode(), resume=resume)
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
            "Free some space, then slice again and go on with what is there (--resume).",
        ) from error
    except OSError as error:
        raise DataError(
            f"{printable(str(path))} could not be written.",
            f"{error.strerror or error}.",
            "Check that you may write there; then slice again and go on with what is there (--resume).",
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
        "Slice into another folder, or go on with the very same slicing, which leaves identical files be (--resume).",
    )


def sidecar_path(path: Path) -> Path:
    """The file with the words of a slice."""
    return path.with_suffix(".json")


def _encoding(song: Song) -> str:
    return probe.read_header(song.audio).encoding


class _Search:
    """The windows in which starts are sought, each kept until its start is certain: memory is flat for any length."""

    def __init__(self, cuts: Grid) -> None:
        self._cuts = cuts
        self._windows: dict[int, tuple[int, NDArray[Any]]] = {}
        self._latest = 1
        self._found: list[Cut] = [Cut(0, 0.0, True)]

    def take(self, block: NDArray[Any], position: int) -> None:
        """Look at a block that begins at `position`."""
        end = position + len(block)
        self._collect(block, position, end)
        # So long a song has a whole slice after this window, wherever it ends: only the start before it binds.
        while end >= (nominal := self._cuts.nominal(len(self._found))) + self._cuts.window + self._cuts.length:
            last = min(nominal + self._cuts.window, self._found[-1].sample + self._cuts.length)
            index = len(self._found)
            self._found.append(self.find(index, nominal - self._cuts.window, last))
            del self._windows[index]

    def find(self, index: int, first: int, last: int) -> Cut:
        """See `slicer.FindCut`."""
        if index < len(self._found):
            return self._found[index]
        offset, samples = self._windows[index]
        wave = slices_sound.as_fraction(samples)
        return slicer.quietest_crossing(wave, offset, first, last, self._cuts.nominal(index))

    def _collect(self, block: NDArray[Any], position: int, end: int) -> None:
        """Keep what the block holds of windows, and a sample on either side of each."""
        import numpy as np

        index = self._latest
        while True:
            nominal = self._cuts.nominal(index)
            low, high = nominal - self._cuts.window - 1, nominal + self._cuts.window + 2
            if low >= end:
                return
            part = block[max(0, low - position) : max(0, high - position)]
            if len(part):
                offset, before = self._windows.get(index, (low, part[:0]))
                self._windows[index] = (offset, np.concatenate((before, part)))
                self._latest = index
            index += 1
