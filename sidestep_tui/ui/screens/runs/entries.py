"""One line of the list of runs: a run of the ledger, or a draft of one. Pure, and without Textual."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sidestep_tui.core import paths
from sidestep_tui.launch.ledger import LedgerRow, RunFacts
from sidestep_tui.protocol.liveness import Liveness
from sidestep_tui.protocol.registry import RunSummary
from sidestep_tui.ui.widgets.status import Condition, condition

DRAFT = Condition("·", "draft", "muted")
AWAY = Condition("?", "not reachable", "muted")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the list."""

    kind: Literal["run", "draft"]
    key: str
    """The run's path or the draft's id."""
    title: str
    row: LedgerRow | None = None
    facts: RunFacts = field(default_factory=RunFacts)
    t: float | None = None
    """When a run began or a draft was edited."""

    @property
    def run(self) -> RunSummary | None:
        """What is known of a run that can be reached."""
        return self.row.summary if self.row is not None and self.row.reachable else None

    @property
    def path(self) -> Path:
        """Where a run lies."""
        return Path(self.key)

    @property
    def condition(self) -> Condition:
        """Glyph, word and style."""
        if self.row is None:
            return DRAFT
        if not self.row.reachable or self.row.summary is None:
            return AWAY
        return condition(self.row.summary.status, self.row.summary.liveness)

    @property
    def is_alive(self) -> bool:
        """Whether an engine holds it."""
        return self.row is not None and self.row.is_alive

    @property
    def can_resume(self) -> bool:
        """Whether it is over without being done."""
        run = self.run
        return run is not None and not run.is_alive and run.status not in ("finished", "fresh")

    @property
    def can_extend(self) -> bool:
        """Whether it is done, so that only more epochs would give it something to do."""
        return self.run is not None and not self.run.is_alive and self.run.status == "finished"


def entry_of_run(row: LedgerRow) -> Entry:
    """A run as a line."""
    started = row.summary.started if row.summary else None
    return Entry("run", str(row.path), row.name, row, row.facts, started)


def haystack(entry: Entry) -> str:
    """The words of a line, in lower case, for a filter without a field."""
    facts = entry.facts
    parts = [entry.title, entry.condition.word, facts.preset, facts.dataset, facts.model, facts.variant, facts.kind]
    if entry.row is not None:
        parts.append(paths.shorten(entry.key))
    return "\n".join(parts).casefold()


def ended_word(before: Entry, now: Entry) -> str:
    """What became of a run that lived a moment ago; empty while it lives."""
    if not before.is_alive or now.is_alive or now.run is None:
        return ""
    died = now.run.liveness is Liveness.DIED
    return f"{now.title}: {'the engine died' if died else now.condition.word}"
