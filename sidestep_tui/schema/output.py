"""Settings of what a run writes, and where."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sidestep_tui.schema.meta import Group, Meta


class OutputSettings(Group):
    """Where the run lives and how often it saves."""

    path: Annotated[str, Field(min_length=1), Meta("runs folder", path="directory", allowed="a folder")] = "runs"
    """Folder that receives the run's own directory."""

    name: Annotated[
        str,
        Field(pattern=r"^([A-Za-z0-9_-][A-Za-z0-9._-]*)?$", max_length=64),
        Meta("run name", allowed="up to 64 letters, digits, dots, dashes and underscores, not starting with a dot"),
    ] = ""
    """Name of the run's directory. Empty makes one from the preset, the dataset and the date."""

    save_every_epochs: Annotated[
        int,
        Field(ge=0, le=100_000),
        Meta("checkpoint every", unit="epochs", step=5, costs=("disk",), zero_means="only at the end"),
    ] = 10
    """How often a checkpoint is kept. Each is a usable adapter and can be resumed from. 0 saves only at the end and
    when asked."""

    save_every_steps: Annotated[
        int,
        Field(ge=0, le=10_000_000),
        Meta(
            "checkpoint every", level="advanced", unit="steps", step=100, costs=("disk",), zero_means="by epochs only"
        ),
    ] = 0
    """Also keep a checkpoint every so many optimizer steps."""

    keep_last: Annotated[
        int, Field(ge=0, le=10_000), Meta("checkpoints kept", level="advanced", costs=("disk",), zero_means="all")
    ] = 0
    """How many of the newest checkpoints stay on disk; best and final adapters always do. 0 keeps all."""
