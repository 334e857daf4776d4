"""`presets check`: any file, whoever wrote it, with file, line, key, reason and fix of every fault."""

from __future__ import annotations

from typing import Any

import click

from sidestep_tui.cli import options, render
from sidestep_tui.core import text
from sidestep_tui.core.errors import ExitCode, SettingsError
from sidestep_tui.schema import preset_check
from sidestep_tui.schema.preset_check import Checked, Finding

_COLOURS = {"error": "red", "warning": "yellow"}


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...", shell_complete=options.complete_presets)
@options.json_option
def check(files: tuple[str, ...], as_json: bool) -> int:
    """Check presets by name, and files of any kind: presets, a run.toml, presets of other trainers, pasted lists.

    Says file, line, key, reason and fix of everything that cannot be, what contradicts itself, and which keys have no
    counterpart here. Exits with 4 when any of them is refused.
    """
    found = [_checked(name) for name in files]
    if as_json:
        render.data_json([_fields(checked) for checked in found])
    else:
        for checked in found:
            _show(checked)
    return int(ExitCode.REFUSED if any(checked.is_refused for checked in found) else ExitCode.DONE)


def _checked(name: str) -> Checked:
    """One check; that there is no such file is a finding too, so that the others are still checked."""
    try:
        return preset_check.check(name)
    except SettingsError as error:
        return Checked(name, "unknown", (Finding("error", "", error.title, error.hint),))


def _show(checked: Checked) -> None:
    for finding in checked.findings:
        place = f"{checked.name}:{finding.line}" if finding.line else checked.name
        weight = click.style(finding.weight, fg=_COLOURS.get(finding.weight))
        parts = [place, weight, *([finding.key] if finding.key else []), finding.reason]
        render.data(": ".join(part if part is weight else render.plain(part) for part in parts))
        if finding.fix:
            render.data(render.plain(f"  {finding.fix}"))
    if not checked.is_refused:
        order = "is in order" if not checked.findings else "can be used"
        render.data(f"{checked.name} {order}: {checked.format}, {text.plural(len(checked.values), 'setting')}.")


def _fields(checked: Checked) -> dict[str, Any]:
    return {
        "file": checked.name,
        "format": checked.format,
        "ok": not checked.is_refused,
        "findings": [
            {
                "severity": finding.weight,
                "key": finding.key,
                "line": finding.line or None,
                "reason": finding.reason,
                "fix": finding.fix,
                "values": dict(finding.values),
            }
            for finding in checked.findings
        ],
        "values": dict(checked.values),
    }
