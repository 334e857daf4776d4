"""The embedded model: a real ACE-Step 1.5 checkpoint in every respect but size.

Same classes, same file layout and key names, same 64-channel 25 Hz latents, same prompt path with a small tokenizer of
its own. It learns, so the whole product can be run and tested on a CPU in minutes; its music is noise.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from torch import nn

from sidestep_tui.core import atomic
from sidestep_tui.engine import keymap
from sidestep_tui.engine.tiny_text import train_tokenizer
from sidestep_tui.engine.variants import LATENT_CHANNELS, SAMPLE_RATE, SILENCE_FRAMES

Layout = Literal["original", "diffusers"]

_TEXT_DIM = 64
_END_OF_TEXT = "<|endoftext|>"


def config(*, xl: bool = False, variant: str = "turbo") -> dict[str, Any]:
    """The original-style `config.json` of the tiny model; XL-shaped, its DiT is wider than its condition encoder."""
    sizes: dict[str, Any] = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
    }
    if xl:
        sizes |= {
            f"encoder_{name}": sizes[name] for name in list(sizes) if name not in ("head_dim", "num_hidden_layers")
        }
        sizes |= {"hidden_size": 96, "intermediate_size": 160, "num_attention_heads": 8}
    layers = sizes["num_hidden_layers"]
    return sizes | {
        "model_type": "acestep",
        "architectures": ["AceStepConditionGenerationModel"],
        "sliding_window": 16,
        "layer_types": ["full_attention" if layer % 2 else "sliding_attention" for layer in range(layers)],
        "in_channels": 3 * LATENT_CHANNELS,
        "patch_size": 2,
        "audio_acoustic_hidden_dim": LATENT_CHANNELS,
        "timbre_hidden_dim": LATENT_CHANNELS,
        "text_hidden_dim": _TEXT_DIM,
        "num_lyric_encoder_hidden_layers": 2,
        "num_timbre_encoder_hidden_layers": 2,
        "num_attention_pooler_hidden_layers": 1,
        "timbre_fix_frame": 750,
        "pool_window_size": 5,
        "fsq_dim": 64,
        "fsq_input_levels": [8, 8, 8, 5, 5, 5],
        "fsq_input_num_quantizers": 1,
        "rope_theta": 1_000_000.0,
        "rms_norm_eps": 1e-6,
        "max_position_embeddings": 32_768,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "timestep_mu": -0.4,
        "timestep_sigma": 1.0,
        "data_proportion": 0.5,
        "vocab_size": 64_003,
        "is_turbo": variant == "turbo",
        "model_version": variant,
    }


def write_model(
    directory: Path, *, layout: Layout = "original", xl: bool = False, variant: str = "turbo", seed: int = 0
) -> Path:
    """Write a tiny checkpoint into `directory` and return the path to give as `model.path`.

    The original layout makes `acestep-v15-[xl-]<variant>/`, `vae/` and `Qwen3-Embedding-0.6B/` and returns the first;
    the diffusers layout fills `directory` itself. The same seed writes the same weights in both.
    """
    directory.mkdir(parents=True, exist_ok=True)
    settings = config(xl=xl, variant=variant)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        parts = build_parts(settings)
        vae = _build_vae()
        tokenizer, text_encoder = _build_text_encoder()
        silence = torch.randn(1, SILENCE_FRAMES, LATENT_CHANNELS, dtype=torch.float32) * 0.05 + torch.linspace(
            -0.5, 0.5, 64
        )
    parts["condition_encoder"].silence_latent.copy_(silence)
    if layout == "diffusers":
        _write_diffusers(directory, parts, vae, tokenizer, text_encoder)
        return directory
    name = f"acestep-v15-{'xl-' if xl else ''}{variant}"
    _write_original(directory / name, settings, parts, silence)
    vae.save_pretrained(directory / "vae")
    _write_text_encoder(directory / "Qwen3-Embedding-0.6B", text_encoder)
    tokenizer.save_pretrained(directory / "Qwen3-Embedding-0.6B")
    return directory / name


def build_parts(settings: dict[str, Any]) -> dict[keymap.Component, Any]:
    """The four components of an original `model.safetensors`, frozen, for any original-style configuration."""
    from diffusers import AceStepTransformer1DModel
    from diffusers.pipelines.ace_step import modeling_ace_step as ace

    builders: dict[keymap.Component, Callable[[], Any]] = {
        "transformer": lambda: AceStepTransformer1DModel(**keymap.transformer_config(settings)),
        "condition_encoder": lambda: ace.AceStepConditionEncoder(**keymap.condition_encoder_config(settings)),
        "audio_tokenizer": lambda: ace.AceStepAudioTokenizer(**keymap.audio_tokenizer_config(settings)),
        "audio_token_detokenizer": lambda: ace.AceStepAudioTokenDetokenizer(
            **keymap.audio_token_detokenizer_config(settings)
        ),
    }
    return {name: build().requires_grad_(requires_grad=False).eval() for name, build in builders.items()}


def _build_vae() -> Any:
    """An Oobleck VAE with the real hop. Its first stage needs 128 channels at 48 kHz; the largest ratio
    comes first, so that the stages after it cost little, and the residual units at high rates add nothing, which
    `vae.drop_identities` makes use of."""
    from diffusers import AutoencoderOobleck

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*weight_norm", category=FutureWarning)
        vae = AutoencoderOobleck(
            encoder_hidden_size=2 * LATENT_CHANNELS,
            downsampling_ratios=[10, 6, 4, 4, 2],
            channel_multiples=[1, 1, 1, 1, 1],
            decoder_channels=8,
            decoder_input_channels=LATENT_CHANNELS,
            audio_channels=2,
            sampling_rate=SAMPLE_RATE,
        )
    vae.requires_grad_(requires_grad=False).eval()
    for block in vae.encoder.block[:3]:
        for unit in (block.res_unit1, block.res_unit2, block.res_unit3):
            nn.init.zeros_(unit.conv2.weight_g)
            nn.init.zeros_(unit.conv2.bias)
    _calibrate(vae)
    return vae


def _calibrate(vae: Any) -> None:
    """Scale the last convolution so that latents have about zero mean and unit spread, as those of the real VAE do."""
    seconds = torch.arange(SAMPLE_RATE // 2) / SAMPLE_RATE
    chirp = torch.sin(2 * torch.pi * (110 + 900 * seconds) * seconds) * (0.2 + 0.6 * (seconds * 8 % 1))
    noise = 0.3 * torch.randn(2, len(seconds)) * (seconds * 4 % 1 < 0.2)
    with torch.no_grad():
        mean = vae.encode((0.5 * chirp + noise).unsqueeze(0)).latent_dist.mean[0]
        spread = mean.std(dim=1).clamp(min=1e-4)
        last = vae.encoder.conv2
        last.bias[:LATENT_CHANNELS] = (last.bias[:LATENT_CHANNELS] - mean.mean(dim=1)) / spread
        last.weight_g[:LATENT_CHANNELS] /= spread[:, None, None]


def _build_text_encoder() -> tuple[Any, nn.Module]:
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3Model

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=train_tokenizer(_END_OF_TEXT),
        pad_token=_END_OF_TEXT,
        eos_token=_END_OF_TEXT,
        model_max_length=32_768,
    )
    end = tokenizer.convert_tokens_to_ids(_END_OF_TEXT)
    text_config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=_TEXT_DIM,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=32_768,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
    )
    model = Qwen3Model(text_config).requires_grad_(requires_grad=False).eval()
    # The usual 0.02 would make lyric embeddings vanish beside the projections; real ones have a spread of about this.
    nn.init.normal_(model.get_input_embeddings().weight, std=0.5)
    return tokenizer, model


def _write_text_encoder(directory: Path, model: Any) -> None:
    """What `save_pretrained` writes, without its progress bar."""
    directory.mkdir(parents=True, exist_ok=True)
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(directory)
    save_file(model.state_dict(), directory / "model.safetensors", metadata={"format": "pt"})


def _write_original(
    directory: Path, settings: dict[str, Any], parts: dict[keymap.Component, Any], silence: torch.Tensor
) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    state: dict[str, torch.Tensor] = {}
    for component, module in parts.items():
        for key, tensor in module.state_dict().items():
            original = keymap.key_to_original(component, key)
            if original is not None:
                state[original] = tensor.contiguous()
    save_file(state, directory / "model.safetensors", metadata={"format": "pt"})
    torch.save(silence.transpose(1, 2).contiguous(), directory / "silence_latent.pt")
    atomic.write_json(directory / "config.json", settings)


def _write_diffusers(
    directory: Path, parts: dict[keymap.Component, Any], vae: Any, tokenizer: Any, text_encoder: Any
) -> None:
    for component, module in parts.items():
        module.save_pretrained(directory / component)
    vae.save_pretrained(directory / "vae")
    _write_text_encoder(directory / "text_encoder", text_encoder)
    tokenizer.save_pretrained(directory / "tokenizer")
    scheduler = {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1, "shift": 1.0}
    (directory / "scheduler").mkdir(exist_ok=True)
    atomic.write_json(directory / "scheduler" / "scheduler_config.json", scheduler)
    index = {
        "_class_name": "AceStepPipeline",
        "transformer": ["diffusers", "AceStepTransformer1DModel"],
        "condition_encoder": ["ace_step", "AceStepConditionEncoder"],
        "audio_tokenizer": ["ace_step", "AceStepAudioTokenizer"],
        "audio_token_detokenizer": ["ace_step", "AceStepAudioTokenDetokenizer"],
        "vae": ["diffusers", "AutoencoderOobleck"],
        "text_encoder": ["transformers", "Qwen3Model"],
        "tokenizer": ["transformers", "PreTrainedTokenizerFast"],
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    }
    atomic.write_text(directory / "model_index.json", json.dumps(index, indent=2) + "\n")
