"""`dataset slice`: exact-length pieces of songs, with their captions."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any, Final, Literal

import click

from sidestep_tui.cli import options, quiet, render
from sidestep_tui.core import paths, text
from sidestep_tui.core.errors import DataError, UsageError
from sidestep_tui.dataset import manifest as manifests
from sidestep_tui.dataset import slicer, slices
from sidestep_tui.dataset.manifest import Manifest, Song
from sidestep_tui.dataset.merge import FILE_NAME
from sidestep_tui.dataset.slicer import Cutting, Slice
from sidestep_tui.dataset.slices import Job, Wish, Written

_DEFAULT: Final = Cutting()
_LENGTH = click.FloatRange(min=0)


@click.command("slice")
@click.argument("source", metavar="SRC", type=click.Path(path_type=Path))
@click.argument("destination", metavar="DEST", type=click.Path(path_type=Path))
@click.option("--seconds", type=_LENGTH, default=_DEFAULT.seconds, show_default=True, help="Length of every slice.")
@click.option(
    "--overlap", type=_LENGTH, default=_DEFAULT.overlap, show_default=True, help="Seconds shared with the next slice."
)
@click.option(
    "--window-ms",
    type=_LENGTH,
    default=_DEFAULT.window_ms,
    show_default=True,
    help="How far a cut may move to where all channels cross zero.",
)
@click.option(
    "--tail",
    type=click.Choice(["drop", "keep"]),
    default=_DEFAULT.tail,
    show_default=True,
    help="What becomes of a tail shorter than --min-tail, and of a song shorter than a slice.",
)
@click.option(
    "--min-tail",
    type=_LENGTH,
    default=_DEFAULT.min_tail,
    show_default=True,
    help="A tail of so many seconds is always kept, as a slice that ends with the song.",
)
@click.option("--bars", is_flag=True, help="Start slices on bars, counted from the first sample of the song.")
@click.option("--bpm", type=click.FloatRange(30, 300), help="For --bars: the tempo of all songs, instead of their own.")
@click.option(
    "--rate",
    type=click.Choice(["source", "44100", "48000"]),
    default="source",
    show_default=True,
    help="Songs of another sample rate are refused, not resampled.",
)
@click.option(
    "--format", "storage", type=click.Choice(["wav16", "wav24", "flac"]), help="Default: wav with the source's bits."
)
@click.option("--keep-lyrics", is_flag=True, help="Give every slice the lyrics of the whole song.")
@click.option("--txt-role", type=click.Choice(["auto", "caption", "lyrics"]), default="auto", show_default=True)
@click.option("--resume", is_flag=True, help="Go on with a slicing that was interrupted: leave identical files be.")
@click.option("--dry-run", is_flag=True, help="Find the cuts and write nothing.")
@options.json_option
def slice_songs(
    source: Path,
    destination: Path,
    *,
    seconds: float,
    overlap: float,
    window_ms: float,
    tail: Literal["drop", "keep"],
    min_tail: float,
    bars: bool,
    bpm: float | None,
    rate: str,
    storage: Any,
    keep_lyrics: bool,
    txt_role: Any,
    resume: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Cut the songs of SRC into slices of equal length in DEST.

    Samples are copied as they are: no fades, no gain. Each slice gets a .json file with the caption, tempo, key and so
    on of its song. SRC is only read.
    """
    if bpm is not None and not bars:
        raise UsageError("--bpm is for --bars.", "Without bars nothing depends on the tempo.", "Add --bars.")
    wish = Wish(Cutting(seconds, overlap, window_ms, tail, min_tail), bars, bpm, storage, keep_lyrics)
    slicer.grid(wish.cutting, 48000)
    folder = manifests.dataset_folder(source)
    place = paths.expand(destination).absolute()
    slices.check_places(folder, place)
    with quiet.native_stderr():
        found = manifests.scan(folder, txt_role)
    if rate != "source":
        _refuse_other_rates(found, int(rate))
    report = _Report(found, place, wish, dry_run=dry_run)
    jobs = _prepare(found, wish, report)
    if not resume:
        slices.check_free(place, jobs)
    for number, job in enumerate(jobs, 1):
        if dry_run:
            for file, piece in zip(job.files, job.plan.slices, strict=True):
                report.add(job, file, piece, None)
        else:
            _write(job, place, report, resume=resume)
            pieces = text.plural(len(job.files), "slice")
            render.say(f"[{number}/{len(jobs)}] {job.song.name}: {pieces}")
    report.show(as_json=as_json)


def _prepare(found: Manifest, wish: Wish, report: _Report) -> list[Job]:
    """Find all cuts before anything is written; songs without any are named."""
    jobs = []
    for number, song in enumerate(found.songs, 1):
        _progress(f"Looking for cuts: {number} of {len(found.songs)}")
        try:
            with quiet.native_stderr():
                job = slices.prepare(song, wish)
        except (DataError, UsageError) as error:  # the latter: its bars are too long
            report.skip(song.name, " ".join(filter(None, (error.title, error.message))))
            continue
        if job.plan.slices:
            jobs.append(job)
            report.left_over += job.plan.left_over / job.rate
        else:
            length = f"{job.plan.left_over / job.rate:.1f} s"
            report.skip(song.name, f"is shorter than a slice ({length}); --tail keep takes it whole.")
    _progress("")
    if not jobs:
        raise DataError(
            "There is nothing to slice.",
            text.listing([f"{item['path']}: {item['reason']}" for item in report.skipped], most=3),
            "Make --seconds shorter, or use --tail keep.",
        )
    return jobs


def _write(job: Job, place: Path, report: _Report, *, resume: bool) -> None:
    """Write the slices of one song; one that broke since it was looked at is named like the others."""
    try:
        with quiet.native_stderr():
            for written in slices.write(job, place, keep_lyrics=report.wish.keep_lyrics, resume=resume):
                report.add(job, written.file, written.piece, written)
    except slices.DamagedSongError as error:
        report.skip(job.song.name, f"{error.title} {error.message}")


def _refuse_other_rates(found: Manifest, rate: int) -> None:
    others = [f"{song.name} ({song.sample_rate} Hz)" for song in found.songs if song.sample_rate != rate]
    if others:
        verb = "is" if len(others) == 1 else "are"
        raise DataError(
            f"{text.plural(len(others), 'song')} {verb} not at {rate} Hz.",
            f"{text.listing(others)}: slices hold the samples of the source, which resampling would change.",
            "Use --rate source; songs are brought to the model's 48000 Hz when they are encoded.",
        )


class _Report:
    """What was done, for people and for scripts."""

    def __init__(self, found: Manifest, place: Path, wish: Wish, *, dry_run: bool) -> None:
        self.found, self.place, self.wish, self.dry_run = found, place, wish, dry_run
        self.rows: list[dict[str, Any]] = []
        self.jobs: dict[str, Job] = {}
        self.skipped = [{"path": item.path.as_posix(), "reason": item.reason} for item in found.skipped]
        self.left_over = 0.0
        self.clipped = 0
        self.were_there = 0

    def skip(self, name: str, reason: str) -> None:
        """Name a song that was not sliced, or not to its end."""
        self.skipped.append({"path": name, "reason": reason})

    def add(self, job: Job, file: str, piece: Slice, written: Written | None) -> None:
        """Count a slice."""
        self.jobs[job.song.name] = job
        if written is not None:
            self.clipped += written.clipped
            self.were_there += written.was_there
        self.rows.append(
            {
                "file": file,
                "song": job.song.name,
                "start": piece.start / job.rate,
                "start_sample": piece.start,
                "seconds": piece.length / job.rate,
                "samples": piece.length,
                "sample_rate": job.rate,
                "peak": None if written is None else written.peak,
                "cut": {
                    "moved_ms": 1000 * piece.moved / job.rate,
                    "level": piece.level,
                    "every_channel_crosses": piece.crosses,
                },
                "tail": piece.is_tail,
                "already_there": written is not None and written.was_there,
            }
        )

    def show(self, *, as_json: bool) -> None:
        """Slices to standard output, remarks to standard error."""
        if as_json:
            render.data_json(
                {
                    "source": str(self.found.root),
                    "destination": str(self.place),
                    "dry_run": self.dry_run,
                    "slices": self.rows,
                    "left_over_seconds": self.left_over,
                    "skipped": self.skipped,
                    "notes": self.notes(),
                }
            )
            return
        table = [
            [row["file"], f"{row['start']:.3f}", f"{row['seconds']:.3f}", _level(row["peak"]), _cut(row["cut"])]
            for row in self.rows
        ]
        for line in render.table(table, ("SLICE", "START", "SECONDS", "PEAK", "CUT"), right=(1, 2, 3)):
            render.data(line)
        for item in self.skipped:
            render.say(f"{click.style('Skipped:', fg='yellow')} {item['path']}: {item['reason']}")
        for note in self.notes():
            render.say(f"{click.style('Note:', fg='yellow')} {note}")
        render.say(self.summary())

    def summary(self) -> str:
        """What there is now."""
        count = text.plural(len(self.rows), "slice")
        seconds = sum(row["seconds"] for row in self.rows)
        songs = text.plural(len(self.jobs), "song")
        verb = "would be written" if self.dry_run else "in"
        where = "" if self.dry_run else f" {paths.shorten(self.place)}"
        return f"{count} of {songs} {verb}{where}, {text.duration(seconds)} together."

    def notes(self) -> list[str]:
        """Sentences about everything that a person may not expect."""
        jobs = list(self.jobs.values())
        songs = [job.song for job in jobs]
        sung = [song for song in songs if song.lyrics and not song.instrumental and not self.wish.keep_lyrics]
        rough = [row for row in self.rows if not row["cut"]["every_channel_crosses"]]
        tails = [row for row in self.rows if row["tail"]]
        remarks: list[tuple[list[Any] | float | int, str]] = [
            (
                sung,
                f"The lyrics of {_named(sung)} were left out: the lines of a whole song do not fit a slice "
                "(--keep-lyrics writes them all the same).",
            ),
            (
                inexact := [job.song for job in jobs if not job.is_exact],
                f"{_named(inexact)}: no whole numbers to copy (lossy, floating-point, or more bits than slices have); "
                f"samples were rounded to {self._bits(jobs)} bits.",
            ),
            (self.clipped, f"{text.plural(self.clipped, 'sample')} beyond full scale had to be clipped."),
            (
                beatless := [job.song for job in jobs if self.wish.bars and not job.on_bars],
                f"No BPM is known for {_named(beatless)}: cut without bars.",
            ),
            (
                silent := [song for song in songs if song.origins.get("caption") == FILE_NAME],
                f"No caption is known for {_named(silent)}; the slices have none either.",
            ),
            (
                rough,
                f"{text.plural(len(rough), 'cut')} where some channel never crosses zero nearby: look for a DC offset.",
            ),
            (
                tails,
                f"{text.plural(len(tails), 'slice')} made of a tail: of full length, ending with the song, "
                "and so sharing more than the overlap with the slice before.",
            ),
            (self.left_over, f"{self.left_over:.1f} s at the ends of songs are in no slice (--tail keep takes them)."),
            (self.were_there, f"{text.plural(self.were_there, 'identical slice')} there already, left alone."),
        ]
        return [sentence for there, sentence in remarks if there]

    @staticmethod
    def _bits(jobs: list[Job]) -> str:
        return text.listing(sorted({job.subtype.removeprefix("PCM_") for job in jobs if not job.is_exact}))


def _named(songs: list[Song]) -> str:
    """A few names, or how many there are."""
    return text.listing([song.name for song in songs], most=3)


def _level(value: float | None) -> str:
    """A sample value in decibels of full scale."""
    if value is None:
        return "–"
    return f"{20 * math.log10(value):.1f} dBFS" if value > 0 else "silent"


def _cut(cut: dict[str, Any]) -> str:
    """How far a cut was moved, and how loud it is there."""
    rough = "" if cut["every_channel_crosses"] else ", no crossing"
    return f"{cut['moved_ms']:+.1f} ms, {_level(cut['level'])}{rough}"


def _progress(line: str) -> None:
    """A line that the next one replaces; only for people."""
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[K{line}", nl=False, err=True)
