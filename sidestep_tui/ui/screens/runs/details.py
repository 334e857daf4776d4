"""What a tall window tells about the line under the bar, below the list. Pure: nothing is read for it."""

from __future__ import annotations

import time

from sidestep_tui.core import paths, text
from sidestep_tui.ui.screens.runs.columns import DASH, age, measure
from sidestep_tui.ui.screens.runs.entries import Entry
from sidestep_tui.ui.widgets.rows import Row, Span, fit, row

_LABEL = 10


def detail_rows(entry: Entry | None, width: int, now: float) -> list[Row]:
    """A blank line, then a few facts."""
    if entry is None:
        return []
    told = _of_draft(entry, now) if entry.kind == "draft" else _of_run(entry)
    return [(), *(fit(_line(*pairs), width) for pairs in told)]


def _line(*pairs: tuple[str, str]) -> Row:
    """`label  words` pairs, the first label in a column of its own."""
    spans: list[Span] = []
    for place, (label, words) in enumerate(pairs):
        spans += [(f"  {label:<{_LABEL}}" if not place else f"   {label} ", "muted"), (words, "")]
    return row(*spans)


def _of_run(entry: Entry) -> list[tuple[tuple[str, str], ...]]:
    facts, summary = entry.facts, entry.row.summary if entry.row is not None else None
    lines = [(("path", paths.shorten(entry.key)),), _made_from(entry)]
    if facts.start_from:
        lines.append((("begins with", paths.shorten(facts.start_from)),))
    if summary is None:
        return lines
    best = DASH
    if summary.best_loss is not None:
        whose = "held-out songs" if summary.best_by == "held_out" else "training"
        best = f"{measure(summary.best_loss)} of {whose}, step {text.thousands(summary.best_step or 0)}"
    began = time.strftime("%Y-%m-%d %H:%M", time.localtime(summary.started)) if summary.started else DASH
    sessions = text.plural(summary.sessions, "session") if summary.sessions else "no session yet"
    lines.append((("best", best), ("epoch", f"{summary.epoch} of {summary.epochs}")))
    lines.append((("began", f"{began}, {sessions}"), ("ended", summary.reason.replace("_", " ") or DASH)))
    return lines


def _of_draft(entry: Entry, now: float) -> list[tuple[tuple[str, str], ...]]:
    return [(("draft", entry.title),), _made_from(entry), (("edited", age(entry.t, now)),)]


def _made_from(entry: Entry) -> tuple[tuple[str, str], ...]:
    facts = entry.facts
    model = f"{facts.model or DASH}{f' ({facts.variant})' if facts.variant not in ('', 'auto') else ''}"
    pairs = [("model", model), ("songs", paths.shorten(facts.dataset_path) or DASH)]
    return (*pairs, ("preset", facts.preset)) if facts.preset else tuple(pairs)
