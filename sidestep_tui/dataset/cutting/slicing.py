"""Slicing all songs of a folder: what will be written, whether it can be, and what was done, in sentences.

All cuts are found before anything is written, so that what is in the way, or too little room, is known first.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sidestep_tui.core import text
from sidestep_tui.core.errors import DataError, DiskFullError, UsageError
from sidestep_tui.dataset.cutting import slicer, slices, slices_sound
from sidestep_tui.dataset.cutting.slicer import Slice
from sidestep_tui.dataset.cutting.slices import Job, Wish, Written
from sidestep_tui.dataset.cutting.slices_sound import Tick
from sidestep_tui.dataset.files import printable
from sidestep_tui.dataset.manifest import Manifest, Song
from sidestep_tui.dataset.merge import FILE_NAME

# What flac leaves of music; a disk that turns out too small all the same is noticed while writing.
_FLAC_SHARE: Final = 0.6
_HEADER_BYTES: Final = 80
_SIDECAR_BYTES: Final = 1024
_EXACT_SUFFIXES: Final = frozenset({".wav", ".flac"})


@dataclass(frozen=True, slots=True)
class Estimate:
    """What slicing would write, by the headers alone."""

    slices: int
    seconds: float
    bytes: int
    """About: what flac leaves depends on the music."""
    songs: int
    """Songs with at least one slice."""


def estimate(songs: tuple[Song, ...], wish: Wish) -> Estimate:
    """Count slices and bytes without decoding anything: starts move, but hardly ever does their number change."""
    count, seconds, size, sliced = 0, 0.0, 0.0, 0
    for song in songs:
        rate = wish.rate or song.sample_rate
        try:
            cuts = slices.grid_of(song, wish)
        except UsageError:
            continue
        frames = round(song.duration * rate)
        pieces = slicer.count(frames, cuts)
        held = pieces * min(cuts.length, frames)
        wide = wish.format == "wav24" or (wish.format != "wav16" and not _is_16_bit(song))
        raw = held * song.channels * (3 if wide else 2)
        count += pieces
        seconds += held / rate
        sliced += pieces > 0
        size += raw * (_FLAC_SHARE if wish.format == "flac" else 1)
        size += (_HEADER_BYTES + _SIDECAR_BYTES) * pieces
    return Estimate(count, seconds, round(size), sliced)


def _is_16_bit(song: Song) -> bool:
    """Whether the size of a song says that its samples have 16 bits or less; lossy songs are stored with 24."""
    samples = song.duration * song.sample_rate * song.channels
    return song.audio.suffix.lower() in _EXACT_SUFFIXES and song.size < 2.2 * samples


@dataclass(slots=True)
class Outcome:
    """What was planned and done so far."""

    wish: Wish
    jobs: dict[str, Job] = field(default_factory=dict)
    """Songs with slices, by name."""
    skipped: list[tuple[str, str]] = field(default_factory=list)
    """Paths or names, and why they were left out, or not sliced to their end."""
    rows: list[tuple[Job, str, Slice, Written | None]] = field(default_factory=list)
    """Slices: of which song, file, which part of it, and what was written."""
    left_over: float = 0.0
    """Seconds at the ends of songs that no slice holds."""

    def add(self, job: Job, file: str, piece: Slice, written: Written | None) -> None:
        """Count a slice."""
        self.rows.append((job, file, piece, written))

    @property
    def seconds(self) -> float:
        """Length of all slices together."""
        return sum(piece.length / job.rate for job, _, piece, _ in self.rows)

    @property
    def were_there(self) -> int:
        """Slices that a resumed slicing found done."""
        return sum(written.was_there for *_, written in self.rows if written)

    def notes(self) -> list[str]:
        """Sentences about everything that a person may not expect."""
        jobs = list(self.jobs.values())
        songs = [job.song for job in jobs]
        pieces = [piece for _, _, piece, _ in self.rows]
        sung = [song for song in songs if song.lyrics and not song.instrumental and not self.wish.keep_lyrics]
        rough = [piece for piece in pieces if not piece.crosses]
        tails = [piece for piece in pieces if piece.is_tail]
        resampled = [job for job in jobs if job.resampled]
        inexact = [job for job in jobs if not job.is_exact and not job.resampled]
        clipped = sum(written.clipped for *_, written in self.rows if written)
        beatless = [job.song for job in jobs if self.wish.bars and not job.on_bars]
        silent = [song for song in songs if song.origins.get("caption") == FILE_NAME]
        remarks: list[tuple[list[Any] | float | int, str]] = [
            (
                sung,
                f"The lyrics of {_named(sung)} were left out: the lines of a whole song do not fit a slice "
                "(--keep-lyrics writes them all the same).",
            ),
            (
                resampled,
                f"{_named([job.song for job in resampled])}: resampled to {self.wish.rate} Hz and rounded to "
                f"{_bits(resampled)} bits; cuts were sought in the resampled sound.",
            ),
            (
                inexact,
                f"{_named([job.song for job in inexact])}: no whole numbers to copy (lossy, floating-point, or more "
                f"bits than slices have); samples were rounded to {_bits(inexact)} bits.",
            ),
            (clipped, f"{text.plural(clipped, 'sample')} beyond full scale had to be clipped."),
            (beatless, f"No BPM is known for {_named(beatless)}: cut without bars."),
            (silent, f"No caption is known for {_named(silent)}; the slices have none either."),
            (rough, _rough(rough)),
            (
                tails,
                f"{text.plural(len(tails), 'slice')} made of a tail: of full length, ending with the song, "
                "and so sharing more than the overlap with the slice before.",
            ),
            (self.left_over, f"{self.left_over:.1f} s at the ends of songs are in no slice (--tail keep takes them)."),
            (self.were_there, f"{text.plural(self.were_there, 'identical slice')} there already, left alone."),
        ]
        return [sentence for there, sentence in remarks if there]


def _rough(pieces: list[Slice]) -> str:
    """How many cuts found no common zero, and how loud the loudest of them is."""
    loudest = max((piece.level or 0.0 for piece in pieces), default=0.0)
    count = text.plural(len(pieces), "cut")
    return (
        f"{count} where the channels never cross zero together within the search window: made at the quietest sample, "
        f"at most {loudest:.4f} of full scale. Widen the window, or look for a DC offset."
    )


def _bits(jobs: list[Job]) -> str:
    return text.listing(sorted({str(job.bits) for job in jobs}))


def _named(songs: list[Song]) -> str:
    """A few names, or how many there are."""
    return text.listing([song.name for song in songs], most=3)


Report = Callable[[int, int], None]
"""Called with the blocks of sound that were looked at, and how many there are in all, about."""


def ticks(songs: Iterable[Song], report: Report | None) -> Tick:
    """What to call for each block of sound, so that `report` hears how far all these songs are."""
    total = sum(slices_sound.block_count(song.duration, song.sample_rate) for song in songs)
    done = 0

    def tick() -> None:
        nonlocal done
        done = min(done + 1, total)
        if report is not None:
            report(done, total)

    return tick


def prepare(found: Manifest, wish: Wish, report: Report | None = None) -> Outcome:
    """Find all cuts before anything is written; songs without any are named. `DataError` where none has any."""
    outcome = Outcome(wish, skipped=[(item.path.as_posix(), item.reason) for item in found.skipped])
    tick = ticks(found.songs, report)
    for song in found.songs:
        try:
            job = slices.prepare(song, wish, tick)
        except (DataError, UsageError) as error:  # the latter: its bars are too long
            outcome.skipped.append((song.name, " ".join(filter(None, (error.title, error.message)))))
            continue
        if job.plan.slices:
            outcome.jobs[song.name] = job
            outcome.left_over += job.plan.left_over / job.rate
        else:
            length = f"{job.plan.left_over / job.rate:.1f} s"
            outcome.skipped.append(
                (song.name, f"is shorter than a slice ({length}); keeping tails (--tail keep) takes it whole.")
            )
    if not outcome.jobs:
        raise DataError(
            "There is nothing to slice.",
            text.listing([f"{name}: {reason}" for name, reason in outcome.skipped], most=3),
            "Make the slices shorter (--seconds), or keep what is shorter whole (--tail keep).",
        )
    return outcome


def write(
    outcome: Outcome, destination: Path, *, resume: bool, report: Report | None = None
) -> Iterator[tuple[Job, Written]]:
    """Write all slices; a song that broke since it was looked at is named like the others."""
    jobs = list(outcome.jobs.values())
    tick = ticks([job.song for job in jobs], report)
    for job in jobs:
        try:
            for written in slices.write(
                job, destination, keep_lyrics=outcome.wish.keep_lyrics, resume=resume, tick=tick
            ):
                outcome.add(job, written.file, written.piece, written)
                yield job, written
        except slices_sound.DamagedSongError as error:
            outcome.skipped.append((job.song.name, f"{error.title} {error.message}"))


def check_room(destination: Path, outcome: Outcome) -> None:
    """Refuse before anything is written when the disk cannot hold what is missing."""
    needed = 0.0
    for job in outcome.jobs.values():
        share = _FLAC_SHARE if job.container == "FLAC" else 1
        for file, piece in zip(job.files, job.plan.slices, strict=True):
            if not (destination / file).exists():
                needed += piece.length * job.song.channels * job.bits / 8 * share + _HEADER_BYTES + _SIDECAR_BYTES
    place = destination
    while not place.exists() and place != place.parent:
        place = place.parent
    free = shutil.disk_usage(place).free
    if needed > free:
        raise DiskFullError(
            "There is too little room for the slices.",
            f"They need {text.file_size(needed)}; {printable(str(place))} has {text.file_size(free)} left.",
            "Free some space, slice into a folder on another disk, or store flac or 16 bits.",
        )


def done_before(destination: Path, outcome: Outcome) -> tuple[int, int] | None:
    """How many of the slices lie there from the same slicing, and of how many; None where anything else is in the way.

    What says so is the file beside each slice: the same source, the same start, the same length.
    """
    there, total = 0, 0
    for job in outcome.jobs.values():
        for file, piece in zip(job.files, job.plan.slices, strict=True):
            total += 1
            path = destination / file
            words = slices.sidecar_path(path)
            if not any(item.exists() or item.is_symlink() for item in (path, words)):
                continue
            try:
                same = json.loads(words.read_text(encoding="utf-8")) == slices.sidecar(
                    job, piece, keep_lyrics=outcome.wish.keep_lyrics
                )
            except (OSError, ValueError):
                return None
            if not same:
                return None
            there += path.is_file()
    return there, total
