"""What a rule over several settings says, and what it may know."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sidestep_tui.schema.model_shape import ModelShape
from sidestep_tui.schema.settings import Settings

Severity = Literal["error", "warning", "advice"]


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known about songs and machine; None where it is not."""

    songs: int | None = None
    total_seconds: float | None = None
    longest_seconds: float | None = None
    shortest_seconds: float | None = None
    steps_per_epoch: int | None = None
    shape: ModelShape | None = None
    """Of the chosen model, or of the one to assume."""
    layers: int | None = None
    """Of the chosen model."""
    vram_bytes: int | None = None
    free_disk_bytes: int | None = None
    device: Literal["cuda", "mps", "cpu"] | None = None
    macos: bool | None = None


@dataclass(frozen=True, slots=True)
class Advice:
    """One piece of advice about `path`. `fix` holds the values that follow it, `fix_label` what its button says."""

    severity: Severity
    path: str
    sentence: str
    fix: Mapping[str, Any] | None = None
    fix_label: str = ""


Rule = Callable[[Settings, Facts], Iterable[Advice]]


def fix_of(label: str, **values: Any) -> dict[str, Any]:
    """The two fix arguments of Advice; `adapter__rank=8` stands for the path adapter.rank."""
    return {"fix": {key.replace("__", "."): value for key, value in values.items()}, "fix_label": label}
