"""Adapters inside the diffusers transformer: exact targets, float32 weights, key-exact loading.

LoRA, DoRA and OFT are peft's, LoKr and LoHa our own in the format of LyCORIS (`lycoris`).

Adapters on disk carry the module names of the original ACE-Step code (`q_proj`), the model in memory those of
diffusers (`to_q`); `keymap` translates (ACESTEP_FACTS.md §5.1).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import (
    LoraConfig,
    OFTConfig,
    PeftConfig,
    get_peft_model_state_dict,
    inject_adapter_in_model,
    set_peft_model_state_dict,
)
from peft.tuners.lora import Linear as LoraLinear
from peft.tuners.lora.dora import DoraLinearLayer
from peft.tuners.oft import Linear as OftLinear
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from sidestep_tui.core.errors import AdapterError
from sidestep_tui.core.text import listing
from sidestep_tui.engine import lycoris, pissa
from sidestep_tui.engine.keymap import lycoris_to_original, path_to_diffusers, path_to_original
from sidestep_tui.engine.selection import kind_settings as kind_settings
from sidestep_tui.engine.selection import module_names as module_names
from sidestep_tui.engine.selection import refuse_empty as refuse_empty
from sidestep_tui.engine.selection import target_modules as target_modules
from sidestep_tui.engine.selection import target_suffixes as target_suffixes
from sidestep_tui.engine.writer import on_host
from sidestep_tui.schema import adapter_targets
from sidestep_tui.schema.adapter import AdapterSettings

ADAPTER_NAME = "default"
WEIGHTS_FILE = "adapter_model.safetensors"
CONFIG_FILE = "adapter_config.json"
LYCORIS_FILES = {kind: f"{kind}_weights.safetensors" for kind in lycoris.KINDS}
LYCORIS_CONFIGS = {kind: f"{kind}_config" for kind in lycoris.KINDS}
"""What LyCORIS adapters call their configuration: the name of the metadata, and of the file with .json behind it."""
KEY_PREFIX = "base_model.model."


def inject(transformer: torch.nn.Module, settings: AdapterSettings, *, autocast: bool = False) -> int:
    """Freeze the transformer and add a fresh adapter to it; returns the number of adapted modules.

    Initial weights come from the global generator. `autocast` says that the forward pass will run under autocast:
    the adapter then leaves its input alone, instead of keeping a float32 copy per module.
    """
    _refuse_second(transformer)
    names = target_modules(transformer, settings)
    if settings.kind in lycoris.KINDS:
        lycoris.inject(transformer, names, settings)
        return len(names)
    config = _peft_config(settings, names)
    _inject(transformer, config, set(names), autocast=autocast, principal=settings.init == "pissa")
    return len(names)


def _peft_config(settings: AdapterSettings, names: list[str]) -> PeftConfig:
    if settings.kind == "oft":
        return OFTConfig(r=0, oft_block_size=settings.oft_block_size, target_modules=names)
    matrices = {name: adapter_targets.matrix_of(path_to_original(name)) for name in names}
    ranks = {name: adapter_targets.rank_of(settings, matrix) for name, matrix in matrices.items() if matrix}
    alphas = {name: whole(adapter_targets.alpha_of(settings, matrix)) for name, matrix in matrices.items() if matrix}
    return LoraConfig(
        r=settings.rank,
        lora_alpha=whole(settings.alpha),
        lora_dropout=settings.dropout,
        target_modules=names,
        use_dora=settings.kind == "dora",
        use_rslora=settings.rslora,
        rank_pattern={_exactly(name): rank for name, rank in ranks.items() if rank != settings.rank},
        alpha_pattern={_exactly(name): alpha for name, alpha in alphas.items() if alpha != settings.alpha},
    )


def _exactly(name: str) -> str:
    """An expression that peft matches with this module alone: its own rules would take any ending."""
    return "^" + re.escape(name)


def _refuse_uneven(transformer: torch.nn.Module, config: OFTConfig, names: set[str]) -> None:
    """Refuse blocks that do not divide a layer: peft would take other ones for that layer alone."""
    block = config.oft_block_size
    widths = sorted({transformer.get_submodule(name).in_features for name in names})
    if uneven := [width for width in widths if width % block]:
        raise AdapterError(
            "The blocks of the adapter do not divide the model's layers.",
            f"A layer of {uneven[0]} inputs has no whole number of blocks of {block}.",
            "Set adapter.oft_block_size to a power of two such as 32.",
        )


def _refuse_second(transformer: torch.nn.Module) -> None:
    if adapted_layers(transformer):
        raise AdapterError("The model already carries an adapter.", hint="Load a fresh transformer first.")


def _inject(
    transformer: torch.nn.Module, config: PeftConfig, names: set[str], *, autocast: bool, principal: bool = False
) -> None:
    """Add the adapter to exactly `names`, with float32 weights on a frozen base; `principal` begins it as PiSSA."""
    if isinstance(config, OFTConfig):
        _refuse_uneven(transformer, config, names)
    transformer.requires_grad_(False)
    inject_adapter_in_model(config, transformer, adapter_name=ADAPTER_NAME)
    layers = _peft_layers(transformer)
    if set(layers) != names:
        raise AdapterError(
            "The adapter landed on other modules than it was meant for.",
            f"{len(names)} were selected and {len(layers)} were adapted.",
            "Reinstall the package: its peft is not the tested one.",
        )
    for parameter in trainable(transformer).values():
        parameter.data = parameter.data.float()
    for name, layer in layers.items():
        layer.cast_input_dtype_enabled = not autocast
        if isinstance(layer, LoraLinear):
            if principal:
                pissa.grow(name, layer)
            for magnitude in layer.lora_magnitude_vector.values():
                _exact_magnitude(layer, magnitude)


def _exact_magnitude(layer: LoraLinear, magnitude: DoraLinearLayer) -> None:
    """Take DoRA's magnitudes from the base weight in float32: rounded ones would change the model before step 1."""
    weight = layer.get_base_layer().weight
    if not weight.is_meta:
        magnitude.weight.data = torch.linalg.vector_norm(weight.detach().float(), dim=1)


def base_layer(transformer: torch.nn.Module, name: str) -> torch.nn.Module:
    """The frozen layer of that name, whether or not it is adapted."""
    module = transformer.get_submodule(name)
    if isinstance(module, (LoraLinear, OftLinear, lycoris.BypassLinear)):
        base: torch.nn.Module = module.get_base_layer()
        return base
    return module


def adapted_layers(transformer: torch.nn.Module) -> Mapping[str, torch.nn.Module]:
    """The adapted modules by name."""
    return _peft_layers(transformer) or lycoris.layers(transformer)


def _peft_layers(transformer: torch.nn.Module) -> dict[str, LoraLinear | OftLinear]:
    return {name: module for name, module in transformer.named_modules() if isinstance(module, (LoraLinear, OftLinear))}


@dataclass(frozen=True, slots=True)
class Sizes:
    """Rank and alpha of an injected LoRA or DoRA; patterns by module name for what differs, as peft has them."""

    rank: int
    alpha: float
    rank_pattern: dict[str, int]
    alpha_pattern: dict[str, float]


def sizes(transformer: torch.nn.Module, settings: AdapterSettings) -> Sizes:
    """What the adapter in the model states about itself; the settings' own values for kinds without patterns."""
    layers = {name: layer for name, layer in _peft_layers(transformer).items() if isinstance(layer, LoraLinear)}
    if not layers:
        return Sizes(settings.rank, settings.alpha, {}, {})
    ranks = {name: layer.r[ADAPTER_NAME] for name, layer in layers.items()}
    alphas = {name: layer.lora_alpha[ADAPTER_NAME] for name, layer in layers.items()}
    rank = Counter(ranks.values()).most_common(1)[0][0]
    alpha = Counter(alphas.values()).most_common(1)[0][0]
    return Sizes(
        rank,
        alpha,
        {name: value for name, value in ranks.items() if value != rank},
        {name: value for name, value in alphas.items() if value != alpha},
    )


def strength(transformer: torch.nn.Module) -> str:
    """How strongly the adapter's change acts: `scaled by 2`, or `scaled by 1 to 4` where layers differ."""
    scales = [
        layer.scaling[ADAPTER_NAME] for layer in _peft_layers(transformer).values() if isinstance(layer, LoraLinear)
    ]
    scales += [layer.scale for layer in lycoris.layers(transformer).values()]
    if not scales:
        return "not scaled"
    least, most = (f"{value:.4g}" for value in (min(scales), max(scales)))
    return f"scaled by {least}" if least == most else f"scaled by {least} to {most}"


def trainable(transformer: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """The parameters that learn, by name, in model order."""
    return {name: parameter for name, parameter in transformer.named_parameters() if parameter.requires_grad}


def state_dict(transformer: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The adapter's tensors on the CPU, under the names that adapter files use."""
    if lycoris.layers(transformer):
        return lycoris.state_dict(transformer)
    tensors = _grown_tensors(transformer) or get_peft_model_state_dict(transformer, adapter_name=ADAPTER_NAME)
    return on_host({KEY_PREFIX + path_to_original(name): tensor for name, tensor in tensors.items()})


def _grown_tensors(transformer: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The tensors of an adapter that began as PiSSA, as peft would name those of the LoRA that it is."""
    tensors: dict[str, torch.Tensor] = {}
    for name, layer in _peft_layers(transformer).items():
        if grown := pissa.factors(layer):
            tensors[f"{name}.lora_A.weight"], tensors[f"{name}.lora_B.weight"] = (part.weight for part in grown)
            if ADAPTER_NAME in layer.lora_magnitude_vector:
                tensors[f"{name}.lora_magnitude_vector"] = layer.lora_magnitude_vector[ADAPTER_NAME].weight
    return tensors


def settled(transformer: torch.nn.Module) -> list[torch.Tensor]:
    """What an adapter needs besides its parameters, and processes must have alike: what PiSSA began with."""
    grown = [found for layer in _peft_layers(transformer).values() if (found := pissa.factors(layer))]
    return [part.start for pair in grown for part in pair]


def _put_peft(transformer: torch.nn.Module, tensors: dict[str, torch.Tensor]) -> None:
    """Give `tensors`, names and shapes already checked, to peft's layers."""
    renamed = {path_to_diffusers(name.removeprefix(KEY_PREFIX)): tensor for name, tensor in tensors.items()}
    for name, layer in _peft_layers(transformer).items():
        if pissa.factors(layer):
            down, up = renamed.pop(f"{name}.lora_A.weight"), renamed.pop(f"{name}.lora_B.weight")
            pissa.put(layer, down, up, f"{KEY_PREFIX}{path_to_original(name)}.lora_A.weight")
    set_peft_model_state_dict(transformer, renamed, adapter_name=ADAPTER_NAME)


def load_state_dict(transformer: torch.nn.Module, tensors: dict[str, torch.Tensor], source: Path) -> int:
    """Put `tensors` (names of adapter files) into the injected adapter; returns how many there were.

    Raises AdapterError naming what is missing, left over, or of another shape: nothing is loaded partially.
    """
    present = state_dict(transformer)
    missing = sorted(present.keys() - tensors.keys())
    extra = sorted(tensors.keys() - present.keys())
    other_shape = sorted(k for k in present.keys() & tensors.keys() if present[k].shape != tensors[k].shape)
    for problem, keys in (("missing", missing), ("unknown to the model", extra), ("of another shape", other_shape)):
        if keys:
            raise AdapterError(
                "The adapter does not fit the model.",
                f"{len(keys)} of {len(present)} tensors are {problem} in {source}: {listing(keys, 2)}.",
                "Check that it was trained for this size of model and with these targets.",
            )
    if lycoris.layers(transformer):
        lycoris.put(transformer, tensors)
    else:
        _put_peft(transformer, tensors)
    loaded = state_dict(transformer)
    if wrong := [name for name in tensors if not torch.equal(loaded[name], tensors[name].to(loaded[name]))]:
        raise AdapterError("The adapter was not loaded completely.", f"{listing(wrong, 2)} kept other values.")
    return len(tensors)


def load_adapter(transformer: torch.nn.Module, directory: Path, *, autocast: bool = False) -> int:
    """Inject the adapter in `directory` (PEFT or LyCORIS, original or diffusers names) with its own rank and alpha.

    `autocast` as in `inject`; DoRA's answers differ in the last bits between the two.
    Returns the number of tensors, all of which found their place. Raises AdapterError otherwise.
    """
    _refuse_second(transformer)
    config, tensors = read_adapter(directory)
    source = weights_file(directory)
    if source.name in LYCORIS_FILES.values():
        _attach(transformer, config, tensors, source)
        return load_state_dict(transformer, tensors, source)
    modules = {path_to_diffusers(_module_of(name)) for name in tensors}
    known = {name for name, module in transformer.named_modules() if isinstance(module, torch.nn.Linear)}
    if stray := sorted(modules - known):
        raise _stray(directory, stray)
    _inject(transformer, _stored_config(config, sorted(modules)), modules, autocast=autocast)
    return load_state_dict(transformer, tensors, source)


def _stored_config(config: dict[str, Any], names: list[str]) -> PeftConfig:
    """The configuration of an adapter directory, for exactly the modules `names`."""
    if str(config["peft_type"]).upper() == "OFT":
        kept = ("coft", "eps", "block_share", "use_cayley_neumann", "num_cayley_neumann_terms")
        options = {key: config[key] for key in kept if key in config}
        return OFTConfig(r=0, oft_block_size=int(config["oft_block_size"]), target_modules=names, **options)
    return LoraConfig(
        r=int(config["r"]),
        lora_alpha=config["lora_alpha"],
        target_modules=names,
        use_dora=bool(config.get("use_dora", False)),
        use_rslora=bool(config.get("use_rslora", False)),
        rank_pattern={path_to_diffusers(k): v for k, v in (config.get("rank_pattern") or {}).items()},
        alpha_pattern={path_to_diffusers(k): v for k, v in (config.get("alpha_pattern") or {}).items()},
    )


def _attach(
    transformer: torch.nn.Module, config: dict[str, Any], tensors: dict[str, torch.Tensor], source: Path
) -> None:
    """Make room in the model for the tensors of a LyCORIS file; AdapterError if they do not fit it."""
    alpha = config.get("linear_alpha")
    try:
        plans, stray = lycoris.plans_of(transformer, tensors, float(alpha) if alpha is not None else None)
    except (TypeError, ValueError) as error:
        raise AdapterError(
            "The adapter does not fit the model.", f"{source}: {error}.", "Check that it was trained for this model."
        ) from error
    if stray:
        raise _stray(source, stray)
    lycoris.attach(transformer, plans)


def _stray(source: Path, stray: list[str]) -> AdapterError:
    return AdapterError(
        "The adapter does not fit the model.",
        f"{source} trains {len(stray)} modules that the model does not have: {listing(stray, 2)}.",
        "Check that it was trained for this size of model.",
    )


def weights_file(directory: Path) -> Path:
    """The file with the tensors of the adapter in `directory`; that of PEFT if there is none."""
    names = (WEIGHTS_FILE, *LYCORIS_FILES.values())
    return next((directory / name for name in names if (directory / name).is_file()), directory / WEIGHTS_FILE)


def _read_lycoris(file: Path, kind: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Configuration (from the file's metadata, or beside it) and tensors of a LyCORIS adapter, in original names."""
    name = LYCORIS_CONFIGS[kind]
    try:
        with safe_open(file, framework="pt") as handle:
            embedded = (handle.metadata() or {}).get(name)
        beside = file.parent / f"{name}.json"
        text = embedded if embedded is not None else beside.read_text("utf-8") if beside.is_file() else "{}"
        config = json.loads(text)
        tensors = {lycoris_to_original(key): tensor for key, tensor in load_file(file).items()}
    except (OSError, ValueError, SafetensorError) as error:
        raise AdapterError("The adapter cannot be read.", f"{file}: {error}", "Use another copy of it.") from error
    return config if isinstance(config, dict) else {}, tensors


def read_adapter(directory: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The configuration and tensors of an adapter directory, keys in the names of adapter files."""
    file = weights_file(directory)
    for kind, name in LYCORIS_FILES.items():
        if file.name == name:
            return _read_lycoris(file, kind)
    try:
        config = json.loads((directory / CONFIG_FILE).read_text("utf-8"))
        tensors = load_file(directory / WEIGHTS_FILE)
    except FileNotFoundError as error:
        raise AdapterError(
            "The adapter is not complete.",
            f"{error.filename or directory / WEIGHTS_FILE} is missing.",
            f"An adapter is a directory with {CONFIG_FILE} and {WEIGHTS_FILE}.",
        ) from error
    except (ValueError, SafetensorError) as error:
        raise AdapterError("The adapter cannot be read.", f"{directory}: {error}", "Use another copy of it.") from error
    if str(config.get("peft_type", "")).upper() not in ("LORA", "OFT"):
        raise AdapterError(
            "This kind of adapter cannot be loaded.",
            f"{directory / CONFIG_FILE} says '{config.get('peft_type')}'.",
            "LoRA, DoRA and OFT adapters of peft can, and LoKr and LoHa of LyCORIS.",
        )
    return config, {KEY_PREFIX + path_to_original(k.removeprefix(KEY_PREFIX)): v for k, v in tensors.items()}


def _module_of(key: str) -> str:
    return key.removeprefix(KEY_PREFIX).split(".lora_", 1)[0].split(".oft_", 1)[0]


def whole(alpha: float) -> float | int:
    """Alpha as an integer where it is one: some loaders read nothing else."""
    return int(alpha) if float(alpha).is_integer() else alpha
