"""The steps of the wizard, by name. Free of the schema, so that the rail can be painted before it is loaded."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """A step: its page shows the settings of `groups`."""

    id: str
    label: str
    groups: tuple[str, ...]


STEPS = (
    Step("model", "Model", ("model",)),
    Step("data", "Dataset", ("data",)),
    Step("adapter", "Adapter", ("adapter",)),
    Step("optim", "Optimizer", ("optim", "train")),
    Step("memory", "VRAM", ("memory", "speed")),
    Step("review", "Review", ("output",)),
)
STEP_IDS = tuple(step.id for step in STEPS)
STEP_OF_GROUP = {group: step.id for step in STEPS for group in step.groups}
