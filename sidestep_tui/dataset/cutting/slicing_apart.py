"""What the slicer's screen asks of a child process: outlines, plans, and the slicing itself. See `apart`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from sidestep_tui.core import paths
from sidestep_tui.dataset import manifest as manifests
from sidestep_tui.dataset.cutting import slices, slicing, waveform
from sidestep_tui.dataset.cutting.slices import Job, Wish
from sidestep_tui.dataset.cutting.slicing import Outcome
from sidestep_tui.dataset.manifest import Song

Parameters = dict[str, Any]
Report = Callable[[str, int, int], None]
DONE: Final = "done"
STOPPED: Final = "stopped"
IN_THE_WAY: Final = "in the way"


class _Stop(Exception):
    """The file that asks to stop has appeared."""


def peaks(given: Parameters, report: Report) -> Any:
    """The outline of the song at `audio`."""
    found = waveform.peaks(Path(given["audio"]), report=lambda done, total: report("outline", done, total))
    return found.to_dict()


def plan(given: Parameters, report: Report) -> Any:
    """Where the song `song` would be cut by the wish `wish`."""
    song = Song(**{**given["song"], "audio": Path(given["song"]["audio"])})
    wish = Wish.from_dict(given["wish"])
    job = slices.prepare(song, wish, slicing.ticks([song], lambda done, total: report("cuts", done, total)))
    return plan_fields(job, slices.bar_of(song, wish))


def plan_fields(job: Job, bar: float | None) -> dict[str, Any]:
    """A plan as plain values; moments and lengths in seconds."""
    pieces = [
        {
            "start": piece.start / job.rate,
            "end": piece.end / job.rate,
            "moved_ms": 1000 * piece.moved / job.rate,
            "level": piece.level,
            "crosses": piece.crosses,
            "is_tail": piece.is_tail,
        }
        for piece in job.plan.slices
    ]
    return {
        "rate": job.rate,
        "bits": job.bits,
        "container": job.container,
        "is_exact": job.is_exact,
        "samples": job.grid.length,
        "hop": job.grid.hop / job.rate,
        "bar": bar,
        "slices": pieces,
        "left_over": job.plan.left_over / job.rate,
    }


def slice_songs(given: Parameters, report: Report) -> Any:
    """Slice the songs of `root` into `destination`; stops in good order once there is a file at `stop`.

    The result says how it ended: done, stopped, or with something in the way, and whether that is our own work.
    """
    stop = Path(given["stop"])
    wish = Wish.from_dict(given["wish"])
    folder = manifests.dataset_folder(given["root"])
    place = paths.expand(given["destination"]).absolute()
    slices.check_places(folder, place)
    found = manifests.scan(folder, given["txt_role"], given["language"])

    def say(doing: str) -> Callable[[int, int], None]:
        def tick(done: int, total: int) -> None:
            if stop.exists():
                raise _Stop
            report(doing, done, total)

        return tick

    outcome = Outcome(wish)
    try:
        outcome = slicing.prepare(found, wish, say("cuts"))
        jobs = list(outcome.jobs.values())
        if not given["resume"]:
            before = slicing.done_before(place, outcome)
            if before is not None and before[0]:
                return {"state": IN_THE_WAY, "there": before[0], "of": before[1]}
            if before is None:
                slices.check_free(place, jobs)
        slicing.check_room(place, outcome)
        for _ in slicing.write(outcome, place, resume=given["resume"], report=say("slices")):
            if stop.exists():
                raise _Stop
    except _Stop:
        return _told(outcome, STOPPED)
    return _told(outcome, DONE)


def _told(outcome: Outcome, state: str) -> dict[str, Any]:
    """What was done, for people."""
    return {
        "state": state,
        "slices": len(outcome.rows),
        "were_there": outcome.were_there,
        "of": sum(len(job.plan.slices) for job in outcome.jobs.values()),
        "songs": len({job.song.name for job, *_ in outcome.rows}),
        "seconds": outcome.seconds,
        "skipped": outcome.skipped,
        "notes": outcome.notes() if outcome.rows else [],
    }
