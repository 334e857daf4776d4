"""What adapter files call things: one grammar for the spellings of all trainers and loaders.

A key is a module and one of its parts. The module may carry a loader's prefix, dots or underscores, and the names of
the original code or of diffusers; the part may be peft's or kohya's, with or without the name of an adapter in it
(INTEROP.md §4.6, ACESTEP_FACTS.md §5). Needs neither torch nor the file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from sidestep_tui.core.errors import AdapterError

Naming = Literal["original", "diffusers"]
Layout = Literal["peft", "diffusers", "comfyui", "lycoris"]

PEFT_FILE: Final = "adapter_model.safetensors"
PEFT_CONFIG: Final = "adapter_config.json"
DIFFUSERS_FILE: Final = "pytorch_lora_weights.safetensors"
LYCORIS_FILES: Final = ("lokr_weights.safetensors", "loha_weights.safetensors")
USUAL_FILES: Final = (PEFT_FILE, *LYCORIS_FILES, DIFFUSERS_FILE)
RUN_PLACES: Final = ("adapter/final", "adapter/best")

DIFFUSERS_METADATA: Final = "lora_adapter_metadata"
OWN_METADATA: Final = "sidestep_tui"
DORA_METADATA: Final = "sidestep_tui_dora_scale"
"""Says, with the value `comfyui`, that `dora_scale` counts on the length of the base's rows, not of the sums'."""
PEFT_PREFIX: Final = "base_model.model."
LYCORIS_PREFIX: Final = "lycoris_"
COMFYUI_PREFIX: Final = "diffusion_model.decoder."
DIFFUSERS_PREFIX: Final = "transformer."

_ALIASES: Final = {
    "lora_down": "lora_A",
    "lora_up": "lora_B",
    "lora.down": "lora_A",
    "lora.up": "lora_B",
    "lora_magnitude_vector": "magnitude",
    "dora_scale": "magnitude",
}
_KEY: Final = re.compile(
    r"(?P<module>.+?)\.(?P<part>lora_A|lora_B|lora_down|lora_up|lora_mid|lora\.down|lora\.up|lora_magnitude_vector|"
    r"dora_scale|lokr_(?:w1|w2)(?:_[ab])?|lokr_t2|hada_(?:w1|w2)_[ab]|hada_t[12]|oft_\w+|alpha|scalar)"
    r"(?:\.(?!weight$)(?P<infix>[^.]+))?(?:\.weight)?"
)
_PREFIX: Final = re.compile(
    r"(?:base_model\.model\.|model\.diffusion_model\.|diffusion_model\.|transformer\.|lycoris_|lora_unet_|"
    r"lora_transformer_|decoder[._]|dit\.)+"
)
_MODULE: Final = re.compile(
    r"layers[._](?P<layer>\d+)[._](?:(?P<attention>self_attn|cross_attn)[._](?P<projection>[qkvo]_proj|to_[qkv]|"
    r"to_out[._]0|to_out)|mlp[._](?P<mlp>gate_proj|up_proj|down_proj))|"
    r"(?P<embed>time_embed(?:_r)?)[._](?P<linear>linear_1|linear_2|time_proj)|"
    r"(?P<condition>condition_embedder)|(?P<patch>proj_in|proj_out)(?:[._]1|_conv)"
)
_PROJECTIONS: Final = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "o_proj"}
_DIFFUSERS_PARTS: Final = {"q_proj": "to_q", "k_proj": "to_k", "v_proj": "to_v", "o_proj": "to_out.0"}
_DIFFUSERS_NAMES: Final = re.compile(r"[._]to_(?:q|k|v|out)\b|_conv\b|[._]to_out[._]0")
_ORIGINAL_NAMES: Final = re.compile(r"[._][qkvo]_proj\b")


@dataclass(frozen=True, slots=True)
class Key:
    """A key taken apart. `module` is the path in the original code, None if ACE-Step 1.5's decoder has none such."""

    stem: str
    module: str | None
    part: str
    infix: str | None


def parse(key: str) -> Key | None:
    """Take a key of an adapter file apart; None if it belongs to no adapter."""
    match = _KEY.fullmatch(key)
    if match is None:
        return None
    part = _ALIASES.get(match["part"], match["part"])
    return Key(match["module"], module_path(match["module"]), part, match["infix"])


def module_path(name: str) -> str | None:
    """The path in the original code: `lycoris_layers_0_self_attn_to_out_0` → `layers.0.self_attn.o_proj`."""
    prefix = _PREFIX.match(name)
    match = _MODULE.fullmatch(name[prefix.end() :] if prefix else name)
    if match is None:
        return None
    if match["layer"] is None:
        if match["patch"]:
            return f"{match['patch']}.1"
        return match["condition"] or f"{match['embed']}.{match['linear']}"
    inside = f"mlp.{match['mlp']}"
    if match["attention"]:
        projection = match["projection"].split(".")[0].removesuffix("_0")
        inside = f"{match['attention']}.{_PROJECTIONS.get(projection, projection)}"
    return f"layers.{int(match['layer'])}.{inside}"


def layer_of(module: str) -> int | None:
    """The block that a module path of the original code is in."""
    parts = module.split(".")
    return int(parts[1]) if parts[0] == "layers" else None


def pattern_fits(pattern: str, module: str) -> bool:
    """Whether a key of peft's rank_pattern or alpha_pattern, in the names of either code, means this module."""
    try:
        expression = re.compile(rf"(.*\.)?({pattern})$")
    except re.error:
        return False
    names = (module, ".".join(_DIFFUSERS_PARTS.get(part, part) for part in module.split(".")))
    return any(expression.match(name) for name in names)


def layout(kind: str, names: list[str]) -> Layout:
    """Which program's spelling these keys have."""
    if any(name.startswith((LYCORIS_PREFIX, "lora_unet_")) for name in names):
        return "lycoris" if kind in ("lokr", "loha") else "comfyui"
    if any(".lora_down" in name or ".alpha" in name or name.startswith("diffusion_model.") for name in names):
        return "comfyui"
    return "diffusers" if any(name.startswith(DIFFUSERS_PREFIX) for name in names) else "peft"


def naming(names: list[str]) -> Naming | None:
    """Whose module names these keys use; None where both call the modules the same."""
    if any(_ORIGINAL_NAMES.search(name) for name in names):
        return "original"
    return "diffusers" if any(_DIFFUSERS_NAMES.search(name) for name in names) else None


def weights_file(path: Path) -> Path:
    """The safetensors that `path` means: a file, an adapter's directory, or a run with a finished adapter."""
    if path.is_file():
        return path
    if not path.is_dir():
        raise AdapterError("There is no such adapter.", f"{path} does not exist.", "Check the path.")
    for place in ("", *RUN_PLACES):
        for name in USUAL_FILES:
            if (path / place / name).is_file():
                return path / place / name
    others = sorted(path.glob("*.safetensors"))
    if len(others) == 1:
        return others[0]
    raise AdapterError(
        "There is no adapter in this directory.",
        f"{path} holds no {USUAL_FILES[0]}" + (" but several other safetensors." if others else "."),
        "Name the file, or choose the directory that adapter_config.json is in.",
    )
