"""Text states to the condition that the DiT attends to.

ACESTEP_FACTS.md §3.4 and §3.5: the tokens are those of the lyrics, one for the timbre, those of the prompt. Without
reference audio the timbre comes from 30 s of silence, as in generation; zeros would be a sound the model never heard.
"""

from __future__ import annotations

from typing import Any, Final

import torch

TIMBRE_FRAMES: Final = 750


def encode(condition_encoder: Any, prompt_states: torch.Tensor, lyric_states: torch.Tensor) -> torch.Tensor:
    """The condition [Ll + 1 + Lt, D] of prompt states [Lt, text dim] and lyric states [Ll, text dim], unpadded."""
    parameter = next(condition_encoder.parameters())
    device, dtype = parameter.device, parameter.dtype
    text = prompt_states.unsqueeze(0).to(device, dtype)
    lyrics = lyric_states.unsqueeze(0).to(device, dtype)
    silence = condition_encoder.silence_latent[:, :TIMBRE_FRAMES].to(device, dtype)
    with torch.inference_mode():
        states, _ = condition_encoder(
            text_hidden_states=text,
            text_attention_mask=torch.ones(text.shape[:2], dtype=torch.bool, device=device),
            lyric_hidden_states=lyrics,
            lyric_attention_mask=torch.ones(lyrics.shape[:2], dtype=torch.bool, device=device),
            refer_audio_acoustic_hidden_states_packed=silence,
            refer_audio_order_mask=torch.zeros(1, dtype=torch.long, device=device),
        )
    condition: torch.Tensor = states[0]
    return condition
