"""`keys`: every key of the interface as text, and what is wrong with a keymap of one's own."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import click

from sidestep_tui.cli import options, render
from sidestep_tui.core import paths
from sidestep_tui.core.errors import ExitCode

if TYPE_CHECKING:
    from sidestep_tui.ui.everykey import Key
    from sidestep_tui.ui.keymap import TuiConfig


@click.command()
@click.option("--check", is_flag=True, help="Only check [keymap] in tui.toml; exit code 4 when something is wrong.")
@options.json_option
def keys(check: bool, as_json: bool) -> int:
    """List every key of the interface: what it does, and the id that gives it another key.

    In tui.toml, next to your presets, [keymap] maps ids to keys:

    \b
      [keymap]
      "wizard.next" = "ctrl+n,f8"
    """
    # Deferred: 900 ms to import every screen, which no other command needs.
    from sidestep_tui.ui import everykey, keymap

    found = everykey.every_key()
    file = paths.config_dir() / keymap.CONFIG_NAME
    config = keymap.load_config(file)
    problems = everykey.keymap_problems(config.keymap, found)
    for problem in problems:
        render.say(f"{paths.shorten(file)}: {problem}")
    if check:
        if not problems:
            render.say(f"{paths.shorten(file)}: {len(config.keymap)} keys of your own, all in order.")
        return int(ExitCode.REFUSED if problems else ExitCode.DONE)
    rows = [_row(key, config) for key in found if key.binding.id]
    if as_json:
        render.data_json([asdict(row) for row in rows])
        return int(ExitCode.DONE)
    width = max(len(", ".join(row.keys)) for row in rows)
    names = max(len(row.id) for row in rows)
    for place, group in groupby(rows, key=lambda row: row.place):
        render.data(place)
        for row in group:
            render.data(f"  {', '.join(row.keys):<{width}}  {row.id:<{names}}  {row.does}")
    return int(ExitCode.DONE)


@dataclass(frozen=True, slots=True)
class _Row:
    place: str
    keys: list[str]
    id: str
    does: str


def _row(key: Key, config: TuiConfig) -> _Row:
    binding = key.binding
    name = binding.id or ""
    own = config.keymap.get(name, binding.key)
    words = re.sub("(?<=[a-z])(?=[A-Z])", " ", key.owner.__name__.removesuffix("Screen"))
    place = "Everywhere" if name.startswith("app.") else words.capitalize()
    return _Row(place, [part.strip() for part in own.split(",")], name, binding.tooltip or binding.description)
