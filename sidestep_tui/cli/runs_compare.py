"""`runs compare`: what was set differently, and what came of it."""

from __future__ import annotations

import time

import click

from sidestep_tui.cli import options, render
from sidestep_tui.core.errors import UsageError

_MOST = 26


@click.command()
@click.argument("names", metavar="RUN RUN...", nargs=-1, required=True)
@options.json_option
def compare(names: tuple[str, ...], as_json: bool) -> None:
    """Compare runs: the settings that differ, a column for each run, then their results.

    `sidestep-tui runs`, with the runs marked by space and `=`, also lays their curves over each other.
    """
    # 90 ms of schema, which a list does not need.
    from sidestep_tui.launch import comparison

    if not 2 <= len(names) <= _MOST:
        raise UsageError("Name two runs or more.", f"There are {len(names)}.", "As in: runs compare drums_v3 drums_v4.")
    sides = [comparison.read(options.find_run(name), now=time.time()) for name in names]
    found = comparison.differences(sides)
    if as_json:
        render.data_json(
            {
                "runs": [
                    {"name": side.name, "path": str(side.path), "problem": side.problem, **side.result.to_dict()}
                    for side in sides
                ],
                "differences": {item.path: [side.settings.get(item.path) for side in sides] for item in found},
                "same": comparison.same_count(sides),
            }
        )
        return
    rows = [
        [item.path, *(render.plain(text) or "none" if text is not None else "?" for text in item.texts)]
        for item in found
    ]
    for line in render.table(rows, ("SETTING", *(side.name for side in sides))):
        render.data(line)
    if not rows:
        render.say("Every setting is the same.")
    texts = [comparison.result_texts(side.result) for side in sides]
    render.data("")
    results = [[key, *(told[key] for told in texts)] for key in texts[0]]
    for line in render.table(results, ("RESULT", *(side.name for side in sides))):
        render.data(line)
    for side in sides:
        if side.problem:
            render.say(f"{side.name}: {side.problem}")
