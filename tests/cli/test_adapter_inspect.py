"""`adapter inspect`: norms against the change built in full, scale, base and recipe; broken files refused by key."""

from __future__ import annotations

import json
import math
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sidestep_tui.core.errors import AdapterError
from sidestep_tui.launch.adapter_norms import examine

from .conftest import Outcome

Cli = Callable[..., Outcome]
Tensors = dict[str, Any]


def save(path: Path, tensors: Tensors, metadata: dict[str, str] | None = None, dtype: str = "F32") -> Path:
    """A safetensors file of these arrays."""
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    data = b""
    for name, values in tensors.items():
        raw = encoded(np.asarray(values), dtype)
        shape = list(np.asarray(values).shape)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def encoded(values: Any, dtype: str) -> bytes:
    if dtype == "BF16":
        return bytes((values.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes())
    return bytes(values.astype({"F32": "<f4", "F16": "<f2", "F64": "<f8"}[dtype]).tobytes())


def draw(*shape: int) -> Any:
    source = np.random.default_rng(math.prod(shape) + len(shape))
    return source.standard_normal(shape).astype(np.float32)


def lora(name: str, rank: int = 4, outputs: int = 24, inputs: int = 16) -> Tensors:
    return {f"{name}.lora_A.weight": draw(rank, inputs), f"{name}.lora_B.weight": draw(outputs, rank)}


def product(tensors: Tensors, name: str) -> Any:
    return tensors[f"{name}.lora_B.weight"].astype(float) @ tensors[f"{name}.lora_A.weight"].astype(float)


def only_norm(path: Path, config: dict[str, Any] | None = None) -> float:
    (module,) = examine(path, config).modules
    assert module.norm is not None
    return module.norm


@pytest.mark.parametrize(("dtype", "near"), [("F32", 1e-12), ("F64", 1e-12), ("F16", 2e-3), ("BF16", 1e-2)])
def test_the_norm_of_a_low_rank_change_is_that_of_the_product(tmp_path: Path, dtype: str, near: float) -> None:
    tensors = lora("base_model.model.layers.3.self_attn.q_proj")
    path = save(tmp_path / "a.safetensors", tensors, dtype=dtype)
    full = np.linalg.norm(product(tensors, "base_model.model.layers.3.self_attn.q_proj"))
    (module,) = examine(path, {"lora_alpha": 12}).modules
    assert module.norm == pytest.approx(3.0 * full, rel=near)
    assert (module.block, module.target, module.rank, module.scale) == (3, "self_attn.q_proj", 4, 3.0)
    assert (module.outputs, module.inputs) == (24, 16)


@pytest.mark.parametrize(
    ("config", "metadata", "alpha", "scale"),
    [
        ({"lora_alpha": 8}, {}, None, 2.0),
        ({"lora_alpha": 8, "use_rslora": True}, {}, None, 4.0),
        ({"lora_alpha": 8, "alpha_pattern": {"q_proj": 2}}, {}, None, 0.5),
        ({"lora_alpha": 8, "alpha_pattern": {"_proj": 2}}, {}, None, 2.0),
        (None, {"lora_adapter_metadata": '{"transformer.lora_alpha": 6}'}, None, 1.5),
        (None, {"lora_adapter_metadata": "{"}, None, 1.0),
        (None, {}, None, 1.0),
        ({"lora_alpha": 8}, {}, 20.0, 5.0),
        ({"lora_alpha": 8}, {}, 0.0, 0.0),
    ],
)
def test_the_scale_is_the_one_that_loaders_apply(
    tmp_path: Path, config: dict[str, Any] | None, metadata: dict[str, str], alpha: float | None, scale: float
) -> None:
    name = "base_model.model.layers.0.self_attn.q_proj"
    tensors = lora(name)
    full = np.linalg.norm(product(tensors, name))
    if alpha is not None:
        tensors[f"{name}.alpha"] = np.float32(alpha)
    found = examine(save(tmp_path / "a.safetensors", tensors, metadata), config)
    assert found.scales == (scale,)
    assert found.norm == pytest.approx(scale * full)


@pytest.mark.parametrize("split", [(), ("w2",), ("w1", "w2")])
def test_a_kronecker_change_is_measured_without_building_it(tmp_path: Path, split: tuple[str, ...]) -> None:
    stem = "lycoris_layers_7_cross_attn_k_proj"
    shapes = {"w1": (4, 3), "w2": (6, 10)}
    tensors: Tensors = {f"{stem}.alpha": np.float32(6.0)}
    factors = []
    for name, (rows, columns) in shapes.items():
        if name in split:
            a, b = draw(rows, 2), draw(2, columns)
            tensors |= {f"{stem}.lokr_{name}_a": a, f"{stem}.lokr_{name}_b": b}
            factors.append(a @ b)
        else:
            tensors[f"{stem}.lokr_{name}"] = draw(rows, columns)
            factors.append(tensors[f"{stem}.lokr_{name}"])
    (module,) = examine(save(tmp_path / "a.safetensors", tensors)).modules
    scale = 3.0 if split else 1.0
    assert module.norm == pytest.approx(scale * np.linalg.norm(np.kron(*factors)), rel=1e-5)
    assert (module.block, module.target, module.scale) == (7, "cross_attn.k_proj", scale)
    assert (module.outputs, module.inputs) == (24, 30)


def test_lycoris_reads_an_alpha_of_nothing_as_the_rank(tmp_path: Path) -> None:
    tensors = {f"{STEM}.lokr_w1": draw(4, 3), f"{STEM}.lokr_w2_a": draw(6, 2), f"{STEM}.lokr_w2_b": draw(2, 8)}
    assert examine(save(tmp_path / "a.safetensors", tensors)).scales == (1.0,)
    tensors[f"{STEM}.alpha"] = np.float32(0)
    assert examine(save(tmp_path / "b.safetensors", tensors)).scales == (1.0,)


def test_an_elementwise_change_is_measured_row_by_row(tmp_path: Path) -> None:
    stem = "lycoris_layers_0_mlp_up_proj"
    parts = {"w1_a": draw(600, 3), "w1_b": draw(3, 7), "w2_a": draw(600, 3) * 2, "w2_b": draw(3, 7) + 1}
    tensors: Tensors = {f"{stem}.hada_{name}": value for name, value in parts.items()}
    tensors[f"{stem}.alpha"] = np.float32(1.5)
    full = (parts["w1_a"] @ parts["w1_b"]) * (parts["w2_a"] @ parts["w2_b"])
    assert only_norm(save(tmp_path / "a.safetensors", tensors)) == pytest.approx(0.5 * np.linalg.norm(full), rel=1e-5)


def test_blocks_and_targets_add_up(tmp_path: Path, run_cli: Cli) -> None:
    tensors: Tensors = {}
    for layer in range(12):
        for name in ("self_attn.q_proj", "mlp.up_proj"):
            tensors |= lora(f"base_model.model.layers.{layer}.{name}", rank=2 + layer % 2)
    path = save(tmp_path / "adapter_model.safetensors", tensors)
    found = examine(path)
    whole = math.hypot(
        *(np.linalg.norm(product(tensors, key[: -len(".lora_A.weight")])) for key in tensors if "A" in key)
    )
    assert found.norm == pytest.approx(whole)
    for groups in (found.by_block, found.by_target):
        assert math.hypot(*(norm for norm in groups.values() if norm is not None)) == pytest.approx(whole)
    assert list(found.by_block) == list(range(12)), "blocks are numbers, not words"
    out = run_cli("adapter", "inspect", path).out
    lines = [line.split() for line in out.splitlines()]
    assert [line[0] for line in lines if len(line) == 4 and line[0].isdigit()] == [str(n) for n in range(12)]
    bars = [len(line[3]) for line in lines if len(line) == 4 and set(line[3]) == {"#"}]
    assert max(bars) == 24
    change = run_cli("adapter", "inspect", path, "--json").json["change"]
    assert change["norm"] == pytest.approx(whole)
    assert len(change["modules"]) == 24


@pytest.mark.parametrize(
    ("targets", "block", "base"),
    [
        ({"self_attn.q_proj": (2048, 2048), "mlp.down_proj": (2048, 6144)}, 23, "2B"),
        ({"self_attn.q_proj": (4096, 2560), "self_attn.o_proj": (2560, 4096)}, 31, "XL"),
        ({"self_attn.to_q": (4096, 2560), "self_attn.to_out.0": (2560, 4096)}, 3, "XL"),
        ({"cross_attn.k_proj": (1024, 2048)}, 3, None),
        ({"self_attn.q_proj": (2048, 2048)}, 24, None),
        ({"self_attn.q_proj": (2048, 2048), "mlp.up_proj": (9728, 2560)}, 3, None),
    ],
)
def test_the_base_is_told_by_width_and_depth(
    tmp_path: Path, targets: dict[str, tuple[int, int]], block: int, base: str | None
) -> None:
    tensors: Tensors = {}
    for name, (outputs, inputs) in targets.items():
        tensors |= lora(f"base_model.model.layers.{block}.{name}", 1, outputs, inputs)
    assert examine(save(tmp_path / "a.safetensors", tensors)).base == base


def test_the_recipe_is_shown(tmp_path: Path, run_cli: Cli) -> None:
    own = {"sidestep_tui": json.dumps({"run": "blues", "step": 500, "tag": "", "variant": "turbo\x1b[2J"})}
    path = save(tmp_path / "adapter_model.safetensors", lora("base_model.model.layers.0.mlp.up_proj"), own)
    assert examine(path).recipe == {"run": "blues", "step": "500", "variant": "turbo\x1b[2J"}
    out = run_cli("adapter", "inspect", path).out
    assert "  run: blues" in out and "\x1b" not in out
    other = save(tmp_path / "b.safetensors", lora("base_model.model.layers.0.mlp.up_proj"), {"ss_optimizer": "Lion"})
    assert examine(other).recipe == {"optimizer": "Lion"}


NAME = "base_model.model.layers.0.self_attn.q_proj"
A, B = f"{NAME}.lora_A.weight", f"{NAME}.lora_B.weight"
STEM = "lycoris_layers_0_self_attn_q_proj"


@pytest.mark.parametrize(
    ("tensors", "key", "why"),
    [
        ({A: draw(4, 16)}, A, "lora_B is missing"),
        ({B: draw(24, 4)}, B, "lora_A is missing"),
        ({A: draw(4, 16), B: draw(24, 5)}, B, "does not fit [4, 16]"),
        ({A: draw(4, 16), B: draw(24, 4) * np.float32("nan")}, B, "not numbers"),
        ({A: draw(16), B: draw(24, 4)}, A, "no matrix"),
        ({A: draw(4, 16), B: draw(24, 4), f"{NAME}.alpha": draw(2)}, f"{NAME}.alpha", "one finite number"),
        ({A: draw(4, 16), B: draw(24, 4), "layers.1.x.alpha": np.float32(1)}, "layers.1.x.alpha", "no factors"),
        ({f"{STEM}.lokr_w1": draw(2, 2), f"{STEM}.lokr_w2_a": draw(4, 2)}, f"{STEM}.lokr_w2_a", "lokr_w2_b is missing"),
        ({f"{STEM}.lokr_w1": draw(2, 2)}, STEM, "lokr_w2_a is missing"),
        ({f"{STEM}.hada_w1_a": draw(4, 2), f"{STEM}.hada_w1_b": draw(2, 4)}, STEM, "hada_w2_a is missing"),
    ],
)
def test_broken_files_are_refused_with_file_and_key(tmp_path: Path, tensors: Tensors, key: str, why: str) -> None:
    path = save(tmp_path / "adapter_model.safetensors", tensors)
    with pytest.raises(AdapterError, match=re.escape(why)) as caught:
        examine(path)
    assert f"{path}: {key}: " in caught.value.message


def test_a_tensor_whose_bytes_do_not_fit_its_shape_is_refused(tmp_path: Path, run_cli: Cli) -> None:
    path = save(tmp_path / "adapter_model.safetensors", lora(NAME))
    path.write_bytes(path.read_bytes().replace(b"[4, 16]", b"[4, 17]"))
    outcome = run_cli("adapter", "inspect", path)
    assert outcome.code == 4
    assert A in outcome.err and "[4, 17]" in outcome.err


def test_what_a_file_alone_cannot_tell_stays_open(tmp_path: Path, run_cli: Cli) -> None:
    path = save(tmp_path / "adapter_model.safetensors", {f"{NAME}.oft_R.weight": draw(4, 6)})
    found = examine(path)
    assert found.norm is None and found.scales == ()
    assert [module.inputs for module in found.modules] == [16]
    assert "change  –" in run_cli("adapter", "inspect", path).out


def test_looking_needs_no_torch(tmp_path: Path) -> None:
    path = save(tmp_path / "adapter_model.safetensors", lora(NAME))
    code = (
        f"import sys; from sidestep_tui.cli.main import main; code = main(['adapter', 'inspect', {str(path)!r}]);"
        "sys.exit(code or bool({'torch', 'safetensors', 'lycoris'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("stem", "parts", "format", "names"),
    [
        ("base_model.model.layers.1.self_attn.o_proj", ("lora_A", "lora_B"), "peft", "original"),
        ("base_model.model.decoder.layers.1.self_attn.o_proj", ("lora_A.mine", "lora_B.mine"), "peft", "original"),
        ("transformer.layers.1.self_attn.to_out.0", ("lora_A", "lora_B"), "diffusers", "diffusers"),
        ("diffusion_model.decoder.layers.1.self_attn.o_proj", ("lora_down", "lora_up"), "ComfyUI", "original"),
        ("lora_unet_decoder_layers_1_self_attn_to_out_0", ("lora_down", "lora_up"), "ComfyUI", "diffusers"),
    ],
)
def test_every_spelling_is_known(
    tmp_path: Path, run_cli: Cli, stem: str, parts: tuple[str, str], format: str, names: str
) -> None:
    tensors: Tensors = {f"{stem}.{parts[0]}.weight": draw(4, 16), f"{stem}.{parts[1]}.weight": draw(24, 4)}
    path = save(tmp_path / "a.safetensors", tensors)
    (module,) = examine(path).modules
    assert (module.name, module.block, module.target) == ("layers.1.self_attn.o_proj", 1, "self_attn.o_proj")
    assert (module.rank, module.outputs, module.inputs) == (4, 24, 16)
    outcome = run_cli("adapter", "inspect", path)
    assert f"format  {format}, {names} module names" in outcome.out
    assert "takes alpha" in outcome.err or "take alpha = rank" in outcome.err
    assert ("Names contain '.mine.'" in outcome.err) == ("mine" in parts[0])


def test_what_is_not_of_ace_step_is_said(tmp_path: Path, run_cli: Cli) -> None:
    path = save(tmp_path / "a.safetensors", lora("lora_te_text_model_layers_0_q_proj") | lora("time_embed.linear_1"))
    said = run_cli("adapter", "inspect", path).err
    assert "2 tensors of 4 are for no module of ACE-Step 1.5's decoder" in said
    assert "It also changes time_embed.linear_1" in said
    comfyui = save(tmp_path / "b.safetensors", lora(NAME), {"sidestep_tui_dora_scale": "comfyui"})
    assert "restated for ComfyUI" in run_cli("adapter", "inspect", comfyui).err
    other = save(tmp_path / "c.safetensors", {"layers.0.self_attn.q_proj.weight": draw(4, 4)})
    outcome = run_cli("adapter", "inspect", other)
    assert outcome.code == 4
    assert "holds 1 tensor, none with an adapter's name" in outcome.err
