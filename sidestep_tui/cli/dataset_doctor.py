"""`dataset doctor`: what would spoil training, in the order in which it matters."""

from __future__ import annotations

import os
import re
import shutil
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import click

from sidestep_tui.cli import options, quiet, render
from sidestep_tui.core import paths, text
from sidestep_tui.core.errors import ExitCode
from sidestep_tui.dataset import archives
from sidestep_tui.dataset.editing.fixes import FIX_CODES, Edit, Written
from sidestep_tui.dataset.health import doctor as doctors
from sidestep_tui.dataset.health.doctor import Progress, Report
from sidestep_tui.dataset.health.doctor_findings import Finding
from sidestep_tui.launch import models

WARNINGS: Final = 1
"""Exit code where the worst finding is a warning."""
_MOST_SHOWN: Final = 8
_COLOURS: Final = {"error": "red", "warning": "yellow", "advice": "cyan"}
_PLURALS: Final = {"error": ("error", "errors"), "warning": ("warning", "warnings"), "advice": ("advice", "advice")}
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--fix", "wants_fix", is_flag=True, help="Repair sidecars in place; each gets a .bak beside it.")
@click.option("--fix-only", type=click.Choice(FIX_CODES), multiple=True, help="Repair only this; may be repeated.")
@click.option("--tag", metavar="WORD", default="", help="Trigger tag that every caption should have.")
@click.option("--quick", is_flag=True, help="Read headers and text only, not the sound itself.")
@click.option("--txt-role", type=click.Choice(["auto", "caption", "lyrics"]), default="auto", show_default=True)
@click.option("--language", default="unknown", show_default=True, help="For lyrics that do not name their own.")
@click.option(
    "--model", metavar="DIR", default="", help="Count tokens with this checkpoint's tokenizer; estimated without."
)
@options.json_option
def doctor(
    directory: Path,
    wants_fix: bool,
    fix_only: tuple[str, ...],
    tag: str,
    quick: bool,
    txt_role: Any,
    language: str,
    model: str,
    as_json: bool,
) -> int:
    """Find what would spoil training with DIR: in the sound, the captions, the lyrics and their metadata.

    Audio is never changed. Without --fix nothing is written; what --fix would change is listed. A folder without a
    single usable song has a report too.

    Exit code: 0 when nothing or only advice is found, 1 for warnings, 4 for errors.
    """
    if wants_fix or fix_only:
        archives.refuse_edits(paths.expand(directory))
    tokenizer = models.tokenizer_dir(model) if model else ""
    with _progress() as say, quiet.native_stderr():
        report = doctors.examine(
            directory,
            txt_role=txt_role,
            language=language,
            tag=tag.strip(),
            tokenizer=tokenizer,
            quick=quick,
            progress=say,
        )
    written: list[Written] = []
    planned = doctors.planned(report).edits
    if wants_fix or fix_only:
        with quiet.native_stderr():
            report, written = doctors.fix(report, fix_only)
    if as_json:
        changes = [item.edit for item in written] if wants_fix or fix_only else planned
        render.data_json(
            {
                **report.to_dict(),
                "written": [
                    {"path": item.edit.origin, "backup": item.backup or None, "problem": item.problem or None}
                    for item in written
                ],
                "changes": [change for edit in changes for change in _changes(edit)],
            }
        )
    else:
        _show(report)
        if wants_fix or fix_only:
            _show_written(written)
        else:
            _show_planned(planned)
    return _exit_code(report)


def _exit_code(report: Report) -> int:
    if report.worst == "error":
        return int(ExitCode.REFUSED)
    return WARNINGS if report.worst == "warning" else int(ExitCode.DONE)


@contextmanager
def _progress() -> Iterator[Progress | None]:
    """A line on the terminal that counts songs; None where standard error is none.

    It writes to a copy of the descriptor: the original is silenced while decoders run.
    """
    try:
        terminal = os.dup(2)
    except OSError:
        yield None
        return
    last = ""

    def say(what: str, done: int, total: int) -> None:
        nonlocal last
        line = f"\rReading {what}: {done:,} of {total:,} " if done < total else "\r" + " " * 48 + "\r"
        if line != last:
            os.write(terminal, line.encode())
        last = line

    try:
        yield say if os.isatty(terminal) else None
    finally:
        os.close(terminal)


def _show(report: Report) -> None:
    width = max(40, min(100, shutil.get_terminal_size((80, 24)).columns))
    found = report.findings
    for severity, items in groupby(found, key=lambda item: item.severity):
        of_severity = list(items)
        words = text.plural(len(of_severity), *_PLURALS[severity])
        render.data(click.style(words[:1].upper() + words[1:], fg=_COLOURS[severity], bold=True))
        for _, same in groupby(of_severity, key=lambda item: item.code):
            _show_kind(list(same), width)
        render.data("")
    songs = f"{text.plural(len(report.files), 'song')}, {text.duration(report.seconds)}"
    counts = [text.plural(count, *_PLURALS[name]) for name, count in report.counts().items() if count]
    if any("(estimated)" in item.sentence for item in found):
        render.data("Tokens are estimated; --model DIR counts them.")
    render.data(f"{songs}: {text.listing(counts) if counts else 'nothing to complain about'}.")


def _show_kind(findings: list[Finding], width: int) -> None:
    kind = findings[0].kind
    fixable = sum(item.is_fixable for item in findings)
    hint = f", {fixable} fixable" if fixable else ""
    render.data(f"  {click.style(kind.title, bold=True)} ({len(findings)}{hint})  [{findings[0].code}]")
    _wrapped(f"{kind.why} {kind.remedy}", width, "      ", "      ")
    names = min(28, max(len(_plain(item.song)) for item in findings))
    for item in findings[:_MOST_SHOWN]:
        name = _short(_plain(item.song), names).ljust(names)
        problem = f" Not fixable: {item.not_fixable}." if item.not_fixable else ""
        first = f"    {name}  " if names else "    "
        _wrapped(_plain(item.sentence + problem), width, first, " " * len(first))
    if len(findings) > _MOST_SHOWN:
        render.data(f"    and {len(findings) - _MOST_SHOWN:,} more (--json lists all)")


def _show_planned(edits: list[Edit]) -> None:
    if not edits:
        return
    render.data("")
    render.data(f"--fix would change {text.plural(len(edits), 'file')}, with a backup of each:")
    for edit in edits[:_MOST_SHOWN]:
        codes = list(dict.fromkeys(change.fix.code for change in edit.changes))
        render.data(f"  {_plain(edit.origin)}: {', '.join(codes)}")
    if len(edits) > _MOST_SHOWN:
        render.data(f"  and {len(edits) - _MOST_SHOWN:,} more (--json lists all)")


def _show_written(written: list[Written]) -> None:
    for item in written:
        if item.problem:
            render.say(f"{click.style('Not fixed:', fg='yellow')} {_plain(item.edit.origin)} {item.problem}.")
        else:
            render.say(f"Fixed {_plain(item.edit.origin)} (was kept as {_plain(item.backup)}).")
    if not written:
        render.say("Nothing to fix.")


def _changes(edit: Edit) -> Iterator[dict[str, str]]:
    for change in edit.changes:
        yield {
            "path": edit.origin,
            "code": change.fix.code,
            "field": change.fix.field,
            "before": change.before,
            "after": change.after,
        }


def _wrapped(sentence: str, width: int, first: str, rest: str) -> None:
    for line in textwrap.wrap(sentence, width, initial_indent=first, subsequent_indent=rest):
        render.data(line)


def _plain(words: str) -> str:
    """File names may hold anything; a terminal must not obey them."""
    return _CONTROL.sub("?", words)


def _short(name: str, width: int) -> str:
    return name if len(name) <= width else f"…{name[len(name) - width + 1 :]}"
