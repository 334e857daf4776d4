"""What a setting knows about itself beyond its type: level, unit, how a key press changes it, what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

Level = Literal["basic", "advanced", "expert"]
Cost = Literal["memory", "parameters", "time", "disk", "quality"]
Bump = Literal["linear", "double", "scale"]
PathKind = Literal["model", "dataset", "directory"]


@dataclass(frozen=True, slots=True)
class Meta:
    """Presentation facts of one setting, attached with `Annotated`.

    `bump` says what + and - do: `linear` adds `step`, `double` doubles or halves, `scale` multiplies by 1.25.
    `costs` names the estimates that change with the setting. `zero_means` explains a 0 that switches something off.
    `allowed` says in words what a text may hold, where a pattern or a length restricts it; `empty_means` what an
    empty one stands for.
    """

    label: str
    level: Level = "basic"
    unit: str = ""
    bump: Bump = "linear"
    step: float = 1
    costs: tuple[Cost, ...] = ()
    path: PathKind | None = None
    zero_means: str = ""
    allowed: str = ""
    empty_means: str = "none"


class Group(BaseModel):
    """Base of the settings groups. Attribute docstrings are the help text that people read."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        validate_default=True,
        allow_inf_nan=False,
    )
