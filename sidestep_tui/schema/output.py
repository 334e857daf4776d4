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
        Meta(
            "run name",
            empty_means="by songs and preset",
            allowed="up to 64 letters, digits, dots, dashes and underscores, not starting with a dot",
        ),
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

    save_every_minutes: Annotated[
        int,
        Field(ge=0, le=10_000),
        Meta("checkpoint every", level="advanced", unit="minutes", step=5, costs=("disk",), zero_means="off"),
    ] = 0
    """Also keep a checkpoint when so many minutes have passed since the last one, or since training began or went on:
    what a power cut or the end of a rented machine may cost you. How many there will be depends on the pace, so set
    `keep_last` too."""

    keep_last: Annotated[
        int, Field(ge=0, le=10_000), Meta("checkpoints kept", level="advanced", costs=("disk",), zero_means="all")
    ] = 0
    """How many of the newest checkpoints stay on disk; best and final adapters always do. 0 keeps all. Never deleted:
    checkpoints that you asked for, renamed or put something into, and the last one from before a loss that is not a
    number."""

    keep_best: Annotated[
        int, Field(ge=0, le=1000), Meta("best ones kept", level="advanced", costs=("disk",), zero_means="none")
    ] = 0
    """How many of the best checkpoints stay beside the newest, by the loss that decides the best adapter and from the
    same epoch on. Each takes as much disk as any other; 0 leaves `keep_last` alone to decide."""

    async_saving: Annotated[bool, Meta("save in background", level="expert", costs=("memory",))] = True
    """Training goes on while a checkpoint is written: it only waits for a copy of adapter and optimizer in the
    computer's memory. Off waits until the checkpoint is on disk; the files are the same."""

    comfyui: Annotated[bool, Meta("ComfyUI file", level="advanced", costs=("disk",))] = True
    """At the end, also write the final and the best adapter as one file for ComfyUI's LoRA loader, with alpha inside,
    so that strength 1 is what was trained. Takes as much disk as the adapter; `adapter export` writes it later too."""
