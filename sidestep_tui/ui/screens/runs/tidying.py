"""Freeing disk, asked step by step: what, what would go, and a word to be typed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sidestep_tui.core import text
from sidestep_tui.core.errors import RunError, SidestepError
from sidestep_tui.launch import tidy as plans
from sidestep_tui.launch.tidy import TidyPlan
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.ui.dialogs.one_of import Choice, OneOf
from sidestep_tui.ui.dialogs.typed import TypeWord
from sidestep_tui.ui.screens.runs.entries import Entry

if TYPE_CHECKING:
    from sidestep_tui.ui.app import SidestepApp

_LISTED: Final = 6
_RUNS, _UNPACKED, _ENCODED = "runs", "unpacked", plans.ENCODED


async def tidy(app: SidestepApp, chosen: Sequence[Entry], entries: Sequence[Entry]) -> str:
    """Ask what to tidy, show what would go, do it once the word is typed; returns what to say, or nothing."""
    try:
        options = await asyncio.to_thread(_options, chosen, entries)
        answer = await app.push_screen_wait(OneOf("Free disk", [choice for choice, _ in options]))
        if answer is None:
            return ""
        plan = next(plan for choice, plan in options if choice.value == answer)
        if not plan.items:
            return "nothing there that could go"
        word = chosen[0].title if answer == _RUNS and len(chosen) == 1 else "tidy" if answer == _RUNS else answer
        if not await app.push_screen_wait(TypeWord(f"Free {text.file_size(plan.bytes)}", describe(plan), word)):
            return ""
        freed = await asyncio.to_thread(plans.carry_out, plan)
        return f"{text.file_size(freed)} freed"
    except SidestepError as error:
        app.tell(error)
    except OSError as error:
        app.tell(RunError("Not everything could be deleted.", str(error), "Try again."))
    return ""


def _options(chosen: Sequence[Entry], entries: Sequence[Entry]) -> list[tuple[Choice, TidyPlan]]:
    """What can be tidied, each with its plan; in a thread, since disks may be slow."""
    rows = [entry.row for entry in entries if entry.row is not None]
    known = plans.references(rows)
    found: list[tuple[Choice, TidyPlan]] = []
    if chosen:
        parts = [plans.of_run(RunDir(entry.path), known) for entry in chosen if not entry.is_alive]
        plan = TidyPlan(
            tuple(item for part in parts for item in part.items), tuple(kept for part in parts for kept in part.kept)
        )
        who = chosen[0].title if len(chosen) == 1 else text.plural(len(chosen), "marked run")
        note = f"{text.plural(len(plan.items), 'superseded checkpoint')}, {text.file_size(plan.bytes)}"
        alive = sum(1 for entry in chosen if entry.is_alive)
        if alive:
            note = f"alive, left alone{'' if not parts else ': ' + str(alive)}" + (f"; {note}" if parts else "")
        found.append((Choice(_RUNS, f"Checkpoints of {who}", note), plan))
    plan = plans.of_caches(rows, known, now=time.time())
    note = f"{text.plural(len(plan.items), 'ZIP')} that no run refers to, {text.file_size(plan.bytes)}"
    found.append((Choice(_UNPACKED, "Unpacked ZIPs", note), plan))
    if not any(row.is_alive for row in rows):
        plan = plans.of_encoded(rows)
        found.append(
            (Choice(_ENCODED, "Encoded songs", f"all, made again when needed, {text.file_size(plan.bytes)}"), plan)
        )
    return found


def describe(plan: TidyPlan) -> str:
    """What goes and what stays, in a few lines."""
    runs = {item.path.parent.parent for item in plan.items if item.kind == "checkpoint"}
    lines = ["Goes for good:"]
    for why in dict.fromkeys(item.why for item in plan.items):
        items = [item for item in plan.items if item.why == why]
        lines.append(f"  {text.file_size(sum(item.bytes for item in items))}, {why}:")
        lines.append(f"    {text.listing([_place(item.path, runs) for item in items], _LISTED)}")
    if plan.kept:
        lines.append("Stays:")
        lines += [f"  {_place(kept.path, runs)}: {kept.why}" for kept in plan.kept[:_LISTED]]
    if len(plan.kept) > _LISTED:
        lines.append(f"  and {len(plan.kept) - _LISTED} more")
    return "\n".join(lines)


def _place(path: Path, runs: Collection[Path]) -> str:
    """A name that says which run it is of where there are several."""
    return f"{path.parent.parent.name}/{path.name}" if len(runs) > 1 else path.name
