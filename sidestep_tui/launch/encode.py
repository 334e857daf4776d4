"""Filling the cache of encoded songs outside of a run, or asking what that would take.

What is encoded by the time that somebody stops it stays.
"""

from __future__ import annotations

from typing import Any

from sidestep_tui.launch import job
from sidestep_tui.launch.job import Report, Said
from sidestep_tui.schema.settings import Settings

_HINT = "What is encoded stays. `sidestep-tui doctor` checks the packages."
_IF_KILLED = "Close what else uses memory. What is encoded stays, and the next time continues from there."
_ENCODE = job.Job("encode", "Encoding", _IF_KILLED, _HINT)
_PLAN = job.Job("plan", "Encoding", _IF_KILLED, _HINT)


def encode(settings: Settings, report: Report) -> dict[str, Any]:
    """Encode what is missing; returns counts: songs, copies, encoded (by kind), skipped, cache, device.

    Blocks. Raises what the encoder refused, and passes on what `report` raises (or Ctrl-C) once the encoder has ended.
    """
    return job.ask(_ENCODE, {"settings": settings.model_dump(mode="json")}, report)


def plan(settings: Settings, report: Report) -> dict[str, Any]:
    """What `encode` would do: songs with reasons, latents, seconds, texts, conditions, bytes; no model is loaded."""
    return job.ask(_PLAN, {"settings": settings.model_dump(mode="json")}, report)


__all__ = ["Report", "Said", "encode", "plan"]
