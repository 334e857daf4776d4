"""Tokens of prompts and lyrics to the states that the condition encoder reads.

ACESTEP_FACTS.md §3.2 and §3.3: prompts run through the whole text encoder, lyrics only through its embedding table.
One text at a time, so that nothing is ever padded.
"""

from __future__ import annotations

from typing import Any

import torch


def prompt_states(model: Any, ids: list[int]) -> torch.Tensor:
    """Last hidden states [L, D] of a prompt."""
    with torch.inference_mode():
        states: torch.Tensor = model(input_ids=_batch(model, ids)).last_hidden_state[0]
    return states


def lyric_states(model: Any, ids: list[int]) -> torch.Tensor:
    """Rows [L, D] of the embedding table for lyrics."""
    with torch.inference_mode():
        states: torch.Tensor = model.get_input_embeddings()(_batch(model, ids))[0]
    return states


def _batch(model: Any, ids: list[int]) -> torch.Tensor:
    return torch.tensor([ids], dtype=torch.long, device=next(model.parameters()).device)
