"""`dataset measure`: tempo and key by the sound, beside what is said; written only on request."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, cast

import click

from sidestep_tui.cli import options, quiet, render
from sidestep_tui.core import text
from sidestep_tui.core.errors import ExitCode, UsageError
from sidestep_tui.dataset import apart, archives, reading
from sidestep_tui.dataset import manifest as manifests
from sidestep_tui.dataset.editing.edit_plan import SavePlan, SaveReport
from sidestep_tui.dataset.editing.edits import EditSession
from sidestep_tui.dataset.manifest import Manifest, Song
from sidestep_tui.dataset.measuring import measure, measure_apart
from sidestep_tui.dataset.measuring.measure import Measured

_FIELDS: Final = ("bpm", "key")
_COLUMNS: Final = 76
"""Of the table beside the names."""
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@click.command("measure")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("songs", metavar="[SONG]...", nargs=-1)
@click.option("--missing", is_flag=True, help="Only songs that lack a tempo or a key.")
@click.option("--accept", metavar="FIELDS", help="Write what was measured into the sidecars: bpm, key, or bpm,key.")
@click.option(
    "--min-confidence",
    type=click.FloatRange(0, 1),
    default=0.8,
    show_default=True,
    help="What is less certain is not accepted.",
)
@click.option("--overwrite", is_flag=True, help="Accept also where the sidecar says something else.")
@click.option("--dry-run", is_flag=True, help="With --accept: show what would be written; write nothing.")
@click.option("--txt-role", type=click.Choice(["auto", "caption", "lyrics"]), default="auto", show_default=True)
@options.json_option
def measure_songs(
    directory: Path,
    songs: tuple[str, ...],
    missing: bool,
    accept: str | None,
    min_confidence: float,
    overwrite: bool,
    dry_run: bool,
    txt_role: Any,
    as_json: bool,
) -> int:
    """Estimate tempo and key of the songs in DIR (or of each SONG) by their sound, beside what their sidecars say.

    Confidence goes from 0 to 1. That of a tempo is high where the pulse is clear and steady and only one octave of it
    makes sense; OR is the next best. That of a key is high where it leads clearly through the whole song. Nothing is
    written without --accept, which fills in what is missing; what is replaced stays beside it as .bak.

    \b
    sidestep-tui dataset measure songs
    sidestep-tui dataset measure songs --missing --accept bpm,key --dry-run

    Exit code: 4 when something could not be saved.
    """
    fields = _accepted(accept)
    with quiet.native_stderr():
        found = manifests.scan(directory, txt_role)
    if fields and not dry_run:
        archives.refuse_edits(found.root)
    chosen = [song for song in reading.chosen(found, songs) if not missing or song.bpm is None or not song.keyscale]
    measured = _measure(found, chosen)
    session = EditSession(found, txt_role=txt_role)
    _set(session, chosen, measured, fields, min_confidence, overwrite=overwrite)
    plan = session.plan()
    report = session.save() if fields and not dry_run else SaveReport(notes=plan.notes)
    problems = report.problems or tuple(item.reason for item in plan.problems)
    if as_json:
        render.data_json(_plain_values(found, chosen, measured, plan, report, problems))
    else:
        for line in _table(chosen, measured):
            render.data(line)
        _talk(chosen, measured, plan, report, problems, wants_writing=bool(fields), dry_run=dry_run)
    return int(ExitCode.REFUSED if problems else ExitCode.DONE)


def _accepted(accept: str | None) -> tuple[str, ...]:
    fields = tuple(part.strip() for part in (accept or "").split(",") if part.strip())
    for field in fields:
        if field not in _FIELDS:
            raise UsageError(f"--accept does not know '{field}'.", hint="Give bpm, key, or bpm,key.")
    if accept is not None and not fields:
        raise UsageError("--accept names no field.", hint="Give bpm, key, or bpm,key.")
    return fields


def _measure(found: Manifest, songs: list[Song]) -> dict[str, Measured]:
    """Measured in child processes, so that Ctrl-C ends it at once and a broken decoder breaks nothing here."""
    if not songs:
        return {}
    given = {"manifest": found.to_dict(), "names": [song.name for song in songs]}
    try:
        plain = apart.call(measure_apart.TASK, given, _progress(), quiet_seconds=measure_apart.QUIET_SECONDS)
    finally:
        _say_progress("")
    return {item["name"]: Measured(**item) for item in cast(list[dict[str, Any]], plain)}


def _progress() -> Callable[[str, int, int], None]:
    def say(doing: str, done: int, total: int) -> None:
        if doing == measure_apart.STARTING:
            _say_progress("Getting ready to listen; the first time takes up to a minute")
        else:
            _say_progress(f"Measured {done:,} of {text.plural(total, 'song')}")

    return say


def _say_progress(line: str) -> None:
    """A line that the next one replaces; only for people."""
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[K{line}", nl=False, err=True)


def _set(
    session: EditSession,
    songs: list[Song],
    measured: dict[str, Measured],
    fields: tuple[str, ...],
    least: float,
    *,
    overwrite: bool,
) -> None:
    """Make what is accepted pending: certain enough, and not there yet (or to be replaced)."""
    for song in songs:
        found = measured[song.name]
        if "bpm" in fields and found.bpm is not None and found.bpm_confidence >= least:
            if song.bpm is None or (overwrite and measure.compare_bpm(song.bpm, found.bpm) != "same"):
                session.set([song.name], "bpm", str(found.bpm))
        if "key" in fields and found.key and found.key_confidence >= least:
            if not song.keyscale or (overwrite and measure.compare_key(song.keyscale, found.key) != "same"):
                session.set([song.name], "keyscale", found.key)


def _table(songs: list[Song], measured: dict[str, Measured]) -> list[str]:
    width = max(16, shutil.get_terminal_size((80, 24)).columns - _COLUMNS)
    rows = []
    for song in songs:
        found = measured[song.name]
        rows.append(
            [
                _short(song.name, width),
                str(song.bpm or "–"),
                f"{found.bpm_exact:.1f}" if found.bpm_exact is not None else "–",
                f"{found.bpm_confidence:.2f}" if found.bpm is not None else "–",
                str(found.bpm_other or "–"),
                measure.compare_bpm(song.bpm, found.bpm) or "–",
                song.keyscale or "–",
                found.key or "–",
                f"{found.key_confidence:.2f}" if found.key else "–",
                found.key_other or "–",
                measure.compare_key(song.keyscale, found.key) or "–",
            ]
        )
    headers = ("SONG", "BPM", "HEARD", "SURE", "OR", "AGREE", "KEY", "HEARD", "SURE", "OR", "AGREE")
    return render.table(rows, headers, right=(1, 2, 3, 4, 8))


def _talk(
    songs: list[Song],
    measured: dict[str, Measured],
    plan: SavePlan,
    report: SaveReport,
    problems: tuple[str, ...],
    *,
    wants_writing: bool,
    dry_run: bool,
) -> None:
    for song in songs:
        if measured[song.name].note:
            render.say(f"{_plain(song.name)}: {_plain(measured[song.name].note)}")
    if not songs:
        render.say("No song lacks a tempo or a key.")
    if wants_writing and dry_run:
        for file in plan.files:
            for change in file.changes:
                render.say(f"{_plain(file.origin)}: {change.field} {change.before or '–'} → {change.after}")
        render.say(f"{text.plural(len(plan.files), 'file')} would be written.")
    elif wants_writing:
        for item in report.written:
            kept = f" (was kept as {_plain(item.backup)})" if item.backup else ""
            render.say(f"Wrote {_plain(item.origin)}{kept}.")
        if not report.written:
            render.say("Nothing to write: what is certain enough is there already.")
    for sentence in (*problems, *report.notes):
        render.say(f"{click.style('Warning:', fg='yellow')} {_plain(sentence)}")


def _plain_values(
    found: Manifest,
    songs: list[Song],
    measured: dict[str, Measured],
    plan: SavePlan,
    report: SaveReport,
    problems: tuple[str, ...],
) -> dict[str, Any]:
    return {
        "root": str(found.root),
        "songs": [
            {
                **asdict(measured[song.name]),
                "said": {"bpm": song.bpm, "key": song.keyscale},
                "agrees": {
                    "bpm": measure.compare_bpm(song.bpm, measured[song.name].bpm),
                    "key": measure.compare_key(song.keyscale, measured[song.name].key),
                },
            }
            for song in songs
        ],
        "changes": [asdict(change) for file in plan.files for change in file.changes],
        "written": [asdict(item) for item in report.written],
        "problems": list(problems),
    }


def _plain(words: str) -> str:
    """File names may hold anything; a terminal must not obey them."""
    return _CONTROL.sub("?", words)


def _short(name: str, width: int) -> str:
    name = _plain(name)
    return name if len(name) <= width else f"…{name[len(name) - width + 1 :]}"
