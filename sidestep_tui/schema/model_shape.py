"""The dimensions of a diffusion transformer: those of the published sizes, and those that a configuration states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sidestep_tui.core.errors import ModelError

_TIME_EMBEDDING_CHANNELS = 256


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The dimensions of a diffusion transformer that decide its memory."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    encoder_hidden: int
    in_channels: int = 192
    latent_channels: int = 64
    patch: int = 2

    @property
    def query_width(self) -> int:
        return self.heads * self.head_dim

    @property
    def key_width(self) -> int:
        return self.kv_heads * self.head_dim

    @property
    def linear_parameters(self) -> int:
        """Weights of the blocks' attention and MLP matrices: what a quantised base would shrink."""
        attention = 2 * self.hidden * self.query_width + 2 * self.hidden * self.key_width
        return self.layers * (2 * attention + 3 * self.hidden * self.intermediate)

    @property
    def parameters(self) -> int:
        """Every weight of the transformer."""
        hidden = self.hidden
        norms_and_tables = self.layers * (3 * hidden + 4 * self.head_dim + 6 * hidden) + hidden + 2 * hidden
        time_embed = (_TIME_EMBEDDING_CHANNELS + 1) * hidden + (hidden + 1) * hidden + (hidden + 1) * 6 * hidden
        patches = self.patch * hidden * (self.in_channels + self.latent_channels) + hidden + self.latent_channels
        condition = (self.encoder_hidden + 1) * hidden
        return self.linear_parameters + norms_and_tables + 2 * time_embed + patches + condition


SHAPE_2B = ModelShape(2048, 6144, 24, 16, 8, 128, 2048)
SHAPE_XL = ModelShape(2560, 9728, 32, 32, 8, 128, 2048)
_NAMED_SHAPES = {"2b": SHAPE_2B, "xl": SHAPE_XL}


def model_shape(config: Mapping[str, Any] | str) -> ModelShape:
    """The shape in a checkpoint's `config.json` (original or diffusers names), or of a size by name: `2b`, `xl`."""
    if isinstance(config, str):
        return _NAMED_SHAPES[config.lower()]
    hidden = _size(config, "hidden_size")
    heads = _size(config, "num_attention_heads")
    return ModelShape(
        hidden=hidden,
        intermediate=_size(config, "intermediate_size"),
        layers=_size(config, "num_hidden_layers"),
        heads=heads,
        kv_heads=_size(config, "num_key_value_heads", heads),
        head_dim=_size(config, "head_dim", max(1, hidden // heads)),
        encoder_hidden=_size(config, "encoder_hidden_size", hidden),
        in_channels=_size(config, "in_channels", 192),
        latent_channels=_size(config, "audio_acoustic_hidden_dim", 64),
        patch=_size(config, "patch_size", 2),
    )


def _size(config: Mapping[str, Any], key: str, default: int | None = None) -> int:
    """A whole number above 0 from a configuration; ModelError names the key that has none."""
    value = config.get(key)
    if value is None:
        value = default
    if type(value) is int and value > 0:
        return value
    raise ModelError(
        "The model's configuration is incomplete.",
        f"config.json does not state a usable {key}" + (f" (it says {value!r})." if value is not None else "."),
        "Copy config.json again from the same place as the weights.",
    )


def shape_for_variant(variant: str) -> ModelShape:
    """The published shape of a variant name; what to assume while no checkpoint is chosen."""
    return SHAPE_XL if variant.startswith("xl") else SHAPE_2B
