"""Adapters as directories that others load: PEFT layout, original names, diffusers metadata in the same file.

One file serves both worlds (ACESTEP_FACTS.md §5.3): ACE-Step's own app reads `adapter_config.json`, diffusers reads the
metadata embedded in the safetensors, without which it would silently assume alpha = rank.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

import sidestep_tui
from sidestep_tui.core import atomic, text
from sidestep_tui.core.errors import AdapterError, DivergedError, RunError
from sidestep_tui.engine import adapters, lycoris, objective
from sidestep_tui.engine.keymap import path_to_diffusers, path_to_original
from sidestep_tui.engine.speed import switches
from sidestep_tui.engine.writer import write_tensors
from sidestep_tui.schema import adapter_maths, adapter_targets
from sidestep_tui.schema.adapter import AdapterSettings
from sidestep_tui.schema.settings import Settings

DIFFUSERS_DIR = "diffusers"
DIFFUSERS_FILE = "pytorch_lora_weights.safetensors"
DIFFUSERS_METADATA_KEY = "lora_adapter_metadata"
OWN_METADATA_KEY = "sidestep_tui"
CARD_FILE = "README.md"

_PROBE_FRAMES = 64
_PROBE_TOKENS = 32
_PROBE_LEVELS = (0.9, 0.3)


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where an adapter comes from; travels inside its file."""

    run: str
    run_created: str
    step: int
    epoch: int
    loss: float | None
    base_model: str
    variant: str
    tag: str
    product_version: str = sidestep_tui.__version__
    started_from: str = ""
    """The adapter that the run began with, if it did not begin with a fresh one."""
    loss_of: str = "training"
    """Whose mean loss it is: that of training or of held-out songs."""

    def is_of_run(self, other: Mapping[str, Any]) -> bool:
        """Whether an adapter that says `other` about itself was made by the same run."""
        return other.get("run") == self.run and other.get("run_created") == self.run_created


def target_patterns(adapter: AdapterSettings) -> list[str]:
    """The shortest names that select the adapter's modules in the diffusers model, and nothing else."""
    if adapter.layers.strip():
        return adapters.module_names(adapter)
    suffixes = adapters.target_suffixes(adapter)
    if adapter.attention == "both":
        suffixes = tuple(suffix.removeprefix("self_attn.").removeprefix("cross_attn.") for suffix in suffixes)
    return list(dict.fromkeys(suffix.removeprefix("mlp.") for suffix in suffixes))


def lora_options(adapter: AdapterSettings, sizes: adapters.Sizes) -> dict[str, Any]:
    """What both kinds of configuration say; only keys that every version of peft knows. Patterns in diffusers names."""
    return {
        "r": sizes.rank,
        "lora_alpha": adapters.whole(sizes.alpha),
        "lora_dropout": adapter.dropout,
        "bias": "none",
        "use_dora": adapter.kind == "dora",
        "use_rslora": adapter.rslora,
        "rank_pattern": sizes.rank_pattern,
        "alpha_pattern": {name: adapters.whole(value) for name, value in sizes.alpha_pattern.items()},
    }


def peft_config(adapter: AdapterSettings, base_model: str, sizes: adapters.Sizes) -> dict[str, Any]:
    """The contents of adapter_config.json, module names as in the original code.

    `task_type` stays null: with FEATURE_EXTRACTION, peft would pass `input_ids` to a diffusers transformer.
    """
    common = {
        "task_type": None,
        "base_model_name_or_path": base_model,
        "auto_mapping": None,
        "revision": None,
        "inference_mode": True,
        "target_modules": [path_to_original(name) for name in target_patterns(adapter)],
        "modules_to_save": None,
        "fan_in_fan_out": False,
        "layers_to_transform": None,
        "layers_pattern": None,
    }
    if adapter.kind == "oft":
        return {"peft_type": "OFT", **common, **_OFT_OPTIONS, "oft_block_size": adapter.oft_block_size}
    options = lora_options(adapter, sizes)
    for pattern in ("rank_pattern", "alpha_pattern"):
        options[pattern] = {path_to_original(name): value for name, value in options[pattern].items()}
    return {"peft_type": "LORA", **common, "init_lora_weights": True, **options}


_OFT_OPTIONS = {
    "r": 0,
    "module_dropout": 0.0,
    "bias": "none",
    "init_weights": True,
    "coft": False,
    "block_share": False,
    "use_cayley_neumann": True,
    "num_cayley_neumann_terms": 5,
}
"""How peft turns an adapter's numbers into rotations; written out, as its defaults may change."""


@dataclass(frozen=True, slots=True)
class Contents:
    """An adapter as it was at some moment, in host memory, apart from the model that goes on learning."""

    tensors: dict[str, torch.Tensor]
    adapter: AdapterSettings
    sizes: adapters.Sizes


def contents(transformer: torch.nn.Module, adapter: AdapterSettings) -> Contents:
    """The injected adapter as it is now.

    Raises DivergedError if a weight is not finite: a diverged adapter never replaces a good one.
    """
    tensors = adapters.state_dict(transformer)
    # Both ends are NaN where any value is, and found four times as fast as a mask of all values.
    ends = {name: torch.stack(torch.aminmax(tensor)) for name, tensor in tensors.items()}
    if bad := [name for name, pair in ends.items() if not bool(pair.isfinite().all())]:
        raise DivergedError(
            "The adapter holds values that are not numbers.",
            f"For example {text.listing(bad, 2)}; it was not saved.",
            "Start again with a lower learning rate.",
        )
    return Contents(tensors, adapter, adapters.sizes(transformer, adapter))


def write_adapter(
    directory: Path, transformer: torch.nn.Module, adapter: AdapterSettings, provenance: Provenance
) -> int:
    """Write the injected adapter into an existing directory; returns the number of tensors.

    Raises DivergedError, with nothing written, if a weight is not finite.
    """
    return write_contents(directory, contents(transformer, adapter), provenance)


def write_contents(directory: Path, held: Contents, provenance: Provenance) -> int:
    """Write an adapter into an existing directory; returns the number of tensors."""
    tensors, adapter, sizes = held.tensors, held.adapter, held.sizes
    if adapter.kind in lycoris.KINDS:
        _write_lycoris(directory, tensors, adapter, provenance)
        return len(tensors)
    lora = {f"transformer.{key}": value for key, value in lora_options(adapter, sizes).items()}
    lora["transformer.target_modules"] = target_patterns(adapter)
    metadata = {"format": "pt", OWN_METADATA_KEY: json.dumps(asdict(provenance), sort_keys=True)}
    if adapter.kind != "oft":
        metadata[DIFFUSERS_METADATA_KEY] = json.dumps(lora, sort_keys=True)
    write_tensors(directory / adapters.WEIGHTS_FILE, tensors, metadata)
    config = peft_config(adapter, provenance.base_model, sizes)
    (directory / adapters.CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", "utf-8")
    if adapter.kind != "oft" and not diffusers_reads_original_names(tensors):
        _write_diffusers_file(directory / DIFFUSERS_DIR, tensors, metadata)
    return len(tensors)


def _write_lycoris(
    directory: Path, tensors: dict[str, torch.Tensor], adapter: AdapterSettings, provenance: Provenance
) -> None:
    """`lokr_weights.safetensors` with its `lokr_config` inside, where ACE-Step's app looks, and as a file beside it."""
    name = adapters.LYCORIS_CONFIGS[adapter.kind]
    document = lycoris.document(adapter, [path_to_original(pattern) for pattern in target_patterns(adapter)])
    metadata = {
        "format": "lycoris",
        "algo": adapter.kind,
        name: json.dumps(document, sort_keys=True),
        OWN_METADATA_KEY: json.dumps(asdict(provenance), sort_keys=True),
    }
    write_tensors(directory / adapters.LYCORIS_FILES[adapter.kind], tensors, metadata)
    (directory / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n", "utf-8")


def diffusers_reads_original_names(names: Mapping[str, Any]) -> bool:
    """Whether `load_lora_weights` takes a file of original names for one: it looks for q_proj and k_proj alone."""
    return any("q_proj" in name or "k_proj" in name for name in names)


def _write_diffusers_file(directory: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    """A copy under diffusers' own names, for adapters whose original names it would skip without a word."""
    directory.mkdir()
    renamed = {
        "transformer." + path_to_diffusers(name.removeprefix(adapters.KEY_PREFIX)): tensor
        for name, tensor in tensors.items()
    }
    write_tensors(directory / DIFFUSERS_FILE, renamed, metadata)


def read_provenance(directory: Path) -> dict[str, Any]:
    """What an exported adapter says about its origin; empty if it is not one of ours."""
    try:
        with safe_open(adapters.weights_file(directory), framework="pt") as handle:
            metadata = handle.metadata() or {}
        value = json.loads(metadata.get(OWN_METADATA_KEY, "{}"))
    except (OSError, SafetensorError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def publish(target: Path, transformer: torch.nn.Module, settings: Settings, provenance: Provenance) -> int:
    """Export the adapter in `transformer` with its model card to `target`; returns the number of tensors."""
    return publish_contents(target, contents(transformer, settings.adapter), settings, provenance)


def publish_contents(target: Path, held: Contents, settings: Settings, provenance: Provenance) -> int:
    """Export an adapter with its model card to `target`; returns the number of tensors.

    An earlier export of the same run is replaced in one step; anything else at `target` is refused.
    """
    recover(target)
    if target.exists() and not provenance.is_of_run(read_provenance(target)):
        raise RunError(
            "There is another adapter in the way.",
            f"{target} was not written by this run and stays as it is.",
            "Move it elsewhere, then resume the run.",
        )
    with _replacing(target) as directory:
        count = write_contents(directory, held, provenance)
        (directory / CARD_FILE).write_text(model_card(settings, provenance, kind=target.name), "utf-8")
    return count


@contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """Publish a directory at `target`, taking the place of the one that is there."""
    fresh, old = _beside(target, "new"), _beside(target, "old")
    with atomic.publish_dir(fresh) as directory:
        yield directory
    if target.exists():
        target.rename(old)
    fresh.rename(target)
    atomic.fsync_dir(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def recover(target: Path) -> None:
    """Clean up after a kill between the renames: bring the old version back, drop half-done ones."""
    fresh, old = _beside(target, "new"), _beside(target, "old")
    if old.exists() and not target.exists():
        old.rename(target)
    for leftover in (old, fresh, *target.parent.glob(f".{fresh.name}.*.tmp")):
        shutil.rmtree(leftover, ignore_errors=True)


def _beside(target: Path, suffix: str) -> Path:
    return target.with_name(f".{target.name}.{suffix}")


def probe(transformer: torch.nn.Module, *, dtype: torch.dtype) -> torch.Tensor:
    """The model's answer to a fixed made-up input at two noise levels, in evaluation mode: [2, T, C] on the CPU."""
    device = next(transformer.parameters()).device
    source = torch.Generator().manual_seed(0)
    channels = transformer.config.audio_acoustic_hidden_dim
    width = transformer.config.encoder_hidden_size or transformer.config.hidden_size
    batch = len(_PROBE_LEVELS)
    x_t = torch.randn((batch, _PROBE_FRAMES, channels), generator=source)
    condition = torch.randn((batch, _PROBE_TOKENS, width), generator=source)
    silence = torch.randn((1, _PROBE_FRAMES, channels), generator=source)
    was_training = transformer.training
    learning = [parameter for parameter in transformer.parameters() if parameter.requires_grad]
    transformer.eval()
    # Which matrix kernel runs depends on this flag too, and kernels differ in the last bits.
    transformer.requires_grad_(False)
    try:
        # By the stock code, as consumers load it: what is verified is the adapter, not how fast it was trained.
        with torch.no_grad(), switches.stock(transformer):
            output = objective.predict(
                transformer,
                x_t.to(device),
                torch.tensor(_PROBE_LEVELS, device=device),
                condition.to(device),
                objective.context_latents(silence.to(device), batch, _PROBE_FRAMES),
                dtype=dtype,
            )
    finally:
        transformer.train(was_training)
        for parameter in learning:
            parameter.requires_grad_(True)
    return output.float().cpu()


def verify(directory: Path, fresh: torch.nn.Module, expected: torch.Tensor, *, dtype: torch.dtype) -> int:
    """Load an export into a fresh transformer and compare its answers with those of the trained one.

    Returns the number of tensors loaded. Raises AdapterError unless both agree to the last bit.
    """
    count = adapters.load_adapter(fresh, directory, autocast=dtype != torch.float32)
    answer = probe(fresh, dtype=dtype)
    difference = float((answer - expected).abs().max())
    if difference != 0.0:
        raise AdapterError(
            "The exported adapter does not sound like the trained one.",
            f"Reloaded from {directory}, its output differs by up to {difference:g}.",
            "The newest checkpoint holds the trained weights; please report this.",
        )
    return count


def model_card(settings: Settings, provenance: Provenance, *, kind: str) -> str:
    """README.md of an export: what it is, how to call it, how to load it."""
    adapter, optim, train = settings.adapter, settings.optim, settings.train
    loss = "" if provenance.loss is None else f", mean loss of {provenance.loss_of} {provenance.loss:.4f}"
    tag = f"Put `{provenance.tag}` into the prompt to call the style." if provenance.tag else "It has no trigger tag."
    parts = [part for part, on in (("attention", adapter.attention != "none"), ("MLP", adapter.mlp)) if on]
    attention = f" (attention: {adapter.attention})" if adapter.attention != "none" else ""
    layers = f" of layers {adapter.layers}" if adapter.layers else ""
    crop = f"crops of {settings.data.crop_seconds:g} s" if settings.data.crop_seconds else "whole songs"
    return f"""---
library_name: {"lycoris" if adapter.kind in lycoris.KINDS else "peft"}
base_model: {provenance.base_model}
tags: [ace-step, music, {adapter.kind}]
---

# {provenance.run} ({kind})

A {adapter_maths.KIND_NAMES[adapter.kind]} adapter for ACE-Step 1.5 `{provenance.variant}`.
{tag} Suggested strength: 1.0; try 0.6 to 0.9 if it drowns the prompt.

| | |
|---|---|
| Base | {provenance.base_model} ({provenance.variant}) |
| Trained | {text.thousands(provenance.step)} steps, {text.thousands(provenance.epoch)} epochs{loss} |
{_capacity_row(adapter)}
| Parts | {" and ".join(parts)}{attention}{layers} |
| Optimizer | {optim.optimizer}, learning rate {optim.lr:g}, {optim.schedule} |
| Batch | {train.batch_size} × {train.accumulation}, {crop} |
| Made with | sidestep-tui {provenance.product_version} |

## Loading it

{_loading(adapter)}

An adapter trained on base also works on turbo; the reverse does not hold.
"""


def _capacity_row(adapter: AdapterSettings) -> str:
    stable = " (rank-stabilised)" if adapter.rslora else ""
    values = f"{adapter.rank}, {adapter.alpha:g}{stable}{adapter_targets.exceptions_text(adapter)}"
    if adapter.kind == "oft":
        return f"| Block size | {adapter.oft_block_size} |"
    if adapter.kind != "lokr":
        return f"| Rank, alpha | {values} |"
    factor = "automatic" if adapter.lokr_factor < 1 else str(adapter.lokr_factor)
    return f"| Factor | {factor}, {'both factors whole' if adapter.lokr_full_matrix else f'rank, alpha {values}'} |"


def _loading(adapter: AdapterSettings) -> str:
    """How the loaders that read this kind of adapter are given it."""
    if adapter.kind in lycoris.KINDS:
        file = adapters.LYCORIS_FILES[adapter.kind]
        app = "- **ACE-Step 1.5 app**: choose this directory as the LoRA; it needs `lycoris-lora`.\n"
        return f"""{app if adapter.kind == "lokr" else ""}- **ComfyUI**: use `{file}` as a LoRA, at strength 1.
- **LyCORIS**: `create_lycoris_from_weights(1.0, "{file}", model.decoder)`, then `apply_to()`.
- diffusers' `load_lora_weights` does not read this kind."""
    if adapter.kind == "oft":
        return """- **ACE-Step 1.5 app**: choose this directory as the LoRA.
- **peft**: `PeftModel.from_pretrained(model.decoder, "this-directory")`.
- diffusers' `load_lora_weights` and ComfyUI do not read this kind."""
    subfolder = "" if adapter.attention != "none" and {"q", "k"} & set(adapter.projections) else f"/{DIFFUSERS_DIR}"
    return f"""- **ACE-Step 1.5 app**: choose this directory as the LoRA.
- **diffusers**: `pipe.load_lora_weights("this-directory{subfolder}")`; rank and alpha are in the file.
{_alone(adapter)}"""


def _alone(adapter: AdapterSettings) -> str:
    """What becomes of the adapter in programs that read its tensors and nothing else."""
    others = "- **ComfyUI** and others that read the tensors alone"
    if adapter.kind == "dora":
        return f"{others} leave out DoRA's magnitudes: `sidestep-tui adapter export` writes a file that has them."
    scale, most = adapter_targets.scale_range(adapter)
    if scale != most:
        return f"{others} need a file with alpha: `sidestep-tui adapter export` writes one."
    return f"{others}: set the strength to {scale:g}, which is what alpha amounts to."
