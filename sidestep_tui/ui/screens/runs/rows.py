"""The list of runs as rows of aligned columns. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sidestep_tui.core import paths, text
from sidestep_tui.protocol.registry import RunSummary
from sidestep_tui.ui.widgets.panels import measure
from sidestep_tui.ui.widgets.rows import Row, Span, fit, row, width_of
from sidestep_tui.ui.widgets.status import condition

_STATUS = 17
_STEPS = 17
_LOSS = 9
_AGE = 11


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the list: a run, or a draft of one."""

    kind: Literal["run", "draft"]
    key: str
    """The run's path or the draft's id."""
    title: str
    run: RunSummary | None = None
    t: float | None = None
    """When it was last touched."""


def entry_of_run(run: RunSummary) -> Entry:
    """A run as a line."""
    return Entry("run", str(run.path), run.name, run, run.ended or run.started)


def matching(entries: Sequence[Entry], wanted: str) -> list[Entry]:
    """The entries whose name, folder or status hold `wanted`."""
    needle = wanted.casefold()
    return [entry for entry in entries if needle in _haystack(entry)] if needle else list(entries)


def _haystack(entry: Entry) -> str:
    status = condition(entry.run.status, entry.run.liveness).word if entry.run else "draft"
    return f"{entry.title} {entry.key if entry.run else ''} {status}".casefold()


def title_row(width: int) -> Row:
    """The names of the columns."""
    name = _name_width(width)
    cells = f" {'status':<{_STATUS}}{'name':<{name}} {'step':>{_STEPS}}{'loss':>{_LOSS}}{'age':>{_AGE}}"
    return fit(row((cells + ("  folder" if _folder_width(width) else ""), "muted")), width)


def _name_width(width: int) -> int:
    """The names take what the fixed columns leave, within reason."""
    return min(max(width - _STATUS - _STEPS - _LOSS - _AGE - 3, 12), 30)


def _folder_width(width: int) -> int:
    left = width - 1 - _STATUS - _name_width(width) - 1 - _STEPS - _LOSS - _AGE - 3
    return left if left >= 12 else 0


def entry_row(entry: Entry, width: int, now: float, *, selected: bool, ascii_only: bool = False) -> Row:
    """One run or draft; the selected one fills the width with its background."""
    cells = _draft_cells(entry, width, now) if entry.run is None else _run_cells(entry.run, width, now, ascii_only)
    shown = fit(cells, width)
    if not selected:
        return shown
    rest = width - width_of(shown)
    return (*((part, "selected") for part, _ in shown), (" " * rest, "selected"))


def _run_cells(run: RunSummary, width: int, now: float, ascii_only: bool) -> Row:
    shown = condition(run.status, run.liveness)
    step = f"{text.thousands(run.step)}/{text.thousands(run.total_steps)}" if run.total_steps else "–"
    then = run.started if run.is_alive else run.ended or run.started
    cells: list[Span] = [
        (f" {shown.label(ascii_only=ascii_only):<{_STATUS}}", shown.style),
        (_cut(run.name, _name_width(width)), "strong"),
        (f" {step:>{_STEPS}}{measure(run.loss, _LOSS)}{age(then, now):>{_AGE}}", ""),
    ]
    folder = _folder_width(width)
    if folder:
        cells.append(("  " + _cut_left(paths.shorten(Path(run.path).parent), folder), "muted"))
    return row(*cells)


def _draft_cells(entry: Entry, width: int, now: float) -> Row:
    return row(
        (f" {'· draft':<{_STATUS}}", "muted"),
        (_cut(entry.title, _name_width(width)), ""),
        (f" {'not started':>{_STEPS}}{'':>{_LOSS}}{age(entry.t, now):>{_AGE}}", "muted"),
    )


def age(then: float | None, now: float) -> str:
    """How long ago, in one unit that changes slowly."""
    if then is None:
        return "–"
    seconds = max(now - then, 0.0)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return "just now"


def _cut(words: str, width: int) -> str:
    return words.ljust(width) if len(words) <= width else words[: width - 1] + "…"


def _cut_left(words: str, width: int) -> str:
    return words if len(words) <= width else "…" + words[-(width - 1) :]


def empty_rows(searched: bool) -> list[Row]:
    """What to do when there is nothing to list."""
    if searched:
        return [row(""), row(("  Nothing matches the filter. ", ""), ("esc", "accent"), " clears it.")]
    return [
        row(""),
        row(("  No runs yet.", "strong")),
        row(""),
        row(("  n ", "accent"), "  make a new run: model, songs, adapter, review, start"),
        row(("  o ", "accent"), "  open a run by its folder, for example one from another machine"),
        row(""),
        row(("  To see the whole path at work first, leave with ", "muted"), ("q", "accent"), (" and try", "muted")),
        row(("      sidestep-tui demo", "")),
        row(("  It makes a tiny model and songs of its own and trains in minutes.", "muted")),
    ]
