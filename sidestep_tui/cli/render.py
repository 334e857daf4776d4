"""How the command line writes: data to standard output, talk to standard error, JSON where it was asked for."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from sidestep_tui.core.errors import SidestepError

# Control characters, and those that turn the direction of writing around.
_OBEYED = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def say(message: str) -> None:
    """A line of talk: standard error."""
    click.echo(message, err=True)


def data(line: str) -> None:
    """A line of data: standard output."""
    click.echo(line)


def plain(words: str) -> str:
    """Words without control characters: file names may hold anything, and a terminal must not obey them."""
    return _OBEYED.sub("?", words)


def data_json(value: Any, *, indent: int | None = 2) -> None:
    """A JSON value on standard output; numbers that JSON lacks become their names."""
    click.echo(json.dumps(_finite(value), indent=indent, ensure_ascii=False, default=str))


def show_error(error: SidestepError, *, as_json: bool) -> None:
    """What, why and what to do, a paragraph each; with `--json` also as an object where the result would have been."""
    say(f"{click.style('Error:', fg='red', bold=True)} {error.title}")
    for part in (error.message, error.hint):
        for line in part.splitlines():
            say(f"  {line}")
    if as_json:
        data_json({"error": error_fields(error)}, indent=None)


def error_fields(error: SidestepError) -> dict[str, Any]:
    """An error as plain values."""
    return {
        "kind": error.kind,
        "title": error.title,
        "message": error.message,
        "hint": error.hint,
        "code": int(error.exit_code),
    }


def table(rows: Sequence[Sequence[str]], headers: Sequence[str] = (), *, right: Iterable[int] = ()) -> list[str]:
    """Aligned columns, two spaces apart; columns in `right` are aligned to the right. The last one is never padded."""
    everything = [list(headers), *map(list, rows)] if headers else [list(row) for row in rows]
    if not everything:
        return []
    widths = [max(len(row[column]) for row in everything) for column in range(len(everything[0]))]
    to_right = set(right)
    lines = []
    for row in everything:
        cells = [
            cell.rjust(width) if column in to_right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def pairs(values: Mapping[str, str]) -> list[str]:
    """`name   value` lines."""
    return table([[name, value] for name, value in values.items()])


def mute_stdout() -> None:
    """Point standard output at nothing: whoever read it is gone, and Python would complain once more at exit."""
    with open("/dev/null" if sys.platform != "win32" else "nul", "wb") as nowhere:  # noqa: PTH123
        import os

        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
