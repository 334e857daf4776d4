"""Names of tensors and modules translate between the two layouts without loss."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch

from sidestep_tui.engine import keymap, tiny

# What the published config.json files say (ACESTEP_FACTS.md §1).
SHAPE_2B: dict[str, Any] = {
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "in_channels": 192,
    "patch_size": 2,
    "audio_acoustic_hidden_dim": 64,
    "timbre_hidden_dim": 64,
    "text_hidden_dim": 1024,
    "num_lyric_encoder_hidden_layers": 8,
    "num_timbre_encoder_hidden_layers": 4,
    "num_attention_pooler_hidden_layers": 2,
    "pool_window_size": 5,
    "fsq_dim": 2048,
    "fsq_input_levels": [8, 8, 8, 5, 5, 5],
    "fsq_input_num_quantizers": 1,
    "sliding_window": 128,
    "rope_theta": 1_000_000,
    "rms_norm_eps": 1e-6,
    "attention_bias": False,
    "attention_dropout": 0.0,
    "is_turbo": True,
    "model_version": "turbo",
}
SHAPE_XL: dict[str, Any] = SHAPE_2B | {
    "hidden_size": 2560,
    "intermediate_size": 9728,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "encoder_hidden_size": 2048,
    "encoder_intermediate_size": 6144,
    "encoder_num_attention_heads": 16,
    "encoder_num_key_value_heads": 8,
}


def build_on_meta(config: dict[str, Any]) -> dict[keymap.Component, torch.nn.Module]:
    with torch.device("meta"):
        return cast("dict[keymap.Component, torch.nn.Module]", tiny.build_parts(config))


@pytest.mark.parametrize(
    ("original", "component", "diffusers"),
    [
        ("decoder.layers.3.self_attn.q_proj.weight", "transformer", "layers.3.self_attn.to_q.weight"),
        ("decoder.layers.3.cross_attn.o_proj.weight", "transformer", "layers.3.cross_attn.to_out.0.weight"),
        ("decoder.layers.0.cross_attn.k_norm.weight", "transformer", "layers.0.cross_attn.norm_k.weight"),
        ("decoder.layers.0.mlp.gate_proj.weight", "transformer", "layers.0.mlp.gate_proj.weight"),
        ("decoder.layers.0.scale_shift_table", "transformer", "layers.0.scale_shift_table"),
        ("decoder.proj_in.1.bias", "transformer", "proj_in_conv.bias"),
        ("decoder.proj_out.1.weight", "transformer", "proj_out_conv.weight"),
        ("decoder.time_embed_r.time_proj.bias", "transformer", "time_embed_r.time_proj.bias"),
        ("encoder.timbre_encoder.special_token", "condition_encoder", "timbre_encoder.special_token"),
        (
            "encoder.lyric_encoder.layers.0.self_attn.v_proj.weight",
            "condition_encoder",
            "lyric_encoder.layers.0.self_attn.to_v.weight",
        ),
        ("null_condition_emb", "condition_encoder", "null_condition_emb"),
        ("tokenizer.quantizer.project_in.weight", "audio_tokenizer", "quantizer.project_in.weight"),
        ("detokenizer.proj_out.weight", "audio_token_detokenizer", "proj_out.weight"),
    ],
)
def test_known_keys_translate_both_ways(original: str, component: keymap.Component, diffusers: str) -> None:
    assert keymap.key_to_diffusers(original) == (component, diffusers)
    assert keymap.key_to_original(component, diffusers) == original


@pytest.mark.parametrize("key", ["optimizer.state", "decoder", "", "decoders.layers.0.weight"])
def test_an_unknown_key_belongs_to_no_component(key: str) -> None:
    assert keymap.key_to_diffusers(key) is None


def test_module_paths_of_adapters_translate_both_ways() -> None:
    for original, diffusers in {
        "layers.7.self_attn.o_proj": "layers.7.self_attn.to_out.0",
        "layers.7.cross_attn.q_proj": "layers.7.cross_attn.to_q",
        "layers.7.mlp.down_proj": "layers.7.mlp.down_proj",
        "proj_in.1": "proj_in_conv",
        "layers.7.self_attn.o_proj.lora_A.weight": "layers.7.self_attn.to_out.0.lora_A.weight",
    }.items():
        assert keymap.path_to_diffusers(original) == diffusers
        assert keymap.path_to_original(diffusers) == original


@pytest.mark.parametrize("config", [SHAPE_2B, SHAPE_XL], ids=["2b", "xl"])
def test_every_key_of_the_real_models_survives_the_round_trip(config: dict[str, Any]) -> None:
    originals: list[str] = []
    for component, module in build_on_meta(config).items():
        for key in module.state_dict():
            original = keymap.key_to_original(component, key)
            if original is None:
                assert key == keymap.SILENCE
                continue
            assert keymap.key_to_diffusers(original) == (component, key)
            originals.append(original)
    assert len(originals) == len(set(originals))
    assert not [key for key in originals if "to_q" in key or "to_out" in key or "_conv" in key]


@pytest.mark.parametrize(
    ("config", "decoder", "total"),
    [(SHAPE_2B, 1_575_458_880, 2_393_872_518), (SHAPE_XL, 4_168_897_088, 4_987_310_726)],
    ids=["2b", "xl"],
)
def test_mapped_configurations_have_the_published_parameter_counts(
    config: dict[str, Any], decoder: int, total: int
) -> None:
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in build_on_meta(config).items()}
    assert counts["transformer"] == decoder
    assert counts["condition_encoder"] == 608_369_664
    assert counts["audio_tokenizer"] == 105_032_198
    assert counts["audio_token_detokenizer"] == 105_011_776
    assert sum(counts.values()) == total


def test_xl_encoder_sizes_are_its_own_and_2b_ones_are_those_of_the_decoder() -> None:
    assert keymap.condition_encoder_config(SHAPE_2B)["hidden_size"] == 2048
    xl = keymap.condition_encoder_config(SHAPE_XL)
    assert (xl["hidden_size"], xl["intermediate_size"], xl["num_attention_heads"]) == (2048, 6144, 16)
    assert keymap.transformer_config(SHAPE_2B)["encoder_hidden_size"] == 2048
    assert keymap.transformer_config(SHAPE_XL)["encoder_hidden_size"] == 2048
    assert keymap.transformer_config(SHAPE_XL)["hidden_size"] == 2560
