"""`runs`: what is running, what has ended, what died, across folders; and what can be done with runs."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from sidestep_tui.cli import options, render
from sidestep_tui.cli.runs_compare import compare
from sidestep_tui.cli.runs_copy import build_on, duplicate
from sidestep_tui.cli.runs_export import export
from sidestep_tui.cli.runs_feed import feed
from sidestep_tui.cli.runs_tidy import delete, forget, tidy
from sidestep_tui.core import paths
from sidestep_tui.core.errors import UsageError
from sidestep_tui.protocol import registry

if TYPE_CHECKING:
    from sidestep_tui.ui.screens.runs.columns import Order
    from sidestep_tui.ui.screens.runs.entries import Entry

_PIPE_WIDTH = 240
"""Cells of a table that goes into a pipe or a file: room for every column."""
_SORTS = (
    "state", "name", "model", "adapter", "data", "step", "epoch", "loss", "best", "started", "time", "size", "folder",
)  # fmt: skip


@click.group(invoke_without_command=True)
@click.option("--filter", "words", metavar="WORDS", default="", help="As in the list: drums state:failed rank:>32.")
@click.option("--sort", type=click.Choice(_SORTS), help="By a column; living ones first, then the newest, without it.")
@click.option("--reverse", is_flag=True, help="Turn the order of --sort.")
@click.option("--folder", "folders", metavar="DIR", multiple=True, help="Also the runs in DIR, from now on.")
@click.option("--drafts", "with_drafts", is_flag=True, help="Also the drafts of runs that were never started.")
@options.json_option
@click.pass_context
def runs(
    ctx: click.Context,
    words: str,
    sort: str | None,
    reverse: bool,
    folders: tuple[str, ...],
    with_drafts: bool,
    as_json: bool,
) -> None:
    """List the known runs: those started on this account, those in ./runs and in folders opened before.

    The table is as wide as the terminal and shows the most telling columns. With a command: do something with runs.
    """
    if ctx.invoked_subcommand is None:
        _list(words, sort, folders, reverse=reverse, with_drafts=with_drafts, as_json=as_json)


for command in (compare, tidy, delete, forget, duplicate, build_on, export, feed):
    runs.add_command(command)


def _list(
    words: str, sort: str | None, folders: Sequence[str], *, reverse: bool, with_drafts: bool, as_json: bool
) -> None:
    for folder in folders:
        place = paths.expand(folder)
        if not place.is_dir():
            raise UsageError(f"There is no folder {folder}.", "", "Check --folder.")
        registry.remember_folder(place)
    everything = _runs() + (_drafts() if with_drafts else [])
    entries = _arranged(everything, words, sort, reverse=reverse)
    if as_json:
        render.data_json([_fields(entry) for entry in entries])
        return
    if not everything:
        render.say("There are no runs yet. Start one with `sidestep-tui train PRESET`, or try `sidestep-tui demo`.")
        return
    if not entries:
        render.say(f"None of {len(everything)} runs matches {words}.")
    for line in _table(entries):
        render.data(line)


def _runs() -> list[Entry]:
    """The ledger's runs as the list shows them, with their sizes."""
    from sidestep_tui.launch.ledger import Ledger
    from sidestep_tui.ui.screens.runs.entries import entry_of_run

    ledger, folders = Ledger(), [paths.default_output_dir()]
    rows = ledger.look(folders, now=time.time())
    if list(ledger.measure(rows)):
        rows = ledger.look(folders, now=time.time())
    return [entry_of_run(row) for row in rows]


def _drafts() -> list[Entry]:
    """The drafts, newest first."""
    # 90 ms of schema, which a list of runs does not need.
    from sidestep_tui.launch.offspring import facts_of_draft
    from sidestep_tui.schema import drafts
    from sidestep_tui.ui.screens.runs.entries import Entry

    return [
        Entry("draft", item.id, item.title, facts=facts_of_draft(item.path), t=item.saved)
        for item in drafts.list_drafts()
    ]


def _arranged(entries: Sequence[Entry], words: str, sort: str | None, *, reverse: bool) -> list[Entry]:
    from sidestep_tui.ui.screens.runs import columns, query

    wanted = query.parse(words)
    if wanted.problems:
        raise UsageError("The filter is not understood.", wanted.problems[0], "")
    found = [entry for entry in entries if wanted.matches(entry, time.time())]
    if sort is None:
        return found[::-1] if reverse else found
    falling = columns.BY_NAME[sort].falling
    order: Order = columns.Order(sort, falling != reverse)
    return columns.arrange(found, order)


def _table(entries: Sequence[Entry]) -> list[str]:
    from sidestep_tui.ui.screens.runs.columns import layout

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _PIPE_WIDTH
    shown = layout(width)
    now = time.time()
    lines = []
    for entry in (None, *entries):
        cells = []
        for part in shown:
            column = part.column
            words = column.title if entry is None else render.plain(column.cell(entry, now))
            if len(words) > part.width and column.name != "folder":
                words = words[: part.width - 1] + "…"
            cells.append(words.rjust(part.width) if column.number else words.ljust(part.width))
        lines.append(" ".join(cells).rstrip())
    return lines


def _fields(entry: Entry) -> dict[str, object]:
    facts = entry.facts
    if entry.row is None:
        made = {"kind": facts.kind, "rank": facts.rank, "model": facts.model, "dataset": facts.dataset_path}
        return {"name": entry.title, "draft": entry.key, "status": "draft", "edited": entry.t, **made}
    summary, run = entry.row.summary, entry.run
    return {
        "name": entry.title,
        "path": entry.key,
        "reachable": entry.row.reachable,
        "status": run.status if run else "not reachable",
        "liveness": str(run.liveness) if run else None,
        "step": summary.step if summary else None,
        "total_steps": summary.total_steps if summary else None,
        "epoch": summary.epoch if summary else None,
        "epochs": summary.epochs if summary else None,
        "loss": summary.loss if summary else None,
        "best_loss": summary.best_loss if summary else None,
        "best_by": summary.best_by if summary else None,
        "started": summary.started if summary else None,
        "ended": summary.ended if summary else None,
        "seconds": entry.row.seconds,
        "reason": summary.reason if summary else "",
        "job": facts.job,
        "preset": facts.preset,
        "model": facts.model,
        "variant": facts.variant,
        "kind": facts.kind,
        "rank": facts.rank,
        "dataset": facts.dataset_path,
        "start_from": facts.start_from,
        "bytes": entry.row.size,
    }
