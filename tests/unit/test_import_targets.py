"""Which modules other trainers' presets and peft's own configurations are about, in all their spellings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sidestep_tui.schema.importers import ImportReport, import_preset


def imported(path: Path, **keys: Any) -> ImportReport:
    (path / "preset.json").write_text(json.dumps({"r": 8, **keys}))
    return import_preset(path / "preset.json")


def adapter(report: ImportReport) -> dict[str, Any]:
    return {key.removeprefix("adapter."): value for key, value in report.values.items() if key != "adapter.rank"}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        # The original code, diffusers, ACE-Step v1's trainer, Side-Step's suffixes, the YAML of ACE-Step's page.
        (["q_proj", "v_proj"], {"projections": ("q", "v"), "attention": "both"}),
        (["to_q", "to_out.0"], {"projections": ("q", "o"), "attention": "both"}),
        (["linear_q", "linear_k", "linear_v"], {"projections": ("q", "k", "v"), "attention": "both"}),
        (["self_attn.q_proj", "self_attn.o_proj"], {"projections": ("q", "o"), "attention": "self"}),
        (["cross_attn.to_k", "cross_attn.to_v"], {"projections": ("k", "v"), "attention": "cross"}),
        (["q_proj", "out_proj", "fc1", "fc2"], {"projections": ("q", "o"), "attention": "both", "mlp": True}),
        (["mlp.gate_proj", "up_proj"], {"attention": "none", "mlp": True}),
        (["decoder.layers.3.self_attn.to_q"], {"projections": ("q",), "attention": "self", "layers": "3"}),
        (
            [f"layers.{layer}.cross_attn.{name}" for layer in (0, 1, 5) for name in ("q_proj", "o_proj")],
            {"projections": ("q", "o"), "attention": "cross", "layers": "0-1, 5"},
        ),
    ],
)
def test_target_lists_of_every_convention_are_translated(
    tmp_path: Path, names: list[str], expected: dict[str, Any]
) -> None:
    assert adapter(imported(tmp_path, target_modules=names)) == expected


def test_a_target_that_names_nothing_is_refused_by_name(tmp_path: Path) -> None:
    report = imported(tmp_path, target_modules=["q_proj", "speaker_embedder", "proj_in.1"])
    assert [row.key for row in report.refused] == [
        "target_modules: speaker_embedder",
        "target_modules: proj_in.1",
    ]


def test_other_modules_in_other_layers_are_refused_and_said(tmp_path: Path) -> None:
    report = imported(tmp_path, target_modules=["layers.0.self_attn.q_proj", "layers.1.self_attn.k_proj"])
    assert "adapter.layers" not in report.values
    assert ["all layers learn" in row.detail for row in report.refused] == [True]


def test_pefts_patterns_come_with_their_order_turned_round(tmp_path: Path) -> None:
    """In peft the first match counts: k_proj of layer 1 has rank 4, not 16."""
    pattern = {
        "^layers\\.1\\.self_attn\\.k_proj": 4,
        "layers.2.self_attn.k_proj": 4,
        "self_attn.k_proj": 16,
        "to_out.0": 32,
        "mlp.up_proj": 2,
    }
    report = imported(tmp_path, rank_pattern=pattern, alpha_pattern={"cross_attn.to_q": 1.5})
    assert not report.refused
    assert report.values["adapter.rank_pattern"] == "mlp.up=2, o=32, self.k=16, layers.1-2.self.k=4"
    assert report.values["adapter.alpha_pattern"] == "cross.q=1.5"


def test_patterns_that_name_nothing_are_refused_by_name(tmp_path: Path) -> None:
    report = imported(tmp_path, rank_pattern={"time_embed.linear_1": 8, "q_.*": 8, "v_proj": "many"}, alpha_pattern={})
    assert [row.key.partition(": ")[2] for row in report.refused] == ["v_proj", "q_.*", "time_embed.linear_1"]
    assert "adapter.rank_pattern" not in report.values


def test_layers_to_transform_and_the_start_are_taken(tmp_path: Path) -> None:
    report = imported(tmp_path, layers_to_transform=[4, 5, 6, 9], layers_pattern="layers", init_lora_weights="pissa")
    assert not report.refused
    assert (report.values["adapter.layers"], report.values["adapter.init"]) == ("4-6, 9", "pissa")
    assert imported(tmp_path, init_lora_weights=True, layers_to_transform=None).values["adapter.init"] == "default"
    assert imported(tmp_path, init_lora_weights="gaussian").refused[0].key == "init_lora_weights"
    assert imported(tmp_path, layers_to_transform=["a"]).refused[0].key == "layers_to_transform"


def test_what_runs_export_is_imported_as_it_was(tmp_path: Path) -> None:
    """The adapter_config.json of a run with layers and patterns, as a preset for another one."""
    names = [f"layers.{layer}.self_attn.{part}_proj" for layer in (1, 2) for part in "qkvo"]
    config = {
        "peft_type": "LORA",
        "lora_alpha": 16,
        "target_modules": names,
        "rank_pattern": {"layers.2.self_attn.o_proj": 4},
        "alpha_pattern": {},
        "layers_to_transform": None,
        "layers_pattern": None,
        "init_lora_weights": True,
        "use_rslora": False,
    }
    report = imported(tmp_path, **config)
    assert not report.refused
    assert report.values["adapter.layers"] == "1-2"
    assert report.values["adapter.rank_pattern"] == "layers.2.self.o=4"
    assert (report.values["adapter.attention"], report.values["adapter.alpha"]) == ("self", 16.0)
