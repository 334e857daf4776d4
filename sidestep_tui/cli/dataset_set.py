"""`dataset set`: the editor for scripts: choose songs, set fields, see or write what changes."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click

from sidestep_tui.cli import options, quiet, render
from sidestep_tui.core import text
from sidestep_tui.core.errors import ExitCode, UsageError
from sidestep_tui.dataset import manifest
from sidestep_tui.dataset.editing import edit_values
from sidestep_tui.dataset.editing.edit_plan import FileChange, SavePlan, SaveReport
from sidestep_tui.dataset.editing.edits import EditSession

_ASSIGNMENT: Final = re.compile(r"([A-Za-z_]+)=(.*)", re.DOTALL)
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_COLOURS: Final = {"-": "red", "+": "green", "@": "cyan"}


@click.command("set")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("words", metavar="[SONG]... [FIELD=VALUE]...", nargs=-1)
@click.option("--all", "wants_all", is_flag=True, help="Every song.")
@click.option(
    "--where",
    metavar="TEST",
    multiple=True,
    help="Songs that pass: missing:FIELD, name:GLOB or reviewed:no. All tests must pass where there are several.",
)
@click.option("--tag", metavar="WORD", default="", help="Put a trigger tag into the captions; never twice.")
@click.option(
    "--tag-position", type=click.Choice(["prepend", "append", "replace"]), default="prepend", show_default=True
)
@click.option("--reviewed/--not-reviewed", default=None, help="Mark that a person has read and corrected the words.")
@click.option("--dry-run", is_flag=True, help="Show what would change in each file; write nothing.")
@click.option("--txt-role", type=click.Choice(["auto", "caption", "lyrics"]), default="auto", show_default=True)
@options.json_option
def set_fields(
    directory: Path,
    words: tuple[str, ...],
    wants_all: bool,
    where: tuple[str, ...],
    tag: str,
    tag_position: Any,
    reviewed: bool | None,
    dry_run: bool,
    txt_role: Any,
    as_json: bool,
) -> int:
    """Set fields of songs in DIR, in the sidecars that it uses; what is replaced stays beside it as .bak.

    Fields: caption, lyrics, bpm, keyscale, timesignature, language, genre, tag, instrumental, repeats. An empty value
    clears the field. SONG is a name as `dataset scan` shows it.

    \b
    sidestep-tui dataset set songs drums bpm=120 keyscale="E minor"
    sidestep-tui dataset set songs --where missing:language language=en
    sidestep-tui dataset set songs --all --tag zyx --dry-run

    Exit code: 4 when something could not be saved.
    """
    with quiet.native_stderr():
        found = manifest.scan(directory, txt_role)
    session = EditSession(found, txt_role=txt_role)
    names, values = _sorted_out(session, words)
    chosen = _chosen(session, names, where, wants_all=wants_all)
    if not values and not tag and reviewed is None:
        raise UsageError("There is nothing to set.", hint="Give FIELD=VALUE, --tag, --reviewed or --not-reviewed.")
    for field, value in values.items():
        session.set(chosen, field, value)
    if tag:
        session.tag(chosen, tag, tag_position)
    if reviewed is not None:
        session.review(chosen, reviewed=reviewed)
    plan = session.plan()
    report = SaveReport(problems=tuple(item.reason for item in plan.problems), notes=plan.notes)
    changes = [asdict(change) for change in session.changes()]
    if not dry_run:
        report = session.save()
    if as_json:
        render.data_json(_fields(chosen, changes, plan, report, dry_run=dry_run))
    elif dry_run:
        for file in plan.files:
            _show_diff(file)
        _show_talk(report, f"{text.plural(len(plan.files), 'file')} would be written.")
    else:
        for item in report.written:
            kept = f" (was kept as {_plain(item.backup)})" if item.backup else ""
            render.say(f"Wrote {_plain(item.origin)}{kept}.")
        _show_talk(report, "" if report.written else "Nothing to change.")
    return int(ExitCode.REFUSED if report.problems else ExitCode.DONE)


def _sorted_out(session: EditSession, words: tuple[str, ...]) -> tuple[list[str], dict[str, str]]:
    """Names of songs, and values by field; a song may have `=` in its name."""
    known = {song.name for song in session.songs}
    names: list[str] = []
    values: dict[str, str] = {}
    for word in words:
        match = _ASSIGNMENT.fullmatch(word)
        if word in known or match is None:
            names.append(session.song(word).name)
        else:
            edit_values.check_field(match.group(1))
            values[match.group(1)] = match.group(2)
    return names, values


def _chosen(session: EditSession, names: list[str], where: tuple[str, ...], *, wants_all: bool) -> list[str]:
    """The songs to edit, in the order of the folder."""
    if not names and not where and not wants_all:
        raise UsageError("No songs are chosen.", hint="Name songs, or give --where TEST or --all.")
    tests = [_test(session, test) for test in where]
    chosen = [
        song.name
        for song in session.songs
        if (song.name in names or not names) and all(passes(song.name) for passes in tests)
    ]
    if not chosen:
        render.say("No song passes the tests.")
    return chosen


def _test(session: EditSession, test: str) -> Callable[[str], bool]:
    kind, _, rest = test.partition(":")
    if kind == "missing":
        edit_values.check_field(rest)
        return lambda name: not session.value(name, rest)
    if kind == "name" and rest:
        return lambda name: fnmatch.fnmatch(name.casefold(), rest.casefold())
    if kind == "reviewed" and rest in ("yes", "no"):
        return lambda name: session.is_reviewed(name) is (rest == "yes")
    raise UsageError(f"--where does not know '{test}'.", hint="missing:FIELD, name:GLOB, reviewed:yes or reviewed:no.")


def _show_diff(file: FileChange) -> None:
    render.data(click.style(f"{_plain(file.origin)}{' (new)' if file.is_new else ''}", bold=True))
    for line in file.diff():
        shown = _plain(line.expandtabs())
        render.data(f"  {click.style(shown, fg=_COLOURS.get(shown[:1]))}")


def _show_talk(report: SaveReport, last: str) -> None:
    for note in report.notes:
        render.say(_plain(note))
    for problem in report.problems:
        render.say(f"{click.style('Not saved:', fg='yellow')} {_plain(problem)}")
    if last:
        render.say(last)


def _fields(
    chosen: list[str], changes: list[dict[str, Any]], plan: SavePlan, report: SaveReport, *, dry_run: bool
) -> dict[str, Any]:
    written = {item.origin: item for item in report.written}
    return {
        "songs": chosen,
        "changes": changes,
        "files": [
            {
                "path": file.origin,
                "new": file.is_new,
                "written": file.origin in written,
                "backup": written[file.origin].backup or None if file.origin in written else None,
                "diff": file.diff(),
            }
            for file in plan.files
        ],
        "problems": list(report.problems),
        "notes": list(report.notes),
        "dry_run": dry_run,
    }


def _plain(words: str) -> str:
    """Names and words of songs may hold anything; a terminal must not obey them."""
    return _CONTROL.sub("?", words)
