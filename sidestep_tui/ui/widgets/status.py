"""In which words, glyphs and colours a run's condition is told. Never by colour alone. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from sidestep_tui.protocol.liveness import Liveness

LIVE_STATUSES = frozenset({"starting", "encoding", "running", "pausing", "paused", "stopping", "saving"})


@dataclass(frozen=True, slots=True)
class Condition:
    """A glyph, a word and the style they are shown in."""

    glyph: str
    word: str
    style: str

    def label(self, *, ascii_only: bool = False) -> str:
        """Glyph and word; the glyph is dropped where only ASCII can be shown."""
        return self.word if ascii_only else f"{self.glyph} {self.word}"


_CONDITIONS = {
    "fresh": Condition("○", "not started", "muted"),
    "starting": Condition("○", "starting", "accent"),
    "encoding": Condition("●", "encoding", "accent"),
    "running": Condition("●", "training", "good"),
    "pausing": Condition("●", "pausing", "warn"),
    "paused": Condition("‖", "paused", "warn"),
    "stopping": Condition("●", "stopping", "warn"),
    "saving": Condition("●", "saving", "accent"),
    "finished": Condition("✓", "finished", "good"),
    "stopped": Condition("■", "stopped", "warn"),
    "aborted": Condition("■", "aborted", "warn"),
    "failed": Condition("✕", "failed", "bad"),
    "diverged": Condition("✕", "diverged", "bad"),
    "out_of_memory": Condition("✕", "out of memory", "bad"),
    "refused": Condition("✕", "refused", "bad"),
}
_DIED = Condition("✕", "died", "bad")
_SILENT = Condition("?", "silent", "warn")
_UNKNOWN = Condition("?", "unknown", "muted")
_LAUNCHING = Condition("○", "starting", "accent")


def condition(status: str, liveness: Liveness | None) -> Condition:
    """How to name a run, given what its journal says and whether its engine lives."""
    known = _CONDITIONS.get(status, _UNKNOWN)
    if liveness is Liveness.DIED:
        return _DIED
    if liveness is Liveness.STALE and status in LIVE_STATUSES:
        return _SILENT
    if liveness is Liveness.RUNNING and status == "fresh":
        return _LAUNCHING
    return known


def is_live(status: str, liveness: Liveness | None) -> bool:
    """Whether an engine is there to take commands."""
    if liveness is None:
        return status in LIVE_STATUSES
    return liveness in (Liveness.RUNNING, Liveness.STALE)
