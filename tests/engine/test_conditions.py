"""Conditions are those of generation: order, length, timbre from silence, and the timbre token of XL."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from sidestep_tui.dataset import prompts
from sidestep_tui.engine import conditions, text, weights
from sidestep_tui.engine.variants import Checkpoint

FP32 = torch.float32
PROMPT = (
    "# Instruction\nFill the audio semantic mask based on the given conditions:\n\n# Caption\nslow piano\n\n"
    "# Metas\n- bpm: 90\n- timesignature: 4\n- keyscale: C major\n- duration: 20 seconds\n<|endoftext|>\n"
)
LYRICS = "# Languages\nen\n\n# Lyric\n[Verse]\nPaper boats along the stream<|endoftext|>"


@pytest.fixture(scope="module")
def ckpt(tiny_checkpoint: Path) -> Checkpoint:
    return weights.find_checkpoint(tiny_checkpoint)


@pytest.fixture(scope="module")
def xl(tiny_xl_checkpoint: Path) -> Checkpoint:
    return weights.find_checkpoint(tiny_xl_checkpoint)


def states(ckpt: Checkpoint) -> tuple[torch.Tensor, torch.Tensor]:
    tokens = prompts.Tokens(ckpt.tokenizer_dir)
    model = weights.load_text_encoder(ckpt, FP32)[1]
    prompt = text.prompt_states(model, tokens.ids(PROMPT, 256))
    return prompt, text.lyric_states(model, tokens.ids(LYRICS, 2048))


def test_a_condition_is_lyrics_then_timbre_then_text(ckpt: Checkpoint) -> None:
    encoder = weights.load_condition_encoder(ckpt, FP32)
    prompt, lyrics = states(ckpt)
    condition = conditions.encode(encoder, prompt, lyrics)
    length = lyrics.shape[0]
    assert condition.shape == (length + 1 + prompt.shape[0], 64)
    ones = torch.ones(1, length, dtype=torch.bool)
    with torch.no_grad():
        expected_lyrics = encoder.lyric_encoder(inputs_embeds=lyrics[None], attention_mask=ones)[0]
        expected_text = encoder.text_projector(prompt)
    assert torch.equal(condition[:length], expected_lyrics)
    assert torch.equal(condition[length + 1 :], expected_text)


def test_only_the_timbre_token_hears_the_silence(ckpt: Checkpoint) -> None:
    encoder = weights.load_condition_encoder(ckpt, FP32)
    prompt, lyrics = states(ckpt)
    before = conditions.encode(encoder, prompt, lyrics)
    encoder.silence_latent[:, conditions.TIMBRE_FRAMES :] += 1
    assert torch.equal(conditions.encode(encoder, prompt, lyrics), before)
    encoder.silence_latent.zero_()
    changed = (conditions.encode(encoder, prompt, lyrics) != before).any(dim=1)
    assert changed.nonzero().flatten().tolist() == [lyrics.shape[0]]


@pytest.mark.parametrize("shape", ["2b", "xl"])
def test_conditions_equal_those_of_the_pipeline(shape: str, ckpt: Checkpoint, xl: Checkpoint) -> None:
    chosen = xl if shape == "xl" else ckpt
    caught: list[torch.Tensor] = []
    pipe = weights.load_pipeline(chosen, FP32)
    pipe.set_progress_bar_config(disable=True)
    pipe.condition_encoder.register_forward_hook(lambda _module, _args, output: caught.append(output[0]))
    pipe(
        prompt="slow piano",
        lyrics="[Verse]\nPaper boats along the stream",
        vocal_language="en",
        bpm=90,
        timesignature="4",
        keyscale="C major",
        audio_duration=20.0,
        num_inference_steps=1,
        output_type="latent",
    )
    ours = conditions.encode(weights.load_condition_encoder(chosen, FP32), *states(chosen))
    assert float((caught[0][0] - ours).abs().max()) == 0.0


def test_tokens_equal_those_of_the_stock_tokenizer(ckpt: Checkpoint) -> None:
    tokenizer, _ = weights.load_text_encoder(ckpt, FP32)
    tokens = prompts.Tokens(ckpt.tokenizer_dir)
    for string in (PROMPT, LYRICS, "", "naïve 日本 ♯", "long " * 400):
        stock = tokenizer(string, truncation=True, max_length=256).input_ids
        assert tokens.ids(string, 256) == stock
        assert tokens.count(string) == len(tokenizer(string).input_ids)


def test_prompts_end_with_two_end_of_text_tokens(ckpt: Checkpoint) -> None:
    ids = prompts.Tokens(ckpt.tokenizer_dir).ids(PROMPT, 256)
    end = ids[-1]
    assert ids.count(end) == 2
    assert ids[-3] == end
    assert prompts.Tokens(ckpt.tokenizer_dir).ids(LYRICS, 2048)[-2:] == [end, end]


# The timbre token of XL, against a reference written from the description of the model alone.


def rms(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return x / (x.square().mean(dim=-1, keepdim=True) + 1e-6).sqrt() * weight


def rotate(x: torch.Tensor) -> torch.Tensor:
    """Rotary positions on [heads, T, d], halves paired, base 1e6."""
    length, half = x.shape[1], x.shape[2] // 2
    frequencies = 1e6 ** (-torch.arange(half, dtype=torch.float64) / half)
    angles = torch.arange(length, dtype=torch.float64)[:, None] * frequencies
    cos, sin = angles.cos().to(x), angles.sin().to(x)
    left, right = x[..., :half], x[..., half:]
    return torch.cat([left * cos - right * sin, right * cos + left * sin], dim=-1)


def reference_timbre(state: dict[str, torch.Tensor], frames: torch.Tensor, *, window: int, token: bool) -> torch.Tensor:
    """Embedding [D] of frames [T, 64] by a plain implementation: pre-norm layers, first position read at the end."""
    x = frames @ state["embed_tokens.weight"].T + state["embed_tokens.bias"]
    if token:
        x = torch.cat([state["special_token"][0], x])
    length = x.shape[0]
    distance = (torch.arange(length)[:, None] - torch.arange(length)[None]).abs()
    layer = 0
    while f"layers.{layer}.input_layernorm.weight" in state:
        own = {k.removeprefix(f"layers.{layer}."): v for k, v in state.items() if k.startswith(f"layers.{layer}.")}
        h = rms(x, own["input_layernorm.weight"])
        dim = own["self_attn.norm_q.weight"].shape[0]

        def heads(name: str, h: torch.Tensor = h, own: dict[str, torch.Tensor] = own, dim: int = dim) -> torch.Tensor:
            return (h @ own[f"self_attn.{name}.weight"].T).view(h.shape[0], -1, dim).transpose(0, 1)

        q = rotate(rms(heads("to_q"), own["self_attn.norm_q.weight"]))
        k = rotate(rms(heads("to_k"), own["self_attn.norm_k.weight"]))
        v = heads("to_v")
        groups = q.shape[0] // k.shape[0]
        k, v = k.repeat_interleave(groups, dim=0), v.repeat_interleave(groups, dim=0)
        scores = q @ k.transpose(1, 2) / math.sqrt(dim)
        if layer % 2 == 0:
            scores = scores.masked_fill(distance > window, float("-inf"))
        mixed = (scores.softmax(dim=-1) @ v).transpose(0, 1).reshape(length, -1)
        x = x + mixed @ own["self_attn.to_out.0.weight"].T
        h = rms(x, own["post_attention_layernorm.weight"])
        gate, up = h @ own["mlp.gate_proj.weight"].T, h @ own["mlp.up_proj.weight"].T
        x = x + (F.silu(gate) * up) @ own["mlp.down_proj.weight"].T
        layer += 1
    assert layer > 0
    return rms(x, state["norm.weight"])[0]


def timbre_of(encoder: Any, frames: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        embedding: torch.Tensor = encoder.timbre_encoder(frames[None], torch.zeros(1, dtype=torch.long))[0]
    return embedding.flatten()


@pytest.mark.parametrize("shape", ["2b", "xl"])
def test_timbre_equals_an_independent_reference(shape: str, ckpt: Checkpoint, xl: Checkpoint) -> None:
    chosen = xl if shape == "xl" else ckpt
    encoder = weights.load_condition_encoder(chosen, FP32)
    frames = torch.randn(61, 64, generator=torch.Generator().manual_seed(3))
    state = encoder.timbre_encoder.state_dict()
    window = encoder.config.sliding_window
    expected = {token: reference_timbre(state, frames, window=window, token=token) for token in (False, True)}
    actual = timbre_of(encoder, frames)
    right, wrong = expected[shape == "xl"], expected[shape != "xl"]
    torch.testing.assert_close(actual, right, atol=2e-5, rtol=1e-4)
    assert float((actual - wrong).abs().max()) > 0.1


def test_the_timbre_token_is_applied_once_and_renames_nothing(xl: Checkpoint) -> None:
    from diffusers.pipelines.ace_step.modeling_ace_step import AceStepConditionEncoder

    encoder = weights.load_condition_encoder(xl, FP32)
    frames = torch.randn(40, 64)
    before = timbre_of(encoder, frames)
    weights.apply_timbre_token(encoder)
    assert torch.equal(timbre_of(encoder, frames), before)
    assert set(encoder.state_dict()) == set(AceStepConditionEncoder(**dict(encoder.config)).state_dict())


def test_the_timbre_token_follows_a_cast_and_serves_every_reference(xl: Checkpoint) -> None:
    encoder = weights.load_condition_encoder(xl, FP32).to(torch.bfloat16)
    frames = torch.randn(3, 20, 64, dtype=torch.bfloat16)
    with torch.no_grad():
        embeddings, mask = encoder.timbre_encoder(frames, torch.tensor([0, 1, 1]))
    assert embeddings.dtype == torch.bfloat16
    assert embeddings.shape[:2] == (2, 2)
    assert mask.tolist() == [[1, 0], [1, 1]]


def test_xl_conditions_have_the_width_of_the_condition_encoder(xl: Checkpoint) -> None:
    encoder = weights.load_condition_encoder(xl, FP32)
    condition = conditions.encode(encoder, *states(xl))
    transformer = weights.load_transformer(xl, FP32)
    assert condition.shape[1] == xl.encoder_hidden_size == 64
    assert transformer.config.hidden_size == xl.hidden_size == 96
    with torch.no_grad():
        output = transformer(
            hidden_states=torch.randn(1, 10, 64),
            timestep=torch.tensor([0.5]),
            timestep_r=torch.tensor([0.5]),
            encoder_hidden_states=condition[None],
            context_latents=torch.randn(1, 10, 128),
            return_dict=False,
        )[0]
    assert output.shape == (1, 10, 64)
    assert bool(torch.isfinite(output).all())
