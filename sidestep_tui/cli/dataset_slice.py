"""`dataset slice`: exact-length pieces of songs, with their captions."""

from __future__ import annotations

import math
import os
import shutil
import sys
from pathlib import Path
from typing import Any, Final, Literal

import click

from sidestep_tui.cli import options, quiet, render
from sidestep_tui.core import env, paths, text
from sidestep_tui.core.errors import UsageError
from sidestep_tui.dataset import manifest as manifests
from sidestep_tui.dataset.cutting import slicer, slices, slicing
from sidestep_tui.dataset.cutting.slicer import Cutting, Slice
from sidestep_tui.dataset.cutting.slices import Job, Wish, Written
from sidestep_tui.dataset.cutting.slicing import Outcome
from sidestep_tui.dataset.manifest import Manifest

_DEFAULT: Final = Cutting()
_LENGTH = click.FloatRange(min=0)
_PREVIEW_ROWS: Final = 6


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
    help="Songs of another sample rate are resampled at very high quality; those of the same are copied bit by bit.",
)
@click.option(
    "--format", "storage", type=click.Choice(["wav16", "wav24", "flac"]), help="Default: wav with the source's bits."
)
@click.option("--keep-lyrics", is_flag=True, help="Give every slice the lyrics of the whole song.")
@click.option("--txt-role", type=click.Choice(["auto", "caption", "lyrics"]), default="auto", show_default=True)
@click.option("--resume", is_flag=True, help="Go on with a slicing that was interrupted: leave identical files be.")
@click.option("--dry-run", is_flag=True, help="Find the cuts and write nothing.")
@click.option(
    "--preview", is_flag=True, help="Draw each song with its cuts, in plain signs where there is no terminal."
)
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
    preview: bool,
    as_json: bool,
) -> None:
    """Cut the songs of SRC into slices of equal length in DEST.

    Samples are copied as they are: no fades, no gain. Cuts lie where all channels cross zero together. Each slice gets
    a .json file with the caption, tempo, key and so on of its song. SRC is only read.
    """
    if bpm is not None and not bars:
        raise UsageError("--bpm is for --bars.", "Without bars nothing depends on the tempo.", "Add --bars.")
    wish = Wish(
        Cutting(seconds, overlap, window_ms, tail, min_tail),
        bars=bars,
        bpm=bpm,
        format=storage,
        rate=None if rate == "source" else int(rate),
        keep_lyrics=keep_lyrics,
    )
    slicer.grid(wish.cutting, wish.rate or 48000)
    folder = manifests.dataset_folder(source)
    place = paths.expand(destination).absolute()
    slices.check_places(folder, place)
    with quiet.native_stderr():
        found = manifests.scan(folder, txt_role)
    outcome = _prepare(found, wish)
    jobs = list(outcome.jobs.values())
    if not resume:
        slices.check_free(place, jobs)
    if preview and not as_json:
        for job in jobs:
            _draw(job)
    if dry_run:
        for job in jobs:
            for file, piece in zip(job.files, job.plan.slices, strict=True):
                outcome.add(job, file, piece, None)
    else:
        slicing.check_room(place, outcome)
        _write(outcome, place, resume=resume)
    _Report(found, place, outcome, dry_run=dry_run).show(as_json=as_json)


def _prepare(found: Manifest, wish: Wish) -> Outcome:
    """Find all cuts before anything is written; how far that is goes to the terminal past the silence."""
    if not sys.stderr.isatty():
        with quiet.native_stderr():
            return slicing.prepare(found, wish)
    with os.fdopen(os.dup(2), "w") as terminal:

        def show(done: int, total: int) -> None:
            terminal.write(f"\r\x1b[KLooking for cuts: {100 * done // total} %")
            terminal.flush()

        try:
            with quiet.native_stderr():
                return slicing.prepare(found, wish, show)
        finally:
            terminal.write("\r\x1b[K")


def _write(outcome: Outcome, place: Path, *, resume: bool) -> None:
    """Write all slices, a line for each song."""
    number = 0
    writing = slicing.write(outcome, place, resume=resume)
    while True:
        with quiet.native_stderr():
            step = next(writing, None)
        if step is None:
            return
        job, written = step
        if written.file == job.files[-1]:
            number += 1
            render.say(f"[{number}/{len(outcome.jobs)}] {job.song.name}: {text.plural(len(job.files), 'slice')}")


def _draw(job: Job) -> None:
    """The outline of a song with its cuts; plain signs for pipes and for screen readers."""
    # Deferred: drawing is only for previews.
    from sidestep_tui.dataset.cutting import waveform
    from sidestep_tui.ui.widgets import envelope

    with quiet.native_stderr():
        found = waveform.peaks(job.song.audio)
    plain = env.terminal_facts().ascii_only or not sys.stdout.isatty()
    pieces = [envelope.Piece(piece.start / job.rate, piece.end / job.rate, piece.is_tail) for piece in job.plan.slices]
    window = envelope.Window(0.0, found.seconds, min(shutil.get_terminal_size((80, 24)).columns, 120))
    over = job.plan.left_over / job.rate
    rest = f", {over:.1f} s left over" if over else ""
    render.data(f"{job.song.name}: {text.plural(len(pieces), 'slice')} of {text.duration(found.seconds)}{rest}")
    rows = envelope.outline(
        found.low, found.high, found.seconds, pieces, window, _PREVIEW_ROWS, ascii_only=plain
    ) + envelope.brackets(pieces, found.seconds, window, ascii_only=plain)
    for spans in [*rows, envelope.ruler(window)]:
        render.data("".join(part for part, _ in spans).rstrip())
    render.data("")


class _Report:
    """What was done, for people and for scripts."""

    def __init__(self, found: Manifest, place: Path, outcome: Outcome, *, dry_run: bool) -> None:
        self.found, self.place, self.outcome, self.dry_run = found, place, outcome, dry_run
        self.rows = [_fields(*row) for row in outcome.rows]

    def show(self, *, as_json: bool) -> None:
        """Slices to standard output, remarks to standard error."""
        if as_json:
            render.data_json(
                {
                    "source": str(self.found.root),
                    "destination": str(self.place),
                    "dry_run": self.dry_run,
                    "slices": self.rows,
                    "left_over_seconds": self.outcome.left_over,
                    "skipped": [{"path": name, "reason": reason} for name, reason in self.outcome.skipped],
                    "notes": self.outcome.notes(),
                }
            )
            return
        table = [
            [row["file"], f"{row['start']:.3f}", f"{row['seconds']:.3f}", _level(row["peak"]), _cut(row["cut"])]
            for row in self.rows
        ]
        for line in render.table(table, ("SLICE", "START", "SECONDS", "PEAK", "CUT"), right=(1, 2, 3)):
            render.data(line)
        for name, reason in self.outcome.skipped:
            render.say(f"{click.style('Skipped:', fg='yellow')} {name}: {reason}")
        for note in self.outcome.notes():
            render.say(f"{click.style('Note:', fg='yellow')} {note}")
        render.say(self.summary())

    def summary(self) -> str:
        """What there is now."""
        count = text.plural(len(self.rows), "slice")
        songs = text.plural(len({job.song.name for job, *_ in self.outcome.rows}), "song")
        verb = "would be written" if self.dry_run else "in"
        where = "" if self.dry_run else f" {paths.shorten(self.place)}"
        return f"{count} of {songs} {verb}{where}, {text.duration(self.outcome.seconds)} together."


def _fields(job: Job, file: str, piece: Slice, written: Written | None) -> dict[str, Any]:
    """A slice as plain values."""
    return {
        "file": file,
        "song": job.song.name,
        "start": piece.start / job.rate,
        "start_sample": piece.start,
        "seconds": piece.length / job.rate,
        "samples": piece.length,
        "sample_rate": job.rate,
        "resampled": job.resampled,
        "peak": None if written is None else written.peak,
        "cut": {
            "moved_ms": 1000 * piece.moved / job.rate,
            "level": piece.level,
            "every_channel_crosses": piece.crosses,
        },
        "tail": piece.is_tail,
        "already_there": written is not None and written.was_there,
    }


def _level(value: float | None) -> str:
    """A sample value in decibels of full scale."""
    if value is None:
        return "–"
    return f"{20 * math.log10(value):.1f} dBFS" if value > 0 else "silent"


def _cut(cut: dict[str, Any]) -> str:
    """How far a cut was moved, and how loud it is there."""
    rough = "" if cut["every_channel_crosses"] else ", no crossing"
    return f"{cut['moved_ms']:+.1f} ms, {_level(cut['level'])}{rough}"
