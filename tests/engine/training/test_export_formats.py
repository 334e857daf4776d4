"""Exports in other formats, each loaded the way its consumer does and compared with the trained model."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from diffusers import AceStepPipeline
from peft import PeftModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from sidestep_tui.core.errors import AdapterError, DivergedError
from sidestep_tui.engine import adapters, export, export_files, export_formats, variants
from sidestep_tui.engine.adapter_formats import read_any, read_parts
from sidestep_tui.engine.keymap import path_to_diffusers, path_to_original
from sidestep_tui.schema.adapter import AdapterSettings
from tests.engine.training.adapting import OriginalNames, provenance, trained

LORA = {"rank": 4, "alpha": 3.0, "mlp": True}
STABLE = {"rank": 4, "alpha": 7.5, "rslora": True}
OUTWARD = {"rank": 4, "alpha": 9.0, "projections": ("v", "o")}
DORA = {"kind": "dora", "rank": 4, "alpha": 6.0, "mlp": True}
LOKR = {"kind": "lokr"}
SPLIT = {"kind": "lokr", "lokr_full_matrix": False, "lokr_factor": 2, "rank": 2, "alpha": 5.0}
LOHA = {"kind": "loha", "rank": 4, "alpha": 6.0}
OFT = {"kind": "oft", "oft_block_size": 8}

MERGED = 2e-5
"""Output difference where the consumer adds the change to the weights, and so rounds in another order (outputs ~ 1)."""


@pytest.fixture
def made(new_transformer: Any, tmp_path: Path) -> Callable[[dict[str, Any]], tuple[Path, torch.Tensor]]:
    """`made({"kind": …})`: an adapter's directory as a run writes it, and what the trained model answers."""

    def make(adapter: dict[str, Any]) -> tuple[Path, torch.Tensor]:
        settings = AdapterSettings.model_validate(adapter)
        model = trained(new_transformer, settings)
        (tmp_path / "final").mkdir()
        export.write_adapter(tmp_path / "final", model, settings, provenance())
        return tmp_path / "final", export.probe(model, dtype=torch.float32)

    return make


def answer(transformer: torch.nn.Module) -> torch.Tensor:
    return export.probe(transformer, dtype=torch.float32)


def converted(directory: Path, target: export_formats.Target, base: torch.nn.Module | None = None) -> Path:
    """Write the export beside, as `adapter export` does."""
    facts, parts = read_parts(directory)
    place = directory.parent / (target if target == "peft" else f"{target}.safetensors")
    weights = export_files.base_of_model(base) if base is not None else None
    export_files.write(export_formats.convert(facts, parts, target, weights), place, facts, parts)
    return place


def through_pipeline(transformer: torch.nn.Module, file: Path) -> torch.Tensor:
    nothing = dict.fromkeys(("vae", "text_encoder", "tokenizer", "condition_encoder", "scheduler"))
    AceStepPipeline(transformer=transformer, **nothing).load_lora_weights(str(file))
    return answer(transformer)


def comfyui_delta(tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    """ΔW of one module by the arithmetic of ComfyUI's weight adapters (LoRA, LoKr, LoHa); every tensor is used."""
    alpha = tensors.pop("alpha").item()
    if "lora_up.weight" in tensors:
        up, down = tensors.pop("lora_up.weight"), tensors.pop("lora_down.weight")
        return torch.mm(up, down) * (alpha / down.shape[0])
    if "hada_w1_a" in tensors:
        a1, b1, a2, b2 = (tensors.pop(f"hada_w{n}_{side}") for n in (1, 2) for side in "ab")
        return torch.mm(a1, b1) * torch.mm(a2, b2) * (alpha / b1.shape[0])
    scale, factors = 1.0, []
    for name in ("lokr_w1", "lokr_w2"):
        if name in tensors:
            factors.append(tensors.pop(name))
        else:
            inner = tensors.pop(f"{name}_b")
            scale = alpha / inner.shape[0]
            factors.append(torch.mm(tensors.pop(f"{name}_a"), inner))
    return torch.kron(*factors) * scale


def comfyui_decompose(weight: torch.Tensor, delta: torch.Tensor, dora_scale: torch.Tensor) -> torch.Tensor:
    """`weight_decompose` on the output axis: the length is that of the weight before the change."""
    assert dora_scale.shape == (weight.shape[0], 1)
    return (weight + delta) * (dora_scale / (weight.norm(dim=1, keepdim=True) + torch.finfo(weight.dtype).eps))


def through_comfyui(transformer: torch.nn.Module, file: Path, prefix: str = "diffusion_model.decoder.") -> torch.Tensor:
    """Patch the weights as ComfyUI's model patcher does at strength 1; a key without a module is an error."""
    modules: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in load_file(file).items():
        path, part = re.fullmatch(r"(.+?)\.((?:lora|lokr|hada|alpha|dora).*)", key).groups()
        modules.setdefault(path, {})[part] = tensor
    for path, tensors in modules.items():
        layer = transformer.get_submodule(path_to_diffusers(path.removeprefix(prefix)))
        assert path.startswith(prefix)
        delta, dora = comfyui_delta(tensors), tensors.pop("dora_scale", None)
        assert not tensors
        weight = layer.weight.data
        layer.weight.data = weight + delta if dora is None else comfyui_decompose(weight, delta, dora)
    return answer(transformer)


@pytest.mark.parametrize("adapter", [LORA, STABLE, DORA, LOKR, SPLIT, LOHA])
def test_comfyui_arrives_at_the_trained_weights(new_transformer: Any, made: Any, adapter: dict[str, Any]) -> None:
    directory, expected = made(adapter)
    file = converted(directory, "comfyui", new_transformer())
    assert (through_comfyui(new_transformer(), file) - expected).abs().max() <= MERGED
    assert (answer(new_transformer()) - expected).abs().max() > 1e-2


def test_comfyui_names_are_the_documented_ones(new_transformer: Any, made: Any) -> None:
    directory, _ = made(DORA)
    file = converted(directory, "comfyui", new_transformer())
    tensors = load_file(file)
    stem = "diffusion_model.decoder.layers.0.self_attn.q_proj"
    parts = {name.removeprefix(f"{stem}.") for name in tensors if name.startswith(stem)}
    assert parts == {"lora_down.weight", "lora_up.weight", "alpha", "dora_scale"}
    assert float(tensors[f"{stem}.alpha"]) == 6.0
    with safe_open(file, framework="pt") as handle:
        assert json.loads(handle.metadata()["sidestep_tui"])["run"] == "drums"


def test_magnitudes_as_they_are_would_be_wrong_in_comfyui(new_transformer: Any, made: Any) -> None:
    """Why the export of DoRA needs the base model."""
    directory, expected = made(DORA)
    file = converted(directory, "lycoris")
    renamed = {}
    for key, tensor in load_file(file).items():
        stem, _, part = key.partition(".")
        path = re.sub(r"lycoris_layers_(\d+)_(self_attn|cross_attn|mlp)_", r"layers.\1.\2.", stem)
        renamed[f"diffusion_model.decoder.{path}.{part}"] = tensor
    save_file(renamed, directory.parent / "plain.safetensors")
    assert (through_comfyui(new_transformer(), directory.parent / "plain.safetensors") - expected).abs().max() > 1e-3
    with pytest.raises(AdapterError, match="needs the base model"):
        converted(directory, "comfyui")


def test_a_dora_that_went_through_comfyui_comes_back_with_the_base(new_transformer: Any, made: Any) -> None:
    directory, expected = made(DORA)
    there = converted(directory, "comfyui", new_transformer())
    facts, parts = read_parts(there)
    with pytest.raises(AdapterError, match="needs the base model"):
        export_formats.convert(facts, parts, "peft")
    back = export_formats.convert(facts, parts, "peft", export_files.base_of_model(new_transformer()))
    export_files.write(back, directory.parent / "back", facts, parts)
    fresh = new_transformer()
    adapters.load_adapter(fresh, directory.parent / "back")
    assert (answer(fresh) - expected).abs().max() <= MERGED


@pytest.mark.parametrize("adapter", [STABLE, OUTWARD, DORA])
def test_the_pipeline_of_diffusers_answers_to_the_last_bit(
    new_transformer: Any, made: Any, adapter: dict[str, Any]
) -> None:
    directory, expected = made(adapter)
    file = converted(directory, "diffusers")
    assert torch.equal(through_pipeline(new_transformer(), file), expected)
    bare = new_transformer()
    # Without use_safetensors, diffusers 0.42 leaves the metadata unread, and so alpha.
    bare.load_lora_adapter(str(file), use_safetensors=True)
    bare.requires_grad_(False)
    assert torch.equal(answer(bare), expected)


@pytest.mark.parametrize("adapter", [LOKR, SPLIT])
def test_the_transformer_of_diffusers_loads_lokr(new_transformer: Any, made: Any, adapter: dict[str, Any]) -> None:
    """peft multiplies the whole Kronecker product: another order of rounding."""
    directory, expected = made(adapter)
    fresh = new_transformer()
    fresh.load_lora_adapter(str(converted(directory, "diffusers")))
    assert (answer(fresh) - expected).abs().max() <= MERGED


@pytest.mark.parametrize("adapter", [STABLE, DORA, OFT])
def test_peft_loads_the_directory_on_the_original_names(
    new_transformer: Any, made: Any, adapter: dict[str, Any]
) -> None:
    directory, expected = made(adapter)
    again = converted(directory, "peft")
    named = OriginalNames(new_transformer())
    PeftModel.from_pretrained(named, str(again))
    assert torch.equal(answer(named.adopt()), expected)
    fresh = new_transformer()
    adapters.load_adapter(fresh, again)
    assert torch.equal(answer(fresh), expected)


@pytest.mark.parametrize("adapter", [LORA, DORA, SPLIT, LOHA])
def test_lycoris_loads_its_file(new_transformer: Any, made: Any, adapter: dict[str, Any]) -> None:
    from lycoris import create_lycoris_from_weights

    directory, expected = made(adapter)
    file = converted(directory, "lycoris")
    fresh = new_transformer()
    with torch.no_grad():
        network, _ = create_lycoris_from_weights(1.0, str(file), OriginalNames(fresh))
    for module in network.loras:
        module.bypass_mode = adapter is not DORA  # which DoRA cannot have: it needs the changed weight
    network.apply_to()
    assert (answer(fresh) - expected).abs().max() <= MERGED


@pytest.mark.parametrize("target", ["comfyui", "diffusers", "lycoris"])
def test_every_format_leads_back_to_the_same_adapter(made: Any, target: export_formats.Target) -> None:
    directory, _ = made(LORA)
    facts, tensors = read_any(directory)
    again, found = read_any(converted(directory, target))
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert again.scales == facts.scales


def test_ranks_and_alphas_of_single_modules_survive(tmp_path: Path, new_transformer: Any) -> None:
    tensors: dict[str, torch.Tensor] = {}
    ranks = {
        "layers.0.self_attn.q_proj": (2, 6.0),
        "layers.1.cross_attn.o_proj": (8, 3.0),
        "layers.0.mlp.up_proj": (2, 1.0),
    }
    source = torch.Generator().manual_seed(1)
    for module, (rank, alpha) in ranks.items():
        layer = new_transformer().get_submodule(path_to_diffusers(module))
        tensors[f"lora_unet_{module.replace('.', '_')}.lora_down.weight"] = torch.randn(
            rank, layer.in_features, generator=source
        )
        tensors[f"lora_unet_{module.replace('.', '_')}.lora_up.weight"] = torch.randn(
            layer.out_features, rank, generator=source
        )
        tensors[f"lora_unet_{module.replace('.', '_')}.alpha"] = torch.tensor(alpha)
    (tmp_path / "x").mkdir()
    save_file(tensors, tmp_path / "x" / "a.safetensors")
    expected = through_comfyui(new_transformer(), converted(tmp_path / "x", "comfyui"))
    assert (
        through_pipeline(new_transformer(), converted(tmp_path / "x", "diffusers")) - expected
    ).abs().max() <= MERGED
    named = OriginalNames(new_transformer())
    PeftModel.from_pretrained(named, str(converted(tmp_path / "x", "peft")))
    assert (answer(named.adopt()) - expected).abs().max() <= MERGED


@pytest.mark.parametrize(
    ("adapter", "target", "says"),
    [
        (LOKR, "peft", "Possible for LoKr: --to comfyui or diffusers or lycoris"),
        (LOHA, "diffusers", "not LoHa"),
        (OFT, "comfyui", "what goes in"),
        (OFT, "lycoris", "--to peft"),
    ],
)
def test_the_impossible_is_refused_with_what_is_possible(
    made: Any, adapter: dict[str, Any], target: export_formats.Target, says: str
) -> None:
    directory, _ = made(adapter)
    with pytest.raises(AdapterError) as caught:
        export_files.export(directory, target, directory.parent / "x.safetensors")
    assert says in str(caught.value)
    assert sorted(path.name for path in directory.parent.iterdir()) == ["final"]


def test_nothing_is_ever_overwritten_and_nothing_half_written_stays(made: Any, tmp_path: Path) -> None:
    directory, _ = made(LORA)
    result = export_files.export(directory, "comfyui", tmp_path)
    assert result["path"] == str(tmp_path / "drums_comfyui.safetensors")
    assert result["bytes"] == (tmp_path / "drums_comfyui.safetensors").stat().st_size
    before = (tmp_path / "drums_comfyui.safetensors").read_bytes()
    with pytest.raises(AdapterError, match="stays as it is"):
        export_files.export(directory, "comfyui", tmp_path)
    with pytest.raises(AdapterError, match="stays as it is"):
        export_files.export(directory, "peft", directory)
    assert (tmp_path / "drums_comfyui.safetensors").read_bytes() == before
    facts, parts = read_parts(directory)
    module = facts.modules[0]
    broken = {**parts, module: {**parts[module], "lora_B": parts[module]["lora_B"] * float("nan")}}
    with pytest.raises(DivergedError):
        export_files.write(
            export_formats.convert(facts, broken, "comfyui"), tmp_path / "bad.safetensors", facts, broken
        )
    other = {**parts, module: {**parts[module], "lora_B": parts[module]["lora_B"] * 2}}
    for target, name in (("comfyui", "bad.safetensors"), ("peft", "bad")):
        with pytest.raises(AdapterError, match="does not read back"):
            export_files.write(export_formats.convert(facts, other, target), tmp_path / name, facts, parts)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["drums_comfyui.safetensors", "final"]


def test_the_base_is_read_from_a_checkpoint_of_either_layout(
    tiny_checkpoint: Path, tiny_diffusers_checkpoint: Path
) -> None:
    name = "layers.3.cross_attn.o_proj"
    found = [variants.find_checkpoint(str(path), "auto", "") for path in (tiny_checkpoint, tiny_diffusers_checkpoint)]
    one, other = (export_files.base_of_checkpoint(ckpt)(name) for ckpt in found)
    assert one.shape == (64, 64)
    assert torch.equal(one, other)
    with pytest.raises(AdapterError, match=r"has no layers\.9"):
        export_files.base_of_checkpoint(found[0])("layers.9.mlp.up_proj")
    assert path_to_original("layers.3.cross_attn.to_out.0") == name


@pytest.mark.parametrize(("kind", "options"), [("LoHa", {}), ("LoKr", {}), ("LoKr", {"decompose_both": True})])
def test_lokr_and_loha_of_peft_are_understood(
    new_transformer: Any, tmp_path: Path, kind: str, options: dict[str, Any]
) -> None:
    """peft scales whole LoKr factors too, where LyCORIS leaves them alone."""
    names = ["layers.0.self_attn.to_q", "layers.1.mlp.up_proj"]
    config = getattr(peft, f"{kind}Config")(r=2, alpha=6, target_modules=names, **options)
    model = new_transformer()
    peft.inject_adapter_in_model(config, model)
    source = torch.Generator().manual_seed(3)
    for parameter in adapters.trainable(model).values():
        parameter.data = 0.3 * torch.randn(parameter.shape, generator=source)
    (tmp_path / "theirs").mkdir()
    save_file(
        {f"base_model.model.{name}": tensor for name, tensor in peft.get_peft_model_state_dict(model).items()},
        tmp_path / "theirs" / "adapter_model.safetensors",
    )
    config.save_pretrained(str(tmp_path / "theirs"))
    expected = answer(model)
    file = converted(tmp_path / "theirs", "comfyui")
    assert (through_comfyui(new_transformer(), file) - expected).abs().max() <= MERGED
    assert (answer(new_transformer()) - expected).abs().max() > 1e-2
