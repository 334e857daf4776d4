"""`doctor`: the environment in one page, to paste into a bug report."""

from __future__ import annotations

import click

from sidestep_tui.cli import options, render
from sidestep_tui.core.errors import ExitCode
from sidestep_tui.launch import doctor as report


@click.command()
@options.json_option
def doctor(as_json: bool) -> int:
    """Report versions, devices, folders and terminal. Exits with 4 when something is broken."""
    findings = report.examine()
    if as_json:
        render.data_json(report.to_dict(findings))
    else:
        width = max(len(finding.name) for finding in findings)
        marks = {"ok": "    ", "warn": "warn", "fail": "FAIL"}
        group = ""
        for finding in findings:
            if finding.group != group:
                group = finding.group
                render.data(group)
            hint = f"  ({finding.hint})" if finding.hint else ""
            render.data(f"  {marks[finding.status]} {finding.name.ljust(width)}  {finding.value}{hint}")
    broken = any(finding.status == "fail" for finding in findings)
    return int(ExitCode.REFUSED if broken else ExitCode.DONE)
