"""Settings of the base model."""

from __future__ import annotations

from typing import Annotated, Literal

from sidestep_tui.schema.meta import Group, Meta

Variant = Literal["auto", "turbo", "base", "sft", "xl-turbo", "xl-base", "xl-sft"]


class ModelSettings(Group):
    """Which checkpoint to teach."""

    path: Annotated[str, Meta("checkpoint", path="model", empty_means="choose a checkpoint")] = ""
    """Directory of the ACE-Step 1.5 checkpoint: an original `acestep-v15-…` directory, the folder that holds it
    beside `vae` and `Qwen3-Embedding-0.6B`, or a diffusers directory with `model_index.json`."""

    variant: Annotated[Variant, Meta("variant", level="advanced")] = "auto"
    """Which variant the checkpoint is. Read from its files when `auto`; set it to refuse anything else, or to choose
    where one folder holds several. Adapters trained on base also work on turbo; the reverse does not hold."""

    components: Annotated[
        str, Meta("VAE and text encoder", level="expert", path="directory", empty_means="beside it")
    ] = ""
    """Directory that holds `vae` and `Qwen3-Embedding-0.6B`, when they are neither in nor beside the checkpoint."""
