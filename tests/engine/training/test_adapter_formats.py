"""Adapter files of all trainers, read into one form, or refused by file and key."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from sidestep_tui.core.errors import AdapterError
from sidestep_tui.engine import adapters, export
from sidestep_tui.engine.adapter_facts import refuse_other_model
from sidestep_tui.engine.adapter_formats import read_any
from sidestep_tui.engine.keymap import path_to_diffusers

Tensors = dict[str, torch.Tensor]

Q, OUT = "layers.0.self_attn.q_proj", "layers.1.cross_attn.o_proj"
KINDS: list[dict[str, Any]] = [
    {"alpha": 3.0},
    {"alpha": 7.0, "rslora": True, "mlp": True},
    {"kind": "dora", "alpha": 6.0},
    {"kind": "lokr"},
    {"kind": "lokr", "lokr_full_matrix": False, "lokr_factor": 2, "rank": 2, "alpha": 5.0},
    {"kind": "loha", "alpha": 6.0},
    {"kind": "oft", "oft_block_size": 8},
]


@pytest.fixture
def exported(new_transformer: Any, new_settings: Any, tmp_path: Path) -> Callable[[dict[str, Any]], Path]:
    """`exported({"kind": …})`: the directory of a run's adapter with weights that are not zero."""

    def make(adapter: dict[str, Any]) -> Path:
        settings = new_settings(adapter=adapter)
        trained = new_transformer()
        adapters.inject(trained, settings.adapter)
        source = torch.Generator().manual_seed(3)
        for parameter in adapters.trainable(trained).values():
            parameter.data = parameter.data + 0.1 * torch.randn(parameter.shape, generator=source)
        provenance = export.Provenance("drums", "2026-11-21", 10, 2, 0.5, "acestep-v15-turbo", "turbo", "drms")
        export.publish(tmp_path / "final", trained, settings, provenance)
        return tmp_path / "final"

    return make


@pytest.mark.parametrize("adapter", KINDS)
def test_what_a_run_writes_comes_back_under_the_same_names(exported: Any, adapter: dict[str, Any]) -> None:
    directory = exported(adapter)
    facts, tensors = read_any(directory)
    stored = load_file(facts.file)
    assert facts.kind == adapter.get("kind", "lora")
    assert tensors.keys() == stored.keys()
    assert all(torch.equal(tensors[name], stored[name]) for name in stored)
    assert facts.notes == ()
    if facts.kind in ("lora", "dora"):
        scale = adapter["alpha"] / (2.0 if adapter.get("rslora") else 4.0)
        assert set(facts.scales.values()) == {scale}
        assert set(facts.ranks.values()) == {4}
        assert (facts.width, facts.depth) == (32, 2)


def lora(*modules: str, rank: int = 4, down: str = "lora_A", up: str = "lora_B", dtype: Any = torch.float32) -> Tensors:
    source = torch.Generator().manual_seed(rank)
    tensors: Tensors = {}
    for module in modules:
        tensors[f"{module}.{down}.weight"] = torch.randn((rank, 32), generator=source).to(dtype)
        tensors[f"{module}.{up}.weight"] = torch.randn((32, rank), generator=source).to(dtype)
    return tensors


SPELLINGS = [
    lambda m: f"base_model.model.{m}",
    lambda m: f"base_model.model.decoder.{m}",
    lambda m: f"transformer.{path_to_diffusers(m)}",
    lambda m: f"diffusion_model.decoder.{m}",
    lambda m: f"lora_unet_decoder_{m.replace('.', '_')}",
    lambda m: f"lycoris_{path_to_diffusers(m).replace('.', '_')}",
    lambda m: m,
]


@pytest.mark.parametrize("spell", SPELLINGS)
@pytest.mark.parametrize(
    "names", [("lora_A", "lora_B"), ("lora_down", "lora_up"), ("lora_A.default", "lora_B.default")]
)
def test_every_spelling_means_the_same_modules(
    tmp_path: Path, spell: Callable[[str], str], names: tuple[str, str]
) -> None:
    down, up = names
    tensors = lora(spell(Q), spell(OUT), down=down, up=up)
    expected = lora(f"base_model.model.{Q}", f"base_model.model.{OUT}")
    tensors |= {f"{spell(module)}.alpha": torch.tensor(6.0) for module in (Q, OUT)}
    save_file(tensors, tmp_path / "a.safetensors")
    facts, found = read_any(tmp_path / "a.safetensors")
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert facts.scales == {Q: 1.5, OUT: 1.5}
    assert any("default" in note for note in facts.notes) == ("default" in down)


@pytest.mark.parametrize(
    ("config", "metadata", "scales"),
    [
        (None, {}, (1.0, 1.0)),
        ({"r": 4, "lora_alpha": 8}, {}, (2.0, 2.0)),
        ({"r": 4, "lora_alpha": 8, "use_rslora": True}, {}, (4.0, 4.0)),
        ({"r": 4, "lora_alpha": 8, "alpha_pattern": {"cross_attn.o_proj": 2}}, {}, (2.0, 0.5)),
        ({"r": 4, "lora_alpha": 8, "alpha_pattern": {"to_out.0": 2}}, {}, (2.0, 0.5)),
        (None, {"lora_adapter_metadata": '{"transformer.lora_alpha": 6, "transformer.r": 4}'}, (1.5, 1.5)),
    ],
)
def test_the_scale_is_that_of_the_loaders(
    tmp_path: Path, config: dict[str, Any] | None, metadata: dict[str, str], scales: tuple[float, float]
) -> None:
    save_file(
        lora(f"base_model.model.{Q}", f"base_model.model.{OUT}"), tmp_path / "adapter_model.safetensors", metadata
    )
    if config is not None:
        (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", **config}))
    facts, _ = read_any(tmp_path)
    assert tuple(facts.scales.values()) == scales
    assert bool(facts.notes) == (config is None and not metadata), "an assumed scale is said"
    rebuilt = facts.peft_config()
    assert rebuilt["use_rslora"] is False
    alphas = [rebuilt["alpha_pattern"].get(module, rebuilt["lora_alpha"]) for module in (Q, OUT)]
    assert [alpha / 4 for alpha in alphas] == list(scales)


def test_modules_of_different_ranks_keep_them(tmp_path: Path) -> None:
    tensors = lora(f"base_model.model.{Q}", rank=2) | lora(f"base_model.model.{OUT}", rank=8)
    tensors |= {f"base_model.model.{Q}.alpha": torch.tensor(2.0), f"base_model.model.{OUT}.alpha": torch.tensor(4.0)}
    save_file(tensors, tmp_path / "a.safetensors")
    facts, _ = read_any(tmp_path / "a.safetensors")
    assert facts.ranks == {Q: 2, OUT: 8}
    config = facts.peft_config()
    assert (config["r"], config["rank_pattern"]) == (2, {OUT: 8})
    assert (config["lora_alpha"], config["alpha_pattern"]) == (2, {OUT: 4})


def test_lycoris_takes_no_alpha_for_the_dimension_and_the_configured_one_before_that(tmp_path: Path) -> None:
    stem = "lycoris_layers_0_mlp_up_proj"
    tensors = {
        f"{stem}.lokr_w1": torch.randn(2, 2),
        f"{stem}.lokr_w2_a": torch.randn(32, 4),
        f"{stem}.lokr_w2_b": torch.randn(4, 16),
    }
    save_file(tensors, tmp_path / "a.safetensors")
    assert set(read_any(tmp_path / "a.safetensors")[0].scales.values()) == {1.0}
    save_file(tensors, tmp_path / "b.safetensors", {"lokr_config": '{"linear_alpha": 2}'})
    facts, found = read_any(tmp_path / "b.safetensors")
    assert facts.scales == {"layers.0.mlp.up_proj": 0.5}
    assert float(found[f"{stem}.alpha"]) == 2.0
    assert facts.shapes == {"layers.0.mlp.up_proj": (64, 32)}


A = f"base_model.model.{Q}.lora_A.weight"
GOOD = lora(f"base_model.model.{Q}")


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        (
            {**GOOD, "layers.0.self_attn.q_proj.weight": torch.zeros(2, 2)},
            "layers.0.self_attn.q_proj.weight is no part",
        ),
        ({**GOOD, "lora_te_text_q_proj.lora_up.weight": torch.zeros(2, 2)}, "lora_te_text_q_proj.lora_up.weight"),
        ({A: GOOD[A]}, "its lora_B is missing"),
        ({**GOOD, f"transformer.{path_to_diffusers(Q)}.lora_A.weight": GOOD[A].clone()}, "under another name too"),
        ({**GOOD, f"base_model.model.{OUT}.alpha": torch.tensor(2.0)}, "an alpha but no weights"),
        ({**GOOD, f"base_model.model.{Q}.alpha": torch.tensor(float("nan"))}, "not one finite number"),
        ({**GOOD, f"lycoris_{OUT.replace('.', '_')}.lokr_w1": torch.zeros(2, 2)}, "must be of one kind"),
        ({**GOOD, f"base_model.model.{OUT}.lokr_t2": torch.zeros(2, 2)}, "Tucker"),
        ({A: GOOD[A], A.replace("lora_A", "lora_B"): torch.zeros(32, 5)}, "does not fit"),
        ({**GOOD, f"base_model.model.{Q}.dora_scale": torch.zeros(5, 1)}, "one number for each output"),
        ({}, "holds no tensors"),
    ],
)
def test_what_makes_no_sense_is_refused_by_file_and_key(tmp_path: Path, tensors: Tensors, says: str) -> None:
    save_file(tensors, tmp_path / "a.safetensors")
    with pytest.raises(AdapterError, match=re.escape(says)) as caught:
        read_any(tmp_path / "a.safetensors")
    assert str(tmp_path / "a.safetensors") in caught.value.message


def test_pickles_and_broken_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(b"x")
    with pytest.raises(AdapterError, match="no safetensors"):
        read_any(tmp_path / "a.pt")
    (tmp_path / "a.safetensors").write_bytes(b"\0" * 40)
    with pytest.raises(AdapterError, match="cannot be read"):
        read_any(tmp_path / "a.safetensors")


def test_an_adapter_for_another_size_is_refused_with_the_reason(new_transformer: Any, exported: Any) -> None:
    facts, _ = read_any(exported({"alpha": 4.0}))
    refuse_other_model(facts, new_transformer())
    with pytest.raises(AdapterError, match="at least 2 layers; this model has width 32 and 1 layer"):
        refuse_other_model(facts, new_transformer(layers=1))
