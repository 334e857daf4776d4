"""How long a run prepared itself before it trained, and at which step: the notes on its charts. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sidestep_tui.protocol.events import Event
from sidestep_tui.protocol.fields import float_of, text_of

_PREPARING = ("loading", "encoding_audio", "encoding_text", "encoding_conditions")


@dataclass(frozen=True, slots=True)
class Stage:
    """Time before training went on from a step."""

    step: int
    name: str
    seconds: float


class Stages:
    """Built from the phases of a run; preparations of one session are one stage."""

    def __init__(self) -> None:
        self.all: list[Stage] = []
        self._since: float | None = None
        self._name = ""

    def add(self, event: Event, step: int) -> None:
        """Take in a phase that begins or goes on at `step`."""
        name, t = text_of(event, "name"), float_of(event, "t")
        if name in _PREPARING:
            if self._since is None and math.isfinite(t):
                self._since, self._name = t, "loading"
            if name != "loading":
                self._name = "encoding"
            return
        if self._since is not None and math.isfinite(t) and t >= self._since:
            self.all.append(Stage(step, self._name, t - self._since))
        self._since = None

    def go_back_to(self, step: int) -> None:
        """A session begins at `step`; what it superseded is forgotten."""
        self.all = [stage for stage in self.all if stage.step <= step]
        self._since = None
