"""Tensor and configuration names: the original ACE-Step 1.5 layout and the diffusers one, both ways.

The table is ACESTEP_FACTS.md §2.3. Nothing here touches a file or imports torch: names in, names out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Component = Literal["transformer", "condition_encoder", "audio_tokenizer", "audio_token_detokenizer"]

_PREFIXES: dict[str, Component] = {
    "decoder": "transformer",
    "encoder": "condition_encoder",
    "tokenizer": "audio_tokenizer",
    "detokenizer": "audio_token_detokenizer",
}
_PREFIX_OF: dict[Component, str] = {component: prefix for prefix, component in _PREFIXES.items()}

NULL_CONDITION = "null_condition_emb"
"""Sits at the top of an original file, and inside the condition encoder of diffusers."""
SILENCE = "silence_latent"
"""A file of its own in the original layout, a buffer of the condition encoder in diffusers."""

_TO_DIFFUSERS: dict[str, tuple[str, ...]] = {
    "q_proj": ("to_q",),
    "k_proj": ("to_k",),
    "v_proj": ("to_v",),
    "o_proj": ("to_out", "0"),
    "q_norm": ("norm_q",),
    "k_norm": ("norm_k",),
}
_TO_ORIGINAL: dict[str, str] = {
    "to_q": "q_proj",
    "to_k": "k_proj",
    "to_v": "v_proj",
    "norm_q": "q_norm",
    "norm_k": "k_norm",
    "proj_in_conv": "proj_in.1",
    "proj_out_conv": "proj_out.1",
}


def path_to_diffusers(path: str) -> str:
    """The diffusers name of a module or tensor path: `layers.0.self_attn.o_proj` → `layers.0.self_attn.to_out.0`."""
    parts = path.split(".")
    renamed: list[str] = []
    index = 0
    while index < len(parts):
        part = parts[index]
        if part in ("proj_in", "proj_out") and parts[index + 1 : index + 2] == ["1"]:
            renamed.append(f"{part}_conv")
            index += 2
            continue
        renamed.extend(_TO_DIFFUSERS.get(part, (part,)))
        index += 1
    return ".".join(renamed)


def path_to_original(path: str) -> str:
    """The original name of a module or tensor path: `layers.0.self_attn.to_out.0` → `layers.0.self_attn.o_proj`."""
    parts = path.split(".")
    renamed: list[str] = []
    index = 0
    while index < len(parts):
        part = parts[index]
        if part == "to_out" and parts[index + 1 : index + 2] == ["0"]:
            renamed.append("o_proj")
            index += 2
            continue
        renamed.append(_TO_ORIGINAL.get(part, part))
        index += 1
    return ".".join(renamed)


LYCORIS_PREFIX = "lycoris_"
_LYCORIS_ENDS = {"_to_q": "_q_proj", "_to_k": "_k_proj", "_to_v": "_v_proj", "_to_out_0": "_o_proj"}


def path_to_lycoris(path: str) -> str:
    """The name of a module in LyCORIS files, of original names: `layers.0.self_attn.to_q` →
    `lycoris_layers_0_self_attn_q_proj`."""
    return LYCORIS_PREFIX + path_to_original(path).replace(".", "_")


def lycoris_to_original(key: str) -> str:
    """A key of a LyCORIS file in original names: `lycoris_layers_0_self_attn_to_q.lokr_w1` → `…_q_proj.lokr_w1`."""
    stem, dot, part = key.partition(".")
    for ours, theirs in _LYCORIS_ENDS.items():
        if stem.endswith(ours):
            return stem.removesuffix(ours) + theirs + dot + part
    return key


def key_to_diffusers(key: str) -> tuple[Component, str] | None:
    """The component and its key for a key of an original `model.safetensors`, or None if the key is unknown."""
    if key == NULL_CONDITION:
        return "condition_encoder", NULL_CONDITION
    prefix, _, rest = key.partition(".")
    component = _PREFIXES.get(prefix)
    if component is None or not rest:
        return None
    return component, path_to_diffusers(rest)


def key_to_original(component: Component, key: str) -> str | None:
    """The original key of a component's key, or None for what the original file does not hold (the silence)."""
    if component == "condition_encoder" and key == NULL_CONDITION:
        return NULL_CONDITION
    if component == "condition_encoder" and key == SILENCE:
        return None
    return f"{_PREFIX_OF[component]}.{path_to_original(key)}"


_SHARED = ("rope_theta", "attention_bias", "attention_dropout", "rms_norm_eps", "sliding_window")
_SIZES = ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads")
_TRANSFORMER = (
    *_SIZES,
    *_SHARED,
    "num_hidden_layers",
    "head_dim",
    "in_channels",
    "audio_acoustic_hidden_dim",
    "patch_size",
    "layer_types",
    "is_turbo",
    "model_version",
)


def _taken(config: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: config[name] for name in names if config.get(name) is not None}


def _encoder_sizes(config: Mapping[str, Any]) -> dict[str, Any]:
    """XL has its own `encoder_*` sizes; the 2B models use those of the DiT."""
    sizes = _taken(config, (*_SHARED, "head_dim"))
    for name in _SIZES:
        value = config.get(f"encoder_{name}")
        value = config.get(name) if value is None else value
        if value is not None:
            sizes[name] = value
    return sizes


def transformer_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `AceStepTransformer1DModel` from an original `config.json`."""
    result = _taken(config, _TRANSFORMER)
    result["encoder_hidden_size"] = config.get("encoder_hidden_size") or config["hidden_size"]
    return result


def condition_encoder_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `AceStepConditionEncoder` from an original `config.json`; its layers always alternate."""
    names = (
        "text_hidden_dim",
        "timbre_hidden_dim",
        "num_lyric_encoder_hidden_layers",
        "num_timbre_encoder_hidden_layers",
    )
    return _encoder_sizes(config) | _taken(config, names)


def audio_tokenizer_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `AceStepAudioTokenizer` from an original `config.json`."""
    names = (
        "audio_acoustic_hidden_dim",
        "pool_window_size",
        "num_attention_pooler_hidden_layers",
        "fsq_dim",
        "fsq_input_levels",
        "fsq_input_num_quantizers",
    )
    return _encoder_sizes(config) | _taken(config, names)


def audio_token_detokenizer_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `AceStepAudioTokenDetokenizer` from an original `config.json`."""
    names = ("audio_acoustic_hidden_dim", "pool_window_size", "num_attention_pooler_hidden_layers")
    return _encoder_sizes(config) | _taken(config, names)
