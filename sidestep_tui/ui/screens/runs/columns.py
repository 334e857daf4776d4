"""The columns of the ledger: what each says, how lines are sorted by it, and which of them a width has room for.

Pure, and without Textual: the command line prints the same table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from sidestep_tui.core import paths, text
from sidestep_tui.ui.screens.runs.entries import Entry

DASH: Final = "–"
_NAME: Final = (12, 34)
"""Cells that names get at least and at most."""
_FOLDER: Final = 12
"""Cells below which a folder tells nothing."""

SortKey = float | str
Cell = Callable[[Entry, float], str]


@dataclass(frozen=True, slots=True)
class Column:
    """One column. Numbers are right-aligned; `falling` ones begin with the largest when they are sorted by."""

    name: str
    title: str
    width: int
    cell: Cell
    sort: Callable[[Entry], SortKey | None]
    number: bool = False
    falling: bool = False


def measure(value: float | None) -> str:
    """A loss in at most seven cells; NaN and infinity stay visible, an unknown value is a dash."""
    if value is None:
        return DASH
    if not math.isfinite(value):
        return text.number(value)
    if value == 0 or 1e-3 <= abs(value) < 1e4:
        return f"{value:.{max(5 - len(str(int(abs(value)))), 0)}f}"
    return f"{value:.2e}"


def age(then: float | None, now: float) -> str:
    """How long ago, in one unit that changes slowly."""
    if then is None:
        return DASH
    seconds = max(now - then, 0.0)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return "just now"


def _adapter(entry: Entry, _: float) -> str:
    facts = entry.facts
    if not facts.kind:
        return DASH
    return f"{facts.kind} {facts.rank}" if facts.rank is not None else facts.kind


def _adapter_order(entry: Entry) -> str | None:
    facts = entry.facts
    return f"{facts.kind} {facts.rank or 0:4d}" if facts.kind else None


def _model(entry: Entry, _: float) -> str:
    facts = entry.facts
    return facts.variant if facts.variant not in ("", "auto") else facts.model.removeprefix("acestep-") or DASH


def _step(entry: Entry, _: float) -> str:
    run = entry.run
    if run is None or not run.total_steps:
        return "not started" if entry.kind == "draft" else DASH
    return f"{text.thousands(run.step)}/{text.thousands(run.total_steps)}"


def _epoch(entry: Entry, _: float) -> str:
    run = entry.run
    return f"{run.epoch}/{run.epochs}" if run is not None and run.epochs else DASH


def _best(entry: Entry, _: float) -> str:
    run = entry.run
    if run is None or run.best_loss is None:
        return DASH
    return f"{measure(run.best_loss)} {'held-out' if run.best_by == 'held_out' else 'training'}"


def _duration(entry: Entry, _: float) -> str:
    seconds = entry.row.seconds if entry.row is not None else None
    return text.duration(seconds) if seconds is not None else DASH


def _size(entry: Entry, _: float) -> str:
    size = entry.row.size if entry.row is not None else None
    return text.file_size(size) if size is not None else DASH


def _loss(entry: Entry) -> str:
    return measure(entry.run.loss) if entry.run is not None else DASH


def _folder(entry: Entry, _: float) -> str:
    return paths.shorten(entry.path.parent) if entry.row is not None else ""


def _run_value(name: str) -> Callable[[Entry], SortKey | None]:
    """A number of the run's summary, to sort by; None where it is unknown or not finite."""

    def value(entry: Entry) -> SortKey | None:
        number: float | None = getattr(entry.run, name) if entry.run is not None else None
        return number if number is not None and math.isfinite(number) else None

    return value


COLUMNS: Final = (
    Column("state", "status", 15, lambda entry, _: entry.condition.word, lambda entry: entry.condition.word),
    Column("name", "name", _NAME[0], lambda entry, _: entry.title, lambda entry: entry.title.casefold()),
    Column("model", "model", 12, _model, lambda entry: _model(entry, 0.0)),
    Column("adapter", "adapter", 8, _adapter, _adapter_order),
    Column(
        "data",
        "songs",
        14,
        lambda entry, _: entry.facts.dataset or DASH,
        lambda entry: entry.facts.dataset.casefold() or None,
    ),
    Column("step", "step", 13, _step, _run_value("step"), number=True, falling=True),
    Column("epoch", "epoch", 9, _epoch, _run_value("epoch"), number=True, falling=True),
    Column("loss", "loss", 7, lambda entry, _: _loss(entry), _run_value("loss"), number=True),
    Column("best", "best", 16, _best, _run_value("best_loss"), number=True),
    Column("started", "started", 9, lambda entry, now: age(entry.t, now), lambda entry: entry.t, True, True),
    Column("time", "took", 9, _duration, lambda entry: entry.row.seconds if entry.row else None, True, True),
    Column("size", "on disk", 9, _size, lambda entry: entry.row.size if entry.row else None, True, True),
    Column("folder", "folder", _FOLDER, _folder, lambda entry: str(entry.path.parent) if entry.row else None),
)
BY_NAME: Final = {column.name: column for column in COLUMNS}
_TELLING: Final = (
    "state", "name", "step", "loss", "started", "adapter", "best", "data", "size", "time", "model", "epoch", "folder",
)  # fmt: skip
"""The most telling first."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A column and the cells that it gets."""

    column: Column
    width: int


def layout(width: int) -> tuple[Shown, ...]:
    """The columns that fit beside each other, a space between them: the most telling ones, in the table's order."""
    left = width - 2
    taken: dict[str, int] = {}
    for name in _TELLING:
        column = BY_NAME[name]
        if column.width + 1 > left:
            break
        taken[name] = column.width
        left -= column.width + 1
    if "name" in taken:
        more = min(left, _NAME[1] - _NAME[0])
        taken["name"] += more
        left -= more
    if "folder" in taken:
        taken["folder"] += left
    return tuple(Shown(column, taken[column.name]) for column in COLUMNS if column.name in taken)


@dataclass(frozen=True, slots=True)
class Order:
    """What lines are sorted by; the ledger's own order (living first, then the newest) without a column."""

    by: str = ""
    falling: bool = False


def next_order(order: Order) -> Order:
    """By the next column, and after the last one the ledger's own order again."""
    names = ["", *BY_NAME]
    by = names[(names.index(order.by) + 1) % len(names)] if order.by in names else ""
    return Order(by, BY_NAME[by].falling if by else False)


def arrange(entries: Sequence[Entry], order: Order) -> list[Entry]:
    """The lines in order. Equal ones keep theirs; those without a value come last, and drafts after all runs."""
    if not order.by:
        return list(entries)
    sort = BY_NAME[order.by].sort
    runs = [entry for entry in entries if entry.kind == "run"]
    known = [(value, entry) for entry in runs if (value := sort(entry)) is not None]
    known.sort(key=lambda pair: pair[0], reverse=order.falling)
    unknown = [entry for entry in runs if sort(entry) is None]
    drafts = [entry for entry in entries if entry.kind == "draft"]
    return [*(entry for _, entry in known), *unknown, *drafts]
