"""Checkpoints are found, named and loaded whole, or refused with the file and the key that is wrong."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from sidestep_tui.core.errors import ModelError
from sidestep_tui.engine import keymap, shards, tiny, weights

FP32 = torch.float32


@pytest.fixture
def copy(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """A checkpoint of one's own to damage: the folder that holds all its parts."""
    target = tmp_path / "models"
    shutil.copytree(tiny_checkpoint.parent, target)
    return target


def model_file(root: Path) -> Path:
    return root / "acestep-v15-turbo" / "model.safetensors"


def rewrite(path: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    state = load_file(path)
    change(state)
    path.unlink()
    save_file(state, path)


def shard(path: Path, count: int = 3) -> None:
    """Split a safetensors file into float32 shards with an index, as the XL repositories ship them."""
    state = load_file(path)
    weight_map: dict[str, str] = {}
    for index in range(count):
        name = f"model-{index + 1:05d}-of-{count:05d}.safetensors"
        part = {key: state[key].to(FP32) for key in sorted(state)[index::count]}
        save_file(part, path.parent / name)
        weight_map |= dict.fromkeys(part, name)
    path.unlink()
    index_text = json.dumps({"metadata": {"total_size": 0}, "weight_map": weight_map})
    (path.parent / "model.safetensors.index.json").write_text(index_text)


# Loading


def test_original_and_diffusers_layouts_load_to_identical_tensors(
    tiny_checkpoint: Path, tiny_diffusers_checkpoint: Path
) -> None:
    original = weights.find_checkpoint(tiny_checkpoint)
    diffusers = weights.find_checkpoint(tiny_diffusers_checkpoint)
    assert (original.layout, diffusers.layout) == ("original", "diffusers")
    for load in (weights.load_transformer, weights.load_condition_encoder, weights.load_vae):
        one, two = load(original, FP32).state_dict(), load(diffusers, FP32).state_dict()
        assert list(one) == list(two)
        assert all(torch.equal(one[key], two[key]) for key in one)
    assert torch.equal(weights.load_silence_latent(original), weights.load_silence_latent(diffusers))
    assert torch.equal(weights.load_null_condition(original), weights.load_null_condition(diffusers))


def test_each_loaded_tensor_is_the_one_of_the_file(tiny_checkpoint: Path) -> None:
    ckpt = weights.find_checkpoint(tiny_checkpoint)
    stored = load_file(tiny_checkpoint / "model.safetensors")
    seen = set()
    loaded: dict[keymap.Component, Any] = {
        "transformer": weights.load_transformer(ckpt, FP32),
        "condition_encoder": weights.load_condition_encoder(ckpt, FP32),
    }
    for component, module in loaded.items():
        for key, tensor in module.state_dict().items():
            if key == keymap.SILENCE:
                continue
            original = keymap.key_to_original(component, key)
            assert original is not None
            assert torch.equal(tensor, stored[original]), key
            seen.add(original)
    assert {key for key in stored if key not in seen} == {
        key for key in stored if key.startswith(("tokenizer.", "detokenizer."))
    }


def test_loaded_modules_are_frozen_cast_and_without_placeholders(tiny_checkpoint: Path) -> None:
    ckpt = weights.find_checkpoint(tiny_checkpoint)
    modules = [
        weights.load_transformer(ckpt, torch.bfloat16),
        weights.load_condition_encoder(ckpt, torch.bfloat16),
        weights.load_vae(ckpt, torch.bfloat16),
        weights.load_text_encoder(ckpt, torch.bfloat16)[1],
    ]
    for module in modules:
        assert not module.training
        parameters = list(module.parameters())
        assert {p.dtype for p in parameters} == {torch.bfloat16}
        assert not any(p.requires_grad for p in parameters)
        assert not [n for n, t in (*module.named_parameters(), *module.named_buffers()) if t.is_meta]


def test_float32_shards_load_like_one_file(copy: Path) -> None:
    whole = weights.load_transformer(weights.find_checkpoint(copy), torch.bfloat16).state_dict()
    shard(model_file(copy))
    parts = weights.load_transformer(weights.find_checkpoint(copy), torch.bfloat16).state_dict()
    assert all(torch.equal(whole[key], parts[key]) for key in whole)


def test_loaded_tensors_do_not_depend_on_the_file_any_more(copy: Path) -> None:
    ckpt = weights.find_checkpoint(copy)
    module = weights.load_transformer(ckpt, FP32)
    before = module.proj_in_conv.weight.clone()
    with model_file(copy).open("r+b") as handle:
        handle.seek(-500_000, os.SEEK_END)
        handle.write(b"\0" * 500_000)
        handle.truncate(10)
    assert torch.equal(module.proj_in_conv.weight, before)
    assert all(bool(torch.isfinite(p).all()) for p in module.parameters())


def test_text_encoder_equals_the_one_of_transformers(tiny_checkpoint: Path) -> None:
    from transformers import AutoModel

    ckpt = weights.find_checkpoint(tiny_checkpoint)
    tokenizer, model = weights.load_text_encoder(ckpt, FP32)
    stock = AutoModel.from_pretrained(str(ckpt.text_encoder_dir), dtype=FP32).eval()
    ids = torch.tensor([tokenizer("a steady kick drum and a rolling bass").input_ids])
    with torch.no_grad():
        ours, theirs = model(input_ids=ids).last_hidden_state, stock(input_ids=ids).last_hidden_state
    assert torch.equal(ours, theirs)
    assert float(ours.std()) > 0


def test_a_text_encoder_saved_with_its_head_loads_too(copy: Path) -> None:
    ckpt = weights.find_checkpoint(copy)
    plain = weights.load_text_encoder(ckpt, FP32)[1].state_dict()

    def add_head(state: dict[str, torch.Tensor]) -> None:
        for key in list(state):
            state[f"model.{key}"] = state.pop(key)
        state["lm_head.weight"] = state["model.embed_tokens.weight"].clone()

    rewrite(ckpt.text_encoder_dir / "model.safetensors", add_head)
    loaded = weights.load_text_encoder(weights.find_checkpoint(copy), FP32)[1].state_dict()
    assert plain.keys() == loaded.keys()
    assert all(torch.equal(plain[key], loaded[key]) for key in plain)


def test_silence_is_turned_to_frames_by_channels(tiny_checkpoint: Path) -> None:
    stored = torch.load(tiny_checkpoint / "silence_latent.pt", weights_only=True)
    silence = weights.load_silence_latent(weights.find_checkpoint(tiny_checkpoint))
    assert stored.shape == (1, 64, 15_000)
    assert silence.shape == (1, 15_000, 64)
    assert torch.equal(silence[0, 123], stored[0, :, 123])


# Refusals


def fails(root: Path, *mentions: str, load: Callable[..., object] = weights.load_transformer) -> ModelError:
    """Find and load; the refusal must say what and what to do, and mention these words."""
    with pytest.raises(ModelError) as caught:
        load(weights.find_checkpoint(root), FP32)
    for mention in mentions:
        assert mention in str(caught.value)
    assert caught.value.hint
    return caught.value


def test_a_missing_tensor_is_named_with_its_file(copy: Path) -> None:
    rewrite(model_file(copy), lambda state: state.pop("decoder.layers.1.self_attn.q_proj.weight"))
    fails(copy, "layers.1.self_attn.to_q.weight", "model.safetensors")


def test_an_unknown_tensor_is_named_with_its_file(copy: Path) -> None:
    rewrite(model_file(copy), lambda state: state.update({"decoder.extra.weight": torch.zeros(1)}))
    fails(copy, "decoder.extra.weight", "model.safetensors")


def test_a_tensor_outside_every_component_is_named(copy: Path) -> None:
    rewrite(model_file(copy), lambda state: state.update({"teacher.weight": torch.zeros(1)}))
    fails(copy, "teacher.weight")
    fails(copy, "teacher.weight", load=weights.load_condition_encoder)


def test_a_tensor_of_another_shape_is_named_with_both_shapes(copy: Path) -> None:
    rewrite(model_file(copy), lambda state: state.update({"decoder.norm_out.weight": torch.zeros(7)}))
    fails(copy, "decoder.norm_out.weight", "[7]", "[64]")


def test_a_truncated_file_is_named(copy: Path) -> None:
    path = model_file(copy)
    with path.open("r+b") as handle:
        handle.truncate(path.stat().st_size - 100)
    fails(copy, "model.safetensors is truncated")


@pytest.mark.parametrize("size", [0, 5, 40])
def test_a_file_cut_in_its_header_is_named(copy: Path, size: int) -> None:
    with model_file(copy).open("r+b") as handle:
        handle.truncate(size)
    fails(copy, "model.safetensors")


def test_an_html_page_saved_as_weights_is_named(copy: Path) -> None:
    model_file(copy).write_bytes(b"<!doctype html><title>404</title>" * 50)
    fails(copy, "model.safetensors")


def test_a_missing_shard_is_named(copy: Path) -> None:
    shard(model_file(copy))
    (copy / "acestep-v15-turbo" / "model-00002-of-00003.safetensors").unlink()
    fails(copy, "model-00002-of-00003.safetensors")


def test_shards_that_contradict_their_index_are_refused(copy: Path) -> None:
    shard(model_file(copy))
    index = copy / "acestep-v15-turbo" / "model.safetensors.index.json"
    value = json.loads(index.read_text())
    value["weight_map"]["decoder.ghost.weight"] = "model-00001-of-00003.safetensors"
    index.write_text(json.dumps(value))
    fails(copy, "decoder.ghost.weight", "model-00001-of-00003.safetensors")


@pytest.mark.parametrize(
    "part",
    [
        "acestep-v15-turbo/model.safetensors",
        "acestep-v15-turbo/silence_latent.pt",
        "acestep-v15-turbo/config.json",
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
        "Qwen3-Embedding-0.6B/config.json",
        "Qwen3-Embedding-0.6B/model.safetensors",
        "Qwen3-Embedding-0.6B/tokenizer.json",
    ],
)
def test_each_missing_file_is_named_before_anything_is_loaded(copy: Path, part: str) -> None:
    (copy / part).unlink()
    with pytest.raises(ModelError) as caught:
        weights.find_checkpoint(copy / "acestep-v15-turbo")
    assert Path(part).name in str(caught.value)
    assert caught.value.hint


def test_a_short_silence_is_refused_not_padded(copy: Path) -> None:
    path = copy / "acestep-v15-turbo" / "silence_latent.pt"
    torch.save(torch.zeros(1, 64, 750), path)
    fails(copy, "silence_latent.pt", "[1, 750, 64]", "[1, 15000, 64]", load=weights.load_condition_encoder)


@pytest.mark.parametrize("seed", range(8))
def test_a_silence_file_of_random_bytes_is_refused(copy: Path, seed: int) -> None:
    path = copy / "acestep-v15-turbo" / "silence_latent.pt"
    path.write_bytes(random.Random(seed).randbytes(2000))
    fails(copy, "silence_latent.pt", "cannot be read", load=weights.load_condition_encoder)


class _Evil:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.target),)


def test_a_silence_file_that_wants_to_run_code_is_refused(copy: Path, tmp_path: Path) -> None:
    path = copy / "acestep-v15-turbo" / "silence_latent.pt"
    torch.save({"x": _Evil(tmp_path / "ran")}, path)
    refusal = fails(copy, "silence_latent.pt", "run code", load=weights.load_condition_encoder)
    assert "weights_only" not in str(refusal)
    assert not (tmp_path / "ran").exists()


def test_a_broken_silence_file_is_named(copy: Path) -> None:
    (copy / "acestep-v15-turbo" / "silence_latent.pt").write_bytes(b"nothing")
    fails(copy, "silence_latent.pt", load=weights.load_condition_encoder)


def test_a_vae_of_another_rate_is_refused(copy: Path) -> None:
    path = copy / "vae" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"sampling_rate": 44_100}))
    fails(copy, "44100", "vae")


def test_another_text_encoder_is_refused(copy: Path) -> None:
    path = copy / "Qwen3-Embedding-0.6B" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_type": "t5"}))
    fails(copy, "t5", "Qwen3", load=weights.load_text_encoder)


def test_a_quantised_tensor_is_named(copy: Path) -> None:
    rewrite(
        model_file(copy), lambda state: state.update({"decoder.norm_out.weight": torch.zeros(64, dtype=torch.int8)})
    )
    fails(copy, "decoder.norm_out.weight", "I8", "quantised")


@pytest.mark.parametrize("change", [{"head_dim": "wide"}, {"layer_types": ["full_attention"]}, {"patch_size": 0}])
def test_a_configuration_that_cannot_be_built_is_named(copy: Path, change: dict[str, Any]) -> None:
    path = copy / "acestep-v15-turbo" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    fails(copy, "config")


# Finding


def test_a_checkpoint_is_found_by_its_directory_and_by_its_parents(copy: Path, tmp_path: Path) -> None:
    inside = weights.find_checkpoint(copy / "acestep-v15-turbo")
    assert weights.find_checkpoint(str(copy)) == inside
    shutil.move(copy, tmp_path / "app" / "checkpoints")
    moved = weights.find_checkpoint(tmp_path / "app")
    assert moved.dir == tmp_path / "app" / "checkpoints" / "acestep-v15-turbo"
    assert moved.fingerprint == inside.fingerprint


def test_components_may_lie_elsewhere(copy: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    shutil.copytree(copy / "acestep-v15-turbo", alone / "acestep-v15-base")
    with pytest.raises(ModelError, match="VAE is missing"):
        weights.find_checkpoint(alone)
    found = weights.find_checkpoint(alone, components=copy)
    assert found.vae_dir == copy / "vae"


def test_of_several_variants_the_setting_chooses(copy: Path) -> None:
    tiny.write_model(copy, variant="base")
    with pytest.raises(ModelError) as caught:
        weights.find_checkpoint(copy)
    assert "acestep-v15-base (base)" in str(caught.value)
    assert "acestep-v15-turbo (turbo)" in str(caught.value)
    assert weights.find_checkpoint(copy, "base").dir.name == "acestep-v15-base"
    assert weights.find_checkpoint(copy, "turbo").is_turbo
    with pytest.raises(ModelError, match="no xl-base checkpoint"):
        weights.find_checkpoint(copy, "xl-base")


def test_a_variant_that_the_files_contradict_is_refused(tiny_checkpoint: Path) -> None:
    with pytest.raises(ModelError, match=r"turbo variant, but base"):
        weights.find_checkpoint(tiny_checkpoint, "base")


def test_links_and_hub_downloads_keep_the_names_that_people_know(copy: Path, tmp_path: Path) -> None:
    path = copy / "acestep-v15-turbo" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"is_turbo": False, "model_version": None}))
    hub = tmp_path / "models--owner--acestep-v15-sft" / "snapshots"
    hub.mkdir(parents=True)
    (hub / "0a1b").symlink_to(copy / "acestep-v15-turbo", target_is_directory=True)
    (tmp_path / "acestep-v15-sft").symlink_to(copy / "acestep-v15-turbo", target_is_directory=True)
    for place in (hub / "0a1b", tmp_path / "acestep-v15-sft"):
        found = weights.find_checkpoint(place)
        assert found.variant == "sft"
        assert found.vae_dir.resolve() == (copy / "vae").resolve()


@pytest.mark.parametrize("inside", ["", "transformer", "condition_encoder"])
def test_a_diffusers_directory_is_found_from_its_components_too(tiny_diffusers_checkpoint: Path, inside: str) -> None:
    found = weights.find_checkpoint(tiny_diffusers_checkpoint / inside)
    assert (found.layout, found.dir) == ("diffusers", tiny_diffusers_checkpoint)


def test_places_without_a_checkpoint_say_what_would_be_one(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.safetensors").write_bytes(b"")
    (tmp_path / "acestep-v15-base").mkdir()
    for path, words in (
        ("", "model.path"),
        (tmp_path / "nowhere", "does not exist"),
        (tmp_path / "file.safetensors", "is a file"),
        (tmp_path / "empty", "holds no ACE-Step"),
        (tmp_path / "acestep-v15-base", "config.json is missing"),
    ):
        with pytest.raises(ModelError, match=words):
            weights.find_checkpoint(path)


@pytest.mark.parametrize(
    ("config", "name", "variant"),
    [
        ({"is_turbo": True, "model_version": "turbo", "hidden_size": 2048}, "renamed", "turbo"),
        ({"is_turbo": False, "model_version": "base", "hidden_size": 2048}, "acestep-v15-base", "base"),
        ({"is_turbo": False, "hidden_size": 2048}, "acestep-v15-sft", "sft"),
        ({"is_turbo": False, "model_version": "sft", "hidden_size": 2048}, "x", "sft"),
        ({"is_turbo": True, "hidden_size": 2560, "encoder_hidden_size": 2048}, "x", "xl-turbo"),
        ({"is_turbo": False, "hidden_size": 2560, "encoder_hidden_size": 2048}, "acestep-v15-xl-sft", "xl-sft"),
        ({"is_turbo": False, "hidden_size": 2560, "encoder_hidden_size": 2048}, "acestep-v15-xl-base", "xl-base"),
        ({"hidden_size": 2048, "encoder_hidden_size": 2048}, "acestep-v15-turbo-shift3", "turbo"),
        ({"is_turbo": False, "hidden_size": 2048}, "my-turbo-killer", "base"),
    ],
)
def test_the_variant_is_read_from_the_configuration_first(config: dict[str, Any], name: str, variant: str) -> None:
    assert weights.detect_variant(config, name) == variant


# Fingerprints


def test_a_fingerprint_survives_copying_and_changes_with_one_tensor(copy: Path, tiny_checkpoint: Path) -> None:
    before = weights.find_checkpoint(tiny_checkpoint)
    same = weights.find_checkpoint(copy)
    assert (same.fingerprint, same.vae_fingerprint) == (before.fingerprint, before.vae_fingerprint)
    rewrite(model_file(copy), lambda state: state["decoder.layers.2.mlp.up_proj.weight"].mul_(1.01))
    after = weights.find_checkpoint(copy)
    assert after.fingerprint != before.fingerprint
    assert after.vae_fingerprint == before.vae_fingerprint
    assert after.text_encoder_fingerprint == before.text_encoder_fingerprint


def test_a_fingerprint_reads_a_sample_only(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = shards.open_tensors(copy / "acestep-v15-turbo")
    read = 0
    real_open = Path.open

    def counting_open(path: Path, *args: Any, **kwargs: Any) -> Any:
        handle = real_open(path, *args, **kwargs)
        inner = handle.read

        class Counted:
            def __enter__(self) -> Counted:
                return self

            def __exit__(self, *_: object) -> None:
                handle.close()

            def seek(self, place: int) -> None:
                handle.seek(place)

            def read(self, size: int = -1) -> bytes:
                nonlocal read
                data: bytes = inner(size)
                read += len(data)
                return data

        return Counted()

    monkeypatch.setattr(Path, "open", counting_open)
    tensors.fingerprint()
    assert 0 < read <= 64 * len(tensors.names())
