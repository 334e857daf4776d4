"""The model class of ACE-Step 1.5 in miniature, with random weights that are the same every time."""

from __future__ import annotations

import torch
from diffusers import AceStepTransformer1DModel

WIDTH = 32


def make_transformer(layers: int = 2, seed: int = 0, *, width: int = WIDTH) -> AceStepTransformer1DModel:
    """Layers with a window of 16 tokens and without one, in turn; four query heads and two of keys and values."""
    torch.manual_seed(seed)
    transformer = AceStepTransformer1DModel(
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=width // 4,
        in_channels=192,
        audio_acoustic_hidden_dim=64,
        sliding_window=16,
        encoder_hidden_size=width,
    )
    return transformer.eval()
